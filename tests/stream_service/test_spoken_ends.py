"""Scenes from calls on engine amivoice: failures, time, and every way a stream or a call ends."""

import pytest
from call_scenes import AGENT, Scene, none, notes, one, since
from spoken_scenes import END_CALL, TRANSFER, answered, greeted, says, spoken, uses

from stream_service.commands import CancelChat, Finish, HandOver, KeepEnding, KeepTurn, Note, Speak, StartChat
from stream_service.events import (
    AnswerDone,
    AnswerFailed,
    CallerSaid,
    CallerSaying,
    CallerStarted,
    CallerStopped,
    CallGone,
    CarrierLost,
    CarrierRefused,
    Delivered,
    Drain,
    EngineFailed,
    EngineReady,
    Event,
    FirstToken,
    HeardSoFar,
    SentenceReady,
    StreamStopped,
    ToolResult,
)
from stream_service.spoken_session import LEAVING_SECONDS
from stream_service.tools import Ending

# --- failures -----------------------------------------------------------------------------------------------------


def test_a_failed_answer_is_apologised_for_and_can_be_asked_again() -> None:
    scene = greeted()
    turn = says(scene, "料金を教えてください")
    commands = scene.happens(AnswerFailed(turn, "rate_limit_exceeded", retryable=True), after=0.5)
    assert one(commands, Speak).sentences == (AGENT.apology,)
    kept = one(commands, KeepTurn).turn
    assert (kept.failed, kept.then) == ("rate_limit_exceeded", "listen")
    scene.happens(Delivered(turn))
    scene.wait(6)
    assert says(scene, "料金を教えてください") == turn + 2


def test_an_answer_that_breaks_off_keeps_what_was_said_of_it() -> None:
    scene = greeted()
    turn = says(scene, "料金を教えてください")
    scene.happens(SentenceReady(turn, "三千円です。"), after=0.5)
    commands = scene.happens(AnswerFailed(turn, "truncated", retryable=True), after=0.2)
    none(commands, Speak)
    assert one(commands, KeepTurn).turn.sentences == ("三千円です。", AGENT.apology)


def test_an_exhausted_quota_ends_the_call_politely() -> None:
    scene = greeted()
    turn = says(scene, "料金を教えてください")
    commands = scene.happens(AnswerFailed(turn, "insufficient_quota", retryable=False), after=0.5)
    assert one(commands, KeepEnding).reason == "openai: insufficient_quota"
    kept = one(commands, KeepTurn).turn
    assert (kept.then, kept.sentences) == ("hangup", (AGENT.apology, AGENT.closing))


def test_two_failures_in_a_row_end_the_call() -> None:
    scene = greeted()
    turn = says(scene, "料金は")
    scene.happens(AnswerFailed(turn, "timeout", retryable=True), after=0.5)
    scene.happens(Delivered(turn))
    scene.wait(6)
    turn = says(scene, "料金を教えてください")
    commands = scene.happens(AnswerFailed(turn, "timeout", retryable=True), after=0.5)
    assert one(commands, KeepEnding).reason == "openai: timeout"


def test_an_answer_in_between_forgives_the_first_failure() -> None:
    scene = greeted()
    turn = says(scene, "料金は")
    scene.happens(AnswerFailed(turn, "timeout", retryable=True), after=0.5)
    scene.happens(Delivered(turn))
    scene.wait(6)
    answered(scene, "三千円です。")
    scene.wait(6)
    turn = says(scene, "料金を教えてください")
    none(scene.happens(AnswerFailed(turn, "timeout", retryable=True), after=0.5), KeepEnding)


def test_a_recogniser_that_cannot_be_had_ends_the_call_with_an_apology() -> None:
    scene = spoken()
    commands = scene.happens(EngineFailed("s refused", retryable=False))
    assert one(commands, KeepEnding).reason == "amivoice: s refused"
    spoken_words = one(commands, Speak).sentences[0]
    assert AGENT.apology in spoken_words
    assert AGENT.closing in spoken_words


def test_words_that_twilio_refused_do_not_keep_the_line_busy_for_ever() -> None:
    scene = greeted(max_duration_seconds=120)
    turn = says(scene, "料金を教えてください")
    scene.happens(SentenceReady(turn, "三千円です。"), after=0.5)
    scene.happens(AnswerDone(turn))
    commands = scene.happens(CarrierRefused(turn, "timeout"), after=1.0)
    assert one(commands, Note).severity == "ERROR"
    assert "time warning" in notes(scene.wait(100))


def test_a_goodbye_that_twilio_refused_still_ends_the_call() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL)
    scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    scene.happens(CarrierRefused(turn, "21218"))
    assert scene.wait(30)[-1] == Finish("asked", hang_up=True)


# --- time ---------------------------------------------------------------------------------------------------------


def test_a_long_call_is_warned_and_then_ended() -> None:
    scene = greeted(max_duration_seconds=300)
    commands = scene.wait(240 - (scene.now - 1000) + 0.2)
    assert notes(commands) == ["time warning"]
    assert one(commands, Speak).sentences == (AGENT.time_warning,)
    scene.happens(Delivered(one(commands, Speak).turn))
    commands = scene.wait(60)
    assert one(commands, KeepEnding).reason == "time limit"
    (words,) = one(commands, Speak).sentences
    assert words == AGENT.time_up + AGENT.closing
    assert scene.turns()[-1].then == "hangup"


