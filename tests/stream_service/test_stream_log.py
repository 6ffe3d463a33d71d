"""What the log is told of a stream: each answer once, silences too long, and what is billed."""

from dataclasses import replace
from typing import Any

import pytest
from call_scenes import EPOCH, WALL
from hypothesis import given
from hypothesis import strategies as st

from callbot import logs
from callbot.calls import STAGES, Turn
from stream_service.commands import Note
from stream_service.stream_log import StreamLog

SPEECH_END = EPOCH + 1010.0


def a_turn(n: int = 3, **fields: Any) -> Turn:
    """An answer that is still being made."""
    turn = Turn(n, "agent", "はい。承知しました。", "amivoice", 1, WALL, complete=False)
    return replace(turn, **fields)


def after(**stages: float) -> dict[str, float]:
    """Timings: each stage so many seconds after the caller's last word."""
    return {"speech_end": SPEECH_END, **{stage: SPEECH_END + seconds for stage, seconds in stages.items()}}


def an_answer(n: int = 3, first_words_out: float = 1.2, **fields: Any) -> Turn:
    """An answer whose end is known."""
    return a_turn(
        n, **{"complete": True, "heard": "はい。", "timings": after(first_words_out=first_words_out), **fields}
    )


def told(notes: list[Note]) -> list[tuple[str, dict[str, Any]]]:
    for note in notes:
        assert not note.fields.keys() - logs.EVENTS[note.name]
    return [(note.name, dict(note.fields)) for note in notes]


def test_an_answer_is_told_once_with_every_stage_it_reached() -> None:
    log = StreamLog(1, {})
    stages = after(transcript=0.25, asked=0.26, first_token=0.6, first_sentence=0.9, first_words_out=0.91)
    assert log.kept(a_turn(timings=after(asked=0.26))) == []
    assert log.kept(a_turn(timings=stages)) == []
    assert log.kept(a_turn(timings=stages, complete=True)) == []  # what was heard of it is not known yet
    settled = a_turn(timings=stages | after(delivered=1.1, heard=5.0), complete=True, heard="はい。承知しました。")
    fields = {
        "turn": 3,
        "interrupted": False,
        "transcriptMs": 250,
        "firstTokenMs": 600,
        "firstSentenceMs": 900,
        "firstWordsMs": 910,
        "deliveredMs": 1100,
        "heardMs": 5000,
        "guessed": False,
    }
    assert told(log.kept(settled)) == [("turn answered", fields)]
    assert log.kept(settled) == []
    assert log.rest() == []


def test_an_answer_begun_on_a_guess_says_so() -> None:
    timings = after(asked=-0.1, transcript=0.25, first_words_out=0.3)
    ((_, fields),) = told(StreamLog(1, {}).kept(an_answer(timings=timings)))
    assert fields["guessed"] is True


def test_an_answer_that_failed_or_was_talked_over_says_so() -> None:
    ((_, fields),) = told(StreamLog(1, {}).kept(an_answer(failed="stalled", interrupted=True)))
    assert (fields["code"], fields["interrupted"]) == ("stalled", True)


@pytest.mark.parametrize(
    "turn",
    [
        an_answer(timings={"first_words_out": SPEECH_END}),  # the greeting, or an idle prompt
        an_answer(timings=after(first_token=0.5), text="", heard=""),  # given up before a word of it was said
        an_answer(role="caller"),
        an_answer(generation=2),  # of another stream, which has told of it
    ],
    ids=["of our own accord", "given up", "the caller's", "another stream's"],
)
def test_what_answers_nobody_is_not_told(turn: Turn) -> None:
    log = StreamLog(1, {})
    assert log.kept(turn) + log.rest() == []


def test_what_is_open_at_the_end_is_told_then() -> None:
    log = StreamLog(1, {})
    log.kept(a_turn(timings=after(first_words_out=1.0)))
    ((name, fields),) = told(log.rest())
    assert (name, fields["firstWordsMs"]) == ("turn answered", 1000)
    assert log.rest() == []


