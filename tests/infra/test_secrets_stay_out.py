"""The secrets' values reach Secret Manager and nothing else: no plan, no state, no output, no log of Terraform."""

import base64
import json

import pytest

from tests.infra.conftest import CANARIES, TRIGGER_CANARY
from tests.infra.simulation import ROOT, Outcome


def forms(value: str) -> set[str]:
    """A value as it is, and as it is sent: in base64, whole or as a part of something longer."""
    raw = value.encode()
    shifted = [base64.b64encode(b"x" * offset + raw).decode()[4:].rstrip("=")[:-2] for offset in range(3)]
    return {value, base64.b64encode(raw).decode(), *shifted, raw.hex()}


@pytest.mark.terraform
@pytest.mark.parametrize("variant", ["deployed", "deployed_with_keys"])
def test_nothing_terraform_leaves_holds_a_secret(variant: str, request: pytest.FixtureRequest) -> None:
    outcome: Outcome = request.getfixturevalue(variant)
    left = json.dumps(outcome.data) + outcome.files + outcome.output
    # The versions were really made, so the values were really there to be left behind.
    assert len(outcome.resources("google_secret_manager_secret_version")) >= len(CANARIES)
    for name, value in (CANARIES | TRIGGER_CANARY).items():
        assert [form for form in forms(value) if form in left] == [], name


def test_a_secret_left_behind_would_be_seen() -> None:
    value = CANARIES["TWILIO_AUTH_TOKEN"]
    for text in (value, json.dumps({"a": value}), base64.b64encode(f"key={value};".encode()).decode()):
        assert any(form in text for form in forms(value)), text


def test_each_version_is_made_by_a_write_only_argument(deployed: Outcome) -> None:
    for values in deployed.resources("google_secret_manager_secret_version").values():
        assert not values["secret_data"]
        assert not values["secret_data_wo"]
        assert values["secret_data_wo_version"] is not None


def test_a_plan_without_the_values_holds_none_and_needs_none(plan: Outcome) -> None:
    assert len(plan.resources("google_secret_manager_secret_version")) == len(CANARIES)


def test_no_file_of_the_configuration_has_a_value_of_a_secret() -> None:
    words = ("AUTH_TOKEN", "API_KEY", "TICKET_SECRET", "TRIGGER_KEYS")
    for path in sorted((ROOT / "infra").glob("*.tfvars")):
        text = path.read_text(encoding="utf-8")
        assert [word for word in words if word in text.upper()] == [], path.name
