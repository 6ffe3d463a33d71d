"""Answers of engine amivoice: from the question to the chat model to the words that the carrier speaks. Decides only.

The first sentence goes out by an update of the call; `/call-flow` fetches the others as Twilio comes back for more, so
the words here are those of a turn's `sentences`. When an answer is asked for is `spoken_session.py`'s business.
"""

from collections.abc import Sequence
from datetime import datetime

from callbot.agents import Agent
from callbot.calls import Call, Turn
from callbot.text import spoken_seconds
from stream_service.commands import (
    AskHeard,
    CancelChat,
    Command,
    Finish,
    KeepEnding,
    KeepTurn,
    KeepUsage,
    Listen,
    Note,
    RunTool,
    Speak,
    StartChat,
)
from stream_service.events import (
    AnswerCut,
    AnswerDone,
    AnswerFailed,
    CarrierRefused,
    Delivered,
    Event,
    FirstToken,
    SentenceReady,
    StoreHealth,
    ToolResult,
)
from stream_service.session import CallSession
from stream_service.spoken_turn import AnswerInProgress
from stream_service.tools import Ending, Transfer
from stream_service.transcript import Transcript, heard_of

FILLER_SECONDS = 1.8  # after the caller's last word; the carrier needs a moment to begin to speak
BEGUN_SECONDS = 2.4  # the same when the answer is being written: a filler would only put its first sentence off
STALL_SECONDS = 3.8  # without any sign of progress the model is given up: an apology within 4 s
GOODBYE_SPARE_SECONDS = 8.0  # beyond what the goodbye takes to say, until the call is ended by REST
MOST_FAILURES = 2  # turns in a row that failed: the call is ended politely
TOOL_ROUNDS = 4  # answers that may in turn ask for tools, for one turn


