"""Reading `agents.toml`: every mistake in it is found at once and named with its line and field.

The rules for each key are one table. What an agent is, is said in `agents.py`.
"""

import functools
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from callbot.agents import Agent
from callbot.calls import ENGINES
from callbot.errors import ConfigError

TOOLS = ("end_call", "transfer_call")
LINE_LIMIT = 3000  # characters; Twilio cuts or fails a `<Say>` somewhat above that (error 13520)
PROMPT_LIMIT = 20_000
MAX_DURATION = 3300  # seconds; Cloud Run ends a WebSocket at 3600

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of an agent, or of a transfer, which the model says

# A rule gives the cleaned value, or raises ValueError with what the value must be.
_Rule = Callable[[Any], Any]


def _text(limit: int = LINE_LIMIT, *, may_be_empty: bool = False) -> _Rule:
    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be a text, not {_kind(value)}")
        if not value.strip() and not may_be_empty:
            raise ValueError("must not be empty")
        if len(value) > limit:
            raise ValueError(f"must be at most {limit} characters long, not {len(value)}")
        return value.strip()

    return check


def _list_of(rule: _Rule, *, may_be_empty: bool = False) -> _Rule:
    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"must be a list, not {_kind(value)}")
        if not value and not may_be_empty:
            raise ValueError("must not be empty")
        return tuple(rule(item) for item in value)

    return check


def _whole(low: int, high: int) -> _Rule:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"must be a whole number, not {_kind(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be {low} to {high}, not {value}")
        return value

    return check


def _one_of(*allowed: str) -> _Rule:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, not {value!r}")
        return str(value)

    return check


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {_kind(value)}")
    return value


def _number(value: Any) -> str:
    import phonenumbers  # here, because it takes a fifth of a function's own start, and files may have no number

    problem = f"must be a valid number in E.164 form, such as +81312345678, not {value!r}"
    try:
        number = phonenumbers.parse(value, None)
    except (phonenumbers.NumberParseException, TypeError) as exc:
        raise ValueError(problem) from exc
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if written != value or not phonenumbers.is_valid_number(number):
        raise ValueError(problem)
    return str(value)


def _transfers(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table of names and numbers, not {_kind(value)}")
    if odd := [name for name in value if not _NAME.fullmatch(name)]:
        raise ValueError(f"{odd[0]!r} is no name: 1 to 64 letters, digits, - and _")
    return {name: _number(number) for name, number in value.items()}


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")


_LINES = (
    "greeting",
    "closing",
    "apology",
    "repeat_please",
    "resume",
    "time_warning",
    "time_up",
    "voicemail",
    "transfer_line",
    "transfer_failed",
)
_RULES: Mapping[str, _Rule] = {
    "prompt": _text(PROMPT_LIMIT),
    **{line: _text() for line in _LINES},
    "fillers": _list_of(_text()),
    "idle_prompts": _list_of(_text()),
    "voice": _text(100),
    "language": _text(35),
    "connecting": _text(may_be_empty=True),
    "last_apology": _text(may_be_empty=True),
    "realtime_voice": _text(100),
    "engine": _one_of(*ENGINES),
    "tools": _list_of(_one_of(*TOOLS), may_be_empty=True),
    "transfers": _transfers,
    "idle_seconds": _whole(3, 120),
    "max_duration_seconds": _whole(30, MAX_DURATION),
    "record": _flag,
    "numbers": _list_of(_number, may_be_empty=True),
}
_REQUIRED = ("prompt", *_LINES, "fillers", "idle_prompts", "voice", "language")
_OWN_ONLY = ("numbers",)  # inherited, every agent would claim the same ones


def read(path: Path) -> tuple[dict[str, Agent], str]:
    """The agents in the file at `path` by name, and the default one's name. Raises ConfigError."""
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"the agents file {path.name} cannot be read: {exc}") from exc
    try:
        tables = tomllib.loads(source)
    except (ValueError, RecursionError) as exc:  # ValueError: also a whole number of thousands of digits
        line = re.search(r"at line (\d+)", str(exc))
        where = line[1] if line else str(len(source.rstrip("\n").split("\n")))
        raise ConfigError(f"the agents file cannot be used:\n  {path.name}:{where}: {exc}") from exc
    reading = _Reading(source, tables)
    agents, default = reading.agents()
    if reading.problems:
        found = sorted(reading.problems, key=lambda problem: problem[0])
        lines = (f"  {path.name}:{line}: {name}: {problem}" for line, name, problem in found)
        raise ConfigError("the agents file cannot be used:\n" + "\n".join(lines))
    return agents, default


