"""What a call does next, as far as both engines agree: its time, its end, its hand-over. Decides; touches nothing.

`handle` turns an event and the time into commands. Rules about turns are in `spoken_session.py` (the carrier speaks
for us, engine amivoice) and `voiced_session.py` (the model speaks itself, engine realtime).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime

from callbot.agents import Agent, fill
from callbot.calls import Call, NextStep
from stream_service.commands import Command, Finish, HandOver, KeepEnding, Note
from stream_service.events import CallGone, CarrierLost, Drain, Event, StreamStopped
from stream_service.transcript import Transcript

WARNING_SECONDS = 60  # before the end, when the maximum duration allows for it
STREAM_SECONDS = 55 * 60  # Cloud Run cuts a request at 60 minutes; the stream moves on before that
CALL_OVER = "caller hung up"


class CallSession(ABC):
    """One stream's decisions. `now` is always the monotonic clock, in seconds."""

    def __init__(self, call: Call, agent: Agent, transcript: Transcript, now: float, wall: datetime) -> None:
        self.call = call
        self.agent = agent
        self.transcript = transcript
        self.generation = call.stream.generation
        self.finished = False
        begun = call.answered_at or call.created_at
        maximum = call.max_duration_seconds or agent.max_duration_seconds
        self._ends_at = now + maximum - (wall - begun).total_seconds()
        self._warns_at = self._ends_at - min(WARNING_SECONDS, maximum / 4)
        self._warned = self._warns_at <= now
        self._moves_at = now + STREAM_SECONDS
        self._ending = ""

    def handle(self, event: Event, now: float, *, waited: bool = False) -> list[Command]:
        """What to do about `event`, and about the time. After a Finish or HandOver nothing more comes.

        `waited`: it came at `now`, but something else has happened since: the time is minded with that.
        """
        if self.finished:
            return []
        commands = self._decide(event, now, waited)
        if commands:
            self.finished = _is_over(commands)
        return commands

    def _decide(self, event: Event, now: float, waited: bool) -> list[Command]:
        match event:
            case StreamStopped() | CallGone():
                return [*self._settle(now), Finish(self._ending or CALL_OVER)]
            case CarrierLost(reason):
                lost = Note("stream lost", {"reason": reason}, "WARNING")
                return [*self._settle(now, goes_on=True), lost, Finish("stream lost")]
            case Drain():
                return self._move_on(now)
        commands = self._react(event, now)
        if not waited and not _is_over(commands):
            commands += self._mind_the_time(now)
        return commands

    def text(self, phrase: str) -> str:
        """One of the agent's phrases, with this call's variables in it."""
        return fill(phrase, self.call.variables)

    @property
    def due_at(self) -> float | None:
        """When the session wants a Tick, if nothing else happens until then; None: time alone changes nothing."""
        if self._ending:
            return None
        due = min(self._ends_at, self._moves_at)
        return due if self._warned else min(due, self._warns_at)

    @property
    def patient(self) -> bool:
        """Whether the Tick that `due_at` asks for is enough."""
        return False

    def is_attentive(self, now: float) -> bool:  # noqa: ARG002  # mostly it does not depend on the time
        """Whether what is not urgent (`engines.port.Urgency`) is wanted at once too, until something happens."""
        return False

    @property
    def greeting(self) -> str:
        return self.text(self.call.greeting or self.agent.greeting)

    def _mind_the_time(self, now: float) -> list[Command]:
        if self._ending:
            return []
        if now >= self._ends_at:
            return self._end("time limit", self.text(self.agent.time_up) + self.text(self.agent.closing), now)
        if not self._warned and now >= self._warns_at and self._may_speak(now):
            self._warned = True
            return [Note("time warning"), *self._announce(self.text(self.agent.time_warning), now)]
        if now >= self._moves_at and self._may_speak(now):
            return self._hand_over(None, now)
        return []

    def _move_on(self, now: float) -> list[Command]:
        """The call goes on elsewhere, from where it is."""
        return self._hand_over(None, now)

    def _hand_over(self, step: NextStep | None, now: float) -> list[Command]:
        ending: list[Command] = []
        if step and step.step == "goodbye":
            self._ending = step.reason
            ending = [KeepEnding(step.reason)]
        reason = step.reason if step and step.reason else "moving on"
        return [*self._settle(now, goes_on=True), *ending, Note("handing over", {"reason": reason}), HandOver(step)]

    @abstractmethod
    def _react(self, event: Event, now: float) -> list[Command]:
        """The engine's own rules."""

    @abstractmethod
    def _settle(self, now: float, goes_on: bool = False) -> Sequence[Command]:
        """Write down what is still open: the stream is about to end. `goes_on`: the call is not."""

    @abstractmethod
    def _may_speak(self, now: float) -> bool:
        """Nobody is speaking and nothing is being prepared."""

    @abstractmethod
    def _announce(self, text: str, now: float) -> list[Command]:
        """Say something of our own accord, then listen on."""

    @abstractmethod
    def _end(self, reason: str, goodbye: str, now: float) -> list[Command]:
        """End the call: `goodbye` is spoken to its end first."""


def _is_over(commands: list[Command]) -> bool:
    return bool(commands) and isinstance(commands[-1], Finish | HandOver)