class SpokenAnswers(CallSession):
    """What the agent says on a one-way stream, one answer at a time."""

    def __init__(self, call: Call, agent: Agent, transcript: Transcript, now: float, wall: datetime) -> None:
        super().__init__(call, agent, transcript, now, wall)
        self._answer: AnswerInProgress | None = None  # the agent's newest turn, until it is settled
        self._chat_waits: float | None = None  # the chat begins when it is known what was heard, or at this time
        self._speech_end: float | None = None
        self._filled_until = 0.0  # a word to bridge a wait is being said until then
        self._goodbye_since: float | None = None
        self._store_down = False
        self._failures = 0

    def _react(self, event: Event, now: float) -> list[Command]:
        match event:
            case Delivered(turn) if turn in self.transcript:
                if self._answer and self._answer.n == turn:
                    self._answer.spoken_from(now)
                return [KeepTurn(self.transcript.stamp(turn, delivered=now))]
            case StoreHealth(down):
                self._store_down = down
            case CarrierRefused(turn, code):
                if self._answer and self._answer.n == turn:
                    self._answer.spoken_from(now)  # it may have been said all the same; its time passes either way
                failed = {"service": "twilio", "what": "update", "code": code, "turn": turn}
                return [Note("vendor failed", failed, "ERROR")]
            case FirstToken(turn) if self._is_current(turn):
                self.transcript.stamp(self._current().n, first_token=now)
                self._progress(now)
            case SentenceReady(turn, text) if self._is_current(turn):
                return self._sentence(text, now)
            case AnswerDone(turn) if self._is_current(turn):
                return self._answer_done(event, now)
            case AnswerFailed(turn, code, retryable) if self._is_current(turn):
                return self._answer_failed(code, retryable, now)
            case AnswerCut(usage):
                return [KeepUsage(usage)]
            case ToolResult(turn) if self._is_current(turn):
                return self._tool_answered(event, now)
        return []

    # --- an answer is made ---

    def _think(self, now: float) -> list[Command]:
        messages = self.transcript.messages(self.text(self.agent.prompt))
        turn = self.transcript.add("agent", "", now, answers=True, complete=False)
        self._answer = AnswerInProgress(turn.n, now)
        self._answer.asked = messages
        return [KeepTurn(turn), *self._ask(now)]

    def _ask(self, now: float) -> list[Command]:
        answer = self._current()
        self.transcript.stamp(answer.n, asked=now)
        return [StartChat(answer.n, tuple(answer.asked))]

    def _is_current(self, number: int) -> bool:
        """Whether more may come of this turn; what is on its way when an answer is given up comes too late."""
        answer = self._answer
        return answer is not None and number in (answer.n, answer.chat) and not answer.stopped and not answer.complete

    def _current(self) -> AnswerInProgress:
        if self._answer is None:
            raise ValueError("no answer is open")
        return self._answer

    def _progress(self, now: float) -> None:
        self._current().progressed_at = now

    def _sentence(self, text: str, now: float) -> list[Command]:
        answer = self._current()
        self._progress(now)
        answer.add(text)
        self.transcript.stamp(answer.n, first_sentence=now)
        return self._say_more(now)

    def _say_more(self, now: float) -> list[Command]:
        """Put the answer's sentences where `/call-flow` finds them; the first also begins to be spoken."""
        answer = self._current()
        commands: list[Command] = []
        if not answer.spoken and answer.sentences:
            answer.spoken, answer.handed_over = True, 1
            self.transcript.stamp(answer.n, first_words_out=now)
            self._speech_end = None  # whatever is said next, nobody has been waiting for it since then
            commands = [Speak(answer.n, (answer.sentences[0],), 1)]
        turn = self.transcript.change(
            answer.n, text="".join(answer.sentences), sentences=tuple(answer.sentences), complete=answer.complete
        )
        return [*commands, KeepTurn(turn)]

    def _answer_done(self, event: AnswerDone, now: float) -> list[Command]:
        answer = self._current()
        usage: list[Command] = [KeepUsage(event.usage)] if event.usage else []
        self._failures = 0
        if event.tool_calls:
            self._progress(now)
            noted = tuple({"name": call.name, "arguments": call.arguments} for call in event.tool_calls)
            self.transcript.change(answer.n, tool_calls=self.transcript[answer.n].tool_calls + noted)
            answer.expect(event.tool_calls)
            return [*usage, *(RunTool(answer.n, call) for call in event.tool_calls)]
        if not answer.sentences:  # a model that says nothing would leave the caller in silence
            answer.add(self.text(self.agent.repeat_please))
        answer.complete = True
        return usage + self._say_more(now)

    def _tool_answered(self, event: ToolResult, now: float) -> list[Command]:
        answer = self._current()
        self._progress(now)
        match event.outcome:
            case Ending(reason):
                return self._finish_answer("hangup", self.text(self.agent.closing), reason, now)
            case Transfer(target):
                self.transcript.change(answer.n, target=target)
                return self._finish_answer("transfer", self.text(self.agent.transfer_line), "", now)
        if not answer.answered(event.call, str(event.outcome)):
            return []  # another tool of the same answer is still at work
        if answer.rounds >= TOOL_ROUNDS:
            return self._answer_failed("too many tool calls", True, now)
        answer.chat = answer.n
        return [StartChat(answer.n, (*answer.asked, *answer.tool_messages))]

    def _finish_answer(self, then: str, words: str, reason: str, now: float) -> list[Command]:
        """The answer is the turn's last: `words` are said unless the model has said its own."""
        answer = self._current()
        if not answer.sentences:
            answer.add(words)
        answer.complete = True
        commands: list[Command] = []
        if then == "hangup":
            self._ending, self._goodbye_since = reason, now
            commands = [KeepEnding(reason), Note("ending", {"reason": reason})]
        self.transcript.change(answer.n, then=then)
        return commands + self._say_more(now)

    def _answer_failed(self, code: str, retryable: bool, now: float) -> list[Command]:
        answer = self._current()
        self._failures += 1
        self.transcript.change(answer.n, failed=code)
        failed = {"service": "openai-chat", "what": "answer", "code": code, "retryable": retryable, "turn": answer.n}
        note: Command = Note("vendor failed", failed, "ERROR")
        final = not retryable or self._failures >= MOST_FAILURES
        answer.add(self.text(self.agent.final_apology if final else self.agent.apology))
        if final:
            answer.add(self.text(self.agent.closing))
            return [CancelChat(answer.chat), note, *self._finish_answer("hangup", "", f"openai: {code}", now)]
        answer.complete = True
        return [CancelChat(answer.chat), note, *self._say_more(now)]

    def _fill(self, answer: AnswerInProgress, now: float) -> list[Command]:
        """A word to bridge the wait; `/call-flow` then fetches the answer from its first sentence on."""
        filler = self.text(self.agent.fillers[answer.n // 2 % len(self.agent.fillers)])
        answer.spoken, self._speech_end = True, None
        self.transcript.stamp(answer.n, first_words_out=now)
        answer.filler_seconds = spoken_seconds(filler)
        return [Speak(answer.n, (filler,), 0), Note("filler", {"turn": answer.n})]

    def _announce(self, text: str, now: float) -> list[Command]:
        closed: list[Command] = [KeepTurn(self._close_answer())] if self._answer else []
        turn = self.transcript.add("agent", "", now, complete=False)
        self._answer = AnswerInProgress(turn.n, now, text)
        return closed + self._say_more(now)

    def _end(self, reason: str, goodbye: str, now: float) -> list[Command]:
        if self._ending:
            return []
        stopped = self._interrupt(now, listen=False)
        closed: list[Command] = [KeepTurn(self._close_answer())] if self._answer else []
        turn = self.transcript.add("agent", "", now, complete=False)
        self._answer, self._chat_waits = AnswerInProgress(turn.n, now), None
        return [*stopped, *closed, *self._finish_answer("hangup", goodbye, reason, now)]

    # --- an answer is over ---

    def _interrupt(self, now: float, listen: bool = True) -> list[Command]:
        """The caller goes first: stop the answer, and find out what was heard of it."""
        answer = self._answer
        if answer is None or answer.interrupted:
            return []
        commands: list[Command] = [] if answer.complete else [CancelChat(answer.chat)]
        if not answer.spoken:  # nothing of it was said: it never was
            self._answer = None
            turn = self.transcript.change(answer.n, text="", heard="", sentences=(), complete=True, interrupted=True)
            return [*commands, KeepTurn(turn)]
        if answer.complete and not answer.audible(now):  # it had been said to its end; when, the functions know
            return [KeepTurn(self._close_answer()), AskHeard(answer.n)]
        answer.stop(now)
        commands.append(AskHeard(answer.n))
        return [*commands, Listen()] if listen else commands

    def _close_answer(self, whole: int | None = None, since: float = 0.0) -> Turn:
        """The newest agent's turn is over; `whole` sentences are known to have been heard, `since` seconds ago."""
        answer = self._answer
        if answer is None:
            raise ValueError("no answer is open")
        self._answer = None
        # Twilio has come back only for what it began after the first sentence; the clock knows the rest.
        whole, into_next = max((whole or 0, max(0.0, since)), answer.by_clock())
        heard = heard_of(answer.sentences, whole, into_next, answer.seconds)
        text = "".join(answer.sentences)
        return self.transcript.change(
            answer.n, text=text, heard=heard, interrupted=answer.interrupted and heard != text, complete=True
        )

    def _settle(self, now: float, goes_on: bool = False) -> Sequence[Command]:
        if self._answer is None:
            return []
        pending: list[Command] = [] if self._answer.complete else [CancelChat(self._answer.chat)]
        if goes_on and not self._answer.interrupted:
            return pending  # the next stream takes it from here
        self._answer.stop(now, interrupted=False)
        return [*pending, KeepTurn(self._close_answer())]

    def _answer_busy(self, now: float) -> bool:
        return self._answer is not None and (not self._answer.complete or self._answer.audible(now))

    # --- time ---

    def _mind_the_time(self, now: float) -> list[Command]:
        answer = self._answer
        if answer and self._store_down and answer.complete and answer.is_due(now):
            return self._hand_over_the_rest(answer)
        if self._goodbye_since is not None and self._goodbye_overdue(now):
            note = Note("last word never confirmed", {}, "WARNING")
            return [note, *self._settle(now), Finish(self._ending, hang_up=True)]
        if answer and not answer.complete and not answer.stopped:
            if now - answer.progressed_at >= STALL_SECONDS:
                return self._answer_failed("stalled", True, now)
            begun = "first_token" in self.transcript[answer.n].timings
            patience = BEGUN_SECONDS if begun else FILLER_SECONDS
            due = max(self._speech_end or answer.began_at, self._filled_until) + patience
            if not answer.spoken and now >= due:
                return self._fill(answer, now)
        return super()._mind_the_time(now)

    def _hand_over_the_rest(self, answer: AnswerInProgress) -> list[Command]:
        """The store is down, so `/call-flow` knows nothing of these sentences: the update itself says them."""
        rest = tuple(answer.sentences[answer.handed_over :])
        answer.handed_over = len(answer.sentences)
        return [Speak(answer.n, rest, answer.handed_over), Note("sentences without the store", {"turn": answer.n})]

    def _goodbye_overdue(self, now: float) -> bool:
        """`/call-flow` should have hung up long ago."""
        seconds = self._answer.whole_seconds if self._answer else 0.0
        spare = 0.0 if self._store_down else GOODBYE_SPARE_SECONDS
        return self._goodbye_since is not None and now >= self._goodbye_since + seconds + spare
