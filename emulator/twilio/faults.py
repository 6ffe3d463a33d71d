"""What goes wrong on purpose. Only the switches; each is obeyed where its subject lives.

The object is live: a test may turn a switch in the middle of a call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Signature = Literal["right", "wrong", "missing"]


@dataclass
class Faults:
    """Everything off by default, as on a good day at Twilio."""

    repeat_callbacks: int = 0
    """Each status callback is delivered this many times more."""
    reorder_callbacks: bool = False
    """Each two neighbouring status callbacks of a call change places."""
    lose_callbacks: set[str] | Callable[[Mapping[str, str]], bool] = field(default_factory=set)
    """Events (`CallStatus`, `StreamEvent` or `RecordingStatus` values) that never arrive, or who decides it."""
    rest_429_times: int = 0
    """So many of the next REST requests are refused with 20429; counts down."""
    create_timeout_after_accept: int = 0
    """So many of the next accepted `Calls` creations get no answer: the connection is dropped; counts down."""
    close_without_stop: bool = False
    """Media sockets just close; no `stop` message before."""
    bunch_media: int = 1
    """Media frames leave in bunches of so many (1: evenly, every 20 ms)."""
    update_delay: float = 0.0
    """Seconds before a REST update of a call is carried out and answered."""
    signature: Signature = "right"
    """Of webhooks and status callbacks."""
    media_handshake_signature: Signature = "right"
    duplicate_parameters: bool = False
    """Every form parameter is sent twice, the second time with another value (signed correctly)."""
    webhook_delay: float = 0.0
    """Seconds of network before each webhook leaves."""
