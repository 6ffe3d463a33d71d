"""One call's thread: it waits on the call's inbox, asks the session what to do, and does it.

Nothing here blocks for long: audio is the pump's, and whatever waits for a vendor or the store has a lane of its own
and comes back as an event.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from callbot import logs
from callbot.calls import Call, NextStep, Turn
from callbot.errors import RemoteError, StoreError
from stream_service import tools
from stream_service.carrier_voice import CarrierVoice
from stream_service.commands import (
    AskHeard,
    CallerActive,
    Command,
    Finish,
    GetReady,
    HandOver,
    KeepEnding,
    KeepTurn,
    KeepUsage,
    Listen,
    Note,
    RunTool,
    Speak,
)
from stream_service.engines.port import Engine, FromVendor, Urgency
from stream_service.events import (
    CarrierLost,
    Drain,
    Event,
    HeardSoFar,
    StoreHealth,
    Tick,
    ToolCall,
    ToolResult,
)
from stream_service.inbox import Inbox, InboxItem, patience, urgency
from stream_service.limits import Lost
from stream_service.pump import Link
from stream_service.record import CallRecord
from stream_service.services import Services, wall_clock
from stream_service.session import CallSession
from stream_service.stream_log import StreamLog
from stream_service.wire import twilio_media
from stream_service.wire.frames import Binary, Text

log = logging.getLogger(__name__)

NEXT_STEP_SECONDS = 1.0  # for the next step to be in the store before the stream is closed
GOING_AWAY = 1001


class Relay:
    """Carries one stream of one call, from the ticket to the end. `run` returns why it ended."""

    def __init__(
        self,
        *,
        call: Call,
        session: CallSession,
        engine: Engine,
        carrier: Link,
        inbox: Inbox,
        voice: CarrierVoice,
        services: Services,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call = call
        self._session = session
        self._engine = engine
        self._carrier = carrier
        self._inbox = inbox
        self._voice = voice
        self._services = services
        self._clock = clock
        self._record = CallRecord(call, services.writer, clock())
        self._log = StreamLog(call.stream.generation, call.usage)
        self._tools: dict[str, tuple[ToolCall, int, float]] = {}
        self._store_down = False
        self._reason = ""

    def run(self) -> str:
        key = self._services.live.enter(lambda: self._inbox.put(Drain()))
        began_at, generation = self._clock(), self._call.stream.generation
        self._note(Note("stream opened", {"generation": generation, "resumed": generation > 1}))
        try:
            self._engine.start()
            self._carrier.route = self._engine.uplink
            self._carrier.release()
            while not self._session.finished:
                self._step()
        except Exception:  # this call's thread ends here; `/call-flow` gives the call a new stream
            logs.event(log, "relay failed", call_sid=self._call.sid, severity="ERROR", stack=True)
            self._reason = "relay failed"
        finally:
            self._engine.close()
            self._voice.close()
            self._carrier.close()
            spent = self._engine.spent()
            if any(spent.values()):
                self._record.usage(self._log.bill(spent))
            self._record.lost()
            self._services.live.leave(key)
        self._sum_up(self._clock() - began_at)
        return self._reason

    def _sum_up(self, seconds: float) -> None:
        settings, passed = self._services.settings, self._carrier.stats
        for note in self._log.rest():
            self._note(note)
        aloud = self._call.engine == "amivoice"
        model = settings.openai_chat_model if aloud else settings.openai_realtime_model
        closed = {"reason": self._reason, "generation": self._call.stream.generation, "seconds": round(seconds, 1)}
        self._note(Note("stream closed", {**closed, "frames": passed.messages_in, "dropped": passed.dropped_audio}))
        self._note(self._log.usage(model, seconds, reads_aloud=aloud))

    def _step(self) -> None:
        """Wait, then see to all that has come, and at last to the time.

        What was not worth waking for is told to the session with the time at which it came, so that deadlines and what
        is measured are as if it had been told at once.
        """
        calm, now = self._engine.settled and not self._tools, self._clock()
        self._inbox.wait(patience(self._session, calm, now), self._session.is_attentive(now))
        now = self._clock()
        for came_at, item in self._inbox.taken():
            waited = urgency(item) is not Urgency.AT_ONCE
            at = came_at if waited else now
            for event in self._events(item, at):
                self._do(self._session.handle(event, at, waited=waited), now)
            if self._session.finished:
                return
        for event in (*self._engine.tick(now), *self._overdue_tools(now), *self._store_health(), Tick()):
            self._do(self._session.handle(event, now), now)
        self._record.alive(now)

    def _do(self, commands: Iterable[Command], now: float) -> None:
        for command in commands:
            self._perform(command, now)

    def _events(self, item: InboxItem, at: float) -> Sequence[Event]:
        match item:
            case FromVendor():
                return self._engine.receive(item, at)
            case Text(data):
                return self._from_carrier(data)
            case Binary():
                log.debug("a binary message, which Twilio never sends", extra={"callSid": self._call.sid})
                return []
            case Lost(reason=reason):
                log.debug("carrier lost: %s", item.detail, extra={"callSid": self._call.sid})
                return [CarrierLost(reason)]
            case ToolResult(call=call) if self._tools.pop(call.id, None) is None:
                return []  # it came after its deadline
            case _:
                return [item]

    def _store_health(self) -> list[Event]:
        down = self._record.is_down()
        if down == self._store_down:
            return []
        self._store_down = down
        self._note(Note("store down", {"reason": "a write failed"}, "ERROR") if down else Note("store back"))
        return [StoreHealth(down)]

    def _from_carrier(self, message: bytes) -> list[Event]:
        try:
            event = twilio_media.decode(message)
        except RemoteError as error:
            log.debug("odd message", extra={"callSid": self._call.sid, "error": str(error)})
            return []
        return [event] if event and not isinstance(event, twilio_media.StreamStarted) else []

    # --- doing ---

    def _perform(self, command: Command, now: float) -> None:
        if self._engine.perform(command):
            return
        match command:
            case Speak() | Listen():
                self._voice.update(command)
            case GetReady():
                self._voice.get_ready()
            case KeepTurn(turn):
                self._keep_turn(turn)
            case Note():
                self._note(command)
            case KeepEnding(reason):
                self._record.ending(reason)
            case KeepUsage(usage):
                self._record.usage(self._log.bill(usage))
            case CallerActive():
                self._record.caller_active(now)
            case AskHeard(turn):
                self._services.pool.submit(self._ask_heard, turn)
            case RunTool(turn, call):
                self._tools[call.id] = (call, turn, now + tools.DEADLINE_SECONDS)
                self._services.pool.submit(self._run_tool, turn, call)
            case HandOver(step):
                self._reason = step.reason if step else "handed over"
                self._hand_over(step)
            case Finish(reason, hang_up):
                self._reason = reason
                self._record.hurry()
                if hang_up and not self._voice.complete():
                    self._hand_over(NextStep(self._call.stream.generation, "goodbye", reason=reason))

    def _hand_over(self, step: NextStep | None) -> None:
        self._record.hurry()
        if step:
            written = self._record.next_step(step)
            if not written.wait(NEXT_STEP_SECONDS):
                self._note(Note("next step not written in time", {}, "ERROR"))
        if self._call.engine == "amivoice":
            # A one-way stream's end moves nothing by itself, and the callback about it may be lost.
            self._voice.resume(self._call.stream.generation)
        self._carrier.close(GOING_AWAY)

    def _note(self, note: Note) -> None:
        fields = {"engine": self._call.engine, **note.fields}
        logs.event(log, note.name, call_sid=self._call.sid, severity=note.severity, **fields)

    def _keep_turn(self, turn: Turn) -> None:
        self._record.turn(turn)
        for note in self._log.kept(turn):
            self._note(note)

    # --- lanes: on threads of the pool ---

    def _ask_heard(self, turn: int) -> None:
        heard = HeardSoFar(turn, 0, 0.0)
        try:
            call = self._services.store.get(self._call.sid)
        except StoreError:
            call = None
        if call and call.flow.turn == turn and call.flow.at:
            since = max(timedelta(0), wall_clock() - call.flow.at).total_seconds()
            heard = HeardSoFar(turn, call.flow.sentence, since)
        self._inbox.put(heard)

    def _run_tool(self, turn: int, call: ToolCall) -> None:
        context = tools.ToolContext(self._call.sid, self._session.agent, self._call.variables)
        try:
            outcome = tools.run(call.name, call.arguments, context)
        except Exception:  # a tool is anybody's code
            logs.event(log, "tool failed", call_sid=self._call.sid, severity="ERROR", stack=True, tool=call.name)
            outcome = "the tool failed"
        self._inbox.put(ToolResult(turn, call, outcome))

    def _overdue_tools(self, now: float) -> list[Event]:
        overdue = [key for key, (_, _, due) in self._tools.items() if now >= due]
        return [ToolResult(turn, call, "the tool took too long") for call, turn, _ in map(self._tools.pop, overdue)]
