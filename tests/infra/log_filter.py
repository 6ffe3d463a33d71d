"""Cloud Logging's filter language and the extractors of log-based metrics, as far as `infra/` uses them.

Strict: what it does not know raises UnknownSyntaxError instead of being guessed at, because a filter that this file
understands differently from Google would count nothing, unnoticed. Facts: Cloud Logging, "Logging query language"
and "LogMetric". A comparison of strings ignores case; a field that is missing matches nothing, so its negation does.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Entry = Mapping[str, Any]  # a LogEntry: resource, severity, jsonPayload
Matches = Callable[[Entry], bool]

SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\["\\])*")
    | (?P<operator>>=|=|:\*|\(|\))
    | (?P<number>-?\d+(?:\.\d+)?(?![\w.]))
    | (?P<word>[A-Za-z_][\w.]*)
    )""",
    re.VERBOSE,
)
_FIELD = re.compile(r"(?:severity|resource\.type|resource\.labels\.\w+|jsonPayload\.\w+)")
_EXTRACT = re.compile(r"EXTRACT\((?P<field>[\w.]+)\)")


class UnknownSyntaxError(Exception):
    """Something that this file does not know, or that the language does not have."""


def entry(line: str, service: str) -> Entry:
    """The log entry that Cloud Run makes of a line of JSON on standard output (Cloud Run: structured logging)."""
    payload = json.loads(line)
    severity = payload.pop("severity")
    special = ("time", "timestamp", "httpRequest")
    kept = {
        name: value
        for name, value in payload.items()
        if name not in special and not name.startswith("logging.googleapis.com/")
    }
    resource = {"type": "cloud_run_revision", "labels": {"service_name": service}}
    return {"severity": severity, "resource": resource, "jsonPayload": kept}


def compiled(text: str) -> Matches:
    """The filter as a question to an entry. Raises UnknownSyntaxError."""
    return _Parser(text).parse()


def extract(extractor: str, of: Entry) -> Any:
    """What an extractor finds in an entry; None when the field is not there. Raises UnknownSyntaxError."""
    match = _EXTRACT.fullmatch(extractor)
    if not match:
        raise UnknownSyntaxError(extractor)
    return _value(_checked(match["field"]), of)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [*_tokens(text), ("end", "")]
        self._at = 0

    def parse(self) -> Matches:
        matches = self._expression()
        self._take("end")
        return matches

    def _expression(self) -> Matches:
        parts, joined_by = [self._term()], ""
        while self._next in (("word", "AND"), ("word", "OR")):
            word = self._take("word")
            # OR binds more tightly than AND there, unlike nearly everywhere: who mixes them must say what is meant.
            if joined_by not in ("", word):
                raise UnknownSyntaxError(f"AND beside OR without parentheses: {self._text}")
            joined_by = word
            parts.append(self._term())
        return (lambda of: any(part(of) for part in parts)) if joined_by == "OR" else _all(parts)

    def _term(self) -> Matches:
        if self._next == ("word", "NOT"):
            self._take("word")
            negated = self._term()
            return lambda of: not negated(of)
        if self._next == ("operator", "("):
            self._take("operator")
            inner = self._expression()
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Matches:
        field = _checked(self._take("word"))
        operator = self._take("operator")
        if operator == ":*":
            return lambda of: _value(field, of) is not None
        if operator == ">=":
            return _at_least(field, self._take("word"))
        if operator != "=":
            raise UnknownSyntaxError(f"{operator} in {self._text}")
        wanted = self._values()
        return lambda of: any(_equal(_value(field, of), one) for one in wanted)

    def _values(self) -> list[Any]:
        if self._next != ("operator", "("):
            return [self._literal()]
        self._take("operator")
        values = [self._literal()]
        while self._next == ("word", "OR"):
            self._take("word")
            values.append(self._literal())
        self._expect(")")
        return values

    def _literal(self) -> Any:
        kind, text = self._next
        self._at += 1
        if kind in ("string", "number") or text in ("true", "false"):
            return json.loads(text)
        raise UnknownSyntaxError(f"not a value: {text!r} in {self._text}")

    @property
    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _take(self, kind: str) -> str:
        found, text = self._next
        if found != kind:
            raise UnknownSyntaxError(f"{text!r} where a {kind} should be: {self._text}")
        self._at += 1
        return text

    def _expect(self, text: str) -> None:
        if self._take("operator") != text:
            raise UnknownSyntaxError(f"{text} is missing: {self._text}")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if not match or match.lastgroup is None:
            raise UnknownSyntaxError(f"{text[at:]!r} in {text}")
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()


def _all(parts: list[Matches]) -> Matches:
    return lambda of: all(part(of) for part in parts)


def _checked(field: str) -> str:
    if not _FIELD.fullmatch(field):
        raise UnknownSyntaxError(f"not a field: {field}")
    return field


def _value(field: str, of: Entry) -> Any:
    value: Any = of
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return value.lower() == wanted.lower()
    return type(value) is type(wanted) and bool(value == wanted)


def _at_least(field: str, word: str) -> Matches:
    if field != "severity" or word not in SEVERITIES:
        raise UnknownSyntaxError(f"{field} >= {word}")
    return lambda of: SEVERITIES.index(of["severity"]) >= SEVERITIES.index(word)
