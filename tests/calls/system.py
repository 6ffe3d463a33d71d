"""The whole system on one machine for tests: the product in child processes, every vendor emulated in this one.

Functions and stream service are processes of their own, as when deployed, so that one can be killed while the other
lives; a killed one is started again, as Cloud Run would.
"""

import json
import os
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emulator.amivoice import AmiVoice
from emulator.openai import OpenAI
from emulator.processes import Supervised, free_port, gunicorn
from emulator.recordings import Library
from emulator.twilio import Caller, Carrier, EmulatedCall, Number, Speak, Step

ACCOUNT = "AC" + "0123456789abcdef" * 2
AMIVOICE_NUMBER = "+815031110001"
REALTIME_NUMBER = "+815031110002"
CALLER = "+819011112222"
CALLEE = "+819033334444"
OPERATOR = "+81312345678"
KEY = "trigger-key-of-the-tests"
CALL_SECONDS = 50.0


class System:
    """Start it with `with`; then place calls. `settings` override the environment of the product."""

    def __init__(self, **settings: str) -> None:
        self.library = Library.shipped()
        self.amivoice = AmiVoice(self.library, keys={"amivoice-key"})
        self.openai = OpenAI(self.library, keys={"openai-key"})
        functions_port, stream_port = free_port(), free_port()
        self.functions_address = f"http://127.0.0.1:{functions_port}"
        self.stream_address = f"http://127.0.0.1:{stream_port}"
        status_callback = "https://callbot.test/call-events"
        self.callees: dict[str, Caller] = {}
        self.carrier = Carrier(
            account_sid=ACCOUNT,
            auth_token="twilio-token",
            numbers={
                AMIVOICE_NUMBER: Number("https://callbot.test/twiml", status_callback=status_callback),
                REALTIME_NUMBER: Number("https://callbot.test/incoming-call", status_callback=status_callback),
            },
            tunnels={"callbot.test": self.functions_address, "stream.test": self.stream_address},
            callees=self.callees,
        )
        self._folder = tempfile.TemporaryDirectory(prefix="callbot-")
        self._settings = settings
        self.log: list[str] = []
        self._ports = functions_port, stream_port

    def __enter__(self) -> "System":
        self.amivoice.start()
        self.openai.start()
        self.carrier.start()
        env = {
            **os.environ,
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": "twilio-token",
            "TWILIO_PHONE_NUMBER": AMIVOICE_NUMBER,
            "OPENAI_API_KEY": "openai-key",
            "AMIVOICE_API_KEY": "amivoice-key",
            "FUNCTIONS_URL": "https://callbot.test",
            "STREAM_URL": "wss://stream.test/ws",
            "CALL_STORE": f"sqlite:{self._folder.name}/calls.db",
            "AGENTS_FILE": str(Path(__file__).with_name("agents.toml")),
            "TRIGGER_KEYS": KEY,
            "STREAM_TICKET_SECRET": "ticket-secret",
            "TWILIO_API_URL": self.carrier.url,
            "OPENAI_BASE_URL": self.openai.url,
            "OPENAI_REALTIME_URL": self.openai.realtime_url,
            "AMIVOICE_URL": self.amivoice.url,
            "STREAM_CONCURRENCY": "20",
            **self._settings,
        }
        functions_port, stream_port = self._ports
        conf = ("-c", "python:stream_service.gunicorn_conf")
        self.functions = Supervised(
            "functions",
            gunicorn("emulator.local_app:create_functions_app()", functions_port, "-k", "gthread", "--threads", "16"),
            env=env,
            health_url=f"{self.functions_address}/health",
            output=self.log.append,
        )
        self.stream = Supervised(
            "stream",
            gunicorn("stream_service.app:create_app()", stream_port, *conf),
            env=env,
            health_url=f"{self.stream_address}/health",
            output=self.log.append,
        )
        self.functions.start()
        self.stream.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.carrier.stop()
        self.stream.stop()
        self.functions.stop()
        self.openai.stop()
        self.amivoice.stop()
        self._folder.cleanup()

    def says(self, name: str) -> Speak:
        """A step in which the caller says one of the shipped lines."""
        recording = self.library[name]
        return Speak(recording.ulaw, recording.text)

    def dial(self, engine: str, *script: Step, max_seconds: float = CALL_SECONDS) -> EmulatedCall:
        """An inbound call that begins now."""
        to = AMIVOICE_NUMBER if engine == "amivoice" else REALTIME_NUMBER
        return self.carrier.dial(to=to, from_=CALLER, caller=Caller(script, max_seconds=max_seconds))

    def trigger(self, key: str = KEY, **body: Any) -> tuple[int, dict[str, Any]]:
        """`POST /outgoing-call`: its status and answer."""
        return self._ask("/outgoing-call", key, json.dumps(body).encode())

    def record(self, sid: str) -> dict[str, Any]:
        """The call as `/calls/<sid>` shows it."""
        status, answer = self._ask(f"/calls/{sid}", KEY, None)
        assert status == 200, answer
        return answer

    def _ask(self, path: str, key: str, body: bytes | None) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.functions_address + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def events(self, sid: str) -> list[dict[str, Any]]:
        """The product's log lines about this call."""
        lines = [json.loads(line) for line in list(self.log) if line.startswith("{")]
        return [line for line in lines if line.get("callSid") == sid]


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What `condition` gives once it is true. For what other processes do; AssertionError after `seconds`."""
    import threading
    import time

    pause, ends_at = threading.Event(), time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < ends_at, f"never happened: {condition}"
        pause.wait(0.05)
    return value
