"""Whatever is sent, reached and cleared, in whatever order: what must always hold, and that both reckon the same."""

from typing import Any

from both_codecs import Codec, compiled_codec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream_service.playout import PythonPlayout


class AnyPlayout(RuleBasedStateMachine):
    """One that is asked at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.playout = PythonPlayout(1000)
        self.now = 0.0
        self.marks: list[str] = []
        self.heard: dict[str, int] = {}
        self.cut: set[str] = set()

    @rule(item=st.sampled_from("abc"), size=st.integers(0, 40_000))
    def send(self, item: str, size: int) -> None:
        if item not in self.cut:  # of a response that was cut no more is sent
            self.marks.append(self.playout.sent(item, size, self.now)[0])

    @rule()
    def no_more_comes_for_now(self) -> None:
        self.marks.append(self.playout.last_mark())
        assert self.playout.last_mark() == ""

    @rule(seconds=st.floats(0, 5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data())
    def mark_returns(self, data: st.DataObject) -> None:
        if self.marks:
            all_played = self.playout.reached(data.draw(st.sampled_from(self.marks)), self.now)
            self.heard.clear()  # the clock may have run ahead
            assert not (all_played and self.playout.audible(self.now))

    @rule()
    def clear(self) -> None:
        for item, heard in self.playout.clear(self.now):
            assert item not in self.cut
            assert 0 <= heard < self.playout.sent_ms(item)
            self.cut.add(item)
        assert not self.playout.audible(self.now)

    @invariant()
    def never_more_heard_than_sent_and_never_less_than_before(self) -> None:
        for item in "abc":
            heard = self.playout.heard_ms(item, self.now)
            assert self.heard.get(item, 0) <= heard <= self.playout.sent_ms(item)
            self.heard[item] = heard


TestAnyPlayout = AnyPlayout.TestCase


odd_marks = st.text(max_size=6) | st.sampled_from(["a0-01", "a0-+1", "a0-1 ", "a1-0", "a0-1\0", "\ud800"])
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["sent", "passes"]), st.sampled_from("abc"), st.integers(0, 40_000)),
        st.tuples(st.sampled_from(["last_mark", "clear"])),
        st.tuples(st.just("reached"), st.integers(0, 60) | odd_marks),
        st.tuples(st.just("returns"), st.integers(0, 60) | st.binary(max_size=8)),
        st.tuples(st.sampled_from(["drop", "forget"]), st.sampled_from("abc")),
        st.tuples(st.just("wait"), st.floats(0, 5)),
    ),
    max_size=60,
)


@given(steps)
@settings(max_examples=300, deadline=None)
def test_the_compiled_one_reckons_the_same(script: list[tuple[Any, ...]]) -> None:
    compiled, now = compiled_codec(), 100.0
    both = [how.Playout(1000, lambda: now) for how in (Codec(), compiled)]
    told: list[list[Any]] = [[], []]
    for playout, heard in zip(both, told, strict=True):
        playout.tell(lambda *first, heard=heard: heard.append(first), heard.append)
    marks = [""]
    for what, *with_ in script:
        if what == "wait":
            now += with_[0]
            continue
        answers = [carried_out(playout, what, with_, now, marks) for playout in both]
        assert answers[0] == answers[1]
        marks += marks_in(answers[0])
        assert told[0] == told[1]
        assert state(both[0], now) == state(both[1], now)


def carried_out(playout: Any, what: str, with_: list[Any], now: float, marks: list[str]) -> Any:
    match what, with_:
        case "sent", [item, size]:
            return playout.sent(item, size, now)
        case "passes", [item, size]:
            return playout.passes(size, item, item)  # a response of its own
        case "reached", [which]:
            return playout.reached(which if isinstance(which, str) else marks[which % len(marks)], now)
        case "returns", [which]:
            name = which if isinstance(which, bytes) else marks[which % len(marks)].encode()
            return playout.mark_returns(b'{"event":"mark","mark":{"name":"%s"}}' % name)
        case "clear", []:
            return playout.clear(now)
    return getattr(playout, what)(*with_)


def marks_in(answer: Any) -> list[str]:
    """The mark to be sent, if there is one in what was answered."""
    found = answer[0] if isinstance(answer, tuple) else answer.decode() if isinstance(answer, bytes) else answer
    return [found] if isinstance(found, str) and found else []


def state(playout: Any, now: float) -> tuple[Any, ...]:
    heard = [(playout.sent_ms(item), playout.heard_ms(item, at)) for item in "abcd" for at in (now, now + 0.7)]
    flags = (playout.all_played, playout.audible(now), playout.audible(now + 2.5), playout.just_sounded)
    return (*heard, *flags, playout.ends_at, playout.sounding)
