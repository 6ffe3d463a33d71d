"""Scenes from calls on engine realtime: greeting, turns, interruptions, tools, waiting."""

from dataclasses import replace

import pytest
from call_scenes import AGENT, a_turn, none, notes, one, step_of
from voiced_scenes import END_CALL, greeted, says, uses, voiced

from stream_service.events import (
    AgentAudioStarted,
    AgentWords,
    AnswerTool,
    CallerActive,
    CallerSaid,
    CallerStarted,
    CallerStopped,
    ClearPlayback,
    Digit,
    EngineLost,
    EngineReady,
    HandOver,
    KeepEnding,
    KeepTurn,
    KeepUsage,
    MarkPlayback,
    PlaybackReached,
    RequestRefused,
    RequestResponse,
    ResponseEnded,
    ResponseStarted,
    StopListening,
    TellModel,
    Tick,
    ToolCall,
    ToolResult,
)
from stream_service.tools import Ending, Transfer
from stream_service.voiced_session import FIRST_SOUND_SECONDS, UNASKED_SECONDS, WAITING_LINE, say_exactly

BUSY = RequestRefused("conversation_already_has_active_response")


# --- greeting and turns -------------------------------------------------------------------------------------------


def test_the_model_is_asked_to_say_the_greeting() -> None:
    scene = voiced()
    commands = scene.happens(EngineReady(resumed=False))
    assert one(commands, RequestResponse) == RequestResponse(say_exactly(AGENT.greeting))
    scene.hears_out(scene.answers("r0", "i0", AGENT.greeting))
    (greeting,) = scene.turns()
    assert (greeting.text, greeting.heard, greeting.interrupted) == (AGENT.greeting, AGENT.greeting, False)


def test_a_turn_is_the_models_own_doing() -> None:
    scene = greeted()
    assert CallerActive() in scene.happens(CallerStarted(), after=0.5)
    scene.happens(CallerStopped(item="c1"), after=1.0)
    scene.happens(ResponseStarted("r1"), after=0.3)
    scene.happens(AgentWords("r1", "i1", "三千円"))  # words may come before their sound
    mark = scene.sounds("i1", 1000, response="r1", after=0.2)
    assert notes(scene.last) == ["first words"]
    assert scene.last[0].fields["latencyMs"] == 500  # type: ignore[union-attr]
    scene.happens(CallerSaid("料金は。", item="c1"))  # written down late
    scene.happens(AgentWords("r1", "i1", "三千円です。"))
    commands = scene.happens(ResponseEnded("r1", "completed", usage={"input_tokens": 5}))
    assert one(commands, KeepUsage).usage == {"input_tokens": 5}
    assert len(scene.all(RequestResponse)) == 1  # the greeting's
    scene.hears_out(mark)
    _, caller, agent = scene.turns()
    assert (caller.n, caller.text, caller.heard) == (2, "料金は。", "料金は。")
    assert (agent.n, agent.text, agent.heard) == (3, "三千円です。", "三千円です。")
    spoken = agent.timings["first_words_out"] - agent.timings["speech_end"]
    assert round(spoken, 3) == 0.5


def test_words_come_in_pieces() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"))
    scene.happens(AgentWords("r1", "i1", "三", whole=False))
    scene.sounds("i1", 500)
    scene.happens(AgentWords("r1", "i1", "千円", whole=False))
    assert scene.transcript[3].text == "三千円"
    commands = scene.happens(AgentWords("r1", "i1", "三千円です。"))
    assert one(commands, KeepTurn).turn.text == "三千円です。"


def test_an_utterance_that_could_not_be_written_down_is_no_turn() -> None:
    scene = greeted()
    scene.happens(CallerStarted())
    scene.happens(CallerStopped(item="c1"), after=1.0)
    none(scene.happens(CallerSaid("", item="c1")), KeepTurn)
    none(scene.happens(CallerSaid("はい", item="unheard-of")), KeepTurn)


def test_an_outbound_calls_own_greeting_with_its_variables() -> None:
    scene = voiced(greeting="{name}様でしょうか。")
    commands = scene.happens(EngineReady(resumed=False))
    assert "佐藤様でしょうか。" in one(commands, RequestResponse).instructions


# --- talking over the bot -----------------------------------------------------------------------------------------


def test_talking_over_the_bot_silences_it_and_cuts_the_turn() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"), after=0.3)
    scene.sounds("i1", 4000, "大人は三千円です。")
    scene.wait(2.0)
    commands = scene.happens(CallerStarted())
    assert one(commands, ClearPlayback) == ClearPlayback("r1")  # and what still comes of it is dropped
    assert notes(commands) == ["interrupted"]
    kept = one(commands, KeepTurn).turn
    assert kept.interrupted
    assert kept.heard == "大人は三"  # half of its time had passed
    none(scene.happens(ResponseEnded("r1", "cancelled", "turn_detected")), RequestResponse)


