"""The store as the writer's tests see it: it takes notes, and is down, slow or choosy when a test says so."""

import threading
from collections.abc import Callable, Mapping, Sequence

from call_scenes import a_turn

from callbot.errors import StoreError
from callbot.store import CallStore, PutTurn, Write

PATIENCE = 10.0
LONG = 60.0  # no test waits for what is kept back for so long


def words(call_sid: str, text: str) -> PutTurn:
    """A write that can be told by its text."""
    return PutTurn(call_sid, a_turn(1, "caller", text))


class Store(CallStore):
    """What was written, in order, and what was tried with it at once; slow while its gate is closed."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.together: list[list[str]] = []
        self.down = False
        self.refuses: Mapping[str, Exception] = {}  # whatever goes with these fails too
        self.gate = threading.Event()
        self.gate.set()
        self._changed = threading.Condition()

    @property
    def tries(self) -> int:
        return len(self.together)

    def write_all(self, writes: Sequence[Write]) -> None:
        texts = [write.turn.text for write in writes if isinstance(write, PutTurn)]
        with self._changed:
            self.together.append(texts)
            self._changed.notify_all()
        assert self.gate.wait(PATIENCE)
        if self.down:
            raise StoreError("down")
        for text in texts:
            if text in self.refuses:
                raise self.refuses[text]
        with self._changed:
            self.written += texts
            self._changed.notify_all()

    def wait(self, condition: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), (self.written, self.together)
