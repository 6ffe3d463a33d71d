"""Each rule of what a call does next."""

from dataclasses import replace
from datetime import timedelta

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot.calls import Call, Flow, NextStep, Status, StreamState, Turn
from callbot.flow import DialHuman, GoOn, HangUp, OpenStream, Plan, Step, decide, flow_url, listen
from tests.functions.scenes import AGENT, HUMAN, NOW, a_call, a_turn, ago


def at(step: Step, call: Call | None, turn: Turn | None = None) -> Plan:
    return decide(step, call, AGENT, turn, NOW)


def words(turn: int = 3, sentence: int = 0, **more: int) -> Step:
    return Step("words", turn=turn, sentence=sentence, **more)


def a_stream(**fields: object) -> StreamState:
    return replace(a_call().stream, **fields)


# -- the URL -----------------------------------------------------------------------------------------------------------


def test_a_step_is_read_back_from_its_url():
    url = flow_url("https://callbot.test", "words", turn=3, sentence=1)
    assert url == "https://callbot.test/call-flow?step=words&turn=3&sentence=1"
    assert Step.read({"step": "words", "turn": "3", "sentence": "1"}, {}) == words(3, 1)


def test_what_dial_reports_is_part_of_the_step():
    step = Step.read({"step": "transferred", "target": "operator"}, {"DialCallStatus": "busy"})
    assert (step.target, step.dial_status) == ("operator", "busy")


@pytest.mark.parametrize("text", ["", "-1", "x", "1e3", "٣", "9999999", "1 ", "0x1"])
def test_a_number_that_is_none_counts_as_zero(text):
    assert Step.read({"step": "words", "turn": text}, {}).turn == 0


@hypothesis.settings(deadline=None)  # a busy machine is not a failure
@given(st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()))
def test_no_request_is_unreadable(query, form):
    plan = at(Step.read(query, form), a_call())
    assert isinstance(plan, Plan)


# -- words: handing out sentences, and learning which were heard -------------------------------------------------------


def test_the_next_sentence_is_said_and_asked_after():
    plan = at(words(3, 1), a_call(), a_turn())
    assert plan.say == ("承知しました。",)
    assert plan.then == GoOn("words", {"turn": 3, "sentence": 2})


def test_coming_back_proves_what_was_heard():
    assert at(words(3, 1), a_call(), a_turn()).flow == Flow(turn=3, sentence=1, step="words", at=NOW)


def test_a_request_that_was_overtaken_proves_nothing_new():
    flow = at(words(3, 1), a_call(flow=Flow(turn=4, sentence=1)), a_turn()).flow
    assert (flow.turn, flow.sentence) == (4, 1)


def test_after_the_last_sentence_the_agent_listens():
    plan = at(words(3, 2), a_call(), a_turn())
    assert plan.say == ()
    assert plan.then == listen()
    assert (plan.flow.turn, plan.flow.sentence) == (3, 2)


def test_after_the_last_words_of_a_goodbye_the_line_is_closed():
    plan = at(words(3, 2), a_call(), a_turn(then="hangup"))
    assert (plan.then, plan.flow.step, plan.end_reason) == (HangUp(), "hangup", "agent ended the call")


def test_the_stream_services_reason_for_a_goodbye_is_kept():
    call = a_call(stream=a_stream(ending="caller said goodbye"))
    assert at(words(3, 2), call, a_turn(then="hangup")).end_reason == "caller said goodbye"


def test_after_announcing_it_the_caller_is_transferred():
    plan = at(words(3, 2), a_call(), a_turn(then="transfer", target="operator"))
    assert plan.then == DialHuman("operator", HUMAN, stop=1)
    assert plan.say == ()
    assert (plan.flow.step, plan.flow.turn, plan.flow.sentence) == ("transfer", 3, 2)


def test_a_transfer_without_words_is_announced():
    assert at(words(3, 0), a_call(), a_turn(sentences=(), then="transfer", target="operator")).say == (
        AGENT.transfer_line,
    )


def test_a_sentence_that_is_still_being_written_is_waited_for():
    plan = at(words(3, 2), a_call(), a_turn(complete=False))
    assert plan.may_improve
    assert plan.then == GoOn("words", {"turn": 3, "sentence": 2, "waits": 1}, seconds=1)


def test_a_turn_that_is_not_stored_yet_is_waited_for():
    assert at(words(3, 0), a_call(), None).may_improve


def test_waiting_for_a_sentence_ends_with_an_apology():
    plan = at(words(3, 2, waits=2), a_call(), a_turn(complete=False))
    assert plan.say == (AGENT.apology,)
    assert plan.then == listen()


def test_what_the_caller_interrupted_is_not_continued():
    plan = at(words(3, 1), a_call(), a_turn(interrupted=True))
    assert (plan.say, plan.then) == ((), listen())


def test_without_the_store_the_agent_listens():
    assert at(words(3, 1), None) == Plan((), listen())


