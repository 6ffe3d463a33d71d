"""What AmiVoice answers to commands and audio: messages in, messages out; no sockets.

Here are the states of a connection, its errors and its limits. The text of commands is parsed in
`amivoice_commands`; finding and reporting speech is `amivoice_listening`.

Source: AmiVoice API manual, WebSocket interface (commands and responses, limitations). The wording of errors
that the manual's pages do not list is our own.
"""

import enum
from collections import deque

from emulator import amivoice_faults as faults_
from emulator.amivoice_commands import (
    FEED_REFUSED,
    ILLEGAL_AUTHORIZATION,
    UNSUPPORTED_FORMAT,
    CommandError,
    Start,
    parse_start,
    redacted,
)
from emulator.amivoice_faults import FaultKind
from emulator.amivoice_listening import Listener
from emulator.amivoice_report import Habits, SessionReport
from emulator.recordings import Library
from emulator.sockets import Ending

_COMMANDS_KEPT = 1000


class _State(enum.Enum):
    OPEN = enum.auto()
    STARTING = enum.auto()
    FEEDING = enum.auto()
    STOPPING = enum.auto()
    DEAD = enum.auto()


class Recognition:
    """One connection's protocol. Give it what comes (`receive`, `tick`), then do what `out` holds.

    `now` is a monotonic time in seconds throughout.
    """

    def __init__(
        self,
        library: Library,
        habits: Habits,
        faults: tuple[faults_.Fault, ...],
        report: SessionReport,
        now: float,
    ) -> None:
        self.out: deque[str | Ending] = deque()
        self._library = library
        self._habits = habits
        self._faults = faults
        self._report = report
        self._state = _State.OPEN
        self._last_data = now
        self._answer_at: float | None = None
        self._listener: Listener | None = None
        self._happened: set[faults_.Fault] = set()

    def receive(self, message: str | bytes, now: float) -> None:
        """Takes a message from the client. Whatever it is, the answer is one of the protocol's."""
        self._last_data = now
        if isinstance(message, bytes):
            self._on_audio(message, now)
            return
        if len(self._report.commands) < _COMMANDS_KEPT:
            self._report.commands.append(redacted(message))
        command = message.rstrip("\r\n")
        if command == "s" or command.startswith("s "):
            self._on_start(command, now)
        elif command == "e":
            self._on_end(now)
        else:
            self._fail("e", "received unknown command")

    def tick(self, now: float) -> None:
        """Lets time pass: late answers, results that are due, and the limit on sending nothing."""
        if self._listener:
            self._listener.release(now)
        if self._answer_at is not None and now >= self._answer_at:
            self._answer_at = None
            self._answer()
        if now - self._last_data > self._habits.limits.no_data:
            if self._state is not _State.DEAD:
                recognising = self._listener is not None and self._listener.heard_ms > 0
                text = "timeout occurred" + " while recognizing audio data from client" * recognising
                self._fail("e", text)
            self.out.append(Ending.CLOSE)

    def due_in(self, now: float) -> float:
        """Seconds until `tick` has something to do."""
        times = [self._last_data + self._habits.limits.no_data + 0.01]
        if self._answer_at is not None:
            times.append(self._answer_at)
        if self._listener and self._listener.next_result_at is not None:
            times.append(self._listener.next_result_at)
        return max(0.0, min(times) - now)

    # --- commands -------------------------------------------------------------------------------------------

    def _on_start(self, line: str, now: float) -> None:
        if self._state is not _State.OPEN:
            self._fail("s", "can't start: a session is going on or has failed")
            return
        try:
            start = self._accepted(line)
        except CommandError as exc:
            self._fail("s", str(exc))
            return
        self._listener = Listener(start, self._library, self._habits, self._faults, self._report.utterances, self._send)
        self._state = _State.STARTING
        stall = self._fault(faults_.StallStart)
        self._answer_at = now + (stall.seconds if stall else 0.0)
        if not self._misbehave(0):
            self.tick(now)

    def _accepted(self, line: str) -> Start:
        start = parse_start(line)
        if start.authorization not in self._habits.keys:
            raise CommandError(ILLEGAL_AUTHORIZATION)
        refusal = self._fault(faults_.RefuseStart)
        if refusal:
            raise CommandError(refusal.text)
        if start.audio_format not in ("MULAW", "LSB8K"):
            # A format the real one takes, but there is no decoder here: say so rather than hear noise.
            raise CommandError(f"{UNSUPPORTED_FORMAT} (the emulator takes MULAW and LSB8K)")
        return start

    def _on_end(self, now: float) -> None:
        if self._state is not _State.FEEDING or self._listener is None:
            self._fail("e", "can't end: no session is going on")
            return
        self._state = _State.STOPPING
        self._listener.finish(now)
        delay = self._fault(faults_.DelayEnd)
        seconds = delay.seconds if delay else 0.0
        self._listener.hurry(now + seconds / 2)
        self._answer_at = now + seconds
        self.tick(now)

    def _answer(self) -> None:
        """The answer to `s` or `e` that is due now."""
        if self._state is _State.STARTING:
            self._state = _State.FEEDING
            self._send("s")
        elif self._state is _State.STOPPING:
            self._state = _State.OPEN
            self._listener = None
            self._send("e")

    # --- audio ----------------------------------------------------------------------------------------------

    def _on_audio(self, message: bytes, now: float) -> None:
        self._report.bytes_received += max(0, len(message) - 1)
        if message[:1] != b"p":
            self._fail("p", UNSUPPORTED_FORMAT)
            return
        if self._state is not _State.FEEDING or self._listener is None:
            self._fail("p", FEED_REFUSED)
            return
        for frame in self._listener.frames(message[1:]):
            self._listener.hear(frame, now)
            if self._listener.silent_ms > self._habits.limits.no_speech * 1000:
                self._fail("p", FEED_REFUSED)
                self.out.append(Ending.CLOSE)
                return
            if self._misbehave(self._listener.heard_ms):
                return

    # --- what goes wrong, and out ---------------------------------------------------------------------------

    def _misbehave(self, heard_ms: int) -> bool:
        """Acts out a fault that is due by now; true if there was one."""
        for fault in self._faults:
            if not isinstance(fault, faults_.Timed) or heard_ms < fault.at_ms or fault in self._happened:
                continue
            self._happened.add(fault)
            match fault:
                case faults_.Drop():
                    self.out.append(Ending.DROP)
                case faults_.Freeze():
                    self.out.append(Ending.FREEZE)
                case faults_.FeedError():
                    self._fail("p", fault.text)
                case faults_.TimeoutNotice():
                    self._fail("e", fault.text)
            return True
        return False

    def _fail(self, letter: str, text: str) -> None:
        """An error answer. Only a new connection helps now; audio still on its way is not answered."""
        if self._state is _State.DEAD and letter == "p":
            return
        self._state = _State.DEAD
        self._answer_at = None
        self._listener = None
        self._report.errors.append(f"{letter} {text}")
        self._send(f"{letter} {text}")

    def _fault(self, kind: type[FaultKind]) -> FaultKind | None:
        return next((fault for fault in self._faults if isinstance(fault, kind)), None)

    def _send(self, message: str) -> None:
        self.out.append(message + "\r\n" * (self._fault(faults_.CarriageReturns) is not None))
