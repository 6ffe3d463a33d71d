"""Scenes from calls on engine amivoice in which the answer is begun before the caller's words are final."""

import pytest
from call_scenes import AGENT, BEGIN, Scene, none, one
from spoken_scenes import END_CALL, LONG, answered, greeted, says, spoken

from stream_service.commands import CancelChat, KeepTurn, KeepUsage, Listen, RunTool, Speak, StartChat
from stream_service.events import (
    AnswerCut,
    AnswerDone,
    AnswerFailed,
    CallerSaid,
    CallerSaying,
    CallerStarted,
    CallerStopped,
    CallerUnclear,
    CarrierLost,
    Delivered,
    Drain,
    EngineFailed,
    EngineLost,
    EngineReady,
    Event,
    FirstToken,
    HeardSoFar,
    SentenceReady,
    StreamStopped,
    Tick,
    ToolResult,
)
from stream_service.guess import MOST_PER_UTTERANCE, MOST_WASTED, STABLE_SECONDS
from stream_service.session import WARNING_SECONDS
from stream_service.spoken_session import LISTEN_SECONDS

USAGE = {"text_tokens_in": 9, "text_tokens_out": 7}


def guessed(scene: Scene, *so_far: str) -> int:
    """The caller speaks until the recogniser seems to have it all; the number of the guess that is begun then."""
    scene.happens(CallerStarted(), after=0.5)
    for text in so_far:
        none(scene.happens(CallerSaying(text), after=0.2), StartChat)
    commands = scene.wait(STABLE_SECONDS, tick=STABLE_SECONDS)
    chat = one(commands, StartChat)
    assert chat.messages[-1] == {"role": "user", "content": so_far[-1]}
    assert chat.turn < 0
    return chat.turn


# --- agreed -------------------------------------------------------------------------------------------------------


def test_a_guess_that_was_right_is_the_answer_and_is_spoken_when_the_words_are_final() -> None:
    scene = greeted()
    guess = guessed(scene, "営業時間", "営業時間を教えてください")
    stopped_at = scene.now
    scene.happens(CallerStopped(speech_end=stopped_at))
    assert scene.happens(FirstToken(guess), after=0.25) == []
    assert scene.happens(SentenceReady(guess, LONG[0]), after=0.25) == []  # not a word of it before it is agreed
    commands = scene.happens(CallerSaid("営業時間を教えてください。", speech_end=stopped_at), after=0.125)
    turn = one(commands, Speak).turn
    assert one(commands, Speak).sentences == (LONG[0],)
    none(commands, StartChat, CancelChat)
    assert one(commands, KeepUsage).usage == {"guesses": 1, "guesses_kept": 1}

    scene.happens(SentenceReady(guess, LONG[1]), after=0.5)
    done = scene.happens(AnswerDone(guess, usage=USAGE))
    assert one(done, KeepUsage).usage == USAGE
    _, caller, agent = scene.turns()
    assert (caller.text, agent.n, agent.sentences, agent.complete) == (
        "営業時間を教えてください。",
        turn,
        LONG[:2],
        True,
    )
    assert agent.stages_ms == {
        "transcript": 625,
        "asked": 0,
        "first_token": 250,
        "first_sentence": 500,
        "first_words_out": 625,
    }


def test_a_guess_that_is_still_being_written_goes_on_as_the_answer() -> None:
    scene = greeted()
    guess = guessed(scene, "料金はいくらですか")
    commands = scene.happens(CallerSaid("料金はいくらですか。"), after=0.4)
    none(commands, StartChat, CancelChat, Speak)
    commands = scene.happens(SentenceReady(guess, "三千円です。"), after=0.2)
    one(commands, Speak)
    # Cut off, it is the guess's request that is given up.
    scene.happens(CallerStarted(), after=0.2)
    assert one(scene.happens(CallerSaying("すみません、待ってください"), after=0.3), CancelChat) == CancelChat(guess)


def test_a_guess_that_ends_the_call_ends_it_only_when_the_words_are_final() -> None:
    scene = greeted()
    guess = guessed(scene, "電話を切ってください")
    assert scene.happens(AnswerDone(guess, (END_CALL,), USAGE), after=0.1) == []
    commands = scene.happens(CallerSaid("電話を切ってください。"), after=0.3)
    tool = one(commands, RunTool)
    assert (tool.turn, tool.call) == (3, END_CALL)


