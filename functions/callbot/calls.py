"""What a call is: its record, its turns, and the moves its status can make.

Everything here is a value. How a record is kept is the store's business (`store.py`), what is done next is
`flow.py`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

Direction = Literal["inbound", "outbound"]
Role = Literal["caller", "agent"]
EngineName = Literal["amivoice", "realtime"]

ENGINES: tuple[EngineName, ...] = ("amivoice", "realtime")
RETENTION = timedelta(days=30)  # Firestore's TTL policy deletes a record some time after `expire_at`


class Status(StrEnum):
    """Twilio's own words for where a call is (Twilio: Call resource, CallStatus)."""

    QUEUED = "queued"
    INITIATED = "initiated"
    RINGING = "ringing"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"
    BUSY = "busy"
    FAILED = "failed"
    NO_ANSWER = "no-answer"
    CANCELED = "canceled"


FINAL = frozenset({Status.COMPLETED, Status.BUSY, Status.FAILED, Status.NO_ANSWER, Status.CANCELED})

_AFTER_DIALLING = {Status.INITIATED, Status.RINGING, Status.IN_PROGRESS, *FINAL}
# Callbacks come late, twice and in any order, so a status only ever moves forwards; a final one stays.
_MOVES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset(_AFTER_DIALLING),
    Status.INITIATED: frozenset(_AFTER_DIALLING - {Status.INITIATED}),
    Status.RINGING: frozenset({Status.IN_PROGRESS, *FINAL}),
    Status.IN_PROGRESS: FINAL,
    **dict.fromkeys(FINAL, frozenset[Status]()),
}


@dataclass(frozen=True, slots=True)
class StatusReport:
    """One status callback: what Twilio says of the call, in what order, and when."""

    status: Status
    at: datetime
    sequence: int = 0
    duration: int | None = None  # seconds, only with a final status


@dataclass(frozen=True, slots=True)
class StreamState:
    """The call's newest media stream. Written by the stream service alone."""

    generation: int = 0  # 0: none has been opened yet
    connected_at: datetime | None = None
    seen_at: datetime | None = None  # the stream service's last sign of life for this call
    lost_at: datetime | None = None
    caller_active_at: datetime | None = None  # the caller was last heard speaking
    ending: str = ""  # why the stream service ended the call, if it did


@dataclass(frozen=True, slots=True)
class NextStep:
    """What `/call-flow` does when the stream of this generation has ended. Written by the stream service alone."""

    generation: int
    step: Literal["resume", "goodbye", "transfer"]
    say: str = ""  # spoken first
    target: str = ""  # the transfer's name in the agent's file
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """How far `/call-flow` has come: each return to it proves what was heard. Written by the functions alone."""

    turn: int = 0
    sentence: int = 0  # sentences of that turn heard to their end
    step: str = ""  # the last step handed out; a stream that stops after `hangup` or `transfer` was meant to
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """The record of one telephone call; its key is Twilio's CallSid. Times are timezone-aware UTC."""

    sid: str
    direction: Direction
    from_: str
    to: str
    agent: str
    engine: EngineName
    created_at: datetime
    status: Status = Status.QUEUED
    status_sequence: int = -1
    variables: Mapping[str, str] = field(default_factory=dict)
    greeting: str = ""  # instead of the agent's own, when the trigger gave one
    max_duration_seconds: int = 0  # instead of the agent's own, when the trigger gave one
    record: bool = False
    callback_url: str = ""
    reservation: str = ""
    answered_by: str = ""
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    duration: int | None = None
    end_reason: str = ""
    recording_url: str = ""
    flow: Flow = Flow()
    stream: StreamState = StreamState()
    next_step: NextStep | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    expire_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.status in FINAL

    def after(self, report: StatusReport) -> "Call":
        """This call once Twilio has reported `report`; late and repeated reports move nothing.

        In whatever order the same reports come, the record ends the same: so a late `in-progress` still says when
        the call was answered.
        """
        if report.status not in _MOVES[self.status]:
            is_news = report.status is Status.IN_PROGRESS and self.answered_at is None
            return replace(self, answered_at=report.at) if is_news else self
        moved = replace(self, status=report.status, status_sequence=max(self.status_sequence, report.sequence))
        if report.status is Status.IN_PROGRESS:
            return replace(moved, answered_at=self.answered_at or report.at)
        if report.status in FINAL:
            return replace(
                moved,
                ended_at=report.at,
                duration=report.duration if report.duration is not None else self.duration,
                end_reason=self.end_reason or self.stream.ending or _REASON_OF[report.status],
            )
        return moved


_REASON_OF = {
    Status.COMPLETED: "caller hung up",
    Status.BUSY: "busy",
    Status.FAILED: "failed",
    Status.NO_ANSWER: "no answer",
    Status.CANCELED: "canceled",
}


# What happens between a caller's last word and the agent's being heard, in the order in which it is told. A filler's
# sound counts as the first words. An answer begun on an interim result is asked for before `transcript`.
STAGES = (
    "speech_end",  # of the caller
    "transcript",  # the final text of what the caller said is known (realtime: often after the answer has begun)
    "asked",  # the chat model was asked (amivoice)
    "first_token",  # the model began to answer
    "first_sentence",  # it can be spoken (amivoice)
    "first_words_out",  # on their way to the carrier
    "delivered",  # the carrier has them (amivoice: it took the update of the call)
    "heard",  # the whole turn was heard to its end
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's contribution to a call. Written by the stream service alone.

    `timings` are seconds since the epoch, by stage (STAGES); a stage that did not happen is absent.
    """

    n: int  # 1, 2, … through the whole call, over all its streams
    role: Role
    text: str
    engine: EngineName
    generation: int
    at: datetime
    heard: str | None = None  # what of the agent's words reached the caller; None: not known yet
    interrupted: bool = False
    sentences: tuple[str, ...] = ()  # engine amivoice: what `/call-flow` hands out one by one
    complete: bool = True  # no further sentence will come
    then: Literal["listen", "hangup", "transfer"] = "listen"  # once the last sentence has been heard
    target: str = ""  # the transfer's name
    failed: str = ""  # the code of what went wrong while this turn was made
    timings: Mapping[str, float] = field(default_factory=dict)
    tool_calls: tuple[Mapping[str, Any], ...] = ()

    @property
    def stages_ms(self) -> dict[str, int]:
        """When each stage was reached, in ms after the caller's last word; empty when the turn answers nobody."""
        since = self.timings.get("speech_end")
        if since is None:
            return {}
        reached = ((stage, self.timings[stage]) for stage in STAGES[1:] if stage in self.timings)
        return {stage: round((at - since) * 1000) for stage, at in reached}


@dataclass(frozen=True, slots=True)
class Reservation:
    """One outbound request, stored before anything is dialled; its id is derived from the idempotency key.

    States: `reserved` (dialling now), `dialled` (has a `call_sid`), `refused` (Twilio said no: `problem`),
    `unknown` (Twilio did not answer; the call may exist).
    """

    id: str
    fingerprint: str  # of the request's body; another body under the same key is a conflict
    request: Mapping[str, Any]  # everything needed to answer the call, should its webhook come first
    created_at: datetime
    state: Literal["reserved", "dialled", "refused", "unknown"] = "reserved"
    call_sid: str = ""
    problem: str = ""
    code: str = ""
    http_status: int = 0
    expire_at: datetime | None = None
