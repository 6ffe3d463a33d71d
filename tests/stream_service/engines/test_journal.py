"""The caller's last seconds: what is kept for a new session, and what is not."""

from hypothesis import given
from hypothesis import strategies as st

from stream_service.engines.journal import BYTES_PER_MS, MOST_BYTES, PRE_ROLL_BYTES, Journal

FRAME = 160  # 20 ms


def listen(journal: Journal, milliseconds: int) -> None:
    for _ in range(milliseconds // 20):
        number = journal.position // FRAME
        journal.append(number.to_bytes(4, "big"), FRAME)


def kept(journal: Journal) -> tuple[int, int]:
    """From where to where the replay goes, in milliseconds; it has no gap."""
    start, chunks = journal.replay()
    assert [int.from_bytes(chunk, "big") for chunk in chunks] == [
        start // FRAME + offset for offset in range(len(chunks))
    ]
    return start // BYTES_PER_MS, (start + FRAME * len(chunks)) // BYTES_PER_MS


def test_of_silence_the_last_second_is_kept() -> None:
    journal = Journal()
    listen(journal, 5000)
    assert kept(journal) == (4000, 5000)


def test_an_utterance_is_kept_whole_until_it_is_understood() -> None:
    journal = Journal()
    listen(journal, 5000)
    journal.need_from(4500 * BYTES_PER_MS)
    listen(journal, 4000)
    assert kept(journal) == (4000, 9000)
    journal.settled(8000 * BYTES_PER_MS)
    assert kept(journal) == (8000, 9000)


def test_a_very_long_utterance_is_not_kept_whole() -> None:
    journal = Journal()
    journal.need_from(0)
    listen(journal, 60_000)
    assert kept(journal) == (60_000 - MOST_BYTES // BYTES_PER_MS, 60_000)


def test_the_second_of_two_utterances_is_still_needed_when_the_first_is_understood() -> None:
    journal = Journal()
    journal.need_from(0)
    listen(journal, 2000)
    journal.need_from(1500 * BYTES_PER_MS)
    listen(journal, 4000)
    journal.settled(1000 * BYTES_PER_MS)
    listen(journal, 2000)
    assert kept(journal) == (1000, 8000)


def test_settling_between_two_chunks_keeps_the_one_it_falls_into() -> None:
    journal = Journal()
    listen(journal, 1000)
    journal.settled(410 * BYTES_PER_MS)
    assert kept(journal) == (400, 1000)


def test_a_chunk_larger_than_the_bound_is_not_kept() -> None:
    journal = Journal()
    journal.append(b"", MOST_BYTES + 1)
    assert journal.replay() == (MOST_BYTES + 1, [])


actions = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 20_000)),
        st.tuples(st.just("need"), st.integers(-1000, 200_000)),
        st.tuples(st.just("settled"), st.integers(-1000, 200_000)),
    ),
    max_size=60,
)


@given(actions)
def test_bounded_and_without_gaps_whatever_happens(steps: list[tuple[str, int]]) -> None:
    journal = Journal()
    for action, value in steps:
        if action == "append":
            journal.append(value.to_bytes(4, "big"), value)
        elif action == "need":
            journal.need_from(value)
        else:
            journal.settled(value)
        start, chunks = journal.replay()
        assert start + sum(int.from_bytes(chunk, "big") for chunk in chunks) == journal.position
        assert journal.position - start <= max(MOST_BYTES, PRE_ROLL_BYTES)
