"""From an accepted handshake to a call that is carried: `start`, ticket, record, session. Nothing is paid for before.

A stream that shows no valid ticket within START_SECONDS is closed (1008), and no vendor has been asked for anything.
"""

import logging
import socket
import threading
import time
from dataclasses import replace

from callbot import failures, logs, tickets
from callbot.agents import fill
from callbot.calls import RETENTION, Call, StreamState, Turn
from callbot.errors import RefusedError, RemoteError, StoreError
from callbot.settings import Settings
from callbot.store import CallUnknownError
from callbot.tickets import Ticket
from stream_service.carrier_voice import CarrierVoice
from stream_service.engines.amivoice import AmivoiceEngine
from stream_service.engines.chat import Chat
from stream_service.engines.port import Engine
from stream_service.engines.realtime import RealtimeEngine
from stream_service.inbox import Inbox, InboxItem
from stream_service.limits import Limits, Lost
from stream_service.playout import Playout
from stream_service.pump import Link, PumpStoppedError
from stream_service.relay import Relay
from stream_service.services import Services, epoch, wall_clock
from stream_service.session import CallSession
from stream_service.spoken_session import SpokenSession
from stream_service.transcript import Transcript
from stream_service.voiced_session import VoicedSession
from stream_service.wire import twilio_media
from stream_service.wire.frames import Binary, Text
from stream_service.wire.twilio_media import StreamStarted

log = logging.getLogger(__name__)

START_SECONDS = 5.0
CLOSE_SECONDS = 2.0
POLICY_VIOLATION = 1008
# Twilio sends 50 messages and 12 kB a second and never pauses; it is a dead line that is silent for 5 s.
CARRIER_LIMITS = Limits(
    max_message=65_536,
    messages_per_second=200,
    bytes_per_second=100_000,
    burst_seconds=20,
    silence_seconds=5,
    ping_seconds=None,
    audio_bytes=4_000_000,  # a long answer comes faster than real time; Twilio reads it at once when all is well
)


def receive(sock: socket.socket, services: Services) -> None:
    """Carry the stream behind `sock` from its first message to its end."""
    inbox = Inbox(services.pump.call_at)
    reception = _Reception(inbox)
    try:
        carrier = services.pump.adopt(
            sock,
            name="carrier",
            server=True,
            limits=CARRIER_LIMITS,
            on_message=reception.on_message,
            on_lost=reception.on_lost,
            held=True,
        )
    except (PumpStoppedError, OSError):  # the process is going, or the peer has gone
        return
    reception.carrier = carrier
    carrier.release()
    try:
        with services.live.arriving(carrier.abort) as admitted:
            started = reception.wait_for_start()
            ticket = _shown(started, services.settings)
            admitted()
            relay = _build(started, ticket, carrier, inbox, services)
        relay.run()
    except RefusedError as refusal:
        logs.event(log, "stream refused", severity="WARNING", call_sid="", reason=str(refusal))
        carrier.close(POLICY_VIOLATION)
    finally:
        carrier.close()
        # The server's own handle of the socket is closed when the route returns, and must outlive the pump's.
        reception.gone.wait(CLOSE_SECONDS)


class _Reception:
    """Reads up to `start`, and not one frame further: what comes behind it stays with the kernel until it is wanted."""

    def __init__(self, inbox: Inbox) -> None:
        self.carrier: Link | None = None
        self._inbox = inbox
        self.gone = threading.Event()
        self._started = False

    def on_lost(self, lost: Lost) -> None:
        """On the pump's thread."""
        self.gone.set()
        self._inbox.put(lost)

    def on_message(self, message: Text | Binary) -> None:
        """On the pump's thread."""
        if not self._started and b'"start"' in message.data and self.carrier:
            self._started = True
            self.carrier.hold()
        self._inbox.put(message)

    def wait_for_start(self) -> StreamStarted:
        deadline = time.monotonic() + START_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            self._inbox.wait(left)
            for _, item in self._inbox.taken():
                if started := _read(item):
                    return started
        raise RefusedError("no start in time")


