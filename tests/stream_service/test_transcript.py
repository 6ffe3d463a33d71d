"""What both sides know was said, and how it is told to the models."""

from datetime import timedelta

import pytest
from call_scenes import BEGIN, EPOCH, WALL, a_turn
from hypothesis import given
from hypothesis import strategies as st

from stream_service.transcript import MEMORY_TURNS, Transcript, heard_of


def transcript(*earlier: object) -> Transcript:
    return Transcript("amivoice", 2, earlier, EPOCH)  # type: ignore[arg-type]


def test_turns_are_numbered_through_all_streams() -> None:
    talk = transcript(a_turn(1, "agent", "もしもし"), a_turn(2, "caller", "はい"))
    turn = talk.add("agent", "ご用件は", BEGIN + 5)
    assert (turn.n, turn.generation, turn.engine) == (3, 2, "amivoice")
    assert turn.at == WALL + timedelta(seconds=5)
    assert talk.last == turn
    assert transcript().last is None


def test_a_stage_is_stamped_once_in_seconds_since_the_epoch() -> None:
    talk = transcript()
    n = talk.add("agent", "", BEGIN).n
    talk.stamp(n, first_token=BEGIN + 1)
    assert talk.stamp(n, first_token=BEGIN + 9, heard=BEGIN + 2).timings == {
        "first_token": WALL.timestamp() + 1,
        "heard": WALL.timestamp() + 2,
    }


def test_models_are_told_only_what_was_heard() -> None:
    talk = transcript(
        a_turn(1, "agent", "もしもし、たくみです。", heard="もしもし、たくみです。"),
        a_turn(2, "caller", "予約を"),
        a_turn(3, "agent", "ご予約ですね。何名様ですか。", heard="ご予約ですね。", interrupted=True),
        a_turn(4, "caller", "待って"),
        a_turn(5, "agent", "はい。", heard=""),
        a_turn(6, "caller", ""),
        a_turn(7, "agent", "どうぞ。", heard=None),
    )
    assert talk.messages("P") == (
        {"role": "system", "content": "P"},
        {"role": "assistant", "content": "もしもし、たくみです。"},
        {"role": "user", "content": "予約を"},
        {"role": "assistant", "content": "ご予約ですね。…"},
        {"role": "user", "content": "待って"},
        {"role": "assistant", "content": "どうぞ。"},
    )


def test_a_long_talk_is_remembered_from_its_end() -> None:
    talk = transcript(*(a_turn(n, "caller", f"{n}") for n in range(1, 101)))
    assert [text for _, text in talk.remembered()] == [f"{n}" for n in range(101 - MEMORY_TURNS, 101)]


@pytest.mark.parametrize(
    ("whole", "seconds", "heard"),
    [
        (0, 0.0, ""),
        (0, 1.0, "いち"),
        (1, 0.0, "いちにさん。"),
        (1, 0.5, "いちにさん。よ"),
        (2, 0.0, "いちにさん。よんご。"),
        (1, 99.0, "いちにさん。よんご。"),
        (7, 3.0, "いちにさん。よんご。"),
    ],
)
def test_how_much_was_heard(whole: int, seconds: float, heard: str) -> None:
    assert heard_of(["いちにさん。", "よんご。"], whole, seconds, {0: 3.0, 1: 2.0}) == heard


@given(st.lists(st.text(max_size=20), max_size=5), st.integers(0, 9), st.floats(-5, 99))
def test_what_was_heard_is_always_a_beginning(sentences: list[str], whole: int, seconds: float) -> None:
    seconds_of = dict.fromkeys(range(len(sentences)), 1.0)
    assert "".join(sentences).startswith(heard_of(sentences, whole, seconds, seconds_of))
