"""Engine amivoice against the emulated recogniser: what the caller says is understood once, whatever breaks."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest
from call_scenes import AGENT

from emulator.amivoice import AmiVoice
from emulator.amivoice_faults import (
    CarriageReturns,
    Drop,
    Fault,
    FeedError,
    Freeze,
    RefuseConnection,
    RefuseStart,
    RejectUtterances,
    StallStart,
    TimeoutNotice,
)
from emulator.audio import silence
from emulator.recordings import Library
from engines.engine_desk import KEY, Desk, NoChat, settings, until
from stream_service.commands import CallerActive, CancelChat, StartChat
from stream_service.engines import vendor_session
from stream_service.engines.amivoice import AmivoiceEngine
from stream_service.engines.chat import Chat
from stream_service.events import (
    CallerSaid,
    CallerSaying,
    CallerStarted,
    CallerStopped,
    CallerUnclear,
    EngineFailed,
    EngineLost,
    EngineReady,
)
from stream_service.pump import Pump


class Recogniser(Desk):
    """An engine and the AmiVoice it talks to."""

    def __init__(self, amivoice: AmiVoice, pump: Pump, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self.amivoice = amivoice
        self.chat = NoChat()
        self._built = AmivoiceEngine(
            settings=settings(AMIVOICE_URL=amivoice.url),
            agent=AGENT,
            pump=pump,
            pool=pool,
            post=self.post,
            chat=cast(Chat, self.chat),
        )

    def start(self) -> None:
        self.begin(self._built)

    def ready(self) -> None:
        self.start()
        self.next(EngineReady)

    def say(self, name: str) -> str:
        """One of the shipped recordings, and the silence after it; what it says."""
        recording = self.amivoice.library[name]
        self.hear(recording.ulaw + silence(900))
        return recording.text

    def said(self) -> list[str]:
        return [event.text.rstrip("。") for event in self.all(CallerSaid)]


Start = Callable[..., Recogniser]


@pytest.fixture
def start(library: Library, pump: Pump, pool: ThreadPoolExecutor) -> Iterator[Start]:
    running: list[tuple[AmiVoice, Recogniser]] = []

    def recogniser(*faults: Fault, keys: tuple[str, ...] = (KEY,)) -> Recogniser:
        server = AmiVoice(library, keys, latency_ms=20).start()
        made = Recogniser(server, pump, pool)
        running.append((server, made))
        if faults:
            server.faults.next(*faults)
        return made

    yield recogniser
    for server, made in running:
        if made.engine:
            made.engine.close()
        server.stop()


def test_an_utterance_is_heard_as_it_comes_and_then_whole(start: Start) -> None:
    call = start()
    call.ready()
    text = call.say("booking")
    said = call.next(CallerSaid)
    assert said.text.rstrip("。") == text.rstrip("。")
    kinds = [type(event) for event in call.events]
    assert kinds[0] is EngineReady
    assert kinds.index(CallerStarted) < kinds.index(CallerSaying) < kinds.index(CallerSaid)
    assert CallerStopped in kinds
    assert call.amivoice.sessions[0].utterances[0].recognised.intact
    assert call.amivoice.sessions[0].path == "/v1/"


def test_the_end_of_the_utterance_is_told_by_its_audio_and_not_by_its_result(start: Start) -> None:
    call = start()
    call.ready()
    call.say("hai")
    said = call.next(CallerSaid)
    assert said.speech_end is not None
    assert time.monotonic() - said.speech_end > 0.4  # the silence after it has been sent, and counts


def test_audio_from_before_the_session_is_open_is_not_lost(start: Start) -> None:
    call = start(StallStart(0.3))
    call.start()
    text = call.say("two-persons")  # the first word comes before the socket is even there
    assert call.next(CallerSaid).text.rstrip("。") == text.rstrip("。")
    assert call.amivoice.sessions[0].utterances[0].recognised.intact


def test_only_detected_speech_is_counted_as_billed(start: Start) -> None:
    call = start()
    call.ready()
    assert call._built.spent() == {"recognition_ms": 0}
    call.say("booking")
    call.next(CallerSaid)
    (utterance,) = call.amivoice.sessions[0].utterances
    assert abs(call._built.spent()["recognition_ms"] - (utterance.end_ms - utterance.start_ms)) <= 20


def test_messages_may_end_in_crlf(start: Start) -> None:
    call = start(CarriageReturns())
    call.ready()
    call.say("hai")
    assert call.next(CallerSaid)


def test_a_rejected_utterance_is_told_with_its_length(start: Start) -> None:
    call = start(RejectUtterances())
    call.ready()
    call.say("booking")
    assert call.next(CallerUnclear).seconds > 0.8
    call.say("hai")
    assert call.next(CallerSaid)


@pytest.mark.parametrize(
    "fault",
    [
        Drop(at_ms=900),
        FeedError(at_ms=900),
        TimeoutNotice(at_ms=900),
        TimeoutNotice(at_ms=900, text="timeout occurred while recognizing audio data from client"),
    ],
)
def test_a_session_lost_in_mid_utterance_is_replaced_and_hears_all_of_it(start: Start, fault: Fault) -> None:
    call = start(fault)
    call.ready()
    recording = call.amivoice.library["booking"]
    half = len(recording.ulaw) // 2
    call.hear(recording.ulaw[:half])
    call.next(EngineLost)
    call.hear(recording.ulaw[half:] + silence(900))  # nobody hears this yet
    assert call.next(EngineReady, 2).resumed
    call.next(CallerSaid)
    assert call.said() == [recording.text.rstrip("。")]
    assert call.amivoice.sessions[1].utterances[0].recognised.intact


def test_what_was_understood_before_the_loss_is_not_heard_again(start: Start) -> None:
    call = start(Drop(at_ms=6000))
    call.ready()
    first = call.say("hai")
    call.next(CallerSaid)
    call.hear(silence(6000))
    call.next(EngineLost)
    call.next(EngineReady, 2)
    second = call.say("price")
    call.next(CallerSaid, 2)
    assert call.said() == [first.rstrip("。"), second.rstrip("。")]
    assert [u.recognised.repeated_ms for u in call.amivoice.sessions[1].utterances] == [0]


def test_an_utterance_whose_result_was_lost_is_heard_again_and_only_it(start: Start) -> None:
    call = start(Drop(at_ms=4000))
    call.ready()
    library = call.amivoice.library
    call.say("hai")
    call.next(CallerSaid)
    call.hear(library["two-persons"].ulaw)
    call.hear(silence(5000))  # somewhere in here the connection is lost
    call.next(EngineReady, 2)
    call.hear(silence(900))
    call.until(lambda: len(call.said()) >= 2)
    assert call.said() == [library["hai"].text.rstrip("。"), library["two-persons"].text.rstrip("。")]


def test_a_half_open_connection_is_noticed_and_replaced(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor_session, "SETUP_SECONDS", 0.3)
    call = start(Freeze(at_ms=0))
    call.start()
    call.next(EngineReady)
    assert len(call.amivoice.sessions) == 2


def test_a_refused_key_is_final(start: Start) -> None:
    call = start(keys=("another",))
    call.start()
    failed = call.next(EngineFailed)
    assert failed == EngineFailed("s refused", retryable=False)
    assert len(call.amivoice.sessions) == 1


def test_another_refusal_is_tried_again(start: Start) -> None:
    call = start(RefuseStart("can't connect to recognizer server"))
    call.ready()
    assert len(call.amivoice.sessions) == 2


def test_a_recogniser_that_does_not_answer_is_given_up_after_three_tries(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vendor_session, "SETUP_SECONDS", 0.1)
    call = start()
    call.amivoice.faults.always(StallStart())
    call.start()
    assert call.next(EngineFailed) == EngineFailed("timeout", retryable=True)
    assert len(call.amivoice.sessions) == 3
    assert not call.all(EngineReady)


def test_a_handshake_that_is_refused_is_tried_again(start: Start) -> None:
    call = start(RefuseConnection(503))
    call.ready()
    assert len(call.amivoice.sessions) == 1


@pytest.mark.parametrize(("status", "tries", "retryable"), [(503, 3, True), (403, 1, False)])
def test_handshakes_that_are_always_refused(start: Start, status: int, tries: int, retryable: bool) -> None:
    call = start()
    for _ in range(tries):
        call.amivoice.faults.next(RefuseConnection(status))
    call.start()
    assert call.next(EngineFailed) == EngineFailed(str(status), retryable)
    assert call.amivoice.faults.take() == ()  # each was used


def test_closing_ends_the_session_politely(start: Start) -> None:
    call = start()
    call.ready()
    assert call.engine is not None
    call.engine.close()
    session = call.amivoice.sessions[0]
    until(lambda: session.closed)
    assert session.commands[-1] == "e"
    assert session.closed == "closed by the client (1000)"
    assert call.chat.asked[-1] == "close"


def test_a_caller_who_hangs_up_while_the_vendor_is_being_reached_leaves_no_connection(start: Start) -> None:
    call = start()
    call.start()
    until(lambda: call.amivoice.sessions)
    until(lambda: not call.inbox.empty())  # it is open, and the call's thread has not come to know it
    assert call.engine is not None
    call.engine.close()
    until(lambda: call.amivoice.sessions[0].closed)


def test_after_closing_nothing_is_connected(start: Start, pump: Pump) -> None:
    call = start()
    call.start()
    assert call.engine is not None
    call.engine.close()
    until(lambda: all(session.closed for session in call.amivoice.sessions))
    call.engine.tick(time.monotonic() + 60)
    assert all(session.closed for session in call.amivoice.sessions)


def test_what_is_no_audio_is_left_to_others_and_damaged_audio_is_skipped(start: Start) -> None:
    call = start()
    call.ready()
    assert call.engine is not None
    assert not call.engine.uplink(b'{"event":"mark","mark":{"name":"x"}}')
    assert not call.engine.uplink(b"nonsense")
    assert call.engine.uplink(b'{"event":"media","media":{"payload":"AAAAA"}}')  # no whole bytes
    call.say("hai")
    assert call.next(CallerSaid)


def test_the_chat_is_the_engines_business(start: Start) -> None:
    call = start()
    call.start()
    assert call.engine is not None
    assert call.engine.perform(StartChat(3, ({"role": "user", "content": "x"},)))
    assert call.engine.perform(CancelChat(3))
    assert not call.engine.perform(CallerActive())
    assert call.chat.asked == ["warm up", (3, ({"role": "user", "content": "x"},)), 3]
