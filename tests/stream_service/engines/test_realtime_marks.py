"""The marks behind the model's audio: where they stand, and what their return tells."""

import pytest
from both_codecs import codec

from engines.realtime_scene import Scene, scene
from stream_service.events import PlaybackReached
from stream_service.playout import MARK_EVERY_MS

__all__ = ["codec", "scene"]  # every test here runs with both


def test_marks_stand_behind_every_so_much_audio_and_behind_the_last(scene: Scene) -> None:
    for _ in range(MARK_EVERY_MS // 100 + 1):
        scene.sound(milliseconds=100)
    assert scene.carrier.kinds() == ["media"] * (MARK_EVERY_MS // 100) + ["mark", "media"]
    scene.comes("response.output_audio.done", response_id="r1", item_id="i1")
    scene.comes("response.done", response={"id": "r1"})
    assert scene.carrier.kinds()[-2:] == ["media", "mark"]
    assert len(scene.carrier.marks()) == 2


def test_what_tells_nothing_wakes_nobody_but_marks_the_end(scene: Scene) -> None:
    scene.sound()
    scene.news()
    scene.comes("response.output_audio.done", response_id="r1", item_id="i1")
    assert scene.carrier.kinds() == ["media", "mark"]
    assert scene.news() == []


def test_words_between_the_sounds_mark_nothing(scene: Scene) -> None:
    for word in ("朝", "九時", "から"):
        scene.sound()
        scene.words(word)
    assert scene.carrier.kinds() == ["media"] * 3


def test_a_mark_is_not_the_last_while_audio_is_on_its_way_that_nobody_was_told_of(scene: Scene) -> None:
    scene.sound(milliseconds=MARK_EVERY_MS)
    scene.sound(milliseconds=100)
    (mark,) = scene.carrier.marks()
    assert scene.played(mark) == []  # there is more to be heard
    scene.comes("response.output_audio.done", response_id="r1", item_id="i1")
    last = scene.carrier.marks()[-1]
    assert scene.played(last) == [PlaybackReached(last)]


def test_only_the_last_mark_is_told(scene: Scene) -> None:
    for _ in range(3):
        scene.sound(milliseconds=MARK_EVERY_MS)
    marks = scene.carrier.marks()
    assert len(marks) == 3
    assert [scene.played(mark) for mark in marks] == [[], [], [PlaybackReached(marks[-1])]]


def test_a_mark_is_not_the_last_while_audio_waits_for_one(scene: Scene) -> None:
    scene.sound(milliseconds=MARK_EVERY_MS)
    scene.sound()
    (mark,) = scene.carrier.marks()
    assert scene.played(mark) == []
    scene.comes("response.output_audio.done", response_id="r1", item_id="i1")
    last = scene.carrier.marks()[-1]
    assert scene.played(last) == [PlaybackReached(last)]


def test_marks_that_a_clear_brings_back_wake_nobody(scene: Scene) -> None:
    for _ in range(3):
        scene.sound(milliseconds=MARK_EVERY_MS)
    marks = scene.carrier.marks()
    assert marks
    scene.comes("input_audio_buffer.speech_started", audio_start_ms=1, item_id="c1")
    assert scene.carrier.kinds()[-1] == "clear"
    assert [scene.played(mark) for mark in marks] == [[], [], []]


def test_audio_that_waits_is_forgotten_when_the_caller_speaks_and_comes_no_more(scene: Scene) -> None:
    scene.sound()
    scene.comes("input_audio_buffer.speech_started", audio_start_ms=1, item_id="c1")
    scene.sound()
    assert scene.carrier.kinds() == ["clear"]
    assert [message["type"] for message in scene.vendor.heard if message["type"] != "session.update"] == [
        "conversation.item.delete"
    ]


@pytest.mark.parametrize("name", ["bye", "my label", r"a\u0030-1", ""])
def test_other_marks_are_the_sessions(scene: Scene, name: str) -> None:
    assert not scene.mark_returns(name)
