"""The verbs by which the caller hears something: Say, Play, Pause.

Source: Twilio, TwiML `<Say>`, `<Play>`, `<Pause>`. Each can be cut short by a key press where a `<Gather>` is around.
"""

from __future__ import annotations

import io
import re
import unicodedata
import wave
from collections.abc import Callable
from typing import TYPE_CHECKING

from emulator import readable_voice
from emulator.twilio import speaking
from emulator.twilio.orders import CallOver, Redirected
from emulator.twilio.plan import Source
from emulator.twilio.progress import request_params
from emulator.twilio.report import Kind
from emulator.twilio.twiml import Verb
from emulator.twilio.webhooks import FetchError

if TYPE_CHECKING:
    from emulator.twilio.call import EmulatedCall
    from emulator.twilio.runner import Runner

LONGEST_TEXT = 4096  # characters in one <Say>
_ENDLESS = 1000  # what loop="0" means; Twilio repeats until the call ends
_SECONDS_PER_KEY = 0.5
_UNKNOWN_LENGTH_SECONDS = 1.0
_BREAK = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s)", re.ASCII)


def never() -> bool:
    return False


def say(call: EmulatedCall, verb: Verb, _runner: Runner, cut: Callable[[], bool] = never) -> None:
    text = " ".join(verb.text.split())
    if not text or len(text) > LONGEST_TEXT:
        problem = "the text is empty" if not text else f"the text has {len(text)} characters"
        call.journal.error(13520, f"Say: invalid text: {problem}")
        return
    if _is_japanese(text) and "ja" not in (verb.get("voice") + verb.get("language")).lower():
        call.journal.note("Japanese words in a Say whose voice and language are not Japanese")
    breaks = sum(_break_seconds(child) for child in verb.children)
    for _ in range(verb.number("loop", 1) or _ENDLESS):
        seconds = speaking.seconds(text, call.carrier.say_rate) + breaks
        if any("outbound" in stream.tracks for stream in call.streams):
            call.bot_mouth.speak(call.now(), readable_voice.speak(text))
        if _sound(call, "say", text, seconds, cut):
            return


def play(call: EmulatedCall, verb: Verb, runner: Runner, cut: Callable[[], bool] = never) -> None:
    if digits := verb.get("digits"):
        _sound(call, "play", f"keys {digits}", _SECONDS_PER_KEY * len(digits), cut)
        return
    try:
        url = runner.resolve(verb.text)
        params = list(request_params(call).items())
        answer = runner.in_background(lambda: call.carrier.webhooks.request(call.journal, "GET", url, params))
    except FetchError as exc:
        call.journal.error(exc.code, f"Play: {exc.message}")
        return
    for _ in range(verb.number("loop", 1) or _ENDLESS):
        if _sound(call, "play", url, _wav_seconds(answer.body), cut):
            return


def pause(call: EmulatedCall, verb: Verb, _runner: Runner, cut: Callable[[], bool] = never) -> None:
    call.wait_until(cut, float(verb.number("length", 1)))


def _sound(call: EmulatedCall, kind: Kind, text: str, seconds: float, cut: Callable[[], bool]) -> bool:
    """The caller hears something for so long; True when a key cut it short."""
    sound = call.ear.begin(kind, text, call.now(), call.carrier.say_rate)
    try:
        was_cut = call.wait_until(cut, seconds)
    except (CallOver, Redirected):
        at = min(call.now(), call.over_at())
        call.bot_mouth.cut(at)
        call.ear.finish(sound, at, complete=False)
        raise
    call.bot_mouth.cut(call.now())
    call.ear.finish(sound, call.now(), complete=not was_cut)
    return was_cut


def _is_japanese(text: str) -> bool:
    return any(unicodedata.name(character, "").startswith(("HIRAGANA", "KATAKANA", "CJK")) for character in text)


def _break_seconds(element: Verb) -> float:
    nested = sum(_break_seconds(child) for child in element.children)
    if element.name != "break":
        return nested
    match = _BREAK.fullmatch(element.get("time", "1s"))
    return min(10.0, float(match[1]) / (1000 if match[2] == "ms" else 1)) if match else 0.0


def _wav_seconds(body: bytes) -> float:
    try:
        with wave.open(io.BytesIO(body)) as recording:
            return float(recording.getnframes() / recording.getframerate())
    except (wave.Error, EOFError, ZeroDivisionError, ValueError):
        return _UNKNOWN_LENGTH_SECONDS  # mu-law WAV, MP3: the length of a beep stands for theirs


def then(runner: Runner, verb: Verb, params: dict[str, str], *, default: str = "") -> Source | None:
    """Where a verb's `action` leads; None (the next verb) when it has none and no `default`."""
    url = verb.get("action") or default
    if not url:
        return None
    return Source(runner.resolve(url), verb.get("method", "POST"), params=tuple(params.items()))
