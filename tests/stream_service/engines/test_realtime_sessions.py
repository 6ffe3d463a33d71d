"""Engine realtime against the emulated OpenAI: sessions that are refused, lost, renewed and closed."""

import pytest
from call_scenes import a_turn

from emulator.audio import silence
from emulator.openai.faults import (
    DropConnection,
    ErrorOnOpen,
    ExpireSession,
    Fault,
    FreezeConnection,
    RefuseHandshake,
)
from engines.engine_desk import until
from engines.realtime_desk import Start, start
from stream_service.engines import realtime as realtime_module
from stream_service.engines import vendor_session
from stream_service.events import (
    CallerSaid,
    EngineFailed,
    EngineLost,
    EngineReady,
)

__all__ = ["start"]


EARLIER = [
    a_turn(1, "agent", "もしもし。", heard="もしもし。"),
    a_turn(2, "caller", "予約です", heard="予約です"),
    a_turn(3, "agent", "何名様ですか。", heard="何名"),
]


@pytest.mark.parametrize("fault", [DropConnection(at_audio_ms=500), ExpireSession(after_seconds=0.1)])
def test_a_lost_session_is_replaced_by_one_that_knows_the_conversation(start: Start, fault: Fault) -> None:
    call = start(fault, earlier=EARLIER)
    call.ready()
    call.hear(silence(600))
    call.next(EngineLost)
    assert call.next(EngineReady, 2).resumed
    until(lambda: len(call.session.items) == 3)
    told = [(item["role"], item["content"][0]["text"]) for item in call.session.items.values()]
    assert told == [("assistant", "もしもし。"), ("user", "予約です"), ("assistant", "何名…")]
    assert call.session.errors == []
    assert [event for event in call.session.events if event == "session.update"] == ["session.update"]


def test_what_the_caller_says_across_a_loss_is_heard_whole_and_once(start: Start) -> None:
    call = start(DropConnection(at_audio_ms=900))
    call.ready()
    recording = call.openai.library["booking"]
    half = len(recording.ulaw) // 2
    call.hear(recording.ulaw[:half])
    call.next(EngineLost)
    call.hear(recording.ulaw[half:] + silence(900))
    call.next(CallerSaid)
    assert [event.text.rstrip("。") for event in call.all(CallerSaid)] == [recording.text.rstrip("。")]
    assert call.session.turns[0].recognised.intact


def test_a_key_that_is_refused_is_final(start: Start) -> None:
    call = start(key="another")
    call.start()
    assert call.next(EngineFailed) == EngineFailed("401", retryable=False)


@pytest.mark.parametrize(
    ("code", "retryable"), [("insufficient_quota", False), ("invalid_api_key", False), ("session_expired", True)]
)
def test_an_error_instead_of_a_session(start: Start, code: str, retryable: bool) -> None:
    call = start(*[ErrorOnOpen(code)] * (3 if retryable else 1))
    call.start()
    failed = call.next(EngineFailed)
    assert failed.retryable is retryable
    assert len(call.openai.sessions) == (3 if retryable else 1)


def test_a_handshake_that_is_refused_for_a_moment_is_tried_again(start: Start) -> None:
    call = start(RefuseHandshake(503), RefuseHandshake(429))
    call.ready()
    assert not call.all(EngineFailed)


def test_a_session_that_is_never_set_up_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor_session, "SETUP_SECONDS", 0.3)
    call = start(FreezeConnection(after_seconds=0.0))
    call.ready()
    assert len(call.openai.sessions) == 2


def test_a_session_is_renewed_before_openai_ends_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime_module, "SESSION_SECONDS", 0.2)
    call = start(earlier=EARLIER)
    call.ready()
    assert call.next(EngineLost).reason == "session renewed"
    monkeypatch.setattr(realtime_module, "SESSION_SECONDS", 3000)
    assert call.next(EngineReady, 2).resumed
    until(lambda: call.openai.sessions[0].closed)


def test_closing_closes_the_session(start: Start) -> None:
    call = start()
    call.ready()
    assert call.engine is not None
    call.engine.close()
    until(lambda: call.session.closed)


def test_a_caller_who_hangs_up_while_the_vendor_is_being_reached_leaves_no_session(start: Start) -> None:
    call = start()
    call.start()
    until(lambda: not call.inbox.empty())
    assert call.engine is not None
    call.engine.close()
    until(lambda: call.openai.sessions and call.openai.sessions[0].closed)
