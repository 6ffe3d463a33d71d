"""The service on a real port, vendors who only count their visitors, and a Twilio that knocks."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import websocket
from twilio.request_validator import RequestValidator
from werkzeug.serving import make_server

from callbot import tickets
from callbot.settings import Part, Settings
from callbot.store_sqlite import SqliteCallStore
from callbot.tickets import Ticket
from stream_service.app import create_app
from stream_service.services import Services

PATIENCE = 10.0
SECRET = "ticket-secret"
TOKENS = ("token", "old-token")
STREAM_URL = "wss://stream.example/ws"
TICKET = Ticket("CA1", 1, "takumi", "amivoice", "https://functions.example")


class Vendors:
    """A port where every vendor is said to be; it counts who comes."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.visited = threading.Event()
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            while True:
                self._connections.append(self._server.accept()[0])
                self.visited.set()
        except OSError:
            pass

    def close(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.close()


class Door:
    """The service on a real port."""

    def __init__(self, folder: Path, vendors: Vendors, **changes: str) -> None:
        here = f"127.0.0.1:{vendors.port}"
        self.settings = Settings.read(
            {
                "TWILIO_ACCOUNT_SID": "AC1",
                "TWILIO_AUTH_TOKEN": ",".join(TOKENS),
                "OPENAI_API_KEY": "sk-key",
                "AMIVOICE_API_KEY": "ami-key",
                "STREAM_URL": STREAM_URL,
                "STREAM_TICKET_SECRET": SECRET,
                "AMIVOICE_URL": f"ws://{here}/v1/",
                "OPENAI_BASE_URL": f"http://{here}/v1",
                "OPENAI_REALTIME_URL": f"ws://{here}/v1/realtime",
                "TWILIO_API_URL": f"http://{here}",
                **changes,
            },
            Part.STREAM,
        )
        self.store = SqliteCallStore(str(folder / "calls.db"))
        self.services = Services(self.settings, store=self.store)
        app = create_app(services=self.services)
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self._sockets: list[websocket.WebSocket] = []

    def ask(self, path: str, **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def knock(self, *signatures: str) -> websocket.WebSocket:
        """A handshake as Twilio makes it."""
        ws = websocket.create_connection(
            f"ws://127.0.0.1:{self.port}/ws",
            header=[f"X-Twilio-Signature: {signature}" for signature in signatures],
            timeout=PATIENCE,
        )
        self._sockets.append(ws)
        return ws

    def stream(self, *, call_sid: str = "CA1", account: str = "AC1", **parameters: Any) -> websocket.WebSocket:
        """A stream that has said `connected` and `start`."""
        ws = self.knock()
        ws.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
        start = {"accountSid": account, "callSid": call_sid, "streamSid": "MZ1", "customParameters": parameters}
        ws.send(json.dumps({"event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": start}))
        return ws

    def stop(self) -> None:
        for ws in self._sockets:
            ws.shutdown()
        self._server.shutdown()
        self.services.stop()
        self._server.server_close()


def signed(token: str = TOKENS[0], url: str = STREAM_URL) -> str:
    return str(RequestValidator(token).compute_signature(url, {}))


def ticket(secret: str = SECRET, **changes: Any) -> str:
    return tickets.issue(TICKET._replace(**changes), secret)


def close_code(ws: websocket.WebSocket) -> int:
    """The close code with which the service ends this stream, whatever it says before."""
    while True:
        opcode, data = ws.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int.from_bytes(data[:2], "big")


def until(condition: Callable[[], Any]) -> Any:
    """What `condition` gives once it is true; for what the service's threads do."""
    pause, deadline = threading.Event(), time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline
        pause.wait(0.01)
    return value
