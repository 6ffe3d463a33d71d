"""What makes a call's thread stop what it is doing, wherever it waits. Only the two reasons."""

from __future__ import annotations

from emulator.twilio.plan import Source


class CallOver(Exception):  # noqa: N818  # control flow; nothing is wrong
    """The call has ended; whoever was doing something for it stops."""


class Redirected(Exception):  # noqa: N818  # control flow; nothing is wrong
    """A REST update: the running verb ends here and now, `source` is what comes next."""

    def __init__(self, source: Source) -> None:
        super().__init__("redirected")
        self.source = source
