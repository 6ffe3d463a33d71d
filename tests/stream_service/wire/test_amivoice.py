"""AmiVoice's packets as its manual prints them, and everything else that a socket may bring."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot.errors import RemoteError
from stream_service.wire import amivoice
from stream_service.wire.amivoice import Ended, Failed, Final, Interim, SpeechEnded, SpeechStarted, Started, decode

# AmiVoice API manual, "A event packet" and "result format".
RESULT = """{"results":[{"confidence":0.93,"starttime":800,"endtime":2400,"tags":[],"rulename":"",
 "text":"予約をお願いします。","tokens":[
  {"written":"予約","confidence":0.98,"starttime":900,"endtime":1300,"spoken":"よやく"},
  {"written":"。","confidence":0.9,"starttime":2300,"endtime":2400,"spoken":"_"}]}],
 "utteranceid":"20261120/12/018d","text":"予約をお願いします。","code":"","message":""}"""
REJECTED = """{"results":[{"tokens":[],"tags":[],"rulename":"","text":""}],"text":"","code":"o",
 "message":"recognition result is rejected because confidence is below the threshold"}"""


@pytest.mark.parametrize(
    ("line", "packet"),
    [
        ("s", Started()),
        ("e", Ended()),
        ("S 100", SpeechStarted(100)),
        ("E 900", SpeechEnded(900)),
        ("A " + RESULT, Final("予約をお願いします。", "", 800, 2400)),
        ("A " + REJECTED, Final("", "o", None, None)),
        ('U {"results":[{"tokens":[{"written":"予約"}],"text":"予約"}],"text":"予約..."}', Interim("予約")),
        ('U {"text":"..."}', Interim("")),
        ("U {}", Interim("")),
        ("A {}", Final("", "", None, None)),
        ('A {"results":[],"text":"はい","code":"","message":""}', Final("はい", "", None, None)),
        ('A {"results":null,"text":null,"code":null}', Final("", "", None, None)),
        ('A {"results":[{"starttime":"800","endtime":1e400}],"text":"はい"}', Final("はい", "", None, None)),
        ("C", None),
        ("G 1 2 3", None),
        ("Q", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_packets(line: str, packet: object, ending: str) -> None:
    assert decode(line + ending) == packet


@pytest.mark.parametrize(
    ("line", "command", "fatal"),
    [
        ("s received illegal service authorization", "s", True),
        ("s can't connect to recognizer server", "s", False),
        ("p can't feed audio data to recognizer server", "p", False),
        ("p received unsupported audio format", "p", True),
        ("p session timeout occurred", "p", False),
        ("e timeout occurred", "e", False),
        ("e timeout occurred while recognizing audio data from client", "e", False),
    ],
)
def test_errors_say_whether_trying_again_could_help(line: str, command: str, fatal: bool) -> None:
    packet = decode(line + "\r\n")
    assert packet == Failed(command, line[2:])
    assert isinstance(packet, Failed)
    assert packet.fatal is fatal


@pytest.mark.parametrize("code", ["-", "+"])
def test_a_result_that_blames_the_key_or_the_format_is_fatal(code: str) -> None:
    packet = decode(json.dumps({"text": "", "code": code, "message": "x"}).join(["A ", ""]))
    assert isinstance(packet, Final)
    assert packet.code in amivoice.FATAL_CODES


@pytest.mark.parametrize(
    "line", ["S", "S soon", "S -5", "S 1.5", "E " + "9" * 400, "A", "A hello", "A []", "U 5", "A " + "[" * 100_000]
)
def test_what_cannot_be_read_is_amivoices_fault_and_is_not_shown(line: str) -> None:
    with pytest.raises(RemoteError) as caught:
        decode(line)
    assert caught.value.service == "amivoice"
    assert "hello" not in str(caught.value)


def test_half_a_character_goes_no_further() -> None:
    assert decode(r'A {"text":"\ud83dはい"}') == Final("?はい", "", None, None)


@given(st.text(max_size=200))
def test_no_text_raises_anything_but_our_own_error(line: str) -> None:
    with contextlib.suppress(RemoteError):
        decode(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["results", "text", "code", "message", "starttime", "endtime", "tokens"])
near_results = st.dictionaries(
    fields, json_values | st.lists(st.dictionaries(fields, json_values, max_size=4), max_size=2), max_size=5
)


@given(st.sampled_from("AUSEspeCGQ"), near_results | json_values)
def test_no_json_raises_anything_but_our_own_error(tag: str, body: object) -> None:
    with contextlib.suppress(RemoteError):
        packet = decode(f"{tag} {json.dumps(body)}")
        if isinstance(packet, Final):
            packet.text.encode()


# --- to AmiVoice --------------------------------------------------------------------------------------------------


def test_the_start_command() -> None:
    # AmiVoice API manual, "s command": interim results come only when their interval is asked for.
    assert amivoice.start("KEY", "-a-general") == "s MULAW -a-general authorization=KEY resultUpdatedInterval=200"


def test_values_with_spaces_and_quotes_are_quoted() -> None:
    assert amivoice.start('a "b" c', "-a-general").split(" ", 3)[3].startswith('authorization="a ""b"" c" ')


@given(st.binary(max_size=2000))
def test_audio_is_one_binary_packet(ulaw: bytes) -> None:
    assert amivoice.audio(ulaw) == b"p" + ulaw
    assert isinstance(amivoice.END, str)
