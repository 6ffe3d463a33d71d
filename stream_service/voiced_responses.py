"""Responses of engine realtime: one at a time, and the last one heard to its end. Decides; touches nothing.

OpenAI refuses a second response while one is active, and makes responses of its own after the caller's speech. So what
we want said waits in line until no response is active and the caller is silent. The caller's side is in
`voiced_session.py`.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from callbot.agents import Agent
from callbot.calls import Call, NextStep
from stream_service.commands import (
    AnswerTool,
    Command,
    Finish,
    HandOver,
    KeepEnding,
    KeepTurn,
    KeepUsage,
    MarkPlayback,
    Note,
    RequestResponse,
    RunTool,
    StopListening,
)
from stream_service.events import (
    EngineFailed,
    Event,
    RequestRefused,
    ResponseEnded,
    ResponseStarted,
    ToolCall,
    ToolResult,
)
from stream_service.session import CallSession
from stream_service.tools import Ending, Transfer
from stream_service.transcript import Transcript

FIRST_SOUND_SECONDS = 2.6  # after the caller's last word; longer would be unexplained silence
UNASKED_SECONDS = 6.0  # for something said of our own accord, while it is the caller's turn
GOODBYE_SECONDS = 15.0  # from the wish to end to the end, whatever happens
LAST_WORD = "bye"  # the mark behind the goodbye, or behind the announcement of a transfer
REQUESTED = "requested"  # a response that we asked for and that has no name yet
TOO_LATE = "conversation_already_has_active_response"  # OpenAI's refusal of a second one
WAITING_LINE = 4
MOST_GENERATIONS = 4  # a vendor that still fails on the fourth stream ends the call


class VoicedResponses(CallSession):
    """What the agent says on a two-way stream."""

    def __init__(self, call: Call, agent: Agent, transcript: Transcript, now: float, wall: datetime) -> None:
        super().__init__(call, agent, transcript, now, wall)
        self._active = ""  # the response being made
        self._requested: str | None = None  # the instructions of our request, until a response ends or it is refused
        self._wanted: deque[str] = deque(maxlen=WAITING_LINE)
        self._spoke = False  # the active or last response has made a sound
        self._speaking = False  # the caller is
        self._sound_due: float | None = None  # by when the bot must be heard
        self._quiet_since = now
        self._words_of: dict[str, str] = {}  # item -> what it says, until it sounds
        self._tool_calls: list[dict[str, str]] = []  # asked for by a response without a sound
        self._last_turn = 0
        self._goodbye_due: float | None = None
        self._after_last_word: HandOver | Finish | None = None

    def _react(self, event: Event, now: float) -> list[Command]:
        match event:
            case EngineFailed(code, retryable):
                return self._fail(code, retryable, now)
            case ResponseStarted(response):
                self._active, self._spoke = response, False
            case ResponseEnded():
                return self._response_ended(event, now)
            case RequestRefused(code):
                return self._refused(code)
            case ToolResult():
                return self._tool_answered(event, now)
        return self._next(now)

    # --- responses ---

    def _next(self, now: float) -> list[Command]:
        """Have the next thing said, if nothing else is being said."""
        if self._active or self._speaking or not self._wanted:
            return []
        instructions = self._wanted.popleft()
        self._active, self._requested, self._spoke = REQUESTED, instructions, False
        patience = FIRST_SOUND_SECONDS if self._after_last_word else UNASKED_SECONDS
        self._sound_due = self._sound_due or now + patience
        return [RequestResponse(instructions)]

    def _refused(self, code: str) -> list[Command]:
        if code == TOO_LATE and self._requested is not None:
            # The model was quicker with a response of its own, and has said so before: ours waits for its end.
            self._wanted.appendleft(self._requested)
            self._requested = None
        return [Note("request refused", {"service": "openai-realtime", "code": code}, "WARNING")]

    def _response_ended(self, event: ResponseEnded, now: float) -> list[Command]:
        self._active, self._requested, self._quiet_since = "", None, now
        usage: list[Command] = [KeepUsage(event.usage)] if event.usage else []
        if event.status == "failed":
            return usage + self._fail(event.code, event.code not in ("insufficient_quota",), now)
        self._words_of.clear()
        commands = usage + self._note_tools(event.tool_calls) + [RunTool(0, call) for call in event.tool_calls]
        if self._after_last_word and not self._wanted:
            if self._spoke:
                return [*commands, MarkPlayback(LAST_WORD)]
            return commands + self._without_voice(now)
        return commands + self._next(now)

    def _note_tools(self, calls: Sequence[ToolCall]) -> list[Command]:
        """Record tools with the turn that asked for them, or with the next one if it was silent."""
        noted = [{"name": call.name, "arguments": call.arguments} for call in calls]
        if not noted or not self._spoke:
            self._tool_calls += noted
            return []
        turn = self.transcript[self._last_turn]
        return [KeepTurn(self.transcript.change(turn.n, tool_calls=(*turn.tool_calls, *noted)))]

    def _tool_answered(self, event: ToolResult, now: float) -> list[Command]:
        text = event.outcome if isinstance(event.outcome, str) else "done"
        answered: list[Command] = [AnswerTool(event.call, text)]
        if self._after_last_word:
            return answered
        match event.outcome:
            case Ending(reason):
                said = self._spoke and not self._active
                return answered + self._end(reason, "" if said else self.text(self.agent.closing), now)
            case Transfer(target):
                step = NextStep(self.generation, "transfer", target=target, reason="transfer")
                line = "" if self._spoke and not self._active else self.text(self.agent.transfer_line)
                return answered + self._last_word(HandOver(step), line, now)
        self._wanted.append("")
        self._sound_due = now + FIRST_SOUND_SECONDS
        return answered + self._next(now)

    def _announce(self, text: str, now: float) -> list[Command]:
        self._wanted.append(say_exactly(text))
        return self._next(now)

    # --- the end ---

    def _end(self, reason: str, goodbye: str, now: float) -> list[Command]:
        if self._ending:
            return []
        self._ending = reason
        ending: list[Command] = [KeepEnding(reason), Note("ending", {"reason": reason})]
        return ending + self._last_word(Finish(reason, hang_up=True), goodbye, now)

    def _last_word(self, then: HandOver | Finish, words: str, now: float) -> list[Command]:
        """Have `words` heard to their end (or what is being played, when there are none), then do `then`."""
        self._after_last_word, self._goodbye_due = then, now + GOODBYE_SECONDS
        self._sound_due, self._speaking = None, False
        self._wanted.clear()
        commands: list[Command] = [StopListening()]
        if not words:
            return [*commands, MarkPlayback(LAST_WORD)]
        self._wanted.append(say_exactly(words))
        return commands + self._next(now)

    def _without_voice(self, now: float) -> list[Command]:
        """The model could not say the last words: the carrier's voice does, by way of `/call-flow`."""
        if isinstance(self._after_last_word, HandOver) and self._after_last_word.step:
            step = replace(self._after_last_word.step, say=self.text(self.agent.transfer_line))
            return [*self._settle(now), HandOver(step)]
        step = NextStep(self.generation, "goodbye", say=self.text(self.agent.closing), reason=self._ending)
        return self._hand_over(step, now)

    def _move_on(self, now: float) -> list[Command]:
        return self._without_voice(now) if self._after_last_word else super()._move_on(now)

    def _fail(self, code: str, retryable: bool, now: float) -> list[Command]:
        failed = {"service": "openai-realtime", "what": "session", "code": code, "retryable": retryable}
        note = Note("vendor failed", failed, "ERROR")
        if self._after_last_word:
            return [note, *self._without_voice(now)]
        final = not retryable or self.generation >= MOST_GENERATIONS
        words = self.agent.final_apology if final else self.agent.apology if self.transcript.last else self.agent.resume
        reason = f"openai: {code}"
        step = NextStep(self.generation, "goodbye" if final else "resume", self.text(words), reason=reason)
        kept: list[Command] = []
        if self.transcript.last:  # else the greeting is still owed
            turn = self.transcript.add("agent", step.say, now, heard=step.say, failed=code)
            kept = [KeepTurn(turn)]
        return [note, *kept, *self._hand_over(step, now)]


def say_exactly(text: str) -> str:
    """Instructions for one response that says just this."""
    return f"Say exactly this to the caller and nothing else: 「{text}」"
