"""One media stream over a real WebSocket: the carrier's side of Twilio Media Streams.

Source: Twilio, "Media Streams - WebSocket messages". Frames every 20 ms on a grid that does not drift; string
numbers where Twilio has strings. Which streams a call has is not decided here.
"""

from __future__ import annotations

import base64
import json
import math
import secrets
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidURI
from websockets.sync.client import ClientConnection, connect

from emulator import audio
from emulator.twilio import signing
from emulator.twilio.events import StreamClosed, StreamOpened
from emulator.twilio.hearing import FRAME_SECONDS
from emulator.twilio.plan import TRACKS, StreamPlan
from emulator.twilio.playout import Clear, Mark, Media, Playout, ProtocolViolationError, read_command
from emulator.twilio.progress import timestamp
from emulator.twilio.report import StreamReport
from emulator.twilio.tls import tls_for
from emulator.twilio.webhooks import FetchError, host_asked

if TYPE_CHECKING:
    from emulator.twilio.call import EmulatedCall

HANDSHAKE_LIMIT = 5.0  # seconds; Twilio's own is not documented
_SEND_LIMIT = 5.0  # seconds that one message may wait for a server that does not read
_CLOSE_LIMIT = 2.0
_LARGEST_MESSAGE = 1 << 20
_GOOD_CLOSES = (1000, 1001)  # a server that closes with these has said what it wanted


