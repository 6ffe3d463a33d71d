"""Streams of engine realtime, and the turns that scenes begin with."""

from typing import Any

from call_scenes import AGENT, BEGIN, EPOCH, WALL, Scene, a_call, one

from callbot.agents import Agent
from callbot.calls import Turn
from stream_service.commands import ClearPlayback, Command, RunTool
from stream_service.events import (
    AgentAudioStarted,
    AgentWords,
    CallerSaid,
    CallerStarted,
    CallerStopped,
    EngineReady,
    PlaybackReached,
    ResponseEnded,
    ResponseStarted,
    Tick,
    ToolCall,
)
from stream_service.playout import Playout
from stream_service.transcript import Transcript
from stream_service.voiced_session import VoicedSession

END_CALL = ToolCall("call_1", "end_call", "{}")


class VoicedScene(Scene):
    """A stream of engine realtime, with what the pump would do about audio: mark it, and clear it."""

    playout: Playout

    def sounds(self, item: str, milliseconds: int, words: str = "", response: str = "r1", after: float = 0.0) -> str:
        """The model's next audio (and the words it says so far); the name of its mark."""
        self.now += after
        mark, first = self.playout.sent(item, milliseconds * 8, self.now)
        if first:
            self.happens(AgentAudioStarted(response, item))
        if words:
            self.happens(AgentWords(response, item, words))
        return mark

    def answers(self, response: str, item: str, words: str, milliseconds: int = 2000, status: str = "completed") -> str:
        """A whole response, faster than real time; the mark behind it."""
        self.happens(ResponseStarted(response))
        mark = self.sounds(item, milliseconds, words, response)
        self.happens(ResponseEnded(response, status))
        return mark

    def hears_out(self, mark: str) -> list[Command]:
        """The caller hears everything up to this mark."""
        waited = self.wait(max(0.0, self.playout.ends_at - self.now))
        return [*waited, *self.happens(PlaybackReached(mark)), *self.happens(Tick())]


def voiced(earlier: list[Turn] | None = None, agent: Agent = AGENT, **fields: Any) -> VoicedScene:
    """A stream of engine realtime."""
    record = a_call("realtime", **fields)
    transcript = Transcript("realtime", record.stream.generation, earlier or [], EPOCH)
    playout = Playout()
    scene = VoicedScene(VoicedSession(record, agent, transcript, BEGIN, WALL, playout), transcript)
    scene.playout = playout

    def carry_out(command: Command) -> None:
        if isinstance(command, ClearPlayback):
            playout.clear(scene.now)

    scene.on_command = carry_out
    return scene


def greeted(**fields: Any) -> VoicedScene:
    """The greeting has been heard to its end."""
    scene = voiced(**fields)
    scene.happens(EngineReady(resumed=False))
    scene.hears_out(scene.answers("r0", "i0", AGENT.greeting, 2000))
    return scene


def says(scene: VoicedScene, text: str, item: str = "c1") -> None:
    """The caller says something; the vendor writes it down a moment later."""
    scene.happens(CallerStarted(), after=0.5)
    scene.happens(CallerStopped(item=item), after=1.0)
    scene.happens(CallerSaid(text, item=item), after=0.2)


def uses(scene: VoicedScene, call: ToolCall, words: str = "") -> None:
    """The caller's request makes the model use a tool, perhaps with words of its own."""
    says(scene, "お願いします")
    scene.happens(ResponseStarted("r1"), after=0.3)
    if words:
        scene.sounds("i1", 2000, words)
    commands = scene.happens(ResponseEnded("r1", "completed", tool_calls=(call,)))
    assert one(commands, RunTool) == RunTool(0, call)
