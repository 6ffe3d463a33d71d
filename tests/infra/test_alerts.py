"""Alerts ask for what is there, tell whoever is woken what to do, and an uptime check expects what the code answers."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import functions_framework
import pytest

from callbot.logs import EVENTS
from callbot.settings import Part, Settings
from stream_service.app import create_app
from stream_service.services import Services
from tests.infra import promql
from tests.infra.emitted import entries, logged
from tests.infra.log_filter import compiled
from tests.infra.simulation import ROOT, Outcome

ALERTS = {
    *("no-answer", "mistake", "silence", "slow-answers", "bad-endings", "vendor", "interruptions", "capacity"),
    *("overload", "store", "refused", "spend", "unreachable"),
}

ENVIRONMENT = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
    "OPENAI_API_KEY": "a-key",
    "AMIVOICE_API_KEY": "a-key",
    "FUNCTIONS_URL": "https://callbot.test",
    "STREAM_URL": "wss://stream.test/ws",
    "STREAM_TICKET_SECRET": "ticket-secret",
}


@pytest.fixture
def policies(plan: Outcome) -> dict[str, dict[str, Any]]:
    return {one["user_labels"]["alert"]: one for one in plan.resources("google_monitoring_alert_policy").values()}


def rules(policy: dict[str, Any]) -> Iterator[str]:
    for condition in policy["conditions"]:
        for rule in condition["condition_prometheus_query_language"]:
            yield rule["query"]


def test_every_alert_is_known_here_and_has_a_condition(policies) -> None:
    assert policies.keys() == ALERTS
    assert all(policy["conditions"] for policy in policies.values())


def test_every_query_asks_for_series_that_are_there(plan: Outcome, policies) -> None:
    known = promql.known_series(plan)
    asked = [selector for policy in policies.values() for rule in rules(policy) for selector in promql.selectors(rule)]
    assert len(asked) > 40
    assert [problem for selector in asked if (problem := promql.problem(selector, known))] == []


def test_a_first_apply_is_not_refused_for_metrics_that_are_a_moment_old(policies) -> None:
    for policy in policies.values():
        for condition in policy["conditions"]:
            for rule in condition["condition_prometheus_query_language"]:
                assert rule["disable_metric_validation"]


def test_every_alert_says_what_to_do_in_a_section_of_the_readme(policies) -> None:
    headings = re.findall(r"^### Alert: (\S+)$", (ROOT / "infra" / "README.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(ALERTS)
    for name, policy in policies.items():
        assert f'section "Alert: {name}"' in policy["documentation"][0]["content"]


def test_every_alert_links_to_log_lines_that_can_be(policies) -> None:
    for policy in policies.values():
        link = policy["documentation"][0]["links"][0]
        parts = urlsplit(link["url"])
        assert len(link["url"]) < 2000
        assert parse_qs(parts.query) == {"project": ["my-callbot-123456"]}
        text = unquote(parts.path.removeprefix("/logs/query;query="))
        compiled(text)  # it is a filter
        events = re.search(r"jsonPayload\.event=\((.*?)\)", text)
        assert events
        assert {event.strip('"') for event in events[1].split(" OR ")} <= EVENTS.keys()


def test_what_stops_calls_is_told_again_and_the_rest_once(policies) -> None:
    for policy in policies.values():
        again = policy["alert_strategy"][0]["notification_channel_strategy"]
        assert bool(again) == (policy["severity"] == "CRITICAL")
        assert len(policy["conditions"]) <= 6, "Cloud Monitoring takes no more"


def test_a_call_that_a_vendor_ended_is_a_bad_ending_and_one_that_a_person_ended_is_not(policies, simulated) -> None:
    (rule,) = rules(policies["bad-endings"])
    (pattern,) = set(re.findall(r'ending=~"([^"]*)"', rule))
    endings = {entry["jsonPayload"].get("endReason") for entry in entries(simulated)} - {None}
    bad = {ending for ending in endings if re.fullmatch(pattern, ending)}
    assert bad == {ending for ending in endings if ending.startswith(("openai: ", "amivoice: "))}
    assert bad
    persons = ("caller hung up", "busy", "failed", "no answer", "caller silent", "time limit", "transferred")
    assert not any(re.fullmatch(pattern, reason) for reason in persons)
    assert re.fullmatch(pattern, "stream lost")


def test_with_as_many_instances_ready_as_may_run_their_number_is_no_alert(planned) -> None:
    def asked(**variables: str) -> str:
        plan = planned(**variables)
        return " ".join(rules(plan.resources()['google_monitoring_alert_policy.this["overload"]']))

    assert "instance_count" in asked()
    assert "instance_count" not in asked(stream_min_instances="2", stream_max_instances="2")


def test_the_uptime_checks_expect_what_the_code_answers(plan: Outcome, monkeypatch, tmp_path) -> None:
    checks = {
        one["http_check"][0]["path"]: one["http_check"][0]["accepted_response_status_codes"][0]["status_value"]
        for one in plan.resources("google_monitoring_uptime_check_config").values()
    }
    environment = ENVIRONMENT | {"CALL_STORE": f"sqlite:{tmp_path / 'calls.db'}"}
    for name, value in (environment | {"FUNCTION_TARGET": ""}).items():
        monkeypatch.setenv(name, value)
    with logged():
        functions = functions_framework.create_app(target="incoming_call", source=str(ROOT / "functions" / "main.py"))
    services = Services(Settings.read(environment, Part.STREAM))
    try:
        stream = create_app(services=services)
        answered = {
            "/callbot-incoming-call": functions.test_client().get("/").status_code,
            "/health": stream.test_client().get("/health").status_code,
        }
    finally:
        services.stop()
    assert checks == answered
