"""Recordings of a call: that they were made, for how long, and who is told. The sound itself is not kept.

Source: Twilio, "Recordings resource", recordingStatusCallback.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from emulator.twilio.plan import RecordingWish
from emulator.twilio.progress import timestamp

if TYPE_CHECKING:
    from emulator.twilio.call import EmulatedCall


class Recording:
    """One recording, from `begin` to `end`."""

    def __init__(self, call: EmulatedCall, wish: RecordingWish) -> None:
        self.sid = "RE" + secrets.token_hex(16)
        self.wish = wish
        self.status = "in-progress"
        self.start_time = timestamp()
        self.seconds = 0.0
        self._call = call
        self._began = 0.0

    @property
    def url(self) -> str:
        carrier = self._call.carrier
        return f"{carrier.url}/2010-04-01/Accounts/{carrier.account_sid}/Recordings/{self.sid}"

    def begin(self) -> None:
        self._began = self._call.now()
        self._tell()

    def end(self) -> None:
        """Idempotent. A recording of nothing is `absent`."""
        if self.status != "in-progress":
            return
        self.seconds = max(0.0, min(self._call.now(), self._call.over_at()) - self._began)
        self.status = "completed" if self.seconds > 0 else "absent"
        self._tell()

    def _tell(self) -> None:
        call, wish = self._call, self.wish
        if wish.callback is None or self.status not in wish.callback.events:
            return
        call.callbacks.post(
            wish.callback,
            [
                ("AccountSid", call.carrier.account_sid),
                ("CallSid", call.sid),
                ("RecordingSid", self.sid),
                ("RecordingUrl", self.url),
                ("RecordingStatus", self.status),
                ("RecordingDuration", str(round(self.seconds))),
                ("RecordingChannels", str(wish.channels)),
                ("RecordingSource", wish.source),
                ("RecordingStartTime", self.start_time),
                ("RecordingTrack", wish.track),
            ],
        )
