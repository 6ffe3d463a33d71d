"""Writes that nobody waits for: kept back for a little, so that fewer go out, and none out of order or lost.

Retries, bounds and losses are in `test_writer.py`.
"""

import time
from collections.abc import Iterator

import pytest
from writer_scenes import LONG, PATIENCE, Store, words

from callbot.errors import StoreError
from stream_service import writer as writer_module
from stream_service.writer import TOGETHER_SECONDS, StoreWriter

SHORT = 0.05


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def lane(store: Store) -> Iterator[StoreWriter]:
    writer = StoreWriter(store, workers=1)
    yield writer
    writer.stop(PATIENCE)


def test_of_what_is_kept_back_only_the_newest_version_is_written(lane: StoreWriter, store: Store) -> None:
    done = [lane.put("turn 1", words("CA1", f"{n}"), SHORT) for n in range(20)]
    assert done[0].wait(PATIENCE)
    lane.put("turn 2", words("CA1", "end")).wait(PATIENCE)
    assert store.written == ["19", "end"]
    assert all(event.is_set() for event in done)


def test_it_is_written_by_itself_when_it_is_due(lane: StoreWriter, store: Store) -> None:
    began = time.monotonic()
    assert lane.put("usage", words("CA1", "usage"), 0.2).wait(PATIENCE)
    assert time.monotonic() - began >= 0.2
    assert not lane.put("usage", words("CA1", "later"), LONG).wait(0.05)


def test_a_newer_version_puts_nothing_off(lane: StoreWriter, store: Store) -> None:
    done = lane.put("turn 1", words("CA1", "0"), 0.3)
    for n in range(1, 5):
        lane.put("turn 1", words("CA1", f"{n}"), LONG)
    assert done.wait(PATIENCE)
    assert store.written == ["4"]


def test_what_cannot_wait_takes_along_what_could_in_the_order_in_which_it_came(lane: StoreWriter, store: Store) -> None:
    lane.put("turn 1", words("CA1", "turn 1"), LONG)
    lane.put("record", words("CA1", "old record"), LONG)
    lane.put("turn 2", words("CA1", "turn 2"), LONG)
    lane.put("turn 1", words("CA1", "newer turn 1"), LONG)
    assert lane.put("record", words("CA1", "record")).wait(PATIENCE)
    assert store.written == ["turn 2", "newer turn 1", "record"]


def test_other_calls_are_not_taken_along(lane: StoreWriter, store: Store) -> None:
    waiting = lane.put("turn 1", words("CA1", "1"), LONG)
    assert lane.put("turn 1", words("CA2", "2")).wait(PATIENCE)
    assert store.written == ["2"]
    lane.hurry("CA1")
    assert waiting.wait(PATIENCE)


def test_what_is_due_first_is_not_held_up_by_what_is_due_later(lane: StoreWriter, store: Store) -> None:
    lane.put("turn 1", words("CA1", "1"), LONG)
    assert lane.put("turn 1", words("CA2", "2"), SHORT).wait(PATIENCE)
    assert store.written == ["2"]


def test_all_of_a_call_goes_out_when_the_first_of_it_is_due(lane: StoreWriter, store: Store) -> None:
    lane.put("usage", words("CA1", "usage"), LONG)
    lane.put("turn 1", words("CA1", "turn"), SHORT)
    store.wait(lambda: store.written == ["usage", "turn"])


def test_calls_that_are_due_almost_together_go_out_together(
    monkeypatch: pytest.MonkeyPatch, lane: StoreWriter, store: Store
) -> None:
    monkeypatch.setattr(writer_module, "TOGETHER_SECONDS", LONG)
    for n in range(10):
        lane.put("turn", words(f"CA{n}", f"{n}"), LONG / 2 if n else SHORT)
    store.wait(lambda: len(store.written) == 10)
    assert store.written == [f"{n}" for n in range(10)]
    assert TOGETHER_SECONDS < 1, "or nothing is ever kept back as long as it may be"


def test_to_hurry_with_nothing_to_write_is_no_matter(lane: StoreWriter, store: Store) -> None:
    lane.hurry("CA1")
    assert lane.put("turn", words("CA1", "1")).wait(PATIENCE)


def test_stopping_writes_what_was_kept_back(store: Store) -> None:
    writer = StoreWriter(store, workers=3)
    for n in range(30):
        writer.put("record", words(f"CA{n}", f"{n}"), LONG)
    writer.stop(PATIENCE)
    assert sorted(store.written, key=int) == [f"{n}" for n in range(30)]


def test_what_was_kept_back_when_the_store_is_down_at_the_end_is_logged_as_lost(
    monkeypatch: pytest.MonkeyPatch, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", (60.0,))
    writer = StoreWriter(store, workers=1)
    store.down = True
    writer.put("turn 1", words("CA1", "1"))
    store.wait(lambda: store.tries)
    writer.put("turn 2", words("CA1", "2"), LONG)
    writer.put("turn 1", words("CA2", "3"), LONG)
    writer.stop(0.1)
    writer.put("turn 2", words("CA2", "4"), LONG)
    lost = [(r.__dict__["callSid"], r.__dict__["what"]) for r in caplog.records if r.msg == "store write lost"]
    assert sorted(lost) == [("CA1", "turn 1"), ("CA1", "turn 2"), ("CA2", "turn 1"), ("CA2", "turn 2")]


def test_what_is_kept_back_is_bounded_as_soon_as_it_is_due(
    monkeypatch: pytest.MonkeyPatch, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_module, "MOST_WAITING", 3)
    writer = StoreWriter(store, workers=1)
    for n in range(8):
        writer.put(f"turn {n}", words("CA1", f"{n}"), LONG)
    writer.stop(PATIENCE)
    assert store.written == ["5", "6", "7"]
    assert len([record for record in caplog.records if record.msg == "store write lost"]) == 5


def test_a_version_that_was_kept_back_while_an_older_one_failed_replaces_it(
    monkeypatch: pytest.MonkeyPatch, lane: StoreWriter, store: Store
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", (0.001,))
    store.gate.clear()
    store.refuses = {"old": StoreError("down")}
    lane.put("record", words("CA1", "old"))
    store.wait(lambda: store.tries == 1)
    newer = lane.put("record", words("CA1", "new"), 0.1)
    store.gate.set()
    assert newer.wait(PATIENCE)
    assert store.together == [["old"], ["new"]]
