"""What makes figures doubtful, in plain words: who else used the machine while they were taken. Decided from rows."""

from collections.abc import Iterable, Mapping
from typing import Any

OTHERS, STOLEN = 0.05, 0.01  # of the relay's core: somebody else's work, and time that the hypervisor kept
RIG_LATE_MS = 2.0  # p99 of how late the rig itself was: it would count as the relay's
RIG_SHARE = 0.85  # of the rig's core: it is at its own end then


def doubts(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line for each kind of disturbance in these rows of `capacity`, with the worst case of it."""
    found: list[str] = []
    taken = list(rows)
    for path, most, words in (
        ("others_share", OTHERS, "other processes had {:.0%} of the relay's core"),
        ("stolen_share", STOLEN, "the hypervisor kept {:.1%} of the relay's core"),
        ("rig_share", RIG_SHARE, "the rig itself needed {:.0%} of its core"),
        ("rig_late_p99", RIG_LATE_MS, "the rig itself was {:.1f} ms late (p99)"),
    ):
        over = [(value, row) for row in taken if (value := _value(row, path)) > most]
        if over:
            worst, row = max(over, key=lambda pair: pair[0])
            where = f"worst with {row.get('relay', 'callbot')}, {row.get('engine')}, {row.get('calls')} calls"
            found.append(f"{words.format(worst)} ({len(over)} of {len(taken)} runs; {where})")
    return found


def load_doubt(load: str, cores: str) -> list[str]:
    """The machine's load (of the last minute, first in `load`) before anything was measured."""
    before = float(load.split()[0])
    return [f"the machine's load was {before:.1f} before anything was measured"] if before > int(cores) / 2 else []


def scheduling_doubt(first: bool) -> list[str]:
    """`first`: whether relay and rig were put before everybody else's processes."""
    return [] if first else ["no right to real-time scheduling here (chrt): other processes delay what is measured"]


def _value(row: Mapping[str, Any], path: str) -> float:
    if path == "rig_late_p99":
        return float(row.get("rig_late_ms", {}).get("p99", 0.0))
    return float(row.get(path, 0.0))
