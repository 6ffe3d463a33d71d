"""Scenes from calls on engine realtime: tools, keys, silence, and a new session or stream."""

import pytest
from call_scenes import AGENT, BEGIN, a_turn, none, notes, one, step_of
from voiced_scenes import END_CALL, greeted, says, uses, voiced

from stream_service.commands import (
    AnswerTool,
    HandOver,
    KeepEnding,
    MarkPlayback,
    RequestResponse,
    StopListening,
    TellModel,
)
from stream_service.events import (
    CallerStarted,
    Digit,
    EngineLost,
    EngineReady,
    PlaybackReached,
    ResponseEnded,
    ResponseStarted,
    Tick,
    ToolCall,
    ToolResult,
)
from stream_service.tools import Ending, Transfer
from stream_service.voiced_responses import FIRST_SOUND_SECONDS, UNASKED_SECONDS, say_exactly

# --- tools --------------------------------------------------------------------------------------------------------


def test_a_tool_that_answers_is_told_to_the_model_which_then_speaks() -> None:
    scene = greeted()
    weather = ToolCall("call_9", "weather", "{}")
    uses(scene, weather)
    commands = scene.happens(ToolResult(0, weather, "晴れ"), after=0.3)
    assert commands == [AnswerTool(weather, "晴れ"), RequestResponse("")]
    scene.answers("r2", "i2", "晴れです。")
    assert scene.transcript.last is not None
    assert scene.transcript.last.tool_calls == ({"name": "weather", "arguments": "{}"},)


def test_end_call_without_words_has_the_closing_said() -> None:
    scene = greeted()
    uses(scene, END_CALL)
    commands = scene.happens(ToolResult(0, END_CALL, Ending("asked")))
    assert one(commands, AnswerTool) == AnswerTool(END_CALL, "done")
    assert one(commands, KeepEnding) == KeepEnding("asked")
    assert StopListening() in commands
    assert one(commands, RequestResponse) == RequestResponse(say_exactly(AGENT.closing))


def test_end_call_with_the_models_own_goodbye_only_waits_for_its_end() -> None:
    scene = greeted()
    uses(scene, END_CALL, words="失礼いたします。")
    commands = scene.happens(ToolResult(0, END_CALL, Ending("asked")))
    none(commands, RequestResponse)
    one(commands, MarkPlayback)


def test_a_transfer_is_announced_and_then_handed_over() -> None:
    scene = greeted()
    call = ToolCall("call_2", "transfer_call", '{"target":"operator"}')
    uses(scene, call)
    commands = scene.happens(ToolResult(0, call, Transfer("operator")))
    assert one(commands, RequestResponse) == RequestResponse(say_exactly(AGENT.transfer_line))
    none(commands, KeepEnding)
    scene.happens(ResponseStarted("r2"))
    scene.sounds("i2", 2000, AGENT.transfer_line, response="r2")
    mark = one(scene.happens(ResponseEnded("r2", "completed")), MarkPlayback).mark
    scene.wait(2)
    step = step_of(scene.happens(PlaybackReached(mark)))
    assert (step.step, step.target) == ("transfer", "operator")


# --- waiting ------------------------------------------------------------------------------------------------------


def test_a_model_that_makes_no_sound_in_time_is_bridged_by_the_carriers_voice() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"))
    commands = scene.wait(FIRST_SOUND_SECONDS)
    assert "slow answer" in notes(commands)
    step = step_of(commands)
    assert (step.step, step.say) == ("resume", AGENT.fillers[0])


def test_a_first_sound_in_time_is_no_delay() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"))
    mark = scene.sounds("i1", 3000, "三千円です。", after=FIRST_SOUND_SECONDS - 0.5)
    scene.happens(ResponseEnded("r1", "completed"))
    none(scene.hears_out(mark), HandOver)


def test_a_greeting_that_does_not_come_is_not_waited_for_for_ever() -> None:
    scene = voiced()
    scene.happens(EngineReady(resumed=False))
    step = step_of(scene.wait(UNASKED_SECONDS + 0.2))
    assert (step.step, step.say) == ("resume", AGENT.resume)


def test_who_goes_on_speaking_is_not_kept_waiting() -> None:
    scene = greeted()
    says(scene, "ええと")
    scene.happens(CallerStarted(), after=0.5)
    none(scene.wait(10), HandOver)


def test_a_silent_line_is_prompted_twice_and_then_closed() -> None:
    scene = greeted()
    for number, prompt in enumerate(AGENT.idle_prompts):
        commands = scene.wait(AGENT.idle_seconds + 0.2)
        assert prompt in one(commands, RequestResponse).instructions
        scene.hears_out(scene.answers(f"p{number}", f"q{number}", prompt))
    commands = scene.wait(AGENT.idle_seconds + 0.2)
    assert one(commands, KeepEnding) == KeepEnding("caller silent")
    assert one(commands, RequestResponse) == RequestResponse(say_exactly(AGENT.closing))


