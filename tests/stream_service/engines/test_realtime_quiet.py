"""What of engine realtime wakes the call's thread, and what waits until it wakes for something else."""

import base64
import json
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from both_codecs import codec, under_test
from call_scenes import AGENT, EPOCH

from engines.engine_desk import settings
from stream_service.engines import realtime as realtime_module
from stream_service.engines import reflexes as reflexes_module
from stream_service.engines.journal import PRE_ROLL_BYTES
from stream_service.engines.port import FromVendor, Several, VendorOpened
from stream_service.engines.realtime import RealtimeEngine
from stream_service.events import AgentAudioStarted, AgentWords, Event, PlaybackReached, ResponseStarted
from stream_service.playout import MARK_EVERY_MS, Playout
from stream_service.pump import Pump
from stream_service.transcript import Transcript
from stream_service.wire import frames
from stream_service.wire.frame_decoder import PythonDecoder, messages
from stream_service.wire.frames import Text

__all__ = ["codec"]  # every test here runs with both

WORDS = "response.output_audio_transcript.delta"
DONE = "response.output_audio_transcript.done"


class Line:
    """A link that only remembers; with it the test's thread is the pump's and the call's in turn."""

    def __init__(self) -> None:
        self.route: Any = None
        self._outbox = under_test.Outbox(200_000, 100_000)
        self._decoder = PythonDecoder(False, 200_000)
        self._heard: list[bytes] = []
        self.inlet = (self._outbox, False, lambda: None)

    @property
    def heard(self) -> list[dict[str, Any]]:
        """All that its peer has been sent, in order."""
        self._decoder.feed(self._outbox.take(1_000_000))
        self._heard += [message.data for message in messages(self._decoder) if isinstance(message, Text)]
        return [json.loads(message) for message in self._heard]

    def kinds(self) -> list[str]:
        return [message["event"] for message in self.heard]

    def marks(self) -> list[str]:
        return [message["mark"]["name"] for message in self.heard if message["event"] == "mark"]

    def send_text(self, message: bytes) -> None:
        self._outbox.put_control(frames.encode_text(message, mask=False))

    def discard_audio(self) -> int:
        dropped: int = self._outbox.discard_audio()
        return dropped

    def release(self) -> None:
        """It is not held."""

    def abort(self) -> None:
        self.route = None


class Scene:
    """An engine between two lines."""

    def __init__(self, pump: Pump, pool: ThreadPoolExecutor) -> None:
        self.posted: queue.SimpleQueue[FromVendor | Event] = queue.SimpleQueue()
        self.carrier, self.vendor = Line(), Line()
        self.engine = RealtimeEngine(
            settings=settings(OPENAI_REALTIME_URL="ws://127.0.0.1:9/nobody"),
            agent=AGENT,
            instructions="",
            transcript=Transcript("realtime", 1, [], EPOCH),
            playout=Playout(),
            carrier=self.carrier,  # type: ignore[arg-type]  # all of it that is used
            stream_sid="MZ1",
            pump=pump,
            pool=pool,
            post=self.posted.put,
        )
        self.engine.receive(FromVendor(0, VendorOpened(self.vendor)), 0.0)  # type: ignore[arg-type]  # as above

    def comes(self, kind: str, **fields: Any) -> None:
        """A message of the vendor's."""
        message = json.dumps({"type": kind, **fields}, separators=(",", ":")).encode()
        assert self.vendor.route(message)

    def words(self, text: str, item: str = "i1") -> None:
        self.comes(WORDS, response_id="r1", item_id=item, delta=text)

    def sound(self, item: str = "i1", milliseconds: int = 20) -> None:
        audio = base64.b64encode(bytes(8 * milliseconds)).decode()
        self.comes("response.output_audio.delta", response_id="r1", item_id=item, delta=audio)

    def news(self) -> list[FromVendor | Event]:
        return [self.posted.get() for _ in range(self.posted.qsize())]

    def urgent(self) -> list[bool]:
        """Of each of the vendor's news: whether the call wakes for it."""
        return [one.urgent for one in self.news() if isinstance(one, FromVendor)]

    def understood(self, news: list[FromVendor | Event]) -> list[Event]:
        return [event for one in news if isinstance(one, FromVendor) for event in self.engine.receive(one, 0.0)]

    def played(self, mark: str) -> list[Event]:
        """A mark behind the model's audio comes back: what the session is told."""
        self.news()
        assert self.mark_returns(mark)
        return [one for one in self.news() if not isinstance(one, FromVendor)]

    def mark_returns(self, name: str) -> bool:
        return self.engine.uplink(
            b'{"event":"mark","sequenceNumber":"4","streamSid":"MZ1","mark":{"name":"%s"}}' % name.encode()
        )


