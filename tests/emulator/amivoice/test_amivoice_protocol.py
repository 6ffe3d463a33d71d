"""The emulated AmiVoice's commands, states, errors and limits, and every way it can be made to fail."""

import contextlib
import time

import pytest
from amivoice_client import KEY, START, Dial
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from emulator.amivoice import AmiVoice
from emulator.amivoice_commands import CommandError, Start, parse_start, redacted
from emulator.amivoice_faults import (
    CarriageReturns,
    DelayEnd,
    Drop,
    EmptyResults,
    Fault,
    FeedError,
    Freeze,
    RefuseConnection,
    RefuseStart,
    RejectUtterances,
    SlowResults,
    StallStart,
    TimeoutNotice,
)
from emulator.amivoice_recognition import Recognition
from emulator.amivoice_report import Habits, SessionReport
from emulator.audio import silence
from emulator.recordings import Library

FEED_ERROR = "p can't feed audio data to recognizer server"
REFUSED = "s received illegal service authorization"


# --- the grammar of s -------------------------------------------------------------------------------------------


def test_a_start_command_with_everything() -> None:
    start = parse_start(
        's mulaw -a-general authorization=K resultUpdatedInterval=500 profileWords="予約 よやく|say ""hi"" x"'
        ' segmenterProperties="useDiarizer=0 postTime=600 strange=x" extension=billing_key=prod unknown=1'
    )
    assert isinstance(start, Start)
    assert (start.audio_format, start.engine, start.authorization) == ("MULAW", "-a-general", "K")
    assert start.updated_interval_ms == 500
    assert start.segmenter == {"useDiarizer": 0, "postTime": 600}
    assert start.parameters["profileWords"] == '予約 よやく|say "hi" x'
    assert start.parameters["extension"] == "billing_key=prod"


@pytest.mark.parametrize(
    "line",
    [
        "s",
        "s MULAW",
        "s MULAW -a-general",
        "s MULAW -a-general resultUpdatedInterval=500",
        "s MULAW  authorization=K",
        "s MP3 -a-general authorization=K",
        's MULAW -a-general authorization="K',
        's MULAW -a-general authorization="K"x',
        "s MULAW -a-general authorization=K  resultUpdatedInterval=5",
        "s MULAW -a-general authorization=K resultUpdatedInterval=soon",
        "s MULAW -a-general authorization=K keepFillerToken=2",
        "s MULAW -a-general authorization=K profileId=__system",
        's MULAW -a-general authorization=K segmenterProperties="postTime=-1"',
        "s MULAW -a-general authorization",
    ],
)
def test_malformed_starts_are_refused(line: str) -> None:
    with pytest.raises(CommandError):
        parse_start(line)


@given(st.text())
def test_no_start_command_raises_anything_else(tail: str) -> None:
    with contextlib.suppress(CommandError):
        parse_start("s MULAW -a-general authorization=K " + tail)


def test_the_key_is_kept_nowhere(amivoice: AmiVoice, dial: Dial) -> None:
    dial(amivoice)
    assert KEY not in repr(amivoice.sessions)
    assert redacted('s MULAW x authorization="a ""b"" c" y=1') == "s MULAW x authorization=*** y=1"


# --- states -----------------------------------------------------------------------------------------------------


