"""What a request for an outbound call may say: every field checked, all problems reported at once.

Who may ask is `access.py`'s business, and what is done about a good request `outgoing.py`'s.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from callbot import numbers
from callbot.agents import Agents, placeholders
from callbot.calls import ENGINES, EngineName
from callbot.errors import CallbotError, RefusedError
from callbot.settings import Settings
from callbot.tickets import PARAMETER as TICKET

MAX_BODY = 64 * 1024  # bytes
DURATION_SECONDS = (30, 3300)  # a stream's socket lives an hour at most (Cloud Run: request timeout)
_MAX_VARIABLES = 20
_MAX_VALUE = 400  # characters; with the name it must fit Twilio's 500 of a `<Parameter>`
_MAX_GREETING = 1000
_MAX_KEY = 255
_MAX_URL = 2000
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field of a request; the field is empty when it is the request itself."""

    field: str
    problem: str


class InvalidRequestError(CallbotError):
    """The request cannot be carried out as it is; `problems` lists everything that is wrong."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(f"{one.field}: {one.problem}" for one in problems))
        self.problems = problems


class ForbiddenError(RefusedError):
    """The request is well-formed and asks for what our policy forbids."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A request for an outbound call that may be carried out."""

    phone_number: str  # E.164
    agent: str = ""  # empty: the default agent
    engine: EngineName | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    greeting: str = ""
    max_duration_seconds: int = 0  # 0: the agent's
    machine_detection: bool = False
    record: bool | None = None  # None: as the agent's file says
    callback_url: str = ""
    idempotency_key: str = ""
    fingerprint: str = ""  # of the body without the key


def read(body: bytes, key_header: str | None, settings: Settings, agents: Agents) -> CallRequest:
    """The request in a JSON body and its Idempotency-Key header.

    Raises InvalidRequestError with all problems, or ForbiddenError for a valid number that is not dialled.
    """
    fields = _object(body)
    problems: list[Problem] = []
    forbidden = ""

    def checked(name: str, check: Callable[[Any], Any], default: Any) -> Any:
        if name not in fields:
            return default
        try:
            return check(fields[name])
        except numbers.ForbiddenNumberError:
            raise
        except (RefusedError, ValueError) as exc:
            problems.append(Problem(name, str(exc)))
            return default

    problems += [Problem(_shown(name), "is not a known field") for name in fields if name not in _FIELDS]
    if "phoneNumber" not in fields:
        problems.append(Problem("phoneNumber", "is required"))
    number = ""
    try:
        number = checked("phoneNumber", lambda value: _number(value, settings), "")
    except numbers.ForbiddenNumberError as exc:
        forbidden = str(exc)
    variables = checked("variables", _variables, {})
    request = CallRequest(
        phone_number=number,
        agent=checked("agent", lambda value: agents.named(_text(value)).name, ""),
        engine=checked("engine", _engine, None),
        variables=variables,
        greeting=checked("greeting", lambda value: _greeting(value, variables), ""),
        max_duration_seconds=checked("maxDurationSeconds", _duration, 0),
        machine_detection=checked("machineDetection", _boolean, False),
        record=checked("record", _boolean, None),
        callback_url=checked("callbackUrl", lambda value: _callback_url(value, settings), ""),
        idempotency_key=_header_key(key_header, fields, problems) or checked("idempotencyKey", _key, ""),
        fingerprint=_fingerprint(fields),
    )
    if problems:
        raise InvalidRequestError(*problems)
    if forbidden:
        raise ForbiddenError(forbidden)
    return request


_FIELDS = frozenset(
    {
        "phoneNumber",
        "agent",
        "engine",
        "variables",
        "greeting",
        "maxDurationSeconds",
        "machineDetection",
        "record",
        "callbackUrl",
        "idempotencyKey",
    }
)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode(), object_pairs_hook=_no_doubles, parse_constant=_no_constants)
    except (ValueError, RecursionError) as exc:
        raise InvalidRequestError(Problem("", "the body must be a JSON object, each field once, in UTF-8")) from exc
    if not isinstance(value, dict):
        raise InvalidRequestError(Problem("", "the body must be a JSON object"))
    return value


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a field twice")
    return names


def _no_constants(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _shown(name: str) -> str:
    return name if len(name) <= 64 and name.isprintable() else "(unreadable)"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("must be valid Unicode")
    return value


def _number(value: object, settings: Settings) -> str:
    number = _text(value)
    numbers.check(number, settings.outbound_regions)
    return number


def _engine(value: object) -> EngineName:
    for engine in ENGINES:
        if value == engine:
            return engine
    raise ValueError(f"must be one of {', '.join(ENGINES)}")


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _duration(value: object) -> int:
    shortest, longest = DURATION_SECONDS
    if isinstance(value, bool) or not isinstance(value, int) or not shortest <= value <= longest:
        raise ValueError(f"must be a whole number of seconds from {shortest} to {longest}")
    return value


def _variables(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("must be an object of strings")
    if len(value) > _MAX_VARIABLES:
        raise ValueError(f"at most {_MAX_VARIABLES} variables")
    for name, text in value.items():
        if not _VARIABLE.fullmatch(name) or name == TICKET:
            raise ValueError(f"{_shown(name)!r} cannot be the name of a variable")
        if len(_text(text)) > _MAX_VALUE:
            raise ValueError(f"the value of {name} is longer than {_MAX_VALUE} characters")
    return value


def _greeting(value: object, variables: Mapping[str, str]) -> str:
    greeting = _text(value)
    if not greeting.strip():
        raise ValueError("must not be empty")
    if len(greeting) > _MAX_GREETING:
        raise ValueError(f"at most {_MAX_GREETING} characters")
    if missing := sorted(placeholders(greeting) - variables.keys()):
        raise ValueError(f"asks for variables that are not given: {', '.join(missing)}")
    return greeting


def _callback_url(value: object, settings: Settings) -> str:
    url = _text(value)
    parts = urlsplit(url)  # ValueError for what is no URL
    allowed = parts.hostname in settings.callback_hosts
    if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url or not parts.hostname:
        raise ValueError("must be a URL")
    if parts.scheme != "https" and not (allowed and parts.scheme == "http"):
        raise ValueError("must begin with https://")
    if parts.username is not None or parts.port == 0:
        raise ValueError("must be a URL without a user name")
    return url


def _key(value: object) -> str:
    key = _text(value)
    if not 0 < len(key) <= _MAX_KEY or not key.isprintable():
        raise ValueError(f"must be 1 to {_MAX_KEY} printable characters")
    return key


def _header_key(header: str | None, fields: Mapping[str, Any], problems: list[Problem]) -> str:
    if header is None:
        return ""
    try:
        key = _key(header)
    except ValueError as exc:
        problems.append(Problem("idempotencyKey", f"(in the header) {exc}"))
        return ""
    if fields.get("idempotencyKey", key) != key:
        problems.append(Problem("idempotencyKey", "differs from the Idempotency-Key header"))
    return key


def _fingerprint(fields: Mapping[str, Any]) -> str:
    body = {name: value for name, value in fields.items() if name != "idempotencyKey"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
