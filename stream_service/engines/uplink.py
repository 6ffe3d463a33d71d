"""The caller's audio on its way to a vendor: put into the vendor's messages, and kept for the session after a lost one.

It is a link's `route`, so it runs on the pump's thread for every frame; everything else is called from any thread.
`Uplink` is the compiled one where it has been built (`wire.build_codec`), `PythonUplink` says what it does.
"""

import binascii
import threading
from collections.abc import Callable

from stream_service.engines.journal import Journal
from stream_service.outbox import Outbox
from stream_service.wire import frames
from stream_service.wire.twilio_media import caller_audio


class PythonUplink:
    """A callable that takes Twilio's `media` messages; about any other it asks `other`, and else does not take it.

    The vendor's message is `prefix`, the audio, `suffix`: as base64 in a text message, or with `binary` the bytes
    themselves in a binary one. `idle_bytes` and `most_bytes` of mu-law are kept: see `Journal`, whose `position`,
    `need_from` and `settled` these are. Damaged audio is taken and forgotten.
    """

    def __init__(
        self,
        prefix: bytes,
        suffix: bytes,
        binary: bool,
        idle_bytes: int,
        most_bytes: int,
        other: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._other = other
        self._prefix, self._suffix, self._binary = prefix, suffix, binary
        self._journal = Journal(idle_bytes, most_bytes)
        self._lock = threading.Lock()  # between the pump's thread and the rest
        self._outbox: Outbox | None = None
        self._masked = False
        self._flush: Callable[[], None] = _nothing

    @property
    def position(self) -> int:
        """Of the next byte of mu-law, counted from the stream's first."""
        return self._journal.position

    @property
    def attached(self) -> bool:
        """Whether somebody gets the audio now."""
        return self._outbox is not None

    def __call__(self, message: bytes, /) -> bool:
        payload = caller_audio(message)
        if payload is None:
            return self._other is not None and self._other(message)
        chunk, size = self._chunk(payload)
        if size > 0:
            with self._lock:
                self._journal.append(chunk, size)
                if self._outbox is not None:
                    self._pass_on(self._outbox, chunk)
        return True

    def attach(self, outbox: Outbox, masked: bool, flush: Callable[[], None], /) -> int:
        """From now on the audio goes into `outbox`, and first what was kept; its position is returned.

        `masked`: frames are a client's. `flush` is called when the outbox has been empty before.
        """
        with self._lock:
            self._outbox, self._masked, self._flush = outbox, masked, flush
            start, kept = self._journal.replay()
            for chunk in [b"".join(kept)] if self._binary and kept else kept:
                self._pass_on(outbox, chunk)
            return start

    def detach(self) -> None:
        """Nobody gets the audio any more; it is kept as before."""
        with self._lock:
            self._outbox, self._flush = None, _nothing

    def need_from(self, position: int, /) -> None:
        with self._lock:
            self._journal.need_from(position)

    def settled(self, position: int, /) -> None:
        with self._lock:
            self._journal.settled(position)

    def _chunk(self, payload: bytes) -> tuple[bytes, int]:
        """What a payload is kept as, and how many bytes of mu-law it stands for; none when it is damaged."""
        if not self._binary:
            return payload, len(payload) * 3 // 4 - payload[-2:].count(b"=")
        try:
            ulaw = binascii.a2b_base64(payload)
        except binascii.Error:
            return b"", 0
        return ulaw, len(ulaw)

    def _pass_on(self, outbox: Outbox, chunk: bytes) -> None:
        encode = frames.encode_binary if self._binary else frames.encode_text
        was_empty = not outbox.size
        if outbox.put_audio(encode(self._prefix + chunk + self._suffix, self._masked)) and was_empty:
            self._flush()


def _nothing() -> None:
    """There is nothing to be written."""


try:
    from stream_service.wire._codec import Uplink as Uplink
except ImportError:  # it has not been built
    Uplink = PythonUplink  # type: ignore[misc, assignment]  # all of its interface that is used
