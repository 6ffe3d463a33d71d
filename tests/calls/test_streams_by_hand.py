"""Streams opened by hand, message by message: what is heard from the first word on, and every way a stream may end.

The test stands where Twilio stands, because Twilio's emulator does nothing wrong. Whole conversations are elsewhere,
and so is everything that a handshake or a ticket may be refused for (`stream_service/test_app.py`).
"""

import base64
import contextlib
import json
import secrets
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest
import websocket

from callbot.settings import SETTINGS
from emulator.audio import silence
from emulator.twilio.signing import HEADER, sign
from emulator.vendors import AMIVOICE_NUMBER, REALTIME_NUMBER
from tests.calls.system import CALLER, System, until

PATIENCE = 15.0
FRAME = 160  # bytes: 20 ms
REFUSED = 1008


class Stream:
    """One media stream of a call, as far as the test has opened it."""

    def __init__(self, system: System, call: "HandHeldCall") -> None:
        self._call = call
        address = urllib.parse.urlsplit(system.stream.url).netloc
        signature = sign(system.carrier.auth_token, call.stream_url)
        self.socket = websocket.create_connection(
            f"ws://{address}/ws", header=[f"{HEADER}: {signature}"], timeout=PATIENCE
        )

    def send(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def connected(self) -> None:
        self.send(event="connected", protocol="Call", version="1.0.0")

    def start(self, **changes: Any) -> None:
        call = self._call
        start: dict[str, Any] = {
            "accountSid": call.account,
            "streamSid": "MZ1",
            "callSid": call.sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": call.parameters,
        }
        self.send(event="start", sequenceNumber="1", start=start | changes, streamSid="MZ1")

    def speak(self, ulaw: bytes) -> None:
        for n, at in enumerate(range(0, len(ulaw), FRAME)):
            payload = base64.b64encode(ulaw[at : at + FRAME].ljust(FRAME, b"\xff")).decode()
            media = {"track": "inbound", "chunk": str(n), "timestamp": str(20 * n), "payload": payload}
            self.send(event="media", media=media, streamSid="MZ1")

    def close_code(self) -> int:
        """How the service closed it; what it says before is let pass."""
        while True:
            opcode, data = self.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2], "big")


