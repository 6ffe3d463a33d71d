"""Log-based metrics count what they say: their filters, applied to lines that the product has really written."""

from collections.abc import Mapping
from typing import Any

import pytest

from callbot.logs import EVENTS
from tests.infra import emitted
from tests.infra.log_filter import Entry, compiled, extract
from tests.infra.simulation import Outcome

PREFIX = "callbot/"

# What each metric counts, written down a second time: who changes one has to mean it.
COUNTED = {
    "calls_started": {"call started"},
    "calls_ended": {"call ended"},
    "streams_opened": {"stream opened"},
    "turns": {"turn answered"},
    "long_silences": {"long silence"},
    "interruptions": {"engine lost", "stream lost"},
    "resumptions": {"engine ready", "stream opened"},
    "refused": {"webhook refused", "handshake refused", "stream refused"},
    "trigger_refused": {"trigger refused"},
    "vendor_failures": {"vendor failed"},
    "store_failures": {"store down", "store write lost"},
    "mistakes": {"webhook failed", "request failed", "relay failed", "next step not written in time", "tool failed"},
}
MEASURED = {
    "call_seconds": ("call ended", "durationSeconds"),
    "turn_transcript_ms": ("turn answered", "transcriptMs"),
    "turn_first_token_ms": ("turn answered", "firstTokenMs"),
    "turn_first_sentence_ms": ("turn answered", "firstSentenceMs"),
    "turn_first_words_ms": ("turn answered", "firstWordsMs"),
}
# Events of which the lines made here have none; their metric counts others too.
SELDOM = {"stream lost", "request failed", "relay failed", "next step not written in time", "tool failed"}

Metrics = Mapping[str, Mapping[str, Any]]


@pytest.fixture
def metrics(plan: Outcome) -> Metrics:
    found = plan.resources("google_logging_metric").values()
    return {metric["name"].removeprefix(PREFIX): metric for metric in found}


@pytest.fixture(scope="session")
def entries(simulated) -> list[Entry]:
    return emitted.entries(simulated)


def test_every_metric_is_known_here(metrics: Metrics) -> None:
    usage = {name for name in metrics if name.startswith("usage_")}
    assert metrics.keys() - usage == COUNTED.keys() | MEASURED.keys()
    billed = EVENTS["call usage"] - {"engine", "model", "guesses", "guessesKept", "cutAnswers"}
    assert {_measured(metrics[name]) for name in usage} == billed, "what is billed has to be counted"


def test_a_metric_counts_its_events_and_no_other(metrics: Metrics, entries: list[Entry]) -> None:
    for name, metric in metrics.items():
        matches = compiled(metric["filter"])
        counted = {entry["jsonPayload"].get("event") for entry in entries if matches(entry)}
        expected = COUNTED.get(name) or {MEASURED.get(name, ("call usage", ""))[0]}
        assert counted
        assert counted <= expected, name
        assert expected - counted <= SELDOM, name
        assert all(event in EVENTS for event in expected)


def test_a_measured_value_is_the_number_in_the_line_and_nothing_else(metrics: Metrics, entries: list[Entry]) -> None:
    for name, metric in metrics.items():
        if not metric["value_extractor"]:
            continue
        field, matches = _measured(metric), compiled(metric["filter"])
        assert name not in MEASURED or field == MEASURED[name][1]
        event = MEASURED.get(name, ("call usage", ""))[0]
        given = [entry for entry in entries if entry["jsonPayload"].get("event") == event]
        values = [extract(metric["value_extractor"], entry) for entry in given if matches(entry)]
        assert values == [entry["jsonPayload"][field] for entry in given if field in entry["jsonPayload"]]
        assert all(type(value) in (int, float) for value in values), name


def test_every_label_is_a_field_of_its_events_and_seen_in_a_line(metrics: Metrics, entries: list[Entry]) -> None:
    for name, metric in metrics.items():
        matches = compiled(metric["filter"])
        labels = {label["key"] for label in metric["metric_descriptor"][0]["labels"]}
        assert labels == metric["label_extractors"].keys(), name
        for label, extractor in metric["label_extractors"].items():
            if (name, label) == ("turns", "code"):  # only of an answer that failed
                assert "code" in EVENTS["turn answered"]
                continue
            assert any(extract(extractor, entry) is not None for entry in entries if matches(entry)), (name, label)


def test_no_label_is_without_bound(metrics: Metrics) -> None:
    """Each value of a label is a time series that is paid for: no call, no time, no words."""
    fields = {extractor[len("EXTRACT(jsonPayload.") : -1] for m in metrics.values() for extractor in _labels(m)}
    assert fields == {
        *("engine", "direction", "endReason", "event", "reason", "path", "httpStatus", "service", "code", "what")
    }


def test_another_deployment_in_the_project_is_not_counted(metrics: Metrics, entries: list[Entry]) -> None:
    for service in ("callbot2-stream", "callbot-stream-2", "other-incoming-call", "stream"):
        resource = {"type": "cloud_run_revision", "labels": {"service_name": service}}
        assert not any(
            compiled(metric["filter"])({**entry, "resource": resource})
            for metric in metrics.values()
            for entry in entries
        )


def test_a_session_that_callbot_renews_itself_is_no_interruption(metrics: Metrics, entries: list[Entry]) -> None:
    interrupted = compiled(metrics["interruptions"]["filter"])
    (lost,) = [entry for entry in entries if interrupted(entry)]
    assert not interrupted({**lost, "jsonPayload": {**lost["jsonPayload"], "reason": "session renewed"}})


def test_only_what_was_there_again_is_a_resumption(metrics: Metrics, entries: list[Entry]) -> None:
    resumed = compiled(metrics["resumptions"]["filter"])
    assert {entry["jsonPayload"]["resumed"] for entry in entries if resumed(entry)} == {True}


def test_a_second_deployment_has_metrics_of_its_own(planned) -> None:
    names = {m["name"] for m in planned(name_prefix="callbot-two").resources("google_logging_metric").values()}
    assert {name.split("/")[0] for name in names} == {"callbot-two"}


def _measured(metric: Mapping[str, Any]) -> str:
    return metric["value_extractor"].removeprefix("EXTRACT(jsonPayload.").removesuffix(")")


def _labels(metric: Mapping[str, Any]) -> list[str]:
    return list(metric["label_extractors"].values())
