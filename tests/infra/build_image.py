"""Runs the steps of stream_service/Dockerfile without Docker and without a registry, and calls through the result.

    python -m tests.infra.build_image --stand-in ~/.pyenv/versions/3.13.0

It needs root, buildah and what `container` needs; for the stand-in debootstrap; for the calls the Firestore emulator.
What is in the image is judged by `image_rules`; how it is run is `container`'s.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from callbot.settings import SETTINGS, Part
from emulator.twilio import Do, EmulatedCall, Listen, StayUntilEnd, Wait
from tests.calls.system import System
from tests.firestore_emulator import emulator
from tests.infra.container import Container, Image, missing
from tests.infra.image_rules import faults, megabytes

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 900
CALL_SECONDS = 60
MOST_SILENCE = 3.0  # seconds that a caller may be left without an explanation
HANDED_OVER = 1001  # WebSocket: going away
STAND_IN = "localhost/python-stand-in"
PARTS = ("usr/local", "opt/venv", "srv/callbot")
# What python:3.13-slim-trixie has beside Debian's smallest system: what CPython and its modules are linked with.
PACKAGES = (
    "ca-certificates,netbase,tzdata,libbz2-1.0,libexpat1,libffi8,libgdbm6t64,liblzma5,libncursesw6,libreadline8t64,"
    "libsqlite3-0,libssl3t64,libuuid1,zlib1g"
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    base = parser.add_mutually_exclusive_group()
    base.add_argument("--base", help="an image to begin with instead of the Dockerfile's")
    base.add_argument(
        "--stand-in", type=Path, metavar="PREFIX", help="make one, of Debian and the CPython installed at PREFIX"
    )
    parser.add_argument("--starts", type=int, default=5, help="how often the start is timed (5)")
    parser.add_argument(
        "--volume", action="append", default=[], help="HOST:IMAGE:ro, while building: an installer's configuration"
    )
    options = parser.parse_args(arguments)
    tools = ("buildah", "debootstrap") if options.stand_in else ("buildah",)
    if lacking := [tool for tool in tools if not shutil.which(tool)] + missing():
        parser.error(f"this machine lacks {', '.join(lacking)}")
    with tempfile.TemporaryDirectory(prefix="callbot-image-") as folder:
        builder = Builder(Path(folder))
        base_image = builder.stand_in(options.stand_in) if options.stand_in else options.base
        image = builder.build(base_image, options.volume)
        sizes = ", ".join(f"/{part} {megabytes(image.root / part)}" for part in PARTS)
        click.echo(f"image: {megabytes(image.root)} MB unpacked, of which {sizes}")
        click.echo(f"it runs {' '.join(image.command)} as {image.user}")
        problems = [*faults(image), *_codec(image)]
        with emulator(Path(folder)) as firestore:
            problems += _start(image, options.starts, firestore)
            problems += _call_through(image, Path(folder), firestore)
    for problem in problems:
        click.echo(f"WRONG: {problem}")
    return 1 if problems else 0


class Builder:
    """buildah with all that it keeps in one folder, and containers that are plain directories."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        storage = [f"--root={folder / 'storage'}", f"--runroot={folder / 'run'}", "--storage-driver=vfs"]
        self._buildah = ["buildah", *storage]

    def stand_in(self, prefix: Path) -> str:
        """An image with the layout of python:3.13-slim-trixie: CPython, without byte code or tests, in /usr/local."""
        root = self._folder / "debian"
        _done("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie", str(root))
        version = next((prefix / "lib").glob("python3.*")).name
        ours = shutil.ignore_patterns("*.pyc", "__pycache__", "test", "tests", "config-3*", "*.pth")
        shutil.copytree(
            prefix / "lib" / version, root / "usr/local/lib" / version, ignore=ours, symlinks=True, dirs_exist_ok=True
        )
        shutil.copytree(prefix / "include" / version, root / "usr/local/include" / version)
        for library in (prefix / "lib").glob("libpython*.so*"):
            shutil.copy2(library, root / "usr/local/lib", follow_symlinks=False)
        shutil.copy2(prefix / "bin" / version, root / "usr/local/bin")
        for name, target in (("python3", version), ("python", "python3")):
            (root / "usr/local/bin" / name).symlink_to(target)
        _done("chroot", str(root), "ldconfig")
        for downloads in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / downloads)
        container = self._run("from", "scratch")
        self._run("add", "--quiet", container, str(root), "/")
        self._run("config", "--env=PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        self._run("commit", "--quiet", "--rm", container, STAND_IN)
        shutil.rmtree(root)
        return STAND_IN

    def build(self, base: str | None, volumes: Sequence[str]) -> Image:
        """The Dockerfile's image, unpacked."""
        options = [f"--from={base}"] if base else []
        options += [f"--volume={volume}" for volume in volumes]
        dockerfile = f"--file={ROOT / 'stream_service/Dockerfile'}"
        self._run("bud", "--isolation=chroot", "--quiet", *options, dockerfile, "--tag=localhost/stream", str(ROOT))
        config = json.loads(self._run("inspect", "--type=image", "localhost/stream"))["OCIv1"]["config"]
        return Image.of(Path(self._run("mount", self._run("from", "localhost/stream"))), config)

    def _run(self, *arguments: str) -> str:
        return _done(*self._buildah, *arguments)


def _done(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECONDS)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-5000:]}")
    return done.stdout.strip()


