"""What was not worth waking a call's thread for is told to the session later, and it is as if it had been at once."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from call_scenes import BEGIN, a_call, one
from spoken_scenes import LONG, answered, greeted
from voiced_scenes import END_CALL, uses
from voiced_scenes import greeted as greeted_by_voice
from voiced_scenes import says as asks

from stream_service.commands import (
    CallerActive,
    CancelChat,
    Command,
    Finish,
    KeepTurn,
    Note,
    RequestResponse,
    StartChat,
)
from stream_service.engines.port import FromVendor, Urgency
from stream_service.events import (
    AgentAudioStarted,
    AgentWords,
    CallerSaid,
    CallerSaying,
    CallerStarted,
    CallerStopped,
    Digit,
    Event,
    PlaybackReached,
    ResponseEnded,
    ResponseStarted,
    StreamStopped,
    Tick,
    ToolResult,
)
from stream_service.guess import STABLE_SECONDS
from stream_service.inbox import Inbox
from stream_service.record import ACTIVE_EVERY_SECONDS, ACTIVE_KNOWN_SECONDS
from stream_service.relay import Relay
from stream_service.spoken_session import LISTEN_SECONDS
from stream_service.tools import Ending
from stream_service.wire.frames import Text


class Thread:
    """A call's thread, one step at a time: a real relay and inbox between a session and an engine that write down."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.told: list[tuple[Event, float, bool]] = []
        self.received: list[float] = []
        self.attentive = False
        self.waits: list[tuple[float, bool]] = []
        self.inbox = Inbox(lambda _at, _action: None, lambda: self.now)
        self.inbox.wait = lambda timeout, attentive=False: self.waits.append((timeout, attentive))  # type: ignore[method-assign]
        session = SimpleNamespace(
            handle=self._handle, due_at=None, patient=True, finished=False, is_attentive=lambda _now: self.attentive
        )
        self.session = session
        engine = SimpleNamespace(
            settled=True, receive=self._receive, tick=lambda _now: [], perform=lambda _command: False
        )
        writer = SimpleNamespace(is_down=lambda _sid: False, hurry=lambda _sid: None)
        self.relay = Relay(
            call=a_call("realtime"),
            session=cast(Any, session),
            engine=cast(Any, engine),
            carrier=cast(Any, None),
            inbox=self.inbox,
            voice=cast(Any, None),
            services=cast(Any, SimpleNamespace(store=None, writer=writer)),
            clock=lambda: self.now,
        )

    def _handle(self, event: Event, at: float, *, waited: bool = False) -> list[Command]:
        self.told.append((event, at, waited))
        self.session.finished = isinstance(event, StreamStopped)
        return [Finish("over")] if self.session.finished else []

    def _receive(self, _news: FromVendor, now: float) -> Sequence[Event]:
        self.received.append(now)
        return [CallerSaying("x")]

    def comes(self, item: Any, at: float) -> None:
        self.now = BEGIN + at
        self.inbox.put(item)

    def wakes(self, at: float) -> list[tuple[Event, float, bool]]:
        """What the session is told when the thread wakes then, and as of when."""
        self.now = BEGIN + at
        self.told.clear()
        self.relay._step()
        return [(event, when - BEGIN, waited) for event, when, waited in self.told]


def test_what_waited_is_told_as_of_when_it_came_and_the_time_once() -> None:
    thread = Thread()
    thread.comes(AgentAudioStarted("r1", "i1"), 1.0)
    thread.comes(FromVendor(0, Text(b"again"), Urgency.WHENEVER), 2.0)
    thread.comes(Digit("1"), 2.5)
    assert thread.wakes(3.0) == [
        (AgentAudioStarted("r1", "i1"), 1.0, True),
        (CallerSaying("x"), 2.0, True),
        (Digit("1"), 3.0, False),
        (Tick(), 3.0, False),
    ]
    assert thread.received == [BEGIN + 2.0]


def test_the_time_is_told_when_nothing_has_come() -> None:
    assert Thread().wakes(3.0) == [(Tick(), 3.0, False)]


def test_nothing_is_told_behind_the_end() -> None:
    thread = Thread()
    thread.comes(StreamStopped(), 1.0)
    thread.comes(FromVendor(0, Text(b"more")), 1.0)
    assert thread.wakes(1.0) == [(StreamStopped(), 1.0, False)]
    assert thread.received == []


@pytest.mark.parametrize("attentive", [True, False])
def test_a_session_says_whether_it_is_attentive(attentive: bool) -> None:
    thread = Thread()
    thread.attentive = attentive
    thread.wakes(0.0)
    assert [how for _, how in thread.waits] == [attentive]


# --- engine realtime ---


