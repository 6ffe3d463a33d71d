"""Scenes from calls on engine amivoice: the model uses tools, among them the end of the call."""

from call_scenes import AGENT, none, notes, one
from spoken_scenes import END_CALL, TRANSFER, greeted, uses

from callbot.text import spoken_seconds
from stream_service.commands import Finish, KeepEnding, KeepTurn, Listen, Speak, StartChat
from stream_service.events import (
    AnswerDone,
    CallerSaid,
    CallerSaying,
    Delivered,
    HeardSoFar,
    SentenceReady,
    StreamStopped,
    ToolCall,
    ToolResult,
)
from stream_service.spoken_answers import GOODBYE_SPARE_SECONDS, TOOL_ROUNDS
from stream_service.tools import Ending, Transfer


def test_end_call_says_the_agents_closing_when_the_model_said_nothing() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL)
    commands = scene.happens(ToolResult(turn, END_CALL, Ending("the caller asked to end the call")))
    assert one(commands, KeepEnding).reason == "the caller asked to end the call"
    assert one(commands, Speak).sentences == (AGENT.closing,)
    kept = one(commands, KeepTurn).turn
    assert (kept.then, kept.complete, kept.sentences) == ("hangup", True, (AGENT.closing,))
    assert kept.tool_calls == ({"name": "end_call", "arguments": "{}"},)


def test_end_call_after_the_models_own_goodbye_adds_nothing() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL, words="それでは失礼します。")
    commands = scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    none(commands, Speak)  # it is being said already
    kept = one(commands, KeepTurn).turn
    assert (kept.then, kept.sentences) == ("hangup", ("それでは失礼します。",))


def test_the_goodbye_is_heard_and_the_functions_hang_up() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL)
    scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    scene.happens(Delivered(turn))
    assert scene.wait(spoken_seconds(AGENT.closing) + 1) == []
    scene.happens(StreamStopped())
    assert one(scene.happens(HeardSoFar(turn, 1, 0.5)), Finish) == Finish("asked")
    assert scene.turns()[-1].heard == AGENT.closing


def test_a_goodbye_that_nobody_carries_out_is_followed_by_a_hang_up() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL)
    scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    commands = scene.wait(spoken_seconds(AGENT.closing) + GOODBYE_SPARE_SECONDS + 1)
    assert commands[-1] == Finish("asked", hang_up=True)


def test_what_the_caller_says_over_the_goodbye_is_not_answered() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL)
    scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    scene.happens(Delivered(turn))
    none(scene.happens(CallerSaid("あ、もう一つ質問が"), after=0.3), StartChat, Listen)


def test_a_transfer_is_announced_and_left_to_the_functions() -> None:
    scene = greeted()
    turn = uses(scene, TRANSFER)
    commands = scene.happens(ToolResult(turn, TRANSFER, Transfer("operator")))
    none(commands, KeepEnding)
    kept = one(commands, KeepTurn).turn
    assert (kept.then, kept.target, kept.sentences) == ("transfer", "operator", (AGENT.transfer_line,))


def test_a_tool_that_answers_is_told_to_the_model_which_goes_on() -> None:
    scene = greeted()
    weather = ToolCall("call_9", "weather", '{"city":"東京"}')
    turn = uses(scene, weather, words="お調べします。")
    chat = one(scene.happens(ToolResult(turn, weather, "晴れ"), after=0.5), StartChat)
    assert chat.turn == turn
    said, result = chat.messages[-2:]
    assert said["content"] == "お調べします。"
    assert said["tool_calls"][0] == {
        "id": "call_9",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"東京"}'},
    }
    assert result == {"role": "tool", "tool_call_id": "call_9", "content": "晴れ"}
    assert [m.get("content") for m in chat.messages].count("お調べします。") == 1  # once, and with its call
    scene.happens(SentenceReady(turn, "東京は晴れです。"), after=0.5)
    again = ToolCall("call_10", "weather", '{"city":"大阪"}')
    scene.happens(AnswerDone(turn, tool_calls=(again,)))
    chat = one(scene.happens(ToolResult(turn, again, "雨")), StartChat)
    assert [m.get("content") for m in chat.messages[-4:]] == ["お調べします。", "晴れ", "東京は晴れです。", "雨"]
    scene.happens(SentenceReady(turn, "大阪は雨です。"), after=0.5)
    scene.happens(AnswerDone(turn))
    assert scene.turns()[-1].sentences == ("お調べします。", "東京は晴れです。", "大阪は雨です。")


def test_the_model_goes_on_when_all_its_tools_have_answered() -> None:
    scene = greeted()
    calls = [ToolCall("a", "x", "{}"), ToolCall("b", "y", "{")]
    turn = uses(scene, *calls)
    assert scene.happens(ToolResult(turn, calls[1], "the arguments are no JSON")) == []
    chat = one(scene.happens(ToolResult(turn, calls[0], "there is no tool 'x'")), StartChat)
    assert [m["tool_call_id"] for m in chat.messages if m["role"] == "tool"] == ["b", "a"]


def test_once_the_call_is_to_end_another_tools_answer_changes_nothing() -> None:
    scene = greeted()
    other = ToolCall("b", "y", "{}")
    turn = uses(scene, END_CALL, other)
    scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    assert scene.happens(ToolResult(turn, other, "x")) == []


def test_a_model_that_only_uses_tools_is_stopped() -> None:
    scene = greeted()
    call = ToolCall("a", "x", "{}")
    turn = uses(scene, call)
    for _ in range(TOOL_ROUNDS - 1):
        one(scene.happens(ToolResult(turn, call, "no")), StartChat)
        scene.happens(AnswerDone(turn, tool_calls=(call,)), after=0.1)
    commands = scene.happens(ToolResult(turn, call, "no"))
    none(commands, StartChat)
    assert "vendor failed" in notes(commands)
    assert scene.transcript[turn].failed == "too many tool calls"


def test_a_tool_of_an_interrupted_answer_comes_too_late() -> None:
    scene = greeted()
    turn = uses(scene, END_CALL, words="それでは失礼します。")
    scene.happens(Delivered(turn))
    scene.happens(CallerSaying("ちょっと待って"), after=0.3)
    commands = scene.happens(ToolResult(turn, END_CALL, Ending("asked")))
    none(commands, KeepEnding, Speak)
