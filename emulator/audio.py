"""Telephone audio: G.711 mu-law at 8 kHz, its loudness, WAV files, and where speech begins and ends in it.

Nothing here knows a vendor or a word: what a recording says is in `recordings`, the bot's voice in
`readable_voice`. 8 bytes of mu-law are one millisecond; a telephone frame is 20 ms. The codec is written out
because `audioop` left the standard library with Python 3.13.
"""

import functools
import math
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SAMPLE_RATE = 8000
BYTES_PER_MS = 8
FRAME_BYTES = 160
SILENCE = 0xFF
SPEECH_DBOV = -45.0  # between line noise (about -65) and quiet telephone speech (about -35)
_SILENT_DBOV = -127.0  # RFC 6464's "digital silence"
_LARGEST_WAV = 64 * 1024 * 1024


def _decode(code: int) -> int:
    """The linear sample of one mu-law byte (ITU-T G.711, table 2a), scaled to 16 bits."""
    inverted = ~code & 0xFF
    magnitude = (((inverted & 0x0F) << 3) + 0x84 << ((inverted & 0x70) >> 4)) - 0x84
    return -magnitude if inverted & 0x80 else magnitude


LINEAR = tuple(_decode(code) for code in range(256))
_SQUARE = tuple(sample * sample for sample in LINEAR)


@functools.cache
def _encoder() -> bytes:
    """The mu-law byte of every 16-bit sample, indexed by sample + 32768; built on first use (64 kB)."""
    positive = bytearray()
    for magnitude in range(32769):
        biased = min(magnitude, 32635) + 0x84
        segment = biased.bit_length() - 8
        positive.append(~(segment << 4 | (biased >> segment + 3) & 0x0F) & 0xFF)
    negative = bytes(code & 0x7F for code in positive[:0:-1])  # -32768 … -1
    return negative + bytes(positive[:-1])


def ulaw_from_pcm16(pcm: bytes) -> bytes:
    """Mu-law for 16-bit little-endian samples. Raises ValueError on half a sample."""
    if len(pcm) % 2:
        raise ValueError("16-bit audio with an odd number of bytes")
    table = _encoder()
    return bytes(table[sample + 32768] for sample in _samples(pcm))


