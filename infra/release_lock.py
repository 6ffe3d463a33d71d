"""One delivery at a time: an object beside Terraform's state says which build may change the deployment.

Terraform's own lock holds for one apply, and a delivery is two with a call between them. The object is written where
there is none (Cloud Storage: preconditions, ifGenerationMatch=0), and taken over, by its generation, from a build that
is over without having given it back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable, Mapping  # noqa: UP035 - see release_gcloud

from release_gcloud import Gcloud, ReleaseError

RUNNING = frozenset({"PENDING", "QUEUED", "WORKING"})  # Cloud Build API: Build.Status; all others are final
_POLL_SECONDS = 10.0
_BUILDS_LOOKED_AT = 100


@dataclass(frozen=True)
class Holder:
    """Who has the lock, as its object says."""

    build: str
    region: str
    generation: str


class Lock:
    """The lock at `url` (`gs://BUCKET/NAME`), for one build."""

    def __init__(
        self,
        gcloud: Gcloud,
        url: str,
        *,
        build: str,
        region: str,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gcloud, self._url = gcloud, url
        self._build, self._region = build, region
        self._say, self._sleep, self._clock = say, sleep, clock

    def take(self, seconds: float) -> None:
        """Wait for the lock, at most that long.

        Raises ReleaseError, also for a build that a newer one has overtaken.
        """
        ends_at = self._clock() + seconds
        told = ""
        while True:
            holder = self._holder()
            if holder is not None and holder.build == self._build:
                break
            if holder is None or not self._is_running(holder):
                self._write(holder)
                continue  # who has it now is what the object says
            if self._clock() >= ends_at:
                raise ReleaseError(
                    f"build {holder.build} still has the lock after {seconds:g} s. If it hangs, cancel it and run this "
                    "one again."
                )
            if told != holder.build:
                told = holder.build
                self._say(f"waiting for build {holder.build}, which is delivering")
            self._sleep(_POLL_SECONDS)
        self._refuse_if_overtaken()
        self._say(f"locked: {self._url}")

    def give_back(self) -> None:
        """Let the next one deliver. Raises ReleaseError when another build has the lock."""
        holder = self._holder()
        if holder is None:
            self._say("there is no lock to give back")
        elif holder.build != self._build:
            raise ReleaseError(f"build {holder.build} has the lock: two deliveries may have run at once; look at both")
        else:
            self._gcloud.remove(self._url, generation=holder.generation)
            self._say("unlocked")

    def _holder(self) -> Holder | None:
        found = self._gcloud.object(self._url)
        if found is None:
            return None
        metadata: Mapping[str, Any] = found.get("metadata") or {}
        return Holder(str(metadata.get("build", "")), str(metadata.get("region", "")), str(found["generation"]))

    def _is_running(self, holder: Holder) -> bool:
        if not holder.build or not holder.region:
            return False  # nobody that could be asked
        status = str(self._gcloud.build(holder.build, holder.region).get("status"))
        if status not in RUNNING:
            self._say(f"build {holder.build} ended with {status} and left the lock: taking it over")
        return status in RUNNING

    def _write(self, holder: Holder | None) -> None:
        try:
            self._gcloud.write(
                self._url,
                generation="0" if holder is None else holder.generation,
                metadata={"build": self._build, "region": self._region},
            )
        except ReleaseError:
            # Another build was faster, if the object is another one now; anything else is a fault.
            if self._holder() == holder:
                raise

    def _refuse_if_overtaken(self) -> None:
        """Two pushes may come to the lock in the wrong order, and the older one would undo the newer one."""
        own = self._gcloud.build(self._build, self._region)
        trigger, created = own.get("buildTriggerId"), _moment(own)
        if not trigger:
            return  # started by hand: somebody wants just this one
        for other in self._gcloud.builds(self._region, _BUILDS_LOOKED_AT):
            newer = other.get("buildTriggerId") == trigger and _moment(other) > created
            if newer and other.get("status") == "SUCCESS":
                self.give_back()
                raise ReleaseError(f"build {other['id']} is newer and has been delivered: this one is not needed")


def _moment(build: Mapping[str, Any]) -> tuple[str, str]:
    """When it was created, so that moments can be compared: RFC 3339 has any number of decimals, or none."""
    seconds, _, decimals = str(build["createTime"]).rstrip("Z").partition(".")
    return seconds, decimals.ljust(9, "0")
