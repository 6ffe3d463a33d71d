"""What the small form of the bench must show on any machine: ratios between things of the same run, with wide margins.

No bound is in seconds alone: a slow machine is slow for both sides of a ratio. Tails are judged only where nothing else
disturbed them: who else ran hits one side of a ratio and not the other.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.bench.doubts import doubts

Row = Mapping[str, Any]

# × the floor's, side by side: with the compiled codec 1.2 to 1.4 however busy the machine is, without it 3.2.
MOST_CPU: Final[Mapping[str, float]] = {"compiled": 2.0, "Python": 4.0}
MOST_TAIL: Final = 10.0  # × the floor's p99, and only
HEARD_MS: Final = 20.0  # above this
MOST_OF_WHOLE: Final = 0.5  # first words, × waiting for the whole answer; about 0.1 and 0.25
MOST_START: Final = 4.0  # × the processor time that its framework needs alone; about 1.6
MOST_MESSAGE: Final = 0.6  # × flask-sock's cost of a message; about 0.1, and 0.3 without a compiler


def complaints(report: Row) -> list[str]:
    """What is far from what it should be; empty when all is well."""
    return [
        *calls(report["capacity"], report["codec"]),
        *turns(report["turns"]["rows"]),
        *starts(report["startup"]),
        *messages(report["echo"]),
    ]


def calls(rows: Iterable[Row], codec: str) -> list[str]:
    """callbot's calls beside those of the floor with the same engine and as many calls, in the same round."""
    taken, most_cpu = list(rows), MOST_CPU[codec]
    found = []
    for row in taken:
        if row["relay"] != "callbot":
            continue
        what, floors = f"{row['engine']}, {row['calls']} calls", [other for other in taken if _is_floor_of(row, other)]
        disturbed = doubts([*floors, row])
        if row["ratio"] > most_cpu:
            found.append(f"{what}: {row['ratio']:.1f} times the floor's CPU; {most_cpu:g} at most")
        # A machine so busy that the floor loses something says nothing about callbot.
        floor_lost = any(floor["all_lost"] for floor in floors)
        if not floor_lost and (row["all_lost"] or row["lost_before_first"] or row["cut_off"]):
            found.append(
                f"{what}: {row['all_lost']} pieces of audio lost, {row['lost_before_first']} before the first, "
                f"{row['cut_off']} calls cut off"
            )
        for way in ("up_ms", "down_ms"):
            ours, least = row[way]["p99"], max(0.0, *(floor[way]["p99"] for floor in floors))
            if row[way]["n"] and not disturbed and ours > HEARD_MS and ours > MOST_TAIL * least:
                found.append(f"{what}: p99 {ours:.1f} ms {way.removesuffix('_ms')}, the floor's {least:.2f} ms")
    return found


def _is_floor_of(row: Row, other: Row) -> bool:
    same = all(other[key] == row[key] for key in ("engine", "calls", "round"))
    return same and bool(other["relay"] == "floor")


def turns(rows: Iterable[Row]) -> list[str]:
    """First words of engine amivoice beside an answer that is waited for."""
    median = {row["name"]: row["from_final_ms"].get("p50") for row in rows}
    (whole,) = (value for name, value in median.items() if "whole" in name)
    found = []
    for name, value in median.items():
        if "whole" in name:
            continue
        if value is None:
            found.append(f"{name}: there was no such turn")
        elif value > MOST_OF_WHOLE * whole:
            found.append(f"{name}: first words after {value:.0f} ms; {whole:.0f} ms for the whole answer")
    return found


def starts(rows: Iterable[Row]) -> list[str]:
    """Starts beside those of the frameworks alone."""
    return [
        f"{row['process']}: {row['ratio']:.1f} times the processor time of its framework alone; {MOST_START:g} at most"
        for row in rows
        if row.get("ratio", 0.0) > MOST_START
    ]


def messages(rows: Iterable[Row]) -> list[str]:
    """What a message costs on the pump, beside flask-sock."""
    return [
        f"{row['server']}: {row['ratio']:.2f} times what a message costs as installed; {MOST_MESSAGE:g} at most"
        for row in rows
        if row.get("ratio", 0.0) > MOST_MESSAGE
    ]
