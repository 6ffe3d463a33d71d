"""The rig: built from its C sources when they are newer, started, and told what to do. What it does is in `rig/`."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

SOURCES = Path(__file__).parent / "rig"
RELAY_CORE, RIG_CORE = 0, 1
_ANSWER_LIMIT = 1 << 20


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
        self, *, relay_port: int, target: str, calls: int, seconds: float, turns: bool, tls: Path | None
    ) -> None:
        command = [
            *pinned(RIG_CORE, real_time=("-f", "10")), str(built("rig")), "--port", str(relay_port), "--target", target,
            "--calls", str(calls), "--seconds", str(seconds), "--turns", str(int(turns)),
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


def built(name: str) -> Path:
    """The program of that name, compiled anew when a source is newer. Raises RigFailedError without a compiler."""
    program = Path(tempfile.gettempdir()) / f"callbot-bench-{os.getuid()}" / name
    newest = max(source.stat().st_mtime for source in SOURCES.iterdir())
    if not program.exists() or program.stat().st_mtime < newest:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise RigFailedError("a C compiler and OpenSSL's headers are needed (Debian: gcc libc6-dev libssl-dev)")
        program.parent.mkdir(mode=0o700, exist_ok=True)
        flags = ["-O2", "-Wall", "-Wextra", "-o", str(program), str(SOURCES / f"{name}.c"), "-lssl", "-lcrypto"]
        subprocess.run([compiler, *flags], check=True)
    return program


def pinned(core: int, *, real_time: Sequence[str] = ()) -> list[str]:
    """What to put before a command so that it stays on one core, in a real-time class when root may say so.

    Without it, whatever else runs on the machine is measured too.
    """
    alone = ["taskset", "-c", str(core)]
    return [*alone, "chrt", *real_time] if real_time and os.geteuid() == 0 else alone
