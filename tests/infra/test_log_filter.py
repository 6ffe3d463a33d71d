"""The evaluator of filters is right about what it knows, and refuses the rest."""

import pytest

from tests.infra.log_filter import UnknownSyntaxError, compiled, entry, extract

LINE = (
    '{"severity": "WARNING", "message": "stream lost", "time": "2026-11-21T10:00:00.000Z", "event": "stream lost",'
    ' "engine": "realtime", "resumed": true, "seconds": 12.5, "logging.googleapis.com/trace": "projects/p/traces/1"}'
)
ENTRY = entry(LINE, "callbot-stream")


@pytest.mark.parametrize(
    "text",
    [
        'resource.type="cloud_run_revision"',
        'resource.labels.service_name="callbot-stream"',
        'jsonPayload.event=("call ended" OR "stream lost")',
        'jsonPayload.event=("stream lost")',
        'jsonPayload.event="Stream LOST"',
        "jsonPayload.resumed=true",
        "jsonPayload.seconds=12.5",
        "jsonPayload.seconds:*",
        "severity>=WARNING",
        "severity>=INFO AND jsonPayload.resumed=true",
        'jsonPayload.event="x" OR (jsonPayload.resumed=true AND severity>=ERROR) OR jsonPayload.engine="realtime"',
        'NOT jsonPayload.reason="session renewed"',
        'NOT (jsonPayload.event="x" OR jsonPayload.event="y")',
    ],
)
def test_a_filter_that_matches(text: str) -> None:
    assert compiled(text)(ENTRY)


@pytest.mark.parametrize(
    "text",
    [
        'resource.type="cloud_run_job"',
        'resource.labels.service_name="callbot-stream-2"',
        'jsonPayload.event=("call ended" OR "stream")',
        'jsonPayload.reason="session renewed"',
        "jsonPayload.resumed=false",
        'jsonPayload.resumed="true"',
        "jsonPayload.resumed=1",
        "jsonPayload.generation:*",
        "severity>=ERROR",
        "severity>=INFO AND jsonPayload.resumed=false",
        'NOT jsonPayload.event="stream lost"',
        'jsonPayload.time="2026-11-21T10:00:00.000Z"',
    ],
)
def test_a_filter_that_does_not(text: str) -> None:
    assert not compiled(text)(ENTRY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stream lost",
        '"stream lost"',
        'jsonPayload.event="a" jsonPayload.engine="b"',
        'jsonPayload.event="a" AND jsonPayload.engine="b" OR jsonPayload.engine="c"',
        'jsonPayload.event!="a"',
        'jsonPayload.event:"a"',
        'jsonPayload.event=~"a"',
        "jsonPayload.event=stream",
        'jsonPayload.event=("a" OR)',
        'jsonPayload.event=("a" OR "b"',
        'jsonPayload.event=("a" AND "b")',
        'event="a"',
        'textPayload="a"',
        "jsonPayload.seconds>=3",
        "severity>=BAD",
        'jsonPayload.event="a" AND',
        'jsonPayload.event="a" and jsonPayload.engine="b"',
        'jsonPayload.event="a")',
        "jsonPayload.event='a'",
    ],
)
def test_what_it_does_not_know_it_refuses(text: str) -> None:
    with pytest.raises(UnknownSyntaxError):
        compiled(text)


def test_an_extractor_finds_the_field_as_it_is() -> None:
    assert extract("EXTRACT(jsonPayload.seconds)", ENTRY) == 12.5
    assert extract("EXTRACT(jsonPayload.generation)", ENTRY) is None


@pytest.mark.parametrize("text", ["jsonPayload.seconds", "EXTRACT(seconds)", 'REGEXP_EXTRACT(jsonPayload.x, "(a)")'])
def test_an_extractor_it_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(UnknownSyntaxError):
        extract(text, ENTRY)