def test_a_session_ends_and_another_begins_on_the_same_socket(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    client = dial(amivoice)
    client.feed(silence(3000) + library["two-persons"].ulaw)
    client.send("e")
    client.until("e")
    assert client.tags.endswith("EAe")  # what was still being said is recognised first
    client.send(START)
    assert client.next() == "s"
    client.say(library["hai"].ulaw)
    assert client.until("S") == "S 100"  # times start again
    assert client.result()["text"] == "はい。"


@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        ([b"p" + silence(20)], FEED_ERROR),
        (["e"], "e can't end: no session is going on"),
        ([START, START], "s can't start: a session is going on or has failed"),
        ([START, b"q" + silence(20)], "p received unsupported audio format"),
        ([START, b""], "p received unsupported audio format"),
        ([START, "p"], "e received unknown command"),
        (["hello"], "e received unknown command"),
        ([START, "e", b"p"], FEED_ERROR),
    ],
)
def test_what_does_not_fit_the_state_is_an_error(
    amivoice: AmiVoice, dial: Dial, messages: list[str | bytes], answer: str
) -> None:
    client = dial(amivoice, start=None)
    for message in messages:
        client.send(message)
    while (said := client.next()) in ("s", "e"):
        pass
    assert said == answer
    # Only a new connection helps, whatever is tried.
    client.send(START)
    assert client.next().startswith("s ")
    assert amivoice.sessions[0].errors[0] == answer


def test_a_wrong_key_is_refused(amivoice: AmiVoice, dial: Dial) -> None:
    client = dial(amivoice, start=None)
    client.send(START.replace(KEY, "wrong"))
    assert client.next() == REFUSED


def test_paths(amivoice: AmiVoice) -> None:
    with connect(amivoice.url + "nolog/") as socket:
        socket.send(START)
        assert socket.recv(timeout=5) == "s"
    with pytest.raises(InvalidStatus) as refused:
        connect(amivoice.url.replace("/v1/", "/v2/"))
    assert refused.value.response.status_code == 404


# --- limits -----------------------------------------------------------------------------------------------------


def test_sending_nothing_ends_the_connection(impatient: AmiVoice, dial: Dial) -> None:
    client = dial(impatient)
    assert client.next() == "e timeout occurred"
    with pytest.raises(ConnectionClosed):
        client.next()


def test_sending_nothing_in_mid_session_says_so(impatient: AmiVoice, dial: Dial) -> None:
    client = dial(impatient)
    client.feed(silence(100))
    assert client.next() == "e timeout occurred while recognizing audio data from client"


def test_silence_alone_ends_the_session(impatient: AmiVoice, dial: Dial, library: Library) -> None:
    client = dial(impatient)
    client.say(library["hai"].ulaw)  # speech starts the count again
    client.feed(silence(2000))
    client.feed(silence(1500), chunk=12_000)  # in one message: the server does not wait for a second one
    assert client.until("p") == FEED_ERROR
    with pytest.raises(ConnectionClosed):
        client.next()
    assert impatient.sessions[0].closed == "closed by the server"


# --- faults -----------------------------------------------------------------------------------------------------


def test_faults_spoil_one_connection_each(amivoice: AmiVoice, dial: Dial) -> None:
    amivoice.faults.next(RefuseStart())
    amivoice.faults.next()
    amivoice.faults.next(RefuseStart("no servers"))
    answers = []
    for _ in range(4):
        client = dial(amivoice, start=None)
        client.send(START)
        answers.append(client.next())
    assert answers == [REFUSED, "s", "s no servers", "s"]


def test_the_connection_is_refused(amivoice: AmiVoice) -> None:
    amivoice.faults.next(RefuseConnection(503))
    with pytest.raises(InvalidStatus) as refused:
        connect(amivoice.url)
    assert refused.value.response.status_code == 503


def test_the_answer_to_start_never_comes(amivoice: AmiVoice, dial: Dial) -> None:
    amivoice.faults.next(StallStart())
    client = dial(amivoice, start=None)
    client.send(START)
    with pytest.raises(TimeoutError):
        client.next(0.3)


