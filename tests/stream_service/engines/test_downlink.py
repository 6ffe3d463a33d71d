"""The model's audio on its way to the caller: in Twilio's form, with its marks, and the words that wait together."""

import base64
from collections.abc import Callable

import pytest
from both_codecs import codec, under_test

from engines.callers_and_vendors import Caller, delta, word
from stream_service.engines.downlink import MOST_WORDS
from stream_service.wire.frame_decoder import PythonDecoder

__all__ = ["codec"]  # every test here runs with both


def framed(ulaw: bytes) -> bytes:
    return b"[" + base64.b64encode(ulaw) + b"]"


def test_audio_is_passed_on_in_the_carriers_form() -> None:
    caller = Caller(under_test).attach()
    assert caller.downlink(delta(b"\x00" * 160))
    assert caller.downlink(delta(b"\x01" * 161, item="i2", response="応"))
    assert caller.heard() == [framed(b"\x00" * 160), framed(b"\x01" * 161)]
    assert caller.asked == [(160, "i1", "r1"), (161, "i2", "応")]
    assert caller.told == []


def test_a_mark_stands_behind_its_audio() -> None:
    caller = Caller(under_test).attach()
    caller.marks["i1"] = b"a0-1"
    caller.downlink(delta(b"one"))
    caller.marks["i1"] = b""
    caller.downlink(delta(b"two"))
    assert caller.heard() == [framed(b"one"), b"(a0-1)", framed(b"two")]


def test_what_is_not_to_be_heard_is_taken_and_forgotten() -> None:
    caller = Caller(under_test).attach()
    caller.marks["i1"] = None
    assert caller.downlink(delta(b"one"))
    assert (caller.heard(), caller.flushes, caller.told) == ([], 0, [])


def test_before_there_is_a_carrier_audio_goes_nowhere_but_is_asked_about() -> None:
    caller = Caller(under_test)
    assert caller.downlink(delta(b"one"))
    assert caller.asked == [(3, "i1", "r1")]
    assert caller.heard() == []


def test_the_first_to_wait_has_it_written() -> None:
    caller = Caller(under_test).attach()
    for _ in range(3):
        caller.downlink(delta(b"one"))
    assert caller.flushes == 1
    caller.heard()
    caller.downlink(delta(b"two"))
    assert caller.flushes == 2


def test_a_mark_alone_is_written_too() -> None:
    caller = Caller(under_test, audio_limit=10).attach()
    caller.marks["i1"] = b"behind what was dropped"
    caller.downlink(delta(bytes(100)))
    assert caller.flushes == 1
    assert caller.outbox.dropped == 1
    assert caller.heard() == [b"(behind what was dropped)"]


def test_pieces_are_told_of_together_until_a_mark_is_due() -> None:
    caller = Caller(under_test, most_unmarked=400).attach()
    for number in range(9):
        if number == 4:
            caller.marks["i1"] = b"m"
        caller.downlink(delta(bytes([number]) * 100))
    told = [size for size, _, _ in caller.asked]
    assert told == [100, 300, 100, 400]  # asked about the fourth, nobody wanted a mark, so about the fifth as well
    heard = caller.heard()
    assert heard[:6] == [*(framed(bytes([number]) * 100) for number in range(5)), b"(m)"]
    assert heard[-1] == b"(m)"


def test_a_mark_has_the_next_pieces_wait_again() -> None:
    caller = Caller(under_test, most_unmarked=400).attach()
    caller.marks["i1"] = b"m"
    for _ in range(8):
        caller.downlink(delta(bytes(100)))
    assert [size for size, _, _ in caller.asked] == [100, 400]
    assert caller.heard().count(b"(m)") == 2


