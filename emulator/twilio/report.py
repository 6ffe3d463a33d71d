"""What a call was like for the human on it: the finished record and the figures drawn from it. Pure.

All times are seconds since the call was answered; what came before the answer is negative.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SHORTEST_SILENCE = 0.25  # shorter pauses are part of speaking

Kind = Literal["say", "audio", "play", "dial"]
EndedBy = Literal["caller", "bot", "carrier", "time-limit"]


@dataclass(frozen=True)
class Heard:
    """Something the human heard. `text` is only what was really heard of it; `complete` says whether that is all."""

    kind: Kind
    text: str
    start: float
    end: float
    complete: bool


@dataclass(frozen=True)
class Said:
    """Something the human said; times are those of the sound, without the quiet around it."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Silence:
    """Nobody is heard. Unexplained: the human is waiting for the other side."""

    start: float
    end: float
    seconds: float
    after: Literal["bot", "caller", "answer"]
    explained: bool


@dataclass(frozen=True)
class TurnLatency:
    """`latency`: seconds from the end of `said` to the first sound of `reply`."""

    said: str
    reply: str
    latency: float


@dataclass(frozen=True)
class StreamReport:
    """One media stream. `close_code` is the server's (None: the carrier closed, or no close frame came)."""

    sid: str
    name: str
    kind: Literal["start", "connect"]
    started: float | None
    ended: float
    close_code: int | None
    error: int | None
    frames_sent: int


@dataclass(frozen=True)
class CallReport:
    """A finished call."""

    sid: str
    direction: str
    from_: str
    to: str
    status: str
    duration: float
    ended_by: EndedBy
    heard: list[Heard]
    said: list[Said]
    silences: list[Silence]
    longest_unexplained_silence: float
    turns: list[TurnLatency]
    errors: list[tuple[int, str]]
    webhooks: list[tuple[float, str, dict[str, str], int | None]]
    """When, where, with which parameters, and the HTTP status (None: nobody answered)."""
    documents: list[str]
    streams: list[StreamReport]
    answered_by: str | None = None
    notes: list[str] = field(default_factory=list)
    """What is no error of the carrier's but worth a look, e.g. a script step that ran out of time."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, `from_` as `from`."""
        plain = asdict(self)
        plain["from"] = plain.pop("from_")
        return plain

    def to_json(self) -> str:
        return json.dumps(self.as_dict(), ensure_ascii=False)


def silences(heard: Sequence[Heard], said: Sequence[Said], end: float) -> list[Silence]:
    """Every stretch from the answer (0) to `end` in which nobody was heard.

    Unexplained are those in which the human waits: after the answer, after the human's own words, after a
    transfer, and after words of the bot that broke off by themselves. After a whole utterance of the bot it is
    the human's turn, so the silence is explained.
    """
    sounds: list[Heard | Said] = sorted([*heard, *said], key=lambda sound: (sound.start, sound.end))
    found: list[Silence] = []
    quiet_from = 0.0
    last: Heard | Said | None = None

    def note(until: float) -> None:
        if until - quiet_from < SHORTEST_SILENCE:
            return
        after: Literal["bot", "caller", "answer"] = (
            "answer" if last is None else "caller" if isinstance(last, Said) else "bot"
        )
        explained = isinstance(last, Heard) and last.kind != "dial" and last.complete
        found.append(Silence(quiet_from, until, round(until - quiet_from, 3), after, explained))

    for sound in sounds:
        if sound.start > quiet_from:
            note(min(sound.start, end))
        if sound.end >= quiet_from:
            quiet_from, last = sound.end, sound
    if end > quiet_from:
        note(end)
    return found


def longest_unexplained(found: Sequence[Silence]) -> float:
    """Seconds of the longest silence in which the human was left waiting."""
    return max((silence.seconds for silence in found if not silence.explained), default=0.0)


def turns(heard: Sequence[Heard], said: Sequence[Said]) -> list[TurnLatency]:
    """The bot's reply to each thing the human said, if one came before the human spoke again.

    Words the bot was already speaking are no reply.
    """
    answers = sorted((sound for sound in heard if sound.kind != "dial"), key=lambda sound: sound.start)
    found = []
    for index, spoken in enumerate(said):
        until = said[index + 1].start if index + 1 < len(said) else float("inf")
        reply = next((sound for sound in answers if spoken.end <= sound.start < until), None)
        if reply:
            found.append(TurnLatency(spoken.text, reply.text, round(reply.start - spoken.end, 3)))
    return found
