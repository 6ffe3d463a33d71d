"""What was measured, as tables for people: one for each topic. Pure; the figures come from `suite`."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tests.bench import abuse, capacity, startup, turns, verdict, webhooks
from tests.bench.doubts import doubts, load_doubt, scheduling_doubt
from tests.bench.table import Column, table

Row = Mapping[str, Any]

_ECHO: Final = (
    Column("server", "server"), Column("messages", "messages"),
    Column("CPU µs/message", "cpu_us_per_message", 1), Column("× as installed", "ratio", 2),
)  # fmt: skip


def settled(rows: Iterable[Row]) -> list[Row]:
    """One row for each engine, number of calls and relay: those of the round in the middle by callbot's ratio. Where
    the floor ran twice in it, the second.
    """
    taken = list(rows)
    ratios: dict[tuple[str, int], list[tuple[float, int]]] = defaultdict(list)
    for row in taken:
        if row["relay"] == "callbot":
            ratios[row["engine"], row["calls"]].append((row["ratio"], row["round"]))
    middle = {size: sorted(found)[len(found) // 2][1] for size, found in ratios.items()}
    shown = [row for row in taken if row["round"] == middle[row["engine"], row["calls"]]]
    return list({(row["engine"], row["calls"], row["relay"]): row for row in shown}.values())


def machine_in_words(report: Row) -> str:
    told = report["machine"]
    python = f"Python {told['python']}, {report['codec']} codec"
    return f"{told['processor']}, {told['cores']} cores, {told['memory']}, Linux {told['kernel']}, {python}"


def all_doubts(report: Row) -> list[str]:
    """Why these figures should not be taken for the machine's own; empty when it was quiet."""
    told = report["machine"]
    found = load_doubt(told["load"], told["cores"])
    rows = [*report.get("capacity", []), *report.get("abuse", [])]
    return [*found, *(scheduling_doubt(bool(report["first"])) if rows else []), *doubts(rows)]


def text(report: Row) -> str:
    """All of it, for a terminal."""
    parts = [f"{report['form']} form, {report['at']}, {report['seconds']} s: {machine_in_words(report)}"]
    parts += [f"not measured: {missing}" for missing in report["missing"]]
    if rows := report.get("capacity"):
        shown = f"{table(capacity.COLUMNS, settled(rows))}\n{capacity.arrangement(rows)}"
        parts.append(_titled("Calls on one core (vendors over TLS)", shown))
        parts += [f"NOT AS IT SHOULD BE: {line}" for line in verdict.calls(rows, report["codec"])]
    if rows := report.get("abuse"):
        said = [f"{row['engine']}: {complaint}" for row in rows for complaint in row["complaints"]]
        parts.append(_titled("With bad peers among them", table((Column("engine", "engine"), *abuse.COLUMNS), rows)))
        parts += [f"DISTURBED {line}" for line in said] or [
            "the good calls noticed nothing, and every bad one was ended"
        ]
    parts.append(_titled("Turns", "\n".join([table(turns.COLUMNS, report["turns"]["rows"]), *_turn_lines(report)])))
    parts.append(_titled("Starts, to the first answer", table(startup.COLUMNS, report["startup"])))
    if rows := report.get("webhooks"):
        rate = f"Webhooks when warm, {webhooks.RATE:g} a second"
        parts.append(_titled(rate, table(webhooks.COLUMNS, rows)))
    if rows := report.get("echo"):
        parts.append(_titled("What a message costs", table(_ECHO, rows)))
    return "\n\n".join([*parts, _trust(report)])


def _turn_lines(report: Row) -> list[str]:
    told = report["turns"]
    lines = [
        f"between two sentences of an answer, ms: {_spread(told['between_sentences_ms'])}",
        f"realtime, the model's first sound → the carrier's, ms: {_spread(told['realtime_first_media_ms'])}",
    ]
    for row in settled(report.get("capacity", [])):
        if row["relay"] == "callbot" and row["engine"] == "realtime":
            lines.append(f"the same while {row['calls']} calls run, ms: {_spread(row['first_sound_ms'])}")
    return lines


def _spread(values: Mapping[str, float]) -> str:
    told = [f"{name} {values[name]:.1f}" for name in ("p50", "p99", "max") if name in values and values.get("n", 1)]
    return ", ".join(told) or "nothing measured"


def _trust(report: Row) -> str:
    rows = report.get("capacity", [])
    shares = [float(row["others_share"]) for row in rows]
    stolen = [float(row["stolen_share"]) for row in rows]
    lines = [f"Beside the bench: load {report['machine']['load']} before it"]
    if rows:
        lines[0] += (
            f"; on the relay's core other processes {statistics.mean(shares):.1%} (at most {max(shares):.1%}), "
            f"stolen {max(stolen):.1%} at most"
        )
    found = all_doubts(report)
    if found:
        lines.append("THESE FIGURES ARE NOT TO BE TRUSTED; run it again when the machine is quiet:")
        lines += [f"  - {doubt}" for doubt in found]
    return "\n".join(lines)


def _titled(title: str, body: str) -> str:
    return f"== {title}\n{body}"


def webhook_p99(rows: Sequence[Row], store: str) -> float | None:
    """The slowest webhook's p99 (ms) with this store; None when it was not measured."""
    return max((float(row["p99"]) for row in rows if row["store"] == store), default=None)
