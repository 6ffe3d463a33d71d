"""What Twilio is told during a call: one update at a time, the newest only, again when it did not arrive."""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast
from xml.etree.ElementTree import Element, fromstring

import pytest
from call_scenes import AGENT

from callbot.errors import RemoteError
from callbot.twilio_rest import CallGoneError, TwilioRest
from stream_service import carrier_voice
from stream_service.carrier_voice import CarrierVoice
from stream_service.commands import Listen, Speak
from stream_service.events import CallGone, CarrierRefused, Delivered, Event

PATIENCE = 10.0
BUSY = RemoteError("twilio", "refused", code="20429", retryable=True)
TIMEOUT = RemoteError("twilio", "no answer", code="timeout", retryable=False)


def parsed(document: str) -> Element:
    return fromstring(document)  # noqa: S314 - our own document


class Rest:
    """Twilio's REST API: takes updates, slowly while its gate is closed, and fails as it is told."""

    def __init__(self) -> None:
        self.documents: list[str] = []
        self.completed: list[str] = []
        self.failures: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.at_once = 0
        self.most_at_once = 0
        self._changed = threading.Condition()

    def update_twiml(self, sid: str, twiml: str) -> None:
        assert sid == "CA1"
        with self._changed:
            self.documents.append(twiml)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self._changed.notify_all()
        assert self.gate.wait(PATIENCE)
        with self._changed:
            self.at_once -= 1
            self._changed.notify_all()
            if self.failures:
                raise self.failures.pop(0)

    def complete(self, sid: str) -> None:
        self.completed.append(sid)
        if self.failures:
            raise self.failures.pop(0)

    def wait(self, condition: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), self.documents

    def said(self) -> list[str]:
        """What each update says; "" for one that only listens."""
        return [parsed(document).findtext("Say") or "" for document in self.documents]


class Line:
    """A call's voice, and the events that come of it."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.rest = Rest()
        self.events: queue.Queue[Event] = queue.Queue()
        self.voice = CarrierVoice(
            rest=cast(TwilioRest, self.rest),
            call_sid="CA1",
            functions_url="https://functions.example",
            agent=AGENT,
            pool=pool,
            post=self.events.put,
        )

    def next_event(self) -> Event:
        return self.events.get(timeout=PATIENCE)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(carrier_voice, "TRIES_SECONDS", (0.01, 0.01))
    with ThreadPoolExecutor(4) as pool:
        yield Line(pool)


def test_words_are_spoken_and_twilio_goes_on_behind_them(line: Line) -> None:
    line.voice.update(Speak(3, ("はい、どうぞ。",), 1))
    assert line.next_event() == Delivered(3)
    say, redirect = parsed(line.rest.documents[0])
    assert (say.tag, say.text, say.get("voice")) == ("Say", "はい、どうぞ。", AGENT.voice)
    assert redirect.tag == "Redirect"
    assert redirect.text == "https://functions.example/call-flow?step=words&turn=3&sentence=1"


def test_listening_says_nothing(line: Line) -> None:
    line.voice.update(Listen())
    line.rest.wait(lambda: line.rest.documents)
    pause, redirect = parsed(line.rest.documents[0])
    assert (pause.tag, redirect.tag) == ("Pause", "Redirect")
    assert redirect.text == "https://functions.example/call-flow?step=idle&prompts=0"


def test_one_update_at_a_time_and_those_that_were_overtaken_are_never_sent(line: Line) -> None:
    line.rest.gate.clear()
    line.voice.update(Speak(1, ("一",), 1))
    line.rest.wait(lambda: len(line.rest.documents) == 1)
    line.voice.update(Speak(3, ("三",), 1))
    line.voice.update(Listen())
    line.voice.update(Speak(5, ("五",), 1))
    line.rest.gate.set()
    assert [line.next_event(), line.next_event()] == [Delivered(1), Delivered(5)]
    assert line.rest.said() == ["一", "五"]
    assert line.rest.most_at_once == 1


def test_many_updates_from_one_call_never_overlap(line: Line) -> None:
    for turn in range(1, 200):
        line.voice.update(Speak(turn, (f"{turn}",), 1))
    while (event := line.next_event()) != Delivered(199):
        assert isinstance(event, Delivered)
    assert line.rest.most_at_once == 1
    assert line.rest.said() == sorted(line.rest.said(), key=int)


def test_what_twilio_had_no_time_for_is_sent_again(line: Line) -> None:
    line.rest.failures = [BUSY, BUSY]
    line.voice.update(Speak(1, ("一",), 1))
    assert line.next_event() == Delivered(1)
    assert line.rest.said() == ["一", "一", "一"]


def test_after_three_tries_the_session_is_told(line: Line) -> None:
    line.rest.failures = [BUSY, BUSY, BUSY]
    line.voice.update(Speak(1, ("一",), 1))
    assert line.next_event() == CarrierRefused(1, "20429")
    line.voice.update(Speak(3, ("三",), 1))
    assert line.next_event() == Delivered(3)


def test_what_may_have_been_carried_out_is_not_sent_again(line: Line) -> None:
    line.rest.failures = [TIMEOUT]
    line.voice.update(Speak(1, ("一",), 1))
    assert line.next_event() == CarrierRefused(1, "timeout")
    assert len(line.rest.documents) == 1


def test_an_overtaken_update_is_not_tried_again(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier_voice, "TRIES_SECONDS", (PATIENCE, PATIENCE))
    line.rest.failures = [BUSY]
    line.voice.update(Speak(1, ("一",), 1))
    line.rest.wait(lambda: line.rest.documents and not line.rest.at_once)
    line.voice.update(Speak(3, ("三",), 1))
    assert line.next_event() == Delivered(3)  # and long before the pause is over
    assert line.rest.said() == ["一", "三"]


def test_a_call_that_is_over_is_no_failure(line: Line) -> None:
    line.rest.failures = [CallGoneError("21220")]
    line.voice.update(Speak(1, ("一",), 1))
    assert line.next_event() == CallGone()
    assert len(line.rest.documents) == 1


def test_an_update_that_is_a_bug_does_not_silence_those_that_follow(line: Line) -> None:
    line.rest.failures = [ZeroDivisionError()]
    line.voice.update(Speak(1, ("一",), 1))
    assert line.next_event() == CarrierRefused(1, "internal")
    line.voice.update(Speak(3, ("三",), 1))
    assert line.next_event() == Delivered(3)


def test_once_closed_nothing_that_waits_is_sent(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier_voice, "TRIES_SECONDS", (PATIENCE, PATIENCE))
    line.rest.gate.clear()
    line.rest.failures = [BUSY]
    line.voice.update(Speak(1, ("一",), 1))
    line.rest.wait(lambda: line.rest.documents)
    line.voice.update(Speak(3, ("三",), 1))
    line.voice.close()
    line.rest.gate.set()
    line.voice.update(Speak(5, ("五",), 1))
    line.rest.wait(lambda: not line.rest.at_once)
    assert line.rest.said() == ["一"]


@pytest.mark.parametrize(
    ("failure", "told"), [(None, True), (CallGoneError("20404"), True), (BUSY, False), (TIMEOUT, False)]
)
def test_ending_the_call(line: Line, failure: Exception | None, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    line.rest.failures = [failure] if failure else []
    assert line.voice.complete() is told
    logged = [(r.__dict__["event"], r.__dict__["what"]) for r in caplog.records if r.levelname == "ERROR"]
    assert logged == ([] if told else [("vendor failed", "hang-up")])
    assert line.rest.completed == ["CA1"]
    line.voice.update(Speak(1, ("一",), 1))
    assert line.rest.documents == []
