"""What must hold for the stream service's image, read from its unpacked files.

How it is made and run is decided elsewhere.
"""

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from tests.infra.container import Image

PROGRAM = "srv/callbot"
COMPILED = (PROGRAM, "opt/venv", "usr/local/lib")
BUILDERS = ("cc", "gcc", "c++", "g++", "clang", "ld", "as", "make", "pip", "pip3", "cargo", "rustc")
INSTALLERS = ("pip", "ensurepip", "setuptools", "wheel")
SHIPPED = {".py", ".pyc", ".toml", ".html", ".txt", ".so", ".c", ".h"}
_UNCHECKED_HASH = 1  # the flags of a .pyc that is never compared with its source (PEP 552)


def faults(image: Image) -> list[str]:
    """Every rule that does not hold, as a sentence."""
    return [*_command(image), *_tools(image.root), *_byte_code(image.root), *_program(image.root), *_rights(image)]


def megabytes(root: Path) -> int:
    """The size of all files under it, in 10^6 bytes; hard links count once."""
    sizes = {(s.st_dev, s.st_ino): s.st_size for s in map(os.lstat, _files(root))}
    return round(sum(sizes.values()) / 1e6)


def _command(image: Image) -> Iterator[str]:
    if image.user.split(":")[0] in ("", "0", "root"):
        yield f"it runs as {image.user or 'root'}"
    if not image.command or Path(image.command[0]).name in ("sh", "bash", "env"):
        yield f"a shell would be process 1 and keep SIGTERM to itself: {shlex.join(image.command)}"


def _tools(root: Path) -> Iterator[str]:
    for folder in ("usr/local/bin", "usr/local/sbin", "usr/bin", "usr/sbin", "opt/venv/bin"):
        for name in BUILDERS:
            if os.path.lexists(root / folder / name):
                yield f"/{folder}/{name} is left"
    for folder in ("usr/local/lib/python3*", "usr/lib/python3*", "opt/venv/lib/python3*"):
        for name in INSTALLERS:
            for place in (name, f"site-packages/{name}", f"dist-packages/{name}"):
                yield from (f"/{found.relative_to(root)} is left" for found in root.glob(f"{folder}/{place}"))


def _byte_code(root: Path) -> Iterator[str]:
    for folder in COMPILED:
        for source in (root / folder).rglob("*.py"):
            compiled = next((source.parent / "__pycache__").glob(f"{source.stem}.cpython-3??.pyc"), None)
            if compiled is None:
                yield f"no byte code for {source.relative_to(root)}"
            elif int.from_bytes(compiled.read_bytes()[4:8], "little") != _UNCHECKED_HASH:
                yield f"byte code that is compared with its source: {compiled.relative_to(root)}"


def _program(root: Path) -> Iterator[str]:
    for path in _files(root / PROGRAM):
        if path.suffix not in SHIPPED or path.name.startswith("."):
            yield f"{path.relative_to(root)} is none of the program's"


def _rights(image: Image) -> Iterator[str]:
    owner = int(image.user.split(":")[0]) if image.user.split(":")[0].isdigit() else -1
    for path in _files(image.root):
        status = path.lstat()
        if status.st_uid == owner:
            yield f"the process owns {path.relative_to(image.root)}"
        if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IWOTH:
            yield f"everybody may write {path.relative_to(image.root)}"


def _files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        yield from (Path(folder) / name for name in names)
