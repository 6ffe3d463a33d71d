"""What Twilio tells us about a call (`/call-events`): its status, its streams, who answered, its recording.

Callbacks come late, twice and in any order, and none of them may hold up a call: what goes wrong is logged.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from callbot import answering, failures, logs
from callbot.agents import Agents, fill
from callbot.calls import FINAL, Call, Status, StatusReport
from callbot.errors import CallbotError, RemoteError
from callbot.flow import flow_url, stream_step
from callbot.settings import Settings
from callbot.store import CallStore, Writer
from callbot.twilio_rest import CallGoneError, TwilioRest
from callbot.webhooks import Webhook

_STREAM_ENDED = frozenset({"stream-stopped", "stream-error"})  # Twilio: Stream statusCallback, StreamEvent
_MEANT_TO_END = frozenset({"hangup", "transfer"})
_MAX_URL = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """Takes in callbacks. Twilio's answer never depends on what they lead to."""

    settings: Settings
    agents: Agents
    store: CallStore
    rest: Callable[[], TwilioRest]
    now: Callable[[], datetime]

    def take(self, webhook: Webhook) -> None:
        """Do what this callback asks for. Raises StoreError when the store does."""
        form = webhook.form
        if "StreamEvent" in form:
            self._stream(webhook)
            return
        status = next((status for status in Status if status == form.get("CallStatus")), None)
        if status is not None and form.get("CallbackSource", "call-progress-events") == "call-progress-events":
            self._status(webhook, status)
        if form.get("RecordingUrl", "").startswith("https://") and len(form["RecordingUrl"]) <= _MAX_URL:
            self.store.update(webhook.call_sid, Writer.FUNCTIONS, {"recording_url": form["RecordingUrl"]})
        if "AnsweredBy" in form and status not in FINAL:
            self._answered_by(webhook)

    def _status(self, webhook: Webhook, status: Status) -> None:
        report = StatusReport(
            status,
            _time(webhook.form.get("Timestamp", "")) or self.now(),
            sequence=_number(webhook.form.get("SequenceNumber", "")) or 0,
            duration=_number(webhook.form.get("CallDuration", "")),
        )
        moved = self.store.report_status(webhook.call_sid, report)
        if moved is None:
            self._begin(webhook)
            moved = self.store.report_status(webhook.call_sid, report)
        if moved is not None and moved[1] and moved[0].is_over:
            self._ended(moved[0])

    def _begin(self, webhook: Webhook) -> None:
        """Begin the record of a call whose first webhook did not get as far as the store."""
        id_ = webhook.query.get(answering.RESERVATION, "")
        reservation = self.store.reservation(id_) if id_ else None
        fresh = answering.call_from(webhook, None, reservation, self.settings, self.agents, self.now())
        self.store.begin(replace(fresh, status=Status.QUEUED))
        if reservation is not None and reservation.state != "dialled":
            self.store.settle(id_, "dialled", call_sid=webhook.call_sid)

    def _ended(self, call: Call) -> None:
        logs.event(
            log,
            "call ended",
            call_sid=call.sid,
            engine=call.engine,
            end_reason=call.end_reason,
            direction=call.direction,
            agent=call.agent,
            status=call.status.value,
            duration_seconds=call.duration,
        )
        if call.callback_url:
            from callbot import results  # here, as below: most callbacks need none of it, and it takes long to load

            results.post(call, self.store.turns(call.sid), self.settings)

    def _stream(self, webhook: Webhook) -> None:
        if webhook.form["StreamEvent"] not in _STREAM_ENDED:
            return
        from callbot import twiml

        generation = twiml.generation_of(webhook.form.get("StreamName", ""))
        call = self.store.get(webhook.call_sid)
        if call is None or not generation or not self._is_missed(call, generation):
            return
        # Said before it is done: the same news comes twice, and a stream may be opened once only.
        flow = replace(call.flow, step=stream_step(generation + 1), at=self.now())
        self.store.update(call.sid, Writer.FUNCTIONS, {"flow": flow})
        failures = _number(webhook.query.get("failures", "")) or 0
        url = flow_url(
            self.settings.functions_url, "resume", generation=generation, failures=failures, engine=call.engine
        )
        self._change(call, lambda rest: rest.redirect(call.sid, url))

    def _is_missed(self, call: Call, generation: int) -> bool:
        """Whether nobody hears this call any more, now that its stream of this generation has ended."""
        # A two-way stream is followed by its own next verb.
        if call.engine != "amivoice" or call.is_over or call.stream.ending or call.stream.generation > generation:
            return False
        handed_out = call.flow.step.removeprefix("stream:")
        is_followed = handed_out.isdecimal() and int(handed_out) > generation
        return call.flow.step not in _MEANT_TO_END and not is_followed

    def _answered_by(self, webhook: Webhook) -> None:
        verdict = webhook.form["AnsweredBy"]
        call = self.store.get(webhook.call_sid)
        if call is None or call.answered_by == verdict:
            return
        if not answering.is_machine(verdict) or call.is_over:
            self.store.update(call.sid, Writer.FUNCTIONS, {"answered_by": verdict})
            return
        from callbot import twiml

        agent = answering.agent_of(call, self.agents)
        plan = answering.voicemail(call, agent, self.now())
        self.store.update(call.sid, Writer.FUNCTIONS, answering.machine_changes(webhook, plan))
        document = twiml.say_and_hang_up(agent, fill(agent.voicemail, call.variables))
        self._change(call, lambda rest: rest.update_twiml(call.sid, document))

    def _change(self, call: Call, change: Callable[[TwilioRest], None]) -> None:
        try:
            change(self.rest())
        except CallGoneError:
            log.debug("too late for a call that is over", extra={"callSid": call.sid})
        except RemoteError as exc:
            failures.vendor_failed(log, exc, what="update", call_sid=call.sid)


def safely(take: Callable[[Webhook], None], webhook: Webhook) -> None:
    """Take in a callback; what our own systems cannot do is logged, and Twilio is told nothing of it."""
    try:
        take(webhook)
    except CallbotError as exc:
        failures.write_lost(log, exc, what="callback", call_sid=webhook.call_sid)


def _time(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None
