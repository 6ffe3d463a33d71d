"""One call: its life from the first ring to the report, and what is shared by all that happens on it.

The states and the waiting belong here. What TwiML does is `runner`'s and the verbs'; what the human does is `caller`'s.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from emulator.twilio import runner, summary
from emulator.twilio.callbacks import CallbackLane
from emulator.twilio.caller import Caller, Person
from emulator.twilio.events import Answered, CallEnded, CallStarted, Listener
from emulator.twilio.hearing import Ear, Mouth
from emulator.twilio.journal import Journal
from emulator.twilio.media import MediaStream
from emulator.twilio.orders import CallOver, Redirected
from emulator.twilio.plan import CallPlan, RecordingWish, Source
from emulator.twilio.progress import Progress
from emulator.twilio.recording import Recording
from emulator.twilio.report import CallReport, EndedBy

if TYPE_CHECKING:
    from emulator.twilio.carrier import Carrier

FINAL = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
_STREAMS_END_LIMIT = 5.0
_CALLBACKS_END_LIMIT = 20.0


class EmulatedCall:
    """One telephone call and the human on it (`caller`, also when it is they who were called)."""

    def __init__(
        self,
        carrier: Carrier,
        plan: CallPlan,
        human: Caller,
        on_change: Callable[[EmulatedCall], None] = lambda _: None,
    ) -> None:
        """`on_change` is called with it when the call is answered and when it ends."""
        self.carrier, self.plan, self.human = carrier, plan, human
        self._on_change = on_change
        self.clock, self.faults = carrier.clock, carrier.faults
        self.sid = "CA" + secrets.token_hex(16)
        self.status = "queued" if plan.direction == "outbound-api" else "ringing"
        self.answered_by: str | None = None
        self.created = time.time()
        self.journal = Journal(self.clock.now, self.now)
        self.callbacks = CallbackLane(carrier.webhooks, self.journal, self.clock)
        self.ear = Ear(self.journal.emit, self._wake_person)
        self.mouth, self.bot_mouth = Mouth(), Mouth()
        self.streams: list[MediaStream] = []
        self.recordings: list[Recording] = []
        self.digits: list[str] = []
        """Keys pressed and not yet taken by a `<Gather>` or `<Record>`."""
        self.peer: EmulatedCall | None = None
        """The other leg while a `<Dial>` connects the two humans."""
        self.time_limit = plan.time_limit
        self.fallback = plan.fallback
        self.status_callback = plan.status_callback
        self.report: CallReport | None = None
        self._person: Person | None = None
        self._wake = self.clock.wake()
        self._lock = threading.RLock()
        self._updates: list[Source] = []
        self._over: EndedBy | None = None
        self._answered_at: float | None = None
        self._ended_at = 0.0
        self.progress = Progress(self)
        self._done = threading.Event()

    # -- for whoever placed the call ---------------------------------------------------------------

    @property
    def from_(self) -> str:
        return self.plan.from_

    @property
    def to(self) -> str:
        return self.plan.to

    @property
    def direction(self) -> str:
        return self.plan.direction

    def start(self) -> None:
        self.clock.spawn(self._live, f"call {self.sid[-6:]}")

    def wait(self, timeout: float) -> CallReport:
        """The report, once the call is over and its callbacks are delivered.

        `timeout` is in real seconds on either clock. Raises `TimeoutError`.
        """
        if not self._done.wait(timeout) or self.report is None:
            raise TimeoutError(f"call {self.sid} is still {self.status} after {timeout:g} s")
        return self.report

    def hang_up(self) -> None:
        """The human puts the receiver down."""
        self.end("caller")

    def subscribe(self, listener: Listener) -> None:
        """Calls `listener` with every event of this call from its beginning on, in order."""
        self.journal.subscribe(listener)

    # -- for REST, verbs, streams and the person -----------------------------------------------------

    def now(self) -> float:
        """Seconds since the answer; 0 before."""
        return 0.0 if self._answered_at is None else self.clock.now() - self._answered_at

    def duration(self) -> float:
        """Seconds from the answer to the end, so far; 0 when it was never answered."""
        return 0.0 if self._answered_at is None else min(self.over_at(), self.now())

    @property
    def ended_by(self) -> EndedBy | None:
        return self._over

    @property
    def is_over(self) -> bool:
        return self._over is not None

    def over_at(self) -> float:
        """When the call ended, in seconds since the answer; infinite while it goes on."""
        if self._over is None or self._answered_at is None:
            return float("inf")
        return self._ended_at - self._answered_at

    def end(self, ended_by: EndedBy, status: str | None = None) -> bool:
        """Ends the call; False when it already had. `status` is for a call that nobody answered."""
        with self._lock:
            if self._over is not None:
                return False
            self._ended_at = self.clock.now()
            self._over = ended_by
            self.status = "completed" if self._answered_at is not None else status or "canceled"
        self.wake_all()
        self._on_change(self)
        return True

    def update(self, source: Source) -> bool:
        """Replaces what the call is doing; False when it is not in progress."""
        with self._lock:
            if self.status != "in-progress":
                return False
            self._updates.append(source)
        self._wake.set()
        return True

    def limit_to(self, seconds: float) -> None:
        """Changes the longest duration, counted from the answer."""
        self.time_limit = seconds
        self._wake.set()

    def wake_all(self) -> None:
        self._wake.set()
        self._wake_person()

    def _wake_person(self) -> None:
        if self._person:
            self._person.wake.set()

    def press(self, digit: str) -> None:
        self.digits.append(digit)
        for stream in list(self.streams):
            if not stream.ended:
                stream.press(digit)
        self._wake.set()

    def heard_by_peer(self, text: str) -> Callable[[], None]:
        """While two humans are connected, each hears the other; the result is to be called when it is said."""
        peer = self.peer
        if peer is None:
            return lambda: None
        sound = peer.ear.begin("dial", text, peer.now())
        return lambda: peer.ear.finish(sound, peer.now(), complete=not self.is_over)

    def pass_time(self, seconds: float) -> None:
        """Lets `seconds` go by. Raises `CallOver` or `Redirected` the moment one is due."""
        self.wait_until(lambda: False, seconds)

    def wait_until(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Waits for `reached()`, at most `seconds`; whether it was. Raises as `pass_time`.

        `reached` is looked at whenever something happens on the call.
        """
        give_up = self.clock.now() + seconds
        while True:
            self._obey_orders()
            if reached():
                return True
            left = give_up - self.clock.now()
            if left <= 0:
                return False
            if self._answered_at is not None:
                left = min(left, self._answered_at + self.time_limit - self.clock.now())
            self.clock.wait(left, self._wake)

    def _obey_orders(self) -> None:
        if self._answered_at is not None and self.now() >= self.time_limit - 1e-9:
            self.end("time-limit")
        if self._over is not None:
            raise CallOver
        with self._lock:
            source = self._updates.pop(0) if self._updates else None
        if source:
            raise Redirected(source)

    def record(self, wish: RecordingWish) -> Recording:
        recording = Recording(self, wish)
        self.recordings.append(recording)
        recording.begin()
        return recording

    def answer(self) -> None:
        """The call is connected: time 0. The human begins to act."""
        with self._lock:
            self._obey_orders()
            self._answered_at = self.clock.now()
            self.status = "in-progress"
            self._person = Person(self.human, self)
        self.journal.emit(Answered(0.0))
        self.progress.report("answered")
        if self.plan.recording:
            self.record(self.plan.recording)
        self._on_change(self)
        self.clock.spawn(self._person.run, f"person {self.sid[-6:]}")

    @property
    def answered(self) -> bool:
        return self._answered_at is not None

    # -- its life ------------------------------------------------------------------------------------

    def _live(self) -> None:
        self.journal.emit(CallStarted(0.0, self.sid, self.direction, self.from_, self.to))
        try:
            self._ring()
            if self.plan.source is None:
                self.wait_until(lambda: False, float("inf"))
            else:
                runner.Runner(self).run(self.plan.source)
        except CallOver:
            pass
        except Redirected:  # the far leg of a <Dial> was given TwiML: Twilio takes it out of the dial
            self.journal.note("TwiML for the far leg of a Dial is not emulated: the leg ends")
        except Exception as exc:  # a fault of the emulator must show in the report, not hang everybody
            self.journal.error(0, f"the emulator failed: {exc!r}")
            self.end("carrier", "failed")
            raise
        finally:
            self.end("bot")
            self._finish()

    def _ring(self) -> None:
        """Until it is answered. An inbound call is answered by its TwiML, later."""
        human = self.human
        if self.direction == "inbound":
            self.pass_time(human.ring_seconds)
            return
        self.progress.report("initiated")
        if not human.reachable:
            self.end("carrier", "failed")
        with self._lock:
            self._obey_orders()
            self.status = "ringing"
        self.progress.report("ringing")
        self.pass_time(min(human.ring_seconds, self.plan.ring_timeout))
        if human.busy:
            self.end("carrier", "busy")
        elif not human.answers or human.ring_seconds > self.plan.ring_timeout:
            self.pass_time(max(0.0, self.plan.ring_timeout - human.ring_seconds))
            self.end("carrier", "no-answer")
        self._obey_orders()
        self.answer()

    def _finish(self) -> None:
        for stream in list(self.streams):
            stream.stop()
        for recording in self.recordings:
            recording.end()
        self.progress.report("completed")
        wake, give_up = self._wake, self.clock.now() + _STREAMS_END_LIMIT
        while any(not stream.ended for stream in self.streams) and self.clock.now() < give_up:
            self.clock.wait(give_up - self.clock.now(), wake)
        self.ear.break_off(max(0.0, min(self.over_at(), self.now())))
        self.callbacks.close(_CALLBACKS_END_LIMIT)
        self.report = summary.report_on(self, self._ended_at if self._answered_at is None else self._answered_at)
        self.journal.emit(CallEnded(self.report.duration, self.report))
        self._done.set()
