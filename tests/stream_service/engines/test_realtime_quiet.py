"""What of engine realtime wakes the call's thread, and what waits until it wakes for something else."""

import base64
import json
from typing import Any

import pytest
from both_codecs import codec

from engines.realtime_scene import ALL_WORDS, STARTED, Scene, scene
from stream_service.engines.journal import PRE_ROLL_BYTES
from stream_service.engines.port import FromVendor, Several, Urgency
from stream_service.events import AgentAudioStarted, AgentWords, ResponseStarted

__all__ = ["codec", "scene"]  # every test here runs with both


def test_words_of_a_response_that_sounds_wait_together(scene: Scene) -> None:
    scene.comes("response.created", response={"id": "r1"})
    scene.sound()
    for word in ("朝", "九時", "から"):
        scene.words(word)
        scene.sound()
    news = scene.news()
    assert {one.urgency for one in news if isinstance(one, FromVendor)} == {Urgency.WHENEVER}
    assert [type(one) for one in news] == [FromVendor, AgentAudioStarted, FromVendor]
    assert scene.understood(news) == [ResponseStarted("r1"), AgentWords("r1", "i1", "朝九時から", False)]


def test_the_first_words_of_a_silent_response_each_have_a_time_of_their_own(scene: Scene) -> None:
    scene.sound()
    scene.comes("response.created", response={"id": "r2"})
    scene.news()
    scene.words("朝")
    scene.words("九時")
    assert scene.urgencies() == [Urgency.WHENEVER] * 2


def test_words_stay_between_the_events_they_came_between(scene: Scene) -> None:
    scene.sound()
    scene.words("before")
    scene.comes("response.created", response={"id": "r2"})
    scene.sound("i2")
    scene.words("after", "i2")
    scene.words("wards", "i3")
    news = [one for one in scene.news() if isinstance(one, FromVendor)]
    assert scene.understood(news) == [
        AgentWords("r1", "i1", "before", False),
        ResponseStarted("r2"),
        AgentWords("r1", "i2", "after", False),
        AgentWords("r1", "i3", "wards", False),
    ]


def test_words_that_come_while_others_are_read_are_read_later(scene: Scene) -> None:
    scene.sound()
    scene.words("one")
    first = scene.news()
    assert scene.understood(first)[-1:] == [AgentWords("r1", "i1", "one", False)]
    scene.words("two")
    assert scene.understood(scene.news()) == [AgentWords("r1", "i1", "two", False)]


def test_words_of_which_all_is_said_before_anybody_has_read_them_are_read_by_nobody(scene: Scene) -> None:
    scene.sound()
    for word in ("朝", "九時", "から"):
        scene.words(word)
    scene.comes(ALL_WORDS, response_id="r1", item_id="i1", transcript="朝九時から。")
    scene.words("あの", "i2")
    (whole, more) = (one for one in scene.news() if isinstance(one, FromVendor))
    assert whole.urgency is Urgency.WHENEVER
    assert scene.understood([whole]) == [AgentWords("r1", "i1", "朝九時から。", True)]
    assert scene.understood([more]) == [AgentWords("r1", "i2", "あの", False)]


def test_words_that_have_been_read_and_those_of_another_item_stay(scene: Scene) -> None:
    scene.sound()
    scene.words("朝")
    read = scene.understood(scene.news())
    scene.comes(ALL_WORDS, response_id="r1", item_id="i1", transcript="朝。")
    assert [*read, *scene.understood(scene.news())] == [
        AgentWords("r1", "i1", "朝", False),
        AgentWords("r1", "i1", "朝。", True),
    ]
    scene.sound("i2")
    scene.words("昼", "i2")
    scene.words("夜", "i3")
    scene.comes(ALL_WORDS, response_id="r1", item_id="i3", transcript="夜。")
    assert scene.understood(scene.news()) == [
        AgentWords("r1", "i2", "昼", False),
        AgentWords("r1", "i3", "夜", False),
        AgentWords("r1", "i3", "夜。", True),
    ]


def test_words_of_a_session_given_up_are_old_news(scene: Scene) -> None:
    scene.sound()
    scene.words("old")
    (several,) = (one for one in scene.news() if isinstance(one, FromVendor))
    assert isinstance(several.news, Several)
    assert scene.engine.receive(FromVendor(7, several.news, Urgency.WHENEVER), 0.0) == []


# --- what of a response, and of the caller, can wait ---


