"""What is in no hurry, but has a time: by then the call's thread has been woken for it, unless something settled it."""

import heapq
import threading
import time
from collections.abc import Callable

import pytest
from pump_peers import running_pump

from stream_service import pump as pump_module
from stream_service.engines.port import FromVendor, Urgency
from stream_service.events import AgentAudioStarted
from stream_service.inbox import ANSWERED_SECONDS, SOON_SECONDS, UNLESS_MORE_SECONDS, Inbox, InboxItem
from stream_service.pump import TICK_SECONDS, Pump
from stream_service.voiced_responses import FIRST_SOUND_SECONDS
from stream_service.wire.amivoice import INTERIM_INTERVAL_MS
from stream_service.wire.frames import Text
from stream_service.wire.realtime import SILENCE_MS

ASKED = FromVendor(0, Text(b"asked"), Urgency.ANSWERED)
SAYING = FromVendor(0, Text(b"saying"), Urgency.UNLESS_MORE)
MADE = FromVendor(0, Text(b"made"), Urgency.SOON)
SOUND = AgentAudioStarted("r1", "i1")
LONG = 10.0


class Sleeper:
    """An inbox whose thread waits all the time, on a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.woken_at: list[float] = []
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self.called = 0
        self.inbox = Inbox(self._call_at, lambda: self.now)
        self.inbox._waiting = True
        self.inbox._end_the_wait = self._wakes  # type: ignore[method-assign]

    def _call_at(self, at: float, action: Callable[[], None]) -> None:
        self.called += 1
        heapq.heappush(self._due, (at, self.called, action))

    def _wakes(self) -> None:
        self.woken_at.append(round(self.now - 100.0, 3))
        list(self.inbox.taken())

    def comes(self, item: InboxItem, at: float) -> None:
        self.passes(at)
        self.inbox.put(item)

    def passes(self, until: float) -> None:
        """Time passes; whoever is to be called is."""
        while self._due and self._due[0][0] <= 100.0 + until:
            self.now, _, action = heapq.heappop(self._due)
            action()
        self.now = 100.0 + until


def test_who_is_not_answered_is_seen_to_in_time() -> None:
    sleeper = Sleeper()
    sleeper.comes(ASKED, 1.0)
    sleeper.passes(60.0)
    assert sleeper.woken_at == [1.0 + ANSWERED_SECONDS]


def test_that_leaves_time_for_something_else_to_be_said() -> None:
    # By the session the caller has heard something FIRST_SOUND_SECONDS after the last word, or it does something.
    assert ANSWERED_SECONDS + TICK_SECONDS < FIRST_SOUND_SECONDS - SILENCE_MS / 1000


def test_nobody_wakes_for_who_is_answered() -> None:
    sleeper = Sleeper()
    sleeper.comes(ASKED, 1.0)
    sleeper.comes(SOUND, 1.0 + ANSWERED_SECONDS / 2)
    sleeper.passes(60.0)
    assert sleeper.woken_at == []


def test_the_next_question_has_its_own_time() -> None:
    sleeper = Sleeper()
    sleeper.comes(ASKED, 1.0)
    sleeper.comes(SOUND, 1.5)
    sleeper.comes(ASKED, 2.0)
    sleeper.passes(60.0)
    assert sleeper.woken_at == [2.0 + ANSWERED_SECONDS]


def test_what_was_made_is_seen_to_soon_whatever_sounds() -> None:
    sleeper = Sleeper()
    sleeper.comes(MADE, 1.0)
    sleeper.comes(SOUND, 1.5)
    sleeper.comes(MADE, 2.0)
    sleeper.passes(60.0)
    assert sleeper.woken_at == [1.0 + SOON_SECONDS]


def test_who_has_woken_before_is_not_woken_again() -> None:
    sleeper = Sleeper()
    sleeper.comes(MADE, 1.0)
    sleeper.comes(ASKED, 1.1)
    list(sleeper.inbox.taken())
    sleeper.passes(60.0)
    assert sleeper.woken_at == []


def test_an_early_call_asks_for_the_later_one() -> None:
    sleeper = Sleeper()
    sleeper.comes(ASKED, 1.0)
    sleeper.comes(MADE, 1.2)
    sleeper.comes(SOUND, 1.3)  # so what it is called for first has been settled
    sleeper.passes(60.0)
    assert sleeper.woken_at == [1.2 + SOON_SECONDS]


def test_words_wake_when_they_have_stood_for_a_moment() -> None:
    sleeper = Sleeper()
    for at in (1.0, 1.2, 1.4):
        sleeper.comes(SAYING, at)
    sleeper.passes(60.0)
    assert sleeper.woken_at == [1.4 + UNLESS_MORE_SECONDS]


def test_a_moment_is_longer_than_words_take_to_change() -> None:
    assert INTERIM_INTERVAL_MS / 1000 < UNLESS_MORE_SECONDS


def test_calls_do_not_pile_up() -> None:
    sleeper = Sleeper()
    for number in range(100):
        sleeper.comes(ASKED, number / 100)
        sleeper.comes(SOUND, number / 100)
    assert sleeper.called == 1


@pytest.mark.parametrize("item", [ASKED, MADE, SAYING])
def test_the_attentive_wake_for_it_at_once(item: InboxItem) -> None:
    sleeper = Sleeper()
    sleeper.inbox._attentive = True
    sleeper.comes(item, 1.0)
    assert sleeper.woken_at == [1.0]


def test_a_pump_that_has_a_link_wakes_who_waits() -> None:
    with running_pump() as scene:
        scene.link()
        inbox = Inbox(scene.pump.call_at)
        began = time.monotonic()
        threading.Timer(0.05, lambda: inbox.put(MADE)).start()
        while not list(inbox.taken()):
            inbox.wait(LONG)  # it may end for nothing
            assert time.monotonic() - began < LONG
        assert time.monotonic() - began >= SOON_SECONDS


def test_what_is_due_is_done_then_and_not_with_the_next_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "TICK_SECONDS", 3 * LONG)
    done = threading.Event()
    with running_pump() as scene:
        scene.link()
        now = time.monotonic()
        scene.pump.call_at(now + 0.05, done.set)
        assert done.wait(LONG)
        assert time.monotonic() >= now + 0.05


def test_a_pump_is_woken_for_what_is_due_first_and_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    pump = Pump()
    woken: list[float] = []
    monkeypatch.setattr(pump, "_wake", lambda: woken.append(pump._due[0][0]))
    for at in (20.0, 30.0, 10.0, 15.0):
        pump.call_at(at, lambda: None)
    assert woken == [20.0, 10.0]


def test_what_cannot_be_done_when_it_is_due_stops_no_pump(caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    with running_pump() as scene:
        scene.link()
        now = time.monotonic()
        scene.pump.call_at(now + 0.01, lambda: 1 // 0)  # type: ignore[arg-type,return-value]  # nothing comes of it
        scene.pump.call_at(now + 0.02, done.set)
        assert done.wait(LONG)
    assert "ZeroDivisionError" in caplog.text