def test_what_is_sent_of_one_item_is_told_of_before_the_next_begins() -> None:
    caller = Caller(under_test, most_unmarked=400).attach()
    for item in ("i1", "i1", "i2"):
        caller.downlink(delta(b"one", item=item))
    caller.downlink(delta(b"three", item="i2", response="r2"))
    assert caller.asked == [(3, "i1", "r1"), (3, "i1", "r1"), (3, "i2", "r1"), (5, "i2", "r2")]


@pytest.mark.parametrize("tell", [lambda caller: caller.downlink.tell(), lambda caller: caller.downlink(b"{}")])
def test_nothing_is_untold_when_somebody_looks_or_something_else_comes(tell: Callable[[Caller], object]) -> None:
    caller = Caller(under_test, most_unmarked=400).attach()
    caller.downlink(delta(b"one"))
    caller.downlink(delta(b"seven"))
    assert [size for size, _, _ in caller.asked] == [3]
    caller.marks["i1"] = b"m"
    tell(caller)
    tell(caller)
    assert [size for size, _, _ in caller.asked] == [3, 5]
    assert caller.heard() == [framed(b"one"), framed(b"seven"), b"(m)"]
    caller.downlink(delta(b"two"))  # and the next piece is told of at once
    assert [size for size, _, _ in caller.asked] == [3, 5, 3]


def test_a_response_that_is_silenced_is_so_from_the_next_piece_on() -> None:
    caller = Caller(under_test, most_unmarked=400).attach()
    caller.downlink(delta(b"one"))
    caller.marks["i1"] = None
    caller.downlink(delta(b"two"))  # nobody was asked
    caller.downlink.tell()
    caller.downlink(delta(b"three"))
    caller.downlink(delta(b"four"))
    assert caller.heard() == [framed(b"one"), framed(b"two")]
    caller.downlink(delta(b"other", item="i2", response="r2"))
    assert caller.heard() == [framed(b"other")]


def test_a_carrier_that_takes_no_more_is_asked_for_nothing() -> None:
    caller = Caller(under_test).attach()
    caller.outbox.finish()
    caller.marks["i1"] = b"mark"
    assert caller.downlink(delta(b"one"))
    assert (caller.flushes, caller.outbox.overflowed) == (0, False)


def test_marks_that_nobody_reads_end_it() -> None:
    caller = Caller(under_test, control_limit=50).attach()
    caller.marks["i1"] = b"twenty bytes of mark"
    for _ in range(4):
        assert caller.downlink(delta(b"one"))
    assert caller.outbox.overflowed
    assert caller.heard().count(b"(twenty bytes of mark)") == 2
    assert caller.heard() == []


@pytest.mark.parametrize("takes", [True, False])
def test_other_messages_are_others_business(takes: bool) -> None:
    caller = Caller(under_test).attach()
    caller.takes = takes
    odd = [b'{"type":"response.created"}', b"", b"\xff\xfe", b'{"type":"response.output_audio.delta"}', word("朝")]
    odd.append(delta(b"one").replace(b'"delta":"', b'"delta":"\\'))
    for message in odd:
        assert caller.downlink(message) is takes
    assert caller.told == odd
    assert caller.heard() == []


RATES, ADDED = b'{"type":"rate_limits.updated","x":1}', b'{"type":"response.output_item.added"}'


def test_of_what_tells_nothing_nobody_is_told() -> None:
    caller = Caller(under_test, most_unmarked=400).attach()
    assert caller.downlink(RATES)
    assert caller.downlink(ADDED)
    assert not caller.downlink(b'{"type":"response.done"}')
    assert not caller.downlink(b'{"type": "rate_limits.updated"}')  # in another form it has to be read
    assert not caller.downlink(b'{"type":"rate_limits.updated')
    assert caller.told == [
        b'{"type":"response.done"}',
        b'{"type": "rate_limits.updated"}',
        b'{"type":"rate_limits.updated',
    ]


