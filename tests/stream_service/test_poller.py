"""The pollers agree: epoll, and what developers' machines have instead."""

import socket
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from both_codecs import compiled_codec

from stream_service import poller as pollers
from stream_service.poller import HANG_UP, READ, WRITE, Poller, SelectorPoller, new_poller


def systems_own() -> Poller:
    """The best one where nothing is compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pollers, "Mover", None)
        return new_poller(time.monotonic)


def compiled() -> Poller:
    mover = compiled_codec().Mover
    if mover is None:
        pytest.skip("there is no epoll here")
    made: Poller = mover(time.monotonic)
    return made


@pytest.fixture(params=[systems_own, compiled, SelectorPoller])
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    made: Poller = request.param()
    yield made
    made.close()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def test_interest_can_be_nothing_reading_writing_or_both(
    poller: Poller, ends: tuple[socket.socket, socket.socket]
) -> None:
    left, right = ends
    fd = left.fileno()
    right.send(b"x")
    poller.register(fd, 0)
    assert poller.poll(0) == []
    for interest in (READ, WRITE, READ | WRITE):
        poller.modify(fd, interest)
        assert poller.poll(0) == [(fd, interest)]
    poller.modify(fd, 0)
    assert poller.poll(0) == []
    poller.unregister(fd)


def test_what_was_unregistered_can_be_registered_again(
    poller: Poller, ends: tuple[socket.socket, socket.socket]
) -> None:
    left, right = ends
    right.send(b"x")
    for _ in range(2):
        poller.register(left.fileno(), READ)
        assert poller.poll(0) == [(left.fileno(), READ)]
        poller.unregister(left.fileno())
        assert poller.poll(0) == []


def test_a_wait_is_as_long_as_told(poller: Poller, ends: tuple[socket.socket, socket.socket]) -> None:
    left, _ = ends
    poller.register(left.fileno(), READ)
    before = time.monotonic()
    assert poller.poll(0.05) == []
    assert time.monotonic() - before >= 0.05


def test_who_was_closed_is_unknown(poller: Poller) -> None:
    left, right = socket.socketpair()
    fd = left.fileno()
    left.close()
    right.close()
    with pytest.raises((OSError, ValueError)):
        poller.register(fd, READ)


@pytest.mark.skipif(sys.platform != "linux", reason="only epoll tells")
@pytest.mark.parametrize("made", [systems_own, compiled])
def test_epoll_tells_of_a_hang_up_nobody_asked_for(
    made: Callable[[], Poller], ends: tuple[socket.socket, socket.socket]
) -> None:
    left, right = ends
    poller = made()
    poller.register(left.fileno(), 0)
    right.shutdown(socket.SHUT_WR)
    ((fd, events),) = poller.poll(1)
    assert fd == left.fileno()
    assert events & HANG_UP
    poller.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only epoll tells")
def test_many_sockets_take_turns_when_few_are_told_at_once() -> None:
    poller, pairs = compiled(), [socket.socketpair() for _ in range(200)]
    for left, right in pairs:
        poller.register(left.fileno(), READ)
        right.send(b"x")
    seen: set[int] = set()
    for _ in range(10):
        ready = poller.poll(0, 64)
        assert len(ready) <= 64
        seen |= {fd for fd, _ in ready}
    assert seen == {left.fileno() for left, _ in pairs}
    poller.close()
    for left, right in pairs:
        left.close()
        right.close()
