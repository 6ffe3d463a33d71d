"""Calls in Firestore: the store for functions and services that share nothing else.

What a store promises is said in `store.py`; the single calls to Firestore are `firestore_rpc.py`'s.

A move is: read, decide, and write in one commit on condition that nobody has written in between (Firestore:
preconditions). The library's transactions would do the same, but their begin and commit take no deadline of ours and
hang for a minute when the store is down.
"""

import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from callbot import records
from callbot.calls import Call, Reservation, StatusReport, Turn
from callbot.errors import RefusedError, StoreError
from callbot.firestore_rpc import Path, Rpc, connected, live, load
from callbot.records import Document
from callbot.store import (
    GENERATIONAL,
    LIMIT_RETENTION,
    CallUnknownError,
    OverLimitError,
    PutTurn,
    Settlement,
    Update,
    Write,
    Writer,
    claimed,
    settled,
    without_stale,
)

if TYPE_CHECKING:
    from callbot.firestore_rpc import Client

OPERATION_SECONDS = 2.5  # all tries together: a caller hears silence meanwhile
RESERVE_SECONDS = 8.0  # many may be raising the same counters at once, and nobody is on the line yet
_SAYS_WHAT_IS_STALE = ["expire_at", *(f"{name}.generation" for name in sorted(GENERATIONAL))]  # of a call
_PAUSE_SECONDS = (0.02, 0.3)  # between tries: at most this at first, and later

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Kind(Generic[_T]):
    """Records of one collection: their documents, and back."""

    collection: str
    of: Callable[[Document], _T]
    document: Callable[[_T], Document]

    def path(self, name: str) -> Path:
        return self.collection, records.key(name)


_CALLS = _Kind("calls", records.call_of, records.call_document)
_OUTBOUND = _Kind("outbound", records.reservation_of, records.reservation_document)


