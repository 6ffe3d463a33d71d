"""Engine realtime between two lines that only remember, for the tests of what it does with events."""

import base64
import json
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from both_codecs import under_test
from call_scenes import AGENT, EPOCH

from engines.engine_desk import settings
from stream_service.engines import realtime as realtime_module
from stream_service.engines import reflexes as reflexes_module
from stream_service.engines.port import FromVendor, Urgency, VendorOpened
from stream_service.engines.realtime import RealtimeEngine
from stream_service.events import Event
from stream_service.pump import Pump
from stream_service.transcript import Transcript
from stream_service.wire import frames
from stream_service.wire.frame_decoder import PythonDecoder, messages
from stream_service.wire.frames import Text

WORDS = "response.output_audio_transcript.delta"
ALL_WORDS = "response.output_audio_transcript.done"
STARTED = "input_audio_buffer.speech_started"


class Line:
    """A link that only remembers; with it the test's thread is the pump's and the call's in turn."""

    def __init__(self) -> None:
        self.route: Any = None
        self._outbox = under_test.Outbox(200_000, 100_000)
        self._decoder = PythonDecoder(False, 200_000)
        self._heard: list[bytes] = []
        self.inlet = (self._outbox, False, lambda: None)

    @property
    def heard(self) -> list[dict[str, Any]]:
        """All that its peer has been sent, in order."""
        self._decoder.feed(self._outbox.take(1_000_000))
        self._heard += [message.data for message in messages(self._decoder) if isinstance(message, Text)]
        return [json.loads(message) for message in self._heard]

    def kinds(self) -> list[str]:
        return [message["event"] for message in self.heard]

    def marks(self) -> list[str]:
        return [message["mark"]["name"] for message in self.heard if message["event"] == "mark"]

    def send_text(self, message: bytes) -> None:
        self._outbox.put_control(frames.encode_text(message, mask=False))

    def discard_audio(self) -> int:
        dropped: int = self._outbox.discard_audio()
        return dropped

    def release(self) -> None:
        """It is not held."""

    def abort(self) -> None:
        self.route = None


class Scene:
    """An engine between two lines."""

    def __init__(self, pump: Pump, pool: ThreadPoolExecutor) -> None:
        self.posted: queue.SimpleQueue[FromVendor | Event] = queue.SimpleQueue()
        self.carrier, self.vendor = Line(), Line()
        self.engine = RealtimeEngine(
            settings=settings(OPENAI_REALTIME_URL="ws://127.0.0.1:9/nobody"),
            agent=AGENT,
            instructions="",
            transcript=Transcript("realtime", 1, [], EPOCH),
            playout=under_test.Playout(),
            carrier=self.carrier,  # type: ignore[arg-type]  # all of it that is used
            stream_sid="MZ1",
            pump=pump,
            pool=pool,
            post=self.posted.put,
        )
        self.engine.receive(FromVendor(0, VendorOpened(self.vendor)), 0.0)  # type: ignore[arg-type]  # as above

    def comes(self, kind: str, **fields: Any) -> None:
        """A message of the vendor's."""
        message = json.dumps({"type": kind, **fields}, separators=(",", ":")).encode()
        assert self.vendor.route(message)

    def words(self, text: str, item: str = "i1") -> None:
        self.comes(WORDS, response_id="r1", item_id=item, delta=text)

    def sound(self, item: str = "i1", milliseconds: int = 20) -> None:
        audio = base64.b64encode(bytes(8 * milliseconds)).decode()
        self.comes("response.output_audio.delta", response_id="r1", item_id=item, delta=audio)

    def news(self) -> list[FromVendor | Event]:
        return [self.posted.get() for _ in range(self.posted.qsize())]

    def urgencies(self) -> list[Urgency]:
        """How soon the call's thread has to see each of the vendor's news."""
        return [one.urgency for one in self.news() if isinstance(one, FromVendor)]

    def understood(self, news: list[FromVendor | Event]) -> list[Event]:
        return [event for one in news if isinstance(one, FromVendor) for event in self.engine.receive(one, 0.0)]

    def played(self, mark: str) -> list[Event]:
        """A mark behind the model's audio comes back: what the session is told."""
        self.news()
        assert self.mark_returns(mark)
        return [one for one in self.news() if not isinstance(one, FromVendor)]

    def mark_returns(self, name: str) -> bool:
        return self.engine.uplink(
            b'{"event":"mark","sequenceNumber":"4","streamSid":"MZ1","mark":{"name":"%s"}}' % name.encode()
        )


@pytest.fixture
def scene(pump: Pump, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(realtime_module, "Uplink", under_test.Uplink)
    monkeypatch.setattr(reflexes_module, "Downlink", under_test.Downlink)
    return Scene(pump, pool)
