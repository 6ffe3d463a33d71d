"""Scenes from calls on engine amivoice: talking over the bot, backchannels, echo, noise."""

import pytest
from call_scenes import AGENT, none, notes, one
from spoken_scenes import LONG, answered, greeted, says

from stream_service.commands import AskHeard, CallerActive, CancelChat, Listen, Speak, StartChat
from stream_service.events import (
    CallerSaid,
    CallerSaying,
    CallerStarted,
    CallerStopped,
    CallerUnclear,
    Delivered,
    HeardSoFar,
    SentenceReady,
)
from stream_service.spoken_session import HEARD_SECONDS


def test_talking_over_the_bot_silences_it_and_cuts_the_history() -> None:
    scene = greeted()
    turn = answered(scene, *LONG)
    scene.wait(1.0)
    scene.happens(CallerStarted())
    none(scene.happens(CallerSaying("はい"), after=0.2), Listen)  # it may be a backchannel
    commands = scene.happens(CallerSaying("料金はいくら"), after=0.3)
    assert [type(c) for c in commands] == [CallerActive, AskHeard, Listen]
    assert scene.happens(CallerSaying("料金はいくらですか"), after=0.2) == [CallerActive()]
    scene.happens(CallerStopped(), after=0.5)
    scene.happens(CallerSaid("料金はいくらですか。"), after=0.2)
    commands = scene.happens(HeardSoFar(turn, 0, 0.0), after=0.05)
    assert notes(commands) == ["interrupted"]
    kept = scene.transcript[turn]
    assert kept.interrupted
    assert kept.text == "".join(LONG)
    assert kept.heard
    assert LONG[0].startswith(kept.heard)
    told = [message["content"] for message in one(commands, StartChat).messages]
    assert told[-2:] == [kept.heard + "…", "料金はいくらですか。"]


def test_what_twilio_came_back_for_counts_more_than_the_clock() -> None:
    scene = greeted()
    turn = answered(scene, *LONG)
    scene.wait(1.0)
    scene.happens(CallerSaying("料金はいくら"))
    scene.happens(HeardSoFar(turn, 2, 0.0), after=0.1)
    assert scene.transcript[turn].heard == LONG[0] + LONG[1]


def test_interrupting_while_the_answer_is_still_being_written_ends_the_writing() -> None:
    scene = greeted()
    turn = says(scene, "料金を教えてください")
    scene.happens(SentenceReady(turn, LONG[0]), after=0.4)
    scene.happens(Delivered(turn), after=0.1)
    commands = scene.happens(CallerSaying("待ってください"), after=0.5)
    assert CancelChat(turn) in commands
    assert scene.happens(SentenceReady(turn, LONG[1])) == []
    scene.happens(CallerSaid("待ってください。"), after=0.5)
    scene.happens(HeardSoFar(turn, 0, 0.0))
    assert LONG[1] not in scene.transcript[turn].text


def test_the_store_is_not_waited_for_longer_than_a_moment() -> None:
    scene = greeted()
    answered(scene, *LONG)
    scene.wait(1.0)
    scene.happens(CallerSaying("料金はいくら"))
    none(scene.happens(CallerSaid("料金はいくらですか。"), after=0.5), StartChat)
    one(scene.wait(HEARD_SECONDS + 0.01), StartChat)


def test_a_first_sound_may_become_a_backchannel_and_interrupts_nothing_yet() -> None:
    scene = greeted()
    answered(scene, *LONG)
    scene.happens(CallerStarted(), after=1.0)
    none(scene.happens(CallerSaying("は"), after=0.2), Listen)
    none(scene.happens(CallerSaying("はい"), after=0.2), Listen)
    one(scene.happens(CallerSaying("はい、でも"), after=0.2), Listen)


@pytest.mark.parametrize("words", ["はい", "うん、うん。", "ええ", "なるほどですね"])
def test_a_backchannel_is_no_interruption(words: str) -> None:
    scene = greeted()
    answered(scene, *LONG)
    scene.wait(1.0)
    scene.happens(CallerStarted())
    none(scene.happens(CallerSaying(words), after=0.2), Listen, AskHeard)
    assert scene.happens(CallerSaid(words), after=0.3) == []


@pytest.mark.parametrize("words", ["はい", "うん、うん。"])
def test_the_same_word_is_an_answer_once_the_bot_is_silent(words: str) -> None:
    scene = greeted()
    answered(scene, "ご予約ですね。")
    scene.wait(5)
    assert says(scene, words)


def test_the_bots_own_words_coming_back_are_nobodys() -> None:
    scene = greeted()
    answered(scene, *LONG)
    scene.wait(1.0)
    none(scene.happens(CallerSaying("営業時間は九時から"), after=0.1), Listen)
    assert scene.happens(CallerSaid("営業時間は九時から六時までです。"), after=0.5) == []


def test_a_cough_is_ignored_and_a_mumble_is_asked_about() -> None:
    scene = greeted()
    assert scene.happens(CallerUnclear(0.2)) == []
    commands = scene.happens(CallerUnclear(1.2), after=0.5)
    assert one(commands, Speak).sentences == (AGENT.repeat_please,)


def test_a_noise_while_the_bot_speaks_or_thinks_is_ignored() -> None:
    scene = greeted()
    turn = says(scene, "料金を教えてください")
    assert scene.happens(CallerUnclear(1.2), after=0.2) == []
    scene.happens(SentenceReady(turn, LONG[0]))
    assert scene.happens(CallerUnclear(1.2), after=0.2) == []
    scene.happens(CallerSaying("待って"), after=0.2)
    scene.happens(CallerSaid("待ってください。"), after=0.2)
    none(scene.happens(CallerUnclear(1.2), after=0.1), Speak)  # an answer is about to be asked for
