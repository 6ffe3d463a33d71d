"""What a call tells the customer about itself: the parameters of every request, and its status callbacks.

Source: Twilio, "TwiML for Programmable Voice", request parameters; "Call resource", StatusCallback. Delivery is
`callbacks`'.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.twilio.call import EmulatedCall

API_VERSION = "2010-04-01"
_SIP_CODES = {"completed": "200", "busy": "486", "no-answer": "480", "failed": "404", "canceled": "487"}


def timestamp(at: float | None = None) -> str:
    """`at` (seconds since the epoch, default now) as RFC 2822 has it, in UTC."""
    return format_datetime(datetime.fromtimestamp(time.time() if at is None else at, UTC))


def request_params(call: EmulatedCall) -> dict[str, str]:
    """What every request about `call` carries."""
    params = {
        "AccountSid": call.carrier.account_sid,
        "ApiVersion": API_VERSION,
        "CallSid": call.sid,
        "CallStatus": call.status,
        "Called": call.to,
        "Caller": call.from_,
        "Direction": call.direction,
        "From": call.from_,
        "To": call.to,
    }
    params |= {f"{side}Country": "JP" for side in ("From", "To", "Caller", "Called")}
    # Unknown places are sent as empty values, and signed: a receiver that drops empty values fails here.
    params |= {f"{side}{part}": "" for side in ("From", "To") for part in ("City", "State", "Zip")}
    if call.plan.parent_sid:
        params["ParentCallSid"] = call.plan.parent_sid
    if call.answered_by:
        params["AnsweredBy"] = call.answered_by
    return params


class Progress:
    """Posts the status callbacks of one call, numbered in the order of events."""

    def __init__(self, call: EmulatedCall) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._sequence = 0

    def report(self, event: str) -> None:
        """`event`: initiated, ringing, answered or completed (which covers every final state)."""
        with self._lock:
            sequence, self._sequence = self._sequence, self._sequence + 1
        call = self._call
        callback = call.status_callback
        if callback is None or event not in callback.events:
            return
        params = request_params(call) | {
            "Timestamp": timestamp(),
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(sequence),
        }
        if event == "initiated":
            params["CallStatus"] = "initiated"  # a status of callbacks only; the resource says queued
        if event == "answered":
            params["CallStatus"] = "in-progress"
        if event == "completed":
            seconds = round(call.duration())
            params |= {"CallDuration": str(seconds), "Duration": str(-(-seconds // 60))}
            params["SipResponseCode"] = _SIP_CODES[call.status]
            for recording in call.recordings:
                params |= {"RecordingSid": recording.sid, "RecordingUrl": recording.url}
        call.callbacks.post(callback, list(params.items()))
