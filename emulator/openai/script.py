"""What the emulated model says: a script decides, from the conversation so far. Nothing here knows a wire format.

`Support` is the script unless another is given: a small Japanese operator who goes by keywords. Tests bring
their own as a class with `reply`.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of the conversation. `role`: user, assistant, tool, system.

    `tool` names the function that a "tool" message answers, or the first that an assistant's message called.
    """

    role: str
    text: str
    tool: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function the model wants called. Required arguments that are left out are made up by the server."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model answers: words, calls of functions, or both."""

    text: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)


class Script(Protocol):
    """Decides replies. Called from several threads at once; must neither block nor raise."""

    def reply(self, history: list[Message], tools: list[str], instructions: str) -> Reply:
        """The answer to this conversation, given the names of the functions on offer and the instructions."""
        ...


GREETING = "お電話ありがとうございます。ご用件をどうぞ。"
STILL_THERE = "もしもし、お声が聞こえないようです。ご用件をどうぞ。"
FAREWELL = "お電話ありがとうございました。失礼いたします。"

_HOURS = (
    "営業時間は、平日の午前九時から午後六時までです。土曜日は午後三時まで営業しております。"
    "日曜日と祝日はお休みをいただいております。"
)
_COUNT = {"ひとり": "一名", "ふたり": "二名"}
_BOOKED = "{}様ですね。ご予約を承りました。ほかにご用件はございますか。"
_HOW_MANY = "ご予約ですね、ありがとうございます。何名様でいらっしゃいますか。"
_PRICE = "料金は、お一人様三千円でございます。お子様は半額になります。"
_WAY = "駅の東口から歩いて五分のところにございます。一階に花屋のある建物の三階です。"
_REPAIR = "それはご不便をおかけしました。修理を承ります。お買い上げの日はいつでしょうか。"
_RULES: tuple[tuple[str, str], ...] = (
    (r"営業時間|何時から|何時まで", _HOURS),
    (r"[一二三四五六七八九十0-9]+[人名]|ひとり|ふたり", _BOOKED),
    (r"予約", _HOW_MANY),
    (r"料金|値段|いくら", _PRICE),
    (r"どこ|場所|住所|行き方", _WAY),
    (r"修理|動かな|壊れ", _REPAIR),
    (r"待って|ちょっと", "はい、お待ちしております。ごゆっくりどうぞ。"),
    (r"ありがとう", "どういたしまして。ほかにご用件はございますか。"),
    (r"^(はい|うん|ええ)[。、]?$", "ありがとうございます。ほかにご用件はございますか。"),
)
_GOODBYE = re.compile(r"切って|失礼します|さようなら|終わり|終了")
_HUMAN = re.compile(r"担当者|人間|オペレーター|責任者")
_AGAIN = re.compile(r"もう一度|もういちど|聞こえな")
_NOT_HEARD = "申し訳ございません、よく聞こえませんでした。もう一度お願いできますか。"
_OTHERWISE = "承知いたしました。もう少し詳しくお聞かせいただけますか。"


class Support:
    """A customer-support operator by keyword: hours, bookings, prices, the way, repeating, people, goodbye.

    `farewell_with_call` says whether the goodbye is spoken along with the call of `end_call` or left to the
    answer that follows it: models do both.
    """

    def __init__(self, *, farewell_with_call: bool = False) -> None:
        self.farewell_with_call = farewell_with_call

    def reply(self, history: list[Message], tools: list[str], instructions: str) -> Reply:  # noqa: ARG002 - the port
        """See Script."""
        last = history[-1] if history else Message("system", "")
        if last.role == "tool":
            return Reply(self._after(last, history))
        if last.role != "user":
            return Reply(GREETING if len(history) < 2 else STILL_THERE)
        said = last.text.strip()
        if not said:
            return Reply(_NOT_HEARD)
        if _GOODBYE.search(said):
            if "end_call" not in tools:
                return Reply(FAREWELL)
            return Reply(FAREWELL if self.farewell_with_call else "", [ToolCall("end_call")])
        if _HUMAN.search(said):
            if "transfer_call" not in tools:
                return Reply("申し訳ございません、担当者はただいま席を外しております。")
            return Reply("担当者におつなぎいたします。", [ToolCall("transfer_call")])
        if _AGAIN.search(said):
            return Reply(self._spoken_last(history) or _NOT_HEARD)
        for pattern, answer in _RULES:
            found = re.search(pattern, said)
            if found:
                count = _COUNT.get(found.group(), found.group().replace("人", "名"))
                return Reply(answer.format(count))
        return Reply(_OTHERWISE)

    def _after(self, result: Message, history: list[Message]) -> str:
        """What is said when a function has been called."""
        if result.tool == "end_call":
            already = FAREWELL in (message.text for message in history[-3:])
            return "" if already else FAREWELL
        if result.tool == "transfer_call":
            return "このままお待ちください。"
        return "確認いたしました。ほかにご用件はございますか。"

    def _spoken_last(self, history: list[Message]) -> str:
        return next((m.text for m in reversed(history) if m.role == "assistant" and m.text), "")


_QUOTED = re.compile(r"「([^「」]{1,400})」")


def quoted_speech(instructions: str) -> str:
    """The words between 「 and 」 that instructions for one response want said, or ""."""
    found = _QUOTED.search(instructions)
    return found.group(1) if found else ""


def decide(
    script: Script,
    history: list[Message],
    tools: dict[str, Any],
    instructions: str,
    tool_choice: object = "auto",
) -> Reply:
    """The script's reply as a model would give it: only functions on offer, with complete arguments.

    `tools` are the JSON schemas of the functions' parameters by name. `tool_choice` is the API's field, in
    either API's shape: "none", "auto", "required" or an object that names a function.
    """
    offered = {} if tool_choice == "none" else tools
    reply = script.reply(history, list(offered), instructions)
    calls = [call for call in reply.tool_calls if call.name in offered]
    forced = _forced(tool_choice, offered)
    if forced and not any(call.name == forced or tool_choice == "required" for call in calls):
        calls = [ToolCall(forced)]
    complete = [ToolCall(call.name, _filled(offered[call.name], call.arguments, history)) for call in calls]
    return Reply(reply.text, complete)


def _forced(tool_choice: object, offered: dict[str, Any]) -> str:
    if tool_choice == "required":
        return next(iter(offered), "")
    if isinstance(tool_choice, dict):
        function = tool_choice.get("function")
        name = function.get("name") if isinstance(function, dict) else tool_choice.get("name")
        return name if isinstance(name, str) and name in offered else ""
    return ""


def _filled(schema: object, given: dict[str, Any], history: list[Message]) -> dict[str, Any]:
    """The arguments with whatever the schema requires: a model always fills those in."""
    if not isinstance(schema, dict):
        return given
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return given
    said = next((message.text for message in reversed(history) if message.role == "user"), "")
    made_up = {
        name: _value(properties.get(name), said) for name in required if isinstance(name, str) and name not in given
    }
    return {**made_up, **given}


def _value(schema: object, said: str) -> Any:
    if not isinstance(schema, dict):
        return said
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return choices[0]
    blank = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}, "null": None}
    kind = schema.get("type")
    return blank.get(kind, said) if isinstance(kind, str) else said