class _Reading:
    """One pass over the parsed file, which collects what is wrong as (line, field, problem)."""

    def __init__(self, source: str, tables: dict[str, Any]) -> None:
        self.problems: list[tuple[int, str, str]] = []
        self._source = source
        self._tables = tables

    def agents(self) -> tuple[dict[str, Agent], str]:
        for key in self._tables.keys() - {"default", "defaults", "agents"}:
            self._complain((key,), "unknown key")
        defaults = self._table(("defaults",), self._tables.get("defaults", {}), forbidden=_OWN_ONLY)
        tables = self._tables.get("agents", {})
        if not isinstance(tables, dict) or not tables:
            self._complain(("agents",), "must be a table with at least one agent")
            tables = {}
        agents = {name: self._agent(name, table, defaults) for name, table in tables.items()}
        self._check_claims(agents)
        default = self._tables.get("default")
        if default is None:
            self._complain(("default",), "missing (the agent who answers unless another does)")
        elif default not in tables:
            self._complain(("default",), f"there is no agent {default!r}")
        return {name: agent for name, agent in agents.items() if agent is not None}, str(default)

    def _agent(self, name: str, table: Any, defaults: Mapping[str, Any]) -> Agent | None:
        path = ("agents", name)
        if not _NAME.fullmatch(name):
            self._complain(path, "a name is 1 to 64 letters, digits, - and _")
        before = len(self.problems)
        values = {**defaults, **self._table(path, table)}
        given = values.keys() | (table.keys() if isinstance(table, dict) else set())
        for key in _REQUIRED:
            if key not in given and not self._complained(("defaults", key)):
                self._complain((*path, key), "missing")
        if "transfer_call" in values.get("tools", ()) and not values.get("transfers"):
            self._complain((*path, "tools"), "transfer_call needs at least one number in transfers")
        complete = len(self.problems) == before and all(key in values for key in _REQUIRED)
        return Agent(name=name, **values) if complete else None

    def _table(self, path: tuple[str, ...], table: Any, forbidden: tuple[str, ...] = ()) -> dict[str, Any]:
        if not isinstance(table, dict):
            self._complain(path, f"must be a table, not {_kind(table)}")
            return {}
        values = {}
        for key, value in table.items():
            if key not in _RULES or key in forbidden:
                self._complain((*path, key), "unknown key" if key not in _RULES else "belongs to one agent")
                continue
            try:
                values[key] = _RULES[key](value)
            except ValueError as exc:
                self._complain((*path, key), str(exc))
        return values

    def _check_claims(self, agents: Mapping[str, Agent | None]) -> None:
        claimed: dict[str, str] = {}
        for name, agent in agents.items():
            for number in agent.numbers if agent else ():
                if number in claimed:
                    self._complain(("agents", name, "numbers"), f"{number} is answered by {claimed[number]!r} already")
                claimed.setdefault(number, name)

    @functools.cached_property
    def _lines(self) -> dict[tuple[str, ...], int]:
        return _key_lines(self._source)

    def _complain(self, path: tuple[str, ...], problem: str) -> None:
        # A key that is not there is reported where its table begins.
        known = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in self._lines), ())
        self.problems.append((self._lines.get(known, 1), ".".join(path), problem))

    def _complained(self, path: tuple[str, ...]) -> bool:
        return any(name == ".".join(path) for _, name, _ in self.problems)


_HEADER = r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$"
_KEY = r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""


def _key_lines(source: str) -> dict[tuple[str, ...], int]:
    """The line of each table header and key, for complaints.

    A scan and not a parser: `tomllib` keeps no positions. It knows headers, plain, quoted and dotted keys and skips
    multi-line strings; a key inside an inline table is reported at the line of that table.
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    closing = ""  # of the multi-line string we are in
    for number, line in enumerate(source.split("\n"), start=1):
        if closing:
            closing = "" if closing in line else closing
            continue
        if header := re.match(_HEADER, line):
            table = _parts(header[1])
            lines.setdefault(table, number)
        elif key := re.match(_KEY, line):
            path = (*table, *_parts(key[1]))
            for n in range(len(table) + 1, len(path) + 1):
                lines.setdefault(path[:n], number)
            opened = re.search(r"\"\"\"|'''", line)
            if opened and line.count(opened[0]) == 1:
                closing = opened[0]
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"' \t") for part in re.findall(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""", dotted))
