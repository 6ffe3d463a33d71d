"""Waking the stream service: one request that nobody waits for, whatever the service does with it."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from callbot.waking import AGAIN_SECONDS, AWAKE_SECONDS, MOMENT_SECONDS, Waker, _waker, stream_service_woken

PATIENCE = 10.0


class SlowStart:
    """A service whose requests wait until it has started, as they do in front of Cloud Run."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/ws"
        self.started = threading.Event()
        self.asked: list[bytes] = []
        self.ended = threading.Semaphore(0)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(PATIENCE)
                self.asked.append(peer.recv(4096))
                self.started.wait(PATIENCE)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(4096):
                    pass
            self.ended.release()

    def close(self) -> None:
        self.started.set()
        self._listener.close()


@pytest.fixture
def service() -> Iterator[SlowStart]:
    service = SlowStart()
    yield service
    service.close()


def test_a_service_that_starts_for_seconds_keeps_nobody_waiting(service: SlowStart) -> None:
    waker = Waker(service.url)
    sent = waker.wake()
    assert sent is not None
    assert sent.wait(PATIENCE)  # though the service has not answered, and will not for a while
    assert not service.started.is_set()
    service.started.set()
    assert service.ended.acquire(timeout=PATIENCE)  # and then nothing is left open
    (asked,) = service.asked
    assert asked.startswith(b"GET /health HTTP/1.1\r\n")
    assert b"connection: close" in asked.lower()


def test_one_request_at_a_time_and_not_again_for_a_while(service: SlowStart) -> None:
    now = [1000.0]
    waker = Waker(service.url, lambda: now[0])
    first = waker.wake()
    assert first is not None
    assert first.wait(PATIENCE)
    assert waker.wake() is None  # it is under way
    service.started.set()
    assert service.ended.acquire(timeout=PATIENCE)
    _until(lambda: not waker._asking)
    now[0] += AWAKE_SECONDS - 1
    assert waker.wake() is None
    now[0] += 1
    again = waker.wake()
    assert again is not None
    assert service.ended.acquire(timeout=PATIENCE)
    assert len(service.asked) == 2


def test_a_service_that_is_not_there_is_asked_again_a_little_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    now = [1000.0]
    waker = Waker(f"ws://127.0.0.1:{port}/ws", lambda: now[0])
    for _ in range(2):
        sent = waker.wake()
        assert sent is not None
        assert sent.wait(PATIENCE)
        _until(lambda: not waker._asking)
        assert waker.wake() is None
        now[0] += AGAIN_SECONDS


@pytest.mark.parametrize("url", ["wss://", "ws://127.0.0.1:99999/ws", "wss://127.0.0.1:1/ws"])
def test_no_address_is_an_error(url: str) -> None:
    sent = Waker(url).wake()
    assert sent is not None
    assert sent.wait(PATIENCE)


def test_work_is_done_beside_it_and_waits_a_moment_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    class Never(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waited.append(timeout)
            return False

    monkeypatch.setattr(Waker, "wake", lambda _: Never())
    with stream_service_woken("ws://stream.test/ws"):
        assert waited == []
    assert waited == [MOMENT_SECONDS]


def test_a_failure_of_the_work_is_the_works() -> None:
    with pytest.raises(LookupError), stream_service_woken("ws://127.0.0.1:9/ws"):
        raise LookupError
    _waker.cache_clear()


def _until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(200):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("never happened")