def test_of_the_first_behind_audio_somebody_is_told_to_mark_it() -> None:
    caller = Caller(under_test, most_unmarked=400).attach()
    caller.downlink(delta(bytes(100)))
    caller.downlink(delta(bytes(50)))
    assert not caller.downlink(word("朝"))  # between the pieces words come
    assert not caller.downlink(ADDED)
    assert caller.downlink(RATES)
    assert caller.told == [word("朝"), ADDED]
    assert [size for size, _, _ in caller.asked] == [100, 50]
    caller.downlink(delta(bytes(20)))  # asked about at once, since something else has come
    assert [size for size, _, _ in caller.asked] == [100, 50, 20]
    caller.downlink(delta(bytes(380)))  # and from that something on it counts
    assert [size for size, _, _ in caller.asked] == [100, 50, 20, 380]


def test_words_are_gathered_while_somebody_wants_them() -> None:
    caller, words = Caller(under_test).attach(), []
    caller.downlink(word("too early"))
    caller.downlink.gather(words)
    assert caller.downlink(word("朝"))
    assert caller.downlink(delta(b"one"))
    assert caller.downlink(word("九時"))
    assert not caller.downlink(b'{"type":"response.done"}')
    assert words == [word("朝"), word("九時")]
    caller.downlink.let_go(words)
    caller.downlink(word("too late"))
    assert caller.told == [word("too early"), b'{"type":"response.done"}', word("too late")]
    assert len(words) == 2


def test_only_who_gathers_can_let_go() -> None:
    caller, words, others = Caller(under_test).attach(), [], []
    caller.downlink.gather(words)
    caller.downlink.let_go(others)
    caller.downlink(word("mine"))
    caller.downlink.gather(others)
    caller.downlink.let_go(words)
    caller.downlink(word("theirs"))
    caller.downlink.let_go(None)
    caller.downlink.let_go(None)
    caller.downlink(word("nobody's"))
    assert (words, others) == ([word("mine")], [word("theirs")])
    assert caller.told == [word("nobody's")]


def test_what_says_all_of_it_stands_for_the_words() -> None:
    caller, words, others = Caller(under_test).attach(), [], []
    assert not caller.downlink.replace(words, b"all")
    caller.downlink.gather(words)
    caller.downlink(word("朝"))
    caller.downlink(word("九時"))
    assert not caller.downlink.replace(others, b"all")
    assert caller.downlink.replace(words, b"all")
    assert (words, others) == ([b"all"], [])
    assert not caller.downlink.replace(words, b"again")
    caller.downlink(word("more"))
    assert words == [b"all"]
    assert caller.told == [word("more")]


def test_only_so_many_words_wait_together() -> None:
    caller, words = Caller(under_test).attach(), []
    caller.downlink.gather(words)
    for number in range(MOST_WORDS + 2):
        caller.downlink(word(f"{number}"))
    assert len(words) == MOST_WORDS
    assert caller.told == [word(f"{MOST_WORDS}"), word(f"{MOST_WORDS + 1}")]


def test_masked_frames_will_do() -> None:
    caller = Caller(under_test)
    caller.downlink.attach(caller.outbox, True, lambda: None)
    caller.downlink(delta(b"one"))
    decoder = PythonDecoder(True, 1000)
    decoder.feed(caller.outbox.take(1000))
    assert decoder.pull() == (1, framed(b"one"))


def test_who_steers_may_fail() -> None:
    caller = Caller(under_test)

    def fail(*_: object) -> bytes:
        raise KeyError("i1")

    downlink = under_test.Downlink(b"[", b"]", b"(", b")", 0, fail, fail)
    downlink.attach(caller.outbox, False, lambda: None)
    for message in (delta(b"one"), b"other"):
        with pytest.raises(KeyError):
            downlink(message)
    assert caller.heard() == []


def test_a_mark_that_is_no_bytes_is_an_error() -> None:
    caller = Caller(under_test).attach()
    caller.marks["i1"] = "text"  # type: ignore[assignment]  # on purpose
    with pytest.raises(TypeError):
        caller.downlink(delta(b"one"))
