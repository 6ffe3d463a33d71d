"""Answering-machine detection: its verdict on a scripted person, at once or in the background.

Source: Twilio, "Answering Machine Detection". The verdict is always right; how long it takes is the carrier's
`detection_seconds`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.twilio.plan import Detection

if TYPE_CHECKING:
    from emulator.twilio.call import EmulatedCall

_VERDICTS = {
    "Enable": {"human", "machine_start", "fax", "unknown"},
    "DetectMessageEnd": {
        "human",
        "machine_end_beep",
        "machine_end_silence",
        "machine_end_other",
        "fax",
        "unknown",
    },
}
_MACHINE = {"Enable": "machine_start", "DetectMessageEnd": "machine_end_beep"}


def verdict(machine: str | None, mode: str) -> str:
    """`AnsweredBy` for what the callee is (None: a human)."""
    if machine is None:
        return "human"
    return machine if machine in _VERDICTS[mode] else _MACHINE[mode]


def detect(call: EmulatedCall, wish: Detection) -> None:
    """Detects before TwiML runs (the human hears nothing meanwhile), or beside it.

    Raises as `pass_time` when the call ends during detection before TwiML.
    """
    seconds = call.carrier.detection_seconds
    if not wish.asynchronous:
        call.pass_time(seconds)
        call.answered_by = verdict(call.human.machine, wish.mode)
        return

    def in_background() -> None:
        wake = call.clock.wake()
        until = call.now() + seconds
        while not call.is_over and (left := until - call.now()) > 0:
            call.clock.wait(left, wake)
        if call.is_over:
            return
        call.answered_by = verdict(call.human.machine, wish.mode)
        call.callbacks.post(
            wish.callback,
            [
                ("AccountSid", call.carrier.account_sid),
                ("CallSid", call.sid),
                ("AnsweredBy", call.answered_by),
                ("MachineDetectionDuration", str(round(seconds * 1000))),
            ],
        )

    call.clock.spawn(in_background, f"detection {call.sid[-6:]}")
