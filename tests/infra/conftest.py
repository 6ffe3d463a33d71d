"""Plans and states of `infra/` that its policy tests read, each made once for all workers by a simulated Google Cloud.

A test that asks for one of them is marked `terraform` by that (one that asks by its name marks itself): `make infra`
runs it, `make test` does not. They cost seconds each, so there are few; a test takes one that shows what it looks for.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infra import simulation
from tests.infra.simulation import Outcome

Planner = Callable[..., Outcome]

PROJECT = "my-callbot-123456"  # of example.tfvars
STATE_BUCKET = "my-state"
# What an operator might give for the secrets. None of it may be found again anywhere.
CANARIES = {
    "TWILIO_ACCOUNT_SID": "ACcanary0account0canary0account0ca",
    "TWILIO_AUTH_TOKEN": "canary-twilio-token-1,canary-twilio-token-2",
    "OPENAI_API_KEY": "sk-canary-openai",
    "AMIVOICE_API_KEY": "canary-amivoice-key",
    "STREAM_TICKET_SECRET": "canary-ticket-secret",
}
TRIGGER_CANARY = {"TRIGGER_KEYS": "canary-trigger-key"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Terraform."""
    for item in items:
        if "simulated" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.terraform)
        if item.get_closest_marker("terraform"):
            # The first to ask waits until it is made, maybe behind another worker's.
            item.add_marker(pytest.mark.timeout(2 * simulation.SECONDS))


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder that all workers' simulations share. Without a simulation the test is skipped; under CI it fails."""
    if lacking := simulation.missing():
        if os.environ.get("CI"):
            pytest.fail(f"under CI these tests must run, but {lacking}")
        pytest.skip(lacking)
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "simulated"
    shared.mkdir(exist_ok=True)
    return shared


@pytest.fixture(scope="session")
def planned(simulated: Path) -> Planner:
    """Makes the plan of the example's variables and others: `planned(trigger_auth="key")`."""

    def make(**variables: str) -> Outcome:
        return simulation.plan(simulated, *_options(variables))

    return make


@pytest.fixture(scope="session")
def plan(planned: Planner) -> Outcome:
    """The plan of the example's variables: an empty project, the first apply."""
    return planned()


@pytest.fixture(scope="session")
def deployed(simulated: Path) -> Outcome:
    """The state after the first apply of a deployment with a pipeline, the secrets given with it."""
    repository = f"projects/{PROJECT}/locations/asia-northeast1/connections/here/repositories/callbot"
    return simulation.state(
        simulated,
        *_options({"repository": repository, "state_bucket": STATE_BUCKET}),
        *("--assume", STATE_BUCKET),
        environment={"TF_VAR_secrets": json.dumps(CANARIES)},
    )


@pytest.fixture(scope="session")
def deployed_with_keys(simulated: Path) -> Outcome:
    """The state after the first apply of a deployment whose trigger is guarded by keys."""
    return simulation.state(
        simulated,
        *_options({"trigger_auth": "key"}),
        environment={"TF_VAR_secrets": json.dumps(CANARIES | TRIGGER_CANARY)},
    )


def _options(variables: dict[str, str]) -> list[str]:
    return [part for name, value in variables.items() for part in ("--var", f"{name}={value}")]