class HandHeldCall:
    """A call that the functions have answered, and whose stream is the test's to open."""

    def __init__(self, system: System, engine: str) -> None:
        self._system = system
        self.account = system.carrier.account_sid
        self.sid = "CA" + secrets.token_hex(16)
        number = AMIVOICE_NUMBER if engine == "amivoice" else REALTIME_NUMBER
        url = system.carrier.numbers[number].voice_url
        form = {
            "CallSid": self.sid,
            "AccountSid": self.account,
            "From": CALLER,
            "To": number,
            "CallStatus": "ringing",
            "Direction": "inbound",
        }
        request = urllib.request.Request(
            system.functions.url + urllib.parse.urlsplit(url).path,
            urllib.parse.urlencode(form).encode(),
            {HEADER: sign(system.carrier.auth_token, url, form.items())},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            document = ET.fromstring(answer.read())  # noqa: S314  (our own document)
        opened = document.find(".//Stream")
        assert opened is not None
        self.stream_url = opened.attrib["url"]
        self.parameters = {one.attrib["name"]: one.attrib["value"] for one in opened.iter("Parameter")}

    @contextlib.contextmanager
    def stream(self) -> Iterator[Stream]:
        stream = Stream(self._system, self)
        try:
            yield stream
        finally:
            stream.socket.shutdown()

    def noted(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self._system.events(self.sid) if line.get("event") == event]


def sessions(system: System) -> int:
    """How often a vendor has been asked for anything that is paid for."""
    return len(system.amivoice.sessions) + len(system.openai.sessions)


def refusals(system: System) -> list[str]:
    lines = [json.loads(line) for line in list(system.log) if '"stream refused"' in line]
    return [line["reason"] for line in lines]


@pytest.mark.parametrize("engine", ["amivoice", "realtime"])
def test_a_ticket_lets_one_stream_in(system: System, engine: str) -> None:
    call, before = HandHeldCall(system, engine), sessions(system)
    with call.stream() as first, call.stream() as second:
        first.connected()
        first.start()
        until(lambda: sessions(system) == before + 1)
        second.connected()
        second.start()
        assert second.close_code() == REFUSED
    until(lambda: call.noted("stream closed"))
    assert [line["generation"] for line in call.noted("stream opened")] == [1]
    assert sessions(system) == before + 1, "one session a stream, and none for the stranger"


def heard_of(system: System, engine: str) -> list[Any]:
    """What the newest session made of the caller's audio."""
    if engine == "amivoice":
        return [utterance.recognised for utterance in system.amivoice.sessions[-1].utterances]
    return [turn.recognised for turn in system.openai.sessions[-1].turns]


@pytest.mark.parametrize("engine", ["amivoice", "realtime"])
def test_words_right_behind_the_start_are_heard_whatever_comes_with_them(
    system: System, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They interrupt the greeting, so Twilio is told; and as it does not know this call, it would say that it is over.
    monkeypatch.setattr(system.carrier.faults, "rest_429_times", 1_000)
    call, before = HandHeldCall(system, engine), sessions(system)
    words = system.vendors.library["opening-hours"]
    with call.stream() as stream:
        stream.connected()
        stream.start()
        stream.speak(words.ulaw[: 50 * FRAME])  # the vendor's session does not exist yet
        stream.socket.send_binary(b"\x00" * 100)  # Twilio sends none
        stream.socket.send("no JSON")
        stream.send(event="a-message-of-tomorrow", streamSid="MZ1")
        stream.speak(words.ulaw[50 * FRAME :] + silence(1500))
        until(lambda: sessions(system) > before and heard_of(system, engine))
        turns = until(lambda: [turn for turn in system.record(call.sid)["turns"] if turn["role"] == "caller"])
    assert [found.intact for found in heard_of(system, engine)] == [True]
    assert [turn["text"].rstrip("。") for turn in turns] == [words.text.rstrip("。")]
    if engine == "realtime":
        default = {setting.name: setting.default for setting in SETTINGS}
        assert system.openai.sessions[-1].model == default["OPENAI_REALTIME_MODEL"]


@pytest.mark.parametrize("how", ["stop", "close", "reset"])
@pytest.mark.parametrize("engine", ["amivoice", "realtime"])
def test_however_a_stream_ends_its_vendor_is_let_go(system: System, engine: str, how: str) -> None:
    call, before = HandHeldCall(system, engine), sessions(system)
    with call.stream() as stream:
        stream.start()
        stream.speak(silence(400))
        until(lambda: sessions(system) > before)
        session = (system.amivoice if engine == "amivoice" else system.openai).sessions[-1]
        heard = "bytes_received" if engine == "amivoice" else "audio_bytes"
        until(lambda: getattr(session, heard) > 0)
        if how == "stop":
            stream.send(event="stop", stop={"accountSid": call.account, "callSid": call.sid}, streamSid="MZ1")
        elif how == "close":
            stream.socket.send_close()
        else:
            stream.socket.sock.close()
        until(lambda: session.closed)
        (closed,) = until(lambda: call.noted("stream closed"))
    assert closed["reason"] == ("caller hung up" if how == "stop" else "stream lost")
    if engine == "amivoice":
        assert session.commands[-1] == "e", "AmiVoice was not told that the session is over"
    assert [line for line in system.events(call.sid) if line["severity"] == "ERROR"] == []


def test_a_stream_that_goes_before_its_start_costs_nothing(system: System) -> None:
    call, before, told = HandHeldCall(system, "amivoice"), sessions(system), len(refusals(system))
    with call.stream() as polite, call.stream() as rude:
        polite.connected()
        polite.socket.send_close()
        rude.socket.sock.close()
    until(lambda: len(refusals(system)) >= told + 2)
    assert all(reason.startswith("gone before start") for reason in refusals(system)[told:])
    assert sessions(system) == before
    with urllib.request.urlopen(f"{system.stream.url}/health", timeout=PATIENCE) as health:
        assert json.load(health)["status"] == "ok"
