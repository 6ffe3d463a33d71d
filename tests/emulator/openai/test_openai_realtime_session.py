"""Realtime sessions without sockets: configuration, idle timeout on a clock of our own, and hostile events."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.audio import pcm16_from_ulaw, silence
from emulator.openai import OpenAIFaults, Pace, RealtimeReport, Support
from emulator.openai.realtime_answering import World
from emulator.openai.realtime_config import defaults, updated
from emulator.openai.realtime_session import RealtimeSession
from emulator.openai.schema import ApiError
from emulator.recordings import Library
from emulator.sockets import Ending

MODEL = "gpt-realtime-2.1"
PCMU = {"format": {"type": "audio/pcmu"}}


class Line:
    """A session and its clock."""

    def __init__(self, library: Library) -> None:
        self.report = RealtimeReport(MODEL)
        self.now = 100.0
        world = World(library, Support(), Pace(), OpenAIFaults())
        self.session = RealtimeSession(world, None, self.report, "sess_1", self.now)

    def send(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        self.session.receive(json.dumps({"type": kind, **fields}), self.now)
        return self.taken()

    def hear(self, ulaw: bytes) -> list[dict[str, Any]]:
        """Audio in real time on the line's own clock."""
        events = []
        for start in range(0, len(ulaw), 160):
            self.now += 0.02
            chunk = ulaw[start : start + 160]
            events += self.send("input_audio_buffer.append", audio=base64.b64encode(chunk).decode())
        return events

    def taken(self) -> list[dict[str, Any]]:
        events = [event for event in self.session.out if isinstance(event, dict)]
        self.session.out.clear()
        return events


@pytest.fixture
def line(library: Library) -> Line:
    made = Line(library)
    made.send("session.update", session={"type": "realtime", "audio": {"input": PCMU, "output": PCMU}})
    return made


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


# --- configuration ------------------------------------------------------------------------------------------------


def refusal(update: Any, *, model: str = MODEL, has_spoken: bool = False) -> ApiError:
    with pytest.raises(ApiError) as refused:
        updated(defaults("sess", model, 0), update, has_spoken=has_spoken)
    return refused.value


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"voice": "marin"}, "unknown_parameter", "session.voice"),
        ({"modalities": ["audio"]}, "unknown_parameter", "session.modalities"),
        ({"input_audio_format": "g711_ulaw"}, "unknown_parameter", "session.input_audio_format"),
        ({"turn_detection": None}, "unknown_parameter", "session.turn_detection"),
        ({"temperature": 0.6}, "unknown_parameter", "session.temperature"),
        ({"instructions": 5}, "invalid_type", "session.instructions"),
        ({"output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
        ({"output_modalities": ["video"]}, "invalid_value", "session.output_modalities[0]"),
        ({"max_output_tokens": 5000}, "integer_above_max_value", "session.max_output_tokens"),
        ({"max_output_tokens": True}, "invalid_type", "session.max_output_tokens"),
        (
            {"tools": [{"type": "function", "function": {"name": "x"}}]},
            "unknown_parameter",
            "session.tools[0].function",
        ),
        ({"audio": {"output": {"voice": "takumi"}}}, "invalid_value", "session.audio.output.voice"),
        ({"audio": {"output": {"speed": 3}}}, "decimal_above_max_value", "session.audio.output.speed"),
        ({"audio": {"input": {"format": "pcmu"}}}, "invalid_type", "session.audio.input.format"),
        (
            {"audio": {"input": {"format": {"type": "audio/pcmu", "rate": 8000}}}},
            "unknown_parameter",
            "session.audio.input.format.rate",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "idle_timeout_ms": 6000}}}},
            "unknown_parameter",
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        (
            {"audio": {"input": {"transcription": {"model": "whisper-1", "keywords": ["x"]}}}},
            "unsupported_parameter",
            "session.audio.input.transcription.keywords",
        ),
        ({"model": "another"}, "invalid_value", "session.model"),
    ],
)
def test_fields_that_are_not_of_the_ga_shape(session: dict[str, Any], code: str, param: str) -> None:
    refused = refusal({"type": "realtime", **session})
    assert (refused.code, refused.param) == (code, param)


