"""An answer of the agent's while it is being made and spoken by the carrier. Keeps count; decides nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from callbot.text import spoken_seconds
from stream_service.events import ToolCall

BETWEEN_SENTENCES_SECONDS = 0.3  # Twilio's way back to `/call-flow`


class AnswerInProgress:
    """The sentences of turn `n`, and what the clock says of them. Times are monotonic seconds."""

    def __init__(self, n: int, now: float, sentence: str = "") -> None:
        """`sentence`: what is said when no model is asked; then that is all of it."""
        self.n = n
        self.chat = n  # what the model's answer is known by: the turn, or the guess that became it
        self.began_at = now
        self.progressed_at = now
        self.sentences: list[str] = []
        self.seconds: dict[int, float] = {}
        self.complete = bool(sentence)  # no further sentence will come
        self.spoken = False  # the carrier has been asked to speak
        self.interrupted = False
        self.filler_seconds = 0.0
        self.handed_over = 0  # sentences that were part of an update; `/call-flow` fetches the others
        self.rounds = 0
        self.asked: Sequence[Mapping[str, Any]] = ()  # the conversation that it answers
        self.tool_messages: list[Mapping[str, Any]] = []  # what followed in the making of it
        self._spoken_from: float | None = None
        self._stopped_at: float | None = None
        self._expected: list[ToolCall] = []
        self._told = 0  # sentences that `tool_messages` has
        if sentence:
            self.add(sentence)

    def add(self, sentence: str) -> None:
        self.seconds[len(self.sentences)] = spoken_seconds(sentence)
        self.sentences.append(sentence)

    def spoken_from(self, now: float) -> None:
        """The carrier began to speak (as far as can be known from here)."""
        self.spoken = True
        self._spoken_from = self._spoken_from or now

    def take_over(self, sentences: Sequence[str], heard: int, now: float) -> None:
        """It was begun on an earlier stream, and the carrier goes on with it from sentence `heard`."""
        for sentence in sentences:
            self.add(sentence)
        self.complete = True
        before = sum(self.seconds[index] + BETWEEN_SENTENCES_SECONDS for index in range(min(heard, len(sentences))))
        self.spoken_from(now - before)

    def is_due(self, now: float) -> bool:
        """Whether what was handed over has been said, and there is more that nobody fetches."""
        if self._spoken_from is None or self.stopped or self.handed_over >= len(self.sentences):
            return False
        said = self.filler_seconds + sum(self.seconds[index] for index in range(self.handed_over))
        return now >= self._spoken_from + said

    @property
    def whole_seconds(self) -> float:
        """How long it takes to say, with what bridged the wait for it."""
        return self.filler_seconds + sum(self.seconds.values()) + BETWEEN_SENTENCES_SECONDS * len(self.sentences)

    @property
    def stopped(self) -> bool:
        return self._stopped_at is not None

    def stop(self, now: float, interrupted: bool = True) -> None:
        """The carrier no longer speaks it."""
        self.interrupted = interrupted and not self._over(now)
        self._stopped_at = self._stopped_at or now

    def audible(self, now: float) -> bool:
        """Whether the caller is probably hearing it: from the carrier's start until all of it has been said."""
        return self.spoken and not self.stopped and not self._over(now)

    def _over(self, now: float) -> bool:
        if not self.complete and self.spoken:
            return False
        if self._spoken_from is None:
            return not self.spoken
        return now >= self._spoken_from + self.whole_seconds

    def by_clock(self) -> tuple[int, float]:
        """`(whole sentences, seconds into the next one)` that were heard until it was stopped, by the clock."""
        if self._spoken_from is None or self._stopped_at is None:
            return (0, 0.0) if self._spoken_from is None else (len(self.sentences), 0.0)
        left = self._stopped_at - self._spoken_from - self.filler_seconds
        for index in range(len(self.sentences)):
            if left < self.seconds[index]:
                return index, max(0.0, left)
            left -= self.seconds[index] + BETWEEN_SENTENCES_SECONDS
        return len(self.sentences), 0.0

    def expect(self, calls: Sequence[ToolCall]) -> None:
        """The model waits for these tools before it goes on."""
        self.rounds += 1
        self._expected = list(calls)
        self.tool_messages.append(
            {
                "role": "assistant",
                "content": "".join(self.sentences[self._told :]) or None,
                "tool_calls": [
                    {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
                    for c in calls
                ],
            }
        )
        self._told = len(self.sentences)

    def answered(self, call: ToolCall, output: str) -> bool:
        """Keep a tool's answer for the model. Whether it was the last one awaited."""
        self.tool_messages.append({"role": "tool", "tool_call_id": call.id, "content": output})
        self._expected = [waiting for waiting in self._expected if waiting.id != call.id]
        return not self._expected
