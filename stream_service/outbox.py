"""What waits to be written to one peer: whole frames in order, within bounds. Sockets and frame formats stay outside.

Two kinds of frames wait here. Audio is perishable: over its bound the oldest goes, and all of it can be forgotten when
the caller talks over the bot. Control (everything else) must arrive, so over its bound the outbox gives up.

`Outbox` is the compiled one where it has been built (`wire.build_codec`), `PythonOutbox` says what it does.
"""

import threading
from collections import deque


class PythonOutbox:
    """A bounded buffer with two policies. Every method may be called from any thread and none waits.

    `size` is the number of bytes waiting, `peak` the most there ever were, `dropped` the number of audio frames thrown
    away over the bound, `taken` the number of frames handed out, `finished` whether no more are accepted,
    and `overflowed` whether that is so because too much control had to wait.
    """

    __slots__ = (
        "_audio",
        "_audio_gone",
        "_audio_limit",
        "_audio_size",
        "_control",
        "_control_limit",
        "_control_size",
        "_lock",
        "dropped",
        "finished",
        "overflowed",
        "peak",
        "size",
        "taken",
    )

    def __init__(self, audio_limit: int, control_limit: int) -> None:
        self._lock = threading.Lock()
        self._audio_limit = audio_limit
        self._control_limit = control_limit
        self._audio: deque[bytes] = deque()
        self._audio_size = 0
        # Each control frame remembers how many audio frames were ever put before it. It is its turn once that many are
        # gone, whether written or dropped; so audio needs no numbers, and dropping it needs no search.
        self._control: deque[tuple[int, bytes]] = deque()
        self._control_size = 0
        self._audio_gone = 0
        self.size = 0
        self.peak = 0
        self.dropped = 0
        self.taken = 0
        self.finished = False
        self.overflowed = False

    def put_audio(self, frame: bytes) -> bool:
        """Queue an audio frame, dropping the oldest ones if it must. False if it is not taken itself."""
        size = len(frame)
        with self._lock:
            if self.finished:
                return False
            if size > self._audio_limit:
                self.dropped += 1
                return False
            while self._audio_size + size > self._audio_limit:
                self._forget_oldest()
            self._audio.append(frame)
            self._audio_size += size
            self.size = waiting = self.size + size
            if waiting > self.peak:
                self.peak = waiting
            return True

    def put_control(self, frame: bytes) -> bool:
        """Queue a frame that must arrive. False when that goes over the bound: then nothing is accepted any more.

        A frame for a finished outbox is ignored: whoever sends it has yet to hear that the peer is gone.
        """
        with self._lock:
            if self.finished:
                return True
            if self._control_size + len(frame) > self._control_limit:
                self.finished = self.overflowed = True
                return False
            self._append_control(frame)
            return True

    def finish(self, last: bytes = b"") -> bool:
        """Accept nothing after the frame `last`, which is taken even over the bound. False if finished before."""
        with self._lock:
            if self.finished:
                return False
            self.finished = True
            if last:
                self._append_control(last)
            return True

    def discard_audio(self) -> int:
        """Forget the audio that waits; the number of frames that were."""
        with self._lock:
            count = len(self._audio)
            self._audio.clear()
            self._audio_gone += count
            self.size -= self._audio_size
            self._audio_size = 0
            return count

    def take(self, limit: int) -> bytes:
        """Remove and return the frames whose turn it is, joined: as many as fit in `limit` bytes, but one at least.

        Empty when nothing waits.
        """
        with self._lock:
            if not self._control and len(self._audio) == 1:
                self._audio_size = self.size = 0
                self._audio_gone += 1
                self.taken += 1
                return self._audio.popleft()
            frames: list[bytes] = []
            while self.size:
                is_control = bool(self._control) and self._control[0][0] <= self._audio_gone
                limit -= len(self._control[0][1] if is_control else self._audio[0])
                if frames and limit < 0:
                    break
                frames.append(self._take_control() if is_control else self._take_audio())
            return frames[0] if len(frames) == 1 else b"".join(frames)

    def _append_control(self, frame: bytes) -> None:
        self._control.append((self._audio_gone + len(self._audio), frame))
        self._control_size += len(frame)
        self.size += len(frame)
        if self.size > self.peak:
            self.peak = self.size

    def _forget_oldest(self) -> None:
        size = len(self._audio.popleft())
        self._audio_gone += 1
        self._audio_size -= size
        self.size -= size
        self.dropped += 1

    def _take_audio(self) -> bytes:
        frame = self._audio.popleft()
        size = len(frame)
        self._audio_gone += 1
        self._audio_size -= size
        self.size -= size
        self.taken += 1
        return frame

    def _take_control(self) -> bytes:
        _, frame = self._control.popleft()
        self._control_size -= len(frame)
        self.size -= len(frame)
        self.taken += 1
        return frame


try:
    from stream_service.wire._codec import Outbox as Outbox
except ImportError:  # it has not been built
    Outbox = PythonOutbox  # type: ignore[misc, assignment]  # all of its interface that is used
