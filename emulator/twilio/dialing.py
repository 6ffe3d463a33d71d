"""The Dial verb: a second leg to another human, who is connected with the caller until one of them leaves.

Source: Twilio, TwiML `<Dial>` and `<Number>`. One number is dialled; simultaneous ringing, clients, SIP and
conferences are not emulated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.twilio.flow_verbs import recording_wish
from emulator.twilio.plan import LONGEST_CALL_SECONDS, Callback, CallPlan, Source, is_e164
from emulator.twilio.speech_verbs import then
from emulator.twilio.twiml import Verb

if TYPE_CHECKING:
    from emulator.twilio.call import EmulatedCall
    from emulator.twilio.runner import Runner

_RING_SECONDS = 30
_TOLD_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})


def dial(call: EmulatedCall, verb: Verb, runner: Runner) -> Source | None:
    noun = next(iter(verb.children), verb)
    if len(verb.children) > 1:
        call.journal.note("Dial: only the first of several numbers is dialled")
    number, caller_id = noun.text.strip(), verb.get("callerId") or call.from_
    problem = _problem(call, number, caller_id)
    if problem:
        call.journal.error(*problem)
        return then(runner, verb, {"DialCallStatus": "failed", "DialBridged": "false"})

    def changed(leg: EmulatedCall) -> None:
        if leg.answered and not leg.is_over:
            call.peer, leg.peer = leg, call  # before the callee's first word
        call.wake_all()

    leg = call.carrier.place(
        CallPlan(
            to=number,
            from_=caller_id,
            direction="outbound-dial",
            source=None,
            status_callback=_callback(noun, runner),
            ring_timeout=float(verb.number("timeout", _RING_SECONDS)),
            time_limit=float(verb.number("timeLimit", LONGEST_CALL_SECONDS)),
            parent_sid=call.sid,
        ),
        call.carrier.callee_for(number),
        on_change=changed,
    )
    recording = call.record(recording_wish(verb, runner, "DialVerb")) if _wants_recording(verb) else None
    try:
        answered = _ring(call, leg, number)
        if answered:
            call.wait_until(lambda: leg.is_over, LONGEST_CALL_SECONDS)
    finally:
        call.peer = leg.peer = None
        leg.end("bot")
        if recording:
            recording.end()
    status = "completed" if answered else leg.status
    params = {"DialCallSid": leg.sid, "DialCallStatus": status, "DialBridged": "true" if answered else "false"}
    if answered:
        params["DialCallDuration"] = str(round(leg.duration()))
    return then(runner, verb, params)


def _problem(call: EmulatedCall, number: str, caller_id: str) -> tuple[int, str] | None:
    if not is_e164(number):
        return 13223, "Dial: invalid phone number format"
    # An inbound caller's own number may be passed on; on an outbound call `from_` is the account's.
    if caller_id != call.from_ and not call.carrier.owns(caller_id):
        return 13214, "Dial: invalid callerId value"
    return None


def _ring(call: EmulatedCall, leg: EmulatedCall, number: str) -> bool:
    """The caller hears it ring; True once the other human has answered."""
    tone = call.ear.begin("dial", f"ringing {number}", call.now())
    try:
        call.wait_until(lambda: leg.answered or leg.is_over, leg.plan.ring_timeout + 10.0)
    finally:
        call.ear.finish(tone, call.now(), complete=leg.answered)
    return leg.answered


def _callback(noun: Verb, runner: Runner) -> Callback | None:
    url = noun.get("statusCallback")
    if not url:
        return None
    events = frozenset(noun.get("statusCallbackEvent", "completed").split()) & _TOLD_EVENTS
    return Callback(runner.resolve(url), noun.get("statusCallbackMethod", "POST"), events)


def _wants_recording(verb: Verb) -> bool:
    return verb.get("record", "do-not-record") not in ("do-not-record", "false")
