"""What must be true of a demonstrated call: drawn from what the caller heard and from what was recorded. Pure."""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.place_call import LONGEST_SILENCE
from emulator.recordings import Recognised
from emulator.twilio import CallReport

END_REASON = "the caller asked to end the call"


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was looked at, and whether it was so."""

    what: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """A call that is over: what the human on it lived through, and what `/calls/<sid>` says."""

    report: CallReport
    record: Mapping[str, Any]

    @property
    def latencies(self) -> list[float]:
        return [turn.latency for turn in self.report.turns]

    @property
    def median_latency(self) -> float:
        return statistics.median(self.latencies) if self.latencies else 0.0

    @property
    def heard_text(self) -> str:
        return "".join(heard.text for heard in self.report.heard)


def as_it_should(call: Evidence, *, greeting: str, closing: str, answered: int) -> list[Check]:
    """What holds for every call: greeted, answered, never left waiting, ended politely and on record."""
    report, record = call.report, call.record
    last = report.heard[-1] if report.heard else None
    return [
        Check("the greeting was heard", greeting in call.heard_text),
        Check(f"{answered} or more turns were answered", len(report.turns) >= answered),
        Check("every word of the caller's is on record", _words(call) == [_plain(said.text) for said in report.said]),
        Check(
            f"nobody waited longer than {LONGEST_SILENCE:g} s", report.longest_unexplained_silence <= LONGEST_SILENCE
        ),
        Check("the goodbye was heard to its end", last is not None and last.complete and last.text.endswith(closing)),
        Check("the bot hung up", report.ended_by == "bot" and report.status == "completed"),
        Check(
            "status and end reason are on record",
            record.get("status") == "completed" and record.get("endReason") == END_REASON,
        ),
    ]


def without_errors(call: Evidence) -> Check:
    """Nothing in the carrier's error log, and every stream ended as it was told to."""
    streams_well = all(stream.error is None for stream in call.report.streams)
    return Check("Twilio noted no error", not call.report.errors and streams_well)


def interrupted(call: Evidence, by: str) -> Check:
    """The caller's words `by` cut the bot off, and what was not heard is not in the history."""
    spoken = next((said for said in call.report.said if said.text == by), None)
    cut = [
        heard
        for heard in call.report.heard
        if spoken is not None and not heard.complete and heard.start < spoken.start < heard.end < spoken.end + 1.0
    ]
    recorded = [
        turn
        for turn in call.record.get("turns", [])
        if turn["interrupted"] and turn["heard"] != turn["text"] and turn["text"].startswith(turn["heard"])
    ]
    return Check("the interruption cut the bot off, and the record says where", bool(cut) and bool(recorded))


def spoken_with(call: Evidence, variables: Mapping[str, str]) -> Check:
    """The variables of the request were heard and are on record."""
    heard = all(value in call.heard_text for value in variables.values())
    return Check("the request's variables were heard", heard and call.record.get("variables") == dict(variables))


def survived(call: Evidence, killed_at: float | None) -> list[Check]:
    """After its stream died at `killed_at` (seconds into the call), the conversation went on on another one."""
    later = [] if killed_at is None else _replies_after(call.report, killed_at)
    return [
        Check("a new stream took over", int(call.record.get("generation", 0)) >= 2 and len(call.report.streams) >= 2),
        Check("turns were answered after the kill", len(later) >= 1),
    ]


def audio_intact(recognised: Iterable[Recognised]) -> Check:
    """What reached the vendors is the callers' audio: nothing missing, repeated or damaged."""
    utterances = list(recognised)
    whole = bool(utterances) and all(utterance.intact for utterance in utterances)
    return Check(f"{len(utterances)} utterances reached the vendors whole, to the millisecond", whole)


def failures(checks: Sequence[Check]) -> list[str]:
    return [check.what for check in checks if not check.holds]


def _words(call: Evidence) -> list[str]:
    return [_plain(turn["text"]) for turn in call.record.get("turns", []) if turn["role"] == "caller"]


def _plain(text: str) -> str:
    return re.sub(r"[。、\s]", "", text)


def _replies_after(report: CallReport, at: float) -> list[str]:
    asked = [said.text for said in report.said if said.start > at]
    return [turn.reply for turn in report.turns if turn.said in asked]
