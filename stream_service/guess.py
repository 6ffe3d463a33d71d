"""An answer that is begun before the caller's words are final: when that is worth it, and what came of it. No I/O.

The recogniser says what it thinks while the caller speaks (`U`), and is sure only some time after they have stopped
(`A`). A model asked in between has answered that much earlier, if the words turn out to be the same. What is asked
and what becomes of the answer is `spoken_guesses.py`'s business.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream_service.events import AnswerFailed, Event

STABLE_SECONDS = 0.25  # how long an interim result has not changed; the recogniser updates it every 0.2 s
MOST_PER_UTTERANCE = 2  # a guess costs as much as an answer
MOST_WASTED = 5  # in a row; a recogniser whose interim results are never final ones is not worth more


@dataclass(slots=True)
class Guess:
    """An answer in the making that nobody may hear yet. `number` stands for it where a turn's would; it is negative."""

    number: int
    messages: tuple[Mapping[str, Any], ...]  # what the model was asked; the caller's words so far come last
    asked_at: float
    events: list[tuple[float, Event]] = field(default_factory=list)  # what came of it, and when

    def answers(self, messages: Sequence[Mapping[str, Any]]) -> bool:
        """Whether this is the answer to `messages`: all the same, and the caller's words the same words."""
        if any(isinstance(event, AnswerFailed) for _, event in self.events):
            return False
        *before, words = self.messages
        *really_before, final = messages
        return before == really_before and same_words(str(words["content"]), str(final["content"]))


class Interim:
    """What the recogniser makes of one utterance so far, and whether to guess on it. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.text = ""
        self._since = 0.0
        self._guessed = 0
        self._tried = ""  # the words of the last guess: the same once more would be no other

    def heard(self, text: str, now: float) -> bool:
        """Take the newest interim result; whether it says other words than before."""
        changed = not same_words(text, self.text)
        if changed:
            self._since = now
        self.text = text
        return changed

    @property
    def stable_at(self) -> float | None:
        """From when on a guess may be begun; None: not on these words."""
        spent = self._guessed >= MOST_PER_UTTERANCE or same_words(self.text, self._tried)
        return None if spent or not _words(self.text) else self._since + STABLE_SECONDS

    def guessed(self) -> None:
        self._guessed += 1
        self._tried = self.text


_NUMERAL = "0-9〇一二三四五六七八九十百千万億"
# What recognisers add or leave out without another word being said. A question mark is not among it: 行けます？
_PUNCTUATION = re.compile(r"[\s、。,.!…・「」『』]+")
_BETWEEN_NUMERALS = re.compile(rf"(?<=[{_NUMERAL}])[\s、。,.!…・「」『』]+(?=[{_NUMERAL}])")


def same_words(one: str, other: str) -> bool:
    """Whether two texts of a recogniser differ in punctuation, spaces and width of characters at most.

    Between two numerals nothing is left out: 3.5 is not 35, and 二、三人 is not 二三人.
    """
    return one == other or _words(one) == _words(other)


def _words(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).lower()
    kept = {match.start(): match.group() for match in _BETWEEN_NUMERALS.finditer(plain)}
    return _PUNCTUATION.sub(lambda match: kept.get(match.start(), ""), plain)
