"""Turns of engine realtime: the model hears and speaks itself; we decide when, and what of it was heard.

Here is the caller's side: who goes first, what of the words was heard, and silence. The responses themselves are
in `voiced_responses.py`.
"""

from collections.abc import Sequence
from datetime import datetime

from callbot.agents import Agent
from callbot.calls import Call, NextStep
from stream_service.commands import CallerActive, ClearPlayback, Command, KeepTurn, Note, TellModel
from stream_service.events import (
    AgentAudioStarted,
    AgentWords,
    CallerSaid,
    CallerStarted,
    CallerStopped,
    Digit,
    EngineLost,
    EngineReady,
    Event,
    PlaybackReached,
)
from stream_service.playout import Playout
from stream_service.transcript import Transcript
from stream_service.voiced_responses import FIRST_SOUND_SECONDS, LAST_WORD, REQUESTED, VoicedResponses, say_exactly

GO_ON = "You were cut off by a disturbance on the line. Go on where you were cut off."


class VoicedSession(VoicedResponses):
    """Decides for one two-way stream."""

    def __init__(
        self, call: Call, agent: Agent, transcript: Transcript, now: float, wall: datetime, playout: Playout
    ) -> None:
        super().__init__(call, agent, transcript, now, wall)
        self._playout = playout
        self._dropped: str | None = None  # the response of which no more is heard
        self._idle_prompts = 0
        self._cut_off = False  # the vendor was lost in the middle of a response
        self._cut: dict[str, int] = {}  # item -> turn, of those talked over last
        self._caller_turns: dict[str, int] = {}  # item -> turn
        self._agent_turns: dict[str, int] = {}  # item -> turn, until it is settled
        self._speech_end: float | None = None
        self._began: dict[str, float] = {}  # item -> when the model's first word or sound of it came
        self._question = 0  # the caller's newest turn
        self._exchange = (0, 0)  # the caller's turn that was answered last, and its answer
        # By when the bot must be heard: nobody likes to be answered by silence.
        self._sound_due = None if self._owed(resumed=False) is None else now + FIRST_SOUND_SECONDS

    @property
    def due_at(self) -> float | None:
        due = [at for at in (super().due_at, self._goodbye_due, self._sound_due) if at is not None]
        if not (self._ending or self._active or self._speaking):
            # What we want said can be said now, and an idle caller is prompted, unless the bot is still being heard.
            due.append(self._quiet_since + (0 if self._wanted else self.agent.idle_seconds))
        return min(due) if due else None

    @property
    def patient(self) -> bool:
        return True  # the ends of speech and of playback are told, and everything else is known before

    def is_attentive(self, now: float) -> bool:  # noqa: ARG002  # it does not depend on the time
        # What is to be said waits for a response's end; who talks over what has been asked for is to be noticed.
        return bool(self._wanted or self._after_last_word) or self._active == REQUESTED

    def _react(self, event: Event, now: float) -> list[Command]:
        match event:
            case EngineReady(resumed):
                return self._ready(resumed, now)
            case CallerStarted(over_bot):
                return self._caller_started(self._playout.audible(now) if over_bot is None else over_bot, now)
            case CallerStopped(item, speech_end):
                return self._caller_stopped(item, speech_end or now, now)
            case CallerSaid(text, _, item):
                return self._caller_said(text, item, now)
            case AgentAudioStarted(response, item) if response != self._dropped:
                self._first_sound(item, now)
                return []
            case AgentWords():
                return self._words(event, now)
            case EngineLost(reason):
                return self._lost(reason, now)
            case Digit(digit):
                return self._digit(digit, now)
            case PlaybackReached(mark):
                self._playout.reached(mark, now)
                self._quiet_since = now
                if mark == LAST_WORD and self._after_last_word:
                    return [*self._settle(now), self._after_last_word]
                # Told of later, it was still so at that time: what has come since is told of behind it.
                return self._next(now) if self._active else [*self._finish_heard(now), *self._next(now)]
        return super()._react(event, now)

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

    def _caller_started(self, over_bot: bool, now: float) -> list[Command]:
        if self._ending:
            return []
        self._speaking, self._sound_due, self._idle_prompts = True, None, 0
        commands: list[Command] = [CallerActive()]
        if self._active or over_bot:
            commands += self._interrupt(now)
        return commands

    def _interrupt(self, now: float) -> list[Command]:
        response = self._active if self._active != REQUESTED else ""
        self._dropped = response or self._dropped
        cut = [(n, self._heard(item, n, now)) for item, n in self._agent_turns.items()]
        self._cut = dict(self._agent_turns)  # their words may still be on the way
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
        turn = self.transcript.add("caller", "", now, stages={"speech_end": speech_end})
        self._caller_turns[item] = self._question = turn.n
        return []

    def _caller_said(self, text: str, item: str, now: float) -> list[Command]:
        n = self._caller_turns.pop(item, None)
        if n is None or not text:
            return []
        caller = self.transcript.change(n, stages={"transcript": now}, text=text, heard=text)
        question, answer = self._exchange
        if n != question:
            return [KeepTurn(caller)]
        # The words are written down after the answer to them has begun, more often than not.
        answered = self.transcript.stamp(answer, transcript=now)
        if answer in self._agent_turns.values():  # it is kept when it has been heard
            return [KeepTurn(caller)]
        return [KeepTurn(caller), KeepTurn(answered)]

    def _digit(self, digit: str, now: float) -> list[Command]:
        if self._ending:
            return []
        self._quiet_since, self._idle_prompts = now, 0
        self._wanted.append("")
        return [TellModel(f"(the caller pressed the key {digit})"), *self._next(now)]

    # --- the bot ---

    def _first_sound(self, item: str, now: float) -> None:
        # The first sound was handed to the carrier as it came.
        stages = {"first_token": self._began.get(item, now), "first_words_out": now, "delivered": now}
        words, tool_calls = self._words_of.pop(item, ""), tuple(self._tool_calls)
        answers = not self._spoke and self._speech_end is not None
        turn = self.transcript.add("agent", words, now, stages=stages, answers=answers, tool_calls=tool_calls)
        if answers:
            self._exchange = (self._question, turn.n)
        self._agent_turns[item] = turn.n
        self._last_turn = turn.n
        self._tool_calls.clear()
        self._began.clear()
        self._spoke, self._sound_due, self._speech_end = True, None, None

    def _words_of_cut(self, n: int, event: AgentWords, now: float) -> list[Command]:
        """More of what an interrupted item would have said: its heard share is known, its text only now."""
        text = event.text if event.whole else self.transcript[n].text + event.text
        self.transcript.change(n, text=text)
        heard = self._heard(event.item, n, now)
        turn = self.transcript.change(n, heard=heard, interrupted=heard != text)
        return [KeepTurn(turn)] if event.whole else []

    def _words(self, event: AgentWords, now: float) -> list[Command]:
        n = self._agent_turns.get(event.item)
        if n is None and event.item in self._cut:
            return self._words_of_cut(self._cut[event.item], event, now)
        if n is None:
            if self._active == event.response:  # words may come before their sound
                self._began.setdefault(event.item, now)
                earlier = "" if event.whole else self._words_of.get(event.item, "")
                self._words_of[event.item] = earlier + event.text
            return []
        if not event.whole:
            self.transcript.change(n, text=self.transcript[n].text + event.text)
            return []
        return [KeepTurn(self.transcript.change(n, text=event.text))]

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
        if not done:
            return []
        self._agent_turns = {item: n for item, n in self._agent_turns.items() if n not in done}
        whole = ((n, self.transcript[n].text) for n in done)
        return [KeepTurn(self.transcript.change(n, stages={"heard": now}, heard=text)) for n, text in whole]

    def _settle(self, now: float, goes_on: bool = False) -> Sequence[Command]:  # noqa: ARG002  # cut here either way
        cut = [self.transcript.change(n, heard=self._heard(item, n, now)) for item, n in self._agent_turns.items()]
        self._agent_turns.clear()
        return [KeepTurn(turn) for turn in cut]