class FirestoreCallStore:
    """The call store in a project's Firestore database. Nothing is imported or connected before the first operation.

    FIRESTORE_EMULATOR_HOST is honoured by Google's library. Make one in each process, after any fork.
    """

    def __init__(self, project: str, database: str = "(default)") -> None:
        self._project = project
        self._database = database
        self._lock = threading.Lock()
        self._reserving = threading.Lock()  # threads take turns here, where it is cheaper than at the counters
        self._client: Client | None = None
        self._closed = False

    def begin(self, call: Call) -> Call:
        path = _CALLS.path(call.sid)
        document = records.call_document(call)
        fresh = records.call_of(document)

        def begin(rpc: Rpc) -> Call:
            if rpc.create(path, document):  # almost every call is new, so nobody looks first
                return fresh
            if stored := live(found := rpc.get(path)):
                return records.call_of(stored)
            rpc.commit((found, document))
            return fresh

        return self._run(begin)

    def get(self, sid: str) -> Call | None:
        return self._record(lambda: _CALLS.path(sid), records.call_of)

    def recent(self, limit: int, before: datetime | None = None) -> list[Call]:
        def newest(rpc: Rpc) -> list[Document]:
            query = rpc.client.collection("calls").order_by("created_at", direction="DESCENDING").limit(max(0, limit))
            return rpc.query(query if before is None else query.start_after({"created_at": before}))

        return [records.call_of(document) for document in self._run(newest)]

    def report_status(self, sid: str, report: StatusReport) -> tuple[Call, bool] | None:
        moved = self._change(_CALLS, sid, lambda call: call.after(report))
        return (moved[1], moved[1].status is not moved[0].status) if moved else None

    def update(self, sid: str, writer: Writer, changes: Mapping[str, Any]) -> None:
        update = Update(sid, writer, changes)
        if changes.keys() & GENERATIONAL:
            self.write_all([update])
        elif records.is_key(sid):  # nothing of it can be stale, so nobody looks first
            path, fields = _CALLS.path(sid), records.changes_document(changes)
            self._run(lambda rpc: rpc.update(path, fields))

    def open_stream(self, sid: str, generation: int, at: datetime) -> Call:
        moved = self._change(_CALLS, sid, lambda call: claimed(call, generation, at))
        if moved is None:
            raise CallUnknownError("there is no such call")
        return moved[1]

    def write_all(self, writes: Sequence[Write]) -> None:
        turns: dict[Path, Document] = {}
        updates: dict[Path, list[Update]] = {}
        for write in writes:
            if isinstance(write, PutTurn):
                turns[_turn_path(write.sid, write.turn.n)] = records.turn_document(write.turn)
            elif records.is_key(write.sid):
                updates.setdefault(_CALLS.path(write.sid), []).append(write)

        def write_all(rpc: Rpc) -> None:  # twice is as good as once: a commit whose answer was lost needs no mark
            calls = rpc.get_all(*updates, only=_SAYS_WHAT_IS_STALE) if updates else []
            both = zip(calls, updates.values(), strict=True)
            changed = [(found, fresh) for found, changes in both if (fresh := _fresh(live(found), changes))]
            if changed or turns:
                rpc.commit(*changed, over=turns)

        self._run(write_all)

    def turns(self, sid: str) -> list[Turn]:
        if not records.is_key(sid):
            return []
        path = (*_CALLS.path(sid), "turns")
        documents = self._run(lambda rpc: rpc.query(rpc.client.collection(*path).order_by("__name__")))
        return [records.turn_of(document) for document in documents]

    def turn(self, sid: str, n: int) -> Turn | None:
        return self._record(lambda: _turn_path(sid, n), records.turn_of)

    def reserve(self, reservation: Reservation, limits: Mapping[str, int]) -> tuple[Reservation, bool]:
        claim = uuid.uuid4().hex
        document = records.reservation_document(reservation) | {"commit": claim}
        path = _OUTBOUND.path(reservation.id)
        paths = [("limits", records.key(key)) for key in limits]

        def reserve(rpc: Rpc) -> tuple[Reservation, bool]:
            found, *counters = rpc.get_all(path, *paths)
            if stored := live(found):
                return records.reservation_of(stored), stored.get("commit") == claim
            writes = [(found, document)]
            for counter, (key, highest) in zip(counters, limits.items(), strict=True):
                count = (live(counter) or {"count": 0})["count"]
                if count >= highest:
                    raise OverLimitError(key)
                writes.append((counter, {"count": count + 1, "expire_at": datetime.now(UTC) + LIMIT_RETENTION}))
            rpc.commit(*writes)
            return records.reservation_of(document), True

        deadline = time.monotonic() + RESERVE_SECONDS
        if not self._reserving.acquire(timeout=RESERVE_SECONDS):
            raise StoreError("too many reservations are waiting")
        try:
            return self._run(reserve, deadline)
        finally:
            self._reserving.release()

    def reservation(self, id_: str) -> Reservation | None:
        return self._record(lambda: _OUTBOUND.path(id_), records.reservation_of)

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
        said = (state, call_sid, problem, code, http_status)
        moved = self._change(_OUTBOUND, id_, lambda stored: settled(stored, *said))
        return moved[1] if moved else None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._client is not None:
                self._client.close()  # type: ignore[no-untyped-call]  # the library's own gap

    def _record(self, path_of: Callable[[], Path], of: Callable[[Document], _T]) -> _T | None:
        with suppress(RefusedError):  # no record can have that name
            path = path_of()
            document = self._run(lambda rpc: live(rpc.get(path)))
            return of(document) if document else None
        return None

    def _change(self, kind: _Kind[_T], name: str, decide: Callable[[_T], _T]) -> tuple[_T, _T] | None:
        """Move a record as `decide` says; how it was before and is after. None: it is not there.

        Only the fields that differ are written. A commit whose answer was lost is known again by its mark, so that
        what it did is not taken for somebody else's doing.
        """
        if not records.is_key(name):
            return None
        path, mark = kind.path(name), uuid.uuid4().hex
        tried: tuple[_T, _T] | None = None

        def change(rpc: Rpc) -> tuple[_T, _T] | None:
            nonlocal tried
            if (document := live(found := rpc.get(path))) is None:
                return None
            if tried is not None and document.get("commit") == mark:
                return tried
            before = kind.of(document)
            after = decide(before)
            if after != before:
                tried = before, after
                old = kind.document(before)
                changed = {name: value for name, value in kind.document(after).items() if value != old[name]}
                rpc.commit((found, changed | {"commit": mark}))
            return before, after

        return self._run(change)

    def _run(self, operation: Callable[["Rpc"], _T], deadline: float | None = None) -> _T:
        """Do the operation, again from its first read when somebody else was faster or the network failed.

        Raises StoreError when it has not succeeded by `deadline`, which is OPERATION_SECONDS from now.
        """
        load()
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth

        outrun = (api.Aborted, api.AlreadyExists, api.FailedPrecondition, api.NotFound)
        unwell = (api.DeadlineExceeded, api.InternalServerError, api.ResourceExhausted, api.ServiceUnavailable)
        deadline = deadline or time.monotonic() + OPERATION_SECONDS
        pause, longest_pause = _PAUSE_SECONDS
        while True:
            try:
                return operation(Rpc(self._connected(), deadline))
            except (*outrun, *unwell) as exc:
                wait = random.uniform(0, pause)  # noqa: S311 -- spreads those who compete, guards nothing
                if time.monotonic() + wait >= deadline:
                    raise StoreError(f"Firestore, to the end: {exc!s:.200}") from exc
                time.sleep(wait)
                pause = min(2 * pause, longest_pause)
            except (api.GoogleAPIError, auth.GoogleAuthError) as exc:
                raise StoreError(f"Firestore: {exc!s:.200}", retryable=False) from exc

    def _connected(self) -> "Client":
        with self._lock:
            if self._closed:
                raise StoreError("the store is closed")
            self._client = self._client or connected(self._project, self._database)
            return self._client


def _fresh(document: Document | None, updates: Sequence[Update]) -> Document:
    """The fields of a call's document that these change, one after the other; none of a call that is not there."""
    fresh: Document = {}
    if document is not None:
        for update in updates:
            fresh |= records.changes_document(without_stale(document | fresh, update.changes))
    return fresh


def _turn_path(sid: str, n: int) -> Path:
    return *_CALLS.path(sid), "turns", records.turn_key(n)
