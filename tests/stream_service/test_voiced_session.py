"""Scenes from calls on engine realtime: greeting, turns, interruptions, one response at a time."""

from dataclasses import replace

from call_scenes import AGENT, none, notes, one
from voiced_scenes import greeted, says, voiced

from stream_service.commands import CallerActive, ClearPlayback, KeepTurn, KeepUsage, RequestResponse, TellModel
from stream_service.events import (
    AgentAudioStarted,
    AgentWords,
    CallerSaid,
    CallerStarted,
    CallerStopped,
    Digit,
    EngineReady,
    PlaybackReached,
    RequestRefused,
    ResponseEnded,
    ResponseStarted,
    Tick,
)
from stream_service.voiced_responses import WAITING_LINE, say_exactly

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
    assert scene.last == []
    scene.happens(CallerSaid("料金は。", item="c1"), after=0.125)  # written down late
    scene.happens(AgentWords("r1", "i1", "三千円です。"))
    commands = scene.happens(ResponseEnded("r1", "completed", usage={"text_tokens_in": 5}))
    assert one(commands, KeepUsage).usage == {"text_tokens_in": 5}
    assert len(scene.all(RequestResponse)) == 1  # the greeting's
    scene.hears_out(mark)
    _, caller, agent = scene.turns()
    assert (caller.n, caller.text, caller.heard) == (2, "料金は。", "料金は。")
    assert (agent.n, agent.text, agent.heard) == (3, "三千円です。", "三千円です。")
    assert caller.stages_ms == {"transcript": 625}
    assert agent.stages_ms == {
        "transcript": 625,
        "first_token": 300,
        "first_words_out": 500,
        "delivered": 500,
        "heard": 1500,
    }


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
    scene.playout.sent("i1", 1600, scene.now)  # the pump has sent it; its event waits behind the interruption
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