def _read(item: InboxItem) -> StreamStarted | None:
    """What came before `start`, or it; None for what may come before it."""
    match item:
        case Text(data):
            try:
                event = twilio_media.decode(data)
            except RemoteError as error:
                raise RefusedError("an unreadable message before start") from error
            return event if isinstance(event, StreamStarted) else None
        case Lost(reason=reason):
            raise RefusedError(f"gone before start: {reason}")
        case Binary():
            raise RefusedError("a binary message before start")
    return None


def _shown(started: StreamStarted, settings: Settings) -> Ticket:
    """The stream's ticket, which is ours and for this call. Raises RefusedError."""
    if started.account_sid != settings.twilio_account_sid:
        raise RefusedError("another account")
    return tickets.check(started.parameters.get(tickets.PARAMETER), settings.stream_ticket_secret, started.call_sid)


def _build(started: StreamStarted, ticket: Ticket, carrier: Link, inbox: Inbox, services: Services) -> Relay:
    settings = services.settings
    agent = services.agents.named(ticket.agent)
    call, turns = _record(ticket, started, services)
    now, wall = time.monotonic(), wall_clock()
    transcript = Transcript(call.engine, ticket.generation, turns, epoch())
    voice = CarrierVoice(
        rest=services.rest,
        call_sid=call.sid,
        functions_url=ticket.functions_url,
        agent=agent,
        pool=services.pool,
        post=inbox.put,
    )
    session: CallSession
    engine: Engine
    if ticket.engine == "amivoice":
        session = SpokenSession(call, agent, transcript, now, wall)
        engine = AmivoiceEngine(
            settings=settings,
            agent=agent,
            pump=services.pump,
            pool=services.pool,
            post=inbox.put,
            chat=Chat(services.chat_model),
        )
    else:
        playout = Playout()
        session = VoicedSession(call, agent, transcript, now, wall, playout)
        engine = RealtimeEngine(
            settings=settings,
            agent=agent,
            instructions=fill(agent.prompt, call.variables),
            transcript=transcript,
            playout=playout,
            carrier=carrier,
            stream_sid=started.stream_sid,
            pump=services.pump,
            pool=services.pool,
            post=inbox.put,
        )
    return Relay(
        call=call, session=session, engine=engine, carrier=carrier, inbox=inbox, voice=voice, services=services
    )


def _record(ticket: Ticket, started: StreamStarted, services: Services) -> tuple[Call, list[Turn]]:
    """The call's record and its turns so far. Claims the ticket's generation, which makes the ticket single-use."""
    store = services.store
    try:
        try:
            call = store.open_stream(ticket.call_sid, ticket.generation, wall_clock())
        except CallUnknownError:  # the webhook could not reach the store; the ticket proves that there is a call
            store.begin(_unrecorded(ticket, started))
            call = store.open_stream(ticket.call_sid, ticket.generation, wall_clock())
        return call, store.turns(call.sid) if ticket.generation > 1 else []
    except StoreError as error:
        # The caller is on the line: the call goes on without its record, which is written when the store is back.
        failures.store_down(log, error, call_sid=ticket.call_sid)
        state = StreamState(ticket.generation, connected_at=wall_clock(), seen_at=wall_clock())
        return replace(_unrecorded(ticket, started), stream=state), []


def _unrecorded(ticket: Ticket, started: StreamStarted) -> Call:
    now = wall_clock()
    variables = {name: value for name, value in started.parameters.items() if name != tickets.PARAMETER}
    return Call(
        sid=ticket.call_sid,
        direction="inbound",
        from_="",
        to="",
        agent=ticket.agent,
        engine=ticket.engine,
        created_at=now,
        answered_at=now,
        variables=variables,
        expire_at=now + RETENTION,
    )