def test_speech_begins_the_prompts_anew() -> None:
    scene = greeted()
    scene.wait(AGENT.idle_seconds + 0.2)
    scene.hears_out(scene.answers("p0", "q0", AGENT.idle_prompts[0]))
    says(scene, "すみません")
    scene.hears_out(scene.answers("r1", "i1", "はい。"))
    assert AGENT.idle_prompts[0] in one(scene.wait(AGENT.idle_seconds + 0.2), RequestResponse).instructions


def test_the_line_is_not_idle_while_the_bot_is_heard() -> None:
    scene = greeted()
    says(scene, "長い話を")
    scene.answers("r1", "i1", "昔々、" * 30, 40_000)
    none(scene.wait(30), RequestResponse)


def test_the_silence_begins_when_the_last_mark_returns_however_rarely_time_is_told() -> None:
    scene = greeted()
    says(scene, "営業時間は")
    mark = scene.answers("r1", "i1", "九時からです。", 2000)
    scene.happens(PlaybackReached(mark), after=2.0)  # with no Tick since the answer began
    none(scene.happens(Tick(), after=AGENT.idle_seconds - 0.1), RequestResponse)
    one(scene.happens(Tick(), after=0.2), RequestResponse)


def test_what_must_not_be_late_is_said_to_be_due() -> None:
    scene = voiced()
    assert scene.session.patient
    assert scene.session.due_at == pytest.approx(BEGIN + FIRST_SOUND_SECONDS)
    scene.happens(EngineReady(resumed=False))
    mark = scene.answers("r0", "i0", AGENT.greeting, 2000)
    assert scene.session.due_at == pytest.approx(BEGIN + AGENT.idle_seconds)
    scene.hears_out(mark)
    assert scene.session.due_at == pytest.approx(scene.now + AGENT.idle_seconds)
    says(scene, "営業時間は")
    assert scene.session.due_at == pytest.approx(scene.now - 0.2 + FIRST_SOUND_SECONDS)
    uses(scene, END_CALL, words="失礼いたします。")
    scene.happens(ToolResult(0, END_CALL, Ending("asked")))
    assert scene.session.due_at is not None
    assert scene.session.due_at > scene.now


# --- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["0", "#", "*"])
def test_a_key_is_told_to_the_model_which_answers(key: str) -> None:
    scene = greeted()
    commands = scene.happens(Digit(key))
    assert commands == [TellModel(f"(the caller pressed the key {key})"), RequestResponse("")]


# --- a new session, a new stream ----------------------------------------------------------------------------------


def test_a_session_lost_in_mid_response_goes_on_where_it_was_cut() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"), after=0.3)
    scene.sounds("i1", 1000, "大人は三千円です。")
    scene.happens(EngineLost("reset"), after=0.2)
    commands = scene.happens(EngineReady(resumed=True), after=0.5)
    assert "cut off" in one(commands, RequestResponse).instructions


def test_a_session_lost_before_the_answer_began_answers() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"), after=0.3)
    scene.happens(EngineLost("reset"), after=0.2)
    assert one(scene.happens(EngineReady(resumed=True), after=0.5), RequestResponse) == RequestResponse("")


def test_a_session_lost_while_nobody_spoke_is_not_noticed() -> None:
    scene = greeted()
    scene.happens(EngineLost("session renewed"))
    none(scene.happens(EngineReady(resumed=True), after=0.5), RequestResponse)


def test_a_session_lost_while_the_caller_spoke_does_not_leave_the_bot_dumb() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(CallerStarted(), after=0.2)
    scene.happens(EngineLost("reset"), after=0.2)
    one(scene.happens(EngineReady(resumed=True), after=0.5), RequestResponse)


def test_a_greeting_that_was_lost_with_its_session_is_said_by_the_next() -> None:
    scene = voiced()
    scene.happens(EngineReady(resumed=False))
    scene.happens(EngineLost("reset"))
    commands = scene.happens(EngineReady(resumed=True), after=0.5)
    assert one(commands, RequestResponse) == RequestResponse(say_exactly(AGENT.greeting))
    scene.happens(ResponseStarted("r0"))
    scene.sounds("i0", 500, AGENT.greeting, response="r0")
    none(scene.happens(ResponseEnded("r0", "completed")), RequestResponse)


@pytest.mark.parametrize(
    ("last", "instructions"),
    [
        (a_turn(1, "caller", "予約です", heard="予約です"), ""),
        (a_turn(1, "agent", "何名様ですか。", heard="何名"), "cut off"),
        (a_turn(1, "agent", "何名様ですか。", heard="何名", interrupted=True), None),
        (a_turn(1, "agent", "何名様ですか。", heard="何名様ですか。"), None),
    ],
)
def test_a_new_stream_goes_on_in_mid_conversation(last: object, instructions: str | None) -> None:
    scene = voiced([last], generation=2)  # type: ignore[list-item]
    commands = scene.happens(EngineReady(resumed=False))
    if instructions is None:
        none(commands, RequestResponse)
    else:
        asked = one(commands, RequestResponse).instructions
        assert instructions in asked
        assert bool(asked) == bool(instructions)
