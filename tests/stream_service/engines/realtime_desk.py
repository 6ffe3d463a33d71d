"""Engine realtime against the emulated OpenAI: the engine, the model's side and the carrier's, for its tests."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from call_scenes import AGENT, EPOCH
from pump_peers import GENEROUS, Peer, tcp_pair

from callbot.calls import Turn
from emulator.audio import silence
from emulator.openai import OpenAI, Pace, RealtimeReport
from emulator.openai.faults import (
    Fault,
)
from emulator.recordings import Library
from engines.engine_desk import FRAME, KEY, Desk, settings
from stream_service.commands import (
    RequestResponse,
)
from stream_service.engines.realtime import RealtimeEngine
from stream_service.events import (
    EngineReady,
)
from stream_service.playout import Playout
from stream_service.pump import Pump
from stream_service.transcript import Transcript

STREAM = "MZ1"
GREETING = "もしもし、たくみです。"
SAY_GREETING = RequestResponse(f"Say exactly this to the caller and nothing else: 「{GREETING}」")


SPEECH_STARTED = b'{"type":"input_audio_buffer.speech_started","audio_start_ms":1,"item_id":"c1"}'
AUDIO_DONE = b'{"type":"response.output_audio.done","response_id":"r1","item_id":"i1"}'


def delta(response: str, item: str) -> bytes:
    """20 ms of the model's voice."""
    audio = base64.b64encode(b"\x00" * FRAME).decode()
    fields = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0, "delta": audio}
    return json.dumps({"type": "response.output_audio.delta", **fields}).encode()


class Carrier:
    """Twilio's end of the stream: everything it is sent, as it comes."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._lock = threading.Lock()
        self._messages: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            while True:
                message = json.loads(self._peer.next_data())
                with self._lock:
                    self._messages.append(message)
        except (EOFError, OSError, AssertionError):
            pass

    @property
    def messages(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._messages)

    def kinds(self) -> list[str]:
        return [message["event"] for message in self.messages]

    def audio(self) -> bytes:
        return b"".join(base64.b64decode(m["media"]["payload"]) for m in self.messages if m["event"] == "media")

    def marks(self) -> list[str]:
        return [message["mark"]["name"] for message in self.messages if message["event"] == "mark"]


class Model(Desk):
    """An engine, the OpenAI it talks to, and the carrier."""

    def __init__(self, openai: OpenAI, pump: Pump, pool: ThreadPoolExecutor, earlier: list[Turn]) -> None:
        super().__init__()
        self.openai = openai
        self.buffered_seconds = 0.0  # of other audio, which is played before the model's
        self.playout = Playout(clock=lambda: time.monotonic() + self.buffered_seconds)
        ours, theirs = tcp_pair()
        self.peer = Peer(theirs, client=True)
        self.carrier = Carrier(self.peer)
        link = pump.adopt(
            ours, name="carrier", server=True, limits=GENEROUS, on_message=lambda _: None, on_lost=lambda _: None
        )
        self._built = RealtimeEngine(
            settings=settings(OPENAI_REALTIME_URL=openai.realtime_url),
            agent=AGENT,
            instructions="あなたはたくみです。",
            transcript=Transcript("realtime", 1, earlier, EPOCH),
            playout=self.playout,
            carrier=link,
            stream_sid=STREAM,
            pump=pump,
            pool=pool,
            post=self.post,
        )

    @property
    def session(self) -> RealtimeReport:
        """The newest session on the vendor's side."""
        return self.openai.sessions[-1]

    def start(self) -> None:
        self.begin(self._built)

    def model_says(self, *messages: bytes) -> None:
        """Events of the model's, one right behind the other, as the pump hands them over."""
        for message in messages:
            self._built._reflexes.downlink(message)

    def ready(self) -> None:
        self.start()
        self.next(EngineReady)

    def do(self, *commands: Any) -> None:
        assert self.engine is not None
        for command in commands:
            assert self.engine.perform(command)

    def say(self, name: str) -> str:
        recording = self.openai.library[name]
        self.hear(recording.ulaw + silence(900))
        return recording.text


Start = Callable[..., Model]


@pytest.fixture
def start(library: Library, pump: Pump, pool: ThreadPoolExecutor) -> Iterator[Start]:
    running: list[tuple[OpenAI, Model]] = []

    def model(*faults: Fault, speed: float = 100.0, key: str = KEY, earlier: list[Turn] | None = None) -> Model:
        pace = Pace(response=0.01, first_audio=0.01, audio_speed=speed, transcription=0.02)
        server = OpenAI(library, {key}, pace=pace).start()
        server.faults.next(*faults)
        made = Model(server, pump, pool, earlier or [])
        running.append((server, made))
        return made

    yield model
    for server, made in running:
        if made.engine:
            made.engine.close()
        server.stop()
        made.peer.close()
