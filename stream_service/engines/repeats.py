"""What a vendor says once more in the same words, and what of that is news: that it did.

It is a link's `route`, so it runs on the pump's thread. `Repeats` is the compiled one where it has been built
(`wire.build_codec`), `PythonRepeats` says what it does.
"""

from collections.abc import Callable


class PythonRepeats:
    """A callable that takes a message with this `lead` which is the same as the one before it; the rest is `other`'s.

    `again` says that the newest was one that it took; whoever looks unsets it.
    """

    def __init__(self, lead: bytes, other: Callable[[bytes], bool]) -> None:
        self._lead = lead
        self._other = other
        self._last: bytes | None = None
        self.again = False

    def __call__(self, message: bytes, /) -> bool:
        if message == self._last and message.startswith(self._lead):
            self.again = True
            return True
        self._last, self.again = message, False
        return self._other(message)


try:
    from stream_service.wire._codec import Repeats as Repeats
except ImportError:  # it has not been built
    Repeats = PythonRepeats  # type: ignore[misc, assignment]  # all of its interface that is used
