"""Chat completions against the vendor's own client: what it gets, what it raises, and what the server saw."""

import contextlib
import json
import socket
import time
from typing import Any

import httpx2
import openai
import pytest
from chat_asking import ASK, MODEL, stream, words
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.openai import Message, OpenAI, Pace, Reply, ToolCall
from emulator.openai.chat_request import check_request
from emulator.openai.schema import ApiError
from emulator.recordings import Library

END_CALL = {
    "type": "function",
    "function": {
        "name": "end_call",
        "description": "ends the call",
        "parameters": {"type": "object", "properties": {"reason": {"type": "string"}}, "required": ["reason"]},
    },
}


# --- answers ----------------------------------------------------------------------------------------------------


def test_an_answer_streams_in_small_deltas(client: openai.OpenAI, server: OpenAI) -> None:
    chunks = list(stream(client, stream_options={"include_usage": True}))
    first, *middle, finish, usage = chunks
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    deltas = [chunk.choices[0].delta.content for chunk in middle]
    assert all(1 <= len(delta) <= 3 for delta in deltas)
    assert "".join(deltas).startswith("営業時間は、平日の午前九時から")
    assert finish.choices[0].finish_reason == "stop"
    assert finish.choices[0].delta.content is None
    assert usage.choices == []
    assert usage.usage.total_tokens == usage.usage.prompt_tokens + usage.usage.completion_tokens
    assert {chunk.id for chunk in chunks} == {first.id}
    (request,) = server.requests
    assert (request.outcome, request.model, request.sent) == ("complete", MODEL, "".join(deltas))
    assert request.messages == [Message("user", "営業時間を教えてください。")]


def test_an_answer_in_one_piece(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ASK)
    assert answer.choices[0].message.content.startswith("営業時間は")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None


def test_a_conversation_has_history_and_instructions(client: openai.OpenAI, server: OpenAI) -> None:
    messages = [
        {"role": "developer", "content": "丁寧に。"},
        {"role": "user", "content": [{"type": "text", "text": "予約を"}, {"type": "text", "text": "したい"}]},
        {"role": "assistant", "content": "何名様でいらっしゃいますか。"},
        {"role": "user", "content": "二人です。"},
    ]
    assert words(stream(client, messages)).startswith("二名様ですね。")
    assert words(stream(client, [*messages[:3], {"role": "user", "content": "もう一度お願いします。"}])) == (
        "何名様でいらっしゃいますか。"
    )
    assert server.requests[0].instructions == "丁寧に。"
    assert server.requests[0].messages[0] == Message("user", "予約をしたい")


def test_a_tool_call_comes_in_pieces_and_its_result_goes_on(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "電話を切ってください。"}]
    chunks = list(stream(client, messages, tools=[END_CALL], parallel_tool_calls=False))
    fragments = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert len(fragments) >= 3
    assert (fragments[0].index, fragments[0].type, fragments[0].function.name) == (0, "function", "end_call")
    assert all(later.id is None and later.function.name is None for later in fragments[1:])
    arguments = "".join(fragment.function.arguments for fragment in fragments)
    assert json.loads(arguments) == {"reason": "電話を切ってください。"}  # what the schema requires is filled in
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    call = {
        "id": fragments[0].id,
        "type": "function",
        "function": {"name": "end_call", "arguments": arguments},
    }
    messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
    messages.append({"role": "tool", "tool_call_id": fragments[0].id, "content": "{}"})
    assert "失礼いたします" in words(stream(client, messages, tools=[END_CALL]))


