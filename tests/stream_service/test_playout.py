"""What was really heard of the bot's audio, by marks and by the clock."""

from both_codecs import codec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playout_scenes import SECOND, new_playout

from stream_service.playout import LATE_MARK_SECONDS

__all__ = ["codec"]  # every test here runs with both


def test_the_first_piece_of_an_item_is_known_as_such() -> None:
    playout = new_playout()
    assert playout.sent("i1", 160, 0.0) == ("", True)
    assert playout.sent("i1", 160, 0.0) == ("", False)
    assert playout.sent("i2", 160, 0.0) == ("", True)


def test_a_mark_stands_behind_every_so_much_audio() -> None:
    playout = new_playout()
    piece, pieces = SECOND // 4, 20
    marks = [playout.sent("i1", piece, 0.0)[0] for _ in range(pieces)]
    assert [mark for mark in marks if mark] == [f"a0-{number}" for number in range(1, pieces // 4 + 1)]
    assert all(marks[3::4])
    assert playout.sent("i1", 9 * piece, 0.0) == ("a0-6", False)  # one piece has one mark, however long it is
    assert playout.sent("i1", piece, 0.0) == ("", False)


def test_each_item_has_marks_of_its_own() -> None:
    playout = new_playout()
    almost = SECOND - 8
    assert playout.sent("i1", almost, 0.0)[0] == ""
    assert playout.sent("i2", almost, 0.0)[0] == ""
    assert playout.sent("i1", 8, 0.0)[0] == "a0-1"


def test_the_last_mark_stands_behind_what_has_none() -> None:
    playout = new_playout()
    assert playout.last_mark() == ""
    playout.sent("i1", 160, 0.0)
    mark = playout.last_mark()
    assert mark == "a0-1"
    assert playout.last_mark() == ""
    assert playout.heard_ms("i1", 60.0) == 20
    assert playout.reached(mark, 0.02)
    assert playout.heard_ms("i1", 0.02) == 20
    assert playout.sent("i1", SECOND, 1.0)[0]
    assert playout.last_mark() == ""


def test_audio_behind_which_no_mark_stands_may_still_be_heard() -> None:
    playout = new_playout()
    playout.sent("i1", 160, 0.0)
    assert playout.audible(1.0)
    assert not playout.audible(0.02 + LATE_MARK_SECONDS)
    playout.clear(0.01)
    assert not playout.audible(0.01)
    assert playout.last_mark() == ""  # nothing is left that it would stand behind


def test_all_has_been_played_when_the_last_mark_is_back_and_nothing_waits_for_one() -> None:
    playout = new_playout()
    first, _ = playout.sent("i1", SECOND, 0.0)
    second, _ = playout.sent("i1", SECOND, 0.0)
    playout.sent("i1", 160, 0.0)
    assert not playout.reached(first, 1.0)
    assert not playout.reached(second, 2.0)
    assert playout.audible(2.0)
    third = playout.last_mark()
    assert not playout.reached("a0-999", 2.0)
    assert playout.reached(third, 2.0)
    assert not playout.reached(third, 2.0)
    assert not playout.audible(2.0)


def test_a_mark_that_never_came_back_does_not_keep_the_later_ones_from_counting() -> None:
    playout = new_playout()
    playout.sent("i1", SECOND, 0.0)
    second, _ = playout.sent("i1", SECOND, 0.0)
    assert not playout.reached(second, 2.0)  # one is still waited for
    assert playout.heard_ms("i1", 2.0) == 2000


def test_sent_is_not_heard() -> None:
    playout = new_playout()
    for _ in range(10):  # ten seconds, faster than real time
        playout.sent("i1", SECOND, 0.0)
    assert playout.sent_ms("i1") == 10_000
    assert playout.heard_ms("i1", 0.0) == 0
    assert playout.heard_ms("i1", 0.5) == 500


def test_the_clock_never_runs_ahead_of_the_next_mark() -> None:
    playout = new_playout()
    first, _ = playout.sent("i1", SECOND, 0.0)
    playout.sent("i1", SECOND, 0.0)
    assert playout.heard_ms("i1", 60.0) == 1000  # the first piece has not been played, Twilio says
    playout.reached(first, 0.2)
    assert playout.heard_ms("i1", 0.2) == 1000  # and now it has, whatever the clock says
    assert playout.heard_ms("i1", 60.0) == 2000


def test_a_mark_sets_the_clock_right_which_ran_ahead() -> None:
    playout = new_playout()
    first, _ = playout.sent("i1", SECOND, 0.0)
    second, _ = playout.sent("i1", SECOND, 0.0)
    playout.sent("i1", SECOND, 0.0)
    playout.reached(first, 1.3)  # the carrier began 0.3 s later than we thought
    assert playout.heard_ms("i1", 1.8) == 1500
    playout.reached(second, 2.1)  # and that mark had been on its way for 0.2 s longer than this one
    assert playout.heard_ms("i1", 2.5) == 2400


def test_a_mark_never_has_it_that_something_was_played_before_it_was_sent() -> None:
    playout = new_playout()
    first, _ = playout.sent("i1", SECOND, 5.0)
    playout.sent("i1", SECOND, 5.0)
    playout.reached(first, 5.0)
    assert playout.heard_ms("i1", 5.5) == 1000
    assert playout.heard_ms("i1", 6.5) == 1500


def test_items_are_played_one_after_the_other() -> None:
    playout = new_playout()
    playout.sent("i1", SECOND, 0.0)
    playout.sent("i2", SECOND, 0.0)
    assert playout.heard_ms("i2", 0.75) == 0
    assert playout.heard_ms("i2", 1.5) == 500


def test_pieces_of_one_item_are_played_one_after_the_other_too() -> None:
    playout = new_playout()
    for _ in range(3):
        playout.sent("i1", SECOND, 0.0)
    playout.sent("i2", SECOND, 0.0)
    assert playout.heard_ms("i2", 2.5) == 0
    assert playout.heard_ms("i2", 3.5) == 500
    assert playout.audible(4.0)


def test_a_pause_between_two_pieces_is_not_counted_as_played() -> None:
    playout = new_playout()
    mark, _ = playout.sent("i1", SECOND, 0.0)
    playout.reached(mark, 1.0)
    playout.sent("i2", SECOND, 5.0)
    assert playout.heard_ms("i2", 5.25) == 250


def test_it_is_quiet_once_every_mark_is_back() -> None:
    playout = new_playout()
    assert not playout.audible(0.0)
    mark, _ = playout.sent("i1", SECOND, 0.0)
    assert playout.audible(1.5)  # a little late
    playout.reached(mark, 1.5)
    assert not playout.audible(1.5)


def test_a_mark_that_is_lost_keeps_nobody_waiting() -> None:
    playout = new_playout()
    playout.sent("i1", SECOND, 0.0)
    assert playout.audible(1.0 + LATE_MARK_SECONDS - 0.1)
    assert not playout.audible(1.0 + LATE_MARK_SECONDS)


def test_clearing_tells_what_was_cut_and_where() -> None:
    playout = new_playout()
    done, _ = playout.sent("i1", SECOND, 0.0)
    playout.reached(done, 1.0)
    playout.sent("i2", 3 * SECOND, 1.0)
    playout.sent("i3", SECOND, 1.0)
    assert playout.clear(2.5) == [("i2", 1500), ("i3", 0)]
    assert not playout.audible(2.5)


def test_marks_that_a_clear_brings_back_prove_nothing() -> None:
    playout = new_playout()
    mark, _ = playout.sent("i1", 10 * SECOND, 0.0)
    playout.clear(1.0)
    playout.reached(mark, 1.1)
    assert playout.heard_ms("i1", 1.1) == 1000


def test_what_was_cut_off_is_not_heard_later_and_not_cut_again() -> None:
    playout = new_playout()
    playout.sent("i1", 10 * SECOND, 0.0)
    playout.clear(1.0)
    assert playout.heard_ms("i1", 30.0) == 1000
    playout.sent("i2", 10 * SECOND, 30.0)
    assert playout.clear(31.0) == [("i2", 1000)]


def test_after_a_clear_the_next_item_is_heard_at_once() -> None:
    playout = new_playout()
    playout.sent("i1", 100 * SECOND, 0.0)
    playout.clear(1.0)
    mark, _ = playout.sent("i2", SECOND, 1.0)
    assert mark.startswith("a1-")
    assert playout.heard_ms("i2", 1.5) == 500


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the same for all examples
def test_strange_marks_change_nothing(mark: str) -> None:
    playout = new_playout()
    playout.sent("i1", SECOND, 0.0)
    if mark != "a0-1":
        playout.reached(mark, 0.0)
    assert playout.heard_ms("i1", 0.0) == 0
    assert playout.heard_ms(mark, 0.0) == playout.sent_ms(mark) == 0 or mark == "i1"
