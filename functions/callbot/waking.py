"""Waking the stream service when a call begins, so that it starts while the telephone rings or the greeting is spoken.

One `GET /health` whose answer nobody waits for. It must neither delay a webhook nor be left half sent: a function may
get no processor any more once it has answered (Cloud Run functions: request-based billing), so it is begun in parallel
with the function's own work and given a moment after it.
"""

import functools
import http.client
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

AWAKE_SECONDS = 60.0  # an instance lives on for minutes after a request (Cloud Run: autoscaling)
AGAIN_SECONDS = 5.0  # after a request that could not be sent: no call is to pay for a service that cannot be reached
MOMENT_SECONDS = 0.05  # what a caller waits for the request to be on its way, at most
ANSWER_SECONDS = 10.0  # an instance that starts takes seconds; who goes away earlier may call the start off

log = logging.getLogger(__name__)


class Waker:
    """Asks one stream service for a sign of life, at most once in AWAKE_SECONDS and one request at a time."""

    def __init__(self, stream_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = urlsplit(stream_url)
        self._clock = clock
        self._lock = threading.Lock()
        self._due_at = clock()
        self._asking = False

    def wake(self) -> threading.Event | None:
        """Begin to ask, unless that has been done just now. The event is set when the request has left, or failed."""
        with self._lock:
            if self._asking or self._clock() < self._due_at:
                return None
            self._asking = True
        sent = threading.Event()
        threading.Thread(target=self._ask, args=(sent,), name="waking", daemon=True).start()
        return sent

    def _ask(self, sent: threading.Event) -> None:
        woken = False
        try:
            connection = self._connection()
            try:
                beside_the_stream = self._url.path.rpartition("/")[0]
                connection.request("GET", f"{beside_the_stream}/health", headers={"Connection": "close"})
                woken = True
                sent.set()
                connection.getresponse()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as exc:
            log.debug("the stream service gave no sign of life (%s)", type(exc).__name__)
        finally:
            with self._lock:
                self._due_at = self._clock() + (AWAKE_SECONDS if woken else AGAIN_SECONDS)
                self._asking = False
            sent.set()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme != "wss":
            return http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
        # Nothing is told and nothing is believed, so whoever it is may answer; reading the authorities' certificates
        # would take 20 ms of the one processor on which a call is being answered.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=ANSWER_SECONDS, context=context)


@contextmanager
def stream_service_woken(stream_url: str) -> Iterator[None]:
    """Wake it beside what is done meanwhile; afterwards the request has left, or has had MOMENT_SECONDS more to."""
    sent = _waker(stream_url).wake()
    try:
        yield
    finally:
        if sent is not None:
            sent.wait(MOMENT_SECONDS)


@functools.cache
def _waker(stream_url: str) -> Waker:
    return Waker(stream_url)
