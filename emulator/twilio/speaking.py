"""How long a text takes to be spoken, and how much of it has been heard at a given moment. Pure.

The figures stand for Twilio's text-to-speech, whose real pace depends on the voice.
"""

from __future__ import annotations

import unicodedata

WIDE_PER_SECOND = 7.5  # kana and kanji
NARROW_PER_SECOND = 14.0  # latin letters, digits, signs
SHORTEST_SECONDS = 0.3


def _character_seconds(character: str) -> float:
    wide = unicodedata.east_asian_width(character) in ("W", "F")
    return 1 / (WIDE_PER_SECOND if wide else NARROW_PER_SECOND)


def seconds(text: str, rate: float = 1.0) -> float:
    """Seconds that `text` takes at `rate` times the usual pace."""
    return max(SHORTEST_SECONDS, sum(map(_character_seconds, text))) / rate


def heard_after(text: str, elapsed: float, rate: float = 1.0) -> str:
    """The part of `text` that has been spoken after `elapsed` seconds."""
    left = elapsed * rate + 1e-6  # rounding must not take away the last character of a finished sentence
    for index, character in enumerate(text):
        left -= _character_seconds(character)
        if left < 0:
            return text[:index]
    return text
