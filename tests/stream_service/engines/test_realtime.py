"""Engine realtime against the emulated OpenAI: audio both ways, what was heard, and sessions that are lost."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from call_scenes import AGENT, EPOCH, a_turn
from pump_peers import GENEROUS, Peer, tcp_pair

from callbot.calls import Turn
from emulator.audio import silence
from emulator.openai import OpenAI, Pace, RealtimeReport
from emulator.openai.faults import (
    DropConnection,
    ErrorOnOpen,
    ExpireSession,
    FailResponse,
    Fault,
    FreezeConnection,
    RefuseHandshake,
)
from emulator.recordings import Library
from engines.engine_desk import FRAME, KEY, Desk, settings, until
from stream_service.commands import (
    AnswerTool,
    ClearPlayback,
    MarkPlayback,
    RequestResponse,
    Speak,
    StopListening,
    TellModel,
)
from stream_service.engines import realtime as realtime_module
from stream_service.engines import vendor_session
from stream_service.engines.realtime import RealtimeEngine
from stream_service.events import (
    AgentAudioStarted,
    AgentWords,
    CallerSaid,
    CallerStarted,
    CallerStopped,
    EngineFailed,
    EngineLost,
    EngineReady,
    RequestRefused,
    ResponseEnded,
    ResponseStarted,
    ToolCall,
)
from stream_service.playout import Playout
from stream_service.pump import Pump
from stream_service.transcript import Transcript

STREAM = "MZ1"
GREETING = "もしもし、たくみです。"
SAY_GREETING = RequestResponse(f"Say exactly this to the caller and nothing else: 「{GREETING}」")


SPEECH_STARTED = b'{"type":"input_audio_buffer.speech_started","audio_start_ms":1,"item_id":"c1"}'
AUDIO_DONE = b'{"type":"response.output_audio.done","response_id":"r1","item_id":"i1"}'


def delta(response: str, item: str) -> bytes:
    """20 ms of the model's voice."""
    audio = base64.b64encode(b"\x00" * FRAME).decode()
    fields = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0, "delta": audio}
    return json.dumps({"type": "response.output_audio.delta", **fields}).encode()


class Carrier:
    """Twilio's end of the stream: everything it is sent, as it comes."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._lock = threading.Lock()
        self._messages: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            while True:
                message = json.loads(self._peer.next_data())
                with self._lock:
                    self._messages.append(message)
        except (EOFError, OSError, AssertionError):
            pass

    @property
    def messages(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._messages)

    def kinds(self) -> list[str]:
        return [message["event"] for message in self.messages]

    def audio(self) -> bytes:
        return b"".join(base64.b64decode(m["media"]["payload"]) for m in self.messages if m["event"] == "media")

    def marks(self) -> list[str]:
        return [message["mark"]["name"] for message in self.messages if message["event"] == "mark"]


class Model(Desk):
    """An engine, the OpenAI it talks to, and the carrier."""

    def __init__(self, openai: OpenAI, pump: Pump, pool: ThreadPoolExecutor, earlier: list[Turn]) -> None:
        super().__init__()
        self.openai = openai
        self.buffered_seconds = 0.0  # of other audio, which is played before the model's
        self.playout = Playout(clock=lambda: time.monotonic() + self.buffered_seconds)
        ours, theirs = tcp_pair()
        self.peer = Peer(theirs, client=True)
        self.carrier = Carrier(self.peer)
        link = pump.adopt(
            ours, name="carrier", server=True, limits=GENEROUS, on_message=lambda _: None, on_lost=lambda _: None
        )
        self._built = RealtimeEngine(
            settings=settings(OPENAI_REALTIME_URL=openai.realtime_url),
            agent=AGENT,
            instructions="あなたはたくみです。",
            transcript=Transcript("realtime", 1, earlier, EPOCH),
            playout=self.playout,
            carrier=link,
            stream_sid=STREAM,
            pump=pump,
            pool=pool,
            post=self.post,
        )

    @property
    def session(self) -> RealtimeReport:
        """The newest session on the vendor's side."""
        return self.openai.sessions[-1]

    def start(self) -> None:
        self.begin(self._built)

    def model_says(self, *messages: bytes) -> None:
        """Events of the model's, one right behind the other, as the pump hands them over."""
        for message in messages:
            self._built._reflexes.downlink(message)

    def ready(self) -> None:
        self.start()
        self.next(EngineReady)

    def do(self, *commands: Any) -> None:
        assert self.engine is not None
        for command in commands:
            assert self.engine.perform(command)

    def say(self, name: str) -> str:
        recording = self.openai.library[name]
        self.hear(recording.ulaw + silence(900))
        return recording.text


Start = Callable[..., Model]


