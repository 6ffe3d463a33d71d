"""The pipeline applies this deployment's variables: every one that an operator may set travels with the trigger."""

import json
import re
from pathlib import Path

import pytest

from tests.infra.simulation import Outcome

INFRA = Path(__file__).parents[2] / "infra"
# The pipeline finds out the first two itself; secrets it has none to give.
NOT_CARRIED = {"image", "held_revision", "secrets"}


@pytest.mark.parametrize("trigger", ["deliver", "review"])
def test_every_variable_travels_with_the_trigger(deployed: Outcome, trigger: str) -> None:
    declared = {
        name for path in INFRA.glob("*.tf") for name in re.findall('^variable "([a-z_]+)"', path.read_text(), re.M)
    }
    carried = deployed.resources("google_cloudbuild_trigger")[f"google_cloudbuild_trigger.{trigger}[0]"][
        "substitutions"
    ]
    assert set(json.loads(carried["_TFVARS"])) == declared - NOT_CARRIED