# -- idle: a silent line -----------------------------------------------------------------------------------------------


def test_a_silent_caller_is_prompted():
    plan = at(Step("idle", prompts=1), a_call())
    assert plan.say == (AGENT.idle_prompts[1],)
    assert plan.then == listen(2)


def test_a_caller_who_stays_silent_is_said_goodbye_to():
    plan = at(Step("idle", prompts=2), a_call())
    assert plan.say == (AGENT.closing,)
    assert (plan.then, plan.end_reason, plan.flow.step) == (HangUp(), "caller silent", "hangup")


def test_a_caller_who_is_speaking_is_not_prompted():
    plan = at(Step("idle", prompts=1), a_call(stream=a_stream(caller_active_at=ago(4))))
    assert (plan.say, plan.then) == ((), listen(1, 3))


def test_a_caller_who_spoke_a_while_ago_is_silent():
    assert at(Step("idle"), a_call(stream=a_stream(caller_active_at=ago(6)))).say == (AGENT.idle_prompts[0],)


@pytest.mark.parametrize(
    "turn",
    [
        a_turn(role="caller", sentences=(), at=ago(9)),
        a_turn(complete=False, at=ago(20)),
        a_turn(complete=True, at=ago(5)),
    ],
    ids=["the caller has just asked", "the answer is being written", "the answer is on its way"],
)
def test_an_answer_that_is_being_made_is_not_interrupted(turn):
    plan = at(Step("idle", prompts=1), a_call(flow=Flow(turn=2)), turn)
    assert (plan.say, plan.then) == ((), listen(1, 2))


@pytest.mark.parametrize(
    "turn",
    [
        a_turn(role="caller", sentences=(), at=ago(11)),
        a_turn(complete=False, at=ago(31)),
        a_turn(n=2, complete=True, at=ago(5)),
        a_turn(complete=True, at=ago(11)),
        a_turn(complete=True, sentences=(), at=ago(5)),
    ],
    ids=["asked too long ago", "written too long ago", "said already", "never fetched", "said by a voice of its own"],
)
def test_an_answer_that_does_not_come_does_not_keep_the_line_silent(turn):
    assert at(Step("idle"), a_call(flow=Flow(turn=2)), turn).say == (AGENT.idle_prompts[0],)


def test_a_call_over_its_time_ends_politely():
    plan = at(Step("idle"), a_call(answered_at=ago(900)))
    assert plan.say == (AGENT.time_up, AGENT.closing)
    assert (plan.then, plan.end_reason) == (HangUp(), "time limit")


def test_the_requests_own_time_limit_comes_first():
    assert at(Step("idle"), a_call(max_duration_seconds=60)).end_reason == "time limit"
    assert at(Step("idle"), a_call(answered_at=ago(1000), max_duration_seconds=1200)).end_reason == ""


@pytest.mark.parametrize(
    "stream",
    [
        StreamState(),
        StreamState(generation=1, connected_at=ago(59), seen_at=ago(3), lost_at=ago(2)),
        StreamState(generation=1, connected_at=ago(59), seen_at=ago(26)),
        StreamState(generation=1, connected_at=ago(59)),
    ],
    ids=["never opened", "lost", "silent", "never seen"],
)
def test_a_line_that_nobody_listens_to_gets_a_new_stream(stream):
    plan = at(Step("idle", prompts=1), a_call(stream=stream))
    assert plan.say == (AGENT.resume,)
    assert isinstance(plan.then, OpenStream)
    assert plan.then.generation == 2
    assert plan.flow.step == "stream:2"


def test_a_first_stream_may_take_a_moment_to_open():
    call = a_call(created_at=ago(5), answered_at=ago(4), stream=StreamState())
    assert at(Step("idle"), call).say == (AGENT.idle_prompts[0],)


def test_a_stream_that_may_still_run_is_stopped_before_the_next():
    hanging = a_call(stream=a_stream(seen_at=ago(26)))
    assert at(Step("idle"), hanging).then.stop == 1
    lost = a_call(stream=a_stream(lost_at=ago(9)))
    assert at(Step("idle"), lost).then.stop == 0


def test_a_second_stream_that_never_opened_is_noticed():
    plan = at(Step("idle", generation=2, failures=1), a_call(stream=a_stream(lost_at=ago(20))))
    assert (plan.then.generation, plan.then.failures) == (3, 2)


def test_without_the_store_a_silent_caller_is_prompted_all_the_same():
    assert at(Step("idle", prompts=0), None).say == (AGENT.idle_prompts[0],)
    assert at(Step("idle", prompts=2), None).then == HangUp()


@pytest.mark.parametrize("name", ["", "idle", "words", "unheard-of"])
def test_a_two_way_call_that_asks_has_lost_its_stream(name):
    plan = at(Step(name), a_call(engine="realtime"))
    assert (plan.say, plan.then.generation) == ((AGENT.resume,), 2)


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
