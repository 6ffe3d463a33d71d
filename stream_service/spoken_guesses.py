"""Guesses of engine amivoice: an answer begun on what the caller seems to have said, kept only if it was just that.

Nothing of a guess is heard, recorded or acted upon (a tool, a goodbye) before the final result has agreed with it. At
most one is under way at a time, a few for each utterance; what they cost is counted as usage.
"""

from collections.abc import Sequence
from datetime import datetime

from callbot.agents import Agent
from callbot.calls import Call
from stream_service.commands import CancelChat, Command, KeepUsage, StartChat
from stream_service.events import AnswerDone, AnswerFailed, Event, FirstToken, SentenceReady
from stream_service.guess import MOST_WASTED, Guess, Interim
from stream_service.spoken_answers import SpokenAnswers
from stream_service.transcript import Transcript


class SpokenGuesses(SpokenAnswers):
    """Answers that may begin early."""

    def __init__(self, call: Call, agent: Agent, transcript: Transcript, now: float, wall: datetime) -> None:
        super().__init__(call, agent, transcript, now, wall)
        self._guess: Guess | None = None
        self._interim = Interim()
        self._guesses = 0
        self._wasted = 0  # in a row

    @property
    def due_at(self) -> float | None:
        due, guess_at = super().due_at, self._guess_at
        return guess_at if due is None or (guess_at is not None and guess_at < due) else due

    @property
    def _guess_at(self) -> float | None:
        """When the caller's words will have stood long enough for a guess."""
        if self._guess or self._wasted >= MOST_WASTED:
            return None
        return self._interim.stable_at

    def _react(self, event: Event, now: float) -> list[Command]:
        match event:
            case FirstToken(turn) | SentenceReady(turn) | AnswerDone(turn) | AnswerFailed(turn) if (
                self._guess and turn == self._guess.number
            ):
                self._guess.events.append((now, event))
                return []
        return super()._react(event, now)

    def _interim_result(self, text: str, now: float) -> list[Command]:
        """The caller has got so far, it seems. A guess on fewer or other words is given up at once."""
        return self._drop_guess() if self._interim.heard(text, now) else []

    def _next_utterance(self) -> list[Command]:
        """What the recogniser says from now on is about something else."""
        self._interim = Interim()
        return self._drop_guess()

    def _guess_if_due(self, now: float) -> list[Command]:
        due = self._guess_at
        if due is None or now < due or self._ending or not self._may_guess(now):
            return []
        self._interim.guessed()
        self._guesses += 1
        messages = self.transcript.messages(self.text(self.agent.prompt), self._interim.text)
        self._guess = Guess(-self._guesses, messages, now)
        return [StartChat(self._guess.number, messages)]

    def _may_guess(self, now: float) -> bool:
        """Whether it is the caller's turn, and what was said before is settled: the model is told of both."""
        answer = self._answer
        was_heard = answer is None or (answer.complete and not answer.stopped and not answer.audible(now))
        return was_heard and self._chat_waits is None

    def _drop_guess(self) -> list[Command]:
        guess, self._guess = self._guess, None
        if guess is None:
            return []
        self._wasted += 1
        spent = [event.usage for _, event in guess.events if isinstance(event, AnswerDone) and event.usage]
        return [CancelChat(guess.number), KeepUsage({"guesses": 1}), *map(KeepUsage, spent)]

    def _ask(self, now: float) -> list[Command]:
        answer = self._current()
        guess = self._guess
        if guess is None or not guess.answers(answer.asked):
            return [*self._drop_guess(), *super()._ask(now)]
        self._guess, self._wasted = None, 0
        answer.chat, answer.progressed_at = guess.number, guess.asked_at
        self.transcript.stamp(answer.n, asked=guess.asked_at)
        commands: list[Command] = [KeepUsage({"guesses": 1, "guesses_kept": 1})]
        for at, event in guess.events:
            match event:
                case FirstToken():
                    self.transcript.stamp(answer.n, first_token=at)
                case SentenceReady():
                    self.transcript.stamp(answer.n, first_sentence=at)
            commands += self._react(event, now)
        return commands

    # --- whatever ends an answer ends a guess ---

    def _settle(self, now: float, goes_on: bool = False) -> Sequence[Command]:
        return [*self._drop_guess(), *super()._settle(now, goes_on)]

    def _end(self, reason: str, goodbye: str, now: float) -> list[Command]:
        return [*self._drop_guess(), *super()._end(reason, goodbye, now)]

    def _mind_the_time(self, now: float) -> list[Command]:
        return self._guess_if_due(now) or super()._mind_the_time(now)
