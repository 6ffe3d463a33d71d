"""OpenAI as one thing to start and stop: chat completions and Realtime, with one script and one set of faults."""

from collections.abc import Iterable
from types import TracebackType

from emulator.openai.chat import ChatServer
from emulator.openai.faults import OpenAIFaults
from emulator.openai.realtime import RealtimeServer
from emulator.openai.realtime_answering import World
from emulator.openai.reports import ChatRequest, Pace, RealtimeReport
from emulator.openai.script import Script, Support
from emulator.recordings import Library


class OpenAI:
    """An OpenAI whose models follow a script and hear what a library knows.

    `keys` are the API keys it accepts; `port` and `realtime_port` may be 0 to have free ones chosen.
    """

    def __init__(
        self,
        library: Library,
        keys: Iterable[str] = (),
        script: Script | None = None,
        port: int = 0,
        faults: OpenAIFaults | None = None,
        *,
        realtime_port: int = 0,
        pace: Pace | None = None,
    ) -> None:
        self.library = library
        self.script = script or Support()
        self.faults = faults or OpenAIFaults()
        accepted, pace = frozenset(keys), pace or Pace()
        self._chat = ChatServer(self.script, accepted, self.faults, pace, port)
        self._realtime = RealtimeServer(World(library, self.script, pace, self.faults), accepted, realtime_port)

    @property
    def url(self) -> str:
        """What to set OPENAI_BASE_URL to."""
        return f"http://127.0.0.1:{self._chat.port}/v1"

    @property
    def realtime_url(self) -> str:
        """What to set OPENAI_REALTIME_URL to."""
        return f"ws://127.0.0.1:{self._realtime.port}/v1/realtime"

    @property
    def requests(self) -> list[ChatRequest]:
        """The chat requests that were understood, oldest first."""
        return self._chat.requests

    @property
    def sessions(self) -> list[RealtimeReport]:
        """The Realtime connections, oldest first; reports of open ones are still growing."""
        return self._realtime.sessions

    def start(self) -> "OpenAI":
        """Begins to listen. Raises OSError when a port is taken."""
        self._chat.start()
        try:
            self._realtime.start()
        except OSError:
            self._chat.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends all connections; returns within a few seconds."""
        self._chat.stop()
        self._realtime.stop()

    def __enter__(self) -> "OpenAI":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
