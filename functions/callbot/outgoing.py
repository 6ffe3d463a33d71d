"""Outbound calls: a request is reserved before anything is dialled, so that one key makes one call (`/outgoing-call`).

Twilio has no idempotency key of its own. The reservation comes first, its id travels in every URL of the call, and a
request that Twilio did not answer is looked for among its calls instead of being sent again. What a request may say
is checked in `trigger.py`.
"""

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from callbot import access, answering, failures, logs
from callbot.addresses import function_url
from callbot.agents import Agent, Agents
from callbot.calls import RETENTION, Reservation
from callbot.errors import RemoteError, StoreError
from callbot.flow import flow_url
from callbot.settings import Settings
from callbot.store import CallStore, OverLimitError
from callbot.trigger import CallRequest
from callbot.twilio_rest import TIMEOUT, TOO_MANY, UNREACHABLE, TwilioRest
from callbot.waking import stream_service_woken

RING_SECONDS = 30
GOODBYE_SECONDS = 60  # Twilio's own limit is this much later than ours, which ends a call politely
POLL_SECONDS = 0.1
PATIENCE = timedelta(seconds=12)  # how long a repeated request waits for the first one's answer
_ABANDONED = timedelta(seconds=30)  # a request that has been dialling for longer was cut off
_CLOCKS_APART = timedelta(seconds=2)  # between Twilio and us, whose times are whole seconds besides
_WEBHOOK_IS_FASTER = timedelta(seconds=2)  # a call that exists after all says so itself, by its reservation's id
_NOT_PLACED = frozenset({TOO_MANY, UNREACHABLE})  # Twilio did nothing, and may do it a moment later

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the trigger is told: an HTTP status, a JSON object, and when to come again (seconds)."""

    status: int
    body: Mapping[str, Any]
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Dialler:
    """Places outbound calls. `now` and `sleep` are the clock, which tests own."""

    settings: Settings
    agents: Agents
    store: CallStore
    rest: TwilioRest
    now: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep

    def place(self, request: CallRequest) -> Answer:
        """Dial for this request, or say what became of it when its key has been used before."""
        if not self.settings.twilio_phone_number:
            return Answer(503, {"error": "TWILIO_PHONE_NUMBER is not set, so there is no number to call from"})
        wanted = self._reservation(request)
        try:
            reservation, is_new = self.store.reserve(wanted, self._limits(wanted))
        except OverLimitError as exc:
            return self._over_limit(exc)
        except StoreError as exc:
            failures.store_down(log, exc)
            return Answer(503, {"error": "the request could not be stored, so nothing was dialled"}, 5)
        if is_new:
            return self._dial(reservation, request)
        if reservation.fingerprint != request.fingerprint:
            return Answer(409, {"error": "this idempotency key was used for another request"})
        return self._repeated(reservation)

    def _reservation(self, request: CallRequest) -> Reservation:
        agent = self.agents.named(request.agent) if request.agent else self.agents.default
        key = request.idempotency_key
        now = self.now()
        return Reservation(
            id=hashlib.sha256(key.encode()).hexdigest() if key else secrets.token_hex(32),
            fingerprint=request.fingerprint,
            request={
                "to": request.phone_number,
                "from": self.settings.twilio_phone_number,
                "agent": agent.name,
                "engine": request.engine or agent.engine or "realtime",
                "variables": dict(request.variables),
                "greeting": request.greeting,
                "max_duration_seconds": request.max_duration_seconds,
                "record": agent.record if request.record is None else request.record,
                "callback_url": request.callback_url,
            },
            created_at=now,
            expire_at=now + RETENTION,
        )

    def _limits(self, wanted: Reservation) -> dict[str, int]:
        at = wanted.created_at
        # Keyed, so that the counters in the store do not tell which numbers were called.
        secret = self.settings.stream_ticket_secret.encode()
        number = hmac.new(secret, wanted.request["to"].encode(), hashlib.sha256).hexdigest()[:32]
        return {
            f"minute:{at:%Y-%m-%dT%H:%M}": self.settings.outbound_per_minute,
            f"day:{at:%Y-%m-%d}": self.settings.outbound_per_day,
            f"number:{number}:{at:%Y-%m-%d}": self.settings.outbound_per_number_per_day,
        }

    def _over_limit(self, exc: OverLimitError) -> Answer:
        now = self.now()
        which = exc.limit.partition(":")[0]
        access.log_refusal("/outgoing-call", 429, which)
        passed = now.second if which == "minute" else (now.hour * 60 + now.minute) * 60 + now.second
        period, said = {
            "minute": (60, "calls a minute"),
            "day": (86_400, "calls a day"),
            "number": (86_400, "calls a day to one number"),
        }.get(which, (60, "calls"))
        return Answer(429, {"error": f"over the limit of {said}"}, max(1, period - passed))

    def _dial(self, reservation: Reservation, request: CallRequest) -> Answer:
        agent = self.agents.named(reservation.request["agent"])
        try:
            with stream_service_woken(self.settings.stream_url):  # it starts while the telephone rings
                sid = self.rest.create_call(**self._order(reservation, request, agent))
        except RemoteError as exc:
            if exc.code == TIMEOUT or (exc.retryable and exc.code not in _NOT_PLACED):
                failures.vendor_failed(log, exc, what="call")
                return self._reconciled(self._settled(reservation, "unknown", code=exc.code), first=True)
            return self._answer(self._refused(reservation, exc), first=True)
        return self._dialled(reservation, sid, first=True)

    def _dialled(self, reservation: Reservation, sid: str, *, first: bool) -> Answer:
        request = reservation.request
        logs.event(log, "dialled", call_sid=sid, engine=request["engine"], agent=request["agent"])
        dialled = replace(self._settled(reservation, "dialled", call_sid=sid), state="dialled", call_sid=sid)
        self._begin(sid, dialled)
        return self._answer(dialled, first=first)

    def _order(self, reservation: Reservation, request: CallRequest, agent: Agent) -> dict[str, Any]:
        base = self.settings.functions_url
        query = urlencode({answering.RESERVATION: reservation.id})
        events = f"{function_url(base, 'call-events')}?{query}"
        limit = request.max_duration_seconds or agent.max_duration_seconds
        order: dict[str, Any] = {
            "to": reservation.request["to"],
            "from_": reservation.request["from"],
            "url": f"{function_url(base, 'incoming-call')}?{query}",
            "method": "POST",
            "fallback_url": flow_url(base, "resume", generation=0, reservation=reservation.id),
            "fallback_method": "POST",
            "status_callback": events,
            "status_callback_method": "POST",
            "status_callback_event": ["initiated", "ringing", "answered", "completed"],
            "timeout": RING_SECONDS,
            "time_limit": limit + GOODBYE_SECONDS,
        }
        if request.machine_detection:
            # In the background: otherwise the human who answers hears nothing until the verdict (Twilio: AMD).
            order |= {
                "machine_detection": "Enable",
                "async_amd": "true",
                "async_amd_status_callback": events,
                "async_amd_status_callback_method": "POST",
            }
        if reservation.request["record"]:
            order |= {
                "record": True,
                "recording_status_callback": events,
                "recording_status_callback_method": "POST",
                "recording_status_callback_event": ["completed"],
            }
        return order

    def _refused(self, reservation: Reservation, exc: RemoteError) -> Reservation:
        is_passing = exc.code in _NOT_PLACED
        problem = "Twilio could not be reached" if is_passing else "Twilio refused the call"
        status = 503 if is_passing else 502
        failures.vendor_failed(log, exc, what="call")
        refused = replace(reservation, state="refused", problem=problem, code=exc.code, http_status=status)
        self._settled(reservation, "refused", problem=problem, code=exc.code, http_status=status)
        return refused

    def _settled(self, reservation: Reservation, state: Any, **outcome: Any) -> Reservation:
        try:
            return self.store.settle(reservation.id, state, **outcome) or reservation
        except StoreError as exc:
            # The call's own webhooks carry the reservation's id and settle it later.
            failures.store_down(log, exc)
            return replace(reservation, state=state, **outcome)

    def _begin(self, sid: str, reservation: Reservation) -> None:
        try:
            self.store.begin(answering.requested(sid, reservation, None, self.agents, self.now()))
        except StoreError as exc:  # the call's own webhooks begin it
            failures.store_down(log, exc, call_sid=sid)

    def _repeated(self, reservation: Reservation) -> Answer:
        try:
            reservation = self._awaited(reservation, "reserved", PATIENCE)
        except StoreError as exc:
            failures.store_down(log, exc)
            return Answer(503, {"error": "what became of this request is not known yet"}, 5)
        is_cut_off = reservation.state == "reserved" and self.now() - reservation.created_at > _ABANDONED
        if reservation.state == "unknown" or is_cut_off:
            return self._reconciled(reservation, first=False)
        return self._answer(reservation, first=False)

    def _awaited(self, reservation: Reservation, state: str, patience: timedelta) -> Reservation:
        """The reservation once it has left this state, or as it is when patience ends."""
        ends_at = self.now() + patience
        while reservation.state == state and self.now() < ends_at:
            self.sleep(POLL_SECONDS)
            reservation = self.store.reservation(reservation.id) or reservation
        return reservation

    def _reconciled(self, reservation: Reservation, *, first: bool) -> Answer:
        """Look for the call that a request without an answer may have made: in our records, then among Twilio's."""
        try:
            reservation = self._awaited(reservation, "unknown", _WEBHOOK_IS_FASTER)
            if reservation.state == "dialled":
                return self._answer(reservation, first=first)
            since = reservation.created_at - _CLOCKS_APART
            listed = self.rest.calls_to(reservation.request["to"], reservation.request["from"], since)
            ours = [sid for sid, _ in listed if self._may_be_of(sid, reservation)]
        except StoreError as exc:
            failures.store_down(log, exc)
            ours = []
        except RemoteError as exc:
            failures.vendor_failed(log, exc, what="call")
            ours = []
        if len(ours) != 1:
            return Answer(503, {"error": "Twilio did not answer; the call may exist. Ask again with the same key"}, 5)
        return self._dialled(reservation, ours[0], first=first)

    def _may_be_of(self, sid: str, reservation: Reservation) -> bool:
        call = self.store.get(sid)
        return call is None or call.reservation == reservation.id

    def _answer(self, reservation: Reservation, *, first: bool) -> Answer:
        if reservation.state == "dialled":
            return Answer(201 if first else 200, {"callSid": reservation.call_sid})
        if reservation.state == "refused":
            body = {"error": reservation.problem, "twilioCode": reservation.code}
            return Answer(reservation.http_status or 502, body)
        return Answer(503, {"error": "this request is being carried out"}, 5)