def test_a_silence_over_three_seconds_is_told_besides() -> None:
    answered, silence = told(StreamLog(1, {}).kept(an_answer(first_words_out=3.25)))
    assert answered[0] == "turn answered"
    assert silence == ("long silence", {"turn": 3, "silenceMs": 3250})
    assert [name for name, _ in told(StreamLog(1, {}).kept(an_answer(first_words_out=3.0)))] == ["turn answered"]


def test_words_that_reach_the_carrier_late_are_silence_too() -> None:
    timings = after(first_words_out=1.0, delivered=3.5)
    _, silence = told(StreamLog(1, {}).kept(an_answer(timings=timings)))
    assert silence == ("long silence", {"turn": 3, "silenceMs": 3500})


def test_a_word_in_between_breaks_the_silence_though_it_is_a_turn_of_its_own() -> None:
    log = StreamLog(1, {})
    log.kept(an_answer(4, timings={"first_words_out": SPEECH_END + 1.8}))
    assert [name for name, _ in told(log.kept(an_answer(5, first_words_out=4.0)))] == ["turn answered"]


def test_a_word_from_before_the_caller_spoke_explains_nothing() -> None:
    log = StreamLog(1, {})
    log.kept(an_answer(2, timings={"first_words_out": SPEECH_END - 9.0}))
    assert [name for name, _ in told(log.kept(an_answer(5, first_words_out=4.0)))] == ["turn answered", "long silence"]


def test_usage_is_counted_for_the_record_and_for_this_stream() -> None:
    log = StreamLog(2, {"text_tokens_in": 100, "recognition_seconds": 7})
    assert log.bill({"text_tokens_in": 5, "text_tokens_out": 2}) == {
        "text_tokens_in": 105,
        "text_tokens_out": 2,
        "recognition_seconds": 7,
    }
    assert log.bill({"text_tokens_in": 1}) | log.bill({"recognition_ms": 2001}) == {
        "text_tokens_in": 106,
        "text_tokens_out": 2,
        "recognition_seconds": 10,
    }
    note = log.usage("gpt-x", 61.23, reads_aloud=True)
    assert note == Note(
        "call usage",
        {
            "model": "gpt-x",
            "seconds": 61.2,
            "text_tokens_in": 6,
            "text_tokens_out": 2,
            "recognition_seconds": 3,
        },
    )


def test_what_the_carrier_reads_out_is_counted_as_far_as_it_was_heard() -> None:
    log = StreamLog(1, {})
    log.kept(an_answer(1, timings={}, heard="もしもし。"))
    log.kept(a_turn(3, text="はい。"))
    log.kept(an_answer(3, text="はい。承知しました。", heard="はい。承知"))
    log.kept(an_answer(5, text="", heard=""))
    assert log.usage("gpt-x", 1.0, reads_aloud=True).fields["said_characters"] == 5 + 5
    assert "said_characters" not in log.usage("gpt-x", 1.0, reads_aloud=False).fields


versions = st.builds(
    a_turn,
    st.integers(1, 4),
    complete=st.booleans(),
    heard=st.none() | st.just("") | st.just("はい。"),
    role=st.sampled_from(["agent", "caller"]),
    generation=st.integers(1, 2),
    failed=st.sampled_from(["", "stalled"]),
    timings=st.dictionaries(st.sampled_from(STAGES), st.floats(SPEECH_END - 20, SPEECH_END + 20)),
)


@given(st.lists(versions, max_size=12))
def test_whatever_is_kept_each_turn_is_told_once_at_most(turns: list[Turn]) -> None:
    log = StreamLog(1, {})
    notes = [note for turn in turns for note in log.kept(turn)] + log.rest()
    answered = [fields["turn"] for name, fields in told(notes) if name == "turn answered"]
    assert len(answered) == len(set(answered))
    assert {"turn answered", "long silence"} >= {name for name, _ in told(notes)}
