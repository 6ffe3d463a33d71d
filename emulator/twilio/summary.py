"""Draws up the report of a call that is over. Collects only; the figures are computed in `report`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from emulator.twilio.report import CallReport, longest_unexplained, silences, turns

if TYPE_CHECKING:
    from emulator.twilio.call import EmulatedCall


def report_on(call: EmulatedCall, zero: float) -> CallReport:
    """`zero` is the clock's time of the answer (of the end, when nobody answered)."""
    duration = round(call.duration(), 3)
    heard = [replace(sound, start=round(sound.start, 3), end=round(sound.end, 3)) for sound in call.ear.heard]
    said = [replace(words, start=round(words.start, 3), end=round(words.end, 3)) for words in call.ear.said]
    heard.sort(key=lambda sound: sound.start)
    said.sort(key=lambda words: words.start)
    quiet = silences(heard, said, duration)
    journal = call.journal
    return CallReport(
        sid=call.sid,
        direction=call.direction,
        from_=call.from_,
        to=call.to,
        status=call.status,
        duration=duration,
        ended_by=call.ended_by or "carrier",
        heard=heard,
        said=said,
        silences=quiet,
        longest_unexplained_silence=longest_unexplained(quiet),
        turns=turns(heard, said),
        errors=list(journal.errors),
        webhooks=[(round(at - zero, 3) + 0.0, url, params, status) for at, url, params, status in journal.webhooks],
        documents=list(journal.documents),
        streams=[stream.report for stream in call.streams if stream.report],
        answered_by=call.answered_by,
        notes=list(journal.notes),
    )