def responds(scene: Scene, **done: Any) -> None:
    """A whole response, of which one piece is heard."""
    scene.comes("response.created", response={"id": "r1"})
    scene.sound()
    scene.comes(ALL_WORDS, response_id="r1", item_id="i1", transcript="朝")
    scene.comes("response.done", response={"id": "r1", "status": "completed", "output": [], **done})


def speaks(scene: Scene, milliseconds: int = 1) -> None:
    scene.comes(STARTED, audio_start_ms=milliseconds, item_id="c1")


def heard_out(scene: Scene) -> None:
    for mark in scene.carrier.marks():
        scene.mark_returns(mark)


def test_a_response_is_soon_written_down(scene: Scene) -> None:
    responds(scene)
    assert scene.urgencies() == [Urgency.WHENEVER, Urgency.WHENEVER, Urgency.SOON]  # created, all that was said, done


TOOL: Any = {"type": "function_call", "name": "end_call", "call_id": "t1", "arguments": "{}"}


@pytest.mark.parametrize(
    ("done", "urgency"),
    [
        ({"status": "cancelled", "output": [{"status": "incomplete"}]}, Urgency.SOON),
        ({"status": "incomplete", "output": [{"status": "incomplete"}]}, Urgency.SOON),
        ({"status": "failed", "output": [{"status": "completed"}]}, Urgency.AT_ONCE),
        ({"output": [{"type": "message", "status": "completed"}, TOOL]}, Urgency.AT_ONCE),
        ({"status": "on_hold"}, Urgency.AT_ONCE),
    ],
)
def test_a_response_that_leaves_something_to_do_is_told_of_at_once(
    scene: Scene, done: dict[str, Any], urgency: Urgency
) -> None:
    responds(scene, **done)
    assert scene.urgencies()[-1] is urgency


def test_a_caller_who_speaks_into_silence_wakes_nobody_who_will_be_answered(scene: Scene) -> None:
    responds(scene)
    heard_out(scene)
    scene.news()
    speaks(scene)
    scene.comes("input_audio_buffer.speech_stopped", audio_end_ms=900, item_id="c1")
    scene.comes("conversation.item.input_audio_transcription.completed", item_id="c1", transcript="はい")
    assert scene.urgencies() == [Urgency.WHENEVER, Urgency.ANSWERED, Urgency.WHENEVER]


def test_a_caller_who_speaks_over_the_bot_is_told_of_at_once(scene: Scene) -> None:
    responds(scene)
    scene.news()
    speaks(scene)
    assert scene.urgencies() == [Urgency.AT_ONCE]


def test_a_caller_who_is_quicker_than_a_responses_first_sound_is_told_of_at_once(scene: Scene) -> None:
    scene.comes("response.created", response={"id": "r1"})
    scene.news()
    speaks(scene)
    assert scene.urgencies() == [Urgency.AT_ONCE]


def test_what_was_being_made_when_a_session_was_lost_is_made_no_more(scene: Scene) -> None:
    scene.comes("response.created", response={"id": "r1"})
    scene.news()
    scene.engine._forget()
    speaks(scene)
    assert scene.urgencies() == [Urgency.WHENEVER]


def test_in_another_form_everything_is_told_at_once(scene: Scene) -> None:
    for kind in ("response.created", STARTED, "response.done"):
        message = json.dumps({"audio_start_ms": 1, "type": kind, "response": {"id": "r1"}}).encode()
        assert scene.vendor.route(message)
    speaks(scene)  # that the response has ended was not understood
    assert scene.urgencies() == [Urgency.AT_ONCE] * 4


@pytest.mark.parametrize(
    "message", [b'{"type":"%s","audio_start_ms":40,"item_id":"c1"}', b'{"audio_start_ms": 40, "type": "%s"}']
)
def test_what_a_caller_begins_to_say_is_kept_although_nobody_wakes(scene: Scene, message: bytes) -> None:
    frame = b'{"event":"media","media":{"payload":"%s"}}' % base64.b64encode(bytes(160))
    for _ in range(3):
        scene.engine.uplink(frame)
    message %= STARTED.encode()
    assert scene.vendor.route(message)
    for _ in range(PRE_ROLL_BYTES // 160 + 10):
        scene.engine.uplink(frame)
    assert scene.engine.uplink.attach(*scene.vendor.inlet) == 0  # type: ignore[attr-defined]  # all that was said
