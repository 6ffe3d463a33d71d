"""Writes that leave in one go, whatever calls they are of: what one of them meets is never another's loss."""

import logging
import threading
from collections.abc import Iterator

import pytest
from writer_scenes import LONG, PATIENCE, Store, words

from callbot.errors import StoreError
from stream_service import writer as writer_module
from stream_service.writer import StoreWriter


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


def put_behind(lane: StoreWriter, store: Store, *texts: str) -> list[threading.Event]:
    """Put these, each of a call of its own, while the first is being written."""
    store.gate.clear()
    lane.put("turn", words("CA", "first"))
    store.wait(lambda: store.together[-1:] == [["first"]])
    return [lane.put("turn", words(f"CA{text}", text)) for text in texts]


def lost(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What of which call was logged as lost, and why."""
    return [(r.__dict__["callSid"], r.__dict__["reason"]) for r in caplog.records if r.msg == "store write lost"]


def test_what_waits_of_all_calls_is_written_in_one_go(lane: StoreWriter, store: Store) -> None:
    done = put_behind(lane, store, "a", "b", "c")
    store.gate.set()
    assert all(event.wait(PATIENCE) for event in done)
    assert store.together == [["first"], ["a", "b", "c"]]


def test_what_is_due_together_is_written_in_one_go(
    monkeypatch: pytest.MonkeyPatch, lane: StoreWriter, store: Store
) -> None:
    monkeypatch.setattr(writer_module, "TOGETHER_SECONDS", LONG)
    for text in "abc":
        lane.put("turn 1", words(f"CA{text}", text), LONG / 2)
        lane.put("turn 2", words(f"CA{text}", text + text), LONG / 2)
    assert lane.put("turn", words("CA", "due"), 0.05).wait(PATIENCE)
    assert store.together == [["a", "aa", "b", "bb", "c", "cc", "due"]]


def test_it_is_never_too_much_for_one_go(monkeypatch: pytest.MonkeyPatch, lane: StoreWriter, store: Store) -> None:
    monkeypatch.setattr(writer_module, "MOST_TOGETHER", 3)
    done = put_behind(lane, store, *"abcdefg")
    store.gate.set()
    assert done[-1].wait(PATIENCE)
    assert store.together == [["first"], ["a", "b", "c"], ["d", "e", "f"], ["g"]]


def test_one_that_the_store_refuses_for_good_costs_the_others_nothing(
    lane: StoreWriter, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.refuses = {"bad": StoreError("too large", retryable=False)}
    a, bad, c = put_behind(lane, store, "a", "bad", "c")
    store.gate.set()
    assert a.wait(PATIENCE)
    assert c.wait(PATIENCE)
    assert not bad.is_set()
    assert store.together == [["first"], ["a", "bad", "c"], ["a"], ["bad"], ["c"]]
    assert lost(caplog) == [("CAbad", "the store refused it")]


def test_one_that_is_a_bug_costs_the_others_nothing(
    lane: StoreWriter, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.refuses = {"bug": KeyError("+819012345678")}
    a, bug, c = put_behind(lane, store, "a", "bug", "c")
    store.gate.set()
    assert a.wait(PATIENCE)
    assert c.wait(PATIENCE)
    assert not bug.is_set()
    assert store.written == ["first", "a", "c"]
    assert [(record.levelno, record.__dict__["callSid"]) for record in caplog.records] == [(logging.ERROR, "CAbug")]


def test_a_store_that_comes_back_gets_them_one_by_one_and_then_all_in_one_go_again(
    lane: StoreWriter, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    done = put_behind(lane, store, "a", "b")
    store.refuses = {"a": StoreError("down")}
    store.gate.set()
    store.wait(lambda: store.tries > 3)
    assert lane.is_down("CAb")
    done += [lane.put("turn", words(f"CA{text}", text)) for text in "cd"]
    store.refuses = {}
    assert all(event.wait(PATIENCE) for event in done)
    assert store.together[:3] == [["first"], ["a", "b"], ["a"]]
    assert store.together[-3:] == [["a"], ["b"], ["c", "d"]]
    assert store.written == ["first", *"abcd"]
    assert not lane.is_down("CAb")
    assert lost(caplog) == []


def test_a_newer_version_that_came_while_they_failed_takes_its_place(lane: StoreWriter, store: Store) -> None:
    done = put_behind(lane, store, "a", "b")
    store.refuses = {"a": StoreError("down")}
    store.gate.set()
    store.wait(lambda: store.tries > 2)
    newer = lane.put("turn", words("CAa", "newer"))
    assert newer.wait(PATIENCE)
    assert store.written == ["first", "b", "newer"]
    assert done[1].is_set()


def test_what_is_being_written_when_time_is_up_is_logged_as_lost_one_by_one(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    others = set(threading.enumerate())
    writer = StoreWriter(store, workers=1)
    store.gate.clear()
    writer.put("turn 1", words("CA1", "a"), LONG)
    writer.put("turn 2", words("CA1", "b"), LONG)
    writer.hurry("CA1")
    store.wait(lambda: store.together == [["a", "b"]])
    (thread,) = set(threading.enumerate()) - others
    writer.stop(0.05)
    store.down = True
    store.gate.set()
    thread.join(PATIENCE)
    assert lost(caplog) == [("CA1", "stopped")] * 2
