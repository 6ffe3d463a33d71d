"""Each rule of what a call does next."""

from dataclasses import replace

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot.calls import Call, Flow, StreamState, Turn
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
    plan = at(Step("idle", prompts=1), a_call(stream=a_stream(caller_active_at=ago(7))))
    assert (plan.say, plan.then) == ((), listen(1, 3))


def test_a_caller_who_spoke_a_while_ago_is_silent():
    assert at(Step("idle"), a_call(stream=a_stream(caller_active_at=ago(9)))).say == (AGENT.idle_prompts[0],)


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
        a_turn(complete=True, at=ago(60)),
        a_turn(complete=True, sentences=(), at=ago(5)),
    ],
    ids=["asked too long ago", "written too long ago", "said already", "forgotten", "said by a voice of its own"],
)
def test_an_answer_that_does_not_come_does_not_keep_the_line_silent(turn):
    assert at(Step("idle"), a_call(flow=Flow(turn=2)), turn).say == (AGENT.idle_prompts[0],)


def test_an_answer_whose_update_never_got_through_is_said_after_all():
    plan = at(Step("idle"), a_call(flow=Flow(turn=2)), a_turn(complete=True, at=ago(11)))
    assert (plan.say, plan.then) == ((), GoOn("words", {"turn": 3, "sentence": 0}))


def test_the_greeting_is_not_said_again():
    plan = at(Step("idle"), a_call(), a_turn(n=1, complete=True, at=ago(11)))
    assert plan.say == (AGENT.idle_prompts[0],)


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
