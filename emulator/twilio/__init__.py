"""Twilio on one machine: webhooks, TwiML, REST and media streams, and people to talk to.

Written from Twilio's documentation and independent of the product it tests. `Carrier` is the way in:

    with Carrier(
        account_sid="AC…", auth_token="…",
        numbers={"+815011112222": Number("https://callbot.test/twiml")},
        tunnels={"callbot.test": "http://127.0.0.1:3000"},
    ) as carrier:
        call = carrier.dial(to="+815011112222", from_="+819011112222", caller=Caller([Listen(), HangUp()]))
        print(call.wait(timeout=60).longest_unexplained_silence)

Point the product's Twilio client at `carrier.url`. What Twilio's debugger would show is in `CallReport.errors`.
"""

from emulator.twilio.call import EmulatedCall
from emulator.twilio.caller import (
    Caller,
    Do,
    HangUp,
    Hear,
    Interrupt,
    Listen,
    Press,
    Speak,
    StayUntilEnd,
    Step,
    Wait,
)
from emulator.twilio.carrier import Carrier
from emulator.twilio.clock import RealClock, VirtualClock
from emulator.twilio.faults import Faults
from emulator.twilio.plan import Number
from emulator.twilio.report import CallReport, Heard, Said, Silence, StreamReport, TurnLatency
from emulator.twilio.webhooks import FetchError

__all__ = [
    "CallReport",
    "Caller",
    "Carrier",
    "Do",
    "EmulatedCall",
    "Faults",
    "FetchError",
    "HangUp",
    "Hear",
    "Heard",
    "Interrupt",
    "Listen",
    "Number",
    "Press",
    "RealClock",
    "Said",
    "Silence",
    "Speak",
    "StayUntilEnd",
    "Step",
    "StreamReport",
    "TurnLatency",
    "VirtualClock",
    "Wait",
]
