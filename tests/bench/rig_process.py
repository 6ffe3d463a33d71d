"""The rig: built from its C sources when they are newer, started, and told what to do. What it does is in `rig/`."""

import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.bench.machine import FIRST_CORE, SECOND_CORE

SOURCES = Path(__file__).parent / "rig"
RELAY_CORE, RIG_CORE = FIRST_CORE, SECOND_CORE
_ANSWER_LIMIT = 1 << 20
_TURN_SECONDS = 300.0
_NO_COMPILER = "a C compiler and OpenSSL's headers are needed (Debian: gcc libc6-dev libssl-dev)"


@dataclass(frozen=True, slots=True)
class Ticketed:
    """What Twilio was told about one call's stream, as the rig needs it."""

    signature: str
    account: str
    sid: str
    parameters: Mapping[str, str]


ANONYMOUS = Ticketed("-", "AC0", "CA0", {})


class RigFailedError(Exception):
    """The rig ended before it had measured."""


class Rig:
    """A running rig, pinned to its own core and put before everything else there when we may."""

    def __init__(
        self, *, relay_port: int, target: str, calls: int, seconds: float, turns: bool, tls: Path | None, mss: int = 0
    ) -> None:
        """`seconds`: more than any call lasts. `mss`: bytes of a TCP segment at most; 0 for the loopback's 64 kB."""
        command = [
            *pinned(RIG_CORE, real_time=("-f", "10")), str(built("rig")), "--port", str(relay_port), "--target", target,
            "--calls", str(calls), "--seconds", str(seconds), "--turns", str(int(turns)), "--mss", str(mss),
            *(["--tls", str(tls)] if tls else []),
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._orders: IO[str] = self._process.stdin  # type: ignore[assignment]  # it is a pipe
        self._answers: IO[str] = self._process.stdout  # type: ignore[assignment]  # it is a pipe
        self.vendor_port = int(self.wait_for("vendor "))

    @property
    def pid(self) -> int:
        return self._process.pid

    def call(self, number: int, ticketed: Ticketed, *, late: bool = False) -> None:
        """Open a stream now."""
        parameters = json.dumps(dict(ticketed.parameters), separators=(",", ":"))
        self.order(f"call {number} {int(late)} {ticketed.signature} {ticketed.account} {ticketed.sid} {parameters}")

    def order(self, line: str) -> None:
        self._orders.write(line + "\n")
        self._orders.flush()

    def wait_for(self, beginning: str) -> str:
        """The rest of the next line, which must begin so. Raises RigFailedError."""
        line = self._answers.readline(_ANSWER_LIMIT)
        if not line.startswith(beginning):
            raise RigFailedError(f"expected {beginning!r}, got {line[:200]!r} (exit status {self._process.poll()})")
        return line.removeprefix(beginning).strip()

    def result(self) -> dict[str, Any]:
        measured: dict[str, Any] = json.loads("{" + self.wait_for("{"))
        return measured

    def stop(self) -> None:
        for pipe in (self._orders, self._answers):
            pipe.close()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def missing() -> str:
    """What this machine lacks to run the rig, in words; empty when it has everything."""
    if FIRST_CORE == SECOND_CORE:
        return "two cores are needed, one for the relay and one for the callers and vendors"
    if shutil.which("taskset") is None:
        return "taskset is needed (Debian: util-linux)"
    try:
        for program in ("rig", "floor_relay"):
            built(program)
    except (RigFailedError, subprocess.CalledProcessError) as error:
        return str(error) if isinstance(error, RigFailedError) else _NO_COMPILER
    return ""


def built(name: str) -> Path:
    """The program of that name, compiled when it has not been of these very sources.

    Raises RigFailedError without a compiler, CalledProcessError when it fails.
    """
    sources = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))).hexdigest()
    program = _folder() / f"{name}-{sources[:16]}"
    if not program.exists():
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise RigFailedError(_NO_COMPILER)
        with tempfile.TemporaryDirectory(dir=_folder()) as folder:  # others may be compiling it as well
            made = Path(folder) / name
            flags = ["-O2", "-Wall", "-Wextra", "-o", str(made), str(SOURCES / f"{name}.c"), "-lssl", "-lcrypto"]
            subprocess.run([compiler, *flags], check=True, capture_output=True)
            made.rename(program)
    return program


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"callbot-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def our_turn() -> Iterator[None]:
    """Two benches at once would measure each other. A file that keeps the others out meanwhile.

    Raises RigFailedError when they do not come to an end.
    """
    with (_folder() / "turn").open("w") as turn:
        gives_up = time.monotonic() + _TURN_SECONDS
        while not _locked(turn):
            if time.monotonic() > gives_up:
                raise RigFailedError("another bench runs on this machine and does not end")
            time.sleep(0.1)
        yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def pinned(core: int, *, real_time: Sequence[str] = ()) -> list[str]:
    """What to put before a command so that it stays on one core, in a real-time class where we may have one.

    Without it, whatever else runs on the machine is measured too.
    """
    alone = ["taskset", "-c", str(core)]
    return [*alone, "chrt", *real_time] if real_time and may_go_first() else alone


@functools.cache
def may_go_first() -> bool:
    """Whether we may put processes before everybody else's: root may, but in many a container root may not either."""
    chrt = shutil.which("chrt")
    return chrt is not None and subprocess.run([chrt, "-r", "1", "true"], capture_output=True).returncode == 0
