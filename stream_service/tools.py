"""What the model may do besides talking. Adding a tool is one function here, with types and a docstring.

The docstring's first paragraph tells the model when to use it, `Args:` describes each argument. A tool gets the call's
context first, answers with text for the model, and may instead decide what becomes of the call (`Ending`, `Transfer`).
An agent offers the tools that its `tools` names in the agents file. Tools run outside the call's thread, with a
deadline; an argument that does not fit its type is answered with a complaint the model can mend.
"""

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from callbot.agents import Agent

DEADLINE_SECONDS = 3.0  # shorter than the wait for a stalled model, so that the model hears of it


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may know of the call."""

    call_sid: str
    agent: Agent
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ending:
    """The call is to end, politely: a goodbye is spoken to its end first."""

    reason: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """The caller is to be connected to the number the agents file has under `target`."""

    target: str


class TransferName(str):
    """An argument that names one of the agent's transfers; the model is told which there are."""

    __slots__ = ()


Outcome = str | Ending | Transfer
Tool = Callable[..., Outcome]


def end_call(_context: ToolContext) -> Outcome:
    """End the telephone call.

    Use it when the caller wants to stop or says goodbye: 「電話を切ってください」「失礼します」「さようなら」
    「もう大丈夫です」「以上です」 and the like. Say a short goodbye first, then use it.
    """
    return Ending("the caller asked to end the call")


def transfer_call(context: ToolContext, target: TransferName) -> Outcome:
    """Connect the caller to a human.

    Use it when the caller asks for a person, or when the matter is beyond you. Say that you will connect them first.

    Args:
        target: who to connect to, by name
    """
    if target not in context.agent.transfers:
        return f"unknown target; known are: {', '.join(sorted(context.agent.transfers))}"
    return Transfer(target)


TOOLS: Mapping[str, Tool] = {tool.__name__: tool for tool in (end_call, transfer_call)}


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model is told of it."""

    name: str
    description: str
    parameters: Mapping[str, Any]  # JSON Schema

    def for_chat(self) -> dict[str, Any]:
        """The shape of Chat Completions: nested under `function`."""
        return {"type": "function", "function": self._fields()}

    def for_realtime(self) -> dict[str, Any]:
        """The shape of Realtime: flat."""
        return {"type": "function", **self._fields()}

    def _fields(self) -> dict[str, Any]:
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}


def offered(agent: Agent) -> list[ToolSpec]:
    """The tools of this agent, in its order."""
    return [_spec(TOOLS[name], agent) for name in agent.tools]


def run(name: str, arguments: str, context: ToolContext) -> Outcome:
    """Run a tool as the model asked for it. Never raises for what the model wrote: it is told what was wrong."""
    if name not in context.agent.tools:
        return f"there is no tool {name[:40]!r}"
    tool = TOOLS[name]
    try:
        given = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return "the arguments are no JSON"
    wanted = _arguments(tool)
    if not isinstance(given, dict) or set(given) - set(wanted):
        return f"the arguments must be an object with: {', '.join(wanted) or 'nothing'}"
    missing = [n for n, p in wanted.items() if p.default is inspect.Parameter.empty and n not in given]
    wrong = [n for n, v in given.items() if not _fits(v, wanted[n].annotation)]
    if missing or wrong:
        return f"missing arguments: {missing}, of the wrong type: {wrong}"
    return tool(context, **given)


_JSON_TYPES: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def _arguments(tool: Tool) -> dict[str, inspect.Parameter]:
    parameters = list(inspect.signature(tool, eval_str=True).parameters.items())
    return dict(parameters[1:])


def _fits(value: object, annotation: Any) -> bool:
    if typing.get_origin(annotation) is Literal:
        return value in typing.get_args(annotation)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is (str if annotation is TransferName else annotation)


def _spec(tool: Tool, agent: Agent) -> ToolSpec:
    doc = inspect.cleandoc(tool.__doc__ or "")
    description, _, args = doc.partition("Args:")
    about = {n.strip(): text.strip() for n, _, text in (line.partition(":") for line in args.splitlines()) if text}
    properties: dict[str, dict[str, Any]] = {}
    for name, parameter in _arguments(tool).items():
        shape = {"type": _JSON_TYPES.get(parameter.annotation, "string"), "description": about.get(name, "")}
        choices = agent.transfers if parameter.annotation is TransferName else typing.get_args(parameter.annotation)
        properties[name] = {**shape, "enum": sorted(choices)} if choices else shape
    required = [n for n, p in _arguments(tool).items() if p.default is inspect.Parameter.empty]
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return ToolSpec(tool.__name__, description.strip(), parameters)
