"""Which sockets are ready: epoll on Linux, whatever the system has elsewhere. What to do about it is not said here."""

import contextlib
import select
import selectors
import sys
from collections.abc import Callable
from typing import Final, Protocol

from stream_service.lane import Lane

READ: Final = 0x001
WRITE: Final = 0x004
# The peer is gone, or has stopped writing. The numbers are those of <sys/epoll.h>: its events are used as they come.
HANG_UP: Final = 0x2000 | 0x010 | 0x008
# What only a poller reports that has moved something by itself and cannot go on; numbered as in `_codec_lane.h`.
DELIVER: Final = 1 << 20  # there are messages to be pulled, or there were too many
ENDED: Final = 1 << 21  # the peer sends no more
FAILED: Final = 1 << 22  # the lane says how
FLUSH: Final = 1 << 23  # what waits could not all be written, or the last of it has been


class Poller(Protocol):
    """The part of `select.epoll` that the pump uses; interest is READ, WRITE, both or 0.

    A poller that can may move what is in a `lane` itself; then it reports only what it leaves to do, or nothing.
    `uneasy` gives the sockets whose lanes are not at ease (`Lane.at_ease`).
    """

    def register(self, fd: int, interest: int, lane: Lane | None = None, /) -> None: ...
    def modify(self, fd: int, interest: int, /) -> None: ...
    def unregister(self, fd: int, /) -> None: ...
    def poll(self, timeout: float | None = None, maxevents: int = -1, /) -> list[tuple[int, int]]: ...
    def uneasy(self, now: float, /) -> list[int]: ...
    def close(self) -> None: ...


def new_poller(clock: Callable[[], float]) -> Poller:
    """The best poller there is here, level-triggered. `clock` says when something is heard that it moves by itself."""
    if Mover is not None:
        return Mover(clock)
    return EpollPoller() if sys.platform == "linux" else SelectorPoller()


class _Lanes:
    """The lanes of a poller that moves nothing by itself."""

    def __init__(self) -> None:
        self._lanes: dict[int, Lane] = {}

    def uneasy(self, now: float, /) -> list[int]:
        """Whose connection somebody should look at the clock for."""
        return [fd for fd, lane in self._lanes.items() if not lane.at_ease(now)]


if sys.platform == "linux":

    class EpollPoller(_Lanes):
        """epoll that also tells of the hang-up of a peer that nobody reads from."""

        def __init__(self) -> None:
            super().__init__()
            self._epoll = select.epoll()
            self.poll = self._epoll.poll
            self.close = self._epoll.close

        def register(self, fd: int, interest: int, lane: Lane | None = None, /) -> None:
            self._epoll.register(fd, interest if interest & READ else interest | select.EPOLLRDHUP)
            if lane is not None:
                self._lanes[fd] = lane

        def unregister(self, fd: int, /) -> None:
            self._lanes.pop(fd, None)
            self._epoll.unregister(fd)

        def modify(self, fd: int, interest: int, /) -> None:
            self._epoll.modify(fd, interest if interest & READ else interest | select.EPOLLRDHUP)


class SelectorPoller(_Lanes):
    """For developers' machines without epoll. It cannot tell of the hang-up of a peer that nobody reads from."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = selectors.DefaultSelector()

    def register(self, fd: int, interest: int, lane: Lane | None = None, /) -> None:
        """Begin to watch; with no interest the selector does not hear of the socket at all."""
        if lane is not None:
            self._lanes[fd] = lane
        if interest:
            self._selector.register(fd, _events(interest))

    def modify(self, fd: int, interest: int, /) -> None:
        """Watch for something else."""
        lane = self._lanes.get(fd)
        self.unregister(fd)
        self.register(fd, interest, lane)

    def unregister(self, fd: int, /) -> None:
        """Stop watching."""
        self._lanes.pop(fd, None)
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def poll(self, timeout: float | None = None, maxevents: int = -1, /) -> list[tuple[int, int]]:  # noqa: ARG002
        """What is ready, as (fd, READ | WRITE); waits `timeout` seconds at most, None for ever. All at once."""
        ready = self._selector.select(timeout)
        return [
            (key.fd, (events & selectors.EVENT_READ and READ) | (events & selectors.EVENT_WRITE and WRITE))
            for key, events in ready
        ]

    def close(self) -> None:
        """Give the system its resources back."""
        self._selector.close()


def _events(interest: int) -> int:
    return (interest & READ and selectors.EVENT_READ) | (interest & WRITE and selectors.EVENT_WRITE)


Mover: Callable[[Callable[[], float]], Poller] | None = None
with contextlib.suppress(ImportError):  # it has not been built, or there is no epoll here
    from stream_service.wire._codec import Mover as Mover
