"""Log lines that the product has really written: by whole calls, and by the parts that a call seldom reaches.

What the metrics make of them is `test_metrics.py`'s.
"""

import contextlib
import fcntl
import io
import json
import logging
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import functions_framework
import pytest
import websocket

from callbot import logs
from callbot.calls import Turn
from callbot.errors import StoreError
from callbot.store import CallStore, PutTurn, Write
from callbot.store_sqlite import SqliteCallStore
from emulator.openai.faults import DropConnection, FailResponse, RefuseHandshake
from emulator.twilio import Do, HangUp, Listen
from emulator.twilio.signing import HEADER, sign
from stream_service.commands import Note
from stream_service.stream_log import StreamLog
from stream_service.wire import openai_usage
from stream_service.writer import StoreWriter
from tests.calls.system import System, until
from tests.calls.test_streams_by_hand import REFUSED, HandHeldCall
from tests.infra.log_filter import Entry, entry

MAIN = Path(__file__).parents[2] / "functions" / "main.py"
FUNCTION, STREAM = "callbot-incoming-call", "callbot-stream"
PATIENCE = 15.0


def entries(shared: Path) -> list[Entry]:
    """The lines as Cloud Logging's entries, made once for all processes that use the folder `shared`."""
    kept = shared / "emitted.json"
    with kept.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a holder has deadlines of its own
        if not kept.exists():
            folder = shared / f"emitted-{secrets.token_hex(4)}"
            folder.mkdir()
            kept.write_text("\n".join([*_of_calls(folder), *_of_functions(folder), *_of_the_stream_service()]))
    return [entry(line, _service(line)) for line in kept.read_text().splitlines()]


def _service(line: str) -> str:
    """Whose line it is. Of the functions one stands for all: they share one code, and the filters name all of them."""
    return STREAM if json.loads(line)["logger"].startswith("stream_service") else FUNCTION


def _of_calls(folder: Path) -> list[str]:
    with System(folder) as system:
        system.openai.faults.next(RefuseHandshake(401))
        system.openai.faults.next(DropConnection(at_audio_ms=1000))
        fail = Do(lambda _: system.openai.faults.next(FailResponse()))
        price = system.says("price")
        calls = [system.dial("amivoice", Listen(), price, Listen(until_quiet=2.0), price, Listen(), HangUp())]
        for step in ((), (), (fail,), ()):
            if step:  # the refusal, which ends a call, has to have met another one
                until(lambda: any('"vendor failed"' in line for line in system.log))
            calls.append(system.dial("realtime", Listen(), *step, price, Listen(), HangUp()))
        _refused(system)
        for call in calls:
            call.wait(50)
            until(lambda sid=call.sid: any(line.get("event") == "call ended" for line in system.events(sid)))
    return [line for line in system.log if line.startswith("{")]


def _refused(system: System) -> None:
    """Somebody knocks at every door: a webhook, the trigger, a stream's handshake, a stream without a ticket."""
    for path in ("/twiml", "/outgoing-call"):
        request = urllib.request.Request(system.functions.url + path, b"CallSid=CA1", {HEADER: "wrong"})
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=PATIENCE)
    address = f"ws://{urllib.parse.urlsplit(system.stream.url).netloc}/ws"
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(address, header=[f"{HEADER}: wrong"], timeout=PATIENCE)
    with HandHeldCall(system, "realtime").stream() as stream:
        stream.start(customParameters={})
        assert stream.close_code() == REFUSED


def _of_functions(folder: Path) -> list[str]:
    """A mistake of ours in a webhook, and a store that is down, in a function as it is deployed."""

    def mistaken(*_: object) -> None:
        raise RuntimeError("a mistake")

    def down(*_: object) -> None:
        raise StoreError("unavailable")

    settings = {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
        "TWILIO_PHONE_NUMBER": "+815011112222",
        "FUNCTIONS_URL": "https://callbot.test",
        "STREAM_URL": "wss://stream.test/ws",
        "STREAM_TICKET_SECRET": "ticket-secret",
        "CALL_STORE": f"sqlite:{folder / 'functions.db'}",
        "FUNCTION_TARGET": "",
    }
    form = {"CallSid": "CA" + "b" * 32, "AccountSid": settings["TWILIO_ACCOUNT_SID"], "From": "+819011112222"}
    form |= {"To": settings["TWILIO_PHONE_NUMBER"], "CallStatus": "ringing", "Direction": "inbound"}
    signed = sign(settings["TWILIO_AUTH_TOKEN"], "https://callbot.test/twiml", form.items())
    with pytest.MonkeyPatch.context() as patch, logged() as written:
        for name, value in settings.items():
            patch.setenv(name, value)
        client = functions_framework.create_app(target="twiml", source=str(MAIN)).test_client()
        logs.configure("info", written)
        for failure in (mistaken, down):
            patch.setattr(SqliteCallStore, "begin", failure)
            assert client.post("/", data=form, headers={HEADER: signed}).status_code == 200
    return written.getvalue().splitlines()


def _of_the_stream_service() -> list[str]:
    """A write that the store refuses, an answer that came too late, and one of each kind of thing that is billed."""

    at = time.time()
    late = {"speech_end": at, "transcript": at + 0.3, "first_token": at + 3.4, "first_sentence": at + 3.6}
    late |= {"first_words_out": at + 3.7, "delivered": at + 3.8}
    turn = Turn(1, "agent", "はい。", "amivoice", 1, datetime.now(UTC), heard="はい。", timings=late)
    told = {"input_tokens": 90, "output_tokens": 60, "output_token_details": {"audio_tokens": 40}}
    told |= {
        "input_token_details": {"audio_tokens": 50, "cached_tokens": 30, "cached_tokens_details": {"audio_tokens": 10}}
    }
    with logged() as written:
        writer = StoreWriter(_Refusing())
        writer.put("turn 1", PutTurn("CA" + "c" * 32, turn))
        writer.stop(PATIENCE)
        log = StreamLog(1, {})
        log.bill(openai_usage.of_response(told))
        log.bill(openai_usage.of_transcript({"seconds": 12.0}))
        log.bill(openai_usage.of_transcript({"input_tokens": 20, "output_tokens": 10}))
        log.bill({"recognition_ms": 2500, "cut_text_tokens_in": 100, "cut_text_tokens_out": 3})
        for note in [*log.kept(turn), log.usage("a-model", 61.0, reads_aloud=True)]:
            _note(note)
    return written.getvalue().splitlines()


class _Refusing(CallStore):
    """A store for which every write is too large."""

    def write_all(self, writes: Sequence[Write]) -> None:
        raise StoreError(f"{len(writes)} too large", retryable=False)


def _note(note: Note) -> None:
    """As the relay does it."""
    logger = logging.getLogger("stream_service.relay")
    logs.event(logger, note.name, call_sid="CA" + "c" * 32, severity=note.severity, engine="amivoice", **note.fields)


@contextlib.contextmanager
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged meanwhile, as the product writes it; the test's own logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    logs.configure("info", written)
    try:
        yield written
    finally:
        root.handlers[:], root.level = handlers, level
