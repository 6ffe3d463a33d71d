"""Turns of engine realtime: the model hears and speaks itself; we decide when, and what of it was heard.

One response at a time: OpenAI refuses a second one, and makes responses of its own after the caller's speech. So what
we want said waits in line until no response is active and the caller is silent.
"""

from collections import deque
from collections.abc import Sequence
from datetime import datetime

from callbot.agents import Agent
from callbot.calls import Call, NextStep
from stream_service.events import (
    AgentAudioStarted,
    AgentWords,
    AnswerTool,
    CallerActive,
    CallerSaid,
    CallerStarted,
    CallerStopped,
    ClearPlayback,
    Command,
    Digit,
    EngineFailed,
    EngineLost,
    EngineReady,
    Event,
    Finish,
    HandOver,
    KeepEnding,
    KeepTurn,
    KeepUsage,
    MarkPlayback,
    Note,
    PlaybackReached,
    RequestRefused,
    RequestResponse,
    ResponseEnded,
    ResponseStarted,
    RunTool,
    StopListening,
    TellModel,
    ToolCall,
    ToolResult,
)
from stream_service.playout import Playout
from stream_service.session import CallSession
from stream_service.tools import Ending, Transfer
from stream_service.transcript import Transcript

FIRST_SOUND_SECONDS = 2.6  # after the caller's last word; longer would be unexplained silence
UNASKED_SECONDS = 6.0  # for something said of our own accord, while it is the caller's turn
GOODBYE_SECONDS = 15.0  # from the wish to end to the end, whatever happens
GO_ON = "You were cut off by a disturbance on the line. Go on where you were cut off."
LAST_WORD = "bye"  # the mark behind the goodbye, or behind the announcement of a transfer
REQUESTED = "requested"  # a response that we asked for and that has no name yet
TOO_LATE = "conversation_already_has_active_response"  # OpenAI's refusal of a second one
WAITING_LINE = 4
MOST_GENERATIONS = 4  # a vendor that still fails on the fourth stream ends the call


