"""What is made of two readings: each relay's own cost, and what became of the cores that they share."""

import pytest

from tests.bench.machine import CoreTime, Usage
from tests.bench.runs import Reading, spent


def usage(cpu: float, at: float = 0.0, system: float = 0.0, threads: int = 1) -> Usage:
    return Usage(at, cpu, system, 0.0, threads)


BEFORE = Reading([usage(1.0), usage(2.0)], [usage(3.0), usage(4.0)], CoreTime(50.0, 0.5))
AFTER = Reading(
    [usage(2.0, 10.0, 0.4), usage(4.0, 10.0, 0.5, threads=60)],
    [usage(4.0), usage(6.0)],
    CoreTime(53.5, 0.6),
)


def test_each_relay_has_its_own_cost() -> None:
    floor, callbot = spent(BEFORE, AFTER, calls=60)
    assert floor["cpu_s_per_call_min"] == pytest.approx(0.1)
    assert callbot["cpu_s_per_call_min"] == pytest.approx(0.2)
    assert (floor["core_share"], callbot["core_share"]) == pytest.approx((0.1, 0.2))
    assert (floor["system_share"], callbot["system_share"]) == pytest.approx((0.4, 0.25))
    assert (floor["threads"], callbot["threads"]) == (1, 60)


def test_neither_counts_as_others_of_the_other_and_real_others_do() -> None:
    for row in spent(BEFORE, AFTER, calls=60):
        assert row["others_share"] == pytest.approx(0.05)
        assert row["stolen_share"] == pytest.approx(0.01)
        assert row["at_once"] == 2


def test_of_the_rigs_core_all_rigs_are_told() -> None:
    assert [row["rig_share"] for row in spent(BEFORE, AFTER, calls=60)] == pytest.approx([0.3, 0.3])


def test_one_relay_by_itself_counts_the_same_way() -> None:
    before = Reading(BEFORE.relays[:1], BEFORE.rigs[:1], BEFORE.core)
    (row,) = spent(before, Reading(AFTER.relays[:1], AFTER.rigs[:1], AFTER.core), calls=60)
    assert row["others_share"] == pytest.approx(0.25)
    assert row["rig_share"] == pytest.approx(0.1)
    assert row["at_once"] == 1


def test_ticks_that_tell_less_than_the_exact_clock_are_no_negative_others() -> None:
    after = Reading(AFTER.relays, AFTER.rigs, CoreTime(52.9, 0.5))
    assert spent(BEFORE, after, calls=60)[0]["others_share"] == 0.0
