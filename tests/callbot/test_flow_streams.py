"""Each rule of what a call does when its stream has ended or is to end, and what no state may lead to."""

from dataclasses import replace
from datetime import timedelta

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot.calls import Call, Flow, NextStep, Status, StreamState, Turn
from callbot.flow import DialHuman, GoOn, HangUp, OpenStream, Plan, Step, decide, listen
from tests.functions.scenes import AGENT, HUMAN, NOW, a_call, a_turn, ago


def at(step: Step, call: Call | None, turn: Turn | None = None) -> Plan:
    return decide(step, call, AGENT, turn, NOW)


def a_stream(**fields: object) -> StreamState:
    return replace(a_call().stream, **fields)


# -- resume: a stream has ended ----------------------------------------------------------------------------------------


def lost(**fields: object) -> Call:
    return a_call(**({"engine": "realtime", "stream": a_stream(lost_at=ago(1))} | fields))


def test_a_lost_stream_is_followed_by_the_next():
    plan = at(Step("resume", generation=1), lost())
    assert (plan.say, plan.then) == ((AGENT.resume,), OpenStream(2))


def test_a_killed_stream_service_leaves_no_word_and_is_followed_too():
    assert at(Step("resume", generation=1), lost(stream=a_stream())).then == OpenStream(2)


def test_the_stream_service_may_say_what_is_spoken_first():
    call = lost(next_step=NextStep(1, "resume", say="少々お待ちください。"))
    assert at(Step("resume", generation=1), call).say == ("少々お待ちください。",)


def test_the_stream_service_may_say_goodbye():
    call = lost(next_step=NextStep(1, "goodbye", say="さようなら。", reason="caller said goodbye"))
    plan = at(Step("resume", generation=1), call)
    assert (plan.say, plan.then, plan.end_reason) == (("さようなら。",), HangUp(), "caller said goodbye")


def test_a_goodbye_without_words_is_the_agents():
    call = lost(next_step=NextStep(1, "goodbye"))
    assert at(Step("resume", generation=1), call).say == (AGENT.closing,)


def test_the_stream_service_may_ask_for_a_transfer():
    call = lost(next_step=NextStep(1, "transfer", target="operator"))
    plan = at(Step("resume", generation=1), call)
    assert plan.then == DialHuman("operator", HUMAN)
    assert plan.flow.step == "transfer"


def test_a_next_step_of_an_older_stream_is_past():
    call = lost(stream=a_stream(generation=2), next_step=NextStep(1, "goodbye"))
    assert at(Step("resume", generation=2), call).then == OpenStream(3)


def test_a_call_that_is_over_stays_over():
    for name in ("resume", "words", "idle", "transfer", "transferred"):
        assert at(Step(name, generation=1), lost(status=Status.COMPLETED)) == Plan((), HangUp())


def test_a_forked_call_that_has_a_newer_stream_just_goes_on():
    plan = at(Step("resume", generation=1), a_call(stream=a_stream(generation=2)))
    assert (plan.say, plan.then) == ((), listen())


@pytest.mark.parametrize(
    ("failures", "generation", "opened"),
    [(1, 2, False), (1, 1, True)],
    ids=["never opened", "lived for a moment"],
)
def test_streams_that_fail_in_a_row_are_counted(failures, generation, opened):
    stream = a_stream(connected_at=ago(5), lost_at=ago(1)) if opened else a_stream()
    plan = at(Step("resume", generation=generation, failures=failures), lost(stream=stream))
    assert plan.then == OpenStream(generation + 1, failures=failures + 1)


def test_a_stream_with_a_life_starts_the_count_again():
    assert at(Step("resume", generation=1, failures=2), lost()).then == OpenStream(2, failures=0)


def test_three_failures_end_the_call_with_a_word():
    plan = at(Step("resume", generation=3, failures=2), lost())
    assert plan.say == (AGENT.apology, AGENT.closing)
    assert (plan.then, plan.end_reason) == (HangUp(), "stream lost")


def test_a_stream_lost_at_the_end_of_its_time_is_not_replaced():
    assert at(Step("resume", generation=1), lost(answered_at=ago(900))).end_reason == "time limit"


def test_a_forked_call_goes_on_with_what_was_not_heard():
    call = a_call(stream=a_stream(lost_at=ago(1)), flow=Flow(turn=3, sentence=1, step="words"))
    plan = at(Step("resume", generation=1), call, a_turn())
    assert plan.then == OpenStream(2, then=GoOn("words", {"turn": 3, "sentence": 1}))


@pytest.mark.parametrize(
    "turn",
    [
        None,
        a_turn(n=2),
        a_turn(interrupted=True),
        a_turn(complete=False),
        a_turn(role="caller", sentences=()),
        a_turn(sentences=("はい。",)),
    ],
    ids=["nothing said", "older", "interrupted", "unfinished", "the caller's", "all heard"],
)
def test_a_forked_call_with_nothing_left_to_say_listens(turn):
    call = a_call(stream=a_stream(lost_at=ago(1)), flow=Flow(turn=3, sentence=1, step="words"))
    assert at(Step("resume", generation=1), call, turn).then == OpenStream(2)


def test_a_goodbye_that_was_cut_by_the_loss_is_still_carried_out():
    call = a_call(stream=a_stream(lost_at=ago(1)), flow=Flow(turn=3, sentence=2, step="words"))
    plan = at(Step("resume", generation=1), call, a_turn(then="hangup"))
    assert plan.then.then == GoOn("words", {"turn": 3, "sentence": 2})


