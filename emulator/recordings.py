"""Recorded speech and a library that knows its recordings again by their audio.

Mu-law passes through the whole product byte for byte, so whatever reaches a recogniser can be laid exactly
beside the recording it came from: lost, repeated and damaged audio shows to the millisecond. How the shipped
recordings were made is in `espeak` and `record_lines`; finding where speech begins and ends is in `audio`.
"""

import itertools
import re
import threading
import tomllib
from dataclasses import dataclass
from importlib import resources

from emulator import espeak, readable_voice
from emulator.alignment import Index, Stretch
from emulator.audio import BYTES_PER_MS, UtteranceFinder, wav_to_ulaw

SpeechUnavailable = espeak.SpeechUnavailable

# A detector of speech may cut this much from an utterance's ends without anything being called missing.
EDGE_MS = 80
_LOST = "…"


@dataclass(frozen=True, slots=True)
class Recording:
    """A piece of audio (mu-law, 8 kHz) and the words spoken in it; "" for a noise."""

    name: str
    text: str
    ulaw: bytes

    @property
    def seconds(self) -> float:
        return len(self.ulaw) / 8000


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a stretch of audio was found to be.

    `text` is what can still be understood, "…" standing for words that were lost. `recordings` are all that
    were found, in order, `recording` the first of them. Milliseconds are rounded up, so no fault shows as 0.
    """

    text: str
    recording: Recording | None = None
    missing_ms: int = 0
    repeated_ms: int = 0
    damaged_ms: int = 0
    recordings: tuple[Recording, ...] = ()

    @property
    def sentence(self) -> str:
        """The text as recognisers write it: ended by a full stop even where the transcript has none."""
        return re.sub(r"(?<![。？！])\Z", "。", self.text) if self.text else ""

    @property
    def intact(self) -> bool:
        """Whether every byte of the speech came through once and in order."""
        return not (self.missing_ms or self.repeated_ms or self.damaged_ms)


def synthesise(text: str) -> Recording:
    """A new recording of any text of up to 500 characters, spoken by espeak-ng and named by the text.

    It does not read kanji: kana sounds right, while a library knows either again by its audio.
    Raises SpeechUnavailable when espeak-ng is missing or fails, ValueError for text it cannot say.
    """
    return Recording(text, text, espeak.speech(text))


class Library:
    """Recordings by name, recognisable by audio. Safe to use and to add to from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recordings: dict[str, Recording] = {}
        self._speech: dict[str, tuple[int, int]] = {}
        self._index = Index()

    @classmethod
    def shipped(cls) -> "Library":
        """A new library with the recordings that come with the emulator."""
        library = cls()
        folder = resources.files("emulator") / "recordings"
        lines = tomllib.loads((folder / "lines.toml").read_text(encoding="utf-8"))
        for name, line in lines["line"].items():
            library.add(line["text"], wav_to_ulaw((folder / f"{name}.wav").read_bytes()), name)
        return library

    def __getitem__(self, name: str) -> Recording:
        """The recording of that name. Raises KeyError."""
        with self._lock:
            return self._recordings[name]

    def __contains__(self, name: object) -> bool:
        with self._lock:
            return name in self._recordings

    @property
    def names(self) -> list[str]:
        with self._lock:
            return list(self._recordings)

    def add(self, text: str, ulaw: bytes, name: str | None = None) -> Recording:
        """Makes a recording known. The same audio and text again gives the recording that is there already.

        Raises ValueError when the name is taken by another recording.
        """
        with self._lock:
            for known in self._recordings.values():
                if known.ulaw == ulaw and known.text == text and name in (None, known.name):
                    return known
            name = name or f"recording-{len(self._recordings) + 1}"
            if name in self._recordings:
                raise ValueError(f"there is already a recording called {name!r}")
            recording = Recording(name, text, bytes(ulaw))
            # Indexed before it is listed: whoever finds its name can also recognise it.
            self._index.add(name, recording.ulaw)
            self._speech[name] = _extent(recording.ulaw)
            self._recordings[name] = recording
            return recording

    def recognise(self, ulaw: bytes, *, complete: bool = True) -> Recognised:
        """What is said in this audio: shipped or added recordings, or the readable voice; else text "".

        `complete=False` is for audio that is still coming in: what has not come yet is not called missing.
        """
        with self._lock:
            found = self._index.align(bytes(ulaw))
            utterances = [
                _Utterance(self._recordings[name], self._speech[name], stretches)
                for name, stretches in _one_by_one(found)
            ]
        if not utterances:
            return Recognised(readable_voice.read(ulaw))
        for utterance in utterances[:-1] if not complete else utterances:
            utterance.close()
        texts = [text for utterance in utterances if (text := utterance.text())]
        return Recognised(
            text="、".join(texts),
            recording=utterances[0].recording,
            missing_ms=_ms(sum(u.missing for u in utterances)),
            repeated_ms=_ms(sum(u.repeated for u in utterances)),
            damaged_ms=_ms(sum(u.damaged for u in utterances)),
            recordings=tuple(u.recording for u in utterances),
        )


