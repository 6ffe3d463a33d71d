"""Silences and latencies, on timelines made by hand."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from emulator.twilio import speaking
from emulator.twilio.report import Heard, Said, longest_unexplained, silences, turns


def heard(start, end, *, kind="say", complete=True, text="bot"):
    return Heard(kind, text, start, end, complete)


def explained(found):
    return [(silence.start, silence.seconds, silence.after, silence.explained) for silence in found]


def test_waiting_for_the_greeting_is_unexplained():
    assert explained(silences([heard(2.0, 3.0)], [], 3.0)) == [(0.0, 2.0, "answer", False)]


def test_after_the_bot_has_spoken_it_is_the_callers_turn():
    assert explained(silences([heard(0, 1)], [], 9.0)) == [(1, 8.0, "bot", True)]


def test_after_the_callers_words_the_bot_is_waited_for():
    found = silences([heard(0, 1), heard(6, 7)], [Said("hello", 2, 3)], 7)
    assert explained(found) == [(1, 1.0, "bot", True), (3, 3.0, "caller", False)]
    assert longest_unexplained(found) == 3.0


def test_words_that_break_off_by_themselves_leave_the_caller_waiting():
    assert explained(silences([heard(0, 1, complete=False), heard(5, 6)], [], 6)) == [(1, 4.0, "bot", False)]


def test_words_the_caller_broke_off_leave_the_caller_speaking():
    found = silences([heard(0, 2.2, complete=False), heard(4, 5)], [Said("stop", 2, 3)], 5)
    assert explained(found) == [(3, 1.0, "caller", False)]


def test_after_a_transfer_that_failed_the_caller_is_waiting():
    assert explained(silences([heard(0, 5, kind="dial", complete=False)], [], 8)) == [(5, 3.0, "bot", False)]


def test_overlapping_speech_is_no_silence():
    assert silences([heard(0, 5)], [Said("yes", 1, 2)], 5) == []


def test_a_call_of_nothing_is_one_silence():
    assert explained(silences([], [], 4)) == [(0.0, 4.0, "answer", False)]


def test_latency_counts_from_the_end_of_speech_to_the_first_sound():
    (turn,) = turns([heard(0, 1), heard(4.25, 6, text="reply"), heard(7, 8)], [Said("question", 2, 3)])
    assert (turn.said, turn.reply, turn.latency) == ("question", "reply", 1.25)


def test_words_already_being_spoken_are_no_reply():
    assert turns([heard(0, 10)], [Said("uh-huh", 2, 3)]) == []


def test_words_that_began_before_the_caller_had_finished_are_no_reply():
    assert turns([heard(2.5, 4)], [Said("question", 2, 3)]) == []


def test_a_reply_belongs_to_the_last_words_before_it():
    assert [t.said for t in turns([heard(9, 10)], [Said("one", 1, 2), Said("two", 3, 4)])] == ["two"]


SPANS = st.lists(st.tuples(st.floats(0, 50), st.floats(0, 10), st.booleans()), max_size=8)


@given(SPANS, SPANS)
def test_silence_and_sound_fill_the_call(bot, human):
    sounds = [heard(at, at + length, complete=whole) for at, length, whole in bot]
    words = [Said("", at, at + length) for at, length, _ in human]
    found = silences(sounds, words, 60.0)
    for silence in found:
        middle = (silence.start + silence.end) / 2
        assert not any(sound.start < middle < sound.end for sound in [*sounds, *words])
    assert all(first.end <= second.start for first, second in pairwise(found))


@given(st.text(max_size=60), st.floats(0.5, 8))
def test_what_has_been_spoken_grows_to_the_whole_text(text, rate):
    whole = speaking.seconds(text, rate)
    assert speaking.heard_after(text, whole, rate) == text
    assert text.startswith(speaking.heard_after(text, whole / 2, rate))


def test_japanese_is_slower_than_latin():
    assert speaking.seconds("ありがとうございます") > speaking.seconds("thank you!")
    assert speaking.seconds("あ") == speaking.SHORTEST_SECONDS
