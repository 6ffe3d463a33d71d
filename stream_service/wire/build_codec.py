"""`python -m stream_service.wire.build_codec`: compile the codec, in place, with this Python's own compiler.

It is never required: without it, or where it cannot be built, everything works in Python. Nothing but the standard
library is used, so that an image can build it before anything else is installed.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE / "_codec.c"
# The one ending that every version from 3.11 on looks for: the source keeps to the stable interface.
TARGET = HERE / "_codec.abi3.so"
_FLAGS = ("-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-missing-field-initializers",
          "-Wno-cast-function-type")  # fmt: skip
# For the vendors' TLS; without OpenSSL's headers Python does it.
_WITH_OPENSSL = ("-DWITH_OPENSSL", "-lssl", "-lcrypto")


class CannotBuildError(Exception):
    """There is no compiler, or it failed; the message says what it said."""


def build(target: Path = TARGET, flags: tuple[str, ...] = ()) -> Path:
    """Compile into `target`, which is replaced only by something that can be imported. Raises CannotBuildError."""
    try:
        _build(target, (*flags, *_WITH_OPENSSL))
    except CannotBuildError:
        _build(target, flags)
    return target


def _build(target: Path, flags: tuple[str, ...]) -> None:
    linker = shlex.split(str(sysconfig.get_config_var("LDSHARED") or "cc -shared"))
    made = target.with_name(f".{os.getpid()}-{target.name}")
    include = f"-I{sysconfig.get_path('include')}"
    try:
        # Libraries behind what needs them: the linker looks only once.
        _run([*linker, *_FLAGS, include, "-o", str(made), str(SOURCE), *flags])
        _run([sys.executable, "-c", _IMPORT, str(made)])
        made.replace(target)
    finally:
        made.unlink(missing_ok=True)


# In a process of its own: a library that is broken may end it.
_IMPORT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("stream_service.wire._codec", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 - ours
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuildError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise CannotBuildError(f"{shlex.join(command)}\n{done.stderr}".strip())


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{build()}\n")
    except CannotBuildError as error:
        sys.exit(f"the codec cannot be compiled: {error}")