def test_the_words_of_a_refusal() -> None:
    assert refusal({"type": "realtime", "voice": "x"}).message == "Unknown parameter: 'session.voice'."
    assert refusal({}).message == "Missing required parameter: 'session.type'."
    assert refusal(5).code == "invalid_type"
    assert refusal({"type": "realtime", "reasoning": {"effort": "low"}}, model="gpt-realtime-1.5").code == (
        "unsupported_parameter"
    )
    voice = {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}
    assert refusal(voice, has_spoken=True).code == "cannot_update_voice"


def test_a_refused_update_changes_nothing(line: Line) -> None:
    before = dict(line.report.session)
    (event,) = line.send(
        "session.update", event_id="cfg", session={"type": "realtime", "instructions": "new", "voice": "marin"}
    )
    assert event["error"]["event_id"] == "cfg"
    assert event["error"]["type"] == "invalid_request_error"
    assert line.report.session == before


def test_an_update_changes_only_what_is_there(line: Line) -> None:
    line.send("session.update", session={"type": "realtime", "instructions": "丁寧に"})
    line.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    session = line.report.session
    assert session["instructions"] == "丁寧に"
    assert session["audio"]["input"]["turn_detection"] is None
    assert session["audio"]["input"]["format"] == session["audio"]["output"]["format"] == {"type": "audio/pcmu"}


# --- hearing ------------------------------------------------------------------------------------------------------


def test_a_silent_caller_is_asked_again(line: Line, library: Library) -> None:
    detection = {"type": "server_vad", "idle_timeout_ms": 6000}
    line.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    line.send("response.create", response={"instructions": "「もしもし」"})
    events = line.hear(silence(9000))
    triggered = next(event for event in events if event["type"] == "input_audio_buffer.timeout_triggered")
    # response.done comes after about half a second, playing "もしもし" lasts 532 ms, then 6 s go by.
    assert 6500 < triggered["audio_end_ms"] < 7500
    assert triggered["audio_end_ms"] - triggered["audio_start_ms"] == pytest.approx(6000, abs=40)
    after = kinds(events)[kinds(events).index("input_audio_buffer.timeout_triggered") :]
    assert after.index("input_audio_buffer.committed") < after.index("response.created")
    assert len(line.report.responses) == 2


def test_speaking_stops_the_idle_timeout(line: Line, library: Library) -> None:
    detection = {"type": "server_vad", "idle_timeout_ms": 5000, "create_response": False}
    line.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    line.send("response.create", response={"instructions": "「もしもし」"})
    events = line.hear(silence(4000) + library["hai"].ulaw + silence(9000))
    assert "input_audio_buffer.timeout_triggered" not in kinds(events)


def test_the_threshold_decides_what_is_speech(line: Line, library: Library) -> None:
    # A voice 20 dB down is heard at 0.5 and not at 0.95.
    ulaw = bytes(library["booking"].ulaw)
    detection = {"type": "server_vad", "threshold": 0.95}
    line.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    quiet = bytes(code if code & 0x70 == 0x70 else code | 0x30 for code in ulaw)  # at most 2 kHz-level steps
    assert "input_audio_buffer.speech_started" not in kinds(line.hear(quiet + silence(800)))
    detection["threshold"] = 0.5
    line.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    assert "input_audio_buffer.speech_started" in kinds(line.hear(quiet + silence(800)))


def test_mu_law_sent_as_sixteen_bit_is_noise_that_never_ends(line: Line, library: Library) -> None:
    pcm = {"format": {"type": "audio/pcm", "rate": 24000}}
    line.send("session.update", session={"type": "realtime", "audio": {"input": pcm}})
    events = line.hear(library["booking"].ulaw * 3 + bytes([0x7F, 0x81] * 40_000))
    assert "input_audio_buffer.speech_started" in kinds(events)
    assert "input_audio_buffer.speech_stopped" not in kinds(events)


def test_true_sixteen_bit_audio_is_heard(line: Line, library: Library) -> None:
    pcm = {"format": {"type": "audio/pcm", "rate": 24000}}
    line.send("session.update", session={"type": "realtime", "audio": {"input": pcm}})
    samples = pcm16_from_ulaw(library["booking"].ulaw + silence(800))
    at_24k = b"".join(samples[at : at + 2] * 3 for at in range(0, len(samples), 2))
    line.hear(at_24k)
    assert line.report.turns[0].recognised.text == library["booking"].text


