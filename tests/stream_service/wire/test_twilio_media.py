"""Twilio's messages as its documents print them, and everything else that a socket may bring."""

import base64
import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callbot.errors import RemoteError
from stream_service.events import Digit, PlaybackReached, StreamStopped
from stream_service.wire import twilio_media
from stream_service.wire.twilio_media import StreamStarted, caller_audio, decode

# Twilio docs, "Media Streams - WebSocket messages": the pages' own examples. Numbers really are strings.
CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'
START = """{
 "event": "start", "sequenceNumber": "1",
 "start": {
   "accountSid": "AC0123", "streamSid": "MZ18ad3ab5a668481ce02b83e7395059f0", "callSid": "CA0123",
   "tracks": ["inbound"],
   "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
   "customParameters": {"FirstName": "Jane", "ticket": "a.b.c"}
 },
 "streamSid": "MZ18ad3ab5a668481ce02b83e7395059f0"
}"""
MEDIA = """{
 "event": "media", "sequenceNumber": "3",
 "media": {"track": "outbound", "chunk": "1", "timestamp": "5", "payload": "no+JhoaJjpz="},
 "streamSid": "MZ18ad3ab5a668481ce02b83e7395059f0"
}"""
DTMF = '{"event":"dtmf","streamSid":"MZ18","sequenceNumber":"5","dtmf":{"track":"inbound_track","digit":"1"}}'
MARK = '{"event":"mark","sequenceNumber":"4","streamSid":"MZ18","mark":{"name":"my label"}}'
STOP = '{"event":"stop","sequenceNumber":"5","stop":{"accountSid":"AC0123","callSid":"CA0123"},"streamSid":"MZ18"}'

audio = st.binary(max_size=400)


def test_connected_names_no_call_and_is_no_news() -> None:
    assert decode(CONNECTED.encode()) is None


def test_start_says_which_call_this_is() -> None:
    assert decode(START.encode()) == StreamStarted(
        stream_sid="MZ18ad3ab5a668481ce02b83e7395059f0",
        call_sid="CA0123",
        account_sid="AC0123",
        parameters={"FirstName": "Jane", "ticket": "a.b.c"},
    )


@pytest.mark.parametrize("parameters", ["{}", "null", None])
def test_start_may_have_no_parameters(parameters: str | None) -> None:
    given_ = "" if parameters is None else f',"customParameters":{parameters}'
    message = f'{{"event":"start","streamSid":"MZ1","start":{{"accountSid":"AC1","callSid":"CA1"{given_}}}}}'
    assert decode(message.encode()) == StreamStarted("MZ1", "CA1", "AC1", {})


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (DTMF, Digit("1")),
        (DTMF.replace('"digit":"1"', '"digit":"#"'), Digit("#")),
        (MARK, PlaybackReached("my label")),
        (STOP, StreamStopped()),
        ('{"event":"stop"}', StreamStopped()),
        ('{"event":"speech-to-come","x":[1]}', None),
        (MEDIA, None),
    ],
)
def test_other_messages(message: str, event: object) -> None:
    assert decode(message.encode()) == event


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b'"start"',
        b"{}",
        b'{"event":"start"}',
        b'{"event":"start","start":[]}',
        b'{"event":"start","start":{"accountSid":"AC1","callSid":"CA1"}}',
        b'{"event":"start","streamSid":"MZ1","start":{"accountSid":"AC1","callSid":7}}',
        b'{"event":"start","streamSid":"MZ1","start":{"accountSid":"AC1","callSid":"CA1","customParameters":[1]}}',
        b'{"event":"start","streamSid":"MZ1","start":{"accountSid":"A","callSid":"C","customParameters":{"n":1}}}',
        b'{"event":"dtmf","dtmf":{"digit":"12"}}',
        b'{"event":"dtmf","dtmf":{"digit":["1"]}}',
        b'{"event":"dtmf","dtmf":{"digit":""}}',
        b'{"event":"mark","mark":{"name":1}}',
        b'{"event":"mark"}',
        b'\xff\xfe{"event":"stop"}',
        b"[" * 100_000,
        b'{"event":' + b"9" * 5000 + b"}",
    ],
)
def test_what_cannot_be_read_is_twilios_fault_and_is_not_shown(message: bytes) -> None:
    with pytest.raises(RemoteError) as caught:
        decode(message)
    assert caught.value.service == "twilio"
    assert str(len(message)) in str(caught.value)


