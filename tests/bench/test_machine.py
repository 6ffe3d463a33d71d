"""What is known of a core: for how long it was busy, and that who was sent there may leave again."""

import os
from pathlib import Path

import pytest

from tests.bench import machine


def test_a_core_was_busy_while_it_was_not_idle_whatever_the_ticks_have_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    monkeypatch.setattr(machine, "_TICKS", 100)
    readings = []
    for now, user, idle, waiting, stolen in ((10.0, 5, 500, 20, 7), (14.0, 6, 700, 30, 17)):
        monkeypatch.setattr(machine.time, "monotonic", lambda now=now: now)
        line = f"cpu1 {user} 0 0 {idle} {waiting} 3 2 {stolen} 0 0"
        (tmp_path / "stat").write_text(f"cpu 9 9 9 9 9 9 9 9 9 9\ncpu0 8 8 8 8 8 8 8 8 8 8\n{line}\n")
        readings.append(machine.core_time(1))
    before, after = readings
    assert after.busy - before.busy == pytest.approx(4.0 - 2.0 - 0.1 - 0.1)
    assert after.stolen - before.stolen == pytest.approx(0.1)
    with pytest.raises(ValueError, match="no core 2"):
        machine.core_time(2)


def test_who_was_confined_to_a_core_may_go_everywhere_again() -> None:
    before = os.sched_getaffinity(0)
    with machine.confined(machine.FIRST_CORE):
        assert os.sched_getaffinity(0) == {machine.FIRST_CORE}
    assert os.sched_getaffinity(0) == before
