"""Records as plain documents and back: what both stores keep, under the names that the documents have.

A document is a dict of texts, whole numbers, floats, booleans, aware datetimes, lists and dicts, nothing else. Where
it goes is the stores' business.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar

from callbot.calls import RETENTION, Call, Flow, NextStep, Reservation, Status, StreamState, Turn
from callbot.errors import RefusedError, StoreError

Document = dict[str, Any]


class _Record(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


_R = TypeVar("_R", bound=_Record)

_NAMES = {"from_": "from"}  # a Python keyword
_FORMS: Mapping[str, type[_Record]] = {"flow": Flow, "stream": StreamState, "next_step": NextStep}
# Kept as JSON text: what a request or a model gives can have names, nesting and numbers that Firestore refuses.
_FREE = frozenset({"variables", "tool_calls", "request"})
_JSON = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=datetime.isoformat)
_FREE_JSON = json.JSONEncoder(ensure_ascii=False)
_AS_THEY_ARE = frozenset({bool, int, float, type(None)})
_KEY = re.compile(r"(?!__.*__$)[A-Za-z0-9_-][A-Za-z0-9_.:+-]{0,199}")


def key(text: str) -> str:
    """`text`, fit to be a document's name in either store. RefusedError: it is not, so nothing of that name exists."""
    if not is_key(text):
        raise RefusedError("not the name of a record")
    return text


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def turn_key(n: int) -> str:
    """A turn's name, which sorts as its number does. RefusedError: no call has that many turns."""
    if not 0 < n < 1_000_000:
        raise RefusedError("not the number of a turn")
    return f"{n:06d}"


def call_document(call: Call) -> Document:
    """The call as a document; one that says nothing of its end of life lives for RETENTION."""
    return _with_expiry(_plain_record(call), call.created_at)


def turn_document(turn: Turn) -> Document:
    return _with_expiry(_plain_record(turn), turn.at)


def reservation_document(reservation: Reservation) -> Document:
    return _with_expiry(_plain_record(reservation), reservation.created_at)


def changes_document(changes: Mapping[str, Any]) -> Document:
    """Some of a record's fields by their names in the document."""
    return {_NAMES.get(name, name): _plainer(name)(value) for name, value in changes.items()}


def call_of(document: Mapping[str, Any]) -> Call:
    """The call that a document holds. Fields unknown here are left alone. StoreError: it cannot be read."""
    return _record(Call, document)


def turn_of(document: Mapping[str, Any]) -> Turn:
    return _record(Turn, document)


def reservation_of(document: Mapping[str, Any]) -> Reservation:
    return _record(Reservation, document)


def is_expired(document: Mapping[str, Any], now: datetime) -> bool:
    """Whether the document is dead but not yet swept; a store never returns it."""
    end = document.get("expire_at")
    return isinstance(end, datetime) and end <= now


def to_json(document: Any) -> str:
    """The document as text, or any value of one."""
    return _JSON.encode(document)


def from_json(text: str) -> Document:
    """The document that `to_json` wrote. StoreError: it is damaged."""
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise StoreError("a record cannot be read", retryable=False) from exc
    if not isinstance(document, dict):
        raise StoreError("a record is no record", retryable=False)
    return document


def _with_expiry(document: Document, born: datetime) -> Document:
    if document.get("expire_at") is None:
        document["expire_at"] = (born + RETENTION).astimezone(UTC)
    return document


def _plain(value: Any) -> Any:
    if type(value) in _AS_THEY_ARE or (type(value) is str and value.isascii()):
        return value  # most are, and every write comes through here
    match value:
        case StrEnum():
            return value.value
        case str():  # half a surrogate pair, as a model's cut stream can leave it, is no text to any store
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case datetime():
            if value.tzinfo is None:
                raise ValueError("a record's times are aware")
            return value.astimezone(UTC)
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict() | Mapping():
            return {_plain(name): _plain(item) for name, item in value.items()}
        case _ if is_dataclass(value) and not isinstance(value, type):
            return _plain_record(value)
        case _:
            return value


def _plain_record(record: _Record) -> Document:
    return {name: plain(getattr(record, field)) for field, name, plain in _parts(type(record))}


@cache
def _parts(kind: type[_Record]) -> tuple[tuple[str, str, Callable[[Any], Any]], ...]:
    """Each field of a record, its name in the document, and what makes its value plain."""
    return tuple((field.name, _NAMES.get(field.name, field.name), _plainer(field.name)) for field in fields(kind))


def _plainer(name: str) -> Callable[[Any], Any]:
    return _free_text if name in _FREE else _plain


def _free_text(value: Any) -> str:
    return _FREE_JSON.encode(_plain(value))


def _record(kind: type[_R], document: Mapping[str, Any]) -> _R:
    given = {f.name: _NAMES.get(f.name, f.name) for f in fields(kind)}
    try:
        return kind(**{field: _value(field, document[name]) for field, name in given.items() if name in document})
    except (TypeError, ValueError, AttributeError) as exc:
        raise StoreError(f"a {kind.__name__.lower()}'s record cannot be read", retryable=False) from exc


def _value(field: str, value: Any) -> Any:
    if field in _FREE:
        free = json.loads(value)
        return tuple(free) if isinstance(free, list) else free
    if field in _FORMS:
        return _record(_FORMS[field], value) if value is not None else None
    if field == "status":
        return Status(value)
    if field == "at" or field.endswith("_at"):
        return _time(value)
    return tuple(value) if isinstance(value, list) else value


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):  # from JSON
        value = datetime.fromisoformat(value)
    return datetime.combine(value.date(), value.time(), UTC)  # Firestore's own kind becomes the ordinary one
