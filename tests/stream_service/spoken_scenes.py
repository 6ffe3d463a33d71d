"""Streams of engine amivoice, and the turns that scenes begin with."""

from typing import Any

from call_scenes import AGENT, BEGIN, EPOCH, WALL, Scene, a_call, one

from callbot.agents import Agent
from callbot.calls import Turn
from callbot.text import spoken_seconds
from stream_service.commands import RunTool, StartChat
from stream_service.events import (
    AnswerDone,
    CallerSaid,
    CallerStarted,
    CallerStopped,
    Delivered,
    EngineReady,
    FirstToken,
    SentenceReady,
    ToolCall,
)
from stream_service.spoken_session import SpokenSession
from stream_service.transcript import Transcript

LONG = ("営業時間は九時から六時までです。", "土曜日は三時までです。", "日曜日はお休みです。")
END_CALL = ToolCall("call_1", "end_call", "{}")
TRANSFER = ToolCall("call_2", "transfer_call", '{"target":"operator"}')

UNASKED_SECONDS = spoken_seconds(AGENT.greeting)


def spoken(earlier: list[Turn] | None = None, agent: Agent = AGENT, **fields: Any) -> Scene:
    """A stream of engine amivoice."""
    record = a_call("amivoice", **fields)
    transcript = Transcript("amivoice", record.stream.generation, earlier or [], EPOCH)
    return Scene(SpokenSession(record, agent, transcript, BEGIN, WALL), transcript)


def greeted(**fields: Any) -> Scene:
    """The greeting has been heard to its end."""
    scene = spoken(**fields)
    scene.happens(EngineReady(resumed=False))
    scene.wait(UNASKED_SECONDS + 1)
    return scene


def says(scene: Scene, text: str, after: float = 0.5) -> int:
    """The caller says something; the turn whose answer is asked for."""
    scene.happens(CallerStarted(), after=after)
    scene.happens(CallerStopped(), after=1.0)
    commands = scene.happens(CallerSaid(text, speech_end=scene.now), after=0.3)
    return one(commands, StartChat).turn


def answered(scene: Scene, *sentences: str, after: float = 0.3) -> int:
    """The caller asks something and the carrier begins to say the whole answer."""
    turn = says(scene, "営業時間を教えてください")
    scene.happens(FirstToken(turn), after=after)
    for sentence in sentences:
        scene.happens(SentenceReady(turn, sentence))
    scene.happens(AnswerDone(turn))
    scene.happens(Delivered(turn), after=0.1)
    return turn


def uses(scene: Scene, *calls: ToolCall, words: str = "") -> int:
    """The caller's request makes the model use tools, perhaps with words of its own."""
    turn = says(scene, "お願いします、いろいろと")
    if words:
        scene.happens(SentenceReady(turn, words), after=0.3)
    commands = scene.happens(AnswerDone(turn, tool_calls=calls), after=0.3)
    assert [c for c in commands if isinstance(c, RunTool)] == [RunTool(turn, call) for call in calls]
    return turn
