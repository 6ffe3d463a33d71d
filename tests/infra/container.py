"""One process of a container's image as Cloud Run runs it, and stricter: process 1, nobody's user, nothing to write to.

Linux namespaces by util-linux's `unshare`, which need root; no container engine and no control groups. The network is
the machine's. Where the image comes from is not decided here.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.processes import is_healthy

NEEDED = ("unshare", "setpriv", "chroot")
START_SECONDS = 60.0  # on a busy machine
KILL_SECONDS = 10.0  # between SIGTERM and SIGKILL (Cloud Run: container contract)
_POLL_SECONDS = 0.005

# In namespaces of its own: the root read-only, and of what Cloud Run mounts /proc, the devices that Python opens, and
# /dev/shm. `exec` all the way, so that the image's own command is process 1.
_INSIDE = """
mount --make-rprivate / && mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" || exit
mount -t proc proc "$0/proc" || exit
mount -t tmpfs -o mode=755 tmpfs "$0/dev" && mkdir "$0/dev/shm" || exit
mount -t tmpfs -o mode=1777,size=64m shm "$0/dev/shm" || exit
for device in null zero random urandom; do
    touch "$0/dev/$device" && mount --bind "/dev/$device" "$0/dev/$device" || exit
done
user=$1 folder=$2
shift 2
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$0" /usr/bin/env --chdir="$folder" "$@"
"""


class ContainerError(Exception):
    """A container did not start or did not end; the text ends with what it last wrote."""


@dataclass(frozen=True, slots=True)
class Image:
    """A file system and how to run it. `user` is `uid:gid`."""

    root: Path
    command: Sequence[str]
    env: Mapping[str, str]
    user: str
    folder: str

    @classmethod
    def of(cls, root: Path, config: Mapping[str, Any]) -> "Image":
        """From an OCI image's configuration (image-spec: `config`)."""
        return cls(
            root=root,
            command=[*config.get("Entrypoint", ()), *config.get("Cmd", ())],
            env=dict(variable.split("=", 1) for variable in config.get("Env", ())),
            user=config.get("User", "0:0"),
            folder=config.get("WorkingDir", "/"),
        )

    def run(self, *command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run something else in it, in the same way."""
        return subprocess.run(
            _isolated(self, command), env=dict(self.env), capture_output=True, text=True, timeout=seconds
        )


class Container:
    """The image's command with these settings, on a free port that it is told by PORT. `stop` it."""

    def __init__(self, image: Image, settings: Mapping[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._image = image
        self._env = {**image.env, **settings, "PORT": str(self.port)}
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as the process runs
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = START_SECONDS) -> float:
        """Seconds from the process's start to the first 200 of `/health`. Raises ContainerError."""
        began = time.monotonic()
        process = self._process = subprocess.Popen(
            _isolated(self._image, self._image.command),
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        while not is_healthy(self.url):
            if process.poll() is not None or time.monotonic() - began > seconds:
                self.stop()
                raise ContainerError(f"not healthy after {time.monotonic() - began:.1f} s\n{self.output()[-3000:]}")
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - began

    @property
    def pid(self) -> int:
        """The machine's number for what is process 1 inside."""
        assert self._process is not None
        return int(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0])

    def status(self) -> dict[str, str]:
        """What Linux says of process 1 (proc_pid_status): `Uid`, `CapEff`, `NSpid`, `NoNewPrivs`, …"""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}

    def terminate(self) -> tuple[int, float]:
        """SIGTERM as Cloud Run sends it: exit status, and the seconds it took. Raises ContainerError."""
        assert self._process is not None
        began = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        try:
            return self._process.wait(KILL_SECONDS), time.monotonic() - began
        except subprocess.TimeoutExpired as late:
            self.stop()
            raise ContainerError(f"not ended {KILL_SECONDS:g} s after SIGTERM\n{self.output()[-3000:]}") from late

    def output(self) -> str:
        """All that it has written."""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def stop(self) -> None:
        """SIGKILL; nothing of it is left. Idempotent."""
        if self._process is not None:
            self._process.kill()  # and with it all inside, see --kill-child
            self._process.wait(5)


def missing() -> list[str]:
    """What this machine lacks to run a container."""
    return [tool for tool in NEEDED if not shutil.which(tool)] + ([] if os.geteuid() == 0 else ["root's rights"])


def _isolated(image: Image, command: Sequence[str]) -> list[str]:
    inside = ["sh", "-c", _INSIDE, str(image.root), image.user, image.folder, *command]
    # `env` keeps the PATH of the image for the command, so those outside it are named by theirs.
    return [shutil.which("unshare") or "unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--", *inside]
