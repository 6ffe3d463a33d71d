"""A call with a clock that only the test moves: an agent, a record, and what a scene is.

Whatever a scene is about, `Scene.happens` also checks what must hold in every call.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from callbot import logs
from callbot.agents import Agent
from callbot.calls import Call, EngineName, NextStep, StreamState, Turn
from callbot.presentation import camel
from stream_service.commands import (
    CancelChat,
    Command,
    Finish,
    HandOver,
    KeepEnding,
    KeepTurn,
    KeepUsage,
    Note,
    RequestResponse,
    RunTool,
    Speak,
    StartChat,
)
from stream_service.events import EngineLost, Event, RequestRefused, ResponseEnded, ResponseStarted, Tick
from stream_service.session import CALL_OVER, CallSession
from stream_service.transcript import Transcript
from stream_service.voiced_responses import TOO_LATE

# Of today: by the machine's clock, stores forget what is older than a month.
WALL = datetime.now(UTC).replace(microsecond=0)
BEGIN = 1000.0  # of the monotonic clock
EPOCH = WALL.timestamp() - BEGIN

AGENT = Agent(
    name="takumi",
    prompt="あなたはたくみです。相手は{name}様です。",
    greeting="もしもし、たくみです。",
    closing="失礼いたします。",
    apology="申し訳ありません、うまくいきませんでした。",
    repeat_please="もう一度お願いできますか。",
    resume="お待たせいたしました。",
    time_warning="お時間が残り一分です。",
    time_up="お時間となりました。",
    voicemail="また改めます。",
    transfer_line="担当におつなぎします。",
    transfer_failed="つながりませんでした。",
    fillers=("ええと、少しお待ちください。", "はい、確認しますね。"),
    idle_prompts=("もしもし、聞こえていますか。", "ご用件をどうぞ。"),
    voice="Polly.Takumi-Neural",
    language="ja-JP",
    tools=("end_call", "transfer_call"),
    transfers={"operator": "+81312345678"},
    idle_seconds=12,
    max_duration_seconds=900,
)

C = TypeVar("C")


def a_call(engine: EngineName, generation: int = 1, **fields: Any) -> Call:
    record = Call(
        sid="CA1",
        direction="inbound",
        from_="+819012345678",
        to="+815012345678",
        agent="takumi",
        engine=engine,
        created_at=WALL,
        answered_at=WALL,
        variables={"name": "佐藤"},
        stream=StreamState(generation, connected_at=WALL, seen_at=WALL),
    )
    return replace(record, **fields)


def a_turn(n: int, role: str, text: str, **fields: Any) -> Turn:
    known: dict[str, Any] = {"engine": "amivoice", "generation": 1, "at": WALL, **fields}
    return Turn(n=n, role=role, text=text, **known)  # type: ignore[arg-type]


@dataclass
class Scene:
    """One stream's session and all that it has ordered so far."""

    session: CallSession
    transcript: Transcript
    now: float = BEGIN

    def __post_init__(self) -> None:
        self.commands: list[Command] = []
        self.last: list[Command] = []
        self._kept: dict[int, Turn] = {}
        self.on_command: Callable[[Command], None] = lambda _: None
        self._requested = False  # a response has been asked for and has neither ended nor been refused
        self._responding = False  # a response is known to be made
        self._guess: int | None = None

    def happens(self, event: Event, after: float = 0.0) -> list[Command]:
        """The event, `after` seconds later, and what the session orders at once."""
        self.now += after
        was_over = self.session.finished
        if isinstance(event, ResponseEnded | EngineLost) or event == RequestRefused(TOO_LATE):
            self._requested = False
        if isinstance(event, ResponseStarted | ResponseEnded | EngineLost):
            self._responding = isinstance(event, ResponseStarted)
        due = self.session.due_at
        is_early = isinstance(event, Tick) and self.session.patient and (due is None or self.now < due)
        self.last = self.session.handle(event, self.now)
        # A call is told the time when it is due: nothing may depend on it before, but when a turn is known to be heard.
        assert not is_early or all(isinstance(command, KeepTurn) for command in self.last), (due, self.last)
        assert not (was_over and self.last), (event, self.last)
        for position, command in enumerate(self.last):
            self.commands.append(command)
            self._check(command, is_last=position == len(self.last) - 1)
            self.on_command(command)
        assert self.session.finished == (bool(self.commands) and isinstance(self.commands[-1], Finish | HandOver))
        return self.last

    def wait(self, seconds: float, tick: float = 0.2) -> list[Command]:
        """So much time passes with nothing but ticks; all that is ordered meanwhile."""
        ordered: list[Command] = []
        until = self.now + seconds
        while self.now < until - 1e-9 and not self.session.finished:
            ordered += self.happens(Tick(), after=min(tick, until - self.now))
        return ordered

    def all(self, kind: type[C]) -> list[C]:
        return [command for command in self.commands if isinstance(command, kind)]

    def turns(self) -> list[Turn]:
        """The turns as they are in the store: the last version of each that was kept."""
        return [self._kept[n] for n in sorted(self._kept)]

    def _check(self, command: Command, *, is_last: bool) -> None:
        if isinstance(command, KeepUsage):  # what is counted can be told in the log
            assert {camel(name) for name in command.usage} <= logs.EVENTS["call usage"]
        match command:
            case Finish(reason, hang_up):
                assert is_last
                assert reason
                # Every call ends for a recorded reason; a stream that is lost ends no call.
                recorded = any(isinstance(c, KeepEnding) for c in self.commands)
                assert recorded or (not hang_up and reason in (CALL_OVER, "stream lost")), command
            case HandOver(step):
                assert is_last
                assert step is None or step.generation == self.session.generation
                if step and step.step == "goodbye":
                    assert any(isinstance(c, KeepEnding) for c in self.commands)
            case StartChat(turn, messages) if turn < 0:  # a guess: one at a time
                assert self._guess is None
                assert messages[-1]["role"] == "user"
                self._guess = turn
            case CancelChat(turn) if turn < 0:
                self._guess = None
            case KeepUsage({"guesses_kept": 1}):
                self._guess = None
            case RunTool(turn):
                assert turn == 0 or turn in self._kept
            case StartChat(turn, messages):
                assert turn in self._kept
                assert self.transcript[turn].role == "agent"
                assert messages[0]["role"] == "system"
                assert all(m.get("content") or m.get("tool_calls") for m in messages), messages
            case Speak(turn, sentences, _):
                assert turn in self.transcript
                assert sentences
                assert all(sentences)
            case RequestResponse():
                assert not self._requested
                assert not self._responding
                self._requested = True
            case Note(name, fields):
                assert not fields.keys() - logs.EVENTS[name]
            case KeepTurn(turn):
                self._kept[turn.n] = turn
                assert turn.heard is None or turn.role == "caller" or turn.text.startswith(turn.heard), turn
            case _:
                pass


def one(commands: list[Command], kind: type[C]) -> C:
    """The only command of this kind."""
    found = [command for command in commands if isinstance(command, kind)]
    assert len(found) == 1, commands
    return found[0]


def none(commands: list[Command], *kinds: type[Any]) -> None:
    """No command of these kinds."""
    assert not [command for command in commands if isinstance(command, kinds)], commands


def notes(commands: list[Command]) -> list[str]:
    return [command.name for command in commands if isinstance(command, Note)]


def step_of(commands: list[Command]) -> NextStep:
    """The step that the call is handed over with."""
    step = one(commands, HandOver).step
    assert step is not None
    return step


def since(seconds: float) -> datetime:
    """So many seconds before the stream began."""
    return WALL - timedelta(seconds=seconds)
