"""The steps of a delivery that Terraform does not know: who delivers, what goes on serving, what is tried.

    release.py --project=P --region=R --prefix=callbot lock|hold|tag|shift|untag|unlock

Run by cloudbuild.yaml, in this order, around two `terraform apply`. Between `hold` and `shift` the old revisions of all
seven services serve, whatever fails. The files in --folder carry what one step has to tell a later one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Callable, Mapping, Sequence  # noqa: UP035 - see release_gcloud

from release_gcloud import Gcloud, ReleaseError, Service
from release_lock import Lock

FUNCTIONS = ("twiml", "incoming-call", "call-flow", "call-events", "outgoing-call", "calls")
TAG = "candidate"  # infra/stream.tf gives the stream service the same
READY_SECONDS = 300.0
_POLL_SECONDS = 5.0


class Release:
    """The seven services of one deployment. All methods raise ReleaseError."""

    def __init__(
        self,
        gcloud: Gcloud,
        *,
        region: str,
        prefix: str,
        folder: Path,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gcloud, self._region, self._folder = gcloud, region, folder
        self._say, self._sleep, self._clock = say, sleep, clock
        self._stream = f"{prefix}-stream"
        self._functions = {f"{prefix}-{name}": name for name in FUNCTIONS}
        # In the order in which traffic moves: a stream service that is newer than the functions takes their tickets; an
        # older one need not know theirs.
        self._names = (self._stream, *self._functions)

    def hold(self) -> None:
        """Have what serves go on serving whatever is deployed.

        Writes held.json (service to revision) and held_revision, which Terraform gets; empty when nothing serves yet.
        A function's underlying service is pinned here, because Terraform can only say whether it follows the newest.
        """
        present = self._present()
        held = {name: service.serving for name, service in present.items() if service.serving}
        if self._stream not in held:
            held = {}
            self._say("nothing serves yet: what is deployed serves at once")
        for name, revision in held.items():
            self._say(f"{name}: {revision} goes on serving")
            if name != self._stream and present[name].follows_latest:
                self._change(name, f"--to-revisions={revision}=100")
        self._write("held.json", json.dumps(held, indent=2))
        self._write("held_revision", held.get(self._stream, ""))

    def tag(self) -> None:
        """Give the newest revisions an address of their own, and say which in addresses.json.

        That file has `functionsUrl`, `streamUrl` (the public ones) and `phoneNumber`, as the new revisions know them,
        and `addresses`: public address to the one that leads to the new revision. `callbot smoke` reads it.
        """
        services = self._ready()
        newest = {name: service.newest for name, service in services.items()}
        for name, revision in newest.items():
            if services[name].tagged(TAG)[0] != revision:
                self._change(name, f"--update-tags={TAG}={revision}")
        services = self._all()
        tagged = {name: service.tagged(TAG)[1] for name, service in services.items()}
        if lacking := sorted(name for name, url in tagged.items() if not url):
            raise ReleaseError(f"no address for the tag {TAG} of {', '.join(lacking)}")
        answering = services[next(iter(self._functions))]
        functions_url, stream_url = answering.setting("FUNCTIONS_URL"), answering.setting("STREAM_URL")
        if not functions_url or not stream_url:
            raise ReleaseError(f"{answering.name} does not say FUNCTIONS_URL and STREAM_URL")
        addresses = {
            functions_url.replace("{function}", function): tagged[name] for name, function in self._functions.items()
        }
        addresses[stream_url] = tagged[self._stream].replace("http", "ws", 1) + "/ws"
        told = {
            "functionsUrl": functions_url,
            "streamUrl": stream_url,
            "phoneNumber": answering.setting("TWILIO_PHONE_NUMBER"),
            "addresses": addresses,
        }
        self._write("addresses.json", json.dumps(told, indent=2))
        for name, revision in newest.items():
            self._say(f"{name}: {revision} can be tried at {tagged[name]}")

    def shift(self) -> None:
        """Give the revisions that were tried all traffic. What fails in between is undone: the old ones serve again."""
        held = self._held()
        services = self._all()
        for name, service in services.items():
            if not service.newest or service.newest != service.tagged(TAG)[0]:
                raise ReleaseError(f"{name} has a revision that was not tried: somebody deploys by hand")
        moved = []
        try:
            for name in self._names:
                moved.append(name)
                self._change(name, "--to-latest")
                self._say(f"{name}: {services[name].newest} serves")
        except ReleaseError as exc:
            told = [str(exc), *self._put_back([name for name in reversed(moved) if name in held], held)]
            raise ReleaseError("\n".join(told)) from exc

    def untag(self) -> None:
        """Take the addresses of their own away; what was tried serves."""
        for name, service in self._present().items():
            if service.tagged(TAG)[0]:
                self._change(name, f"--remove-tags={TAG}")

    def _put_back(self, names: Sequence[str], held: Mapping[str, str]) -> list[str]:
        """Have these services serve what they served before; how it went, in a line for each."""
        told = []
        for name in names:
            try:
                self._change(name, f"--to-revisions={held[name]}=100")
                told.append(f"{name}: {held[name]} serves again")
            except ReleaseError as exc:
                told.append(f"{name}: {held[name]} COULD NOT BE PUT BACK: {exc}")
        return told

    def _ready(self) -> dict[str, Service]:
        """All services, once the newest revision of each is ready."""
        ends_at = self._clock() + READY_SECONDS
        while True:
            services = self._all()
            waiting = [name for name, service in services.items() if not service.newest]
            if not waiting:
                return services
            if self._clock() >= ends_at:
                raise ReleaseError(f"not ready within {READY_SECONDS:g} s: {', '.join(waiting)}")
            self._sleep(_POLL_SECONDS)

    def _present(self) -> dict[str, Service]:
        found = self._gcloud.services(self._region)
        return {name: found[name] for name in self._names if name in found}

    def _all(self) -> dict[str, Service]:
        found = self._present()
        if lacking := [name for name in self._names if name not in found]:
            raise ReleaseError(f"not deployed: {', '.join(lacking)}")
        return found

    def _change(self, service: str, *options: str) -> None:
        self._gcloud.change_traffic(service, self._region, *options)

    def _held(self) -> Mapping[str, str]:
        try:
            found: Mapping[str, str] = json.loads((self._folder / "held.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise ReleaseError(f"held.json cannot be read: {exc}") from exc
        return found

    def _write(self, name: str, text: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / name).write_text(text, encoding="utf-8")


def say(text: str) -> None:
    """A line for the build's log, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done. 1: it cannot go on; the last lines say why. 2: wrong usage."""
    parser = argparse.ArgumentParser(description="The steps of a delivery that Terraform does not know.")
    parser.add_argument("--project", required=True)
    parser.add_argument("--region", required=True, help="of the deployment")
    parser.add_argument("--prefix", required=True, help="name_prefix of the deployment")
    parser.add_argument("--folder", type=Path, default=Path(".release"), help="what one step tells another")
    steps = parser.add_subparsers(dest="step", required=True)
    for name in ("hold", "tag", "shift", "untag"):
        steps.add_parser(name, help=(getattr(Release, name).__doc__ or "").splitlines()[0])
    for name, does in (("lock", "Wait until no other build delivers."), ("unlock", "Let the next build deliver.")):
        step = steps.add_parser(name, help=does)
        step.add_argument("--object", required=True, help="gs://BUCKET/NAME")
        step.add_argument("--build", required=True, help="this build's id")
        step.add_argument("--build-region", required=True)
        if name == "lock":
            step.add_argument("--seconds", type=float, default=1800.0, help="to wait at most")
    given = parser.parse_args(arguments)
    gcloud = Gcloud(given.project)
    try:
        if given.step in ("lock", "unlock"):
            lock = Lock(gcloud, given.object, build=given.build, region=given.build_region, say=say)
            lock.take(given.seconds) if given.step == "lock" else lock.give_back()
        else:
            release = Release(gcloud, region=given.region, prefix=given.prefix, folder=given.folder, say=say)
            getattr(release, given.step)()
    except ReleaseError as exc:
        say(f"{given.step}: {exc}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