def test_the_line_drops_at_a_moment_of_the_audio(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    amivoice.faults.next(Drop(at_ms=1000))
    client = dial(amivoice)
    client.feed(silence(900))
    with pytest.raises(TimeoutError):
        client.next(0.2)
    client.feed(silence(100))
    with pytest.raises(ConnectionClosedError) as lost:
        client.next()
    assert lost.value.rcvd is None  # no close frame
    assert amivoice.sessions[0].closed == "dropped"


def test_the_line_freezes(amivoice: AmiVoice, dial: Dial) -> None:
    amivoice.faults.next(Freeze(at_ms=100))
    client = dial(amivoice)
    client.feed(silence(200))
    deadline = time.monotonic() + 5
    while client.socket.ping().wait(0.2):  # pongs stop with everything else
        assert time.monotonic() < deadline
    assert amivoice.sessions[0].closed == "frozen"
    with pytest.raises(TimeoutError):
        client.next(0.1)


@pytest.mark.parametrize(
    ("fault", "answer"),
    [(FeedError(at_ms=500), FEED_ERROR), (TimeoutNotice(at_ms=500), "e timeout occurred")],
)
def test_an_error_in_mid_stream(amivoice: AmiVoice, dial: Dial, fault: Fault, answer: str) -> None:
    amivoice.faults.next(fault)
    client = dial(amivoice)
    client.feed(silence(2000))
    assert client.next() == answer
    assert amivoice.sessions[0].closed is None


def test_the_last_result_comes_before_a_late_end(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    amivoice.faults.next(DelayEnd(0.4))
    client = dial(amivoice)
    client.feed(library["two-persons"].ulaw)
    asked = time.monotonic()
    client.send("e")
    client.until("A")
    client.until("e")
    assert time.monotonic() - asked >= 0.4


def test_results_that_are_no_use(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    amivoice.faults.next(RejectUtterances(2))
    amivoice.faults.next(EmptyResults(1))
    client = dial(amivoice)
    for _ in range(3):
        client.say(library["hai"].ulaw)
    assert [client.result()["code"] for _ in range(3)] == ["o", "o", ""]
    client = dial(amivoice)
    for _ in range(2):
        client.say(library["hai"].ulaw)
    first, second = client.result(), client.result()
    assert (first["text"], first["code"], second["text"]) == ("", "", "はい。")


def test_a_slow_result_comes_after_the_next_beginning(amivoice: AmiVoice, dial: Dial, library: Library) -> None:
    amivoice.faults.next(SlowResults(1.0))
    client = dial(amivoice)
    client.say(library["hai"].ulaw)
    client.say(library["un"].ulaw)
    client.until("A")
    assert client.tags.count("S") == 2


def test_lines_may_end_in_carriage_returns(amivoice: AmiVoice, dial: Dial) -> None:
    amivoice.faults.next(CarriageReturns())
    client = dial(amivoice)
    assert client.messages == ["s\r\n"]


# --- hostile input ----------------------------------------------------------------------------------------------

MESSAGES = st.one_of(
    st.text(max_size=40),
    st.binary(max_size=400),
    st.sampled_from([START, "s", "e", "p", b"p", b"p" + silence(300), START.replace("MULAW", "LSB8K")]),
    st.binary(max_size=4000).map(lambda audio: b"p" + audio),
)


@given(st.lists(MESSAGES, max_size=12))
def test_no_sequence_of_messages_raises(library: Library, messages: list[str | bytes]) -> None:
    report = SessionReport("/v1/")
    recognition = Recognition(library, Habits(keys=frozenset({KEY})), (), report, now=0.0)
    for number, message in enumerate(messages):
        before = len(recognition.out)
        recognition.receive(message, now=number * 0.1)
        if isinstance(message, str):
            assert len(recognition.out) > before  # every command is answered
        assert recognition.due_in(number * 0.1) >= 0
        recognition.tick(number * 0.1 + 0.05)
    assert all(isinstance(action, str) and action[0] in "spePSECUA" for action in recognition.out)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.text(max_size=20), st.binary(max_size=50)), min_size=1, max_size=5))
def test_the_server_survives_anything(amivoice: AmiVoice, messages: list[str | bytes]) -> None:
    with connect(amivoice.url, compression=None, close_timeout=1) as socket:
        for message in messages:
            socket.send(message)
        assert isinstance(socket.recv(timeout=5), str)
    with connect(amivoice.url, compression=None, close_timeout=1) as socket:
        socket.send(START)
        assert socket.recv(timeout=5) == "s"
