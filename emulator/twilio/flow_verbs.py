"""The verbs that decide where a call goes: Redirect, Hangup, Gather, Record.

Source: Twilio, TwiML `<Redirect>`, `<Hangup>`, `<Gather>`, `<Record>`. Of Gather only keys are emulated: speech
recognition of the carrier's would be a second recogniser to fake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.twilio import speech_verbs
from emulator.twilio.plan import Callback, RecordingWish, Source
from emulator.twilio.speech_verbs import then
from emulator.twilio.twiml import Verb

if TYPE_CHECKING:
    from emulator.twilio.call import EmulatedCall
    from emulator.twilio.runner import Runner

_BEEP_SECONDS = 0.5
_LOOK_AGAIN_SECONDS = 0.2


def redirect(_call: EmulatedCall, verb: Verb, runner: Runner) -> Source:
    return Source(runner.resolve(verb.text), verb.get("method", "POST"))


def hangup(call: EmulatedCall, _verb: Verb, _runner: Runner) -> None:
    call.end("bot")
    call.pass_time(0)  # leaves by `CallOver`


def gather(call: EmulatedCall, verb: Verb, runner: Runner) -> Source | None:
    if "speech" in verb.get("input"):
        call.journal.note("Gather: speech input is not emulated; only keys are heard")
    finish, wanted = verb.get("finishOnKey", "#"), verb.number("numDigits", 10**6)
    call.digits.clear()

    def pressed() -> bool:
        return bool(call.digits)

    prompts = {"Say": speech_verbs.say, "Play": speech_verbs.play, "Pause": speech_verbs.pause}
    for child in verb.children:
        if not pressed():
            prompts[child.name](call, child, runner, pressed)
    keys = ""
    while call.wait_until(pressed, float(verb.number("timeout", 5))):
        key = call.digits.pop(0)
        if key in finish:
            break
        keys += key
        if len(keys) >= wanted:
            break
    if not keys and verb.get("actionOnEmptyResult") != "true":
        return None
    return then(runner, verb, {"Digits": keys, "msg": "Gather End"}, default=runner.here)


def record(call: EmulatedCall, verb: Verb, runner: Runner) -> Source | None:
    """Until a key, the caller's silence for `timeout` seconds, or `maxLength`; nothing said, nothing recorded."""
    if verb.get("playBeep", "true") == "true":
        beep = call.ear.begin("play", "beep", call.now())
        call.pass_time(_BEEP_SECONDS)
        call.ear.finish(beep, call.now(), complete=True)
    call.digits.clear()
    began, longest = call.now(), float(verb.number("maxLength", 3600))
    finish, silence = verb.get("finishOnKey", "1234567890*#"), float(verb.number("timeout", 5))
    recording = call.record(recording_wish(verb, runner, "RecordVerb"))
    key = ""
    try:
        while (now := call.now()) - began < longest:
            quiet_for = now - max(began, call.ear.last_said_end())
            if quiet_for >= silence:
                break
            left = min(silence - max(0.0, quiet_for), began + longest - now, _LOOK_AGAIN_SECONDS)
            if call.wait_until(lambda: bool(call.digits), left):
                key = call.digits.pop(0)
                if key in finish:
                    break
    finally:
        recording.end()
    if call.ear.last_said_end() <= began:
        return None
    return then(
        runner,
        verb,
        {
            "RecordingUrl": recording.url,
            "RecordingSid": recording.sid,
            "RecordingDuration": str(round(recording.seconds)),
            "Digits": key,
        },
        default=runner.here,
    )


def recording_wish(element: Verb, runner: Runner, source: str) -> RecordingWish:
    """What the recording attributes of a verb or noun ask for."""
    url = element.get("recordingStatusCallback")
    events = frozenset(element.get("recordingStatusCallbackEvent", "completed").split())
    method = element.get("recordingStatusCallbackMethod", "POST")
    callback = Callback(runner.resolve(url), method, events) if url else None
    return RecordingWish(
        channels=2 if element.get("channels") == "dual" else 1,
        source=source,
        track=element.get("recordingTrack") or element.get("track") or "both",
        callback=callback,
        name=element.get("name"),
    )
