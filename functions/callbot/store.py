"""The port to where calls are kept. What every store promises is said here; how it does it is the store's own file.

One writer per field: a change of a field by the side that does not own it is a bug, and every store refuses it.
The rules that every store applies inside its own transactions are the functions at the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol

from callbot.calls import Call, Reservation, StatusReport, StreamState, Turn
from callbot.errors import ConfigError, RefusedError


class Writer(StrEnum):
    """Who changes a record."""

    FUNCTIONS = "functions"
    STREAM = "stream"


# Fields of a call that `update` may change, by owner. Status and what follows from it move only by `report_status`,
# the stream's generation only by `open_stream`, and the rest is set once by `begin`.
OWNED: Mapping[Writer, frozenset[str]] = {
    Writer.FUNCTIONS: frozenset({"flow", "answered_by", "end_reason", "recording_url"}),
    Writer.STREAM: frozenset({"stream", "next_step", "usage"}),
}


GENERATIONAL = frozenset({"stream", "next_step"})  # each value is of one stream, and never replaces a later one's

LIMIT_RETENTION = timedelta(days=2)  # a counter is of one day at most

# `write_all` takes no more: Firestore would take 500, but what cannot wait may have come just after them.
MOST_TOGETHER = 100

Settlement = Literal["dialled", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Update:
    """What `CallStore.update` is given. ValueError: a field the writer does not own."""

    sid: str
    writer: Writer
    changes: Mapping[str, Any]

    def __post_init__(self) -> None:
        if foreign := self.changes.keys() - OWNED[self.writer]:
            raise ValueError(f"not fields of {self.writer}: {', '.join(sorted(foreign))}")


class PutTurn(NamedTuple):
    """Write the turn whole, over an earlier version of it."""

    sid: str
    turn: Turn


Write = Update | PutTurn


class TicketUsedError(RefusedError):
    """A stream of this generation, or of a later one, has been opened before."""


class CallUnknownError(RefusedError):
    """There is no record of this call (its webhook could not reach the store, or it is no call of ours)."""


class OverLimitError(RefusedError):
    """One more outbound call would exceed a limit; `limit` says which."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"over the limit: {limit}")
        self.limit = limit


class CallStore(Protocol):
    """Where calls are kept. Every method raises `StoreError` when the store is unreachable or too slow."""

    def begin(self, call: Call) -> Call:
        """Create the record, or return the one that is there: a repeated webhook begins nothing twice."""

    def get(self, sid: str) -> Call | None: ...

    def recent(self, limit: int, before: datetime | None = None) -> list[Call]:
        """The newest calls first, created before `before`."""

    def report_status(self, sid: str, report: StatusReport) -> tuple[Call, bool] | None:
        """Move the status as `Call.after` says, atomically. The call, and whether it moved; None: no such call."""

    def update(self, sid: str, writer: Writer, changes: Mapping[str, Any]) -> None:
        """Change whole fields. ValueError: a field the writer does not own. A call that is not there stays absent.

        A `stream` or `next_step` of an older generation than the stored one changes nothing: it is a late word from
        an instance whose call has moved on.
        """

    def open_stream(self, sid: str, generation: int, at: datetime) -> Call:
        """Claim this generation for one stream, atomically, and return the call with its new `stream`.

        Raises TicketUsedError when this or a later generation is taken, CallUnknownError when there is no such call,
        RefusedError when it is over.
        """

    def write_all(self, writes: Sequence[Write]) -> None:
        """Do these in their order, MOST_TOGETHER at most; all of them, or none.

        What one of them raises undoes the others: the caller can do them one by one then.
        """

    def turns(self, sid: str) -> list[Turn]:
        """All turns in order of `n`."""

    def turn(self, sid: str, n: int) -> Turn | None: ...

    def reserve(self, reservation: Reservation, limits: Mapping[str, int]) -> tuple[Reservation, bool]:
        """Create the reservation unless one with its id is there; the stored one, and whether it is new.

        `limits` maps a counter's key (such as `minute:2026-11-21T10:05`, `day:2026-11-21`,
        `number:<hash>:2026-11-21`) to its highest value. Each counter is raised by one, all or none and in the same
        transaction; OverLimitError when one is full. A repeated id touches no counter.
        """

    def reservation(self, id_: str) -> Reservation | None: ...

    def settle(
        self,
        id_: str,
        state: Settlement,
        *,
        call_sid: str = "",
        problem: str = "",
        code: str = "",
        http_status: int = 0,
    ) -> Reservation | None:
        """Say what became of the reservation. One that is `dialled` stays so, whatever comes later."""

    def close(self) -> None: ...


def open_store(address: str) -> CallStore:
    """The store at `sqlite:PATH` or `firestore:PROJECT[/DATABASE]` (setting CALL_STORE).

    Raises ConfigError for any other address. Each store's library is imported only when it is chosen.
    """
    kind, _, rest = address.partition(":")
    if kind == "sqlite" and rest:
        from callbot.store_sqlite import SqliteCallStore

        return SqliteCallStore(rest)
    if kind == "firestore" and rest:
        from callbot.store_firestore import FirestoreCallStore

        project, _, database = rest.partition("/")
        return FirestoreCallStore(project, database or "(default)")
    raise ConfigError(f"CALL_STORE must be sqlite:PATH or firestore:PROJECT[/DATABASE], not {address!r}")


def preload(address: str) -> None:
    """Import what the first operation on this store would otherwise wait for. Nothing is opened or connected."""
    kind = address.partition(":")[0]
    if kind == "sqlite":
        from callbot import store_sqlite  # noqa: F401
    elif kind == "firestore":
        from callbot import firestore_rpc, store_firestore  # noqa: F401

        firestore_rpc.load()


def without_stale(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` without a stream's or next step's state of an older generation than the call's `document` has."""
    return {name: value for name, value in changes.items() if not _is_stale(document.get(name), name, value)}


def _is_stale(stored: Any, name: str, value: Any) -> bool:
    if name not in GENERATIONAL or not isinstance(stored, Mapping):
        return False
    return value is None or value.generation < stored.get("generation", 0)


def claimed(call: Call, generation: int, at: datetime) -> Call:
    """The call with its stream of this generation opened. Raises as `CallStore.open_stream` says."""
    if call.is_over:
        raise RefusedError("the call is over")
    if generation <= call.stream.generation:
        raise TicketUsedError(f"generation {generation} has been opened before")
    return replace(call, stream=StreamState(generation=generation, connected_at=at, seen_at=at))


def settled(
    reservation: Reservation, state: Settlement, call_sid: str, problem: str, code: str, http_status: int
) -> Reservation:
    """The reservation with what became of it; one that is `dialled` stays so."""
    if reservation.state == "dialled":
        return reservation
    return replace(reservation, state=state, call_sid=call_sid, problem=problem, code=code, http_status=http_status)
