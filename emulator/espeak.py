"""Speech from text by espeak-ng, and noise, as they sound on a telephone line (mu-law, 8 kHz).

Which lines are shipped and what they say is in `recordings`; making their files is `record_lines`.
"""

import math
import random
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

from emulator.audio import level, pcm16_from_ulaw, ulaw_from_pcm16, wav_to_ulaw

_ESPEAK = "espeak-ng"
_SECONDS_ALLOWED = 20
_LONGEST_TEXT = 500
_SPOKEN_DBOV = -20.0
_NOISE = 24  # peak of the line noise, of 32767: about -66 dBov
_MARGIN_MS = 100


class SpeechUnavailable(Exception):  # noqa: N818 - reads as what it means where it is caught
    """Text cannot be turned into speech on this machine; the message says what to do."""


def missing() -> bool:
    """Whether espeak-ng is not on this machine."""
    return shutil.which(_ESPEAK) is None


def speech(text: str, *, speed: int = 150, pitch: int = 50) -> bytes:
    """Japanese speech of up to 500 characters; the same text always gives the same audio.

    `speed` is in words a minute, `pitch` is 0 to 99. espeak-ng spells kanji out one by one: give it kana.
    Raises SpeechUnavailable when espeak-ng is missing or fails, ValueError for text it cannot say.
    """
    words = text.strip()
    if not words or len(words) > _LONGEST_TEXT or not words.isprintable():
        raise ValueError(f"text to be spoken must be 1 to {_LONGEST_TEXT} printable characters")
    program = shutil.which(_ESPEAK)
    if program is None:
        raise SpeechUnavailable("espeak-ng is not installed (Debian, Ubuntu: apt-get install espeak-ng)")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = [program, "-v", "ja", "-s", str(speed), "-p", str(pitch), "-w", str(path), "--", words]
        try:
            subprocess.run(  # noqa: S603 - an argument list: nothing in the text is interpreted
                command, check=True, capture_output=True, timeout=_SECONDS_ALLOWED
            )
            ulaw = wav_to_ulaw(path)
        except (OSError, subprocess.SubprocessError, ValueError) as exc:
            raise SpeechUnavailable(f"espeak-ng could not speak the text: {exc}") from exc
    return _on_the_line(ulaw, words)


def cough() -> bytes:
    """Two short bursts of noise: loud enough for a detector of speech, and no words."""
    chance = random.Random(1)  # noqa: S311 - noise, not a secret
    samples = [0.0] * 6400
    for start, length, loudness in ((800, 1300, 9000.0), (3000, 1700, 6000.0)):
        previous = 0.0
        for offset in range(length):
            previous = 0.6 * previous + 0.4 * chance.uniform(-1, 1)
            attack = min(1.0, offset / 120)
            samples[start + offset] = 2 * loudness * previous * attack * math.exp(-3.0 * offset / length)
    pcm = struct.pack(f"<{len(samples)}h", *(round(sample) for sample in samples))
    return _on_the_line(ulaw_from_pcm16(pcm), "cough")


def _on_the_line(ulaw: bytes, seed: str) -> bytes:
    """The speech at telephone loudness with a little line noise: no two lines share a stretch of audio then."""
    pcm = pcm16_from_ulaw(ulaw)
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    loud = [index for index, sample in enumerate(samples) if abs(sample) > 300]
    begin, end = (loud[0], loud[-1] + 1) if loud else (0, len(samples))
    spoken = samples[begin:end]
    gain = 10 ** ((_SPOKEN_DBOV - level(ulaw[begin:end])) / 20)
    margin = (0,) * (_MARGIN_MS * 8)
    chance = random.Random(zlib.crc32(seed.encode("utf-8", "replace")))  # noqa: S311 - noise, not a secret
    mixed = [
        max(-32000, min(32000, round(sample * gain) + chance.randint(-_NOISE, _NOISE)))
        for sample in (*margin, *spoken, *margin)
    ]
    return ulaw_from_pcm16(struct.pack(f"<{len(mixed)}h", *mixed))
