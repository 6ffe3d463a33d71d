"""The pipeline: what its file promises, and one life of it on this machine (`run_build`)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra import run_build
from tests.infra.run_build import BUCKET, PREFIX, Done, Machine
from tests.infra.simulation import Outcome

ROOT = Path(__file__).parents[2]
FUNCTIONS = ("twiml", "incoming-call", "call-flow", "call-events", "outgoing-call", "calls")
SERVICES = (f"{PREFIX}-stream", *(f"{PREFIX}-{name}" for name in FUNCTIONS))
LOCK = f"gs://{BUCKET}/{PREFIX}/delivery.lock"
# What changes nothing, of all that gcloud is asked.
READS = ("run services list", "builds describe", "builds list", "storage objects describe", "artifacts docker images")


@pytest.fixture(scope="module")
def config(simulated: Path) -> dict[str, Any]:
    assert simulated.is_dir()
    return run_build.document()


def test_builders_are_pinned_and_an_image_has_one_pin_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    files = [ROOT / "cloudbuild.yaml", *sorted((ROOT / "infra").glob("*.tf"))]
    for name, digest in re.findall(r"([\w./-]+:[\w.-]+)@(sha256:\w+)", "\n".join(map(Path.read_text, files))):
        assert re.fullmatch("sha256:[0-9a-f]{64}", digest), name
        pins.setdefault(name, set()).add(digest)
    assert pins
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


def test_no_builder_is_named_by_a_tag_alone(config: dict[str, Any]) -> None:
    assert [step["id"] for step in config["steps"] if "@sha256:" not in step["name"]] == []


def test_the_triggers_give_what_the_file_takes(config: dict[str, Any], deployed: Outcome) -> None:
    triggers = deployed.resources("google_cloudbuild_trigger")
    assert len(triggers) == 2
    for address, values in triggers.items():
        assert values["substitutions"].keys() == config["substitutions"].keys(), address
        assert values["filename"] == "cloudbuild.yaml"


def test_values_never_become_commands(config: dict[str, Any]) -> None:
    assert config["options"]["automapSubstitutions"] is True
    for step in config["steps"]:
        # Cloud Build does not substitute in scripts, and the shell takes `$$` for its own process id.
        assert "$$" not in step.get("script", ""), step["id"]
        assert "script" in step or "entrypoint" not in step, step["id"]


def test_no_secret_is_readable_for_whoever_builds(config: dict[str, Any]) -> None:
    assert "availableSecrets" not in config
    assert not any("secretEnv" in step for step in config["steps"])


def test_the_limits_of_the_steps_fit_into_the_builds(config: dict[str, Any]) -> None:
    ends: dict[str, int] = {}
    for step in config["steps"]:
        after = step.get("waitFor", list(ends))
        begins = max((ends[name] for name in after if name != "-"), default=0)
        ends[step["id"]] = begins + int(step["timeout"].removesuffix("s"))
    assert max(ends.values()) <= int(config["timeout"].removesuffix("s"))


def test_logs_are_kept_though_the_account_is_our_own(config: dict[str, Any]) -> None:
    assert config["options"]["logging"] == "CLOUD_LOGGING_ONLY"


# -- one life ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def machine(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    assert simulated.is_dir()
    made = Machine(tmp_path_factory.mktemp("pipeline"))
    yield made
    made.close()


def told(done: list[Done]) -> str:
    return "\n".join(f"== {step.id}: {step.code}\n{step.output}" for step in done)


def serving(machine: Machine) -> set[str]:
    """Which generations of revisions get all traffic, of all services."""
    shares = [machine.cloud.serving(name) for name in SERVICES]
    assert all(list(share.values()) == [100] for share in shares), shares
    return {revision.split("-")[-2] for share in shares for revision in share}


def changes(machine: Machine, since: int) -> list[str]:
    calls = [" ".join(call) for call in machine.cloud.load().data["calls"][since:]]
    return [call for call in calls if not call.startswith(READS)]


def test_what_is_reviewed_changes_nothing_and_what_is_delivered_is_rung_before_it_serves(machine: Machine) -> None:
    _a_pull_request_plans_and_changes_nothing(machine)
    _what_does_not_work_when_it_is_rung_gets_no_traffic(machine)
    _the_next_delivery_takes_the_lock_over_and_serves(machine)


def _a_pull_request_plans_and_changes_nothing(machine: Machine) -> None:
    since = len(machine.cloud.load().data["calls"])
    state = (machine.folder / "state" / "default.tfstate").read_bytes()
    done = machine.review("review")
    assert done[-1].code == 0, told(done)
    assert "Plan:" in next(step.output for step in done if step.id == "plan")
    assert changes(machine, since) == []
    assert "pushed" not in (machine.folder / "state" / "images.json").read_text()
    assert (machine.folder / "state" / "default.tfstate").read_bytes() == state


def _what_does_not_work_when_it_is_rung_gets_no_traffic(machine: Machine) -> None:
    token = machine.cloud.load().data["secrets"][f"{PREFIX}-twilio-auth-token"]
    machine.cloud.data["secrets"][f"{PREFIX}-twilio-auth-token"] = "another-one"
    machine.cloud.save()
    done = machine.deliver("fails", without=("plan", "candidate"))
    assert (done[-1].id, done[-1].code) == ("smoke", 1), told(done)
    assert serving(machine) == {"00001"}
    assert machine.cloud.data["objects"][LOCK]["metadata"]["build"] == "fails"
    machine.cloud.data["secrets"][f"{PREFIX}-twilio-auth-token"] = token
    machine.cloud.save()


def _the_next_delivery_takes_the_lock_over_and_serves(machine: Machine) -> None:
    done = machine.deliver("works")
    assert done[-1].code == 0, told(done)
    assert [step.id for step in done] == [step["id"] for step in run_build.document()["steps"]]
    assert "build fails ended with FAILURE and left the lock" in told(done)
    assert machine.cloud.load().serving(f"{PREFIX}-stream") == {f"{PREFIX}-stream-00002-abc": 100}
    assert len(serving(machine)) in (1, 2)  # functions whose sources have not changed keep their revision
    assert [machine.cloud.tags(name) for name in SERVICES] == [{}] * 7
    assert LOCK not in machine.cloud.data["objects"]
    assert any(url.startswith("gs://") and url.endswith(".spdx.json") for url in machine.cloud.data["objects"])
    # Neither secret has been written where a later step, or a log, could have it.
    token = machine.system.carrier.auth_token
    assert token not in told(done)
    assert list((machine.folder / "secrets").iterdir()) == []
