"""What is settled when a call is placed, by a dialled number or by the REST API. Values only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

LONGEST_CALL_SECONDS = 14400  # Twilio's own cap
_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)


def is_e164(number: str) -> bool:
    return bool(_E164.fullmatch(number))


@dataclass
class Number:
    """A telephone number of the account and where its calls go. Live: changed by the REST API."""

    voice_url: str
    status_callback: str | None = None
    fallback_url: str | None = None
    voice_method: str = "POST"
    fallback_method: str = "POST"
    status_callback_method: str = "POST"
    friendly_name: str = ""


@dataclass(frozen=True)
class Source:
    """Where the next TwiML comes from: a URL (perhaps relative), or the document itself.

    `params` are what the verb that leads there adds to the request, e.g. `Digits`.
    """

    url: str | None = None
    method: str = "POST"
    twiml: str | None = None
    params: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Callback:
    """Where events are posted, and which."""

    url: str
    method: str = "POST"
    events: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Detection:
    """A wish for answering-machine detection."""

    mode: Literal["Enable", "DetectMessageEnd"]
    asynchronous: bool = False
    callback: Callback | None = None


@dataclass(frozen=True)
class RecordingWish:
    """How the call is to be recorded."""

    channels: int = 1
    source: str = "OutboundAPI"
    track: str = "both"
    callback: Callback | None = None
    name: str = ""


@dataclass(frozen=True)
class CallPlan:
    """`source` None is the far leg of a `<Dial>`: it runs no TwiML, it is only talked to."""

    to: str
    from_: str
    direction: Literal["inbound", "outbound-api", "outbound-dial"]
    source: Source | None
    fallback: Source | None = None
    status_callback: Callback | None = None
    ring_timeout: float = 60.0
    time_limit: float = LONGEST_CALL_SECONDS
    detection: Detection | None = None
    recording: RecordingWish | None = None
    parent_sid: str | None = None


TRACKS: Mapping[str, tuple[str, ...]] = {
    "inbound_track": ("inbound",),
    "outbound_track": ("outbound",),
    "both_tracks": ("inbound", "outbound"),
}


@dataclass(frozen=True)
class StreamPlan:
    """A media stream as TwiML or the REST API asks for it."""

    kind: Literal["start", "connect"]
    url: str
    name: str
    track: str = "inbound_track"
    parameters: Mapping[str, str] = field(default_factory=dict)
    callback: Callback | None = None
