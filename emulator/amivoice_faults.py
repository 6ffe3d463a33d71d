"""What can go wrong with AmiVoice, as values: `faults.next(Drop(at_ms=3000))` spoils the next connection."""

import threading
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True, slots=True)
class RefuseConnection:
    """The upgrade request is answered with this HTTP status."""

    status: int = 503


@dataclass(frozen=True, slots=True)
class RefuseStart:
    """`s` is answered with an error; the default is that of a wrong key."""

    text: str = "received illegal service authorization"


@dataclass(frozen=True, slots=True)
class StallStart:
    """`s` is answered this much later."""

    seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Drop:
    """The TCP connection is lost once that much audio has come; with 0 at the `s` command."""

    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Freeze:
    """Nothing is read, answered or closed any more once that much audio has come (half-open socket)."""

    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class FeedError:
    """`p <text>` once that much audio has come; the session is over, the socket stays open."""

    at_ms: int
    text: str = "can't feed audio data to recognizer server"


@dataclass(frozen=True, slots=True)
class TimeoutNotice:
    """`e <text>` without an `e` command once that much audio has come; the session is over."""

    at_ms: int
    text: str = "timeout occurred"


@dataclass(frozen=True, slots=True)
class DelayEnd:
    """The answer to `e` comes this much later; results that were pending come halfway through."""

    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class RejectUtterances:
    """The first `count` utterances are rejected: code "o", no text."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class EmptyResults:
    """The first `count` results have neither text nor code."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class SlowResults:
    """Every final result comes this much later than usual."""

    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class RecogniserAfterEnd:
    """`C` comes after `E` instead of before it: the two run in parallel, either order is right."""


@dataclass(frozen=True, slots=True)
class MisheardInterims:
    """Interim results end in `text` instead of in what was said last; the final ones are right."""

    text: str = "ですか"


@dataclass(frozen=True, slots=True)
class CarriageReturns:
    """Every message ends in CR LF."""


Fault = (
    RefuseConnection
    | RefuseStart
    | StallStart
    | Drop
    | Freeze
    | FeedError
    | TimeoutNotice
    | DelayEnd
    | RejectUtterances
    | EmptyResults
    | SlowResults
    | RecogniserAfterEnd
    | MisheardInterims
    | CarriageReturns
)


Timed = Drop | Freeze | FeedError | TimeoutNotice
FaultKind = TypeVar("FaultKind", bound=Fault)


class AmiVoiceFaults:
    """What to do wrong: once for each connection to come, in order, and on every connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[tuple[Fault, ...]] = []
        self._always: tuple[Fault, ...] = ()

    def next(self, *faults: Fault) -> None:
        """The first connection without faults of its own gets all of these. next() alone is a good one."""
        with self._lock:
            self._queue.append(faults)

    def always(self, *faults: Fault) -> None:
        """Every connection from now on has these as well; always() alone ends it."""
        with self._lock:
            self._always = faults

    def take(self) -> tuple[Fault, ...]:
        """The faults of a connection that is being made."""
        with self._lock:
            return (self._queue.pop(0) if self._queue else ()) + self._always