# -- what it does ------------------------------------------------------------------------------------------------------


def _codec(image: Image) -> list[str]:
    """The product does without its compiled codec when there is none, so nothing else would tell."""
    tried = image.run("python", "-c", "from stream_service.wire import _codec")
    return [] if tried.returncode == 0 else [f"no compiled codec: {tried.stderr.strip()[-300:]}"]


def _start(image: Image, times: int, firestore: str) -> list[str]:
    """Time the start, and see as what it runs."""
    given = {setting.name: "unused" for setting in SETTINGS if Part.STREAM in setting.needed_by}
    given |= {"FUNCTIONS_URL": "https://callbot.test", "STREAM_URL": "wss://callbot.test/ws"}
    given |= {"CALL_STORE": "firestore:starts", "FIRESTORE_EMULATOR_HOST": firestore}
    took = []
    for _ in range(times):
        container = Container(image, given)
        took.append(container.start())
        status = container.status()
        ended = container.terminate()
    click.echo(
        f"start to the first 200 of /health: {min(took):.2f} s (the fastest of {times}; the slowest {max(took):.2f})"
    )
    click.echo(f"SIGTERM without calls: exit status {ended[0]} after {ended[1]:.1f} s")
    wrong = [] if ended[0] == 0 else [f"SIGTERM ends it with status {ended[0]}"]
    wanted = {"Uid": image.user.split(":")[0], "CapEff": "0" * 16, "NoNewPrivs": "1", "NSpid": "1"}
    for name, value in wanted.items():
        if status[name].split()[-1] != value:
            wrong.append(f"{name} of the running process is {status[name]}")
    return wrong


class Deployed(System):
    """The whole system, with the stream service as containers: two instances, of which the first gets the calls."""

    def __init__(self, folder: Path, image: Image, firestore: str) -> None:
        store = f"firestore:calls-{uuid.uuid4().hex[:12]}"
        super().__init__(folder, CALL_STORE=store, AGENTS_FILE="")  # the delivered agents
        self._local = self.stream.url
        self.stream.stop()  # the one that would have run from this checkout
        known = {setting.name for setting in SETTINGS}
        settings = {name: value for name, value in self._env(Part.STREAM).items() if name in known}
        settings["FIRESTORE_EMULATOR_HOST"] = firestore
        self.instances = [Container(image, settings) for _ in range(2)]

    def start(self) -> None:
        self.functions.start()
        for instance in self.instances:
            instance.start()
        self.send_calls_to(self.instances[0])

    def stop(self) -> None:
        self.carrier.stop()
        for instance in self.instances:
            instance.stop()
        self.functions.stop()
        self.vendors.stop()

    def send_calls_to(self, instance: Container) -> None:
        """What Cloud Run does with new requests when another instance is going away."""
        host = next(host for host, address in self.carrier.tunnels.items() if address == self._local)
        self._local = self.carrier.tunnels[host] = instance.url


def _call_through(image: Image, folder: Path, firestore: str) -> list[str]:
    """One call to each engine; in the second the instance is told to stop."""
    with _environment(FIRESTORE_EMULATOR_HOST=firestore), Deployed(folder, image, firestore) as system:
        asks = (Listen(), system.says("price"), Listen(), system.says("hang-up"), StayUntilEnd())
        problems = _judged("amivoice", system, system.dial("amivoice", *asks))

        ended: list[tuple[int, float]] = []

        def stop(_: object) -> None:
            system.send_calls_to(system.instances[1])
            ended.append(system.instances[0].terminate())

        call = system.dial("realtime", Listen(), Do(stop), Wait(1.5), *asks[1:])
        problems += _judged("realtime, SIGTERM in the middle", system, call)
        (status, seconds), code = ended[0], call.wait(1).streams[0].close_code
        click.echo(f"SIGTERM in a call: exit status {status} after {seconds:.1f} s; the stream was closed with {code}")
        if status or code != HANDED_OVER:
            problems.append("the call was not handed over")
        for instance in system.instances:
            problems += [f"logged: {line}" for line in instance.output().splitlines() if '"ERROR"' in line]
    return problems


def _judged(name: str, system: System, call: EmulatedCall) -> list[str]:
    report = call.wait(CALL_SECONDS)
    record = system.ended(call.sid)
    silence = report.longest_unexplained_silence
    click.echo(
        f"{name}: {len(report.turns)} turns answered, ended by the {report.ended_by} ({record['endReason']}), "
        f"longest unexplained silence {silence:.1f} s"
    )
    good = report.ended_by == "bot" and len(report.turns) == 2 and silence <= MOST_SILENCE
    return [] if good else [f"{name}: not as it should be; {report.errors}"]


@contextmanager
def _environment(**variables: str) -> Iterator[Mapping[str, str]]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield os.environ
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    sys.exit(main())
