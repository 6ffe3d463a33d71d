"""Turns of engine amivoice: the recogniser hears, the chat model thinks, the carrier's voice speaks.

Here is the caller's side: what is heard, who goes first, and what of the agent's words was heard, which is known from
how far Twilio came back to `/call-flow`. How an answer is made is in `spoken_answers.py`.
"""

from datetime import datetime

from callbot.agents import Agent
from callbot.calls import Call, Turn
from callbot.text import is_backchannel, spoken_seconds
from stream_service.commands import AskHeard, CallerActive, Command, Finish, GetReady, KeepTurn, Note
from stream_service.events import (
    CallerSaid,
    CallerSaying,
    CallerStarted,
    CallerStopped,
    CallerUnclear,
    EngineFailed,
    EngineLost,
    EngineReady,
    Event,
    HeardSoFar,
    StreamStopped,
)
from stream_service.session import CALL_OVER
from stream_service.spoken_answers import FILLER_SECONDS
from stream_service.spoken_guesses import SpokenGuesses
from stream_service.spoken_turn import AnswerInProgress
from stream_service.transcript import Transcript

LEAVING_SECONDS = 1.0  # to find out what was heard of the last words
RESULT_SECONDS = 4.0  # more for the recogniser, once the wait for it has been bridged
HEARD_SECONDS = 0.4  # how long to wait for what was heard, before the clock's estimate is taken
UNCLEAR_SECONDS = 0.4  # a shorter sound that could not be made out was a cough
FIRST_SOUND_CHARACTERS = 1  # of an interim result: は may be going to be はい
LISTEN_SECONDS = 6.1  # the functions are told that the caller speaks every 6 s (`CallRecord.caller_active`)
CLOSE_ECHO_CHARACTERS = 4  # a shorter text that stands in the bot's own words may still be the caller's


