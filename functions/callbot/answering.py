"""How a call begins: its record, and the first document Twilio gets (`/twiml`, `/incoming-call`).

A call is answered even when the store is not: what cannot be written is logged, and the conversation goes on.
What a call does afterwards is `flow.py`'s.
"""

import functools
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from callbot import failures, logs
from callbot.agents import Agent, Agents, fill
from callbot.calls import Call, EngineName, Reservation, Status, StatusReport
from callbot.errors import CallbotError, RefusedError, StoreError
from callbot.flow import HangUp, OpenStream, Plan
from callbot.settings import Settings
from callbot.store import CallStore, Writer
from callbot.waking import stream_service_woken
from callbot.webhooks import Webhook

STORE_SECONDS = 2.0  # what a caller waits for our records at most, in addition to the ringing
RESERVATION = "reservation"  # the query parameter by which a dialled call finds its request
MACHINE_REASON = "answering machine"
_MAX_PARTY = 100  # characters of a caller's or callee's name kept; withheld numbers come as words
_POOL_SIZE = 16

log = logging.getLogger(__name__)
T = TypeVar("T")


def answer(
    webhook: Webhook,
    engine: EngineName | None,
    *,
    settings: Settings,
    agents: Agents,
    store: Callable[[], CallStore],
    now: datetime,
) -> str:
    """The document that answers this call; `engine` is what the path called stands for, if it stands for one."""
    from callbot.documents import document  # here, because most who begin a record answer nobody

    with stream_service_woken(settings.stream_url):
        call = _begun(webhook, engine, settings, agents, store, now)
    agent = agent_of(call, agents)
    logs.event(log, "call started", call_sid=call.sid, engine=call.engine, direction=call.direction, agent=call.agent)
    if is_machine(webhook.form.get("AnsweredBy", "")):
        plan = voicemail(call, agent, now)
        changes = machine_changes(webhook, plan)
        Patience(call.sid).ask(lambda: store().update(call.sid, Writer.FUNCTIONS, changes))
    elif call.engine == "realtime":
        plan = Plan((agent.connecting,), OpenStream(1))
    else:
        plan = Plan((fill(call.greeting or agent.greeting, call.variables),), OpenStream(1))
    # A dialled call is recorded from its start by Twilio's own order, so only a call that came in says it here.
    return document(plan, call, agent, settings, record=call.record and call.direction == "inbound")


def call_from(
    webhook: Webhook,
    engine: EngineName | None,
    reservation: Reservation | None,
    settings: Settings,
    agents: Agents,
    now: datetime,
) -> Call:
    """The record of a call as its webhook, and the request behind it when it was dialled, describe it."""
    form = webhook.form
    from_, to = form.get("From", "")[:_MAX_PARTY], form.get("To", "")[:_MAX_PARTY]
    if reservation is not None:
        return requested(webhook.call_sid, reservation, engine, agents, now)
    outbound = form.get("Direction", "").startswith("outbound")
    agent = agents.default if outbound or to == settings.twilio_phone_number else agents.for_number(to)
    return Call(
        sid=webhook.call_sid,
        direction="outbound" if outbound else "inbound",
        from_=from_,
        to=to,
        agent=agent.name,
        engine=engine or agent.engine or "realtime",
        created_at=now,
        status=Status.RINGING,
        record=agent.record and not outbound,
        reservation=webhook.query.get(RESERVATION, ""),
    )


def requested(sid: str, reservation: Reservation, engine: EngineName | None, agents: Agents, now: datetime) -> Call:
    """The record of a call that was dialled for a request: whoever hears of it first begins it the same way."""
    request = reservation.request
    agent = _named(str(request.get("agent", "")), agents)
    return Call(
        sid=sid,
        direction="outbound",
        from_=request["from"],
        to=request["to"],
        agent=agent.name,
        engine=request["engine"] or engine or agent.engine or "realtime",
        created_at=now,
        variables=request["variables"],
        greeting=request["greeting"],
        max_duration_seconds=request["max_duration_seconds"],
        record=request["record"],
        callback_url=request["callback_url"],
        reservation=reservation.id,
    )


def agent_of(call: Call, agents: Agents) -> Agent:
    """The agent who has this call; the default one when the file no longer has it."""
    return _named(call.agent, agents)


def is_machine(answered_by: str) -> bool:
    """Whether Twilio's verdict is that no human answered; `unknown` counts as a human (Twilio: AMD)."""
    return answered_by.startswith("machine") or answered_by == "fax"


def voicemail(call: Call, agent: Agent, now: datetime) -> Plan:
    """What an answering machine is told."""
    flow = replace(call.flow, step="hangup", at=now)
    return Plan((fill(agent.voicemail, call.variables),), HangUp(), flow, MACHINE_REASON)


def machine_changes(webhook: Webhook, plan: Plan) -> dict[str, object]:
    """What is written of a call that a machine has answered."""
    return {"answered_by": webhook.form["AnsweredBy"], "flow": plan.flow, "end_reason": plan.end_reason}


def _named(name: str, agents: Agents) -> Agent:
    try:
        return agents.named(name)
    except RefusedError:
        return agents.default


def _begun(
    webhook: Webhook,
    engine: EngineName | None,
    settings: Settings,
    agents: Agents,
    store: Callable[[], CallStore],
    now: datetime,
) -> Call:
    id_ = webhook.query.get(RESERVATION, "")
    patience = Patience(webhook.call_sid)
    reservation = patience.ask(lambda: store().reservation(id_)) if id_ else None
    fresh = call_from(webhook, engine, reservation, settings, agents, now)
    return patience.ask(lambda: record(store(), fresh, reservation, now)) or fresh


def record(store: CallStore, fresh: Call, reservation: Reservation | None, now: datetime) -> Call:
    # Our document answers a ringing call, and Twilio reports no `answered` for one that came in.
    answered = StatusReport(Status.IN_PROGRESS, now)
    call = store.begin(fresh.after(answered))
    if reservation is not None and reservation.state != "dialled":
        store.settle(reservation.id, "dialled", call_sid=call.sid)
    if call.status is not Status.IN_PROGRESS:  # it was begun before: dialled, or this webhook is the second of its kind
        moved = store.report_status(call.sid, answered)
        call = moved[0] if moved else call
    return call


class Patience:
    """Asks the store, for STORE_SECONDS in all; the first failure is logged and nothing is asked after it.

    A call whose request could not be read is not recorded half: a later callback begins it whole.
    """

    def __init__(self, call_sid: str) -> None:
        self._call_sid = call_sid
        self._ends_at = time.monotonic() + STORE_SECONDS
        self._given_up = False

    def ask(self, request: Callable[[], T]) -> T | None:
        if self._given_up:
            return None
        try:
            return self._wait(_pool().submit(request))
        except CallbotError as exc:
            self._given_up = True
            failures.store_down(log, exc, call_sid=self._call_sid)
            return None

    def _wait(self, answer: Future[T]) -> T:
        try:
            return answer.result(max(0.0, self._ends_at - time.monotonic()))
        except FutureTimeoutError as exc:
            answer.cancel()
            raise StoreError("too slow for a caller who is waiting") from exc


@functools.cache
def _pool() -> ThreadPoolExecutor:
    # A store that hangs holds these threads and no caller: when all are held, a caller waits STORE_SECONDS and goes on.
    return ThreadPoolExecutor(_POOL_SIZE, thread_name_prefix="answering")