class VoicedSession(CallSession):
    """Decides for one two-way stream."""

    def __init__(
        self, call: Call, agent: Agent, transcript: Transcript, now: float, wall: datetime, playout: Playout
    ) -> None:
        super().__init__(call, agent, transcript, now, wall)
        self._playout = playout
        self._active = ""  # the response being made
        self._requested: str | None = None  # the instructions of our request, until a response ends or it is refused
        self._dropped: str | None = None  # the response of which no more is heard
        self._wanted: deque[str] = deque(maxlen=WAITING_LINE)
        self._spoke = False  # the active or last response has made a sound
        self._speaking = False  # the caller is
        self._quiet_since = now
        self._idle_prompts = 0
        self._cut_off = False  # the vendor was lost in the middle of a response
        self._caller_turns: dict[str, int] = {}  # item -> turn
        self._agent_turns: dict[str, int] = {}  # item -> turn, until it is settled
        self._words_of: dict[str, str] = {}  # item -> what it says, until it sounds
        self._tool_calls: list[dict[str, str]] = []  # asked for by a response without a sound
        self._last_turn = 0
        self._speech_end: float | None = None
        self._goodbye_due: float | None = None
        self._after_last_word: HandOver | Finish | None = None
        # By when the bot must be heard: nobody likes to be answered by silence.
        self._sound_due = None if self._owed(resumed=False) is None else now + FIRST_SOUND_SECONDS

    def _react(self, event: Event, now: float) -> list[Command]:
        match event:
            case EngineReady(resumed):
                return self._ready(resumed, now)
            case EngineFailed(code, retryable):
                return self._fail(code, retryable, now)
            case CallerStarted():
                return self._caller_started(now)
            case CallerStopped(item, speech_end):
                return self._caller_stopped(item, speech_end or now, now)
            case CallerSaid(text, _, item):
                return self._caller_said(text, item)
            case ResponseStarted(response):
                self._active, self._spoke = response, False
            case AgentAudioStarted(response, item) if response != self._dropped:
                return self._first_sound(item, now)
            case AgentWords():
                return self._words(event)
            case ResponseEnded():
                return self._response_ended(event, now)
            case RequestRefused(code):
                return self._refused(code)
            case ToolResult():
                return self._tool_answered(event, now)
            case EngineLost(reason):
                return self._lost(reason, now)
            case Digit(digit):
                return self._digit(digit, now)
            case PlaybackReached(mark):
                self._playout.reached(mark)
                if mark == LAST_WORD and self._after_last_word:
                    return [*self._settle(now), self._after_last_word]
        return self._next(now)

    # --- the session begins ---

    def _ready(self, resumed: bool, now: float) -> list[Command]:
        owed = self._owed(resumed)
        if owed is not None:
            self._wanted.append(owed)
        return [Note("engine ready", {"resumed": resumed}), *self._next(now)]

    def _owed(self, resumed: bool) -> str | None:
        """The instructions for what the caller waits to hear as a session begins; None: it is the caller's turn."""
        last = self.transcript.last
        if last is None:
            return say_exactly(self.greeting)
        if last.role == "caller" and last.text:
            return ""
        unheard = not resumed and last.role == "agent" and not last.interrupted and last.heard != last.text
        return GO_ON if self._cut_off or unheard else None

    def _lost(self, reason: str, now: float) -> list[Command]:
        note = Note("engine lost", {"reason": reason}, "WARNING")
        if self._after_last_word and (self._active or self._wanted):
            return [note, *self._without_voice(now)]
        self._cut_off, self._active = bool(self._active) and self._spoke, ""
        self._speaking = False  # if not, the new session hears it again
        return [note]

    # --- the caller ---

    def _caller_started(self, now: float) -> list[Command]:
        if self._ending:
            return []
        self._speaking, self._sound_due, self._idle_prompts = True, None, 0
        commands: list[Command] = [CallerActive()]
        if self._active or self._playout.audible(now):
            commands += self._interrupt(now)
        return commands

    def _interrupt(self, now: float) -> list[Command]:
        response = self._active if self._active != REQUESTED else ""
        self._dropped = response or self._dropped
        cut = [(n, self._heard(item, n, now)) for item, n in self._agent_turns.items()]
        self._agent_turns.clear()
        turns = [
            self.transcript.change(n, heard=heard, interrupted=heard != self.transcript[n].text or not heard)
            for n, heard in cut
        ]
        return [ClearPlayback(response), Note("interrupted"), *(KeepTurn(turn) for turn in turns)]

    def _caller_stopped(self, item: str, speech_end: float, now: float) -> list[Command]:
        if self._ending:
            return []
        self._speaking, self._speech_end = False, speech_end
        self._sound_due, self._quiet_since = speech_end + FIRST_SOUND_SECONDS, now
        turn = self.transcript.add("caller", "", now)
        self.transcript.stamp(turn.n, speech_end=speech_end)
        self._caller_turns[item] = turn.n
        return []

    def _caller_said(self, text: str, item: str) -> list[Command]:
        n = self._caller_turns.pop(item, None)
        if n is None or not text:
            return []
        return [KeepTurn(self.transcript.change(n, text=text, heard=text))]

    def _digit(self, digit: str, now: float) -> list[Command]:
        if self._ending:
            return []
        self._quiet_since, self._idle_prompts = now, 0
        self._wanted.append("")
        return [TellModel(f"(the caller pressed the key {digit})"), *self._next(now)]

    # --- the bot ---

    def _first_sound(self, item: str, now: float) -> list[Command]:
        turn = self.transcript.add("agent", self._words_of.pop(item, ""), now, tool_calls=tuple(self._tool_calls))
        self._agent_turns[item] = turn.n
        self._last_turn = turn.n
        self._tool_calls.clear()
        stages = {"first_words_out": now}
        note: list[Command] = []
        if not self._spoke and self._speech_end is not None:
            stages["speech_end"] = self._speech_end
            milliseconds = round((now - self._speech_end) * 1000)
            note = [Note("first words", {"turn": turn.n, "latencyMs": milliseconds})]
        self.transcript.stamp(turn.n, **stages)
        self._spoke, self._sound_due, self._speech_end = True, None, None
        return note

    def _words(self, event: AgentWords) -> list[Command]:
        n = self._agent_turns.get(event.item)
        if n is None:
            if self._active == event.response:  # words may come before their sound
                earlier = "" if event.whole else self._words_of.get(event.item, "")
                self._words_of[event.item] = earlier + event.text
            return []
        if not event.whole:
            self.transcript.change(n, text=self.transcript[n].text + event.text)
            return []
        return [KeepTurn(self.transcript.change(n, text=event.text))]

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

    def _refused(self, code: str) -> list[Command]:
        if code == TOO_LATE and self._requested is not None:
            # The model was quicker with a response of its own, and has said so before: ours waits for its end.
            self._wanted.appendleft(self._requested)
            self._requested = None
        return [Note("request refused", {"code": code}, "WARNING")]

    def _next(self, now: float) -> list[Command]:
        """Have the next thing said, if nothing else is being said."""
        if self._active or self._speaking or not self._wanted:
            return []
        instructions = self._wanted.popleft()
        self._active, self._requested, self._spoke = REQUESTED, instructions, False
        patience = FIRST_SOUND_SECONDS if self._after_last_word else UNASKED_SECONDS
        self._sound_due = self._sound_due or now + patience
        return [RequestResponse(instructions)]

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
        if isinstance(self._after_last_word, HandOver):
            return [*self._settle(now), self._after_last_word]
        step = NextStep(self.generation, "goodbye", say=self.text(self.agent.closing), reason=self._ending)
        return self._hand_over(step, now)

    def _move_on(self, now: float) -> list[Command]:
        return self._without_voice(now) if self._after_last_word else super()._move_on(now)

    def _fail(self, code: str, retryable: bool, now: float) -> list[Command]:
        note = Note("engine failed", {"code": code, "retryable": retryable}, "ERROR")
        if self._after_last_word:
            return [note, *self._without_voice(now)]
        apology = self.text(self.agent.apology)
        if not retryable or self.generation >= MOST_GENERATIONS:
            return [
                note,
                *self._hand_over(NextStep(self.generation, "goodbye", apology, reason=f"openai: {code}"), now),
            ]
        return [note, *self._hand_over(NextStep(self.generation, "resume", apology, reason=code), now)]

    # --- time ---

    def _mind_the_time(self, now: float) -> list[Command]:
        if self._goodbye_due is not None and now >= self._goodbye_due:
            then = self._after_last_word
            return [Note("last word never confirmed", {}, "WARNING"), *self._settle(now), then] if then else []
        if self._sound_due is not None and now >= self._sound_due:
            return self._too_slow(now)
        if self._active or self._speaking or self._playout.audible(now):
            self._quiet_since = now
            return super()._mind_the_time(now)
        finished = self._finish_heard(now)
        if not self._ending and now - self._quiet_since >= self.agent.idle_seconds:
            return [*finished, *self._prompt(now)]
        return finished + super()._mind_the_time(now)

    def _too_slow(self, now: float) -> list[Command]:
        note = Note("slow answer", {}, "WARNING")
        if self._after_last_word:
            return [note, *self._without_voice(now)]
        last = self.transcript.last
        known = last is not None and last.role == "caller" and bool(last.text)
        words = self.agent.fillers[0] if known else self.agent.repeat_please if last else self.agent.resume
        step = NextStep(self.generation, "resume", self.text(words), reason="slow answer")
        return [note, *self._hand_over(step, now)]

    def _prompt(self, now: float) -> list[Command]:
        self._quiet_since = now
        if self._idle_prompts >= len(self.agent.idle_prompts):
            return self._end("caller silent", self.text(self.agent.closing), now)
        prompt = self.agent.idle_prompts[self._idle_prompts]
        self._idle_prompts += 1
        return [Note("idle prompt", {"count": self._idle_prompts}), *self._announce(self.text(prompt), now)]

    def _announce(self, text: str, now: float) -> list[Command]:
        self._wanted.append(say_exactly(text))
        return self._next(now)

    def _may_speak(self, now: float) -> bool:
        return not (self._active or self._speaking or self._playout.audible(now))

    # --- what was heard ---

    def _heard(self, item: str, n: int, now: float) -> str:
        text, sent = self.transcript[n].text, self._playout.sent_ms(item)
        heard = self._playout.heard_ms(item, now)
        return text if heard >= sent else text[: len(text) * heard // max(1, sent)]

    def _finish_heard(self, now: float) -> list[Command]:
        """Everything has been played: the open turns were heard whole."""
        done = [n for n in self._agent_turns.values() if self.transcript[n].text]
        self._agent_turns = {item: n for item, n in self._agent_turns.items() if n not in done}
        for n in done:
            self.transcript.stamp(n, heard=now)
        return [KeepTurn(self.transcript.change(n, heard=self.transcript[n].text)) for n in done]

    def _settle(self, now: float, goes_on: bool = False) -> Sequence[Command]:  # noqa: ARG002  # cut here either way
        cut = [self.transcript.change(n, heard=self._heard(item, n, now)) for item, n in self._agent_turns.items()]
        self._agent_turns.clear()
        return [KeepTurn(turn) for turn in cut]


def say_exactly(text: str) -> str:
    """Instructions for one response that says just this."""
    return f"Say exactly this to the caller and nothing else: 「{text}」"
