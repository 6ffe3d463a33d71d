"""Echoing over the product's own codec and pump; what the echo server and the echo client share."""

import threading
from math import inf
from typing import Final

from stream_service.pump import Limits, Link, Lost
from stream_service.wire.frames import Binary, Text

# The Autobahn suite sends messages of up to 16 MiB, in pieces as small as a byte, and pauses as it likes.
LIMITS: Final = Limits(
    max_message=64 << 20,
    messages_per_second=inf,
    bytes_per_second=inf,
    silence_seconds=None,
    control_bytes=128 << 20,
    write_stall_seconds=60,
)


class Echo:
    """Callbacks for one link that sends everything back. `link` must be set before the link is released."""

    link: Link

    def __init__(self) -> None:
        self.ended = threading.Event()

    def on_message(self, message: Text | Binary) -> None:
        if isinstance(message, Text):
            self.link.send_text(message.data)
        else:
            self.link.send_binary(message.data)

    def on_lost(self, _: Lost) -> None:
        self.ended.set()
