"""Who speaks when in a Realtime session: at most one response at a time, begun, paced and cancelled here.

The events of a response are made in `realtime_response`, its words by a script.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from emulator.openai import faults as faults_
from emulator.openai.realtime_items import Conversation
from emulator.openai.realtime_response import Dropped, Event, Generation
from emulator.openai.reports import Pace, RealtimeReport, ResponseReport
from emulator.openai.schema import ApiError
from emulator.openai.script import Message, Reply, Script, decide, quoted_speech
from emulator.recordings import Library


@dataclass(frozen=True, slots=True)
class World:
    """What every session of a server shares."""

    library: Library
    script: Script
    pace: Pace
    faults: faults_.OpenAIFaults


class Answering:
    """The responses of one session.

    `send` takes an event, `later` a number of seconds and what to do then, `done` the report of a response that
    has come to its own end, `drop` is called where a fault breaks the connection.
    """

    def __init__(
        self,
        world: World,
        report: RealtimeReport,
        conversation: Conversation,
        send: Callable[[Event], None],
        later: Callable[[float, Callable[[], None]], None],
        done: Callable[[ResponseReport], None],
        drop: Callable[[], None],
    ) -> None:
        self._world = world
        self._report = report
        self._conversation = conversation
        self._send = send
        self._later = later
        self._done = done
        self._drop = drop
        self._waiting: ResponseReport | None = None  # asked for, but response.created has not been sent
        self._generation: Generation | None = None
        self._steps: Iterator[tuple[float, list[Event]]] = iter(())

    @property
    def current(self) -> ResponseReport | None:
        """The response that is going on or about to begin."""
        return self._generation.report if self._generation else self._waiting

    @property
    def busy(self) -> bool:
        return self.current is not None

    def respond(self, settings: dict[str, Any]) -> None:
        """Begins a response a little later, with the `response` of a response.create (checked) or {}.

        Raises ApiError when one is going on, or when its `input` refers to what is not there.
        """
        if self.current:
            message = (
                f"Conversation already has an active response in progress: {self.current.id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise ApiError(message, "conversation_already_has_active_response")
        history = self._conversation.given(settings["input"]) if "input" in settings else None
        number = len(self._report.responses) + 1
        report = ResponseReport(f"resp_{self._report.session['id'][-6:]}_{number:04d}", "", [])
        self._report.responses.append(report)
        self._waiting = report
        fault = self._world.faults.take(faults_.ResponseFault)
        if isinstance(fault, faults_.MissingResponse):
            return
        slow = fault.seconds if isinstance(fault, faults_.SlowResponse) else 0.0

        def create() -> None:
            if self._waiting is report:  # not cancelled meanwhile
                self._create(report, settings, history, fault)

        self._later(self._world.pace.response + slow, create)

    def cancel_asked(self, response_id: str | None) -> None:
        """Cancels for the client. Raises ApiError when there is nothing, or something else, to cancel."""
        if self.current is None or response_id not in (None, self.current.id):
            raise ApiError("Cancellation failed: no active response found", "response_cancel_not_active")
        self.cancel("client_cancelled")

    def cancel(self, reason: str) -> None:
        """Ends the current response, if there is one: "turn_detected" or "client_cancelled"."""
        if self._waiting:
            self._waiting.status, self._waiting.reason = "cancelled", reason
            self._waiting = None
        generation, self._generation = self._generation, None
        if generation:
            for event in generation.cancel(reason):
                self._send(event)

    def _create(
        self,
        report: ResponseReport,
        settings: dict[str, Any],
        history: list[Message] | None,
        fault: faults_.ResponseFault | None,
    ) -> None:
        own = {name: value for name, value in settings.items() if name not in ("audio", "input")}
        config = {**self._report.session, **own}
        reply = self._reply(settings, config, history)
        report.text, report.tool_calls = reply.text, [call.name for call in reply.tool_calls]
        self._waiting = None
        generation = Generation(reply, config, self._conversation, self._world.pace, fault, report)
        self._generation, self._steps = generation, generation.steps()
        self._step(generation)

    def _reply(self, settings: dict[str, Any], config: dict[str, Any], history: list[Message] | None) -> Reply:
        """The words in 「」 when the response's own instructions quote some, else what the script says."""
        quoted = quoted_speech(settings.get("instructions") or "")
        if quoted:
            return Reply(quoted)
        tools = {tool["name"]: tool.get("parameters") for tool in config["tools"] if tool["type"] == "function"}
        if history is None:
            history = self._conversation.history()
        return decide(self._world.script, history, tools, config["instructions"], config["tool_choice"])

    def _step(self, generation: Generation) -> None:
        """Makes the next events of a response and sends them when their time has come."""
        try:
            following = next(self._steps, None)
        except Dropped:
            self._drop()
            return
        if following is None:
            self._generation = None
            self._done(generation.report)
            return
        seconds, events = following

        def deliver() -> None:
            if self._generation is generation:  # not cancelled meanwhile
                for event in events:
                    if event["type"] == "response.output_audio.delta" and generation.report.audio_at is None:
                        generation.report.audio_at = time.monotonic()
                    self._send(event)
                self._step(generation)

        self._later(seconds, deliver)
