"""A customer on this machine: a web site that answers webhooks, a media server, a client of the API; and TwiML."""

from __future__ import annotations

import base64
import json
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Request, Response

from emulator import readable_voice
from emulator.twilio import Caller

ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "a-token-for-tests"
NUMBER = "+815011112222"
CALLER = "+819011112222"

Page = str | Response | Callable[[MultiDict[str, str]], str | Response]


def response(*verbs: str) -> str:
    return '<?xml version="1.0" encoding="UTF-8"?><Response>' + "".join(verbs) + "</Response>"


def say(text: str) -> str:
    return f'<Say language="ja-JP" voice="Polly.Kazuha-Neural">{text}</Say>'


class Site:
    """What the customer serves, by path. Every request must carry a right signature, else 403."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.checks_signature = True
        self._posted: list[tuple[str, MultiDict[str, str]]] = []
        self._changed = threading.Condition()

    def answer(self, url: str, path: str, form: MultiDict[str, str], signature: str) -> Response:
        if self.checks_signature and not RequestValidator(TOKEN).validate(url, form, signature):
            return Response("bad signature", 403)
        with self._changed:
            self._posted.append((path, form))
            self._changed.notify_all()
        page = self.pages.get(path)
        if page is None:
            return Response(status=404)
        found = page if isinstance(page, str | Response) else page(form)
        return Response(found, content_type="text/xml; charset=utf-8") if isinstance(found, str) else found

    def posted(self, path: str) -> list[MultiDict[str, str]]:
        with self._changed:
            return [form for seen, form in self._posted if seen == path]

    def wait_for(self, path: str, count: int = 1, timeout: float = 10.0) -> list[MultiDict[str, str]]:
        with self._changed:
            enough = self._changed.wait_for(lambda: len([1 for p, _ in self._posted if p == path]) >= count, timeout)
        assert enough, f"{path} was asked {len(self.posted(path))} times, not {count}"
        return self.posted(path)

    def fetch(
        self, _method: str, url: str, headers: Any, form: MultiDict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """The site without a socket, for a virtual clock."""
        path = "/" + url.split("/", 3)[3].partition("?")[0]
        answered = self.answer(url, path, form, headers.get("X-Twilio-Signature", ""))
        return answered.status_code, dict(answered.headers), answered.data

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        url = f"https://{request.host}{request.full_path.rstrip('?')}"
        reply = self.answer(url, request.path, request.form, request.headers.get("X-Twilio-Signature", ""))
        return reply(environ, start_response)


class MediaServer:
    """A WebSocket server whose behaviour a test gives; keeps every message it got."""

    def __init__(self) -> None:
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self.paths: list[str] = []
        self.signatures: list[str | None] = []
        self.headers: list[dict[str, str]] = []
        self.behave: Callable[[Talk], None] = lambda talk: talk.listen()
        self.refuse_with: int | None = None
        self._server = serve(self._handle, "127.0.0.1", 0, process_request=self._admit, compression=None)
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _admit(self, connection: ServerConnection, request: Any) -> Any:
        self.paths.append(request.path)
        self.headers.append({name.lower(): value for name, value in request.headers.raw_items()})
        self.signatures.append(request.headers.get("X-Twilio-Signature"))
        if self.refuse_with:
            return connection.respond(self.refuse_with, "no\n")
        return None

    def _handle(self, connection: ServerConnection) -> None:
        talk = Talk(connection, self.messages)
        try:
            self.behave(talk)
        except ConnectionClosed:
            return

    def wait_for(self, event: str, timeout: float = 10.0) -> dict[str, Any]:
        while True:
            message = self.messages.get(timeout=timeout)
            if message["event"] == event:
                return message

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(5)


class Talk:
    """One connection as the server's handler sees it."""

    def __init__(self, connection: ServerConnection, messages: queue.Queue[dict[str, Any]]) -> None:
        self.connection = connection
        self.seen: list[dict[str, Any]] = []
        self.sid = ""
        self._messages = messages

    def receive(self) -> dict[str, Any]:
        message = json.loads(self.connection.recv(timeout=20))
        self.sid = message.get("streamSid", "")
        self.seen.append(message)
        self._messages.put(message)
        return message

    def until(self, event: str) -> dict[str, Any]:
        while (message := self.receive())["event"] != event:
            continue
        return message

    def listen(self) -> None:
        while True:
            self.receive()

    def send(self, event: str, **body: Any) -> None:
        self.connection.send(json.dumps({"event": event, "streamSid": self.sid} | body))


def voice(text: str) -> bytes:
    return readable_voice.speak(text)


class Rewriting(TwilioHttpClient):
    """Sends what is meant for api.twilio.com to the emulator."""

    def __init__(self, base):
        super().__init__(timeout=10)
        self.base = base

    def request(self, method, url, *args, **more):
        return super().request(method, url.replace("https://api.twilio.com", self.base), *args, **more)


def client(carrier, token=TOKEN):
    return Client(ACCOUNT, token, http_client=Rewriting(carrier.url))


def refused(action) -> tuple[int, int]:
    with pytest.raises(TwilioRestException) as caught:
        action()
    return caught.value.status, caught.value.code


STREAM_URL = "wss://stream.test/ws"


def start_stream(more="", inner=""):
    return f'<Start><Stream url="{STREAM_URL}" name="g1" statusCallback="/stream" {more}>{inner}</Stream></Start>'


def connect_stream(inner="", url=STREAM_URL):
    return f'<Connect><Stream url="{url}" statusCallback="/stream">{inner}</Stream></Connect>'


def ring(carrier, *steps, **more):
    return carrier.dial(to=NUMBER, from_=CALLER, caller=Caller(steps, **({"ring_seconds": 0} | more)))


def media_of(ulaw):
    return {"media": {"payload": base64.b64encode(ulaw).decode()}}


def stream_events(site):
    return [(form["StreamEvent"], form.get("StreamError", "")[:5]) for form in site.posted("/stream")]
