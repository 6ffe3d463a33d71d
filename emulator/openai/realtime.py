"""The Realtime API over WebSocket: the handshake, and one session a connection. The protocol is in
`realtime_session`.

Source: API reference and reports of users: bearer key, `model` in the query; the header `OpenAI-Beta` closes the
socket with 4000 `beta_api_shape_disabled`.
"""

import hmac
import itertools
import json
import threading
import time
from dataclasses import dataclass
from urllib.parse import parse_qs

from websockets.http11 import Request

from emulator.openai import faults as faults_
from emulator.openai.realtime_answering import World
from emulator.openai.realtime_session import RealtimeSession
from emulator.openai.reports import RealtimeReport
from emulator.openai.schema import ApiError
from emulator.sockets import Ending, Gone, Peer, Refused, SocketServer

_PATH = "/v1/realtime"
_BETA = "beta_api_shape_disabled"


@dataclass(frozen=True, slots=True)
class _Admission:
    model: str
    beta: bool
    fault: faults_.ConnectionFault | None


class RealtimeServer:
    """Holds Realtime sessions on 127.0.0.1."""

    def __init__(self, world: World, keys: frozenset[str], port: int) -> None:
        self._world = world
        self._keys = keys
        self._lock = threading.Lock()
        self._reports: list[RealtimeReport] = []
        self._numbers = itertools.count(1)
        # 15 MiB of audio in base64 is the largest event the API takes.
        self._server = SocketServer(self._serve, self._admit, port=port, max_message_bytes=24 * 1024 * 1024)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def sessions(self) -> list[RealtimeReport]:
        """One report a connection, oldest first."""
        with self._lock:
            return list(self._reports)

    def start(self) -> None:
        """Begins to listen. Raises OSError when the port is taken."""
        self._server.start()

    def stop(self) -> None:
        """Ends every session."""
        self._server.stop()

    def _admit(self, request: Request) -> _Admission:
        path, _, query = request.path.partition("?")
        if path != _PATH:
            raise _refused(ApiError(f"Invalid URL (GET {path})", status=404))
        fault = self._world.faults.take(faults_.ConnectionFault)
        if isinstance(fault, faults_.RefuseHandshake):
            code = "invalid_api_key" if fault.status == 401 else None
            raise _refused(ApiError("The connection was refused.", code, status=fault.status))
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        given = key.encode("utf-8", "replace")
        if scheme != "Bearer" or not any(hmac.compare_digest(given, known.encode()) for known in self._keys):
            raise _refused(ApiError("Incorrect API key provided.", "invalid_api_key", status=401))
        model = parse_qs(query).get("model", [""])[0]
        if not model:
            raise _refused(ApiError("you must provide a model parameter", "missing_model", "model"))
        return _Admission(model, "OpenAI-Beta" in request.headers, fault)

    def _serve(self, peer: Peer, admission: _Admission) -> None:
        report = RealtimeReport(admission.model)
        with self._lock:
            self._reports.append(report)
        try:
            if admission.beta:
                report.closed = Ending.CLOSE.value
                message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
                error = {**ApiError(message, _BETA).as_object(), "event_id": None}
                report.errors.append(error)
                peer.send(json.dumps({"type": "error", "event_id": "event_000001", "error": error}))
                peer.close(4000, _BETA)
                return
            session_id = f"sess_{next(self._numbers):06d}"
            session = RealtimeSession(self._world, admission.fault, report, session_id, time.monotonic())
            while self._pass_on(session, peer, report):
                message_in = peer.receive(session.due_in(time.monotonic()))
                if message_in is None:
                    session.tick(time.monotonic())
                else:
                    session.receive(message_in, time.monotonic())
        except Gone as gone:
            report.closed = report.closed or f"closed by the client ({gone.code})"

    def _pass_on(self, session: RealtimeSession, peer: Peer, report: RealtimeReport) -> bool:
        """Does what the session wants done; false when the connection is over."""
        while session.out:
            action = session.out.popleft()
            if isinstance(action, dict):
                peer.send(json.dumps(action, separators=(",", ":")))  # as OpenAI does
                continue
            report.closed = action.value
            peer.end(action, 1001)
            return False
        return True


def _refused(refusal: ApiError) -> Refused:
    return Refused(refusal.status, json.dumps({"error": refusal.as_object()}))
