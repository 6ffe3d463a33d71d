"""Child processes that are looked after: started, waited for, started again when they die, and never left behind.

What they run, and on which ports, is not decided here.
"""

import collections
import contextlib
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

START_SECONDS = 30.0
# Between SIGTERM and SIGKILL; the stream service hands its calls over and leaves within 7 s, Cloud Run waits for 10 s.
STOP_SECONDS = 8.0
_MOST_STARTS, _WITHIN_SECONDS = 5, 30.0
_POLL_SECONDS = 0.05
_LINES_KEPT = 50
_BACKLOG = 256
_LINE_LIMIT = 16_384  # characters
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class ProcessFailedError(Exception):
    """A child did not become healthy; the message ends with what it last said."""


class Supervised:
    """A command kept running.

    It inherits `listener` (see `listen` and `gunicorn`) and answers `GET /health` there with 200 when it can be used.
    While no process runs, who connects waits for the next one, as Cloud Run has requests wait for an instance.
    `output` gets every line that the process writes, on a thread of its own; the last lines are kept in any case.
    `on_restart` gets the exit status of a process that died and is being replaced.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        listener: socket.socket,
        output: Callable[[str], None] | None = None,
        on_restart: Callable[[int], None] | None = None,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._env = dict(env)
        self._listener = listener
        self.url = address(listener)
        self._output = output
        self._on_restart = on_restart
        self._lines: collections.deque[str] = collections.deque(maxlen=_LINES_KEPT)
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._starts = 0
        self._stopping = False
        self._given_up = False
        self._keeper: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """The process's id now; it leads a process group of the same number. Raises RuntimeError when none runs."""
        with self._changed:
            if self._process is None:
                raise RuntimeError(f"{self.name} is not running")
            return self._process.pid

    @property
    def starts(self) -> int:
        """How often the command has been started."""
        return self._starts

    @property
    def failed(self) -> bool:
        """Whether it died too often to be started once more."""
        return self._given_up

    @property
    def last_lines(self) -> str:
        """What the process wrote last."""
        return "\n".join(self._lines)

    def start(self, seconds: float = START_SECONDS) -> None:
        """Start the process and wait until it is healthy; once only. Raises ProcessFailedError; nothing runs then."""
        # The thread that starts a process must live as long as it: Linux counts that thread's end as the parent's.
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {self.name}", daemon=True)
        self._keeper.start()
        try:
            self.wait_until_healthy(seconds)
        except BaseException:
            self.stop(1.0)
            raise

    def wait_until_healthy(self, seconds: float = START_SECONDS) -> None:
        """Wait for `GET /health` to be answered with 200. Raises ProcessFailedError."""
        ends_at = time.monotonic() + seconds
        while not self._given_up and time.monotonic() < ends_at:
            if self._process is not None and is_healthy(self.url):
                return
            time.sleep(_POLL_SECONDS)
        what = "keeps dying" if self._given_up else f"was not ready within {seconds:g} s"
        raise ProcessFailedError(f"{self.name} {what}\n{self.last_lines}".rstrip())

    def kill(self) -> None:
        """Kill the process and all of its group at once, as when a machine fails; it is then started again."""
        _signal_group(self.pid, signal.SIGKILL)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """SIGTERM, after `seconds` SIGKILL; nothing of the group is left afterwards. Idempotent."""
        with self._changed:
            self._stopping = True
            process = self._process
            self._changed.notify_all()
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
            finally:
                _signal_group(process.pid, signal.SIGKILL)
        if self._keeper is not None:
            self._keeper.join(2.0)
        self._listener.close()

    # -- the keeper's thread ---------------------------------------------------------------------------------

    def _keep(self) -> None:
        started: collections.deque[float] = collections.deque(maxlen=_MOST_STARTS)
        while True:
            with self._changed:
                if self._stopping:
                    return
                process = self._process = self._spawn()
            started.append(time.monotonic())
            reader = threading.Thread(target=self._read, args=(process,), name=f"output of {self.name}", daemon=True)
            reader.start()
            status = process.wait()
            _signal_group(process.pid, signal.SIGKILL)  # what it started may have outlived it
            reader.join(1.0)
            with self._changed:
                self._process = None
                if self._stopping:
                    return
            if len(started) == _MOST_STARTS and time.monotonic() - started[0] < _WITHIN_SECONDS:
                self._given_up = True
                return
            if self._on_restart is not None:
                self._on_restart(status)

    def _spawn(self) -> "subprocess.Popen[str]":
        self._starts += 1
        return subprocess.Popen(  # noqa: S603 - an argument list of ours
            self._command,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            pass_fds=(self._listener.fileno(),),
            start_new_session=True,  # Ctrl-C is for us; we tell the child
            preexec_fn=_DIE_WITH_PARENT,
        )

    def _read(self, process: "subprocess.Popen[str]") -> None:
        stream: IO[str] = process.stdout  # type: ignore[assignment]  # it is a pipe, see _spawn
        with contextlib.suppress(ValueError, OSError):
            while line := stream.readline(_LINE_LIMIT):
                self._lines.append(line.rstrip("\n"))
                if self._output is not None:
                    self._output(line.rstrip("\n"))


def is_healthy(url: str, seconds: float = 1.0) -> bool:
    """Whether `GET /health` at `http://host:port` is answered with 200 within that time."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=seconds)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def listen(port: int = 0) -> socket.socket:
    """A socket that listens on 127.0.0.1, on a free port unless one is given. Raises OSError when that is taken."""
    return socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)


def address(listener: socket.socket) -> str:
    """The URL at which a socket of `listen` is reached."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def is_free(port: int) -> bool:
    """Whether 127.0.0.1 can be listened on at this port."""
    try:
        listen(port).close()
    except (OSError, OverflowError):
        return False
    return True


def gunicorn(app: str, listener: socket.socket, *options: str) -> list[str]:
    """The command that serves `app` on a socket that it inherits."""
    return [sys.executable, "-m", "gunicorn", *options, "--bind", f"fd://{listener.fileno()}", app]


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _death_signal() -> Callable[[], object] | None:
    """For `preexec_fn`: has the child be told when its parent is gone, even by SIGKILL (Linux; elsewhere nothing)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


_DIE_WITH_PARENT = _death_signal()
