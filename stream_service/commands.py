"""What can be done about what happens to a call: the session decides, the relay and the engine carry it out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from callbot.calls import NextStep, Turn
from stream_service.events import ToolCall


@dataclass(frozen=True, slots=True)
class Finish:
    """The stream's work is done; the relay ends. `hang_up`: the call itself is ended by REST first."""

    reason: str
    hang_up: bool = False


@dataclass(frozen=True, slots=True)
class HandOver:
    """Leave the next step for `/call-flow` and close the stream, which brings the carrier there."""

    step: NextStep | None  # None: resume, as after any loss


@dataclass(frozen=True, slots=True)
class KeepTurn:
    """Write the turn to the store."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class KeepEnding:
    """Write why we end the call, before it ends."""

    reason: str


@dataclass(frozen=True, slots=True)
class KeepUsage:
    """Write what the vendors have counted so far."""

    usage: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CallerActive:
    """Tell the functions that the caller is speaking, so that no idle prompt interrupts."""


@dataclass(frozen=True, slots=True)
class GetReady:
    """An answer will be wanted soon: have connections open to all who take part in it."""


@dataclass(frozen=True, slots=True)
class Note:
    """One line in the log: an event of the call's life. Never words, numbers or keys."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    severity: Literal["INFO", "WARNING", "ERROR"] = "INFO"


@dataclass(frozen=True, slots=True)
class RunTool:
    """Run a tool outside the call's thread; its answer comes back as ToolResult."""

    turn: int
    call: ToolCall


@dataclass(frozen=True, slots=True)
class Speak:
    """Begin to speak a turn by the carrier's voice: the call is updated, then `/call-flow` goes on at `sentence`."""

    turn: int
    sentences: tuple[str, ...]
    next_sentence: int


@dataclass(frozen=True, slots=True)
class Listen:
    """Stop speaking: the call is updated to listening."""


@dataclass(frozen=True, slots=True)
class StartChat:
    """Ask the chat model for this turn's answer; a guess has a number of its own, which is negative and no turn's."""

    turn: int
    messages: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class CancelChat:
    """Give up this turn's answer, or this guess."""

    turn: int


@dataclass(frozen=True, slots=True)
class AskHeard:
    """Find out how much of a turn was heard; the answer comes back as HeardSoFar."""

    turn: int


@dataclass(frozen=True, slots=True)
class ClearPlayback:
    """The bot has been talked over. What was buffered is gone already (the engine's reflex)."""

    drop_response: str = ""  # its later audio is dropped too


@dataclass(frozen=True, slots=True)
class RequestResponse:
    """Ask the speech-to-speech model to speak; empty instructions: answer the conversation."""

    instructions: str = ""


@dataclass(frozen=True, slots=True)
class AnswerTool:
    """Tell the speech-to-speech model what a tool answered."""

    call: ToolCall
    output: str


@dataclass(frozen=True, slots=True)
class TellModel:
    """Add a message of the caller's to the model's conversation."""

    text: str


@dataclass(frozen=True, slots=True)
class StopListening:
    """The rest belongs to the bot: the model no longer reacts to the caller."""


@dataclass(frozen=True, slots=True)
class MarkPlayback:
    """Have the carrier say when everything sent so far has been played."""

    mark: str


Command = (
    Finish
    | HandOver
    | KeepTurn
    | KeepEnding
    | KeepUsage
    | CallerActive
    | GetReady
    | Note
    | RunTool
    | Speak
    | Listen
    | StartChat
    | CancelChat
    | AskHeard
    | ClearPlayback
    | RequestResponse
    | AnswerTool
    | TellModel
    | StopListening
    | MarkPlayback
)
