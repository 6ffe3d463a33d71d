"""What reaches a log line, and above all what does not."""

import ast
import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gunicorn.glogging import Logger as GunicornLogger
from hypothesis import given
from hypothesis import strategies as st

from callbot import logs

log = logging.getLogger("callbot.test")
NUMBER, SECRET = "+819012345678", "sk-very/secret=key"
Read = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> Iterator[Read]:
    """Configures logging as a deployed part does, at `info` or the level asked for; reads the lines so far."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logs._secrets
    stream = io.StringIO()
    logs.configure(getattr(request, "param", "info"), stream)
    logs.protect(SECRET)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], level, logs._secrets = before
    root.setLevel(level)
    logs.trace_from({}, "")


def test_a_line_is_what_cloud_logging_reads(lines: Read) -> None:
    logs.trace_from({"X-Cloud-Trace-Context": "0123456789abcdef" * 2 + "/1;o=1"}, "my-project")
    log.warning("stream %s closed", "g1", extra={"callSid": "CA1", "seconds": 1.5})
    (line,) = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "severity": "WARNING",
        "message": "stream g1 closed",
        "logger": "callbot.test",
        "logging.googleapis.com/trace": "projects/my-project/traces/" + "0123456789abcdef" * 2,
        "callSid": "CA1",
        "seconds": 1.5,
    }


def test_gunicorn_can_write_its_own_lines_too(lines: Read) -> None:
    record = log.makeRecord("gunicorn.error", logging.ERROR, "", 0, "worker %s is gone", (7,), None)
    assert f"[{os.getpid()}] [ERROR] worker 7 is gone" in logging.Formatter(GunicornLogger.error_fmt).format(record)


@pytest.mark.parametrize(
    ("headers", "is_traced"),
    [
        ({"traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"}, True),
        ({"X-Cloud-Trace-Context": "ab" * 16}, True),
        ({"X-Cloud-Trace-Context": "ab" * 17}, False),
        ({"X-Cloud-Trace-Context": '"},{"a": "'}, False),
        ({"traceparent": "x"}, False),
        ({}, False),
    ],
)
def test_a_request_is_tied_to_its_trace_and_the_next_one_is_not(
    lines: Read, headers: dict[str, str], is_traced: bool
) -> None:
    logs.trace_from(headers, "p")
    log.info("first")
    logs.trace_from({}, "p")
    log.info("second")
    first, second = lines()
    assert first.get("logging.googleapis.com/trace") == ("projects/p/traces/" + "ab" * 16 if is_traced else None)
    assert "logging.googleapis.com/trace" not in second


def test_an_event_of_a_calls_life_is_one_line(lines: Read) -> None:
    logs.event(log, "turn answered", call_sid="CA1", turn=3, first_token_ms=812.5, transcript_ms=None, heardMs=7)
    (line,) = lines()
    assert (line["severity"], line["message"], line["event"], line["callSid"]) == (
        "INFO",
        "turn answered",
        "turn answered",
        "CA1",
    )
    assert (line["turn"], line["firstTokenMs"], line["heardMs"]) == (3, 812.5, 7)
    assert "transcriptMs" not in line


def test_an_event_of_no_call_has_no_id(lines: Read) -> None:
    logs.event(log, "stream refused", call_sid="", severity="WARNING", reason="no ticket")
    assert "callSid" not in lines()[0]


def test_an_event_comes_with_its_stack_when_asked_for(lines: Read) -> None:
    try:
        raise KeyError("a mistake")
    except KeyError:
        logs.event(log, "relay failed", call_sid="CA1", severity="ERROR", stack=True, engine="amivoice")
    (line,) = lines()
    assert (line["severity"], line["event"], line["engine"]) == ("ERROR", "relay failed", "amivoice")
    assert "KeyError: 'a mistake'" in line["stack_trace"]


@pytest.mark.parametrize("field", ["text", "words", "transcript", "to", "from_", "number", "message", "greeting"])
def test_no_event_has_a_field_for_what_is_private(field: str) -> None:
    for name in logs.EVENTS:
        with pytest.raises(ValueError, match="not fields of"):
            logs.event(log, name, call_sid="CA1", **{field: "こんにちは"})  # type: ignore[arg-type]  # the name is the test


def test_an_event_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="not an event: stream oponed"):
        logs.event(log, "stream oponed", call_sid="CA1")


def events_told(path: Path) -> Iterator[tuple[str, set[str]]]:
    """The events that a source file gives to `logs.event(…)`, or to the sessions' `Note(name, {…})`, with fields."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("logs"), attr="event"), args=args, keywords=keywords):
                given = {keyword.arg for keyword in keywords if keyword.arg} - {"call_sid", "severity", "stack"}
            case ast.Call(func=ast.Name("Note"), args=[_, ast.Dict(keys=keys), *_] as args):
                given = {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
            case ast.Call(func=ast.Name("Note"), args=args):
                given = set()
            case _:
                continue
        for argument in args:
            if isinstance(argument, ast.Constant) and argument.value not in logging.getLevelNamesMapping():
                yield str(argument.value), given


def test_every_event_of_the_product_is_known_and_every_known_one_is_told(lines: Read) -> None:
    root = Path(__file__).parents[2]
    sources = [path for part in ("functions", "stream_service") for path in (root / part).rglob("*.py")]
    told = [event for path in sources for event in events_told(path)]
    for name, fields in told:
        logs.event(log, name, call_sid="CA1", **dict.fromkeys(fields, 1))  # type: ignore[arg-type]  # any value will do
    assert {name for name, _ in told} == set(logs.EVENTS)


def a_hundred_ways_to_leak(value: str) -> None:
    log.info(value)
    log.info("calling %s", value)
    log.warning("%(to)s", {"to": value})
    log.error(
        "failed", extra={"callSid": "CA1", "nested": {"to": [value, (value,)], value: 1}, "object": Exception(value)}
    )
    logs.event(log, "call ended", call_sid="CA1", end_reason=f"no answer from {value}.")
    try:
        raise ValueError(value)
    except ValueError:
        log.exception("broken")
    logging.getLogger("twilio.http_client").info("POST %s", value)
    logging.getLogger("urllib3.connectionpool").debug("GET %s", value)


@pytest.mark.parametrize(
    "number",
    [
        NUMBER,
        "+12025550123",
        "To=%2B819012345678&",
        "+81 90-1234-5678",
        "090-1234-5678",
        "09012345678",
        "tel:+81312345678",
    ],
)
def test_no_number_reaches_a_line(lines: Read, number: str) -> None:
    a_hundred_ways_to_leak(number)
    text = json.dumps(lines())
    assert len(lines()) == 6
    assert not any(digits in text.replace("-", "").replace(" ", "") for digits in ("901234", "202555", "312345"))
    assert "***" in text


@pytest.mark.parametrize("lines", ["debug", "info"], indirect=True)
@pytest.mark.parametrize("secret", [SECRET, "sk-very%2Fsecret%3Dkey"])
def test_no_secret_reaches_a_line_at_any_level(lines: Read, secret: str) -> None:
    a_hundred_ways_to_leak(secret)
    log.debug("key %s", secret)
    assert "[secret]" in json.dumps(lines())
    assert "very" not in json.dumps(lines())


def test_a_secret_inside_a_longer_one_leaves_no_rest(lines: Read) -> None:
    logs.protect("abcdefgh", "abcdefghijkl", "abc", "")
    log.info("abcdefghijkl abcdefgh abc")
    assert lines()[0]["message"] == "[secret] [secret] abc"


@pytest.mark.parametrize("lines", ["debug"], indirect=True)
def test_debug_may_show_numbers_and_words_and_other_levels_may_not(lines: Read) -> None:
    log.debug("heard %s from %s", "こんにちは", NUMBER)
    log.info("heard %d characters from %s", 5, NUMBER)
    logging.getLogger("openai").debug("request: こんにちは")
    debug, info = lines()
    assert debug["message"] == f"heard こんにちは from {NUMBER}"
    assert info["message"] == "heard 5 characters from +81******78"


@pytest.mark.parametrize(
    "text",
    ["CA0123456789abcdef0123456789012345", "2026-11-21T10:05:00+09:00", "took 0.0123456789 s", "1763000000.123", "v+1"],
)
def test_what_is_no_number_stays_readable(lines: Read, text: str) -> None:
    log.info(text)
    assert lines()[0]["message"] == text


def test_arguments_that_do_not_fit_cost_neither_the_line_nor_the_secret(lines: Read) -> None:
    record = logging.makeLogRecord({"msg": "took %d s", "args": (SECRET,), "levelno": logging.INFO})
    assert json.loads(logs.JsonFormatter().format(record))["message"] == "took %d s (its arguments do not fit)"


def test_an_exception_comes_with_its_stack(lines: Read) -> None:
    try:
        raise KeyError("reason")
    except KeyError:
        log.exception("broken", extra={"callSid": "CA1"})
    (line,) = lines()
    assert line["severity"] == "ERROR"
    assert "Traceback" in line["stack_trace"]
    assert "KeyError: 'reason'" in line["stack_trace"]


def test_a_line_stays_short_enough_and_whole(lines: Read) -> None:
    log.error("あ" * 100_000, extra={"callSid": "CA1", **{f"field{n}": "い" * 10_000 for n in range(20)}})
    try:
        raise ValueError("う" * 200_000)
    except ValueError:
        log.exception("broken")
    too_much, broken = lines()
    assert (too_much["callSid"], too_much["truncated"]) == ("CA1", True)
    assert too_much["message"].startswith("あああ")
    assert broken["stack_trace"].endswith("う")
    assert all(len(json.dumps(line)) <= logs.LINE_LIMIT for line in lines())


@given(
    st.text(), st.dictionaries(st.text(min_size=1).map("x".__add__), st.floats() | st.text() | st.none(), max_size=4)
)
def test_whatever_is_logged_is_one_line_of_json(text: str, extra: dict[str, Any]) -> None:
    record = logging.makeLogRecord({"msg": text, "levelno": logging.INFO, "levelname": "INFO", **extra})
    line = logs.JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert line.isascii()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