def _ms(count: int) -> int:
    return -(-count // BYTES_PER_MS)


def _extent(ulaw: bytes) -> tuple[int, int]:
    """Where the speech of a recording begins and ends (bytes); all of it when it is too quiet to tell."""
    finder = UtteranceFinder(start_ms=30, end_ms=200)
    events = [*finder.feed(ulaw), *finder.finish()]
    if not events:
        return 0, len(ulaw)
    return events[0].ms * BYTES_PER_MS, events[-1].ms * BYTES_PER_MS


def _one_by_one(found: list[Stretch]) -> list[tuple[str, list[Stretch]]]:
    """The stretches of each playing: a new one begins with another recording, or all over again."""
    playings: list[tuple[str, list[Stretch]]] = []
    for stretch in found:
        if playings:
            name, stretches = playings[-1]
            back = stretches[-1].recorded + stretches[-1].length - stretch.recorded
            if name == stretch.name and (back < 4000 or stretch.recorded > 800):
                stretches.append(stretch)
                continue
        playings.append((stretch.name, [stretch]))
    return playings


class _Utterance:
    """One playing of one recording: which of its bytes came, and what happened to the others."""

    def __init__(self, recording: Recording, speech: tuple[int, int], stretches: list[Stretch]) -> None:
        self.recording = recording
        self.missing = self.repeated = self.damaged = 0
        self._speech = speech
        self._lost: list[tuple[int, int]] = []
        self._heard_to = max(s.recorded + s.length for s in stretches)
        edge = EDGE_MS * BYTES_PER_MS
        if stretches[0].recorded > speech[0] + edge:
            self._lose(speech[0], stretches[0].recorded)
            self.missing += stretches[0].recorded - speech[0]
        reached = stretches[0].recorded + stretches[0].length
        for before, after in itertools.pairwise(stretches):
            strange = after.heard - (before.heard + before.length)
            gap = after.recorded - reached
            self.damaged += strange
            if gap > 0:
                self._lose(reached, after.recorded)
                self.missing += max(0, gap - strange)
            else:
                self.repeated += min(after.length, -gap)
            reached = max(reached, after.recorded + after.length)

    def close(self) -> None:
        """The audio is over: what has not come by now is missing."""
        if self._heard_to < self._speech[1] - EDGE_MS * BYTES_PER_MS:
            self._lose(self._heard_to, self._speech[1])
            self.missing += self._speech[1] - self._heard_to

    def _lose(self, start: int, end: int) -> None:
        self._lost.append((start, end))

    def text(self) -> str:
        """The words whose larger part came through, spread evenly over the speech."""
        words, (begin, end) = self.recording.text, self._speech
        heard = []
        for place, character in enumerate(words):
            start = begin + (end - begin) * place // len(words)
            stop = begin + (end - begin) * (place + 1) // len(words)
            if stop > self._heard_to + (stop - start) // 2 and not self._lost_after(stop):
                break  # not said yet
            lost = sum(max(0, min(stop, b) - max(start, a)) for a, b in self._lost)
            if lost * 2 <= stop - start:
                heard.append(character)
            elif not heard or heard[-1] != _LOST:
                heard.append(_LOST)
        return "".join(heard)

    def _lost_after(self, position: int) -> bool:
        return any(start < position <= end for start, end in self._lost)
