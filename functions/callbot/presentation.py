"""A call as the outside sees it: camelCase JSON, for `/calls` and for the result that is posted to a `callbackUrl`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from callbot.calls import Call, Turn

# The stages of a turn, as operators read them; when the turn had been heard says nothing of how quick the answer was.
LABELS = {
    "transcript": "final text",
    "asked": "model asked",
    "first_token": "first token",
    "first_sentence": "first sentence",
    "first_words_out": "sent to Twilio",
    "delivered": "taken by Twilio",
    "heard": "heard to its end",
}
_BAR_MS = 3000  # what a bar's whole width stands for, unless the turn took longer: no caller is to wait for more


def call_summary(call: Call) -> dict[str, Any]:
    """A call without its turns."""
    return {
        "callSid": call.sid,
        "direction": call.direction,
        "from": call.from_,
        "to": call.to,
        "agent": call.agent,
        "engine": call.engine,
        "status": str(call.status),
        "createdAt": _iso(call.created_at),
        "answeredAt": _iso(call.answered_at),
        "endedAt": _iso(call.ended_at),
        "duration": call.duration,
        # Until Twilio's last callback is here, the stream service may know already.
        "endReason": call.end_reason or call.stream.ending,
        "answeredBy": call.answered_by,
        "generation": call.stream.generation,
        "variables": dict(call.variables),
        "recordingUrl": call.recording_url,
        "usage": _camel_keys(call.usage),
    }


def call_with_turns(call: Call, turns: Sequence[Turn]) -> dict[str, Any]:
    """A call with everything that was said."""
    return call_summary(call) | {"turns": [_turn(turn, call) for turn in turns]}


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a turn on a page: when it was reached, and its part of the turn's bar, in percent of the width."""

    name: str
    label: str
    ms: int
    left: float
    width: float


def stages(turn: Turn) -> list[Stage]:
    """The stages of a turn in the order in which they were reached; each one's bar begins where the last one ends."""
    reached = sorted(turn.stages_ms.items(), key=lambda stage: stage[1])
    scale = max([_BAR_MS, *(ms for name, ms in reached if name != "heard")])
    shown, left = [], 0.0
    for name, ms in reached:
        right = max(left, min(100.0, 100 * ms / scale)) if name != "heard" else left
        shown.append(Stage(name, LABELS[name], ms, round(left, 1), round(right - left, 1)))
        left = right
    return shown


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def heard(turn: Turn, call: Call) -> str | None:
    """What reached the caller, as far as is known: what the turn says, or what `/call-flow` was asked for after it."""
    if turn.heard is not None or turn.role != "agent" or not turn.sentences:
        return turn.heard
    if call.flow.turn == turn.n:
        return "".join(turn.sentences[: call.flow.sentence])
    return None


def _turn(turn: Turn, call: Call) -> dict[str, Any]:
    return {
        "n": turn.n,
        "role": turn.role,
        "text": turn.text,
        "heard": heard(turn, call),
        "interrupted": turn.interrupted,
        "engine": turn.engine,
        "generation": turn.generation,
        "at": _iso(turn.at),
        "failed": turn.failed,
        "timings": _camel_keys(turn.timings),
        "stagesMs": _camel_keys(turn.stages_ms),
        "toolCalls": [dict(call) for call in turn.tool_calls],
    }


def _camel_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    return {camel(name): value for name, value in values.items()}


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None
