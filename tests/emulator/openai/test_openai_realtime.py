"""Realtime through the vendor's own client and types: a conversation, an interruption, functions."""

import base64
from collections.abc import Iterator

import openai
import pytest
from realtime_caller import MODEL, SESSION, Caller

from emulator.audio import silence
from emulator.openai import OpenAI
from emulator.recordings import Library

pytestmark = pytest.mark.timeout(20)  # the vendor's client waits for ever for an event that does not come


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
