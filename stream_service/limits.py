"""What one peer of the audio path may cost us, what it did cost, and how its end is told. Values only."""

from dataclasses import dataclass
from typing import Literal

Reason = Literal["closed", "reset", "protocol", "silent", "half-open", "stalled", "flood", "overflow", "stopped"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one peer may ask of us, and how long it may keep us waiting (bytes and seconds).

    `messages_per_second` and `bytes_per_second` are budgets that an idle peer saves up for `burst_seconds`.
    `silence_seconds`: no byte at all for so long is the end ("silent"). `ping_seconds`: after so long without a byte a
    ping is sent, and if then nothing comes for `pong_seconds` that is the end ("half-open"). None switches either off.
    `audio_bytes`: over it the oldest audio is dropped. `control_bytes`: over it the link is lost ("overflow").
    `write_stall_seconds`: the end if nothing at all could be written for so long while something waited ("stalled").
    """

    max_message: int = 65_536
    messages_per_second: float = 200
    bytes_per_second: float = 100_000
    burst_seconds: float = 20
    silence_seconds: float | None = 5
    ping_seconds: float | None = None
    pong_seconds: float = 3
    audio_bytes: int = 160_000
    control_bytes: int = 262_144
    write_stall_seconds: float = 5


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a link is no more.

    "closed": a close frame from either side, or `abort`. "reset": the connection ended without one. "protocol": the
    peer broke RFC 6455, or one of our callbacks failed. "stopped": the pump was. The others are in `Limits`.
    `close_code` is that of the close frame that ended it, the peer's (1005: a frame without a code) or ours; None
    without a close frame. `detail` may hold the peer's own words.
    """

    name: str
    reason: Reason
    close_code: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class LinkStats:
    """What has passed so far. `max_buffered` is the most bytes that ever waited to be written."""

    messages_in: int
    bytes_in: int
    messages_out: int
    bytes_out: int
    dropped_audio: int
    max_buffered: int
