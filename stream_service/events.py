"""What can happen to a call, in the stream service's own words; what is done about it is in `commands.py`.

Vendors' own words stop at `wire/`. Times are seconds on the process's monotonic clock unless a field says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream_service.tools import Outcome


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing happened, but time passed."""


@dataclass(frozen=True, slots=True)
class Drain:
    """This process has been told to stop; the call goes on elsewhere."""


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """The carrier ended the stream: the caller hung up, or the call moved on."""


@dataclass(frozen=True, slots=True)
class CarrierLost:
    """The carrier's socket is gone without a `stop`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Digit:
    """The caller pressed a key (two-way streams only)."""

    digit: str


@dataclass(frozen=True, slots=True)
class PlaybackReached:
    """The carrier has played everything up to this mark, or was told to clear it away."""

    mark: str


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The vendor listens. `resumed` when it is a new session in mid-call."""

    resumed: bool


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The vendor's connection broke; a new one is being made."""

    reason: str


@dataclass(frozen=True, slots=True)
class EngineFailed:
    """The vendor cannot be had: refused for good, or not reached in all tries."""

    code: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class CallerStarted:
    """The caller began to speak.

    `over_bot`: whether the bot was being heard at that moment, from an engine that saw it; None: the clock has to say.
    """

    over_bot: bool | None = None


@dataclass(frozen=True, slots=True)
class CallerStopped:
    """The caller ended an utterance, which is noticed only after some silence; `item` as in CallerSaid."""

    item: str = ""
    speech_end: float | None = None


@dataclass(frozen=True, slots=True)
class CallerSaying:
    """What the caller seems to be saying so far."""

    text: str


@dataclass(frozen=True, slots=True)
class CallerSaid:
    """What the caller said. `item` is the vendor's name for the utterance, where it has one."""

    text: str
    speech_end: float | None = None
    item: str = ""


@dataclass(frozen=True, slots=True)
class CallerUnclear:
    """An utterance of `seconds` that could not be made out."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool; `arguments` is the JSON text it wrote, which may be anything."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The model began to answer this turn."""

    turn: int


@dataclass(frozen=True, slots=True)
class SentenceReady:
    """One more sentence of this turn's answer can be spoken."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class AnswerDone:
    """The model has finished this turn's answer."""

    turn: int
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnswerFailed:
    """The model's answer broke off, or never came."""

    turn: int
    code: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class AnswerCut:
    """An answer was given up before the model told what it cost; `usage` is our estimate."""

    usage: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered, to be told to the model."""

    turn: int
    call: ToolCall
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class HeardSoFar:
    """How many sentences of a turn are known to have been heard, and how long ago the last of them was."""

    turn: int
    sentences: int
    seconds_since: float


@dataclass(frozen=True, slots=True)
class Delivered:
    """The carrier took the update that begins to speak this turn."""

    turn: int


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """The store went down, or came back: while it is down, `/call-flow` knows no sentences."""

    down: bool


@dataclass(frozen=True, slots=True)
class CallGone:
    """The carrier says that the call is over."""


@dataclass(frozen=True, slots=True)
class CarrierRefused:
    """The carrier did not take an update for this turn."""

    turn: int
    code: str


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """The speech-to-speech model began a response."""

    response: str


@dataclass(frozen=True, slots=True)
class AgentAudioStarted:
    """The first sound of this item is on its way to the caller."""

    response: str
    item: str


@dataclass(frozen=True, slots=True)
class AgentWords:
    """What an item says: the `whole` text, or the next piece of it."""

    response: str
    item: str
    text: str
    whole: bool = True


@dataclass(frozen=True, slots=True)
class ResponseEnded:
    """A response is over: `completed`, `cancelled`, `incomplete` or `failed` (with a code)."""

    response: str
    status: str
    code: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """The model's session did not take one of our requests, but goes on."""

    code: str


Event = (
    Tick
    | Drain
    | StreamStopped
    | CarrierLost
    | Digit
    | PlaybackReached
    | EngineReady
    | EngineLost
    | EngineFailed
    | CallerStarted
    | CallerStopped
    | CallerSaying
    | CallerSaid
    | CallerUnclear
    | FirstToken
    | SentenceReady
    | AnswerDone
    | AnswerFailed
    | AnswerCut
    | ToolResult
    | HeardSoFar
    | Delivered
    | StoreHealth
    | CallGone
    | CarrierRefused
    | ResponseStarted
    | AgentAudioStarted
    | AgentWords
    | ResponseEnded
    | RequestRefused
)