class _HandshakeError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class MediaStream:
    """Connects, streams and plays in its own threads until one side ends it; then `ended` is True."""

    def __init__(self, call: EmulatedCall, plan: StreamPlan) -> None:
        self.sid = "MZ" + secrets.token_hex(16)
        self.plan = plan
        self.ended = False
        self.tracks = TRACKS[plan.track]
        self.report: StreamReport | None = None
        self._call = call
        self._wake = call.clock.wake()
        self._send_lock = threading.Lock()
        self._sequence = 0
        self._playout_lock = threading.Lock()
        self._playout = Playout()
        self.sounds_at: list[float] = []  # when audio came and nothing was left to be played (monotonic seconds)
        self._stopping = False
        self._gone: tuple[int | None, int | None, str] | None = None  # close code, error code, why
        self._started: float | None = None
        self._first_frame = 0
        self._chunks = 0
        self._socket: ClientConnection

    def start(self) -> None:
        self._call.clock.spawn(self._live, f"media {self.sid[-6:]}")

    def stop(self) -> None:
        """Ends it from the carrier's side: `stop`, then close. Returns at once."""
        self._stopping = True
        self._wake.set()

    def press(self, digit: str) -> None:
        """A key of the caller; Twilio tells it to two-way streams only."""
        if self.plan.kind == "connect" and self._started is not None:
            self._send("dtmf", {"track": "inbound_track", "digit": digit})

    def _live(self) -> None:
        call, plan = self._call, self.plan
        try:
            self._socket = self._connect()
        except _HandshakeError as exc:
            self._over(None, exc.code, str(exc))
            return
        self._begin()
        call.clock.spawn(self._receive, f"media in {self.sid[-6:]}")
        call.journal.emit(StreamOpened(call.now(), plan.kind, plan.name, self.sid))
        self._tell("stream-started")
        self._stream()
        if self._gone is None:
            self._part()
        code, error, why = self._gone or (None, None, "")
        if plan.kind == "connect":
            with self._playout_lock:
                dropped, _ = self._playout.clear()
                call.ear.audio_dropped(dropped)
                call.ear.audio_over(call.now(), lost=error is not None and code not in _GOOD_CLOSES)
        self._over(code, error, why)

    def _connect(self) -> ClientConnection:
        """Raises `_HandshakeError`: 31901 nobody answers, 31902 no connection, 31920 a status other than 101."""
        call, url = self._call, self.plan.url
        if call.clock.virtual:
            raise _HandshakeError(31901, "there is no media on a virtual clock")
        try:
            address = call.carrier.locate_stream(url)
        except FetchError as exc:
            raise _HandshakeError(31902, exc.message) from exc
        headers = {}
        signature = call.carrier.stream_signature(url)
        if signature is not None:
            headers[signing.HEADER] = signature
        target = urlsplit(address)
        scheme, port = ("wss", 443) if target.scheme in ("https", "wss") else ("ws", 80)
        try:
            plain = socket.create_connection((target.hostname or "", target.port or port), HANDSHAKE_LIMIT)
            plain.settimeout(None)  # else the library would take 5 s without a message for the end
            # A server that stops reading must not hold this thread for ever; the library sets no limit on sends.
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(_SEND_LIMIT), 0))
            return connect(
                f"{scheme}://{host_asked(url, address)}{target.path or '/'}",
                sock=plain,
                ssl=tls_for(scheme),
                proxy=None,
                compression=None,
                additional_headers=headers,
                user_agent_header=None,
                open_timeout=HANDSHAKE_LIMIT,
                ping_interval=None,
                close_timeout=_CLOSE_LIMIT,
                max_size=_LARGEST_MESSAGE,
            )
        except TimeoutError as exc:
            raise _HandshakeError(31901, "connection timeout") from exc
        except (InvalidMessage, InvalidHandshake, InvalidURI) as exc:
            raise _HandshakeError(31920, f"handshake: {exc}") from exc
        except (OSError, EOFError, ValueError) as exc:
            raise _HandshakeError(31902, f"connection failed: {type(exc).__name__}") from exc

    def _begin(self) -> None:
        call = self._call
        self._started = call.now()
        self._first_frame = math.ceil(self._started / FRAME_SECONDS)
        self._raw({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        self._send(
            "start",
            {
                "streamSid": self.sid,
                "accountSid": call.carrier.account_sid,
                "callSid": call.sid,
                "tracks": list(self.tracks),
                "customParameters": dict(self.plan.parameters),
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            },
        )

    def _stream(self) -> None:
        """A frame is sent when its 20 ms are over; the bot's audio of the next 20 ms starts to play then."""
        call, index = self._call, self._first_frame
        waiting: list[tuple[str, dict[str, Any]]] = []
        while not (self._stopping or self._gone):
            left = (index + 1) * FRAME_SECONDS - call.now()
            if left > 0 and call.clock.wait(left, self._wake):
                continue
            self._chunks += 1
            waiting += [("media", self._frame(track, index)) for track in self.tracks]
            if self._chunks % max(1, call.faults.bunch_media) == 0:
                for event, body in waiting:
                    self._send(event, body)
                waiting.clear()
            index += 1
            if self.plan.kind == "connect":
                self._play(index)

    def _frame(self, track: str, index: int) -> dict[str, Any]:
        mouth = self._call.mouth if track == "inbound" else self._call.bot_mouth
        return {
            "track": track,
            "chunk": str(self._chunks),
            "timestamp": str(round((index - self._first_frame) * FRAME_SECONDS * 1000)),
            "payload": base64.b64encode(mouth.frame(index)).decode(),
        }

    def _play(self, index: int) -> None:
        # Told and heard under the lock, so that marks keep their order and nothing is heard after a `clear`.
        with self._playout_lock:
            due, piece = self._playout.play(audio.FRAME_BYTES)
            for name in due:
                self._send("mark", {"name": name})
            if piece:
                self._call.bot_mouth.speak(index * FRAME_SECONDS, piece)
            self._call.ear.audio(index * FRAME_SECONDS, piece)

    def _receive(self) -> None:
        try:
            while True:
                self._obey(self._socket.recv())
        except ProtocolViolationError as exc:
            self._gone = (None, exc.code, f"protocol error: {exc}")
            self._wake.set()
            self._close(1002)
        except ConnectionClosed as exc:
            self._gone = self._gone or self._closed_by_server(exc)
            self._wake.set()

    def _obey(self, message: str | bytes) -> None:
        if self.plan.kind == "start":
            raise ProtocolViolationError("a one-way stream takes no messages")
        match read_command(message, self.sid):
            case Media(ulaw):
                if ulaw.startswith(b"RIFF"):
                    self._call.journal.note("audio from the bot begins with a WAV header: the caller hears noise")
                with self._playout_lock:
                    if self._playout.empty:
                        self.sounds_at.append(time.monotonic())
                    self._playout.add(ulaw)
            case Mark(name):
                with self._playout_lock:
                    if self._playout.mark(name):
                        self._send("mark", {"name": name})
            case Clear():
                with self._playout_lock:
                    dropped, names = self._playout.clear()
                    self._call.ear.audio_dropped(dropped)
                    for name in names:
                        self._send("mark", {"name": name})

    def _closed_by_server(self, exc: ConnectionClosed) -> tuple[int | None, int | None, str]:
        if self._stopping:
            return None, None, ""
        if exc.rcvd:
            return exc.rcvd.code, 31921, f"the server closed the stream ({exc.rcvd.code})"
        if exc.sent and exc.sent.code in (1002, 1007, 1009):
            return None, 31924, f"protocol error: {exc.sent.reason or exc.sent.code}"
        return 1006, 31921, "the connection to the server was lost"

    def _part(self) -> None:
        if not self._call.faults.close_without_stop:
            self._send("stop", {"accountSid": self._call.carrier.account_sid, "callSid": self._call.sid})
        self._close(1000)

    def _close(self, code: int) -> None:
        try:
            self._socket.close(code)
        except (ConnectionClosed, OSError):
            return  # it is closed, which was the wish

    def _over(self, close_code: int | None, error: int | None, why: str) -> None:
        call, plan = self._call, self.plan
        if error is not None:
            call.journal.error(error, f"stream {plan.name or self.sid}: {why}")
        now = call.now()
        self.report = StreamReport(
            self.sid, plan.name, plan.kind, self._started, now, close_code, error, self._chunks * len(self.tracks)
        )
        # A clean close is a stop, though Twilio logs 31921 for it; all else is an error.
        orderly = error is None or (error == 31921 and close_code not in (None, 1006))
        self._tell("stream-stopped" if orderly else "stream-error", f"{error} {why}" if error else "")
        call.journal.emit(StreamClosed(now, plan.kind, plan.name, self.sid, close_code, error))
        self.ended = True
        call.wake_all()

    def _tell(self, event: str, error: str = "") -> None:
        self._call.callbacks.post(
            self.plan.callback,
            [
                ("AccountSid", self._call.carrier.account_sid),
                ("CallSid", self._call.sid),
                ("StreamSid", self.sid),
                ("StreamName", self.plan.name),
                ("StreamEvent", event),
                *([("StreamError", error)] if error else []),
                ("Timestamp", timestamp()),
            ],
        )

    def _send(self, event: str, body: dict[str, Any]) -> None:
        with self._send_lock:
            self._sequence += 1
            self._raw(
                {
                    "event": event,
                    "sequenceNumber": str(self._sequence),
                    "streamSid": self.sid,
                    event: body,
                }
            )

    def _raw(self, message: dict[str, Any]) -> None:
        try:
            self._socket.send(json.dumps(message))
        except (ConnectionClosed, OSError):
            return  # the receiving thread learns of the loss and says why
