"""Realtime through the vendor's own client and types: a conversation, an interruption, functions, and faults."""

import base64
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from emulator import readable_voice
from emulator.audio import silence
from emulator.openai import OpenAI
from emulator.openai.faults import (
    DropConnection,
    DropResponse,
    ErrorOnOpen,
    ExpireSession,
    FailResponse,
    FreezeConnection,
    IncompleteResponse,
    MissingResponse,
    RefuseHandshake,
    SlowResponse,
)
from emulator.recordings import Library

pytestmark = pytest.mark.timeout(20)  # the vendor's client waits for ever for an event that does not come

MODEL = "gpt-realtime-2.1"
TOOL = {
    "type": "function",
    "name": "end_call",
    "description": "ends the call",
    "parameters": {"type": "object", "properties": {}},
}
SESSION: dict[str, Any] = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": "あなたは予約受付の電話担当です。",
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "noise_reduction": {"type": "near_field"},
            "transcription": {"model": "gpt-transcribe", "language": "ja"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 500, "interrupt_response": True},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.0},
    },
    "tools": [TOOL],
    "tool_choice": "auto",
    "max_output_tokens": 1024,
    "reasoning": {"effort": "low"},
}
TYPES: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


class Caller:
    """One Realtime connection by the vendor's client; every event is checked against the vendor's types."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []

    def next(self) -> Any:
        raw = self.connection.recv_bytes()
        event = TYPES.validate_json(raw, strict=False)
        plain = TYPES.dump_python(event, mode="json", warnings=False)
        assert plain["type"] == event.type
        self.events.append(event)
        return event

    def until(self, kind: str) -> Any:
        while True:
            event = self.next()
            if event.type == kind:
                return event
            assert event.type != "error" or kind == "error", event

    def say(self, ulaw: bytes) -> None:
        for start in range(0, len(ulaw), 1600):
            self.connection.input_audio_buffer.append(audio=base64.b64encode(ulaw[start : start + 1600]).decode())

    def configure(self, **changes: Any) -> Any:
        self.connection.session.update(session={**SESSION, **changes})
        return self.until("session.updated").session

    def heard(self) -> str:
        """The words in the audio that has come so far."""
        deltas = (e.delta for e in self.events if e.type == "response.output_audio.delta")
        return readable_voice.read(b"".join(base64.b64decode(delta) for delta in deltas))

    def types(self) -> list[str]:
        return [event.type for event in self.events]


@pytest.fixture
def caller(client: openai.OpenAI) -> Iterator[Caller]:
    with client.realtime.connect(model=MODEL) as connection:
        one = Caller(connection)
        one.until("session.created")
        yield one


@pytest.fixture
def patient_caller(unhurried: OpenAI) -> Iterator[Caller]:
    """On a server that speaks for seconds."""
    address = unhurried.realtime_url.removesuffix("/realtime")
    with (
        openai.OpenAI(api_key="sk-right", websocket_base_url=address) as client,
        client.realtime.connect(model=MODEL) as connection,
    ):
        yield Caller(connection)


# --- a conversation -----------------------------------------------------------------------------------------------


def test_a_question_is_answered(caller: Caller, server: OpenAI, library: Library) -> None:
    session = caller.configure()
    assert session.audio.input.turn_detection.threshold == 0.5  # defaults fill in what was left out
    caller.say(silence(400) + library["opening-hours"].ulaw + silence(800))
    started = caller.until("input_audio_buffer.speech_started")
    stopped = caller.until("input_audio_buffer.speech_stopped")
    assert started.audio_start_ms == 500 - 300
    assert stopped.audio_end_ms == 400 + 2170 + 500
    done = caller.until("response.done").response
    assert caller.heard().startswith("営業時間は、平日の")
    assert (done.status, done.output[0].content[0].transcript) == ("completed", caller.heard())
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens
    if "conversation.item.input_audio_transcription.completed" not in caller.types():
        caller.until("conversation.item.input_audio_transcription.completed")
    (turn,) = server.sessions[0].turns
    assert (turn.recognised.text, turn.recognised.intact) == ("営業時間を教えてください", True)
    assert turn.item_id == started.item_id == stopped.item_id
    item = server.sessions[0].items[turn.item_id]
    assert item["content"][0]["transcript"] == "営業時間を教えてください。"


def test_the_order_of_a_responses_events(caller: Caller, library: Library) -> None:
    caller.configure()
    caller.say(library["hai"].ulaw + silence(800))
    caller.until("response.done")
    mine = [
        kind
        for kind in caller.types()
        if not kind.endswith(".delta") and "transcription" not in kind and kind != "session.updated"
    ]
    assert mine == [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "rate_limits.updated",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    sizes = [len(base64.b64decode(e.delta)) for e in caller.events if e.type == "response.output_audio.delta"]
    assert all(800 <= size <= 3200 for size in sizes[:-1])
    spoken = "".join(e.delta for e in caller.events if e.type == "response.output_audio_transcript.delta")
    assert spoken == caller.heard()


def test_the_bot_speaks_first_when_asked(caller: Caller) -> None:
    caller.configure()
    caller.connection.response.create(response={"instructions": "次のとおり挨拶する:「はい、山田です。」"})
    caller.until("response.done")
    assert caller.heard() == "はい、山田です。"


def test_without_transcription_there_is_no_transcript(caller: Caller, server: OpenAI, library: Library) -> None:
    caller.configure(audio={"input": {"format": {"type": "audio/pcmu"}, "transcription": None}})
    caller.say(library["price"].ulaw + silence(800))
    caller.until("response.done")
    assert "料金は" in server.sessions[0].responses[0].text  # the model hears all the same
    assert not any("transcription" in kind for kind in caller.types())


def test_manual_turns(caller: Caller, library: Library) -> None:
    caller.configure(audio={**SESSION["audio"], "input": {"format": {"type": "audio/pcmu"}, "turn_detection": None}})
    caller.connection.input_audio_buffer.commit()
    assert caller.until("error").error.code == "input_audio_buffer_commit_empty"
    caller.say(library["two-persons"].ulaw)
    caller.connection.input_audio_buffer.commit()
    caller.until("conversation.item.done")
    caller.connection.response.create()
    caller.until("response.done")
    assert caller.heard().startswith("二名様ですね。")
    caller.say(library["hai"].ulaw)
    caller.connection.input_audio_buffer.clear()
    caller.until("input_audio_buffer.cleared")


def test_damaged_audio_shows(caller: Caller, server: OpenAI, library: Library) -> None:
    caller.configure()
    ulaw = library["booking"].ulaw
    caller.say(ulaw[:8000] + ulaw[8160:] + silence(800))
    caller.until("response.done")
    assert server.sessions[0].turns[0].recognised.missing_ms == 20
    assert server.sessions[0].audio_bytes == len(ulaw) - 160 + 6400


def test_text_only(caller: Caller) -> None:
    caller.configure(output_modalities=["text"])
    caller.connection.response.create()
    done = caller.until("response.done").response
    assert done.output[0].content[0].text == "".join(
        e.delta for e in caller.events if e.type == "response.output_text.delta"
    )
    assert "response.output_text.done" in caller.types()


# --- interruption -------------------------------------------------------------------------------------------------


def test_talking_over_the_bot_cancels_and_truncates(
    patient_caller: Caller, unhurried: OpenAI, library: Library
) -> None:
    caller = patient_caller
    caller.configure()
    caller.connection.response.create(response={"instructions": "「" + "あいうえお" * 60 + "」"})
    delta = caller.until("response.output_audio.delta")
    caller.say(library["wait"].ulaw)
    caller.until("input_audio_buffer.speech_started")
    done = caller.until("response.done").response
    assert (done.status, done.status_details.reason) == ("cancelled", "turn_detected")
    closing = caller.types()[caller.types().index("input_audio_buffer.speech_started") :]
    assert "response.output_audio.done" in closing
    received = sum(len(base64.b64decode(e.delta)) for e in caller.events if e.type == "response.output_audio.delta")
    caller.connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=received // 8 + 1)
    refusal = caller.until("error").error
    played = received // 16
    assert refusal.message == f"Audio content of {received // 8}ms is already shorter than {received // 8 + 1}ms"
    caller.connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=played)
    caller.until("conversation.item.truncated")
    report = unhurried.sessions[0]
    assert report.truncations == [(delta.item_id, played)]
    assert "transcript" not in report.items[delta.item_id]["content"][0]
    caller.say(silence(800))
    caller.until("response.done")
    assert "お待ちしております" in report.responses[1].text


def test_the_model_knows_only_what_was_heard(caller: Caller, library: Library) -> None:
    caller.configure()
    caller.connection.response.create(response={"instructions": "「あいうえおかきくけこ」"})
    item_id = caller.until("response.done").response.output[0].id
    caller.connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=700)
    caller.until("conversation.item.truncated")
    caller.events.clear()
    caller.say(library["repeat"].ulaw + silence(800))
    caller.until("response.done")
    assert caller.heard() == "あいうえお"  # 700 ms are five characters and a little


def test_interruption_can_be_left_to_the_client(patient_caller: Caller, library: Library) -> None:
    caller = patient_caller
    detection = {"type": "server_vad", "interrupt_response": False, "create_response": True}
    caller.configure(audio={**SESSION["audio"], "input": {**SESSION["audio"]["input"], "turn_detection": detection}})
    caller.connection.response.create(response={"instructions": "「" + "あ" * 300 + "」"})
    caller.until("response.output_audio.delta")
    caller.say(library["wait"].ulaw + silence(800))
    refusal = caller.until("error").error
    assert refusal.code == "conversation_already_has_active_response"
    caller.connection.response.cancel()
    done = caller.until("response.done").response
    assert (done.status, done.status_details.reason) == ("cancelled", "client_cancelled")
    caller.connection.response.cancel(event_id="again")
    refusal = caller.until("error").error
    assert (refusal.code, refusal.event_id) == ("response_cancel_not_active", "again")


def test_only_one_response_at_a_time(caller: Caller) -> None:
    caller.configure()
    caller.connection.response.create()
    caller.connection.response.create()
    assert caller.until("error").error.code == "conversation_already_has_active_response"
    assert caller.until("response.done").response.status == "completed"


# --- functions ----------------------------------------------------------------------------------------------------


def test_hanging_up_by_function(caller: Caller, server: OpenAI, library: Library) -> None:
    caller.configure()
    caller.say(library["hang-up"].ulaw + silence(800))
    call = caller.until("response.function_call_arguments.done")
    assert (call.name, call.arguments) == ("end_call", "{}")
    done = caller.until("response.done").response
    assert [(item.type, item.call_id) for item in done.output] == [("function_call", call.call_id)]
    caller.connection.conversation.item.create(
        item={"type": "function_call_output", "call_id": call.call_id, "output": '{"ok": true}'}
    )
    caller.until("conversation.item.done")
    caller.connection.response.create()
    caller.until("response.done")
    assert "失礼いたします" in caller.heard()
    caller.connection.conversation.item.create(
        item={"type": "function_call_output", "call_id": "call_unknown", "output": "x"}
    )
    assert caller.until("error").error.code == "invalid_tool_call_id"
    assert server.sessions[0].responses[0].tool_calls == ["end_call"]


def test_history_can_be_replayed_into_a_new_session(caller: Caller) -> None:
    caller.configure()
    create = caller.connection.conversation.item.create
    create(item={"type": "message", "role": "system", "content": [{"type": "input_text", "text": "再接続"}]})
    create(
        item={"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "何名様ですか。"}]}
    )
    user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "二人です"}]}
    create(item={**user, "id": "mine"}, previous_item_id="root")
    added = caller.until("conversation.item.added")
    while added.item.id != "mine":
        added = caller.until("conversation.item.added")
    assert added.previous_item_id is None
    caller.connection.conversation.item.retrieve(item_id="mine")
    assert caller.until("conversation.item.retrieved").item.content[0].text == "二人です"
    caller.connection.conversation.item.delete(item_id="mine")
    caller.until("conversation.item.deleted")
    create(item=user)
    caller.connection.response.create(response={"metadata": {"turn": "1"}, "max_output_tokens": 6})
    done = caller.until("response.done").response
    assert (done.status, done.status_details.reason, done.metadata) == (
        "incomplete",
        "max_output_tokens",
        {"turn": "1"},
    )
    assert caller.heard() == "二名様ですね"


# --- faults -------------------------------------------------------------------------------------------------------


def test_handshakes_that_are_refused(server: OpenAI, client: openai.OpenAI) -> None:
    url, key = server.realtime_url, {"Authorization": "Bearer sk-right"}
    server.faults.next(RefuseHandshake(503))
    for path, headers, status in (
        (url + "?model=m", key, 503),
        (url + "?model=m", {}, 401),
        (url + "?model=m", {"Authorization": "Bearer wrong"}, 401),
        (url, key, 400),
        (url + "/x?model=m", key, 404),
    ):
        with pytest.raises(InvalidStatus) as refused:
            connect(path, additional_headers=headers)
        assert refused.value.response.status_code == status


def test_the_beta_header_closes_the_socket(server: OpenAI) -> None:
    headers = {"Authorization": "Bearer sk-right", "OpenAI-Beta": "realtime=v1"}
    with connect(server.realtime_url + "?model=m", additional_headers=headers) as beta:
        with pytest.raises(ConnectionClosedError) as closed:  # noqa: PT012 - an error event may come first
            while True:
                beta.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "beta_api_shape_disabled")


def test_an_error_instead_of_a_session(server: OpenAI, client: openai.OpenAI) -> None:
    server.faults.next(ErrorOnOpen())
    with client.realtime.connect(model=MODEL) as connection:
        assert Caller(connection).next().error.code == "insufficient_quota"
        with pytest.raises(ConnectionClosed):
            connection.recv()


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "insufficient_quota"])
def test_a_failed_response_is_no_error_event(caller: Caller, server: OpenAI, code: str) -> None:
    server.faults.next(FailResponse(code))
    caller.configure()
    caller.connection.response.create()
    done = caller.until("response.done").response
    assert (done.status, done.status_details.error.code, done.output) == ("failed", code, [])
    caller.connection.response.create()
    assert caller.until("response.done").response.status == "completed"


def test_responses_that_are_spoilt(caller: Caller, server: OpenAI) -> None:
    server.faults.next(IncompleteResponse(3, "content_filter"), SlowResponse(0.3), MissingResponse())
    caller.configure()
    caller.connection.response.create()
    done = caller.until("response.done").response
    assert (done.status, done.status_details.reason, caller.heard()) == ("incomplete", "content_filter", "お電話")
    asked = time.monotonic()
    caller.connection.response.create()
    caller.until("response.created")
    assert time.monotonic() - asked >= 0.3
    caller.until("response.done")
    caller.connection.response.create()  # never comes
    caller.connection.response.cancel()
    caller.connection.response.create()
    caller.until("response.done")
    assert [r.status for r in server.sessions[0].responses] == ["incomplete", "completed", "cancelled", "completed"]


def test_the_line_drops(server: OpenAI, client: openai.OpenAI) -> None:
    server.faults.next(DropConnection(at_audio_ms=1000), DropConnection(after_seconds=0.1), DropResponse(300))
    for number in range(3):
        with client.realtime.connect(model=MODEL) as connection:
            caller = Caller(connection)
            caller.configure()
            if number == 0:
                caller.say(silence(1000))
            if number == 2:
                caller.connection.response.create()
            with pytest.raises(ConnectionClosedError) as lost:
                caller.until("no such event")
            assert lost.value.rcvd is None
        assert server.sessions[number].closed == "dropped"
    assert server.sessions[2].responses[0].audio_ms >= 300


def test_the_line_freezes(server: OpenAI) -> None:
    server.faults.next(FreezeConnection(after_seconds=0.05))
    headers = {"Authorization": "Bearer sk-right"}
    socket = connect(server.realtime_url + "?model=m", additional_headers=headers, close_timeout=0.1)
    assert "session.created" in str(socket.recv(timeout=5))
    deadline = time.monotonic() + 5
    while socket.ping().wait(0.2):
        assert time.monotonic() < deadline
    with pytest.raises(TimeoutError):
        socket.recv(timeout=0.1)
    socket.close()


def test_a_session_expires(server: OpenAI, client: openai.OpenAI) -> None:
    server.faults.next(ExpireSession(0.1))
    with client.realtime.connect(model=MODEL) as connection:
        caller = Caller(connection)
        assert caller.until("error").error.code == "session_expired"
        with pytest.raises(ConnectionClosed):
            connection.recv()
