"""What happens in a call, as it happens: small values for a terminal or another process to show.

`at` is seconds since the call was answered (0 before). Times of the finished call are in its report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator.twilio.report import CallReport


@dataclass(frozen=True, slots=True)
class CallStarted:
    at: float
    sid: str
    direction: str
    from_: str
    to: str


@dataclass(frozen=True, slots=True)
class Answered:
    at: float


@dataclass(frozen=True, slots=True)
class BotSpeaks:
    """The other side begins to be heard. `text` is empty for audio, whose words show when it is over."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class BotFinished:
    at: float
    kind: str
    text: str
    complete: bool


@dataclass(frozen=True, slots=True)
class CallerSpeaks:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class CallerFinished:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the end of the caller's speech to the first sound of the other side."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class StreamOpened:
    at: float
    kind: str
    name: str
    sid: str


@dataclass(frozen=True, slots=True)
class StreamClosed:
    at: float
    kind: str
    name: str
    sid: str
    close_code: int | None
    error: int | None


@dataclass(frozen=True, slots=True)
class WebhookFetched:
    at: float
    url: str
    status: int | None


@dataclass(frozen=True, slots=True)
class CallEnded:
    at: float
    report: CallReport


Event = (
    CallStarted
    | Answered
    | BotSpeaks
    | BotFinished
    | CallerSpeaks
    | CallerFinished
    | Latency
    | StreamOpened
    | StreamClosed
    | WebhookFetched
    | CallEnded
)
Listener = Callable[[Event], None]


def as_dict(event: Event) -> dict[str, Any]:
    """The event for JSON: its class name under `event`, its fields beside it (`from_` as `from`)."""
    values = {field.name.rstrip("_"): getattr(event, field.name) for field in fields(event)}
    return {"event": type(event).__name__} | {
        name: value.as_dict() if is_dataclass(value) and hasattr(value, "as_dict") else value
        for name, value in values.items()
    }