@pytest.fixture
def start(library: Library, pump: Pump, pool: ThreadPoolExecutor) -> Iterator[Start]:
    running: list[tuple[OpenAI, Model]] = []

    def model(*faults: Fault, speed: float = 100.0, key: str = KEY, earlier: list[Turn] | None = None) -> Model:
        pace = Pace(response=0.01, first_audio=0.01, audio_speed=speed, transcription=0.02)
        server = OpenAI(library, {key}, pace=pace).start()
        server.faults.next(*faults)
        made = Model(server, pump, pool, earlier or [])
        running.append((server, made))
        return made

    yield model
    for server, made in running:
        if made.engine:
            made.engine.close()
        server.stop()
        made.peer.close()


def test_the_settings_are_accepted_whole(start: Start) -> None:
    call = start()
    call.ready()
    assert call.session.errors == []
    assert call.session.events[0] == "session.update"
    session = call.session.session
    assert session["instructions"] == "あなたはたくみです。"
    assert session["audio"]["input"]["format"] == session["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    assert [tool["name"] for tool in session["tools"]] == ["end_call", "transfer_call"]
    assert call.session.model == "gpt-realtime-2.1-mini"


def test_what_the_model_says_goes_to_the_caller_as_it_is_with_a_mark_behind_it(start: Start) -> None:
    call = start()
    call.ready()
    call.do(SAY_GREETING)
    call.next(ResponseEnded)
    kinds = [type(event) for event in call.events]
    assert kinds.index(ResponseStarted) < kinds.index(AgentAudioStarted) < kinds.index(ResponseEnded)
    words = [event for event in call.all(AgentWords) if event.whole]
    assert [event.text for event in words] == [GREETING]
    item = call.next(AgentAudioStarted).item
    until(lambda: len(call.carrier.audio()) == call.session.responses[0].audio_ms * 8)
    assert call.playout.sent_ms(item) == call.session.responses[0].audio_ms
    assert all(message["streamSid"] == STREAM for message in call.carrier.messages)
    until(lambda: call.carrier.kinds()[-1] == "mark")
    assert call.carrier.kinds()[0] == "media"
    assert len(set(call.carrier.marks())) == len(call.carrier.marks())
    assert len(call.all(AgentAudioStarted)) == 1


def test_what_the_caller_says_reaches_the_model_byte_for_byte(start: Start) -> None:
    call = start()
    call.ready()
    text = call.say("booking")
    said = call.next(CallerSaid)
    assert said.text.rstrip("。") == text.rstrip("。")
    assert said.item == call.next(CallerStopped).item
    assert call.all(CallerStarted)
    assert call.session.turns[0].recognised.intact
    ended = call.next(ResponseEnded)
    assert ended.status == "completed"  # of its own accord
    assert ended.usage["audio_tokens_out"] > 0
    spent = call._built.spent()
    assert spent["transcript_tokens_in"] > 0
    assert spent["transcript_tokens_out"] == len(said.text)


def test_audio_from_before_the_session_is_open_is_not_lost(start: Start) -> None:
    call = start()
    call.start()
    text = call.say("two-persons")
    assert call.next(CallerSaid).text.rstrip("。") == text.rstrip("。")
    assert call.session.turns[0].recognised.intact


def test_the_callers_audio_is_counted_in_bytes_of_sound(start: Start) -> None:
    call = start()
    call.start()
    call.hear(silence(60_000))
    assert call._built.uplink.position == 60_000 * 8
    assert 60_000 * 8 % FRAME == 0


# --- interruptions ------------------------------------------------------------------------------------------------


def interrupted(call: Model, after_ms: int) -> str:
    """The bot is silenced once it has been heard for so long; its item."""
    call.ready()
    call.do(SAY_GREETING)
    begun = call.next(AgentAudioStarted)
    call.until(lambda: call.playout.heard_ms(begun.item, time.monotonic()) >= after_ms)
    call.model_says(SPEECH_STARTED)
    return begun.item


def test_an_interruption_silences_the_carrier_and_the_model_forgets_what_was_not_heard(start: Start) -> None:
    call = start(speed=4.0)
    item = interrupted(call, after_ms=40)
    heard = call.playout.heard_ms(item, time.monotonic())
    until(lambda: call.session.truncations)
    assert call.session.truncations == [(item, heard)]
    until(lambda: "clear" in call.carrier.kinds())
    call.next(ResponseEnded)
    clear = call.carrier.kinds().index("clear")
    assert "media" not in call.carrier.kinds()[clear:]  # what still came of it was dropped
    assert call.session.errors == []


def test_an_item_of_which_nothing_was_heard_is_forgotten_whole(start: Start) -> None:
    call = start(speed=4.0)
    call.ready()
    call.buffered_seconds = 60.0
    call.do(SAY_GREETING)
    begun = call.next(AgentAudioStarted)
    call.model_says(SPEECH_STARTED)
    until(lambda: "conversation.item.delete" in call.session.events)
    call.next(ResponseEnded)
    assert begun.item not in call.session.items
    assert call.session.truncations == []


def test_a_second_interruption_does_not_truncate_the_first_item_again(start: Start) -> None:
    call = start(speed=4.0)
    item = interrupted(call, after_ms=40)
    call.next(ResponseEnded)
    call.do(SAY_GREETING)
    second = call.next(AgentAudioStarted, 2)
    call.until(lambda: call.playout.heard_ms(second.item, time.monotonic()) >= 40)
    call.model_says(SPEECH_STARTED)
    call.next(ResponseEnded, 2)
    until(lambda: len(call.session.truncations) == 2)
    assert [cut for cut, _ in call.session.truncations] == [item, second.item]
    assert call.session.errors == []


def test_the_next_response_in_the_same_packet_is_not_silenced_with_the_last_one(start: Start) -> None:
    call = start()
    call.ready()
    call.model_says(delta("r1", "i1"), AUDIO_DONE)
    until(lambda: len(call.carrier.kinds()) == 2)
    call.model_says(SPEECH_STARTED, delta("r1", "i1"), delta("r2", "i2"), AUDIO_DONE)
    until(lambda: len(call.carrier.kinds()) == 5)
    assert call.carrier.kinds() == ["media", "mark", "clear", "media", "mark"]


def test_audio_behind_which_no_mark_has_been_sent_yet_is_silenced_too(start: Start) -> None:
    call = start()
    call.ready()
    call.model_says(delta("r1", "i1"), SPEECH_STARTED, AUDIO_DONE, delta("r2", "i2"), AUDIO_DONE)
    until(lambda: call.carrier.kinds()[-2:] == ["media", "mark"])
    assert call.carrier.kinds() in (["clear", "media", "mark"], ["media", "clear", "media", "mark"])


def test_a_caller_who_speaks_into_silence_silences_nobody(start: Start) -> None:
    call = start()
    call.ready()
    call.model_says(SPEECH_STARTED, delta("r1", "i1"), AUDIO_DONE)
    until(lambda: len(call.carrier.kinds()) == 2)
    assert call.carrier.kinds() == ["media", "mark"]


def test_the_goodbye_is_not_silenced(start: Start) -> None:
    call = start()
    call.ready()
    call.do(StopListening())
    call.model_says(delta("r1", "i1"), SPEECH_STARTED, delta("r1", "i1"), AUDIO_DONE)
    until(lambda: len(call.carrier.kinds()) == 4)
    assert "clear" not in call.carrier.kinds()


def test_the_caller_speaks_over_the_bot(start: Start) -> None:
    call = start(speed=4.0)
    call.ready()
    call.do(SAY_GREETING)
    begun = call.next(AgentAudioStarted)
    call.say("wait")
    call.next(CallerStarted)
    call.do(ClearPlayback(begun.response))
    ended = call.next(ResponseEnded)
    assert (ended.response, ended.status) == (begun.response, "cancelled")
    call.next(ResponseEnded, 2)
    assert call.session.errors == []


# --- commands -----------------------------------------------------------------------------------------------------


def test_tools_messages_and_marks(start: Start) -> None:
    call = start()
    call.ready()
    call.say("hang-up")
    call.next(CallerSaid)
    tool = call.next(ResponseEnded).tool_calls[0]
    assert tool.name == "end_call"
    call.do(AnswerTool(tool, "done"), TellModel("(the caller pressed the key 5)"), StopListening(), MarkPlayback("bye"))
    until(lambda: "bye" in call.carrier.marks())
    until(lambda: len(call.session.updates) == 2)
    assert call.session.session["audio"]["input"]["turn_detection"] is None
    kinds = [item["type"] for item in call.session.items.values()]
    assert "function_call_output" in kinds
    assert call.session.errors == []
    assert call.engine is not None
    assert not call.engine.perform(Speak(1, ("x",), 1))


def test_a_request_too_many_is_refused_and_the_session_goes_on(start: Start) -> None:
    call = start(speed=4.0)
    call.ready()
    call.do(SAY_GREETING)
    call.next(ResponseStarted)
    call.do(RequestResponse())
    assert call.next(RequestRefused).code == "conversation_already_has_active_response"
    assert call.next(ResponseEnded).status == "completed"
    assert not call.all(EngineLost)


def test_an_answer_to_an_unknown_tool_call_is_refused_and_the_session_goes_on(start: Start) -> None:
    call = start()
    call.ready()
    call.do(AnswerTool(ToolCall("call_of_an_earlier_session", "end_call", "{}"), "done"))
    call.do(SAY_GREETING)
    assert call.next(ResponseEnded).status == "completed"


def test_a_failed_response_says_why(start: Start) -> None:
    call = start(FailResponse("rate_limit_exceeded"))
    call.ready()
    call.do(SAY_GREETING)
    ended = call.next(ResponseEnded)
    assert (ended.status, ended.code) == ("failed", "rate_limit_exceeded")


# --- sessions that are lost ---------------------------------------------------------------------------------------

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
