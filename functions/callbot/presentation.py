"""A call as the outside sees it: camelCase JSON, for `/calls` and for the result that is posted to a `callbackUrl`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from callbot.calls import Call, Turn

# The stages of a turn whose distance from the one before is shown as latency, in the order they happen.
STAGES = ("speech_end", "transcript", "first_token", "first_sentence", "first_words_out", "heard")


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


def latencies(turn: Turn) -> dict[str, float]:
    """Seconds each stage of a turn took, measured from the stage before that happened."""
    happened = [(stage, turn.timings[stage]) for stage in STAGES if stage in turn.timings]
    return {stage: at - before for (_, before), (stage, at) in pairwise(happened)}


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
        "toolCalls": [dict(call) for call in turn.tool_calls],
    }


def _camel_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    return {camel(name): value for name, value in values.items()}


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None