def test_the_model_is_asked_on_under_the_turns_own_number_after_a_tool() -> None:
    scene = greeted()
    guess = guessed(scene, "天気は")
    scene.happens(CallerSaid("天気は。"), after=0.3)
    tool = one(scene.happens(AnswerDone(guess, (END_CALL,)), after=0.1), RunTool)
    asked = one(scene.happens(ToolResult(tool.turn, END_CALL, "晴れ"), after=0.1), StartChat)
    assert asked.turn == tool.turn
    assert scene.happens(SentenceReady(guess, "遅すぎる。")) == []
    one(scene.happens(SentenceReady(asked.turn, "晴れです。")), Speak)


# --- not agreed ---------------------------------------------------------------------------------------------------


def test_nothing_of_a_wrong_guess_is_heard_or_recorded() -> None:
    scene = greeted()
    guess = guessed(scene, "明日の三時に予約")
    scene.happens(FirstToken(guess), after=0.1)
    scene.happens(SentenceReady(guess, "三時ですね。"), after=0.1)
    scene.happens(AnswerDone(guess, (END_CALL,), USAGE))
    commands = scene.happens(CallerSaid("明日の三時に予約を取り消してください。"), after=0.3)
    assert one(commands, CancelChat) == CancelChat(guess)
    assert [command.usage for command in commands if isinstance(command, KeepUsage)] == [{"guesses": 1}, USAGE]
    chat = one(commands, StartChat)
    assert chat.turn == 3
    assert chat.messages[-1]["content"] == "明日の三時に予約を取り消してください。"
    assert scene.happens(SentenceReady(guess, "承りました。")) == []  # it was on its way
    scene.happens(SentenceReady(chat.turn, "取り消しました。"), after=0.3)
    scene.happens(AnswerDone(chat.turn))
    assert [speak.sentences for speak in scene.all(Speak)] == [("取り消しました。",)]
    assert not any("三時ですね" in kept.turn.text for kept in scene.all(KeepTurn))
    assert "first_token" not in scene.transcript[chat.turn].timings
    none(scene.commands, RunTool)


def test_a_guess_is_given_up_at_once_when_the_caller_says_more() -> None:
    scene = greeted()
    guess = guessed(scene, "明日の三時に")
    commands = scene.happens(CallerSaying("明日の三時にお願いした予約を"), after=0.1)
    assert one(commands, CancelChat) == CancelChat(guess)
    again = one(scene.wait(STABLE_SECONDS, tick=STABLE_SECONDS), StartChat)
    assert again.turn not in (guess, 0)


def test_punctuation_alone_is_no_reason_to_give_a_guess_up() -> None:
    scene = greeted()
    guessed(scene, "明日の三時に")
    none(scene.happens(CallerSaying("明日の、三時に。"), after=0.1), CancelChat)
    none(scene.happens(CallerSaid("明日の三時に、"), after=0.3), CancelChat, StartChat)


def test_a_caller_who_goes_on_after_a_pause_is_answered_as_without_a_guess() -> None:
    scene = greeted()
    guess = guessed(scene, "予約の件ですが")
    assert one(scene.happens(CallerStarted(), after=0.2), CancelChat) == CancelChat(guess)
    commands = scene.happens(CallerSaid("予約の件ですが。"), after=0.1)
    assert one(commands, StartChat).turn == 3


def test_a_guess_that_failed_is_asked_again() -> None:
    scene = greeted()
    guess = guessed(scene, "料金はいくらですか")
    assert scene.happens(AnswerFailed(guess, "500", retryable=True), after=0.1) == []
    commands = scene.happens(CallerSaid("料金はいくらですか。"), after=0.3)
    assert one(commands, StartChat).turn == 3
    none(commands, Speak)


def test_what_was_heard_meanwhile_makes_a_guess_another_question() -> None:
    scene = greeted()
    answered(scene, LONG[0])
    scene.wait(20)
    guess = guessed(scene, "それで")
    # Nothing in a call does this today; the guess must notice all the same.
    scene.transcript.change(2, text="営業時間は")
    assert CancelChat(guess) in scene.happens(CallerSaid("それで"), after=0.3)