def test_the_time_runs_through_all_streams_of_a_call() -> None:
    scene = spoken(generation=2, max_duration_seconds=300, answered_at=since(299))
    assert "ending" in notes(scene.wait(2))


def test_the_warning_waits_until_nobody_speaks() -> None:
    scene = greeted(max_duration_seconds=120)
    scene.happens(CallerStarted())
    none(scene.wait(110 - (scene.now - 1000)), Speak)
    scene.happens(CallerStopped())
    none(scene.wait(0.4), Speak)  # what was said is about to be known
    turn = one(scene.happens(CallerSaid("長い話でした。")), StartChat).turn
    none(scene.wait(0.6), Note)
    scene.happens(SentenceReady(turn, "はい。"))
    scene.happens(AnswerDone(turn))
    scene.happens(Delivered(turn))
    assert "time warning" in notes(scene.wait(3))


def test_a_stream_moves_on_before_the_platform_cuts_it() -> None:
    scene = greeted(max_duration_seconds=2 * 3600)
    commands = scene.wait(3300)
    assert commands[-1] == HandOver(None)
    assert "handing over" in notes(commands)


# --- the end, in every state --------------------------------------------------------------------------------------


def at_greeting() -> Scene:
    scene = spoken()
    scene.happens(EngineReady(resumed=False))
    return scene


def while_listening() -> Scene:
    return greeted()


def while_the_caller_speaks() -> Scene:
    scene = greeted()
    scene.happens(CallerStarted())
    return scene


def while_thinking() -> Scene:
    scene = greeted()
    scene.happens(FirstToken(says(scene, "料金を教えてください")), after=0.3)
    return scene


def while_bridging() -> Scene:
    scene = while_thinking()
    scene.wait(2)
    return scene


def while_speaking() -> Scene:
    scene = greeted()
    turn = says(scene, "料金を教えてください")
    scene.happens(SentenceReady(turn, "大人は三千円でございます。"), after=0.3)
    scene.happens(Delivered(turn))
    scene.wait(1)
    return scene


def while_finding_out() -> Scene:
    scene = while_speaking()
    scene.happens(CallerSaying("すみません"))
    scene.happens(CallerSaid("すみません、もう一度。"), after=0.1)
    return scene


def while_using_a_tool() -> Scene:
    scene = greeted()
    uses(scene, TRANSFER)
    return scene


def while_ending() -> Scene:
    scene = greeted()
    turn = uses(scene, END_CALL)
    scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    return scene


STATES = [
    spoken,
    at_greeting,
    while_listening,
    while_the_caller_speaks,
    while_thinking,
    while_bridging,
    while_speaking,
    while_finding_out,
    while_using_a_tool,
    while_ending,
]
in_every_state = pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)


@in_every_state
@pytest.mark.parametrize("event", [StreamStopped(), CallGone()])
def test_a_hang_up_settles_everything(state: object, event: Event) -> None:
    scene: Scene = state()  # type: ignore[operator]
    scene.happens(event, after=0.3)
    scene.happens(CarrierLost("closed"))  # Twilio closes the socket behind its `stop`
    scene.happens(CallerSaid("もしもし"))  # the recogniser's last words
    scene.wait(LEAVING_SECONDS + 0.2)
    assert scene.commands[-1] == Finish("asked" if state is while_ending else "caller hung up")
    agents = [turn for turn in scene.turns() if turn.role == "agent"]
    assert all(turn.complete and turn.heard is not None for turn in agents)
    cancelled = {c.turn for c in scene.all(CancelChat)}
    answers = {c.turn for c in scene.all(StartChat)}
    done = {turn.n for turn in agents if turn.then != "listen" or turn.sentences[1:]}
    assert answers <= cancelled | done
    assert scene.happens(HeardSoFar(1, 1, 0.0)) == []


@in_every_state
def test_a_lost_stream_leaves_the_call_to_the_next(state: object) -> None:
    scene: Scene = state()  # type: ignore[operator]
    commands = scene.happens(CarrierLost("reset"), after=0.3)
    assert commands[-1] == Finish("stream lost")
    if state is not while_ending:
        none(scene.commands, KeepEnding)


@in_every_state
def test_a_process_that_stops_hands_its_calls_over(state: object) -> None:
    scene: Scene = state()  # type: ignore[operator]
    commands = scene.happens(Drain(), after=0.3)
    assert commands[-1] == HandOver(None)
    assert scene.happens(StreamStopped()) == []


def test_the_last_words_of_a_call_are_what_twilio_came_back_for() -> None:
    scene = greeted()
    turn = answered(scene, "三千円です。")
    scene.happens(StreamStopped(), after=0.2)  # by the clock it has only begun
    assert scene.happens(HeardSoFar(1, 1, 0.0)) == []  # that is another turn's
    assert scene.happens(HeardSoFar(turn, 1, 0.0), after=0.1)[-1] == Finish("caller hung up")
    assert scene.turns()[-1].heard == "三千円です。"


def test_what_the_caller_heard_before_hanging_up_is_kept() -> None:
    scene = while_speaking()
    scene.happens(StreamStopped())
    scene.wait(LEAVING_SECONDS + 0.2)
    kept = scene.turns()[-1]
    assert kept.heard
    assert kept.text.startswith(kept.heard)
    assert len(kept.heard) < len(kept.text)
