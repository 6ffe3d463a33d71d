"""AmiVoice on one machine: its WebSocket recognition, reached by AMIVOICE_URL exactly as the real one is.

    with AmiVoice(Library.shipped(), keys={"test-key"}) as amivoice:
        settings = {"AMIVOICE_URL": amivoice.url, "AMIVOICE_API_KEY": "test-key"}

Here are the server and its connections; the protocol is in `amivoice_recognition`, what can be made to go wrong
in `amivoice_faults`.
"""

import threading
import time
from collections.abc import Iterable
from types import TracebackType

from websockets.http11 import Request

from emulator.amivoice_faults import AmiVoiceFaults, Fault, RefuseConnection
from emulator.amivoice_recognition import Recognition
from emulator.amivoice_report import Habits, Limits, SessionReport, Utterance
from emulator.recordings import Library
from emulator.sockets import Gone, Peer, Refused, SocketServer

__all__ = ["AmiVoice", "AmiVoiceFaults", "Limits", "SessionReport", "Utterance"]

_PATHS = ("/v1/", "/v1/nolog/")
_Admission = tuple[str, tuple[Fault, ...]]


class AmiVoice:
    """An AmiVoice that knows the speech of a library.

    `keys` are the APPKEYs it accepts. `latency_ms` is how long a result takes after the end of an utterance.
    `unknown_text` stands for speech the library does not know; "" rejects such speech as if it were noise.
    """

    def __init__(
        self,
        library: Library,
        keys: Iterable[str] = (),
        port: int = 0,
        faults: AmiVoiceFaults | None = None,
        *,
        latency_ms: int = 150,
        unknown_text: str = "聞き取れない音声です",
        limits: Limits | None = None,
    ) -> None:
        self.library = library
        self.faults = faults or AmiVoiceFaults()
        self._habits = Habits(
            latency_ms=latency_ms,
            unknown_text=unknown_text,
            keys=frozenset(keys),
            limits=limits or Limits(),
        )
        self._lock = threading.Lock()
        self._sessions: list[SessionReport] = []
        self._server = SocketServer(self._serve, self._admit, port=port)

    @property
    def url(self) -> str:
        """What to set AMIVOICE_URL to; `/v1/nolog/` is served too."""
        return f"ws://127.0.0.1:{self._server.port}/v1/"

    @property
    def sessions(self) -> list[SessionReport]:
        """One report a connection, oldest first; those of open connections are still growing."""
        with self._lock:
            return list(self._sessions)

    def start(self) -> "AmiVoice":
        """Begins to listen. Raises OSError when the port is taken."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Ends all connections; returns within a few seconds."""
        self._server.stop()

    def __enter__(self) -> "AmiVoice":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _admit(self, request: Request) -> _Admission:
        path = request.path.partition("?")[0]
        if path not in _PATHS:
            raise Refused(404, "Not Found\n")
        faults = self.faults.take()
        for fault in faults:
            if isinstance(fault, RefuseConnection):
                raise Refused(fault.status, "Service Unavailable\n")
        return path, faults

    def _serve(self, peer: Peer, admission: _Admission) -> None:
        path, faults = admission
        report = SessionReport(path)
        with self._lock:
            self._sessions.append(report)
        recognition = Recognition(self.library, self._habits, faults, report, time.monotonic())
        try:
            while self._pass_on(recognition, peer, report):
                message = peer.receive(recognition.due_in(time.monotonic()))
                if message is None:
                    recognition.tick(time.monotonic())
                else:
                    recognition.receive(message, time.monotonic())
        except Gone as gone:
            report.closed = report.closed or f"closed by the client ({gone.code})"

    def _pass_on(self, recognition: Recognition, peer: Peer, report: SessionReport) -> bool:
        """Does what the recognition wants done; false when the connection is over."""
        while recognition.out:
            action = recognition.out.popleft()
            if isinstance(action, str):
                report.sent.append(action)
                if action.startswith("A"):
                    report.results_at.append(time.monotonic())
                peer.send(action)
                continue
            report.closed = action.value
            peer.end(action)
            return False
        return True
