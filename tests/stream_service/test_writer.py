"""Writes behind the call's back: in order, again when the store is down, and never silently lost.

What may wait is in `test_writer_keeps_back.py`, what goes out in one go in `test_writer_together.py`.
"""

import logging
import threading
from collections.abc import Iterator

import pytest
from writer_scenes import PATIENCE, Store, words

from callbot.errors import StoreError
from stream_service import writer as writer_module
from stream_service.writer import KEEP_TRYING_SECONDS, StoreWriter


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch, store: Store) -> Iterator[StoreWriter]:
    """A writer with one thread that tries again soon."""
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", (0.001, 0.01))
    writer = StoreWriter(store, workers=1)
    yield writer
    writer.stop(PATIENCE)


def lost(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What of which record was logged as lost, and why."""
    return [(r.__dict__["what"], r.__dict__["reason"]) for r in caplog.records if r.msg == "store write lost"]


def test_everything_is_written_in_order(lane: StoreWriter, store: Store) -> None:
    done = [lane.put(f"turn {n}", words("CA1", f"{n}")) for n in range(100)]
    assert all(event.wait(PATIENCE) for event in done)
    assert store.written == [f"{n}" for n in range(100)]


def test_while_the_store_is_slow_the_newest_version_replaces_the_one_that_waits(
    lane: StoreWriter, store: Store
) -> None:
    store.gate.clear()
    lane.put("usage", words("CA1", "first"))
    store.wait(lambda: store.tries == 1)  # it is being written
    waiting = lane.put("stream", words("CA1", "old"))
    lane.put("turn 1", words("CA1", "turn"))
    newest = lane.put("stream", words("CA1", "new"))
    store.gate.set()
    assert newest.wait(PATIENCE)
    assert waiting.is_set()
    assert store.written == ["first", "turn", "new"]


def test_calls_do_not_replace_each_others_fields(lane: StoreWriter, store: Store) -> None:
    store.gate.clear()
    done = [lane.put("stream", words(sid, sid)) for sid in ("CA1", "CA2", "CA3")]
    store.gate.set()
    assert all(event.wait(PATIENCE) for event in done)
    assert sorted(store.written) == ["CA1", "CA2", "CA3"]


def test_a_store_that_comes_back_gets_everything_in_order(
    lane: StoreWriter, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.down = True
    done = [lane.put(f"turn {n}", words("CA1", f"{n}")) for n in range(5)]
    store.wait(lambda: store.tries >= 4)
    assert not any(event.is_set() for event in done)
    store.down = False
    assert all(event.wait(PATIENCE) for event in done)
    assert store.written == ["0", "1", "2", "3", "4"]
    assert lost(caplog) == []


def test_a_newer_version_that_came_during_a_failed_write_is_the_one_that_is_tried_again(
    lane: StoreWriter, store: Store
) -> None:
    store.gate.clear()
    lane.put("stream", words("CA1", "old"))
    store.wait(lambda: store.tries == 1)
    newer = lane.put("stream", words("CA1", "new"))
    store.down = True
    store.gate.set()
    store.wait(lambda: store.tries >= 2)
    store.down = False
    assert newer.wait(PATIENCE)
    assert store.written == ["new"]


def test_what_is_too_old_is_logged_as_lost_without_its_words(
    monkeypatch: pytest.MonkeyPatch, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", (0.001,))
    now = [0.0]
    writer = StoreWriter(store, workers=1, clock=lambda: now[0])
    store.down = True
    writer.put("turn 1", words("CA1", "secret words"))
    store.wait(lambda: store.tries >= 2)
    now[0] = KEEP_TRYING_SECONDS + 1
    tries = store.tries
    store.wait(lambda: store.tries > tries)
    store.down = False
    assert writer.put("turn 2", words("CA1", "2")).wait(PATIENCE)
    writer.stop(PATIENCE)
    assert lost(caplog) == [("turn 1", "the store was down for too long")]
    assert store.written == ["2"]
    assert "secret" not in caplog.text


def test_what_waits_is_bounded(
    monkeypatch: pytest.MonkeyPatch, lane: StoreWriter, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_module, "MOST_WAITING", 3)
    store.gate.clear()
    lane.put("turn 0", words("CA1", "0"))
    store.wait(lambda: store.tries == 1)
    done = [lane.put(f"turn {n}", words("CA1", f"{n}")) for n in range(1, 6)]
    store.gate.set()
    assert done[-1].wait(PATIENCE)
    assert store.written == ["0", "3", "4", "5"]
    assert lost(caplog) == [("turn 1", "too many waiting"), ("turn 2", "too many waiting")]


def test_a_write_that_is_a_bug_costs_nobody_elses(
    lane: StoreWriter, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.refuses = {"broken": KeyError("+819012345678")}
    lane.put("turn 1", words("CA1", "broken"))
    assert lane.put("turn 1", words("CA2", "2")).wait(PATIENCE)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_stopping_writes_what_waits(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    writer = StoreWriter(store, workers=3)
    store.gate.clear()
    for n in range(50):
        writer.put("stream", words(f"CA{n}", f"{n}"))
    opener = threading.Timer(0.05, store.gate.set)
    opener.start()
    writer.stop(PATIENCE)
    opener.join()
    assert len(store.written) == 50
    assert lost(caplog) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("store-writer")]


def test_stopping_while_the_store_is_down_logs_each_loss_once(
    monkeypatch: pytest.MonkeyPatch, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", (60.0,))
    writer = StoreWriter(store, workers=1)
    store.down = True
    for n in range(3):
        writer.put(f"turn {n}", words("CA1", f"{n}"))
    store.wait(lambda: store.tries == 1)
    writer.stop(0.1)
    assert sorted(lost(caplog)) == [(f"turn {n}", "stopped") for n in range(3)]


def test_what_is_being_written_when_time_is_up_is_lost_too_if_it_fails(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    others = set(threading.enumerate())
    writer = StoreWriter(store, workers=1)
    store.down = True
    store.gate.clear()
    writer.put("turn 0", words("CA1", "0"))
    store.wait(lambda: store.tries == 1)
    (thread,) = set(threading.enumerate()) - others
    writer.stop(0.05)
    store.gate.set()
    thread.join(PATIENCE)
    assert lost(caplog) == [("turn 0", "stopped")]


def test_what_comes_after_the_stop_is_logged_as_lost(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    writer = StoreWriter(store, workers=1)
    writer.stop(PATIENCE)
    assert not writer.put("stream", words("CA1", "late")).is_set()
    assert lost(caplog) == [("stream", "stopped")]


def test_a_call_can_ask_whether_its_store_is_down(lane: StoreWriter, store: Store) -> None:
    assert not lane.is_down("CA1")
    store.down = True
    written = lane.put("stream", words("CA1", "1"))
    store.wait(lambda: store.tries >= 2)
    assert lane.is_down("CA1")
    store.down = False
    assert written.wait(PATIENCE)
    assert not lane.is_down("CA1")


def test_what_the_store_refuses_for_good_is_lost_at_once(
    lane: StoreWriter, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.refuses = {"refused": StoreError("too large", retryable=False)}
    lane.put("turn 1", words("CA1", "refused"))
    assert lane.put("turn 2", words("CA1", "2")).wait(PATIENCE)
    assert lost(caplog) == [("turn 1", "the store refused it")]
    assert not lane.is_down("CA1")
