"""What the engines' sessions with their vendors have in common: set up, fed, lost, and begun anew with what was missed.

Whatever a vendor's messages mean is the engine's own business. Everything but `uplink` runs on the call's thread.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from callbot.errors import RemoteError
from stream_service.engines.port import FromVendor, Post, VendorOpened, VendorRefused
from stream_service.engines.uplink import Uplink
from stream_service.engines.vendor import VendorConnection
from stream_service.events import EngineFailed, EngineLost, EngineReady, Event
from stream_service.limits import Lost
from stream_service.pump import Link, Pump
from stream_service.wire.frames import Text

log = logging.getLogger(__name__)

SETUP_SECONDS = 5.0  # from the open socket to a session that takes audio


class VendorSession(ABC):
    """One call's sessions with a vendor, one after the other."""

    def __init__(
        self,
        *,
        service: str,
        url: str,
        headers: Callable[[], list[str]],
        uplink: Uplink,
        pump: Pump,
        pool: Executor,
        post: Post,
    ) -> None:
        self.uplink = uplink
        self._service = service
        self._vendor = VendorConnection(
            service=service, url=url, headers=headers, pump=pump, pool=pool, post=post, on_text=self._comes
        )
        self._base = 0  # the caller's position at which the vendor's clock reads zero
        self._setup_due: float | None = None
        self._ready_before = False

    @property
    def settled(self) -> bool:
        return self.uplink.attached

    def start(self) -> None:
        self.uplink.need_from(0)
        self._vendor.open(0.0)

    def receive(self, news: FromVendor, now: float) -> Sequence[Event]:
        if news.epoch != self._vendor.epoch:  # of a connection given up before
            if isinstance(news.news, VendorOpened):
                news.news.link.abort()
            return []
        match news.news:
            case VendorOpened(link):
                self._vendor.opened(link, now)
                self._setup_due = now + SETUP_SECONDS
                self._begin(link)
            case VendorRefused(error):
                return self._again(error, now)
            case Lost(reason=reason):
                return self._again(RemoteError(self._service, reason, retryable=True, code=reason), now)
            case Text(payload):
                return self._tried(payload, now)
        return []

    def _tried(self, payload: bytes, now: float) -> Sequence[Event]:
        try:
            return self._read(payload, now)
        except RemoteError as error:  # one odd message is no reason to give a good session up
            log.warning("ignored: %s", error)
            return []

    def tick(self, now: float) -> Sequence[Event]:
        self._vendor.tick(now)
        if self._setup_due is not None and now >= self._setup_due:
            return self._again(RemoteError(self._service, "no session", retryable=True, code="timeout"), now)
        return []

    def _feed(self, link: Link) -> Sequence[Event]:
        """The session takes audio: what was kept first, then what comes."""
        self._setup_due = None
        self._base = self.uplink.attach(*link.inlet)
        resumed, self._ready_before = self._ready_before, True
        return [EngineReady(resumed)]

    def _again(self, error: RemoteError, now: float) -> Sequence[Event]:
        """The session is over; open another, unless that could not help or has been tried often enough."""
        was_ready = self.uplink.attached
        self._stop_feeding()
        self._setup_due = None
        self._forget()
        if error.retryable and self._vendor.open(now):
            return [EngineLost(error.code)] if was_ready else []
        self._vendor.drop()
        return [EngineFailed(error.code, error.retryable)]

    def _stop_feeding(self) -> None:
        if self.uplink.attached:
            self.uplink.detach()
            self.uplink.need_from(self.uplink.position)  # what nobody hears now, the next session does

    @abstractmethod
    def _comes(self, epoch: int, text: bytes) -> None:
        """A message of this connection, on the pump's thread: post it, and decide whether the call wakes for it."""

    @abstractmethod
    def _begin(self, link: Link) -> None:
        """The socket is open and held: release it and ask for a session."""

    @abstractmethod
    def _read(self, payload: bytes, now: float) -> Sequence[Event]:
        """What a message of the vendor's means. Raises RemoteError when it cannot be read."""

    @abstractmethod
    def _forget(self) -> None:
        """Let go of what only the session that is over knew."""
