"""The whole system on one machine for tests: the product in child processes, every vendor emulated in this one."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emulator.amivoice import AmiVoice
from emulator.deployment import Deployment
from emulator.openai import OpenAI
from emulator.twilio import Caller, EmulatedCall, Speak, Step
from emulator.vendors import AMIVOICE_NUMBER, REALTIME_NUMBER

CALLER = "+819011112222"
CALLEE = "+819033334444"
OPERATOR = "+81312345678"
CALL_SECONDS = 50.0


class System(Deployment):
    """Start it with `with`; then place calls. `settings` are those of the product."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.log: list[str] = []
        self.database = folder / "calls.db"
        own = {"AGENTS_FILE": str(Path(__file__).with_name("agents.toml")), "STREAM_CONCURRENCY": "20", **settings}
        super().__init__(folder, settings=own, output=self.log.append)
        self.callees: dict[str, Caller] = {}
        self.carrier.callees = self.callees

    @property
    def amivoice(self) -> AmiVoice:
        assert self.vendors.amivoice
        return self.vendors.amivoice

    @property
    def openai(self) -> OpenAI:
        assert self.vendors.openai
        return self.vendors.openai

    def says(self, name: str) -> Speak:
        """A step in which the caller says one of the shipped lines."""
        recording = self.vendors.library[name]
        return Speak(recording.ulaw, recording.text)

    def dial(self, engine: str, *script: Step, max_seconds: float = CALL_SECONDS) -> EmulatedCall:
        """An inbound call that begins now."""
        to = AMIVOICE_NUMBER if engine == "amivoice" else REALTIME_NUMBER
        return self.carrier.dial(to=to, from_=CALLER, caller=Caller(script, max_seconds=max_seconds))

    def trigger(self, **body: Any) -> tuple[int, dict[str, Any]]:
        """`POST /outgoing-call`: its status and answer."""
        return self.ask("/outgoing-call", json.dumps(body).encode())

    def record(self, sid: str) -> dict[str, Any]:
        """The call as `/calls/<sid>` shows it."""
        status, answer = self.ask(f"/calls/{sid}")
        assert status == 200, answer
        return answer

    def ended(self, sid: str) -> dict[str, Any]:
        """The call's record once the carrier has reported its end."""
        return until(lambda: (record := self.record(sid))["status"] == "completed" and record)

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.trigger_key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.functions.url + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def events(self, sid: str) -> list[dict[str, Any]]:
        """The product's log lines about this call."""
        lines = [json.loads(line) for line in list(self.log) if line.startswith("{")]
        return [line for line in lines if line.get("callSid") == sid]

    def told(self, sid: str, event: str) -> dict[str, Any]:
        """The first line that tells this event of this call, once it is there."""
        return until(lambda: next((line for line in self.events(sid) if line.get("event") == event), None))


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What `condition` gives once it is true. For what other processes do; AssertionError after `seconds`."""
    pause, ends_at = threading.Event(), time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < ends_at, f"never happened: {condition}"
        pause.wait(0.05)
    return value
