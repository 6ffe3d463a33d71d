"""Lays audio beside known recordings, byte for byte: which stretch of which recording is heard where.

It knows bytes and positions only; what a gap between two stretches means is judged in `recordings`.
"""

from dataclasses import dataclass

_CHUNK = 20  # bytes: long enough to be rare, short enough to find a stretch between two losses
_DULL = 5  # chunks with fewer different bytes than this (silence, tones) are everywhere and mark no place
_COMMON = 16  # places of one chunk worth remembering; steadier sounds than that mark no place either
_CREDIBLE = 80  # a stretch shorter than this (10 ms) is taken for chance


@dataclass(frozen=True, slots=True)
class Stretch:
    """`length` bytes that are the same at `heard` in the audio and at `recorded` in the recording `name`."""

    name: str
    heard: int
    recorded: int
    length: int


class Index:
    """Where each chunk of the recordings is. Not safe for several threads: its owner holds a lock."""

    def __init__(self) -> None:
        self._audio: dict[str, bytes] = {}
        self._places: dict[bytes, list[tuple[str, int]]] = {}

    def add(self, name: str, ulaw: bytes) -> None:
        """Makes a recording findable under this name."""
        self._audio[name] = ulaw
        for position in range(0, len(ulaw) - _CHUNK + 1, _CHUNK):
            chunk = ulaw[position : position + _CHUNK]
            if len(set(chunk)) >= _DULL:
                places = self._places.setdefault(chunk, [])
                if len(places) < _COMMON:
                    places.append((name, position))

    def align(self, ulaw: bytes) -> list[Stretch]:
        """The recorded stretches in this audio, in the order heard; they do not overlap in the audio."""
        stretches: list[Stretch] = []
        position = free = 0
        places_of = self._places.get
        while position + _CHUNK <= len(ulaw):
            places = places_of(ulaw[position : position + _CHUNK])
            best = self._best(ulaw, position, free, places, stretches) if places else None
            if best is None:
                position += 1
                continue
            stretches.append(best)
            position = free = best.heard + best.length
        return stretches

    def _best(
        self, ulaw: bytes, position: int, free: int, places: list[tuple[str, int]], before: list[Stretch]
    ) -> Stretch | None:
        """The most believable stretch around a chunk: the longest, or one that goes on after the last one."""
        last = before[-1] if before else None
        best: Stretch | None = None
        best_worth = 0
        for name, place in places:
            audio = self._audio[name]
            left = _same_before(ulaw, position, free, audio, place)
            right = _same_after(ulaw, position, audio, place)
            stretch = Stretch(name, position - left, place - left, left + right)
            if stretch.length < _CREDIBLE:
                continue
            goes_on = last is not None and last.name == name and stretch.recorded >= last.recorded + last.length
            worth = stretch.length * (4 if goes_on else 1)
            if worth > best_worth:
                best, best_worth = stretch, worth
        return best


def _same_after(ulaw: bytes, position: int, audio: bytes, place: int) -> int:
    """How many bytes from here on are the same in both."""
    most = min(len(ulaw) - position, len(audio) - place)
    same, step = 0, 4096
    while same < most:
        step = min(step, most - same)
        if ulaw[position + same : position + same + step] == audio[place + same : place + same + step]:
            same += step
        elif step == 1:
            break
        else:
            step //= 2
    return same


def _same_before(ulaw: bytes, position: int, free: int, audio: bytes, place: int) -> int:
    """How many bytes before here are the same in both, not going back beyond `free` in the audio."""
    most = min(position - free, place)
    same = 0
    while same < most and ulaw[position - same - 1] == audio[place - same - 1]:
        same += 1
    return same
