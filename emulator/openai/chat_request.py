"""What a chat completions request may contain, and what OpenAI says when it does not fit.

Source: the request types of the `openai` package (chat/completion_create_params) for the names; the wording of
refusals as reported by users of the API.
"""

import re
from typing import Any

from emulator.openai.schema import (
    ApiError,
    Check,
    anything,
    array,
    boolean,
    check_fields,
    choice,
    either,
    integer,
    nullable,
    number,
    record,
    tagged,
    text,
)
from emulator.openai.script import Message

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_REASONING = re.compile(r"(?:o\d|gpt-5|gpt-6)")


def _function_name(value: Any, path: str) -> None:
    text(value, path)
    if not _NAME.fullmatch(value):
        message = (
            f"Invalid '{path}': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
        )
        raise ApiError(message, "invalid_value", path)


_part = tagged(
    "type",
    {
        "text": record({"type": text, "text": text}, ("type", "text")),
        "refusal": record({"type": text, "refusal": text}, ("type", "refusal")),
        "image_url": record({"type": text, "image_url": anything}, ("type", "image_url")),
        "input_audio": record({"type": text, "input_audio": anything}, ("type", "input_audio")),
        "file": record({"type": text, "file": anything}, ("type", "file")),
    },
)
_content: Check = either(str, text, array(_part))
_call = record(
    {
        "id": text,
        "type": choice("function"),
        "function": record({"name": _function_name, "arguments": text}, ("name", "arguments")),
        "index": integer(0, 127),
    },
    ("id", "type", "function"),
)
_spoken = record({"role": text, "content": _content, "name": text}, ("role", "content"))
_message = tagged(
    "role",
    {
        "system": _spoken,
        "developer": _spoken,
        "user": _spoken,
        "assistant": record(
            {
                "role": text,
                "content": nullable(_content),
                "name": text,
                "refusal": nullable(text),
                "tool_calls": array(_call, least=1),
                "audio": nullable(anything),
                "annotations": anything,
            },
            ("role",),
        ),
        "tool": record({"role": text, "content": _content, "tool_call_id": text}, ("role", "content", "tool_call_id")),
    },
)
_tool = record(
    {
        "type": choice("function"),
        "function": record(
            {
                "name": _function_name,
                "description": text,
                "parameters": either(dict, anything, record({})),
                "strict": nullable(boolean),
            },
            ("name",),
        ),
    },
    ("type", "function"),
)
_FIELDS: dict[str, Check] = {
    "model": text,
    "messages": array(_message, least=1),
    "stream": nullable(boolean),
    "stream_options": nullable(record({"include_usage": boolean, "include_obfuscation": boolean})),
    "max_tokens": nullable(integer(1, 1_000_000)),
    "max_completion_tokens": nullable(integer(1, 1_000_000)),
    "temperature": nullable(number(0, 2)),
    "top_p": nullable(number(0, 1)),
    "frequency_penalty": nullable(number(-2, 2)),
    "presence_penalty": nullable(number(-2, 2)),
    "n": nullable(integer(1, 1)),  # the real limit is 128; nobody holds 128 conversations on one telephone
    "reasoning_effort": nullable(choice("none", "minimal", "low", "medium", "high", "xhigh", "max")),
    "verbosity": nullable(choice("low", "medium", "high")),
    "tools": array(_tool),
    "tool_choice": either(
        str,
        choice("none", "auto", "required"),
        record(
            {"type": choice("function"), "function": record({"name": _function_name}, ("name",))},
            ("type", "function"),
        ),
    ),
    "parallel_tool_calls": boolean,
    "store": nullable(boolean),
    "prompt_cache_key": text,
    "safety_identifier": text,
    "user": text,
    "service_tier": nullable(choice("auto", "default", "flex", "scale", "priority")),
    "stop": nullable(either(str, text, array(text))),
    "seed": nullable(integer(-(2**63), 2**63)),
    "metadata": nullable(either(dict, anything, record({}))),
    "response_format": anything,
    "logprobs": nullable(boolean),
    "top_logprobs": nullable(integer(0, 20)),
    "logit_bias": nullable(anything),
    "modalities": nullable(array(choice("text", "audio"))),
    "prediction": nullable(anything),
    "prompt_cache_options": nullable(anything),
    "prompt_cache_retention": nullable(text),
    "moderation": nullable(anything),
    "web_search_options": anything,
    "audio": nullable(anything),
    "function_call": anything,
    "functions": anything,
}


def check_request(body: object) -> dict[str, Any]:
    """The body, if the API would take it. Raises ApiError as the API refuses it."""
    if not isinstance(body, dict):
        raise ApiError("We could not parse the JSON body of your request.")
    check_fields(body, "", _FIELDS, ("model", "messages"))
    if not body["model"]:
        raise ApiError("you must provide a model parameter")
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise ApiError(message, "invalid_parameter_combination", "max_tokens")
    if body.get("stream_options") is not None and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ApiError(message, None, "stream_options")
    if "tool_choice" in body and not body.get("tools"):
        raise ApiError("'tool_choice' is only allowed when 'tools' are specified.", None, "tool_choice")
    if _REASONING.match(body["model"]):
        _check_reasoning(body)
    _check_tool_order(body["messages"])
    return body


def _check_reasoning(body: dict[str, Any]) -> None:
    """Reasoning models take no old token limit, and sampling settings only when they do not reason."""
    if body.get("max_tokens") is not None:
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        raise ApiError(message, "unsupported_parameter", "max_tokens")
    for name in ("temperature", "top_p"):
        if body.get(name) not in (None, 1) and body.get("reasoning_effort") != "none":
            message = (
                f"Unsupported value: '{name}' does not support {body[name]} with this model. "
                "Only the default (1) value is supported."
            )
            raise ApiError(message, "unsupported_value", name)
    if body.get("stop") is not None:
        message = "Unsupported parameter: 'stop' is not supported with this model."
        raise ApiError(message, "unsupported_parameter", "stop")


def _check_tool_order(messages: list[dict[str, Any]]) -> None:
    """Every call of a function is answered at once, and nothing else is."""
    waiting: list[str] = []
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                text_ = (
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceeding message with 'tool_calls'."
                )
                raise ApiError(text_, None, f"messages.[{place}].role")
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            raise _unanswered(waiting, place)
        waiting = [call["id"] for call in message.get("tool_calls", [])]
    if waiting:
        raise _unanswered(waiting, len(messages))


def _unanswered(waiting: list[str], place: int) -> ApiError:
    message = (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
        f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(waiting)}"
    )
    return ApiError(message, None, f"messages.[{place}].role")


def conversation(body: dict[str, Any]) -> tuple[list[Message], str]:
    """The messages as a script sees them, and the instructions (system and developer messages)."""
    history: list[Message] = []
    instructions: list[str] = []
    names: dict[str, str] = {}
    for message in body["messages"]:
        words = _words(message.get("content"))
        if message["role"] in ("system", "developer"):
            instructions.append(words)
            continue
        tool = names.get(message.get("tool_call_id", ""), "")
        for call in message.get("tool_calls", []):
            names[call["id"]] = call["function"]["name"]
            tool = tool or call["function"]["name"]
        history.append(Message(message["role"], words, tool))
    return history, "\n".join(instructions)


def _words(content: object) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content if isinstance(content, str) else ""


def offered_tools(body: dict[str, Any]) -> dict[str, Any]:
    """The parameters' schema of each function on offer, by name."""
    return {tool["function"]["name"]: tool["function"].get("parameters") for tool in body.get("tools", [])}
