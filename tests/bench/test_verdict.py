"""What CI's form of the bench lets pass, and what not."""

import pytest

from tests.bench import verdict
from tests.bench.samples import report, row, spread, start, turn


def judged(**changed: object) -> list[str]:
    return verdict.complaints(report(**changed))


def test_a_run_in_which_all_is_well_passes() -> None:
    assert judged() == []


def test_without_a_compiler_the_rest_is_judged() -> None:
    assert judged(capacity=[]) == []
    assert judged(capacity=[], startup=[start("twiml", 7.0)]) != []


@pytest.mark.parametrize(("codec", "most"), [("compiled", 2.0), ("Python", 4.0)])
def test_cpu_is_judged_by_the_floor_of_the_same_run_and_by_the_codec(codec: str, most: float) -> None:
    assert judged(codec=codec, capacity=[row("floor"), row(ratio=most - 0.1)]) == []
    (complaint,) = judged(codec=codec, capacity=[row("floor"), row(ratio=most + 0.1)])
    assert complaint.startswith(f"realtime, 50 calls: {most + 0.1:.1f} times the floor's CPU; {most:g} at most")


@pytest.mark.parametrize("what", ["all_lost", "lost_before_first", "cut_off"])
def test_whatever_is_lost_fails_unless_the_floor_lost_something_too(what: str) -> None:
    assert len(judged(capacity=[row("floor"), row(**{what: 1})])) == 1
    assert judged(capacity=[row("floor", all_lost=3), row(**{what: 1})]) == []


@pytest.mark.parametrize("way", ["up_ms", "down_ms"])
def test_a_tail_fails_when_it_can_be_heard_and_is_far_from_the_floors(way: str) -> None:
    def tails(ours: float, least: float) -> list[str]:
        return judged(capacity=[row("floor", **{way: spread(p99=least)}), row(**{way: spread(p99=ours)})])

    assert tails(19.0, 0.1) == []
    assert tails(30.0, 4.0) == []
    assert len(tails(30.0, 0.1)) == 1


@pytest.mark.parametrize("relay", ["floor", "callbot"])
def test_no_tail_is_judged_when_others_used_the_core_meanwhile(relay: str) -> None:
    rows = {"floor": row("floor"), "callbot": row(up_ms=spread(p99=80.0))}
    assert len(judged(capacity=list(rows.values()))) == 1
    rows[relay]["others_share"] = 0.3
    assert judged(capacity=list(rows.values())) == []


def test_each_size_is_judged_beside_its_own_floor() -> None:
    rows = [row("floor", "amivoice"), row("callbot", "amivoice"), row("floor", calls=200), row(calls=200, all_lost=2)]
    (complaint,) = judged(capacity=rows)
    assert complaint.startswith("realtime, 200 calls: 2 pieces of audio lost")


def test_with_two_floors_either_may_speak_for_the_machine() -> None:
    def judged_between(first: dict[str, object], second: dict[str, object]) -> list[str]:
        return judged(capacity=[row("floor", **first), row(cut_off=1, up_ms=spread(p99=80.0)), row("floor", **second)])

    assert len(judged_between({}, {})) == 2
    for busy in ({"all_lost": 3, "others_share": 0.3}, {"all_lost": 3, "up_ms": spread(p99=9.0)}):
        assert judged_between(busy, {}) == judged_between({}, busy) == []


def test_a_floor_of_another_round_says_nothing() -> None:
    assert len(judged(capacity=[row("floor"), row(all_lost=2), row("floor", all_lost=3, round=1)])) == 1


def test_first_words_must_come_well_before_the_whole_answer() -> None:
    whole = turn("the whole answer first", 4000.0)
    assert verdict.turns([turn("guessed", 1900.0), whole]) == []
    (complaint,) = verdict.turns([turn("guessed", 2100.0), whole])
    assert complaint == "guessed: first words after 2100 ms; 4000 ms for the whole answer"


def test_a_kind_of_turn_that_never_was_is_no_success() -> None:
    none = {**turn("guessed", 0.0), "from_final_ms": {}}
    assert verdict.turns([none, turn("the whole answer first", 4000.0)]) == ["guessed: there was no such turn"]


def test_starts_and_messages_are_judged_by_what_is_installed() -> None:
    assert len(judged(startup=[start("alone"), start("twiml", 4.1)])) == 1
    assert judged(startup=[start("alone"), start("twiml", 3.9)]) == []
    assert len(judged(echo=[{"server": "pump", "ratio": 0.7}, {"server": "as installed"}])) == 1
