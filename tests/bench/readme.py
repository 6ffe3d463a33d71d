"""The README's section of figures, written by the bench and by nobody else: a report as the text between two marks."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.bench import verdict
from tests.bench.capacity import arrangement
from tests.bench.report import all_doubts, machine_in_words, settled, webhook_p99
from tests.bench.table import Column, table

Row = Mapping[str, Any]

BEGIN: Final = "<!-- figures: written by `python -m tests.bench --readme` -->"
END: Final = "<!-- end of the figures -->"

_CALLS: Final = (
    Column("engine", "engine"), Column("calls", "calls"), Column("relay", "relay"),
    Column("CPU s a call-minute", "cpu_s_per_call_min", 3), Column("× floor", "ratio", 2),
    Column("up p50 ms", "up_ms.p50", 2), Column("p99", "up_ms.p99", 2),
    Column("down p50 ms", "down_ms.p50", 2), Column("p99", "down_ms.p99", 2),
    Column("barge-in p99", "barge_in_ms.p99", 2), Column("lost", "all_lost"),
    Column("before the first", "lost_before_first"), Column("calls cut off", "cut_off"),
    Column("MiB/call", "mib_per_call", 2), Column("set-up p99 ms", "late_setup_ms.p99", 1),
)  # fmt: skip
_SERVICE: Final = "stream service"
_OTHER: Final = (Column("what", "what"), Column("measured", "measured"))


class MarksMissingError(Exception):
    """The text has no place for the figures."""


def section(report: Row, plot: str) -> str:
    """What stands between the marks. `plot` is the picture's path as the README sees it."""
    doubts, bad = all_doubts(report), verdict.calls(report["capacity"], report["codec"])
    how = f"{arrangement(report['capacity'])}, and the vendors were reached over TLS"
    parts = [
        f"Measured {report['at'][:10]} ({report['form']} form) on {machine_in_words(report)}; {how}.",
        table(_CALLS, settled(report["capacity"])),
        *([f"**Not as it should be**: {'; '.join(bad)}."] if bad else []),
        f"![added latency against the number of calls]({plot})",
        table(_OTHER, list(_others(report))),
        f"Doubtful, because {'; '.join(doubts)}." if doubts else "Nothing else ran on the machine that would count.",
    ]
    return "\n\n".join(parts)


def with_section(text: str, new: str) -> str:
    """This text with the part between the marks exchanged. Raises MarksMissingError."""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise MarksMissingError(f"{BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def _others(report: Row) -> Iterator[Row]:
    for row in report["turns"]["rows"]:
        if took := row["from_final_ms"]:
            ours = row["ours_ms"]
            measured = f"p50 {took['p50']:.0f} ms; ours of it {ours['p50']:.0f} (p95 {ours['p95']:.0f})"
            yield _told(f"{row['name']}: recognised → first words on their way", measured)
    if gaps := report["turns"]["between_sentences_ms"]:
        yield _told("between two sentences of an answer", f"p50 {gaps['p50']:.0f} ms, max {gaps['max']:.0f}")
    for row in settled(report["capacity"]):
        if row["relay"] == "callbot" and row["engine"] == "realtime":
            sound = row["first_sound_ms"]
            what = f"realtime, {row['calls']} calls: the model's first sound → on its way to the caller"
            yield _told(what, f"p50 {sound['p50']:.1f} ms, p99 {sound['p99']:.1f}")
    for store in ("sqlite", "firestore"):
        starts = [row["least_ms"] for row in report["startup"] if _is_function(row, store)]
        if starts:
            yield _told(f"a function's start to its first answer, {store}", f"{min(starts)} to {max(starts)} ms")
    for row in report["startup"]:
        if row["process"] == _SERVICE:
            yield _told("the stream service's start to its first answer", f"{row['least_ms']} ms")
    for store in ("sqlite", "firestore"):
        if (p99 := webhook_p99(report.get("webhooks", []), store)) is not None:
            yield _told(f"a warm webhook, 50 a second, {store}", f"p99 {p99:.0f} ms")


def _is_function(row: Row, store: str) -> bool:
    return bool(row["store"] == store and row["process"] != _SERVICE)


def _told(what: str, measured: str) -> Row:
    return {"what": what, "measured": measured}
