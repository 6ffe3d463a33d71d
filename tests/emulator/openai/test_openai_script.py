"""The operator by keyword, and what every script's reply goes through."""

from typing import Any

import pytest

from emulator.openai import Message, Reply, Support, ToolCall
from emulator.openai.script import FAREWELL, GREETING, STILL_THERE, decide, quoted_speech
from emulator.recordings import Library

TOOLS = ["end_call", "transfer_call"]


def said(text: str, tools: list[str] = TOOLS, **habits: bool) -> Reply:
    return Support(**habits).reply([Message("user", text)], tools, "")


@pytest.mark.parametrize(
    ("recording", "part"),
    [
        ("opening-hours", "午前九時から"),
        ("booking", "何名様"),
        ("two-persons", "二名様ですね"),
        ("price", "三千円"),
        ("location", "駅の東口"),
        ("wait", "お待ちして"),
        ("long-story", "修理"),
        ("hai", "ほかにご用件"),
        ("human", "担当者に"),
        ("cough", "よく聞こえません"),
    ],
)
def test_every_recording_has_a_fitting_answer(library: Library, recording: str, part: str) -> None:
    assert part in said(library[recording].text).text


@pytest.mark.parametrize(
    "wish", ["電話を切ってください。", "ありがとうございます、失礼します。", "さようなら", "もう終わりです"]
)
def test_wishes_to_hang_up(wish: str) -> None:
    assert said(wish) == Reply("", [ToolCall("end_call")])
    assert said(wish, farewell_with_call=True) == Reply(FAREWELL, [ToolCall("end_call")])
    assert said(wish, tools=[]) == Reply(FAREWELL)


def test_the_farewell_is_said_once() -> None:
    called = [Message("user", "失礼します"), Message("assistant", "", "end_call"), Message("tool", "{}", "end_call")]
    assert Support().reply(called, TOOLS, "").text == FAREWELL
    called[1] = Message("assistant", FAREWELL, "end_call")
    assert Support().reply(called, TOOLS, "").text == ""


def test_a_wish_for_a_person() -> None:
    assert said("担当者につないでください").tool_calls == [ToolCall("transfer_call")]
    assert said("担当者につないでください", tools=[]).tool_calls == []


def test_repeating_and_silence() -> None:
    history = [Message("assistant", "三千円です。"), Message("user", "もう一度お願いします。")]
    assert Support().reply(history, [], "").text == "三千円です。"
    assert Support().reply([], [], "").text == GREETING
    assert Support().reply(history[:1] * 2, [], "").text == STILL_THERE


def test_arguments_that_the_schema_requires_are_made_up() -> None:
    class Calls:
        def reply(self, history: list[Message], tools: list[str], instructions: str) -> Reply:
            assert set(tools) <= {"f"}
            return Reply(instructions, [ToolCall("f", {"given": 5}), ToolCall("unknown")] if history else [])

    schema: dict[str, Any] = {
        "properties": {
            "given": {"type": "integer"},
            "pick": {"enum": ["a", "b"]},
            "count": {"type": "integer"},
            "why": {"type": "string"},
            "optional": {"type": "string"},
        },
        "required": ["given", "pick", "count", "why"],
    }
    reply = decide(Calls(), [Message("user", "はい")], {"f": schema}, "i")
    assert reply == Reply("i", [ToolCall("f", {"given": 5, "pick": "a", "count": 1, "why": "はい"})])
    assert decide(Calls(), [], {"f": None}, "", "required").tool_calls == [ToolCall("f")]
    assert decide(Calls(), [], {"f": None}, "", "none").tool_calls == []


def test_quoted_speech() -> None:
    assert quoted_speech("次の挨拶だけを話す:「はい、承ります。」以上") == "はい、承ります。"
    assert quoted_speech("挨拶する") == quoted_speech("「」") == ""