def test_half_a_character_in_a_parameter_goes_no_further() -> None:
    started = decode(START.replace("Jane", r"Ja\ud83dne").encode())
    assert isinstance(started, StreamStarted)
    assert started.parameters["FirstName"] == "Ja?ne"


# --- audio --------------------------------------------------------------------------------------------------------


def test_the_payload_passes_as_it_came() -> None:
    assert caller_audio(MEDIA.encode()) == b"no+JhoaJjpz="


@pytest.mark.parametrize("message", [CONNECTED, START, DTMF, MARK, STOP])
def test_the_others_are_no_audio(message: str) -> None:
    assert caller_audio(message.encode()) is None
    assert caller_audio(json.dumps(json.loads(message), separators=(",", ":")).encode()) is None


def test_a_parameter_cannot_pass_itself_off_as_audio() -> None:
    disguise = r"\"event\":\"media\",\"payload\":\"AAAA\""
    assert caller_audio(START.replace("Jane", disguise).encode()) is None


@pytest.mark.parametrize(
    "message",
    [
        b'{"event":"media","media":{"payload":"AA!="}}',
        b'{"event":"media","media":{"payload":"AAAA',
        b'{"event":"media","media":{"payload":"AAAA\\"}}',
        b'{"event":"media","media":{"payload":5}}',
        b'{"event":"media","media":{}}',
        b'{"event":"media"',
        b'{"event" : "media", "media": {"payload": "===="}}',
    ],
)
def test_damaged_audio_is_none(message: bytes) -> None:
    assert caller_audio(message) is None


@st.composite
def media_messages(draw: st.DrawFn) -> tuple[str, bytes]:
    """A `media` message as any JSON writer might write it, and its payload."""
    payload = base64.b64encode(draw(audio)).decode()
    media = {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": payload}
    message = {"event": "media", "sequenceNumber": "3", "media": media, "streamSid": "MZ1"}
    message["media"] = dict(draw(st.permutations(list(media.items()))))
    ordered = dict(draw(st.permutations(list(message.items()))))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", " : ")]))
    indent = draw(st.sampled_from([None, 0, 2]))
    return json.dumps(ordered, separators=separators, indent=indent), payload.encode()


@given(media_messages())
def test_audio_is_found_however_the_json_is_written(written: tuple[str, bytes]) -> None:
    message, payload = written
    assert caller_audio(message.encode()) == payload


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["start", "dtmf", "mark", "stop", "media", "connected", "customParameters", "streamSid"])
near_messages = st.dictionaries(names | st.just("event"), json_values | names, max_size=5)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b'{"event":"media","payload":"' + b"A" * 50)
def test_no_bytes_raise_anything_but_our_own_error(message: bytes) -> None:
    caller_audio(message)
    with contextlib.suppress(RemoteError):
        decode(message)


@given(near_messages, names)
def test_no_json_raises_anything_but_our_own_error(message: dict[str, object], event: str) -> None:
    text = json.dumps({**message, "event": event}).encode()
    caller_audio(text)
    with contextlib.suppress(RemoteError):
        decode(text)


# --- to Twilio ----------------------------------------------------------------------------------------------------


@given(st.text(max_size=40), audio)
def test_what_we_send_is_what_twilio_reads(stream_sid: str, ulaw: bytes) -> None:
    payload = base64.b64encode(ulaw)
    sent = json.loads(twilio_media.media_prefix(stream_sid) + payload + twilio_media.MEDIA_SUFFIX)
    assert sent == {"event": "media", "streamSid": stream_sid, "media": {"payload": payload.decode()}}
    assert json.loads(twilio_media.mark(stream_sid, "a0-1")) == {
        "event": "mark",
        "streamSid": stream_sid,
        "mark": {"name": "a0-1"},
    }
    assert json.loads(twilio_media.clear(stream_sid)) == {"event": "clear", "streamSid": stream_sid}
