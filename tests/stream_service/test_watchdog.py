"""The judgement of a peer, on a clock of paper."""

from typing import Any

from both_codecs import codec, under_test

from stream_service.limits import Limits
from stream_service.watchdog import Watchdog

__all__ = ["codec"]  # every test here runs with both


def watching(limits: Limits) -> tuple[Watchdog, Any]:
    """A watchdog and the lane it watches."""
    lane = under_test.Lane(0, None, under_test.Outbox(1, 1), lambda: None)
    dog = Watchdog(limits, lane)
    dog.begin(0)
    return dog, lane


def hear(lane: Any, size: int, now: float) -> None:
    """What is done with each read."""
    lane.bytes_left -= size
    lane.heard_at = now


def look(dog: Watchdog, now: float, *, listening: bool = True, stuck_since: float | None = None) -> str | None:
    verdict = dog.look(now, listening=listening, stuck_since=stuck_since)
    return verdict.reason if verdict else None


def test_budgets_grow_with_time_up_to_the_burst() -> None:
    dog, lane = watching(Limits(messages_per_second=10, bytes_per_second=100, burst_seconds=2, silence_seconds=None))
    assert (lane.messages_left, lane.bytes_left) == (20, 200)
    hear(lane, 150, now=0)
    lane.messages_left -= 20
    look(dog, 0.5)
    assert (lane.messages_left, lane.bytes_left) == (5, 100)
    look(dog, 50)
    assert (lane.messages_left, lane.bytes_left) == (20, 200)


def test_silence_is_judged_only_while_listening() -> None:
    dog, lane = watching(Limits(silence_seconds=5))
    assert look(dog, 5) is None
    assert look(dog, 5.1) == "silent"
    assert look(dog, 20, listening=False) is None
    assert look(dog, 24.9) is None
    hear(lane, 1, now=24.9)
    assert look(dog, 29.8) is None
    assert look(dog, 30) == "silent"


def test_a_ping_waits_for_a_byte() -> None:
    dog, lane = watching(Limits(silence_seconds=None, ping_seconds=3, pong_seconds=2))
    assert not dog.wants_ping(2.9)
    assert dog.wants_ping(3)
    assert not dog.wants_ping(4)
    assert look(dog, 5) is None
    assert look(dog, 5.1) == "half-open"
    hear(lane, 1, now=5.5)
    assert look(dog, 6) is None
    assert dog.wants_ping(8.5)
    assert look(dog, 9, listening=False) is None
    assert not dog.wants_ping(9)


def test_a_stall_is_judged_always() -> None:
    dog, _ = watching(Limits(write_stall_seconds=5))
    assert look(dog, 6, listening=False, stuck_since=1) is None
    assert look(dog, 6.1, listening=False, stuck_since=1) == "stalled"


def test_without_limits_nobody_is_judged() -> None:
    dog, _ = watching(Limits(silence_seconds=None))
    assert look(dog, 1e6) is None
    assert not dog.wants_ping(1e6)
