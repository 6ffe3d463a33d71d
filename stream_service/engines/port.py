"""The port that every engine stands behind: it listens to the caller and answers, in the words of `events.py`.

An engine lives on its call's thread; only `uplink` runs on the pump's. What its vendor sends comes back to it through
the call's inbox (`FromVendor`), so that nothing in it needs a lock but what `uplink` shares.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from callbot.errors import RemoteError
from stream_service.commands import Command
from stream_service.events import Event
from stream_service.limits import Limits, Lost
from stream_service.pump import Link
from stream_service.wire.frames import Binary, Text

CONNECT_SECONDS = 3.0
RETRY_DELAYS = (0.0, 0.2, 0.6)  # before each try to connect; a caller hears the sum of them as silence
STEADY_SECONDS = 10.0  # a session that lived so long earns the tries anew

# What a vendor may cost us. It is trusted to send much at once (speech comes faster than real time), and is asked for a
# sign of life when it is quiet, because a half-open socket says nothing.
VENDOR_LIMITS = Limits(
    max_message=4 * 1024 * 1024,
    messages_per_second=2000,
    bytes_per_second=4 * 1024 * 1024,
    silence_seconds=None,
    ping_seconds=3.0,
    pong_seconds=3.0,
    audio_bytes=160_000,
)


@dataclass(frozen=True, slots=True)
class VendorOpened:
    """The vendor's socket is open and with the pump."""

    link: Link


@dataclass(frozen=True, slots=True)
class VendorRefused:
    """The vendor's socket could not be opened."""

    error: RemoteError


@dataclass(frozen=True, slots=True)
class Several:
    """Text messages in a row. More may be added until the engine has them."""

    payloads: list[bytes]


class Urgency(Enum):
    """How soon the call's thread has to see what came. How many seconds that is, the inbox says."""

    AT_ONCE = auto()
    UNLESS_MORE = auto()  # in a moment, if no other of the kind has come by then
    ANSWERED = auto()  # it need not wake for this if the bot is heard soon; else somebody has to do something
    SOON = auto()  # it is to be written down
    WHENEVER = auto()  # it wakes for something else


@dataclass(frozen=True, slots=True)
class FromVendor:
    """Something of the vendor's, for the engine; `epoch` counts its connections, so that old news is known as such.

    What is not urgent keeps its place among the rest, but wakes nobody before its time, unless the session is
    attentive. It must not set a deadline that is sooner than that; it may take one away, as it is found before the time
    counts.
    """

    epoch: int
    news: VendorOpened | VendorRefused | Text | Binary | Lost | Several
    urgency: Urgency = Urgency.AT_ONCE


Post = Callable[[FromVendor | Event], None]


class Engine(Protocol):
    """Listens to the caller and answers; what it hears and says comes back as events."""

    def start(self) -> None:
        """Begin to connect to the vendor; an EngineReady or EngineFailed follows."""

    @property
    def uplink(self) -> Callable[[bytes], bool]:
        """Takes the caller's audio, on the pump's thread; it returns False for a message that is for the session."""

    def receive(self, news: FromVendor, now: float) -> Sequence[Event]:
        """What the vendor's news means."""

    def tick(self, now: float) -> Sequence[Event]:
        """What the passing of time means."""

    @property
    def settled(self) -> bool:
        """Whether a session is open and takes audio, so that nothing is due soon."""

    def perform(self, command: Command) -> bool:
        """Carry out a command that is the engine's. False: it is somebody else's (too)."""

    def spent(self) -> Mapping[str, int]:
        """What the vendor bills so far besides answers, by kind; times in whole milliseconds."""

    def close(self) -> None:
        """The call needs it no longer."""
