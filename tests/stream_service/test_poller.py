"""The pollers agree: epoll, and what developers' machines have instead."""

import socket
import sys
from collections.abc import Iterator

import pytest

from stream_service.poller import HANG_UP, READ, WRITE, Poller, SelectorPoller, new_poller


@pytest.fixture(params=[new_poller, SelectorPoller])
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


@pytest.mark.skipif(sys.platform != "linux", reason="only epoll tells")
def test_epoll_tells_of_a_hang_up_nobody_asked_for(ends: tuple[socket.socket, socket.socket]) -> None:
    left, right = ends
    poller = new_poller()
    poller.register(left.fileno(), 0)
    right.shutdown(socket.SHUT_WR)
    ((fd, events),) = poller.poll(1)
    assert fd == left.fileno()
    assert events & HANG_UP
    poller.close()
