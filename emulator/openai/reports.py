"""What an emulated OpenAI is told about its pace, and what it tells afterwards. Values only, no keys."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from emulator.openai.script import Message, Reply
from emulator.recordings import Recognised


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast this OpenAI is. Seconds, except where the name says otherwise.

    `first_token`: of a chat answer. `characters_per_second`: of a chat answer (Japanese models write 50 to 150).
    `response`: from a committed turn to response.created; `first_audio`: from there to the first audio.
    `audio_speed`: how many seconds of voice are made in a second. `transcription`: from a committed turn to its
    transcript. `session`: the longest a Realtime session lasts.
    """

    first_token: float = 0.25
    characters_per_second: float = 80.0
    response: float = 0.1
    first_audio: float = 0.25
    audio_speed: float = 5.0
    transcription: float = 0.2
    session: float = 3600.0


@dataclass(slots=True)
class ChatRequest:
    """One chat request. `asked_at` is when it was understood (monotonic seconds), `sent_at` when each character of its
    answer was sent. `outcome` is None while it is answered, then "complete", "client closed", or what was
    done wrong on purpose (the fault's name) or refused (the error's code or message)."""

    model: str
    messages: list[Message]
    instructions: str
    tools: list[str]
    stream: bool
    body: dict[str, Any]
    reply: Reply | None = None
    sent: str = ""
    asked_at: float = field(default_factory=time.monotonic)
    sent_at: list[float] = field(default_factory=list)
    status: int = 200
    outcome: str | None = None
    finished: threading.Event = field(default_factory=threading.Event, repr=False)

    def end(self, outcome: str) -> None:
        """The answer is over; whoever waits for `finished` goes on."""
        self.outcome = outcome
        self.finished.set()

    @property
    def closed_early(self) -> bool:
        """Whether the client closed the stream before it was over."""
        return self.outcome == "client closed"


@dataclass(slots=True)
class ResponseReport:
    """One Realtime response; `status` as in response.done, None while it is going on.

    `audio_at` is when its first audio was sent (monotonic seconds).
    """

    id: str
    text: str
    tool_calls: list[str]
    status: str | None = None
    reason: str | None = None
    audio_ms: int = 0
    audio_at: float | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance of the caller as the session's detector cut it, and what it was found to be."""

    item_id: str
    start_ms: int
    end_ms: int
    recognised: Recognised


@dataclass(slots=True)
class RealtimeReport:
    """What happened on one Realtime connection.

    `session` is the configuration in force; `updates` the accepted session.update payloads; `items` every
    conversation item by id, in the API's own shape; `truncations` are (item id, ms) as accepted; `errors` the
    error objects sent; `events` the types of all client events in order; `closed` is None while it lasts.
    """

    model: str
    session: dict[str, Any] = field(default_factory=dict)
    updates: list[dict[str, Any]] = field(default_factory=list)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    responses: list[ResponseReport] = field(default_factory=list)
    truncations: list[tuple[str, int]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    audio_bytes: int = 0
    closed: str | None = None
