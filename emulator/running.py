"""What a running `callbot dev` leaves for `callbot call` to find: addresses, numbers and the trigger key.

A file that only its owner can read, in the user's runtime directory, one for each port; gone when the server is.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Running:
    """A local system that can be called: the emulated Twilio's address, the product's, and what opens `/calls`."""

    twilio_url: str
    product_url: str
    trigger_key: str
    numbers: Mapping[str, str]  # by engine


def leave(port: int, running: Running) -> None:
    """Say that this system runs on `port`. Raises OSError."""
    path = _path(port)
    remove(port)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(running), file)


def find(port: int) -> Running | None:
    """The system that said it runs on `port`; it may have died since."""
    try:
        handle = os.open(_path(port), os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_uid != os.getuid():
                return None  # left by somebody else, who would get our callers' speech
            return Running(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def remove(port: int) -> None:
    """Say no more that a system runs on `port`."""
    with contextlib.suppress(FileNotFoundError):
        _path(port).unlink()


def _path(port: int) -> Path:
    folder = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(folder) / f"callbot-{os.getuid()}-{port}.json"
