"""Scenes from calls on engine amivoice: tools, failures, time, and every way a stream or a call ends."""

import pytest
from call_scenes import AGENT, Scene, none, notes, one, since
from spoken_scenes import answered, greeted, says, spoken

from callbot.text import spoken_seconds
from stream_service.events import (
    AnswerDone,
    AnswerFailed,
    CallerSaid,
    CallerSaying,
    CallerStarted,
    CallerStopped,
    CallGone,
    CancelChat,
    CarrierLost,
    CarrierRefused,
    Delivered,
    Drain,
    EngineFailed,
    EngineReady,
    Event,
    Finish,
    FirstToken,
    HandOver,
    HeardSoFar,
    KeepEnding,
    KeepTurn,
    Listen,
    Note,
    RunTool,
    SentenceReady,
    Speak,
    StartChat,
    StreamStopped,
    ToolCall,
    ToolResult,
)
from stream_service.spoken_session import GOODBYE_SPARE_SECONDS, TOOL_ROUNDS
from stream_service.tools import Ending, Transfer

END_CALL = ToolCall("call_1", "end_call", "{}")
TRANSFER = ToolCall("call_2", "transfer_call", '{"target":"operator"}')


# --- tools --------------------------------------------------------------------------------------------------------


def uses(scene: Scene, *calls: ToolCall, words: str = "") -> int:
    """The caller's request makes the model use tools, perhaps with words of its own."""
    turn = says(scene, "お願いします、いろいろと")
    if words:
        scene.happens(SentenceReady(turn, words), after=0.3)
    commands = scene.happens(AnswerDone(turn, tool_calls=calls), after=0.3)
    assert [c for c in commands if isinstance(c, RunTool)] == [RunTool(turn, call) for call in calls]
    return turn


def test_end_call_says_the_agents_closing_when_the_model_said_nothing() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL)
    commands = scene.happens(ToolResult(turn, END_CALL, Ending("the caller asked to end the call")))
    assert one(commands, KeepEnding).reason == "the caller asked to end the call"
    assert one(commands, Speak).sentences == (AGENT.closing,)
    kept = one(commands, KeepTurn).turn
    assert (kept.then, kept.complete, kept.sentences) == ("hangup", True, (AGENT.closing,))
    assert kept.tool_calls == ({"name": "end_call", "arguments": "{}"},)


def test_end_call_after_the_models_own_goodbye_adds_nothing() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL, words="それでは失礼します。")
    commands = scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    none(commands, Speak)  # it is being said already
    kept = one(commands, KeepTurn).turn
    assert (kept.then, kept.sentences) == ("hangup", ("それでは失礼します。",))


def test_the_goodbye_is_heard_and_the_functions_hang_up() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL)
    scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    scene.happens(Delivered(turn))
    assert scene.wait(spoken_seconds(AGENT.closing) + 1) == []
    assert one(scene.happens(StreamStopped()), Finish) == Finish("asked")


def test_a_goodbye_that_nobody_carries_out_is_followed_by_a_hang_up() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL)
    scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    commands = scene.wait(spoken_seconds(AGENT.closing) + GOODBYE_SPARE_SECONDS + 1)
    assert commands[-1] == Finish("asked", hang_up=True)


def test_what_the_caller_says_over_the_goodbye_is_not_answered() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL)
    scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    scene.happens(Delivered(turn))
    none(scene.happens(CallerSaid("あ、もう一つ質問が"), after=0.3), StartChat, Listen)


def test_a_transfer_is_announced_and_left_to_the_functions() -> None:
    scene = greeted()
    turn = uses(scene, TRANSFER)
    commands = scene.happens(ToolResult(turn, TRANSFER, Transfer("operator")))
    none(commands, KeepEnding)
    kept = one(commands, KeepTurn).turn
    assert (kept.then, kept.target, kept.sentences) == ("transfer", "operator", (AGENT.transfer_line,))


def test_a_tool_that_answers_is_told_to_the_model_which_goes_on() -> None:
    scene = greeted()
    weather = ToolCall("call_9", "weather", '{"city":"東京"}')
    turn = uses(scene, weather, words="お調べします。")
    chat = one(scene.happens(ToolResult(turn, weather, "晴れ"), after=0.5), StartChat)
    assert chat.turn == turn
    said, result = chat.messages[-2:]
    assert said["content"] == "お調べします。"
    assert said["tool_calls"][0] == {
        "id": "call_9",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"東京"}'},
    }
    assert result == {"role": "tool", "tool_call_id": "call_9", "content": "晴れ"}
    assert [m.get("content") for m in chat.messages].count("お調べします。") == 1  # once, and with its call
    scene.happens(SentenceReady(turn, "東京は晴れです。"), after=0.5)
    scene.happens(AnswerDone(turn))
    assert scene.turns()[-1].sentences == ("お調べします。", "東京は晴れです。")


def test_the_model_goes_on_when_all_its_tools_have_answered() -> None:
    scene = greeted()
    calls = [ToolCall("a", "x", "{}"), ToolCall("b", "y", "{")]
    turn = uses(scene, *calls)
    assert scene.happens(ToolResult(turn, calls[1], "the arguments are no JSON")) == []
    chat = one(scene.happens(ToolResult(turn, calls[0], "there is no tool 'x'")), StartChat)
    assert [m["tool_call_id"] for m in chat.messages if m["role"] == "tool"] == ["b", "a"]


def test_once_the_call_is_to_end_another_tools_answer_changes_nothing() -> None:
    scene = greeted()
    other = ToolCall("b", "y", "{}")
    turn = uses(scene, END_CALL, other)
    scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    assert scene.happens(ToolResult(turn, other, "x")) == []


def test_a_model_that_only_uses_tools_is_stopped() -> None:
    scene = greeted()
    call = ToolCall("a", "x", "{}")
    turn = uses(scene, call)
    for _ in range(TOOL_ROUNDS - 1):
        one(scene.happens(ToolResult(turn, call, "no")), StartChat)
        scene.happens(AnswerDone(turn, tool_calls=(call,)), after=0.1)
    commands = scene.happens(ToolResult(turn, call, "no"))
    none(commands, StartChat)
    assert "answer failed" in notes(commands)
    assert scene.transcript[turn].failed == "too many tool calls"


def test_a_tool_of_an_interrupted_answer_comes_too_late() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL, words="それでは失礼します。")
    scene.happens(Delivered(turn))
    scene.happens(CallerSaying("ちょっと待って"), after=0.3)
    commands = scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    none(commands, KeepEnding, Speak)


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
    assert notes(commands) == ["time warning", "first words"]
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
    commands = scene.happens(event, after=0.3)
    assert commands[-1] == Finish("asked" if state is while_ending else "caller hung up")
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


def test_what_the_caller_heard_before_hanging_up_is_kept() -> None:
    scene = while_speaking()
    scene.happens(StreamStopped())
    kept = scene.turns()[-1]
    assert kept.heard
    assert kept.text.startswith(kept.heard)
    assert len(kept.heard) < len(kept.text)
