"""The send buffer's two policies, in every order of events."""

from typing import Any

from both_codecs import codec, under_test
from hypothesis import given
from hypothesis import strategies as st

__all__ = ["codec"]  # every test here runs with both


def new_outbox(audio_limit: int, control_limit: int) -> Any:
    return under_test.Outbox(audio_limit, control_limit)


def drained(box: Any, limit: int = 10) -> list[bytes]:
    return list(iter(lambda: box.take(limit), b""))


def test_frames_leave_joined_in_the_order_they_came() -> None:
    box = new_outbox(1000, 1000)
    for frame in (b"a1", b"a2"):
        assert box.put_audio(frame)
    assert box.put_control(b"C1")
    assert box.put_audio(b"a3")
    assert (box.size, box.peak) == (8, 8)
    assert box.take(1000) == b"a1a2C1a3"
    assert (box.size, box.taken, box.take(1000)) == (0, 4, b"")


def test_no_more_leave_at_once_than_asked_for_but_one_always() -> None:
    box = new_outbox(1000, 1000)
    for frame in (b"12345", b"678", b"90", b"this is a long one", b"x"):
        box.put_audio(frame)
    assert drained(box) == [b"1234567890", b"this is a long one", b"x"]


def test_the_oldest_audio_is_dropped_and_control_keeps_its_place() -> None:
    box = new_outbox(6, 1000)
    box.put_audio(b"a1")
    box.put_control(b"C1")
    for frame in (b"a2", b"a3", b"a4"):
        assert box.put_audio(frame)
    assert box.dropped == 1
    assert box.take(100) == b"C1a2a3a4"
    assert not box.put_audio(b"too long")
    assert box.dropped == 2


def test_discarding_spares_control() -> None:
    box = new_outbox(100, 100)
    box.put_audio(b"a1")
    box.put_control(b"C1")
    box.put_audio(b"a2")
    assert box.discard_audio() == 2
    assert box.discard_audio() == 0
    box.put_audio(b"a3")
    box.put_control(b"C2")
    assert (box.take(100), box.dropped) == (b"C1a3C2", 0)


def test_control_over_its_bound_ends_it_all() -> None:
    box = new_outbox(100, 5)
    assert box.put_control(b"C1")
    assert not box.put_control(b"C2C2")
    assert box.finished
    assert box.put_control(b"C3")  # ignored, and said once
    assert not box.put_audio(b"a1")
    assert box.take(100) == b"C1"


def test_nothing_is_accepted_behind_the_last_frame() -> None:
    box = new_outbox(100, 5)
    box.put_audio(b"a1")
    assert box.finish(b"the last frame")
    assert not box.finish(b"another")
    assert box.put_control(b"C1")
    assert not box.put_audio(b"a2")
    assert box.take(100) == b"a1the last frame"


actions = st.one_of(
    st.tuples(st.just("audio"), st.integers(1, 60)),
    st.tuples(st.just("control"), st.integers(1, 20)),
    st.tuples(st.just("take"), st.integers(1, 80)),
    st.tuples(st.just("discard"), st.just(0)),
)


@given(st.lists(actions, max_size=80))
def test_against_the_obvious_model(steps: list[tuple[str, int]]) -> None:
    """The model keeps one list and searches it; the outbox must behave the same without searching."""
    box = new_outbox(100, 60)
    waiting: list[tuple[str, bytes]] = []
    dropped = 0

    def total(kind: str) -> int:
        return sum(len(entry[1]) for entry in waiting if entry[0] == kind)

    for number, (action, size) in enumerate(steps):
        frame = bytes([number]) * size
        if action == "audio":
            assert box.put_audio(frame)
            waiting.append(("audio", frame))
            while total("audio") > 100:
                waiting.remove(next(entry for entry in waiting if entry[0] == "audio"))
                dropped += 1
        elif action == "control":
            fits = total("control") + size <= 60
            assert box.put_control(frame) is fits
            if not fits:
                assert box.finished
                break
            waiting.append(("control", frame))
        elif action == "discard":
            assert box.discard_audio() == len([entry for entry in waiting if entry[0] == "audio"])
            waiting = [entry for entry in waiting if entry[0] == "control"]
        else:
            expected = b""
            while waiting and (not expected or len(expected) + len(waiting[0][1]) <= size):
                expected += waiting.pop(0)[1]
            assert box.take(size) == expected
        assert box.size == total("audio") + total("control")
        assert box.dropped == dropped
    assert b"".join(drained(box)) == b"".join(frame for _, frame in waiting)
    assert box.size == 0