def test_without_the_store_the_call_is_resumed_a_few_times():
    assert at(Step("resume", generation=1), None).then == OpenStream(2, failures=1)
    assert at(Step("resume", generation=3, failures=2), None).end_reason == "stream lost"


# -- transfers ---------------------------------------------------------------------------------------------------------


def test_a_caller_is_transferred_to_a_number_of_the_agents_file():
    plan = at(Step("transfer", target="operator"), a_call())
    assert plan.say == (AGENT.transfer_line,)
    assert plan.then == DialHuman("operator", HUMAN, stop=1)


def test_a_name_that_the_agent_does_not_have_is_not_dialled():
    plan = at(Step("transfer", target="+81990123456"), a_call())
    assert (plan.say, plan.then) == ((AGENT.transfer_failed,), listen())


def test_a_two_way_call_is_resumed_when_its_transfer_has_no_number():
    plan = at(Step("transfer", target="nobody"), a_call(engine="realtime"))
    assert (plan.say, plan.then) == ((AGENT.transfer_failed,), OpenStream(2))


@pytest.mark.parametrize("status", ["completed", "answered"])
def test_after_a_talk_with_the_human_the_call_ends(status):
    plan = at(Step("transferred", target="operator", dial_status=status), a_call())
    assert (plan.say, plan.then, plan.end_reason) == ((AGENT.closing,), HangUp(), "transferred")


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled", ""])
@pytest.mark.parametrize("engine", ["amivoice", "realtime"])
def test_a_human_who_does_not_answer_brings_the_agent_back(status, engine):
    plan = at(Step("transferred", target="operator", generation=1, dial_status=status), a_call(engine=engine))
    assert (plan.say, plan.then) == ((AGENT.transfer_failed,), OpenStream(2))


# -- every path --------------------------------------------------------------------------------------------------------

steps = st.builds(
    Step,
    name=st.sampled_from(["words", "idle", "resume", "transfer", "transferred", "?"]),
    turn=st.integers(0, 5),
    sentence=st.integers(0, 4),
    waits=st.integers(0, 3),
    prompts=st.integers(0, 4),
    generation=st.integers(0, 4),
    failures=st.integers(0, 4),
    target=st.sampled_from(["", "operator", "nobody"]),
    dial_status=st.sampled_from(["", "completed", "busy"]),
)
moments = st.one_of(st.none(), st.integers(0, 2000).map(ago))
streams = st.builds(
    StreamState,
    generation=st.integers(0, 4),
    connected_at=moments,
    seen_at=moments,
    lost_at=moments,
    caller_active_at=moments,
)
next_steps = st.one_of(
    st.none(),
    st.builds(
        NextStep, st.integers(0, 4), st.sampled_from(["resume", "goodbye", "transfer"]), target=st.just("operator")
    ),
)
a_recorded_call = st.builds(
    lambda engine, stream, next_step, flow: a_call(engine=engine, stream=stream, next_step=next_step, flow=flow),
    st.sampled_from(["amivoice", "realtime"]),
    streams,
    next_steps,
    st.builds(Flow, turn=st.integers(0, 5), sentence=st.integers(0, 3)),
)
turns = st.one_of(
    st.none(),
    st.builds(
        lambda n, complete, interrupted, then, age: a_turn(
            n, complete=complete, interrupted=interrupted, then=then, target="operator", at=ago(age)
        ),
        st.integers(1, 5),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["listen", "hangup", "transfer"]),
        st.integers(0, 60),
    ),
)


@hypothesis.settings(deadline=None)  # a busy machine is not a failure
@given(steps, st.one_of(st.none(), a_recorded_call), turns)
def test_no_state_leaves_the_caller_with_nothing(step, call, turn):
    plan = decide(step, call, AGENT, turn, NOW)
    if isinstance(plan.then, HangUp):
        # The line is closed only after a sentence: this one, or the turn that was heard to its end.
        assert plan.say or (turn is not None and turn.then == "hangup")
        assert plan.end_reason
    if isinstance(plan.then, OpenStream):
        assert plan.then.generation > max(
            step.generation if step.name == "resume" else 0, call.stream.generation if call else 0
        )
    if plan.flow is not None and call is not None:
        assert (plan.flow.turn, plan.flow.sentence) >= (call.flow.turn, call.flow.sentence)


@hypothesis.settings(deadline=None)  # a busy machine is not a failure
@given(a_recorded_call, turns)
def test_a_line_on_which_nothing_happens_any_more_is_closed(call, turn):
    """Whatever the state, a caller who does nothing and a stream that shows no life come to a spoken end."""
    step, now = Step("idle"), NOW
    for _ in range(40):
        plan = decide(step, call, AGENT, turn, now)
        if isinstance(plan.then, HangUp):
            return
        now += timedelta(seconds=AGENT.idle_seconds)
        match plan.then:
            case GoOn(name, params, _):
                step = Step(name, **params)
            case OpenStream(generation, failures):
                step = Step("resume" if call.engine == "realtime" else "idle", generation=generation, failures=failures)
            case DialHuman(target):
                step = Step("transferred", target=target, dial_status="completed")
    pytest.fail("the call goes on for ever")
