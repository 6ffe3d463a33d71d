"""What the small form of the bench must show on any machine: ratios between things of the same run, with wide margins.

No bound is in seconds alone: a slow machine is slow for both sides of a ratio. Tails are judged only where nothing else
disturbed them: who else ran hits one side of a ratio and not the other.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.bench.doubts import doubts

Row = Mapping[str, Any]

MOST_CPU: Final = 4.0  # × the floor's; it is 1.2 to 1.6 on a quiet machine
MOST_TAIL: Final = 10.0  # × the floor's p99, and only
HEARD_MS: Final = 20.0  # above this
MOST_OF_WHOLE: Final = 0.5  # first words, × waiting for the whole answer; about 0.1 and 0.25
MOST_START: Final = 4.0  # × the processor time that its framework needs alone; about 1.6
MOST_MESSAGE: Final = 0.6  # × flask-sock's cost of a message; about 0.1, and 0.3 without a compiler


def complaints(report: Row) -> list[str]:
    """What is far from what it should be; empty when all is well."""
    return [
        *calls(report["capacity"]),
        *turns(report["turns"]["rows"]),
        *starts(report["startup"]),
        *messages(report["echo"]),
    ]


def calls(rows: Iterable[Row]) -> list[str]:
    """callbot's calls beside those of the floor with the same engine and as many calls."""
    taken = list(rows)
    floors = {(row["engine"], row["calls"]): row for row in taken if row["relay"] == "floor"}
    found = []
    for row in taken:
        if row["relay"] != "callbot":
            continue
        what, floor = f"{row['engine']}, {row['calls']} calls", floors[row["engine"], row["calls"]]
        disturbed = doubts([floor, row])
        if row["ratio"] > MOST_CPU:
            found.append(f"{what}: {row['ratio']:.1f} times the floor's CPU; {MOST_CPU:g} at most")
        # A machine so busy that the floor loses something says nothing about callbot.
        if not floor["all_lost"] and (row["all_lost"] or row["lost_before_first"] or row["cut_off"]):
            found.append(
                f"{what}: {row['all_lost']} pieces of audio lost, {row['lost_before_first']} before the first, "
                f"{row['cut_off']} calls cut off"
            )
        for way in ("up_ms", "down_ms"):
            ours, least = row[way]["p99"], max(0.0, floor[way]["p99"])
            if row[way]["n"] and not disturbed and ours > HEARD_MS and ours > MOST_TAIL * least:
                found.append(f"{what}: p99 {ours:.1f} ms {way.removesuffix('_ms')}, the floor's {least:.2f} ms")
    return found


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