def test_speaking_while_a_finished_response_is_still_being_played_cuts_it_too() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.answers("r1", "i1", "大人は三千円です。", 4000)
    scene.wait(1.0)
    commands = scene.happens(CallerStarted())
    assert one(commands, ClearPlayback) == ClearPlayback("")  # nothing more comes of it
    assert one(commands, KeepTurn).turn.heard == "大人"


def test_speaking_when_all_has_been_heard_interrupts_nothing() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.hears_out(scene.answers("r1", "i1", "三千円です。"))
    none(scene.happens(CallerStarted(), after=0.5), ClearPlayback)
    assert scene.transcript[3].heard == "三千円です。"


def test_marks_that_a_clear_brings_back_do_not_make_the_turn_heard() -> None:
    scene = greeted()
    says(scene, "料金は")
    mark = scene.answers("r1", "i1", "大人は三千円です。", 4000)
    scene.wait(1.0)
    scene.happens(CallerStarted())
    scene.happens(PlaybackReached(mark))
    scene.happens(CallerStopped(item="c2"), after=1.0)
    scene.wait(2.0)
    assert scene.transcript[3].heard == "大人"


def test_the_first_sound_of_a_response_that_was_just_dropped_is_no_turn() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"), after=0.3)
    scene.playout.sent("i1", "r1", 1600, scene.now)  # the pump has sent it; its event waits behind the interruption
    one(scene.happens(CallerStarted()), ClearPlayback)
    scene.happens(AgentAudioStarted("r1", "i1"))
    scene.happens(AgentWords("r1", "i1", "三千円です。"))
    scene.happens(ResponseEnded("r1", "cancelled"))
    scene.happens(CallerStopped(item="c2"), after=1.0)
    scene.wait(1.0)
    assert not [turn for turn in scene.turns() if turn.text == "三千円です。" and turn.heard == turn.text]


def test_two_items_of_one_response_are_two_turns() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"))
    scene.sounds("i1", 1000, "三千円です。")
    scene.sounds("i2", 1000, "以上です。")
    scene.wait(1.5)
    scene.happens(CallerStarted())
    first, second = scene.turns()[-2:]
    assert (first.heard, first.interrupted) == ("三千円です。", False)
    assert second.interrupted
    assert second.heard
    assert second.text.startswith(second.heard)


# --- one response at a time ---------------------------------------------------------------------------------------


def test_what_we_want_said_waits_until_the_model_has_finished() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"))
    none(scene.happens(Digit("5")), RequestResponse)
    scene.sounds("i1", 500, "三千円です。")
    one(scene.happens(ResponseEnded("r1", "completed")), RequestResponse)


def test_what_we_want_said_waits_until_the_caller_has_finished() -> None:
    scene = greeted()
    scene.happens(CallerStarted())
    commands = scene.happens(Digit("5"))
    assert TellModel("(the caller pressed the key 5)") in commands
    none(commands, RequestResponse)
    one(scene.happens(CallerStopped(item="c1"), after=0.5) + scene.happens(Tick()), RequestResponse)


def test_a_response_of_the_models_own_that_came_first_delays_ours() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(Digit("5"))  # asks for a response in the moment in which the model begins one of its own
    scene.happens(ResponseStarted("r1"))
    none(scene.happens(BUSY), RequestResponse)
    scene.sounds("i1", 500, "三千円です。")
    one(scene.happens(ResponseEnded("r1", "completed")), RequestResponse)


def test_our_words_are_not_lost_to_a_response_that_came_first() -> None:
    scene = greeted(agent=replace(AGENT, idle_seconds=5))
    commands = scene.wait(8)
    prompt = one(commands, RequestResponse)
    assert AGENT.idle_prompts[0] in prompt.instructions
    scene.happens(ResponseStarted("r9"))
    scene.happens(BUSY)
    scene.sounds("i9", 500, "もしもし。", response="r9")
    assert one(scene.happens(ResponseEnded("r9", "completed")), RequestResponse) == prompt


def test_other_refusals_do_not_have_it_said_twice() -> None:
    scene = voiced()
    scene.happens(EngineReady(resumed=False))
    commands = scene.session.handle(RequestRefused("item_truncate_invalid_item_id"), scene.now)
    assert notes(commands) == ["request refused"]
    scene.happens(ResponseStarted("r0"))
    scene.sounds("i0", 500, AGENT.greeting, response="r0")
    none(scene.happens(ResponseEnded("r0", "completed")), RequestResponse)


def test_the_waiting_line_is_bounded() -> None:
    scene = greeted()
    scene.happens(CallerStarted())
    for _ in range(20):
        scene.happens(Digit("1"))
    assert len(scene.session._wanted) == WAITING_LINE  # type: ignore[attr-defined]


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