def pcm16_from_ulaw(ulaw: bytes) -> bytes:
    """16-bit little-endian samples of mu-law audio."""
    samples = array("h", map(LINEAR.__getitem__, ulaw))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _samples(pcm: bytes) -> "array[int]":
    samples = array("h")
    samples.frombytes(pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def level(ulaw: bytes) -> float:
    """Loudness (RMS) in dBov: 0 is a full-scale square wave, -127 digital silence or no audio at all."""
    power = sum(map(_SQUARE.__getitem__, ulaw))
    if not power:
        return _SILENT_DBOV
    return max(_SILENT_DBOV, 10 * math.log10(power / len(ulaw) / 32768**2))


def is_speech(ulaw_frame: bytes) -> bool:
    """Whether a frame is loud enough to be somebody speaking."""
    return level(ulaw_frame) >= SPEECH_DBOV


def frames(ulaw: bytes) -> Iterator[bytes]:
    """The audio in 20 ms frames, the last one filled up with silence."""
    for start in range(0, len(ulaw), FRAME_BYTES):
        yield ulaw[start : start + FRAME_BYTES].ljust(FRAME_BYTES, bytes([SILENCE]))


def silence(ms: float) -> bytes:
    """That many milliseconds of digital silence."""
    return bytes([SILENCE]) * round(ms * BYTES_PER_MS)


# --- WAV ----------------------------------------------------------------------------------------------------


def wav_to_ulaw(source: Path | str | bytes) -> bytes:
    """Mu-law 8 kHz from a mono WAV file (its path or its bytes): mu-law or 16-bit PCM, 4 to 192 kHz.

    Raises ValueError saying what is wrong with the file. The `wave` module cannot read mu-law.
    """
    data = source if isinstance(source, bytes) else _read(Path(source))
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("not a WAV file")
    form = body = None
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        chunk = data[position + 8 : position + 8 + size]
        if name == b"fmt ":
            form = chunk
        elif name == b"data":
            body = chunk  # a length of 0xFFFFFFFF (written by pipes) takes what there is
            break
        position += 8 + size + size % 2
    if form is None or len(form) < 16 or body is None:
        raise ValueError("WAV file without a format or without audio")
    encoding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if channels != 1:
        raise ValueError(f"WAV file has {channels} channels, expected 1")
    if not 4000 <= rate <= 192_000:
        raise ValueError(f"WAV file has a sample rate of {rate} Hz")
    if (encoding, bits) == (7, 8):
        return body if rate == SAMPLE_RATE else ulaw_from_pcm16(_resampled(pcm16_from_ulaw(body), rate))
    if (encoding, bits) == (1, 16):
        whole = body[: len(body) // 2 * 2]
        return ulaw_from_pcm16(whole if rate == SAMPLE_RATE else _resampled(whole, rate))
    raise ValueError(f"WAV file with encoding {encoding} and {bits} bits; expected mu-law or 16-bit PCM")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_WAV:
            raise ValueError("WAV file is too large")
        return path.read_bytes()
    except OSError as exc:
        raise ValueError(f"WAV file cannot be read: {exc.strerror or exc}") from exc


def ulaw_to_wav(ulaw: bytes) -> bytes:
    """A mu-law WAV file (8 kHz, mono) holding this audio."""
    form = struct.pack("<HHIIHHH", 7, 1, SAMPLE_RATE, SAMPLE_RATE, 1, 8, 0)
    fact = struct.pack("<I", len(ulaw))
    chunks = b"".join(
        name + struct.pack("<I", len(chunk)) + chunk + b"\0" * (len(chunk) % 2)
        for name, chunk in ((b"fmt ", form), (b"fact", fact), (b"data", ulaw))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def _resampled(pcm: bytes, rate: int) -> bytes:
    """16-bit audio at 8 kHz, by a Hann-windowed sinc wide enough to keep what is above 4 kHz out."""
    samples = _samples(pcm)
    step = rate / SAMPLE_RATE
    widening = max(1.0, step)
    reach = math.ceil(8 * widening)
    taps = _sinc_taps(widening, reach)
    result = array("h")
    for index in range(int(len(samples) / step)):
        centre = index * step
        first = math.floor(centre)
        weights = taps[int((centre - first) * _PHASES)]
        low = first - reach + 1
        if low < 0 or low + 2 * reach > len(samples):
            window = [samples[i] if 0 <= i < len(samples) else 0 for i in range(low, low + 2 * reach)]
        else:
            window = samples[low : low + 2 * reach].tolist()
        total = sum(map(float.__mul__, weights, map(float, window)))
        result.append(max(-32768, min(32767, round(total))))
    if sys.byteorder == "big":
        result.byteswap()
    return result.tobytes()


_PHASES = 64


@functools.lru_cache(maxsize=8)
def _sinc_taps(widening: float, reach: int) -> list[list[float]]:
    rows = []
    for phase in range(_PHASES):
        row = []
        for tap in range(-reach + 1, reach + 1):
            distance = tap - phase / _PHASES
            hann = 0.5 + 0.5 * math.cos(math.pi * max(-1.0, min(1.0, distance / reach)))
            x = math.pi * distance / widening
            row.append(hann * (math.sin(x) / x if x else 1.0))
        total = sum(row)
        rows.append([weight / total for weight in row])
    return rows


# --- utterances ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """Somebody began to speak `ms` after the first byte fed."""

    ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The speech that began at `start_ms` was last heard at `ms`."""

    ms: int
    start_ms: int


_WINDOW_MS = 10
_BRIDGE_MS = 60  # a consonant's closure inside the first syllable does not start the count again


class UtteranceFinder:
    """Finds utterances by energy alone, as a voice activity detector does.

    Speech has started once `start_ms` of loud audio has come without a pause of more than 60 ms, and ended
    once `end_ms` of quiet has. The audio may come in pieces of any size: the events are the same.
    """

    def __init__(self, start_ms: int = 100, end_ms: int = 600, threshold: float = SPEECH_DBOV) -> None:
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.threshold = threshold
        self._rest = b""
        self._now = 0
        self._begin: int | None = None
        self._last_loud = 0
        self._loud = 0
        self.speaking = False

    @property
    def heard_ms(self) -> int:
        """How much audio has been judged, in milliseconds since the first byte."""
        return self._now

    def feed(self, ulaw: bytes) -> list[Started | Ended]:
        """The events that this next piece of audio brings, in order."""
        events: list[Started | Ended] = []
        data = self._rest + ulaw
        window = _WINDOW_MS * BYTES_PER_MS
        whole = len(data) // window * window
        for start in range(0, whole, window):
            event = self._judge(level(data[start : start + window]) >= self.threshold)
            if event:
                events.append(event)
        self._rest = data[whole:]
        return events

    def finish(self) -> list[Ended]:
        """The end of an utterance that is still open because the audio has ended."""
        if not self.speaking or self._begin is None:
            return []
        event = Ended(self._last_loud, self._begin)
        self._forget()
        return [event]

    def split(self) -> list[Started | Ended]:
        """Closes the open utterance here and opens the next at once (a vendor's longest utterance)."""
        if not self.speaking or self._begin is None:
            return []
        event = Ended(self._now, self._begin)
        self._begin = self._now
        return [event, Started(self._now)]

    def _judge(self, loud: bool) -> Started | Ended | None:
        begin_of_window = self._now
        self._now += _WINDOW_MS
        if loud:
            if self._begin is None:
                self._begin = begin_of_window
            self._last_loud = self._now
            self._loud += _WINDOW_MS
            if not self.speaking and self._loud >= self.start_ms:
                self.speaking = True
                return Started(self._begin)
            return None
        if self._begin is None:
            return None
        quiet = self._now - self._last_loud
        if self.speaking and quiet >= self.end_ms:
            event = Ended(self._last_loud, self._begin)
            self._forget()
            return event
        if not self.speaking and quiet > _BRIDGE_MS:
            self._forget()
        return None

    def _forget(self) -> None:
        self._begin = None
        self._loud = 0
        self.speaking = False
