"""How many streams a process takes, and who has to leave when there are too many."""

from contextlib import ExitStack

from stream_service.services import MOST_ARRIVING, LiveCalls


def test_a_process_that_is_full_takes_no_more() -> None:
    live = LiveCalls(capacity=2)
    keys = [live.enter(lambda: None) for _ in range(2)]
    assert live.full
    live.leave(keys[0])
    assert not live.full


def test_whoever_says_nothing_for_longest_makes_room() -> None:
    live, turned_away = LiveCalls(capacity=1000), []
    with ExitStack() as arrivals:
        for n in range(MOST_ARRIVING + 2):
            arrivals.enter_context(live.arriving(lambda n=n: turned_away.append(n)))  # type: ignore[misc]  # early binding
        assert turned_away == [0, 1]


def test_arrivals_leave_room_for_the_calls_that_are_carried() -> None:
    live, turned_away = LiveCalls(capacity=3), []
    live.enter(lambda: None)
    live.enter(lambda: None)
    with live.arriving(lambda: turned_away.append("first")), live.arriving(lambda: turned_away.append("second")):
        assert turned_away == ["first"]


def test_whoever_has_shown_a_ticket_is_not_turned_away_but_takes_a_place() -> None:
    live, turned_away = LiveCalls(capacity=MOST_ARRIVING + 2), []
    with ExitStack() as arrivals:
        for n in range(MOST_ARRIVING + 1):
            arrivals.enter_context(live.arriving(lambda n=n: turned_away.append(n)))()  # type: ignore[misc]  # as above
        assert not live.full
        arrivals.enter_context(live.arriving(lambda: turned_away.append("silent")))
        assert turned_away == []
        arrivals.enter_context(live.arriving(lambda: turned_away.append("late")))()
        assert turned_away == ["silent"]
        assert live.full
    assert not live.full


def test_a_stream_that_enters_a_stopping_process_is_told_at_once() -> None:
    live, told = LiveCalls(capacity=2), []
    live.enter(lambda: told.append("early"))
    live.drain()
    live.enter(lambda: told.append("late"))
    assert told == ["early", "late"]
    assert live.draining


def test_waiting_for_the_last_stream_has_an_end() -> None:
    live = LiveCalls(capacity=2)
    key = live.enter(lambda: None)
    assert not live.wait_until_empty(0.01)
    live.leave(key)
    assert live.wait_until_empty(0.01)
