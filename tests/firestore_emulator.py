"""The Firestore emulator of the Google Cloud SDK: found, started once for all pytest workers, and never left behind.

Every process that uses it holds a shared lock on one file. A keeper (this file, run as a program) starts Java and
waits for the lock to itself: it gets it when the last user is gone, killed ones included, and then stops Java.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

HOW_TO_GET_IT = (
    "the Firestore emulator is missing: `gcloud components install cloud-firestore-emulator` "
    "(Debian: google-cloud-cli-firestore-emulator) and Java 11 or newer, or set FIRESTORE_EMULATOR_HOST"
)
START_SECONDS = 40  # Java on a busy machine
_JAR = Path("platform/cloud-firestore-emulator/cloud-firestore-emulator.jar")
# The first look at documents takes a cold Java seconds, which no test of ours allows for.
_WARM_UP = "/v1/projects/warm-up/databases/(default)/documents/calls"
_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"


class EmulatorMissingError(Exception):
    """There is no emulator on this machine; the text says how to get one."""


@contextlib.contextmanager
def emulator(shared: Path) -> Iterator[str]:
    """The emulator's `host:port`, started unless another process that uses the folder `shared` has done so."""
    if given := os.environ.get("FIRESTORE_EMULATOR_HOST"):
        yield given
        return
    command = _command()
    with (shared / "firestore.users").open("a+") as users:
        with (shared / "firestore.start").open("a+") as start:
            _lock(start.fileno(), fcntl.LOCK_EX, START_SECONDS)  # let go of with the file
            _lock(users.fileno(), fcntl.LOCK_SH, START_SECONDS)
            address_file = shared / "firestore.address"
            if not (address_file.exists() and _answers(address_file.read_text())):
                address_file.write_text(_started(command, shared))
            address = address_file.read_text()
        yield address


def _command() -> list[str]:
    java, gcloud = shutil.which("java"), shutil.which("gcloud")
    if not java or not gcloud:
        raise EmulatorMissingError(HOW_TO_GET_IT)
    root = Path(gcloud).resolve().parent.parent
    if not (root / _JAR).exists():  # a wrapper script: the SDK is elsewhere
        asked = subprocess.run(
            [gcloud, "info", "--format=value(installation.sdk_root)"], capture_output=True, text=True, timeout=30
        )
        root = Path(asked.stdout.strip() or "/nowhere")
    if not (root / _JAR).exists():
        raise EmulatorMissingError(HOW_TO_GET_IT)
    # As the SDK's own launcher does it; a shell in between would keep Java alive when it is stopped.
    return [java, "-Xmx256m", "-Duser.language=en", "-cp", str(root / _JAR), _MAIN, "--host=127.0.0.1"]


def _started(command: list[str], shared: Path) -> str:
    """Start the emulator under a keeper and wait until it answers; its `host:port`."""
    port = _free_port()
    keeper = [sys.executable, __file__, str(shared / "firestore.users"), *command, f"--port={port}"]
    with (shared / "firestore.log").open("ab") as log:
        # A session of its own: Ctrl-C goes to pytest, and the emulator outlives the last test.
        process = subprocess.Popen(keeper, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + START_SECONDS
    while not _answers(address := f"127.0.0.1:{port}", _WARM_UP):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(
                "the Firestore emulator did not start:\n" + (shared / "firestore.log").read_text()[-2000:]
            )
        time.sleep(0.1)
    return address


def _answers(address: str, path: str = "/") -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=START_SECONDS) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _lock(file: int, kind: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def keep(users: str, command: list[str]) -> None:
    """Run the emulator until nobody holds the lock on the file `users`."""
    java = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        with Path(users).open("a+") as file:
            while java.poll() is None:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.2)
    finally:
        java.kill()  # it holds nothing worth saving
        java.wait(10)


if __name__ == "__main__":
    keep(sys.argv[1], sys.argv[2:])
