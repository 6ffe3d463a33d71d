"""Who answers a call: the agents, and how their lines are filled with a call's variables.

What an agent says and may do is data in `agents.toml`; how that file is checked is `agents_file.py`'s business.
Nothing here knows a call or a vendor.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from callbot.calls import EngineName
from callbot.errors import RefusedError

DEFAULT_FILE = Path(__file__).with_name("agents.toml")


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent. Every line is what a caller hears; `{name}` in a line or the prompt is one of the call's variables."""

    name: str
    prompt: str
    greeting: str
    closing: str
    apology: str
    repeat_please: str  # the caller was not understood
    resume: str  # the line is picked up again
    time_warning: str  # a minute before the maximum duration
    time_up: str
    voicemail: str  # left on answering machines
    transfer_line: str  # before a transfer
    transfer_failed: str
    fillers: tuple[str, ...]  # while the model is slow; at least one
    idle_prompts: tuple[str, ...]  # one after another while the caller is silent; then the closing
    voice: str  # Twilio: `<Say>` voice
    language: str  # BCP 47
    last_apology: str = ""  # before the call is ended because something is out of order; else the apology
    connecting: str = ""  # said by Twilio while a realtime stream connects
    realtime_voice: str = "marin"  # OpenAI Realtime: voice
    engine: EngineName | None = None  # None: the path called decides
    tools: tuple[str, ...] = ()
    transfers: Mapping[str, str] = field(default_factory=dict)  # name → E.164
    idle_seconds: int = 12
    max_duration_seconds: int = 900
    record: bool = False
    numbers: tuple[str, ...] = ()  # E.164; the numbers it answers

    @property
    def final_apology(self) -> str:
        """What is said when something is out of order and the call ends; the other one asks the caller to go on."""
        return self.last_apology or self.apology


class Agents:
    """All agents of one file."""

    def __init__(self, agents: Mapping[str, Agent], default: str) -> None:
        self._by_name = dict(agents)
        self._by_number = {number: agent for agent in agents.values() for number in agent.numbers}
        self.default = self._by_name[default]

    @classmethod
    def load(cls, path: str | Path | None = None) -> "Agents":
        """The agents of the file at `path`, or of the one that is delivered beside this module.

        Raises ConfigError, which names every problem with its line and field.
        """
        from callbot.agents_file import read  # here, because it builds on this module

        agents, default = read(Path(path) if path else DEFAULT_FILE)
        return cls(agents, default)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def named(self, name: str) -> Agent:
        """The agent of that name. Raises RefusedError when there is none."""
        try:
            return self._by_name[name]
        except KeyError:
            raise RefusedError(f"there is no agent of that name; there are: {', '.join(self.names)}") from None

    def for_number(self, number: str) -> Agent:
        """Who answers this number (E.164); the default agent unless another claims it."""
        return self._by_number.get(number, self.default)


# Doubled braces first, so that `{{name}}` is one placeholder and not one inside a pair of braces.
_PLACEHOLDER = re.compile(r"\{\{([A-Za-z_][A-Za-z0-9_]*)\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


def fill(text: str, variables: Mapping[str, str]) -> str:
    """`text` with each `{name}` or `{{name}}` replaced by its variable; one without a value is left out.

    Plain names only: no attribute, index or format is looked up, and braces inside a value stay as they are.
    """
    return _PLACEHOLDER.sub(lambda match: variables.get(match[1] or match[2], ""), text)


def placeholders(text: str) -> set[str]:
    """The names of the variables that `text` asks for."""
    return {match[1] or match[2] for match in _PLACEHOLDER.finditer(text)}