def test_hours_of_silence_are_not_kept(line: Line) -> None:
    line.hear(silence(60_000))
    (event,) = line.send("input_audio_buffer.commit")[:1]
    assert event["type"] == "input_audio_buffer.committed"
    assert line.report.turns[0].end_ms - line.report.turns[0].start_ms < 3000


def test_a_session_lasts_an_hour(line: Line) -> None:
    line.session.tick(line.now + 3599)
    assert not line.session.out
    line.session.tick(line.now + 3601)
    assert line.session.out[-1] is Ending.CLOSE
    (event,) = line.taken()
    assert event["error"]["code"] == "session_expired"


# --- errors and hostile input -------------------------------------------------------------------------------------


def create(item: Any) -> str:
    return json.dumps({"type": "conversation.item.create", "item": item})


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no json", "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ("[]", "invalid_event"),
        (b"\x00", "invalid_event"),
        ("{}", "missing_required_parameter"),
        ('{"type": 5}', "invalid_type"),
        ('{"type": "response.audio"}', "invalid_value"),
        ('{"type": "response.create", "respond": {}}', "unknown_parameter"),
        ('{"type": "input_audio_buffer.append", "audio": "?"}', "invalid_value"),
        ('{"type": "conversation.item.truncate", "item_id": "x"}', "missing_required_parameter"),
        (
            '{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1.5}',
            "invalid_type",
        ),
        (
            '{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1}',
            "item_truncate_invalid_item_id",
        ),
        ('{"type": "conversation.item.delete", "item_id": "x"}', "item_delete_invalid_item_id"),
        ('{"type": "conversation.item.retrieve", "item_id": "x"}', "item_retrieve_invalid_item_id"),
        ('{"type": "output_audio_buffer.clear"}', "invalid_value"),
        ('{"type": "response.create", "response": {"input": [{"type": "item_reference", "id": "x"}]}}', None),
        ('{"type": "response.create", "response": {"input": [5]}}', "invalid_type"),
        (
            create({"type": "message", "role": "assistant", "content": [{"type": "output_audio", "audio": "x"}]}),
            "unsupported_content_type",
        ),
        (create({"type": "message"}), "missing_required_parameter"),
    ],
)
def test_malformed_events_are_error_events(line: Line, message: str | bytes, code: str | None) -> None:
    line.session.receive(message, line.now)
    (event,) = line.taken()
    assert event["type"] == "error"
    assert code in (None, event["error"]["code"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(
    [
        "session.update",
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "conversation.item.create",
        "conversation.item.truncate",
        "conversation.item.delete",
        "response.create",
        "response.cancel",
    ]
)
ITEM = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "function_call", "function_call_output"])},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "x"]) | JSON,
        "content": JSON,
        "call_id": st.sampled_from(["c", "d"]) | JSON,
        "name": st.just("end_call") | JSON,
        "arguments": st.just("{}") | JSON,
        "output": JSON,
        "id": JSON,
    },
)
EVENT = st.fixed_dictionaries(
    {"type": TYPES},
    optional={
        "session": JSON | st.dictionaries(st.sampled_from(["type", "audio", "tools", "tool_choice"]), JSON),
        "audio": JSON | st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode()),
        "item": ITEM | JSON,
        "item_id": st.sampled_from(["a", "b"]) | JSON,
        "previous_item_id": JSON,
        "response": JSON
        | st.dictionaries(
            st.sampled_from(["input", "tools", "instructions", "metadata"]), JSON | st.lists(ITEM, max_size=2)
        ),
        "content_index": JSON,
        "audio_end_ms": JSON,
        "event_id": JSON,
    },
)


@settings(max_examples=100, deadline=None)
@given(st.lists(EVENT | JSON, max_size=8))
def test_no_sequence_of_events_raises(library: Library, events: list[Any]) -> None:
    line = Line(library)
    for event in events:
        line.session.receive(json.dumps(event), line.now)
        line.now += 0.3
        line.session.tick(line.now)
        assert line.session.due_in(line.now) >= 0
    assert json.dumps(line.taken())


@given(st.text(max_size=60) | st.binary(max_size=60))
@settings(deadline=None)
def test_any_message_is_answered_by_an_error(library: Library, message: str | bytes) -> None:
    line = Line(library)
    line.taken()
    line.session.receive(message, line.now)
    assert kinds(line.taken()) == ["error"]
