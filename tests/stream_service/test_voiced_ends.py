"""Scenes from calls on engine realtime: failures, goodbyes, time, and every way a stream or a call ends."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from call_scenes import AGENT, a_turn, none, notes, one, since, step_of
from voiced_scenes import END_CALL, VoicedScene, greeted, says, uses, voiced

from stream_service.commands import ClearPlayback, Finish, HandOver, KeepEnding, MarkPlayback, RequestResponse
from stream_service.events import (
    CallerSaid,
    CallerStarted,
    CallerStopped,
    CallGone,
    CarrierLost,
    Drain,
    EngineFailed,
    EngineLost,
    EngineReady,
    Event,
    PlaybackReached,
    ResponseEnded,
    ResponseStarted,
    StreamStopped,
    ToolCall,
    ToolResult,
)
from stream_service.tools import Ending, Transfer
from stream_service.voiced_responses import GOODBYE_SECONDS, MOST_GENERATIONS

TRANSFER = ToolCall("call_2", "transfer_call", '{"target":"operator"}')


# --- the goodbye --------------------------------------------------------------------------------------------------


def saying_goodbye() -> VoicedScene:
    """The model says the closing that it was asked to say."""
    scene = greeted()
    uses(scene, END_CALL)
    scene.happens(ToolResult(0, END_CALL, Ending("asked")))
    scene.happens(ResponseStarted("r2"))
    scene.sounds("i2", 3000, AGENT.closing, response="r2")
    return scene


def test_the_goodbye_is_heard_to_its_end_before_the_call_ends() -> None:
    scene = saying_goodbye()
    mark = one(scene.happens(ResponseEnded("r2", "completed")), MarkPlayback).mark
    scene.happens(PlaybackReached("a0-2"), after=1.0)  # of a piece of it
    assert not scene.session.finished
    scene.wait(2)
    commands = scene.happens(PlaybackReached(mark))
    assert commands[-1] == Finish("asked", hang_up=True)
    closing = scene.turns()[-1]
    assert closing.heard == AGENT.closing


def test_a_goodbye_whose_end_is_never_confirmed_ends_the_call_all_the_same() -> None:
    scene = saying_goodbye()
    scene.happens(ResponseEnded("r2", "completed"))
    commands = scene.wait(GOODBYE_SECONDS + 1)
    assert "last word never confirmed" in notes(commands)
    assert commands[-1] == Finish("asked", hang_up=True)


def test_the_caller_cannot_talk_over_the_goodbye() -> None:
    scene = saying_goodbye()
    assert scene.happens(CallerStarted(), after=0.5) == []
    assert scene.happens(CallerStopped(item="c9"), after=0.5) == []
    assert scene.happens(CallerSaid("あの", item="c9")) == []
    one(scene.happens(ResponseEnded("r2", "completed")), MarkPlayback)


@pytest.mark.parametrize("status", ["failed", "incomplete", "cancelled"])
def test_a_goodbye_the_model_cannot_say_is_said_by_the_carriers_voice(status: str) -> None:
    scene = greeted()
    uses(scene, END_CALL)
    scene.happens(ToolResult(0, END_CALL, Ending("asked")))
    scene.happens(ResponseStarted("r2"))
    step = step_of(scene.happens(ResponseEnded("r2", status, "rate_limit_exceeded")))
    assert (step.step, step.say, step.reason) == ("goodbye", AGENT.closing, "asked")


def test_a_goodbye_that_makes_no_sound_is_said_by_the_carriers_voice() -> None:
    scene = greeted()
    uses(scene, END_CALL)
    scene.happens(ToolResult(0, END_CALL, Ending("asked")))
    step = step_of(scene.wait(7))
    assert (step.step, step.reason) == ("goodbye", "asked")


def test_a_session_lost_in_the_goodbye_leaves_it_to_the_carriers_voice() -> None:
    scene = saying_goodbye()
    step = step_of(scene.happens(EngineLost("reset")))
    assert (step.step, step.say, step.reason) == ("goodbye", AGENT.closing, "asked")


def test_a_session_lost_when_the_goodbye_is_only_to_be_heard_changes_nothing() -> None:
    scene = saying_goodbye()
    mark = one(scene.happens(ResponseEnded("r2", "completed")), MarkPlayback).mark
    scene.happens(EngineLost("reset"))
    scene.wait(3)
    assert scene.happens(PlaybackReached(mark))[-1] == Finish("asked", hang_up=True)


def test_a_process_that_stops_during_the_goodbye_does_not_begin_the_call_anew() -> None:
    scene = saying_goodbye()
    step = step_of(scene.happens(Drain()))
    assert (step.step, step.reason) == ("goodbye", "asked")


def test_the_caller_hangs_up_during_the_goodbye() -> None:
    scene = saying_goodbye()
    assert scene.happens(StreamStopped())[-1] == Finish("asked")


def test_no_tool_is_heeded_once_the_call_is_to_end() -> None:
    scene = saying_goodbye()
    scene.happens(ResponseEnded("r2", "completed", tool_calls=(TRANSFER,)))
    none(scene.happens(ToolResult(0, TRANSFER, Transfer("operator"))), RequestResponse, MarkPlayback)
    scene.wait(3)
    assert scene.happens(PlaybackReached("bye"))[-1] == Finish("asked", hang_up=True)


def test_a_transfer_whose_announcement_fails_is_made_all_the_same() -> None:
    scene = greeted()
    uses(scene, TRANSFER)
    scene.happens(ToolResult(0, TRANSFER, Transfer("operator")))
    scene.happens(ResponseStarted("r2"))
    step = step_of(scene.happens(ResponseEnded("r2", "failed", "server_error")))
    assert (step.step, step.target) == ("transfer", "operator")


# --- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "inference_rate_limit_exceeded", "server_error", ""])
def test_a_failed_response_is_an_apology_and_not_silence(code: str) -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"))
    step = step_of(scene.happens(ResponseEnded("r1", "failed", code), after=0.5))
    assert (step.step, step.say, step.reason) == ("resume", AGENT.apology, f"openai: {code}")
    none(scene.commands, KeepEnding)


def test_an_exhausted_quota_is_a_goodbye() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"))
    commands = scene.happens(ResponseEnded("r1", "failed", "insufficient_quota"), after=0.5)
    step = step_of(commands)
    assert (step.step, step.reason) == ("goodbye", "openai: insufficient_quota")
    assert step.say == AGENT.apology
    assert one(commands, KeepEnding) == KeepEnding("openai: insufficient_quota")


@pytest.mark.parametrize(
    ("generation", "retryable", "step"),
    [
        (1, True, "resume"),
        (MOST_GENERATIONS - 1, True, "resume"),
        (MOST_GENERATIONS, True, "goodbye"),
        (1, False, "goodbye"),
    ],
)
def test_a_vendor_that_cannot_be_had(generation: int, retryable: bool, step: str) -> None:
    earlier = [a_turn(1, "agent", "もしもし。", heard="もしもし。")] if generation > 1 else []
    scene = voiced(earlier, generation=generation)
    asked = step_of(scene.happens(EngineFailed("unreachable", retryable)))
    asks_again = AGENT.apology if generation > 1 else AGENT.resume  # nobody has asked anything before the greeting
    words = AGENT.final_apology if step == "goodbye" else asks_again
    assert (asked.step, asked.generation, asked.say) == (step, generation, words)


def test_an_empty_response_is_not_mistaken_for_an_answer() -> None:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"))
    scene.happens(ResponseEnded("r1", "incomplete", "content_filter"), after=0.3)
    assert step_of(scene.wait(3)).step == "resume"


# --- time ---------------------------------------------------------------------------------------------------------


def test_a_long_call_is_warned_and_then_ended() -> None:
    scene = greeted(agent=replace(AGENT, idle_seconds=60), max_duration_seconds=100)
    number = 0
    while scene.now < 1070:
        number += 1
        says(scene, "それで", item=f"c{number}")
        scene.hears_out(scene.answers(f"r{number}", f"i{number}", "ええ。", 1000))
    none(scene.commands, KeepEnding)
    commands = scene.wait(8)
    assert AGENT.time_warning in one(commands, RequestResponse).instructions
    scene.hears_out(scene.answers("w", "iw", AGENT.time_warning))
    says(scene, "そうですか", item="c99")
    scene.hears_out(scene.answers("r99", "i99", "はい。", 1000))
    commands = scene.wait(1100 - scene.now + 0.2)
    assert one(commands, KeepEnding) == KeepEnding("time limit")
    assert AGENT.time_up in one(commands, RequestResponse).instructions


def test_the_time_runs_through_all_streams_of_a_call() -> None:
    scene = voiced([a_turn(1, "agent", "はい。", heard="はい。")], generation=2, answered_at=since(899))
    scene.happens(EngineReady(resumed=False))
    commands = scene.wait(2)
    assert one(commands, KeepEnding) == KeepEnding("time limit")
    asked = one(commands, RequestResponse).instructions
    assert AGENT.time_up in asked
    assert AGENT.closing in asked


def test_the_warning_waits_until_nobody_speaks() -> None:
    scene = greeted(max_duration_seconds=120)
    scene.happens(CallerStarted())
    none(scene.wait(100), RequestResponse)
    scene.happens(CallerStopped(item="c1"))
    scene.hears_out(scene.answers("r1", "i1", "はい。", 1000))
    assert "time warning" in notes(scene.wait(1) + scene.commands)


# --- the end, in every state --------------------------------------------------------------------------------------


def at_greeting() -> VoicedScene:
    scene = voiced()
    scene.happens(EngineReady(resumed=False))
    scene.happens(ResponseStarted("r0"))
    scene.sounds("i0", 2000, AGENT.greeting, response="r0")
    return scene


def while_the_caller_speaks() -> VoicedScene:
    scene = greeted()
    scene.happens(CallerStarted())
    return scene


def while_thinking() -> VoicedScene:
    scene = greeted()
    says(scene, "料金は")
    scene.happens(ResponseStarted("r1"))
    return scene


def while_speaking() -> VoicedScene:
    scene = while_thinking()
    scene.sounds("i1", 4000, "大人は三千円です。")
    scene.wait(1)
    return scene


def while_interrupting() -> VoicedScene:
    scene = while_speaking()
    scene.happens(CallerStarted())
    return scene


def while_using_a_tool() -> VoicedScene:
    scene = greeted()
    uses(scene, TRANSFER)
    return scene


def while_the_vendor_is_lost() -> VoicedScene:
    scene = while_speaking()
    scene.happens(EngineLost("reset"))
    return scene


State = Callable[[], VoicedScene]
STATES: list[State] = [
    voiced,
    at_greeting,
    greeted,
    while_the_caller_speaks,
    while_thinking,
    while_speaking,
    while_interrupting,
    while_using_a_tool,
    while_the_vendor_is_lost,
]
in_every_state = pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)


@in_every_state
@pytest.mark.parametrize("event", [StreamStopped(), CallGone()])
def test_a_hang_up_settles_everything(state: State, event: Event) -> None:
    scene = state()
    commands = scene.happens(event, after=0.3)
    assert commands[-1] == Finish("caller hung up")
    for turn in scene.turns():
        assert turn.heard is not None
        assert turn.text.startswith(turn.heard)
    assert scene.happens(PlaybackReached("bye")) == []


@in_every_state
def test_a_lost_stream_leaves_the_call_to_the_next(state: State) -> None:
    scene = state()
    assert scene.happens(CarrierLost("reset"), after=0.3)[-1] == Finish("stream lost")
    none(scene.commands, KeepEnding)


@in_every_state
def test_a_process_that_stops_hands_its_calls_over(state: State) -> None:
    scene = state()
    assert scene.happens(Drain(), after=0.3)[-1] == HandOver(None)
    assert scene.happens(StreamStopped()) == []


def test_what_the_caller_heard_before_hanging_up_is_kept() -> None:
    scene = while_speaking()
    scene.happens(StreamStopped())
    assert scene.turns()[-1].heard == "大人"
    none(scene.commands, ClearPlayback)