def test_a_response_that_is_told_of_when_it_has_been_heard_is_the_same_in_the_record() -> None:
    def told(waited: bool) -> list[Command]:
        """All commands about an answer of two seconds, told of as it comes or with the mark behind it."""
        scene = greeted_by_voice()
        asks(scene, "明日は")
        began = scene.now
        late: list[tuple[float, Event]] = []

        def happens(event: Event) -> None:
            if waited:
                late.append((scene.now, event))
            else:
                scene.happens(event)

        happens(ResponseStarted("r1"))
        scene.now += 0.4
        mark, _ = scene.playout.sent("i1", 2000 * 8, scene.now)
        happens(AgentAudioStarted("r1", "i1"))
        happens(AgentWords("r1", "i1", "開いています。"))
        scene.now += 0.6
        happens(ResponseEnded("r1", "completed"))
        scene.now = began + 2.4
        assert scene.playout.reached(mark, scene.now)  # the pump's thread knows of it first
        happens(PlaybackReached(mark))
        scene.now += 5.0
        for at, event in late:
            scene.commands += scene.session.handle(event, at, waited=True)
        scene.happens(Tick())
        return [command for command in scene.commands if isinstance(command, KeepTurn | Note)]

    at_once, late = told(waited=False), told(waited=True)
    assert late == at_once
    stages = [kept.turn.stages_ms for kept in late if isinstance(kept, KeepTurn) and "heard" in kept.turn.stages_ms]
    assert len(stages) == 1
    assert stages[0]["heard"] == stages[0]["first_words_out"] + 2000


def test_who_waits_to_say_something_is_attentive() -> None:
    scene = greeted_by_voice()
    assert not scene.session.is_attentive(scene.now)
    scene.happens(CallerStarted())
    scene.happens(Digit("1"))  # the model is told, and is to answer once the caller is silent
    assert scene.session.is_attentive(scene.now)
    scene.happens(CallerStopped("c1"), after=1.0)
    assert RequestResponse() in scene.happens(Tick())
    assert scene.session.is_attentive(scene.now)
    scene.happens(ResponseStarted("r1"))
    assert not scene.session.is_attentive(scene.now)


def test_who_says_goodbye_is_attentive() -> None:
    scene = greeted_by_voice()
    uses(scene, END_CALL)
    scene.happens(ToolResult(0, END_CALL, Ending("asked")))
    scene.happens(ResponseStarted("r2"))
    assert scene.session.is_attentive(scene.now)


# --- engine amivoice ---


def test_somebody_looks_at_a_caller_who_goes_on_speaking() -> None:
    scene = greeted()
    at_rest = scene.session.due_at
    scene.happens(CallerStarted())
    assert scene.session.due_at == scene.now + LISTEN_SECONDS
    assert scene.session.patient
    scene.happens(Tick(), after=LISTEN_SECONDS)
    assert scene.session.due_at == scene.now + LISTEN_SECONDS
    assert CallerActive() in scene.session.handle(CallerSaying("予約"), scene.now - 1.0, waited=True)
    assert scene.session.due_at is not None
    assert scene.session.due_at <= scene.now + LISTEN_SECONDS
    scene.happens(CallerSaid("予約"))
    assert scene.session.due_at in (at_rest, None)


def test_the_functions_are_told_in_time_of_a_caller_whose_words_wait() -> None:
    assert ACTIVE_EVERY_SECONDS < LISTEN_SECONDS < ACTIVE_KNOWN_SECONDS


def test_who_is_being_heard_is_attentive() -> None:
    scene = greeted()
    assert not scene.session.is_attentive(scene.now)
    answered(scene, *LONG)
    assert scene.session.is_attentive(scene.now)
    scene.happens(CallerStarted(), after=0.5)
    assert scene.session.is_attentive(scene.now)
    scene.happens(CallerSaying("ちょっと待ってください"), after=0.3)
    assert not scene.session.is_attentive(scene.now)


def test_who_has_begun_to_answer_is_attentive() -> None:
    scene = greeted()
    scene.happens(CallerStarted())
    scene.happens(CallerSaying("予約を"), after=0.2)
    assert not scene.session.is_attentive(scene.now)
    one(scene.happens(Tick(), after=STABLE_SECONDS), StartChat)
    assert scene.session.is_attentive(scene.now)  # on other words the answer is given up at once
    one(scene.happens(CallerSaying("予約をやめたい"), after=0.2), CancelChat)
    assert not scene.session.is_attentive(scene.now)


def test_what_waited_minds_no_time() -> None:
    scene = greeted()
    scene.happens(CallerStarted())
    scene.happens(CallerSaying("予約を"), after=0.2)
    guess_at = scene.session.due_at
    assert guess_at is not None
    assert not any(
        isinstance(c, StartChat) for c in scene.session.handle(CallerSaying("予約を"), guess_at, waited=True)
    )
    assert one(scene.session.handle(Tick(), guess_at), StartChat).turn < 0
