"""What a call does next, each time Twilio comes to `/call-flow`: the grammar of its URL, and every rule (pure).

A request is a `Step`; `decide` turns it into a `Plan`. Reading and writing the store, waiting, and TwiML are not here.
Plain values are named tuples, as elsewhere in what every start loads: a frozen dataclass takes half a millisecond to
make, six times as long.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from callbot.addresses import function_url
from callbot.agents import Agent
from callbot.calls import ENGINES, Call, EngineName, Flow, Turn

MAX_FAILURES = 3  # streams in a row that were never opened, or lived shorter than _SHORT_LIFE
MAX_WAITS = 2  # visits to a sentence that is still being written: with the polling before each, about 6 s
_SHORT_LIFE = timedelta(seconds=5)
_CONNECTING = timedelta(seconds=8)  # how long a first stream may take to open before it counts as dead
_SILENT_STREAM = timedelta(seconds=25)  # without a sign of life from the stream service
_CALLER_SPEAKING = timedelta(seconds=8)  # how long ago a caller may have been heard who counts as speaking
_ANSWERING = timedelta(seconds=10)  # how long ago a turn may be for its answer to be still on the way
_WRITING = timedelta(seconds=30)  # how old a turn may be that is still being written
_UPDATING = timedelta(seconds=8)  # how old a turn may be for the update that begins to speak it to be on its way
_AGAIN_SECONDS = 2
_OF_A_STREAM = frozenset({"resume", "transfer", "transferred"})  # asked for when a stream has ended or is to end
_HUMAN_JOINED = frozenset({"completed", "answered"})  # Twilio: TwiML Dial, DialCallStatus


def flow_url(functions_url: str, step: str, **params: int | str) -> str:
    """Where Twilio asks what a call does next, for a `<Redirect>` or an `action`."""
    return f"{function_url(functions_url, 'call-flow')}?{urlencode({'step': step, **params})}"


class Step(NamedTuple):
    """What a request to `/call-flow` asks. A number that is missing or no number counts as 0."""

    name: str
    turn: int = 0
    sentence: int = 0  # sentences of the turn below this one have been heard
    waits: int = 0
    prompts: int = 0  # idle prompts said in a row
    generation: int = 0
    failures: int = 0
    target: str = ""
    engine: EngineName | None = None  # of the stream that has ended, where the call's record may be out of reach
    dial_status: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str], form: Mapping[str, str]) -> "Step":
        numbers = {name: _number(query.get(name, "")) for name in _NUMBERS}
        return cls(
            query.get("step", ""),
            target=query.get("target", ""),
            engine=next((engine for engine in ENGINES if engine == query.get("engine")), None),
            dial_status=form.get("DialCallStatus", ""),
            **numbers,
        )


_NUMBERS = ("turn", "sentence", "waits", "prompts", "generation", "failures")


def _number(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,6}", text) else 0


@dataclass(frozen=True, slots=True)
class GoOn:
    """Ask `/call-flow` for this step: at once, or after `seconds` of listening (0: the agent's idle seconds)."""

    step: str
    params: Mapping[str, int] = field(default_factory=dict)
    seconds: int | None = None


class OpenStream(NamedTuple):
    """Open a stream of this generation; engine amivoice goes on with `then` while it runs."""

    generation: int
    failures: int = 0
    stop: int = 0  # the generation of a stream that may be still running; 0: none
    then: GoOn | None = None


class DialHuman(NamedTuple):
    """Join the caller with this number of the agent's file."""

    target: str
    number: str
    stop: int = 0


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call."""


class Plan(NamedTuple):
    """What is said, what follows, and what is written down about it."""

    say: tuple[str, ...]
    then: GoOn | OpenStream | DialHuman | HangUp
    flow: Flow | None = None
    end_reason: str = ""
    may_improve: bool = False  # what was asked for is still being written: worth another look in a moment


def decide(step: Step, call: Call | None, agent: Agent, turn: Turn | None, now: datetime) -> Plan:
    """What happens at this step.

    `call` is None when the store cannot say anything of it: then the line is kept open with what is known.
    `turn` is the turn the step names (`words`) or the call's last one.
    """
    if call is not None and call.is_over:
        return Plan((), HangUp())
    if step.name not in _OF_A_STREAM and call is not None and call.engine == "realtime":
        # A two-way stream blocks Twilio while it lives, so whoever asks has none any more.
        return _resume(step._replace(generation=call.stream.generation), call, agent, turn, now)
    match step.name:
        case "words":
            return _words(step, call, agent, turn, now)
        case "resume":
            return _resume(step, call, agent, turn, now)
        case "transfer":
            return _transfer(step.target, (agent.transfer_line,), step, call, agent, now)
        case "transferred":
            return _transferred(step, call, agent, now)
        case _:
            return _idle(step, call, agent, turn, now)


def listen(prompts: int = 0, seconds: int = 0, **params: int) -> GoOn:
    """Wait for the caller, then see what an idle line needs."""
    return GoOn("idle", {"prompts": prompts, **params}, seconds=seconds)


def _words(step: Step, call: Call | None, agent: Agent, turn: Turn | None, now: datetime) -> Plan:
    if call is None:
        return Plan((), listen())
    flow = _heard(call.flow, step, now)
    if turn is not None and turn.interrupted:
        return Plan((), listen(), replace(flow, step="listen"))
    if turn is not None and step.sentence < len(turn.sentences):
        onward = GoOn("words", {"turn": step.turn, "sentence": step.sentence + 1})
        return Plan((turn.sentences[step.sentence],), onward, flow)
    if turn is None or not turn.complete:
        if step.waits >= MAX_WAITS:
            return Plan((agent.apology,), listen(), replace(flow, step="listen"), may_improve=True)
        again = {"turn": step.turn, "sentence": step.sentence, "waits": step.waits + 1}
        return Plan((), GoOn("words", again, seconds=1), flow, may_improve=True)
    if turn.then == "hangup":
        reason = call.stream.ending or "agent ended the call"
        return Plan((), HangUp(), replace(flow, step="hangup"), reason)
    if turn.then == "transfer":
        line = () if turn.sentences else (agent.transfer_line,)
        return _transfer(turn.target, line, step, replace(call, flow=flow), agent, now)
    return Plan((), listen(), replace(flow, step="listen"))


def _heard(flow: Flow, step: Step, now: datetime) -> Flow:
    # A request that was overtaken by a newer turn proves nothing new.
    if (step.turn, step.sentence) < (flow.turn, flow.sentence):
        return replace(flow, step="words", at=now)
    return Flow(turn=step.turn, sentence=step.sentence, step="words", at=now)


def _idle(step: Step, call: Call | None, agent: Agent, turn: Turn | None, now: datetime) -> Plan:
    flow = None
    if call is not None:
        flow = replace(call.flow, step="idle", at=now)
        if _is_over_time(call, agent, now):
            return _goodbye((agent.time_up, agent.closing), "time limit", call, now)
        if _is_dead(call, step, now):
            return _open_stream(agent.resume, step, call, agent, None, now)
        if _within(_CALLER_SPEAKING, call.stream.caller_active_at, now):
            return Plan((), listen(step.prompts, 3), flow)
        if turn is not None and _was_never_begun(turn, call.flow, now):
            return Plan((), GoOn("words", {"turn": turn.n, "sentence": 0}), flow)
        if turn is not None and _is_being_answered(turn, call.flow, now):
            return Plan((), listen(step.prompts, _AGAIN_SECONDS), flow)
    if step.prompts < len(agent.idle_prompts):
        return Plan((agent.idle_prompts[step.prompts],), listen(step.prompts + 1), flow)
    return _goodbye((agent.closing,), "caller silent", call, now)


def _was_never_begun(turn: Turn, flow: Flow, now: datetime) -> bool:
    """Whether the update that should have begun to speak this answer never got through. (The first is the greeting.)"""
    waiting = turn.role == "agent" and turn.n > max(flow.turn, 1) and bool(turn.sentences) and not turn.interrupted
    age = now - turn.at
    return waiting and turn.complete and turn.heard is None and _UPDATING <= age < _WRITING


def _is_being_answered(turn: Turn, flow: Flow, now: datetime) -> bool:
    if turn.role == "caller":
        return _within(_ANSWERING, turn.at, now)
    if not turn.complete:
        return _within(_WRITING, turn.at, now)
    return turn.n > flow.turn and bool(turn.sentences) and _within(_ANSWERING, turn.at, now)


def _resume(step: Step, call: Call | None, agent: Agent, turn: Turn | None, now: datetime) -> Plan:
    if call is None:
        return _open_stream(agent.resume, step, None, agent, None, now)
    if call.engine == "amivoice" and call.stream.generation > step.generation:
        return Plan((), listen(), replace(call.flow, step="listen", at=now))
    resume = agent.resume
    if call.next_step is not None and call.next_step.generation == step.generation:
        asked = call.next_step
        if asked.step == "goodbye":
            return _goodbye((asked.say or agent.closing,), asked.reason or "agent ended the call", call, now)
        if asked.step == "transfer":
            return _transfer(asked.target, (asked.say,), step, call, agent, now)
        resume = asked.say or agent.resume
    if _is_over_time(call, agent, now):
        return _goodbye((agent.time_up, agent.closing), "time limit", call, now)
    return _open_stream(resume, step, call, agent, turn, now)


def _transfer(target: str, say: tuple[str, ...], step: Step, call: Call | None, agent: Agent, now: datetime) -> Plan:
    number = agent.transfers.get(target)
    if number is None:
        if call is not None and call.engine == "amivoice" and not _is_dead(call, step, now):
            return Plan((agent.transfer_failed,), listen(), replace(call.flow, step="listen", at=now))
        return _open_stream(agent.transfer_failed, step, call, agent, None, now)
    forked = call.stream.generation if call is not None and call.engine == "amivoice" else 0
    # Written before the document goes out: the stream that ends now was meant to.
    flow = replace(call.flow, step="transfer", at=now) if call is not None else None
    return Plan(say, DialHuman(target, number, stop=forked), flow)


def _transferred(step: Step, call: Call | None, agent: Agent, now: datetime) -> Plan:
    if step.dial_status in _HUMAN_JOINED:
        return _goodbye((agent.closing,), "transferred", call, now)
    if call is not None and _is_over_time(call, agent, now):
        return _goodbye((agent.time_up, agent.closing), "time limit", call, now)
    return _open_stream(agent.transfer_failed, step, call, agent, None, now)


def _goodbye(say: tuple[str, ...], reason: str, call: Call | None, now: datetime) -> Plan:
    flow = replace(call.flow, step="hangup", at=now) if call is not None else None
    return Plan(say, HangUp(), flow, reason)


def _open_stream(say: str, step: Step, call: Call | None, agent: Agent, turn: Turn | None, now: datetime) -> Plan:
    """A new stream after `say`, unless the last MAX_FAILURES came to nothing."""
    before = max(step.generation, call.stream.generation if call is not None else 0, 1)
    failures = 0 if _had_a_life(before, call, now) else step.failures + 1
    if failures >= MAX_FAILURES:
        told = call.next_step if call is not None else None
        reason = told.reason if told is not None and told.generation == step.generation else ""
        return _goodbye((agent.final_apology, agent.closing), reason or "stream lost", call, now)
    if call is None:
        return Plan((say,), OpenStream(before + 1, failures))
    flow = replace(call.flow, step=stream_step(before + 1), at=now)
    stream = call.stream
    ended = stream.generation == before and stream.lost_at is not None
    stop = before if call.engine == "amivoice" and step.name not in _OF_A_STREAM and not ended else 0
    return Plan((say,), OpenStream(before + 1, failures, stop, _unheard(call, turn)), flow)


def stream_step(generation: int) -> str:
    """`Flow.step` once a stream of this generation has been handed out."""
    return f"stream:{generation}"


def _unheard(call: Call, turn: Turn | None) -> GoOn | None:
    """The rest of what the agent was saying when the stream was lost."""
    if turn is None or turn.role != "agent" or turn.interrupted or not (turn.complete and turn.sentences):
        return None
    if call.flow.turn > turn.n:
        return None
    heard = call.flow.sentence if call.flow.turn == turn.n else 0
    if heard >= len(turn.sentences) and turn.then == "listen":
        return None
    return GoOn("words", {"turn": turn.n, "sentence": heard})


def _had_a_life(generation: int, call: Call | None, now: datetime) -> bool:
    if call is None or call.stream.generation < generation or call.stream.connected_at is None:
        return False
    return (call.stream.lost_at or now) - call.stream.connected_at >= _SHORT_LIFE


def _is_dead(call: Call, step: Step, now: datetime) -> bool:
    """Whether nobody is listening to this call any more."""
    stream = call.stream
    if stream.generation < max(step.generation, 1):
        return step.generation > 1 or not _within(_CONNECTING, call.answered_at or call.created_at, now)
    return stream.lost_at is not None or not _within(_SILENT_STREAM, stream.seen_at or stream.connected_at, now)


def _is_over_time(call: Call, agent: Agent, now: datetime) -> bool:
    limit = timedelta(seconds=call.max_duration_seconds or agent.max_duration_seconds)
    return now - (call.answered_at or call.created_at) >= limit


def _within(span: timedelta, at: datetime | None, now: datetime) -> bool:
    return at is not None and now - at < span