def test_tools_that_are_not_offered_are_not_called(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": "電話を切ってください。"}]
    assert "失礼いたします" in words(stream(client, messages))
    assert "失礼いたします" in words(stream(client, messages, tools=[END_CALL], tool_choice="none"))
    forced = client.chat.completions.create(
        model=MODEL,
        messages=ASK,
        tools=[END_CALL],
        tool_choice={"type": "function", "function": {"name": "end_call"}},
    )
    assert forced.choices[0].message.tool_calls[0].function.name == "end_call"


def test_another_script_decides(library: Library) -> None:
    class Echo:
        def reply(self, history: list[Message], tools: list[str], instructions: str) -> Reply:
            return Reply(instructions + history[-1].text + "?", [ToolCall(name, {"a": 1}) for name in tools])

    with OpenAI(library, keys={"k"}, script=Echo(), pace=Pace(first_token=0, characters_per_second=1e6)) as server:
        client = openai.OpenAI(api_key="k", base_url=server.url, max_retries=0)
        answer = client.chat.completions.create(model="any", messages=ASK, tools=[END_CALL])
        assert answer.choices[0].message.content == "営業時間を教えてください。?"
        assert '"a": 1' in answer.choices[0].message.tool_calls[0].function.arguments


def test_the_pace_is_a_models(library: Library) -> None:
    with OpenAI(library, keys={"k"}, pace=Pace(first_token=0.3, characters_per_second=200)) as server:
        client = openai.OpenAI(api_key="k", base_url=server.url, max_retries=0)
        began = time.monotonic()
        times = [time.monotonic() - began for _ in stream(client)]
        assert times[0] >= 0.3
        assert times[-1] - times[0] >= 0.2  # 70 characters at 200 a second


def test_max_completion_tokens_cuts_the_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=4)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("営業時間", "length")


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "code", "complaint"),
    [
        ({"extra_body": {"voice": "marin"}}, "unknown_parameter", "Unknown parameter: 'voice'"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "invalid_parameter_combination", "at the same time"),
        ({"max_tokens": 5}, "unsupported_parameter", "Use 'max_completion_tokens' instead"),
        ({"temperature": 0.6}, "unsupported_value", "Only the default"),
        ({"temperature": 3, "reasoning_effort": "none"}, "decimal_above_max_value", "<= 2"),
        ({"reasoning_effort": "enormous"}, "invalid_value", "Supported values are: 'none'"),
        ({"messages": []}, "empty_array", "empty array"),
        ({"messages": [{"role": "caller", "content": "x"}]}, "invalid_value", "'developer'"),
        ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "invalid_type", "messages[0].content"),
        ({"tools": [{"type": "function", "function": {"name": "終わる"}}]}, "invalid_value", "pattern"),
        ({"tool_choice": "auto"}, None, "only allowed when 'tools'"),
    ],
)
def test_bad_requests_are_refused_with_a_reason(
    client: openai.OpenAI, more: dict[str, Any], code: str | None, complaint: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        stream(client, **{"messages": ASK, **more})
    assert refused.value.code == code
    assert complaint in str(refused.value)


def test_stream_options_need_a_stream(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="only allowed when 'stream'"):
        client.chat.completions.create(model=MODEL, messages=ASK, stream_options={"include_usage": True})


def test_sampling_is_allowed_without_reasoning(client: openai.OpenAI) -> None:
    assert words(stream(client, temperature=0.6, reasoning_effort="none", verbosity="low", store=False))


CALL = {"id": "c1", "type": "function", "function": {"name": "end_call", "arguments": "{}"}}
ASKED = {"role": "assistant", "tool_calls": [CALL]}
ANSWERED = {"role": "tool", "tool_call_id": "c1", "content": "ok"}


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([ANSWERED], "must be a response to a preceeding message"),
        ([*ASK, ASKED], "did not have response messages: c1"),
        ([*ASK, ASKED, *ASK, ANSWERED], "did not have response messages: c1"),
        ([*ASK, ASKED, {**ANSWERED, "tool_call_id": "c2"}], "must be a response to a preceeding message"),
        ([*ASK, ASKED, ANSWERED, ANSWERED], "must be a response to a preceeding message"),
    ],
)
def test_tool_messages_out_of_order_are_refused(
    client: openai.OpenAI, messages: list[dict[str, Any]], complaint: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=complaint):
        stream(client, messages)


def test_a_wrong_key_is_refused(server: OpenAI) -> None:
    client = openai.OpenAI(api_key="sk-wrong", base_url=server.url, max_retries=0)
    with pytest.raises(openai.AuthenticationError) as refused:
        stream(client)
    assert refused.value.code == "invalid_api_key"
    assert server.requests == []


def test_other_addresses_are_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"Invalid URL \(POST /v1/responses\)"):
        client.responses.create(model=MODEL, input="x")
    with pytest.raises(openai.NotFoundError):
        client.models.list()


# --- hostile input ----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
FIELDS = st.sampled_from(["model", "messages", "tools", "tool_choice", "stream_options", "max_tokens", "stop", "n"])


@given(st.dictionaries(FIELDS, JSON, max_size=5), JSON)
def test_no_request_raises_anything_but_a_refusal(fields: dict[str, Any], message: Any) -> None:
    for body in (fields, {**fields, "model": "gpt-5", "messages": [message]}, message):
        with contextlib.suppress(ApiError):
            check_request(body)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_the_server_answers_any_body(server: OpenAI, body: bytes) -> None:
    with httpx2.Client(headers={"Authorization": "Bearer sk-right"}) as http:
        answer = http.post(server.url + "/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_the_server_survives_deep_json_and_raw_noise(server: OpenAI, client: openai.OpenAI) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    with httpx2.Client(headers={"Authorization": "Bearer sk-right"}) as http:
        assert http.post(server.url + "/chat/completions", content=deep).status_code == 400
        assert http.put(server.url + "/chat/completions", content=b"x").status_code == 404
    port = int(server.url.split(":")[2].split("/")[0])
    for noise in (b"\x00\xff\r\n\r\n", b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            raw.sendall(noise)
            assert raw.recv(1000).find(b"4") > 0
    assert words(stream(client))
