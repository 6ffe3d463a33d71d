"""What the calls of one process share, wired together in one place; importing it does nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

from callbot import logs
from callbot.agents import Agents
from callbot.settings import Settings
from callbot.store import CallStore, open_store, preload
from callbot.twilio_rest import TwilioRest
from stream_service.engines import vendor
from stream_service.engines.chat import ChatModel
from stream_service.pump import Pump
from stream_service.writer import StoreWriter

MOST_ARRIVING = 32  # sockets without a ticket cost a thread each for up to 5 s
FLUSH_SECONDS = 2.0
PUMP_STOP_SECONDS = 1.0


class Services:
    """Build it after the process has forked; `stop` ends every thread of it."""

    def __init__(self, settings: Settings, store: CallStore | None = None, agents: Agents | None = None) -> None:
        self.settings = settings
        self.agents = agents or Agents.load(settings.agents_file or None)
        self.store = store or open_store(settings.call_store)
        self.rest = TwilioRest(settings)
        # A call has at most an answer, one that has just been given up, an update and a look into the store under way;
        # threads are made as needed.
        self.pool = ThreadPoolExecutor(4 * settings.stream_concurrency, thread_name_prefix="lane")
        self.chat_model = ChatModel(settings, self.pool)
        self.writer = StoreWriter(self.store)
        self.live = LiveCalls(settings.stream_concurrency)
        self._lock = threading.Lock()
        self._loaded = False
        self.pump = Pump()
        self.pump.start()
        logs.protect(
            *settings.twilio_auth_tokens,
            settings.openai_api_key,
            settings.amivoice_api_key,
            settings.stream_ticket_secret,
        )

    def load_soon(self) -> None:
        """Once: load on another thread what the first call would have to wait for, and the start must not."""
        with self._lock:
            loaded, self._loaded = self._loaded, True
        if not loaded and not self.live.draining:
            self.pool.submit(self._load)

    def _load(self) -> None:
        preload(self.settings.call_store)
        self.chat_model.load()
        self.rest.load()
        vendor.authorities()

    def stop(self) -> None:
        self.live.drain()
        self.live.wait_until_empty(FLUSH_SECONDS)
        self.writer.stop(FLUSH_SECONDS)
        self.pump.stop(PUMP_STOP_SECONDS)
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.store.close()


class LiveCalls:
    """The streams this process carries now: how many, and how to tell them all that it stops."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._changed = threading.Condition()
        self._tell: dict[int, Callable[[], None]] = {}
        self._next = 0
        self._arriving: dict[int, Callable[[], None]] = {}  # oldest first; they have not shown a ticket
        self._admitted: set[int] = set()  # they have, and their call is being looked up
        self._draining = False

    @property
    def draining(self) -> bool:
        return self._draining

    @property
    def full(self) -> bool:
        """No further stream can be taken."""
        return self._room <= 0

    @property
    def _room(self) -> int:
        return self._capacity - len(self._tell) - len(self._admitted)

    @contextmanager
    def arriving(self, turn_away: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """For as long as a stream has been accepted but is not carried. Gives what to call when it has shown a ticket.

        When too many have shown none, the one that has been silent for longest is turned away: Twilio says at once
        which call it is, and must not be kept out by those who say nothing.
        """
        with self._changed:
            self._next += 1
            key = self._next
            self._arriving[key] = turn_away
            oldest = next(iter(self._arriving))
            crowded = len(self._arriving) > min(MOST_ARRIVING, self._room)
            unwanted = self._arriving.pop(oldest) if crowded and oldest != key else None
        if unwanted:
            unwanted()

        def admitted() -> None:
            with self._changed:
                self._arriving.pop(key, None)
                self._admitted.add(key)

        try:
            yield admitted
        finally:
            with self._changed:
                self._arriving.pop(key, None)
                self._admitted.discard(key)

    def __len__(self) -> int:
        return len(self._tell)

    def enter(self, drain: Callable[[], None]) -> int:
        """One stream more; `drain` is called when the process is to stop (at once, if it is to already)."""
        with self._changed:
            self._next += 1
            self._tell[self._next] = drain
            key, draining = self._next, self._draining
        if draining:
            drain()
        return key

    def leave(self, key: int) -> None:
        with self._changed:
            self._tell.pop(key, None)
            self._changed.notify_all()

    def drain(self) -> None:
        """Tell every stream to hand its call over, and take no more."""
        with self._changed:
            if self._draining:
                return
            self._draining = True
            tell = list(self._tell.values())
        for drain in tell:
            drain()

    def wait_until_empty(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._tell, timeout)


def wall_clock() -> datetime:
    return datetime.now(UTC)


def epoch() -> float:
    """What must be added to the monotonic clock to get seconds since the epoch."""
    return time.time() - time.monotonic()