class SpokenSession(SpokenGuesses):
    """Decides for one one-way stream."""

    def __init__(self, call: Call, agent: Agent, transcript: Transcript, now: float, wall: datetime) -> None:
        super().__init__(call, agent, transcript, now, wall)
        self._utterances = 0  # the caller's, begun and neither understood nor given up yet
        self._listened_at = now
        self._result_due: float | None = None  # by when the recogniser should have understood the caller
        self._result_late = False
        self._leaving_by: float | None = None  # the call is over; by when the stream is left behind

    @property
    def due_at(self) -> float | None:
        due = super().due_at
        if not self._utterances:
            return due
        # A caller who goes on speaking, but says no other words as yet, wakes nobody: somebody has to look.
        listens_at = self._listened_at + LISTEN_SECONDS
        return listens_at if due is None else min(due, listens_at)

    def is_attentive(self, now: float) -> bool:
        # Other words may stop the bot, and an answer that has been begun on fewer.
        return self._talks_over(now) or self._guess is not None

    @property
    def patient(self) -> bool:
        if self._answer and (self._store_down or not self._answer.complete):
            return False  # it may stall, need a word to bridge the wait, or somebody to say the rest of it
        waits = (self._goodbye_since, self._chat_waits, self._result_due, self._leaving_by)
        return all(wait is None for wait in waits)

    def _decide(self, event: Event, now: float, waited: bool) -> list[Command]:
        if self._leaving_by is not None:  # nothing else matters now, not even that Twilio closes the socket
            match event:
                case HeardSoFar(turn, sentences, since) if self._answer and self._answer.n == turn:
                    return self._leave(now, sentences, since)
            return self._leave(now) if now >= self._leaving_by else []
        if isinstance(event, StreamStopped) and self._answer and self._answer.spoken:
            # Whether the last words were heard to their end is not the clock's to say: `/call-flow` knows.
            self._leaving_by = now + LEAVING_SECONDS
            return [*self._drop_guess(), AskHeard(self._answer.n)]
        return super()._decide(event, now, waited)

    def _leave(self, now: float, sentences: int = 0, since: float = 0.0) -> list[Command]:
        """The call is over, and what can be known of its last words is known."""
        settled: list[Command] = []
        if self._answer and sentences >= len(self._answer.sentences) and self._answer.complete:
            heard = "".join(self._answer.sentences)
            self.transcript.stamp(self._answer.n, heard=now - since)
            settled = [KeepTurn(self.transcript.change(self._answer.n, heard=heard))]
            self._answer = None
        return [*settled, *self._settle(now), Finish(self._ending or CALL_OVER)]

    def _react(self, event: Event, now: float) -> list[Command]:
        match event:
            case EngineReady(resumed):
                return [Note("engine ready", {"resumed": resumed}), GetReady(), *([] if resumed else self._begin(now))]
            case EngineLost(reason):
                self._utterances = 0  # the new session hears them again
                return [*self._next_utterance(), Note("engine lost", {"reason": reason}, "WARNING")]
            case EngineFailed(code, retryable):
                reason = f"amivoice: {code}"
                failed = {"service": "amivoice", "what": "session", "code": code, "retryable": retryable}
                note = Note("vendor failed", failed, "ERROR")
                return [
                    note,
                    *self._end(reason, self.text(self.agent.final_apology) + self.text(self.agent.closing), now),
                ]
            case CallerStarted():
                self._utterances += 1
                self._result_due = None
                # Who goes on before the last words are final may get another answer to all of them.
                return [*self._next_utterance(), CallerActive(), GetReady()]
            case CallerStopped(speech_end=speech_end):
                self._speech_end = speech_end or now
                self._result_due, self._result_late = self._speech_end + FILLER_SECONDS, False
            case CallerSaying(text):
                return self._caller_saying(text, now)
            case CallerSaid(text, speech_end):
                self._utterances, self._result_due = max(0, self._utterances - 1), None
                return [*self._caller_said(text, speech_end or now, now), *self._next_utterance()]
            case CallerUnclear(seconds):
                self._utterances, self._result_due = max(0, self._utterances - 1), None
                return [*self._next_utterance(), *self._unclear(seconds, now)]
            case HeardSoFar(turn, sentences, since):
                return self._heard(turn, sentences, since, now)
        return super()._react(event, now)

    def _begin(self, now: float) -> list[Command]:
        """The first stream finds the greeting being spoken; a later one may owe the caller an answer."""
        last = self.transcript.last
        if last is None:
            turn = self.transcript.add("agent", self.greeting, now, sentences=(self.greeting,))
            self._answer = AnswerInProgress(turn.n, now, self.greeting)
            self._answer.spoken_from(now)
            return [KeepTurn(turn)]
        if last.role == "agent" and last.complete:
            if last.heard is None:  # `/call-flow` goes on with it, after a word about the disturbance
                self._answer = AnswerInProgress(last.n, now)
                self._answer.take_over(last.sentences, self._told(last), now)
            return []
        closed: list[Command] = []
        if last.role == "agent":  # it broke off before it was complete, so it is made anew
            heard = "".join(last.sentences[: self._told(last)])
            closed = [KeepTurn(self.transcript.change(last.n, text=heard, heard=heard, complete=True))]
        return [*closed, *self._think(now)]

    def _told(self, turn: Turn) -> int:
        """How many of its sentences `/call-flow` knew to be heard when this stream began."""
        return self.call.flow.sentence if self.call.flow.turn == turn.n else 0

    # --- the caller ---

    def _caller_saying(self, text: str, now: float) -> list[Command]:
        active: list[Command] = [CallerActive(), *self._interim_result(text, now)]
        if self._ending or len(text) <= FIRST_SOUND_CHARACTERS or not self._talks_over(now):
            return active
        if is_backchannel(text) or self._is_echo(text, now):
            return active
        return [*active, *self._interrupt(now)]

    def _caller_said(self, text: str, speech_end: float, now: float) -> list[Command]:
        if self._ending or (self._talks_over(now) and (is_backchannel(text) or self._is_echo(text, now))):
            return []
        commands = self._interrupt(now, listen=False)
        stages = {"speech_end": speech_end, "transcript": now}
        turn = self.transcript.add("caller", text, now, stages=stages, heard=text)
        self._speech_end = speech_end
        commands += [KeepTurn(turn), Note("caller said", {"turn": turn.n, "latencyMs": _ms(now - speech_end)})]
        if self._answer:  # what was heard of the turn before is being found out
            self._chat_waits = now + HEARD_SECONDS
            return commands
        return commands + self._think(now)

    def _unclear(self, seconds: float, now: float) -> list[Command]:
        if seconds < UNCLEAR_SECONDS or self._answer_busy(now) or self._chat_waits is not None or self._ending:
            return []
        return [Note("not understood"), *self._announce(self.text(self.agent.repeat_please), now)]

    def _talks_over(self, now: float) -> bool:
        return self._answer is not None and self._answer.audible(now)

    def _is_echo(self, text: str, now: float) -> bool:
        """Whether the line gave the bot's own words back."""
        if len(text) < CLOSE_ECHO_CHARACTERS or not self._answer or not self._answer.audible(now):
            return False
        return text.rstrip("。、？！?!") in "".join(self._answer.sentences)

    def _heard(self, turn: int, sentences: int, since: float, now: float) -> list[Command]:
        commands: list[Command] = []
        if self._answer and self._answer.n == turn and self._answer.stopped:
            closed = self._close_answer(sentences, since)
            if closed.sentences and sentences >= len(closed.sentences):
                closed = self.transcript.stamp(turn, heard=now - since)
            commands = [KeepTurn(closed)]
            if closed.interrupted:
                commands.append(Note("interrupted", {"turn": turn}))
        elif turn in self.transcript and sentences >= len(self.transcript[turn].sentences):
            return [KeepTurn(self.transcript.stamp(turn, heard=now - since))]
        return commands + self._think_if_waiting(now)

    def _think_if_waiting(self, now: float) -> list[Command]:
        if self._chat_waits is None:
            return []
        self._chat_waits = None
        closed: list[Command] = [KeepTurn(self._close_answer())] if self._answer else []
        return closed + self._think(now)

    # --- time ---

    def _mind_the_time(self, now: float) -> list[Command]:
        self._listened_at = now
        if self._chat_waits is not None and now >= self._chat_waits:
            return self._think_if_waiting(now)
        if self._result_due is not None and now >= self._result_due:
            return self._bridge_recognition(now)
        return super()._mind_the_time(now)

    def _bridge_recognition(self, now: float) -> list[Command]:
        """The caller has finished, but what was said is not known yet: a word, and after a while a question."""
        phrase = self.agent.repeat_please if self._result_late else self.agent.fillers[0]
        self._result_due = None if self._result_late else now + RESULT_SECONDS
        self._result_late = True
        if self._ending or self._answer_busy(now):
            return []
        self._filled_until = now + spoken_seconds(phrase)
        return [Note("slow recognition", {}, "WARNING"), *self._announce(self.text(phrase), now)]

    def _may_guess(self, now: float) -> bool:
        # With two utterances under way it is not known which one an interim result is of.
        return self._utterances == 1 and super()._may_guess(now)

    def _may_speak(self, now: float) -> bool:
        return not (self._utterances or self._answer_busy(now) or self._chat_waits is not None)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
