"""What the log is told of one stream from its record: each answered turn, silences too long, and what is billed.

It reads what is kept of turns and usage, and decides nothing about the call. Never words, only how many.
"""

from collections import Counter
from collections.abc import Mapping
from math import ceil
from typing import Any

from callbot.calls import Turn
from stream_service.commands import Note

LONG_SILENCE_SECONDS = 3.0  # what callers are promised: no longer without a sound that explains the wait
_STAGES = {
    "transcript": "transcriptMs",
    "first_token": "firstTokenMs",
    "first_sentence": "firstSentenceMs",
    "first_words_out": "firstWordsMs",
    "delivered": "deliveredMs",
    "heard": "heardMs",
}
_MS = "_ms"


class StreamLog:
    """One stream's summary while it runs. Used on the call's thread only.

    `usage` is what the call had been billed for before this stream, as its record keeps it.
    """

    def __init__(self, generation: int, usage: Mapping[str, int]) -> None:
        self._generation = generation
        self._before = dict(usage)
        self._billed: Counter[str] = Counter()
        self._open: dict[int, Turn] = {}  # of the agent's, not told of yet
        self._sounds: dict[int, float] = {}  # turn -> when its first words were on their way
        self._said: dict[int, int] = {}  # turn -> characters

    def kept(self, turn: Turn) -> list[Note]:
        """What there is to tell now that this version of a turn is kept: once per turn, when it has been settled."""
        if turn.role != "agent" or turn.generation != self._generation:
            return []
        if (sound := turn.timings.get("first_words_out")) is not None:
            self._sounds[turn.n] = turn.timings.get("delivered", sound)
        is_told = turn.n in self._said and turn.n not in self._open
        self._said[turn.n] = len(turn.text if turn.heard is None else turn.heard)
        if is_told:
            return []
        self._open[turn.n] = turn
        return self._told(turn) if turn.complete and turn.heard is not None else []

    def rest(self) -> list[Note]:
        """What is left to tell when the stream ends."""
        return [note for turn in list(self._open.values()) for note in self._told(turn)]

    def bill(self, usage: Mapping[str, int]) -> dict[str, int]:
        """Count this too; what the record keeps then, for the whole call."""
        self._billed.update(usage)
        whole = Counter(self._before)
        whole.update(self._seconds())
        return dict(whole)

    def usage(self, model: str, seconds: float, *, reads_aloud: bool) -> Note:
        """What this stream was billed for. `reads_aloud`: the carrier's voice reads what the agent says."""
        fields = {name: count for name, count in self._seconds().items() if count}
        if reads_aloud and (said := sum(self._said.values())):
            fields["said_characters"] = said
        return Note("call usage", {"model": model, "seconds": round(seconds, 1), **fields})

    def _seconds(self) -> dict[str, int]:
        """The counts, with times as whole seconds, rounded up once and not for every piece."""
        return {
            f"{name.removesuffix(_MS)}_seconds" if name.endswith(_MS) else name: (
                ceil(count / 1000) if name.endswith(_MS) else count
            )
            for name, count in self._billed.items()
        }

    def _told(self, turn: Turn) -> list[Note]:
        del self._open[turn.n]
        speech_end, sound = turn.timings.get("speech_end"), turn.timings.get("first_words_out")
        if speech_end is None or sound is None:  # it answered nobody, or was given up before a word of it was said
            return []
        fields: dict[str, Any] = {"turn": turn.n, "interrupted": turn.interrupted}
        fields |= {_STAGES[stage]: ms for stage, ms in turn.stages_ms.items() if stage in _STAGES}
        if turn.failed:
            fields["code"] = turn.failed
        if (asked := turn.timings.get("asked")) is not None and "transcript" in turn.timings:
            fields["guessed"] = asked < turn.timings["transcript"]
        # A word that bridged the wait may have been a turn of its own.
        silence = min((at for at in self._sounds.values() if at >= speech_end), default=sound) - speech_end
        if silence <= LONG_SILENCE_SECONDS:
            return [Note("turn answered", fields)]
        long = Note("long silence", {"turn": turn.n, "silenceMs": round(silence * 1000)}, "WARNING")
        return [Note("turn answered", fields), long]
