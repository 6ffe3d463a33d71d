"""Writes that nobody waits for: kept back for a little, so that fewer go out, and none out of order or lost.

Retries, bounds and losses are in `test_writer.py`.
"""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from callbot.errors import StoreError
from stream_service import writer as writer_module
from stream_service.writer import TOGETHER_SECONDS, StoreWriter

PATIENCE = 10.0
LONG = 60.0  # no test waits for what is kept back for so long
SHORT = 0.05


class Store:
    """What was written, in order."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.down = False
        self.tries = 0
        self._changed = threading.Condition()

    def write(self, what: str) -> Callable[[], None]:
        def now() -> None:
            with self._changed:
                self.tries += 1
                if not self.down:
                    self.written.append(what)
                self._changed.notify_all()
            if self.down:
                raise StoreError("down")

        return now

    def wait(self, condition: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), self.written


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def lane() -> Iterator[StoreWriter]:
    writer = StoreWriter(workers=1)
    yield writer
    writer.stop(PATIENCE)


def test_of_what_is_kept_back_only_the_newest_version_is_written(lane: StoreWriter, store: Store) -> None:
    done = [lane.put("CA1", "turn 1", store.write(f"{n}"), SHORT) for n in range(20)]
    assert done[0].wait(PATIENCE)
    lane.put("CA1", "turn 2", store.write("end")).wait(PATIENCE)
    assert store.written == ["19", "end"]
    assert all(event.is_set() for event in done)


def test_it_is_written_by_itself_when_it_is_due(lane: StoreWriter, store: Store) -> None:
    began = time.monotonic()
    assert lane.put("CA1", "usage", store.write("usage"), 0.2).wait(PATIENCE)
    assert time.monotonic() - began >= 0.2
    assert not lane.put("CA1", "usage", store.write("later"), LONG).wait(0.05)


def test_a_newer_version_puts_nothing_off(lane: StoreWriter, store: Store) -> None:
    done = lane.put("CA1", "turn 1", store.write("0"), 0.3)
    for n in range(1, 5):
        lane.put("CA1", "turn 1", store.write(f"{n}"), LONG)
    assert done.wait(PATIENCE)
    assert store.written == ["4"]


def test_what_cannot_wait_takes_along_what_could_in_the_order_in_which_it_came(lane: StoreWriter, store: Store) -> None:
    lane.put("CA1", "turn 1", store.write("turn 1"), LONG)
    lane.put("CA1", "record", store.write("old record"), LONG)
    lane.put("CA1", "turn 2", store.write("turn 2"), LONG)
    lane.put("CA1", "turn 1", store.write("newer turn 1"), LONG)
    assert lane.put("CA1", "record", store.write("record")).wait(PATIENCE)
    assert store.written == ["turn 2", "newer turn 1", "record"]


def test_other_calls_are_not_taken_along(lane: StoreWriter, store: Store) -> None:
    waiting = lane.put("CA1", "turn 1", store.write("1"), LONG)
    assert lane.put("CA2", "turn 1", store.write("2")).wait(PATIENCE)
    assert store.written == ["2"]
    lane.hurry("CA1")
    assert waiting.wait(PATIENCE)


def test_what_is_due_first_is_not_held_up_by_what_is_due_later(lane: StoreWriter, store: Store) -> None:
    lane.put("CA1", "turn 1", store.write("1"), LONG)
    assert lane.put("CA2", "turn 1", store.write("2"), SHORT).wait(PATIENCE)
    assert store.written == ["2"]


def test_all_of_a_call_goes_out_when_the_first_of_it_is_due(lane: StoreWriter, store: Store) -> None:
    lane.put("CA1", "usage", store.write("usage"), LONG)
    lane.put("CA1", "turn 1", store.write("turn"), SHORT)
    store.wait(lambda: store.written == ["usage", "turn"])


def test_calls_that_are_due_almost_together_go_out_together(
    monkeypatch: pytest.MonkeyPatch, lane: StoreWriter, store: Store
) -> None:
    monkeypatch.setattr(writer_module, "TOGETHER_SECONDS", LONG)
    for n in range(10):
        lane.put(f"CA{n}", "turn", store.write(f"{n}"), LONG / 2 if n else SHORT)
    store.wait(lambda: len(store.written) == 10)
    assert store.written == [f"{n}" for n in range(10)]
    assert TOGETHER_SECONDS < 1, "or nothing is ever kept back as long as it may be"


def test_to_hurry_with_nothing_to_write_is_no_matter(lane: StoreWriter, store: Store) -> None:
    lane.hurry("CA1")
    assert lane.put("CA1", "turn", store.write("1")).wait(PATIENCE)


def test_stopping_writes_what_was_kept_back(store: Store) -> None:
    writer = StoreWriter(workers=3)
    for n in range(30):
        writer.put(f"CA{n}", "record", store.write(f"{n}"), LONG)
    writer.stop(PATIENCE)
    assert sorted(store.written, key=int) == [f"{n}" for n in range(30)]


def test_what_was_kept_back_when_the_store_is_down_at_the_end_is_logged_as_lost(
    monkeypatch: pytest.MonkeyPatch, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", (60.0,))
    writer = StoreWriter(workers=1)
    store.down = True
    writer.put("CA1", "turn 1", store.write("1"))
    store.wait(lambda: store.tries)
    writer.put("CA1", "turn 2", store.write("2"), LONG)
    writer.put("CA2", "turn 1", store.write("3"), LONG)
    writer.stop(0.1)
    writer.put("CA2", "turn 2", store.write("4"), LONG)
    lost = [(r.__dict__["callSid"], r.__dict__["what"]) for r in caplog.records if r.msg == "store write lost"]
    assert sorted(lost) == [("CA1", "turn 1"), ("CA1", "turn 2"), ("CA2", "turn 1"), ("CA2", "turn 2")]


def test_what_is_kept_back_is_bounded_as_soon_as_it_is_due(
    monkeypatch: pytest.MonkeyPatch, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_module, "MOST_WAITING", 3)
    writer = StoreWriter(workers=1)
    for n in range(8):
        writer.put("CA1", f"turn {n}", store.write(f"{n}"), LONG)
    writer.stop(PATIENCE)
    assert store.written == ["5", "6", "7"]
    assert len([record for record in caplog.records if record.msg == "store write lost"]) == 5


def test_a_version_that_was_kept_back_while_an_older_one_failed_replaces_it(
    monkeypatch: pytest.MonkeyPatch, lane: StoreWriter, store: Store
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", (0.001,))
    begun, go_on, tries = threading.Event(), threading.Event(), []

    def old() -> None:
        tries.append("old")
        begun.set()
        assert go_on.wait(PATIENCE)
        raise StoreError("down")

    lane.put("CA1", "record", old)
    assert begun.wait(PATIENCE)
    newer = lane.put("CA1", "record", store.write("new"), 0.1)
    go_on.set()
    assert newer.wait(PATIENCE)
    assert store.written == ["new"]
    assert tries == ["old"]
