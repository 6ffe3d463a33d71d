"""Each deployed part is given the settings that the code in it reads: all of them, and nothing it does not know."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from callbot import addresses
from callbot.settings import SETTINGS, Part, Settings
from tests.infra.conftest import PROJECT, Planner
from tests.infra.simulation import Outcome

SECRETS = {setting.name for setting in SETTINGS if setting.secret}
LOCAL_ONLY = {"PUBLIC_URL"}  # one address for everything, a tunnel's
FROM_CLOUD_RUN = {"PORT"}
OF_THE_FRAMEWORK = {"THREADS"}  # functions-framework: requests at once
# A value for each setting that has no default; the others get their own.
SAMPLES = {"CALLBACK_HOSTS": "example.com", "AGENTS_FILE": "mine.toml"}


def environments(outcome: Outcome) -> Iterator[tuple[str, Part, dict[str, str], dict[str, str]]]:
    """Of each deployed part: its name, what it is, its plain settings, and its secrets by the secret that is read."""
    for values in outcome.resources("google_cloudfunctions2_function").values():
        config = values["service_config"][0]
        secrets = {one["key"]: one["secret"] for one in config["secret_environment_variables"]}
        yield values["name"].removeprefix("callbot-"), Part.FUNCTIONS, config["environment_variables"], secrets
    for values in outcome.resources("google_cloud_run_v2_service").values():
        env = values["template"][0]["containers"][0]["env"]
        plain = {one["name"]: one["value"] for one in env if not one["value_source"]}
        secrets = {
            one["name"]: one["value_source"][0]["secret_key_ref"][0]["secret"] for one in env if one["value_source"]
        }
        yield values["name"].removeprefix("callbot-"), Part.STREAM, plain, secrets


def read_by(part: Part) -> set[str]:
    return {setting.name for setting in SETTINGS if part in setting.used_by} - LOCAL_ONLY - FROM_CLOUD_RUN


@pytest.fixture(scope="session")
def plan_with_everything(planned: Planner, plan: Outcome) -> Outcome:
    """The plan in which everything that may be set by the variable `settings` is, and another concurrency."""
    given = {name for _, _, plain, secrets in environments(plan) for name in {*plain, *secrets}}
    optional = {
        setting.name: SAMPLES.get(setting.name, setting.default)
        for setting in SETTINGS
        if setting.name not in given | SECRETS | LOCAL_ONLY | FROM_CLOUD_RUN
    }
    return planned(settings=json.dumps(optional), stream_concurrency="33")


def test_there_are_as_many_parts_as_are_looked_at(plan: Outcome) -> None:
    assert sorted(name for name, *_ in environments(plan)) == [
        "call-events", "call-flow", "calls", "incoming-call", "outgoing-call", "stream", "twiml",
    ]  # fmt: skip


def test_every_part_is_given_exactly_the_settings_it_reads(plan_with_everything: Outcome) -> None:
    for name, part, plain, secrets in environments(plan_with_everything):
        # Keys are no use where Google's identities decide.
        expected = read_by(part) - {"TRIGGER_KEYS"}
        assert {*plain, *secrets} - OF_THE_FRAMEWORK == expected, name


def test_with_keys_they_go_to_those_who_check_them(deployed_with_keys: Outcome) -> None:
    holders = {name for name, _, _, secrets in environments(deployed_with_keys) if "TRIGGER_KEYS" in secrets}
    assert holders == {"outgoing-call", "calls"}


@pytest.mark.terraform
@pytest.mark.parametrize("variant", ["plan", "deployed", "deployed_with_keys"])
def test_every_part_can_start_with_what_it_is_given(variant: str, request: pytest.FixtureRequest) -> None:
    for _, part, plain, secrets in environments(request.getfixturevalue(variant)):
        # Complains of what is missing or malformed; K_SERVICE is how Cloud Run says where one is.
        environment = plain | dict.fromkeys(secrets, "x" * 32) | {"K_SERVICE": "here", "PORT": "8080"}
        settings = Settings.read(environment, part)
        assert settings.log_level == "info"
        assert settings.call_store == f"firestore:{PROJECT}/callbot"


def test_secrets_are_read_from_secret_manager_and_nowhere_else(deployed_with_keys: Outcome) -> None:
    kept = {values["secret_id"] for values in deployed_with_keys.resources("google_secret_manager_secret").values()}
    for name, _, plain, secrets in environments(deployed_with_keys):
        assert not SECRETS & plain.keys(), name
        assert secrets == {key: f"callbot-{key.lower().replace('_', '-')}" for key in secrets}, name
        assert set(secrets.values()) <= kept, name


def test_no_part_reads_a_secret_of_whatever_version_is_newest(deployed: Outcome) -> None:
    """A version by its number: what runs is what was deployed, and a rotation is a change of the plan."""
    versions: list[Any] = []
    for values in deployed.resources("google_cloudfunctions2_function").values():
        versions += [one["version"] for one in values["service_config"][0]["secret_environment_variables"]]
    for values in deployed.resources("google_cloud_run_v2_service").values():
        sources = [one["value_source"] for one in values["template"][0]["containers"][0]["env"] if one["value_source"]]
        versions += [source[0]["secret_key_ref"][0]["version"] for source in sources]
    assert versions
    assert [version for version in versions if not re.fullmatch("[0-9]+", version)] == []


def test_all_parts_are_told_the_same_addresses_and_they_are_where_things_are(deployed: Outcome) -> None:
    [functions_url] = {plain["FUNCTIONS_URL"] for _, _, plain, _ in environments(deployed) if "FUNCTIONS_URL" in plain}
    [stream_url] = {plain["STREAM_URL"] for _, _, plain, _ in environments(deployed)}

    for values in deployed.resources("google_cloudfunctions2_function").values():
        path = values["name"].removeprefix("callbot-")
        expected = f"https://asia-northeast1-{PROJECT}.cloudfunctions.net/{values['name']}"
        assert addresses.function_url(functions_url, path) == expected
    assert re.fullmatch(r"wss://callbot-stream-[0-9]+\.asia-northeast1\.run\.app/ws", stream_url)


def test_an_instance_takes_as_many_calls_as_its_threads_are_made_for(plan_with_everything: Outcome) -> None:
    [plain] = [plain for name, _, plain, _ in environments(plan_with_everything) if name == "stream"]
    [service] = plan_with_everything.resources("google_cloud_run_v2_service").values()
    assert plain["STREAM_CONCURRENCY"] == "33"
    assert service["template"][0]["max_instance_request_concurrency"] == 33


def test_a_stream_without_twilios_signature_is_refused(plan: Outcome) -> None:
    assert [plain["STREAM_SIGNATURE"] for name, _, plain, _ in environments(plan) if name == "stream"] == ["required"]
