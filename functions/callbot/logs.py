"""Log lines: one JSON object each, as Cloud Logging reads them from standard output, with nothing private in them.

Which events there are and what they may carry is said in `log_events.py`. No frame, and no word or number of a caller,
is logged above debug.
"""

import json
import logging
import math
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO
from urllib.parse import quote

from callbot.log_events import EVENTS
from callbot.text import masked

Severity = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

LINE_LIMIT = 65_536  # bytes; Cloud Logging splits or drops an entry above 256 KiB
_TEXT_LIMIT = 4000  # characters of one value
_STACK_LIMIT = 16_000  # the innermost frames come last and are kept
_SHORTEST_SECRET = 8  # a shorter one would black out ordinary words
_SHORTEST_NUMBER = 8  # characters that `_NUMBER` finds one in
_HARMLESS = min(_SHORTEST_SECRET, _SHORTEST_NUMBER)  # what is shorter than this
_LEVELS = logging.getLevelNamesMapping()

# They log requests, with the numbers and keys in them, at INFO and DEBUG.
_TALKATIVE = ("asyncio", "google", "grpc", "httpcore", "httpx", "httpx2", "openai", "twilio", "urllib3", "websocket")

_NUMBER = re.compile(
    r"(?:\+|%2[bB])(?P<whole>[1-9](?:[ .()-]{0,2}[0-9]){6,14})"  # E.164, also spaced or percent-encoded
    r"|(?<![\w.-])(?P<local>0[0-9]{1,4}-[0-9]{1,4}-[0-9]{3,4}|0[0-9]{9,10})(?![\w-])"  # as written in Japan
)
_KNOWN = frozenset({"callSid", "event"}.union(EVENTS, *EVENTS.values()))  # ours, with nothing private in them
_AS_THEY_ARE = frozenset({int, bool, type(None)})
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_secrets: tuple[str, ...] = ()  # replaced whole, since any thread may be logging
_trace: ContextVar[str] = ContextVar("trace", default="")


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send every log line from `level` (`debug`, `info`, …) upwards to `stream`, by default standard output."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Nothing of this is in a line, and finding it out is dear (docs.python.org: logging HOWTO, Optimization). The
    # process is cheap, and gunicorn's own lines tell it.
    logging.logThreads = logging.logMultiprocessing = False


def protect(*secrets: str) -> None:
    """Never show these in a log line, at no level, as they are or percent-encoded."""
    global _secrets
    long_enough = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
    forms = {*_secrets, *long_enough, *(quote(secret, safe="") for secret in long_enough)}
    _secrets = tuple(sorted(forms, key=len, reverse=True))  # a secret inside a longer one must not be found first


def trace_from(headers: Mapping[str, str], project: str) -> None:
    """Tie the log lines of this thread's request to its trace; a request without one unties them.

    Google Cloud: X-Cloud-Trace-Context (`TRACE/SPAN;o=1`); W3C Trace Context: traceparent.
    """
    given = headers.get("X-Cloud-Trace-Context", "") or headers.get("traceparent", "")[3:]
    trace = re.match(r"[0-9a-f]{32}(?![0-9a-f])", given)
    _trace.set(f"projects/{project}/traces/{trace[0]}" if trace and project else "")


def event(
    logger: logging.Logger,
    name: str,
    *,
    call_sid: str,
    severity: Severity = "INFO",
    stack: bool = False,
    **fields: str | float | bool | None,
) -> None:
    """Log one event, such as `stream opened`; a field that is None is left out, and so is a `call_sid` that is empty.

    With `stack`, the exception being handled is told with it. (`latency_ms` is the same field as `latencyMs`.)
    Raises ValueError for a name that is not in EVENTS, or a field that this event does not have there.
    """
    given = {_camel_case(name): value for name, value in fields.items() if value is not None}
    if name not in EVENTS:
        raise ValueError(f"not an event: {name}; see callbot.log_events")
    if not given.keys() <= EVENTS[name]:
        unknown = ", ".join(sorted(given.keys() - EVENTS[name]))
        raise ValueError(f"not fields of {name!r}: {unknown}; see callbot.log_events")
    level = _LEVELS[severity]
    if not logger.isEnabledFor(level):
        return
    # Where in the code an event comes from says its name; `logger.log` would look for the line.
    record = logger.makeRecord(logger.name, level, "", 0, name, (), sys.exc_info() if stack else None)
    vars(record).update({"event": name, "callSid": call_sid, **given} if call_sid else {"event": name, **given})
    logger.handle(record)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON (Google Cloud: structured logging), with numbers and secrets masked.

    Numbers stay readable at debug only; secrets at no level.
    """

    def format(self, record: logging.LogRecord) -> str:
        shown = _WITH_NUMBERS.shown if record.levelno < logging.INFO else _WITHOUT_NUMBERS.shown
        line: dict[str, Any] = {
            "severity": record.levelname,
            "message": shown(_message(record)),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "logger": record.name,
        }
        if trace := _trace.get():
            line["logging.googleapis.com/trace"] = trace
        if record.exc_info and record.exc_info[0]:
            line["stack_trace"] = shown(self.formatException(record.exc_info)[-_STACK_LIMIT:], _STACK_LIMIT)
        given = {key: value for key, value in vars(record).items() if key not in _OWN and key not in line}
        told = {
            (key if key in _KNOWN else shown(key)): value if type(value) in _AS_THEY_ARE else shown(value)
            for key, value in given.items()
        }  # most of it may be shown as it is
        text = json.dumps(line | told)
        if len(text) <= LINE_LIMIT:  # ASCII: characters are bytes
            return text
        line["stack_trace"] = line.get("stack_trace", "")[-_TEXT_LIMIT:]
        kept = {"callSid": shown(given["callSid"], 100)} if "callSid" in given else {}
        return json.dumps(line | kept | {"truncated": True})


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # a wrong format must not cost the line, and logging's own report would show the arguments
        return f"{record.msg} (its arguments do not fit)"


class _Guard:
    """Makes values fit to be shown: short, of JSON's types, and without secrets and numbers."""

    def __init__(self, *, numbers: bool) -> None:
        self._numbers = numbers

    def shown(self, value: Any, limit: int = _TEXT_LIMIT) -> Any:
        if type(value) is str:
            return self._text(value, limit)
        match value:
            case None | bool() | int():
                return value
            case float():
                return value if math.isfinite(value) else str(value)  # JSON has no NaN
            case Mapping():
                return {self._text(str(key), limit): self.shown(item, limit) for key, item in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.shown(item, limit) for item in value]
            case _:
                return self._text(str(value), limit)

    def _text(self, text: str, limit: int) -> str:
        if len(text) < _HARMLESS or text in _KNOWN:
            return text
        for secret in _secrets:
            text = text.replace(secret, "[secret]")
        if not self._numbers:
            text = _NUMBER.sub(_mask, text)
        return text if len(text) <= limit else text[:limit] + "…"


_WITH_NUMBERS, _WITHOUT_NUMBERS = _Guard(numbers=True), _Guard(numbers=False)


def _mask(match: re.Match[str]) -> str:
    digits = re.sub(r"[^0-9]", "", match["whole"] or match["local"])
    return masked("+" + digits if match["whole"] else digits)


@lru_cache(maxsize=1000)
def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