@pytest.fixture
def scene(pump: Pump, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(realtime_module, "Uplink", under_test.Uplink)
    monkeypatch.setattr(reflexes_module, "Downlink", under_test.Downlink)
    return Scene(pump, pool)


def test_words_of_a_response_that_sounds_wait_together(scene: Scene) -> None:
    scene.comes("response.created", response={"id": "r1"})
    scene.sound()
    for word in ("朝", "九時", "から"):
        scene.words(word)
        scene.sound()
    news = scene.news()
    assert [one.urgent for one in news if isinstance(one, FromVendor)] == [False, False]
    assert [type(one) for one in news] == [FromVendor, AgentAudioStarted, FromVendor]
    assert scene.understood(news) == [ResponseStarted("r1"), AgentWords("r1", "i1", "朝九時から", False)]


def test_the_first_words_of_a_silent_response_are_told_at_once(scene: Scene) -> None:
    scene.sound()
    scene.comes("response.created", response={"id": "r2"})
    scene.news()
    scene.words("朝")
    scene.words("九時")
    assert scene.urgent() == [True, True]


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
    scene.comes(DONE, response_id="r1", item_id="i1", transcript="朝九時から。")
    scene.words("あの", "i2")
    (whole, more) = (one for one in scene.news() if isinstance(one, FromVendor))
    assert not whole.urgent
    assert scene.understood([whole]) == [AgentWords("r1", "i1", "朝九時から。", True)]
    assert scene.understood([more]) == [AgentWords("r1", "i2", "あの", False)]


def test_words_that_have_been_read_and_those_of_another_item_stay(scene: Scene) -> None:
    scene.sound()
    scene.words("朝")
    read = scene.understood(scene.news())
    scene.comes(DONE, response_id="r1", item_id="i1", transcript="朝。")
    assert [*read, *scene.understood(scene.news())] == [
        AgentWords("r1", "i1", "朝", False),
        AgentWords("r1", "i1", "朝。", True),
    ]
    scene.sound("i2")
    scene.words("昼", "i2")
    scene.words("夜", "i3")
    scene.comes(DONE, response_id="r1", item_id="i3", transcript="夜。")
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
    assert scene.engine.receive(FromVendor(7, several.news, urgent=False), 0.0) == []


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


# --- what of a response, and of the caller, can wait ---

STARTED = "input_audio_buffer.speech_started"


def responds(scene: Scene, **done: Any) -> None:
    """A whole response, of which one piece is heard."""
    scene.comes("response.created", response={"id": "r1"})
    scene.sound()
    scene.comes(DONE, response_id="r1", item_id="i1", transcript="朝")
    scene.comes("response.done", response={"id": "r1", "status": "completed", "output": [], **done})


def speaks(scene: Scene, milliseconds: int = 1) -> None:
    scene.comes(STARTED, audio_start_ms=milliseconds, item_id="c1")


def heard_out(scene: Scene) -> None:
    for mark in scene.carrier.marks():
        scene.mark_returns(mark)


def test_a_response_wakes_nobody_before_it_is_made(scene: Scene) -> None:
    responds(scene)
    assert scene.urgent() == [False, False, True]  # created, all that was said, done: then it is written down


def test_a_caller_who_speaks_into_silence_wakes_nobody_before_they_have_spoken(scene: Scene) -> None:
    responds(scene)
    heard_out(scene)
    scene.news()
    speaks(scene)
    scene.comes("input_audio_buffer.speech_stopped", audio_end_ms=900, item_id="c1")
    scene.comes("conversation.item.input_audio_transcription.completed", item_id="c1", transcript="はい")
    assert scene.urgent() == [False, True, True]


def test_a_caller_who_speaks_over_the_bot_is_told_of_at_once(scene: Scene) -> None:
    responds(scene)
    scene.news()
    speaks(scene)
    assert scene.urgent() == [True]


def test_a_caller_who_is_quicker_than_a_responses_first_sound_is_told_of_at_once(scene: Scene) -> None:
    scene.comes("response.created", response={"id": "r1"})
    scene.news()
    speaks(scene)
    assert scene.urgent() == [True]


def test_what_was_being_made_when_a_session_was_lost_is_made_no_more(scene: Scene) -> None:
    scene.comes("response.created", response={"id": "r1"})
    scene.news()
    scene.engine._forget()
    speaks(scene)
    assert scene.urgent() == [False]


def test_in_another_form_everything_is_told_at_once(scene: Scene) -> None:
    for kind in ("response.created", STARTED, "response.done"):
        message = json.dumps({"audio_start_ms": 1, "type": kind, "response": {"id": "r1"}}).encode()
        assert scene.vendor.route(message)
    speaks(scene)  # that the response has ended was not understood
    assert scene.urgent() == [True] * 4


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
