"""The conversation so far, as turns: numbered through the whole call, over all its streams. No I/O.

What the caller did not hear is no part of what the models are told.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from callbot.calls import EngineName, Role, Turn

MEMORY_TURNS = 40  # told to a model; a call of 15 minutes stays well below
_NONE: Mapping[str, float] = {}
_OF_A_QUESTION = ("speech_end", "transcript")


class Transcript:
    """The turns of a call. `epoch` is what must be added to the monotonic clock to get seconds since the epoch."""

    def __init__(self, engine: EngineName, generation: int, earlier: Iterable[Turn], epoch: float) -> None:
        self._engine = engine
        self._generation = generation
        self._epoch = epoch
        self._turns = {turn.n: turn for turn in earlier}
        self._next = max(self._turns, default=0) + 1

    def __contains__(self, n: int) -> bool:
        return n in self._turns

    def __getitem__(self, n: int) -> Turn:
        return self._turns[n]

    @property
    def last(self) -> Turn | None:
        return self._turns[max(self._turns)] if self._turns else None

    def add(
        self,
        role: Role,
        text: str,
        now: float,
        *,
        stages: Mapping[str, float] = _NONE,
        answers: bool = False,
        **fields: Any,
    ) -> Turn:
        """A new turn; `stages` as in `change`. With `answers`, it notes too when what the caller said last was said."""
        known = self._question_timings() if answers else {}
        turn = Turn(
            n=self._next,
            role=role,
            text=text,
            engine=self._engine,
            generation=self._generation,
            at=datetime.fromtimestamp(self._epoch + now, UTC),
            timings={**known, **self._timings(stages)},
            **fields,
        )
        self._turns[turn.n] = turn
        self._next += 1
        return turn

    def change(self, n: int, *, stages: Mapping[str, float] = _NONE, **fields: Any) -> Turn:
        """Another version of this turn. `stages` are when stages of it happened, as in `stamp`."""
        turn = self._turns[n]
        if stages:
            fields["timings"] = {**self._timings(stages), **turn.timings}
        self._turns[n] = turn = replace(turn, **fields)
        return turn

    def stamp(self, n: int, **stages: float) -> Turn:
        """Note when stages of this turn happened (monotonic times); the first time counts."""
        return self.change(n, stages=stages)

    def _timings(self, stages: Mapping[str, float]) -> dict[str, float]:
        return {name: round(self._epoch + at, 3) for name, at in stages.items()}

    def remembered(self) -> list[tuple[Role, str]]:
        """What both sides know was said, oldest first."""
        kept = [(turn.role, known) for turn in self._turns.values() if (known := _known(turn))]
        return kept[-MEMORY_TURNS:]

    def _question_timings(self) -> dict[str, float]:
        """When the caller's last turn was said and understood."""
        asked = next((turn for turn in reversed(self._turns.values()) if turn.role == "caller"), None)
        return {name: asked.timings[name] for name in _OF_A_QUESTION if name in asked.timings} if asked else {}

    def messages(self, prompt: str, saying: str = "") -> tuple[Mapping[str, Any], ...]:
        """The conversation for Chat Completions; `saying` is what the caller is adding to it, if it is no turn yet."""
        known = self.remembered()
        if saying:
            known = [*known, ("caller", saying)][-MEMORY_TURNS:]
        spoken: Sequence[Mapping[str, Any]] = [
            {"role": "user" if role == "caller" else "assistant", "content": text} for role, text in known
        ]
        return ({"role": "system", "content": prompt}, *spoken)


def _known(turn: Turn) -> str:
    if turn.role == "agent" and turn.heard is not None:
        return turn.heard + ("…" if turn.heard and turn.heard != turn.text else "")
    return turn.text


def heard_of(sentences: Sequence[str], whole: int, seconds_into_next: float, seconds_of: Mapping[int, float]) -> str:
    """The part of spoken `sentences` that was heard: `whole` of them, and the next one for so many seconds.

    `seconds_of` is how long each sentence takes to say. A cut sentence is cut where the voice probably was.
    """
    heard = "".join(sentences[:whole])
    if whole < len(sentences) and seconds_into_next > 0:
        share = min(1.0, seconds_into_next / max(0.1, seconds_of[whole]))
        heard += sentences[whole][: int(len(sentences[whole]) * share)]
    return heard
