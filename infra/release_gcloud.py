"""What a delivery asks of Google Cloud, by the gcloud command: Cloud Run's traffic, builds, one object in a bucket.

Commands and the forms of their answers belong here; what is to be done with them does not. Nothing but the standard
library is imported, and nothing newer than Python 3.9: it runs in the builder image that has gcloud.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence  # noqa: UP035 - see above

READ_SECONDS = 60.0
CHANGE_SECONDS = 120.0  # a change of traffic waits until it is in force


class ReleaseError(Exception):
    """The delivery cannot go on; the message says why, to whoever reads the build's log."""


@dataclass(frozen=True)
class Service:
    """A Cloud Run service as `gcloud run services list --format=json` describes it (Knative Serving v1: Service)."""

    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.data["metadata"]["name"])

    @property
    def traffic(self) -> Sequence[Mapping[str, Any]]:
        """What is in force: `revisionName`, and of `percent`, `latestRevision`, `tag` and `url` those that apply."""
        found: Sequence[Mapping[str, Any]] = self._status.get("traffic") or []
        return found

    @property
    def serving(self) -> str:
        """The revision that gets all traffic; empty when none does. Raises ReleaseError when several share it."""
        names = {str(one["revisionName"]) for one in self.traffic if one.get("percent")}
        if len(names) > 1:
            raise ReleaseError(
                f"the traffic of {self.name} is split between {' and '.join(sorted(names))}: somebody tries something "
                f"by hand. End it first: gcloud run services update-traffic {self.name} --to-revisions=NAME=100"
            )
        return names.pop() if names else ""

    @property
    def follows_latest(self) -> bool:
        """Whether the next revision would get traffic as soon as it is ready."""
        return any(one.get("percent") and one.get("latestRevision") for one in self.traffic)

    @property
    def newest(self) -> str:
        """The newest revision when it is ready; empty as long as it is not. Raises ReleaseError when it never will."""
        created, ready = self._status.get("latestCreatedRevisionName"), self._status.get("latestReadyRevisionName")
        if created and created == ready:
            return str(ready)
        for condition in self._status.get("conditions") or []:
            if condition.get("type") in ("Ready", "ConfigurationsReady") and condition.get("status") == "False":
                raise ReleaseError(f"{created} of {self.name} does not start: {condition.get('message', 'no reason')}")
        return ""

    def tagged(self, tag: str) -> tuple[str, str]:
        """The revision and the address of a tag; both empty when there is no such tag."""
        for one in self.traffic:
            if one.get("tag") == tag:
                return str(one["revisionName"]), str(one.get("url", ""))
        return "", ""

    def setting(self, name: str) -> str:
        """An environment variable of the newest revision, one that is no secret; empty when it has none."""
        containers = self.data["spec"]["template"]["spec"]["containers"]
        for variable in containers[0].get("env") or []:
            if variable["name"] == name:
                return str(variable.get("value", ""))
        return ""

    @property
    def _status(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.data.get("status") or {}
        return found


@dataclass(frozen=True)
class Gcloud:
    """The command, for one project. Every call has a deadline; all that goes wrong is a ReleaseError."""

    project: str

    def services(self, region: str) -> dict[str, Service]:
        """Every Cloud Run service of the region, by name. A list, because one that is not there yet is no error."""
        found = self._json("run", "services", "list", f"--region={region}")
        return {service.name: service for service in map(Service, found)}

    def change_traffic(self, service: str, region: str, *options: str) -> None:
        """`gcloud run services update-traffic`; returns when the change is in force."""
        command = ("run", "services", "update-traffic", service, f"--region={region}", *options)
        self._run(*command, seconds=CHANGE_SECONDS)

    def build(self, build: str, region: str) -> Mapping[str, Any]:
        """A build (Cloud Build API: Build)."""
        found: Mapping[str, Any] = self._json("builds", "describe", build, f"--region={region}")
        return found

    def builds(self, region: str, limit: int) -> Sequence[Mapping[str, Any]]:
        """The latest builds of the region."""
        found: Sequence[Mapping[str, Any]] = self._json("builds", "list", f"--region={region}", f"--limit={limit}")
        return found

    def object(self, url: str) -> Mapping[str, Any] | None:
        """An object of Cloud Storage (JSON API: Objects resource); None when there is none."""
        try:
            found: Mapping[str, Any] = self._json("storage", "objects", "describe", url, "--raw")
        except ReleaseError as exc:
            if "not found: 404" in str(exc):  # gcloud's words; it ends with 1 whatever has happened
                return None
            raise
        return found

    def write(self, url: str, *, generation: str, metadata: Mapping[str, str]) -> None:
        """Write an empty object with these metadata where `generation` is the present one, "0" for none.

        Raises ReleaseError, also when it is not: ask for the object to know.
        """
        pairs = ",".join(f"{name}={value}" for name, value in metadata.items())
        with tempfile.TemporaryDirectory() as folder:
            empty = Path(folder) / "empty"
            empty.touch()
            self._run(
                "storage", "cp", str(empty), url, f"--if-generation-match={generation}", f"--custom-metadata={pairs}"
            )

    def remove(self, url: str, *, generation: str) -> None:
        """Delete that generation of an object and no other. Raises ReleaseError."""
        self._run("storage", "rm", url, f"--if-generation-match={generation}")

    def _json(self, *command: str) -> Any:
        text = self._run(*command, "--format=json")
        try:
            return json.loads(text)
        except ValueError as exc:
            raise ReleaseError(f"gcloud {' '.join(command)}: its answer is not JSON") from exc

    def _run(self, *command: str, seconds: float = READ_SECONDS) -> str:
        told = " ".join(command)
        try:
            done = subprocess.run(  # noqa: S603 - an argument list of ours
                ["gcloud", *command, f"--project={self.project}", "--quiet"],  # noqa: S607 - the builder's own
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise ReleaseError(f"gcloud {told}: no answer within {seconds:g} s") from exc
        except OSError as exc:
            raise ReleaseError(f"gcloud cannot be run: {exc}") from exc
        if done.returncode:
            raise ReleaseError(f"gcloud {told}: {done.stderr.strip()[-2000:] or f'ended with {done.returncode}'}")
        return done.stdout
