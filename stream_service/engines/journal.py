"""The caller's last seconds of audio, kept so that a vendor who was lost in mid-sentence hears them again. No I/O.

Positions are bytes of mu-law since the stream began, 8 to a millisecond.
"""

from collections import deque

BYTES_PER_MS = 8
PRE_ROLL_BYTES = 1000 * BYTES_PER_MS  # kept of silence: the first sounds of an utterance are found late
MOST_BYTES = 10_000 * BYTES_PER_MS  # of an utterance that goes on; older speech would come too late to matter


class Journal:
    """A bounded queue of audio chunks. A chunk may be kept in any form; `size` is what it is as mu-law.

    `most_bytes` are kept while an utterance is needed, `idle_bytes` of silence.
    """

    def __init__(self, idle_bytes: int = PRE_ROLL_BYTES, most_bytes: int = MOST_BYTES) -> None:
        self._idle_bytes, self._most_bytes = idle_bytes, most_bytes
        self._chunks: deque[tuple[bytes, int]] = deque()
        self.position = 0  # of the next byte
        self._start = 0  # of the oldest byte kept
        self._needed: deque[int] = deque()  # where utterances began that have not been understood yet

    def append(self, chunk: bytes, size: int) -> None:
        self._chunks.append((chunk, size))
        self.position += size
        bound = self._most_bytes if self._needed else self._idle_bytes
        while self.position - self._start > bound:
            self._drop()

    def need_from(self, position: int) -> None:
        """Speech has begun here: keep it until `settled`."""
        self._needed.append(position)

    def settled(self, position: int) -> None:
        """Everything before `position` has been understood."""
        while self._needed and self._needed[0] < position:
            self._needed.popleft()
        while self._chunks and self._start + self._chunks[0][1] <= position:
            self._drop()

    def replay(self) -> tuple[int, list[bytes]]:
        """The position of the oldest byte kept, and the chunks from there on."""
        return self._start, [chunk for chunk, _ in self._chunks]

    def _drop(self) -> None:
        _, size = self._chunks.popleft()
        self._start += size