@pytest.mark.parametrize(
    "event",
    [
        CallerUnclear(1.0),
        EngineLost("reset"),
        EngineFailed("refused", False),
        StreamStopped(),
        CarrierLost("x"),
        Drain(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_whatever_ends_the_utterance_or_the_stream_gives_the_guess_up(event: Event) -> None:
    scene = greeted()
    guess = guessed(scene, "予約を")
    scene.happens(SentenceReady(guess, "ご予約ですね。"))
    assert CancelChat(guess) in scene.happens(event, after=0.1)
    assert not any("ご予約" in "".join(speak.sentences) for speak in scene.all(Speak))


# --- when it is worth it ------------------------------------------------------------------------------------------


def test_no_guess_while_the_words_still_change() -> None:
    scene = greeted()
    scene.happens(CallerStarted())
    for text in ("明", "明日", "明日の", "明日の三", "明日の三時"):
        none(scene.happens(CallerSaying(text), after=STABLE_SECONDS - 0.05), StartChat)
        none(scene.happens(Tick(), after=0.04), StartChat)


def test_the_session_says_when_it_wants_to_look_again() -> None:
    scene = greeted()
    time_warning = BEGIN + AGENT.max_duration_seconds - WARNING_SECONDS
    assert scene.session.due_at == time_warning
    scene.happens(CallerStarted())
    scene.happens(CallerSaying("予約を"), after=0.2)
    assert scene.session.due_at == pytest.approx(scene.now + STABLE_SECONDS)
    scene.wait(STABLE_SECONDS, tick=STABLE_SECONDS)
    assert scene.session.due_at == scene.now + LISTEN_SECONDS  # the caller goes on speaking


def test_no_guess_while_the_bot_is_heard_or_it_is_not_known_what_of_it_was() -> None:
    scene = greeted()
    turn = answered(scene, *LONG)
    scene.happens(CallerStarted(), after=1.0)
    scene.happens(CallerSaying("はい"), after=0.2)
    none(scene.wait(1.0), StartChat)  # a word of agreement asks for no turn
    one(scene.happens(CallerSaying("はい、でも土曜日は")), Listen)
    none(scene.wait(0.3, tick=0.3), StartChat)
    commands = scene.happens(HeardSoFar(turn, 1, 0.1))
    told = one(commands, StartChat).messages
    assert told[-2]["content"].startswith(LONG[0])
    assert told[-1]["content"] == "はい、でも土曜日は"


def test_no_guess_while_an_answer_is_being_made() -> None:
    scene = greeted()
    says(scene, "明日の")
    scene.happens(CallerStarted(), after=0.1)
    scene.happens(CallerSaying("三時に予約を"), after=0.2)
    none(scene.wait(1.0), StartChat)


def test_no_guess_while_two_utterances_wait_for_their_words() -> None:
    scene = greeted()
    scene.happens(CallerStarted())
    scene.happens(CallerStopped(), after=0.5)
    scene.happens(CallerStarted(), after=0.1)
    scene.happens(CallerSaying("ですが"), after=0.1)
    none(scene.wait(1.0), StartChat)


def test_an_utterance_costs_so_many_guesses_at_most() -> None:
    scene = greeted()
    scene.happens(CallerStarted())
    for n in range(5):
        scene.happens(CallerSaying("あの" * (n + 1)), after=0.3)
        scene.wait(0.6)
    assert len(scene.all(StartChat)) == MOST_PER_UTTERANCE
    says(scene, "予約をお願いします")
    assert len(scene.all(CancelChat)) == MOST_PER_UTTERANCE


def test_the_same_words_are_not_guessed_on_twice() -> None:
    scene = greeted()
    guessed(scene, "あの")
    scene.happens(CallerSaying("あのう"))
    scene.happens(CallerSaying("あの"))
    none(scene.wait(1.0), StartChat)


def test_guesses_that_are_always_wrong_are_given_up_for_good() -> None:
    scene = greeted()
    for _ in range(MOST_WASTED + 3):
        scene.happens(CallerStarted(), after=5.0)
        scene.happens(CallerSaying("いち"), after=0.3)
        scene.wait(0.3)
        turn = one(scene.happens(CallerSaid("いちご。"), after=0.2), StartChat).turn
        scene.happens(AnswerDone(turn))
        scene.happens(Delivered(turn))
        scene.wait(10)
    assert sum(chat.turn < 0 for chat in scene.all(StartChat)) == MOST_WASTED


def test_what_a_cut_answer_cost_is_counted() -> None:
    scene = spoken()
    scene.happens(EngineReady(resumed=False))
    cut = {"cut_answers": 1, "cut_text_tokens_in": 40, "cut_text_tokens_out": 3}
    assert one(scene.happens(AnswerCut(cut)), KeepUsage).usage == cut
