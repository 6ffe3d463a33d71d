"""Tools as a model is told of them, and whatever a model may write to use them."""

import json
from dataclasses import replace
from typing import Literal

import pytest
from call_scenes import AGENT
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionToolParam
from openai.types.realtime import RealtimeFunctionTool
from pydantic import TypeAdapter

from callbot.agents_file import TOOLS as KNOWN_TO_THE_FILE
from stream_service import tools
from stream_service.tools import Ending, Outcome, Tool, ToolContext, Transfer, offered, run

CONTEXT = ToolContext("CA1", AGENT, {})


def book(
    _context: ToolContext,
    name: str,
    people: int,
    kind: Literal["table", "room"] = "table",
    price: float = 0.0,
    smoking: bool = False,
) -> Outcome:
    """Book a table.

    Use it when the caller wants one.

    Args:
        name: the caller's name
        people: how many come
    """
    return f"{name} {people} {kind} {price} {smoking}"


@pytest.fixture
def booking(monkeypatch: pytest.MonkeyPatch) -> ToolContext:
    """A call whose agent has the tool above as well."""
    registered: dict[str, Tool] = {**tools.TOOLS, "book": book}
    monkeypatch.setattr(tools, "TOOLS", registered)
    return ToolContext("CA1", replace(AGENT, tools=("book",)), {})


def test_the_agents_file_knows_the_same_tools() -> None:
    assert set(KNOWN_TO_THE_FILE) == set(tools.TOOLS)


def test_an_agent_offers_its_own_tools_in_its_order() -> None:
    assert [tool.name for tool in offered(AGENT)] == ["end_call", "transfer_call"]
    assert offered(replace(AGENT, tools=())) == []


def test_a_tool_is_described_by_its_docstring_and_types(booking: ToolContext) -> None:
    (tool,) = offered(booking.agent)
    assert tool.description == "Book a table.\n\nUse it when the caller wants one."
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "the caller's name"},
            "people": {"type": "integer", "description": "how many come"},
            "kind": {"type": "string", "description": "", "enum": ["room", "table"]},
            "price": {"type": "number", "description": ""},
            "smoking": {"type": "boolean", "description": ""},
        },
        "required": ["name", "people"],
        "additionalProperties": False,
    }


def test_the_model_is_told_the_transfers_by_name_and_never_by_number() -> None:
    (_, transfer) = offered(AGENT)
    assert transfer.parameters["properties"]["target"]["enum"] == ["operator"]
    assert "+81" not in str(transfer)


def test_both_shapes_are_the_vendors(booking: ToolContext) -> None:
    for tool in (*offered(AGENT), *offered(booking.agent)):
        chat = TypeAdapter(ChatCompletionToolParam).validate_python(tool.for_chat())
        assert chat["function"]["name"] == tool.name
        flat = tool.for_realtime()
        assert RealtimeFunctionTool.model_validate(flat).name == tool.name
        assert not flat.keys() - RealtimeFunctionTool.model_fields.keys()


def test_ending_and_transferring_are_decisions() -> None:
    assert run("end_call", "{}", CONTEXT) == Ending("the caller asked to end the call")
    assert run("end_call", "", CONTEXT) == Ending("the caller asked to end the call")
    assert run("transfer_call", '{"target":"operator"}', CONTEXT) == Transfer("operator")


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        ("hack", "{}", "no tool"),
        ("end_call", "{", "no JSON"),
        ("end_call", "[" * 100_000, "no JSON"),
        ("end_call", "[]", "an object with: nothing"),
        ("end_call", '{"reason":"x"}', "an object with: nothing"),
        ("transfer_call", "{}", "missing arguments: ['target']"),
        ("transfer_call", '{"target":5}', "wrong type: ['target']"),
        ("transfer_call", '{"target":null}', "wrong type: ['target']"),
        ("transfer_call", '{"target":"+19001234567"}', "unknown target; known are: operator"),
        ("transfer_call", '{"target":"operator","number":"+1"}', "an object with: target"),
    ],
)
def test_a_wrong_use_is_answered_with_a_complaint(name: str, arguments: str, complaint: str) -> None:
    outcome = run(name, arguments, CONTEXT)
    assert isinstance(outcome, str)
    assert complaint in outcome


def test_a_tool_the_agent_does_not_have_cannot_be_used() -> None:
    outcome = run("end_call", "{}", replace(CONTEXT, agent=replace(AGENT, tools=("transfer_call",))))
    assert outcome == "there is no tool 'end_call'"


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        ('{"name":"佐藤","people":3}', "佐藤 3 table 0.0 False"),
        ('{"name":"a","people":3,"kind":"room","price":5,"smoking":true}', "a 3 room 5 True"),
        ('{"name":"a","people":"3"}', "missing arguments: [], of the wrong type: ['people']"),
        ('{"name":"a","people":true}', "missing arguments: [], of the wrong type: ['people']"),
        ('{"name":"a","people":1,"kind":["room"]}', "missing arguments: [], of the wrong type: ['kind']"),
        ('{"name":"a","people":1,"price":"x"}', "missing arguments: [], of the wrong type: ['price']"),
        ('{"people":1.5}', "missing arguments: ['name'], of the wrong type: ['people']"),
    ],
)
def test_arguments_are_checked_by_their_types(booking: ToolContext, arguments: str, outcome: str) -> None:
    assert run("book", arguments, booking) == outcome


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.text(max_size=20) | st.sampled_from(AGENT.tools),
    st.text(max_size=40) | st.dictionaries(st.just("target"), json_values).map(str),
)
def test_nothing_a_model_writes_raises(name: str, arguments: str) -> None:
    assert isinstance(run(name, arguments, CONTEXT), str | Ending | Transfer)


@given(json_values)
def test_no_value_but_a_transfers_name_leads_to_a_transfer(target: object) -> None:
    outcome = run("transfer_call", json.dumps({"target": target}), CONTEXT)
    assert isinstance(outcome, str)
