"""What a connection needs from the pump that moves it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # they know each other
    from stream_service.connection import Connection


class Loop(Protocol):
    """What a link needs from the pump. `post` and `flush_soon` work from any thread."""

    now: float

    def post(self, connection: "Connection", action: Callable[[], None], /) -> None: ...
    def flush_soon(self, connection: "Connection", /) -> None: ...
    def watch(self, fd: int, interest: int, /) -> None: ...
    def forget(self, connection: "Connection", /) -> None: ...
