"""`POST /v1/chat/completions` over HTTP: one thread a connection, streaming at a model's pace.

The request is judged in `chat_request`, the answer worded in `chat_stream`. Built on the standard library's
HTTP server because faults need the raw connection: a body without framing, a chunk that breaks off.

Source: OpenAI API reference (chat completions, streaming, error codes): server-sent events `data: {json}`,
a last `data: [DONE]`; errors as `{"error": {...}}`; `retry-after` headers; `x-request-id`.
"""

import contextlib
import hmac
import json
import select
import socket
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from emulator.openai import faults as faults_
from emulator.openai.chat_request import check_request, conversation, offered_tools
from emulator.openai.chat_stream import Answer, wording
from emulator.openai.reports import ChatRequest, Pace
from emulator.openai.schema import ApiError
from emulator.openai.script import Script, decide

_PATH = "/v1/chat/completions"
_LARGEST_BODY = 8 * 1024 * 1024
_IDLE_SECONDS = 60.0
_REQUESTS_KEPT = 10_000


class _ClientClosed(Exception):  # noqa: N818 - an event, not a mistake
    """The client has closed the connection while it was being answered."""


class ChatServer:
    """Answers chat requests on 127.0.0.1 by a script."""

    def __init__(
        self, script: Script, keys: frozenset[str], faults: faults_.OpenAIFaults, pace: Pace, port: int
    ) -> None:
        self.script = script
        self.keys = keys
        self.faults = faults
        self.pace = pace
        self.stopping = threading.Event()
        self._asked_port = port
        self._lock = threading.Lock()
        self._requests: list[ChatRequest] = []
        self._count = 0
        self._http: _Server | None = None

    @property
    def port(self) -> int:
        """The port listened on; valid once started."""
        return self._http.server_address[1] if self._http else self._asked_port

    @property
    def requests(self) -> list[ChatRequest]:
        """Every request that was understood, oldest first."""
        with self._lock:
            return list(self._requests)

    def start(self) -> None:
        """Begins to listen. Raises OSError when the port is taken."""
        self._http = _Server(("127.0.0.1", self._asked_port), self)
        threading.Thread(target=self._http.serve_forever, args=(0.1,), name="emulator-openai-chat", daemon=True).start()

    def stop(self) -> None:
        """Ends every connection."""
        self.stopping.set()
        if self._http:
            self._http.shutdown()
            self._http.server_close()
            self._http.hang_up()

    def remember(self, request: ChatRequest) -> int:
        """Adds a request to the log and numbers it."""
        with self._lock:
            self._count += 1
            self._requests.append(request)
            del self._requests[:-_REQUESTS_KEPT]
            return self._count


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], chat: ChatServer) -> None:
        self.chat = chat
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Binds without looking this machine's name up, which can take seconds where DNS is broken."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remembers the connection, so that a kept-alive one does not outlive the server."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forgets it."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Breaks every connection."""
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that vanish are expected here; nobody wants a traceback for each."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "emulator"
    timeout = _IDLE_SECONDS
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Requests are in ChatServer.requests, not on stderr."""

    def do_POST(self) -> None:
        """The one thing this server does."""
        try:
            body = self._read_body()
            if self.path.partition("?")[0] != _PATH:
                raise ApiError(f"Invalid URL (POST {self.path})", status=404)
            self._authorize()
            try:
                parsed = json.loads(body)
            except (ValueError, RecursionError):
                raise ApiError("We could not parse the JSON body of your request.") from None
            self._answer(check_request(parsed))
        except ApiError as refusal:
            self._refuse(refusal)
        except (_ClientClosed, OSError):
            self.close_connection = True

    def _not_here(self) -> None:
        self._refuse(ApiError(f"Invalid URL ({self.command} {self.path})", status=404))
        if self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # the body has not been read

    do_GET = do_HEAD = do_PUT = do_PATCH = do_DELETE = _not_here  # noqa: N815 - the base class's names

    # --- the request ----------------------------------------------------------------------------------------

    def _read_body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > _LARGEST_BODY:
            self.close_connection = True
            raise ApiError("The request needs a Content-Length of at most 8 MiB.", status=413)
        return self.rfile.read(int(length))

    def _authorize(self) -> None:
        scheme, _, key = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            raise ApiError("You didn't provide an API key.", status=401)
        if not any(
            hmac.compare_digest(key.encode("utf-8", "replace"), known.encode()) for known in self.server.chat.keys
        ):
            raise ApiError("Incorrect API key provided.", "invalid_api_key", status=401)

    def _answer(self, body: dict[str, Any]) -> None:
        chat = self.server.chat
        history, instructions = conversation(body)
        tools = offered_tools(body)
        request = ChatRequest(body["model"], history, instructions, list(tools), bool(body.get("stream")), body)
        number = chat.remember(request)
        fault = chat.faults.take(faults_.ChatFault)
        if isinstance(fault, faults_.HttpError):
            request.status = fault.status
            self._fail(fault)
            request.end(type(fault).__name__)
            return
        request.reply = decide(chat.script, history, tools, instructions, body.get("tool_choice", "auto"))
        answer = Answer(request, request.reply, number)
        try:
            if isinstance(fault, faults_.SlowStart):
                self._wait(fault.seconds)
            self._wait(chat.pace.first_token)
            if request.stream:
                self._stream(request, answer, fault)
            else:
                self._wait(len(request.reply.text) / chat.pace.characters_per_second)
                request.sent = request.reply.text
                self._respond(200, answer.body(**wording(fault)))
                request.end(type(fault).__name__ if fault else "complete")
        except (_ClientClosed, OSError):
            request.end("client closed")
            raise

    # --- the stream -------------------------------------------------------------------------------------------

    def _stream(self, request: ChatRequest, answer: Answer, fault: faults_.ChatFault | None) -> None:
        framed = not isinstance(fault, faults_.CleanCut)
        self._begin(200, "text/event-stream; charset=utf-8")
        if framed:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        rate = self.server.chat.pace.characters_per_second
        spoil_at: int | None = getattr(fault, "after_chars", None)
        for piece in answer.pieces(**wording(fault)):
            self._wait(len(piece.text) / rate)
            # An answer shorter than the fault expects is spoilt at its end, never left whole.
            if spoil_at is not None and (len(request.sent) >= spoil_at or piece.last):
                spoil_at = None
                if self._spoil(fault, framed):
                    request.end(type(fault).__name__)
                    return
            self._send_event(json.dumps(piece.data, ensure_ascii=False), framed)
            request.sent += piece.text
            request.sent_at += [time.monotonic()] * len(piece.text)
        self._send_event("[DONE]", framed)
        if framed:
            self.wfile.write(b"0\r\n\r\n")
        request.end(type(fault).__name__ if fault else "complete")

    def _spoil(self, fault: faults_.ChatFault | None, framed: bool) -> bool:
        """Does in mid-stream what the fault wants done; true if the stream is over."""
        match fault:
            case faults_.Stall(seconds=seconds):
                self._wait(seconds)
                return False
            case faults_.StreamError(code=code, message=message):
                error = {"message": message, "type": "server_error", "param": None, "code": code}
                self._send_event(json.dumps({"error": error}), framed)
                self.wfile.write(b"0\r\n\r\n")
            case faults_.BrokenChunk():
                self.wfile.write(b'400\r\ndata: {"id":')
                self.close_connection = True
            case faults_.CleanCut():
                self.close_connection = True
            case _:
                return False
        return True

    def _send_event(self, data: str, framed: bool) -> None:
        event = f"data: {data}\n\n".encode("utf-8", "replace")
        self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event) if framed else event)

    def _wait(self, seconds: float) -> None:
        """Lets time pass. Raises _ClientClosed as soon as the client closes, or the server stops."""
        waiter = self.server.chat.stopping
        readable = select.poll()  # which, unlike select, does not mind how many files this process has open
        readable.register(self.connection, select.POLLIN)
        while True:
            if readable.poll(0):
                with contextlib.suppress(BlockingIOError):
                    if not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                        raise _ClientClosed
            if seconds <= 0:
                return
            if waiter.wait(min(seconds, 0.05)):
                raise _ClientClosed
            seconds -= 0.05

    # --- plain answers ------------------------------------------------------------------------------------------

    def _begin(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("x-request-id", f"req_emulator{id(self):x}")
        self.send_header("openai-processing-ms", "1")

    def _respond(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self._begin(status, "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, refusal: ApiError) -> None:
        with contextlib.suppress(OSError):
            self._respond(refusal.status, {"error": refusal.as_object()})

    def _fail(self, fault: faults_.HttpError) -> None:
        headers = {}
        if fault.retry_after_ms is not None:
            headers = {
                "retry-after-ms": str(fault.retry_after_ms),
                "retry-after": str(-(-fault.retry_after_ms // 1000)),
            }
        error = {"message": fault.message, "type": fault.kind, "param": None, "code": fault.code}
        self._respond(fault.status, {"error": error}, headers)
