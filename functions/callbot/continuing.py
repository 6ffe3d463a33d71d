"""How a call goes on: what `/call-flow` reads, waits for and writes around the rules of `flow.py`."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from callbot import answering, failures
from callbot.agents import Agent, Agents
from callbot.calls import Call, EngineName, Turn
from callbot.documents import document
from callbot.errors import CallbotError
from callbot.flow import MAX_FAILURES, HangUp, OpenStream, Plan, Step, decide, listen
from callbot.settings import Settings
from callbot.store import CallStore, Writer
from callbot.webhooks import Webhook

POLL_SECONDS = 0.1
PATIENCE = timedelta(
    seconds=1.5
)  # silence spent on waiting for the next sentence before Twilio is sent round once more

log = logging.getLogger(__name__)


def go_on(
    webhook: Webhook,
    *,
    settings: Settings,
    agents: Agents,
    store: Callable[[], CallStore],
    now: Callable[[], datetime],
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """The document for the step that Twilio asks for."""
    step = Step.read(webhook.query, webhook.form)
    try:
        call = _known(webhook, step, settings, agents, store(), now())
        agent = answering.agent_of(call, agents)
        plan = _decided(step, call, agent, store(), now, sleep)
    except CallbotError as exc:
        failures.store_down(log, exc, call_sid=webhook.call_sid)
        call = _as_told(webhook, step, settings, agents, now())
        agent = answering.agent_of(call, agents)
        plan = decide(step, None, agent, None, now())
    else:
        _write(plan, call, store())
    return document(plan, call, agent, settings)


def after_a_mistake(webhook: Webhook, *, settings: Settings, agents: Agents, now: datetime) -> str:
    """What a caller hears when a mistake of ours stopped a step: an apology, and the line again, a few times."""
    step = Step.read(webhook.query, webhook.form)
    call = _as_told(webhook, step, settings, agents, now)
    agent = answering.agent_of(call, agents)
    failures = step.failures + 1
    if failures >= MAX_FAILURES:
        return document(Plan((agent.final_apology, agent.closing), HangUp()), call, agent, settings)
    if call.engine == "realtime":
        return document(Plan((agent.apology,), OpenStream(step.generation + 1, failures)), call, agent, settings)
    return document(Plan((agent.apology,), listen(step.prompts, failures=failures)), call, agent, settings)


def _known(webhook: Webhook, step: Step, settings: Settings, agents: Agents, store: CallStore, now: datetime) -> Call:
    call = store.get(webhook.call_sid)
    if call is not None:
        return call
    # The store was down when this call was answered.
    id_ = webhook.query.get(answering.RESERVATION, "")
    reservation = store.reservation(id_) if id_ else None
    return answering.record(store, _as_told(webhook, step, settings, agents, now), reservation, now)


def _as_told(webhook: Webhook, step: Step, settings: Settings, agents: Agents, now: datetime) -> Call:
    # Without a word on the engine: only a two-way stream is followed by `resume`.
    engine: EngineName = step.engine or ("realtime" if step.name == "resume" else "amivoice")
    return answering.call_from(webhook, engine, None, settings, agents, now)


def _decided(
    step: Step,
    call: Call,
    agent: Agent,
    store: CallStore,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> Plan:
    plan = decide(step, call, agent, _turn(step, call, store), now())
    ends_at = now() + PATIENCE
    while plan.may_improve and now() < ends_at:
        sleep(POLL_SECONDS)
        plan = decide(step, call, agent, _turn(step, call, store), now())
    return plan


def _turn(step: Step, call: Call, store: CallStore) -> Turn | None:
    if step.name == "words":
        return store.turn(call.sid, step.turn)
    if call.engine == "amivoice" and step.name not in ("transfer", "transferred"):
        return next(reversed(store.turns(call.sid)), None)
    return None


def _write(plan: Plan, call: Call, store: CallStore) -> None:
    changes: dict[str, object] = {}
    if plan.flow is not None and replace(plan.flow, at=None) != replace(call.flow, at=None):
        changes["flow"] = plan.flow
    if plan.end_reason and not call.end_reason:
        changes["end_reason"] = plan.end_reason
    try:
        if changes:
            store.update(call.sid, Writer.FUNCTIONS, changes)
    except CallbotError as exc:
        failures.write_lost(log, exc, what="step", call_sid=call.sid)
