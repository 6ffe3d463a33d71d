"""One vendor's WebSocket, opened again when it is lost. It knows sockets and tries, not protocols.

websocket-client opens the socket (proxies, TLS, redirects, HTTP errors); from then on the pump moves its frames.
"""

import functools
import logging
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Executor

import websocket

from callbot.errors import RemoteError
from stream_service.engines.port import (
    CONNECT_SECONDS,
    RETRY_DELAYS,
    STEADY_SECONDS,
    VENDOR_LIMITS,
    FromVendor,
    Post,
    VendorOpened,
    VendorRefused,
)
from stream_service.handshake import take_over_opened
from stream_service.pump import Link, Pump, PumpStoppedError
from stream_service.tls import Authorities

log = logging.getLogger(__name__)


authorities = functools.cache(Authorities)  # one for the process


class VendorConnection:
    """Connections to one vendor, one after the other. `epoch` counts them. Used on the call's thread only."""

    def __init__(
        self,
        *,
        service: str,
        url: str,
        headers: Callable[[], list[str]],
        pump: Pump,
        pool: Executor,
        post: Post,
        on_text: Callable[[int, bytes], None],
    ) -> None:
        """`on_text` is called on the pump's thread, with the connection's epoch; all other news is posted."""
        self._service = service
        self._url = url
        self._headers = headers
        self._pump = pump
        self._pool = pool
        self._post = post
        self._on_text = on_text
        self.epoch = 0
        self.link: Link | None = None
        self._tries = 0
        self._opened_at = 0.0
        self._retry_at: float | None = None
        self._lock = threading.Lock()  # between `_connect` on a thread of the pool and the call's
        self._unclaimed: Link | None = None  # open, and the call's thread has not come to know of it
        self._closed = False

    def open(self, now: float) -> bool:
        """Try (again) to connect, after the delay this try calls for. False: all tries have been used up."""
        self.drop()
        if self._opened_at and now - self._opened_at > STEADY_SECONDS:
            self._tries = 0
        self._opened_at = 0.0
        if self._tries >= len(RETRY_DELAYS):
            return False
        self._retry_at = now + RETRY_DELAYS[self._tries]
        self._tries += 1
        self.tick(now)
        return True

    def tick(self, now: float) -> None:
        if self._retry_at is not None and now >= self._retry_at and not self._closed:
            self._retry_at = None
            self.epoch += 1
            self._pool.submit(self._connect, self.epoch)

    def opened(self, link: Link, now: float) -> None:
        self.link, self._opened_at = link, now
        with self._lock:
            self._unclaimed = None

    def drop(self) -> None:
        """Give the connection up; what still comes of it is old news."""
        self.epoch += 1
        if self.link:
            self.link.abort()
        self.link = None

    def close(self) -> None:
        with self._lock:
            self._closed = True
        if self._unclaimed:
            self._unclaimed.abort()
        if self.link:
            self.link.close()
        self.link = None
        self.epoch += 1

    def _connect(self, epoch: int) -> None:
        try:
            ws = websocket.create_connection(
                self._url,
                header=self._headers(),
                timeout=CONNECT_SECONDS,
                sslopt={"context": authorities()},
                redirect_limit=0,  # a vendor's key goes to the vendor and nowhere else
                skip_utf8_validation=True,
            )
        except (websocket.WebSocketException, OSError, ssl.SSLError, ValueError) as exc:
            self._post(FromVendor(epoch, VendorRefused(_refusal(self._service, exc))))
            return
        if self._closed or epoch != self.epoch:
            ws.close(timeout=0)
            return
        try:
            link = self._pump.adopt(
                take_over_opened(ws),
                name=self._service,
                server=False,
                limits=VENDOR_LIMITS,
                on_message=lambda message: self._on_text(epoch, message.data),
                route=lambda text: self._on_text(epoch, text) is None,  # the shorter way to the same
                on_lost=lambda lost: self._post(FromVendor(epoch, lost)),
                held=True,  # until its engine has it in hand
            )
        except (PumpStoppedError, OSError, websocket.WebSocketException) as exc:
            self._post(FromVendor(epoch, VendorRefused(_refusal(self._service, exc))))
            return
        with self._lock:
            self._unclaimed = link
        if self._closed:
            link.abort()
            return
        self._post(FromVendor(epoch, VendorOpened(link)))


def _refusal(service: str, exc: Exception) -> RemoteError:
    status = getattr(exc, "status_code", None)
    if isinstance(status, int):
        return RemoteError(service, "handshake refused", retryable=status >= 500 or status == 429, code=str(status))
    return RemoteError(service, type(exc).__name__, retryable=True, code="unreachable")
