"""`release.py` as the pipeline runs it, on a cloud of `fake_gcloud`: for the tests of its steps and of its lock."""

import contextlib
import io
from pathlib import Path

import pytest

from tests.infra.fake_gcloud import Cloud

INFRA = Path(__file__).parents[2] / "infra"
FUNCTIONS = ("twiml", "incoming-call", "call-flow", "call-events", "outgoing-call", "calls")
SERVICES = ("mine-stream", *(f"mine-{name}" for name in FUNCTIONS))


class Shell:
    """Runs `release.py` as the pipeline does, in a folder that its steps share."""

    def __init__(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cloud = cloud
        self.folder = cloud.path.parent / ".release"
        # As a script it would find the files beside it.
        monkeypatch.syspath_prepend(str(INFRA))
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)

    def run(self, *step: str) -> tuple[int, str]:
        import release

        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            code = release.main(
                ["--project=p", "--region=asia-northeast1", "--prefix=mine", f"--folder={self.folder}", *step]
            )
        return code, told.getvalue()

    def well(self, *step: str) -> str:
        code, told = self.run(*step)
        assert code == 0, told
        return told

    def refused(self, *step: str) -> str:
        code, told = self.run(*step)
        assert code == 1, told
        return told

    def written(self, name: str) -> str:
        return (self.folder / name).read_text()

    def deliver(self) -> dict[str, str]:
        """Terraform's first apply: a new revision of each service, that of the stream without traffic and tagged."""
        held = self.written("held_revision")
        made = {}
        for name in SERVICES:
            made[name] = self.cloud.load().deploy(name)
        if held:
            self.cloud.data["services"]["mine-stream"]["traffic"] = [
                {"revisionName": held, "percent": 100},
                {"latestRevision": True, "tag": "candidate"},
            ]
            self.cloud.save()
        return made
