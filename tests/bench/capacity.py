"""`python -m tests.bench.capacity`: how many calls one core carries, and what each of them costs.

    python -m tests.bench.capacity --calls 50,200,400 --engine realtime,amivoice --tls --json capacity.json

The relays have core 0 and the rigs, which play callers and vendors, core 1. The floor and the whole product run at the
same time, so that whatever else the machine does meets both; compare by the ratio. Calls that are too many for that are
run on the floor, on the product and on the floor again. Needs Linux, two cores, a C compiler and OpenSSL's headers.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.bench import machine
from tests.bench.certificate import write_certificate
from tests.bench.relays import AsInstalled, Floor, Product, Relay
from tests.bench.runs import Plan, measure
from tests.bench.table import Column, table

# With so many calls floor and product take 0.5 to 0.7 of a core together; with twice as many, more than there is.
MOST_AT_ONCE: Final = 200
ADDED_MS, SETUP_MS = 20.0, 100.0  # p99: what nobody hears

COLUMNS = (
    Column("engine", "engine"), Column("relay", "relay"), Column("calls", "calls"),
    Column("CPU s/call-min", "cpu_s_per_call_min", 4), Column("× floor", "ratio", 2),
    Column("up p50", "up_ms.p50", 2), Column("p99", "up_ms.p99", 2),
    Column("down p50", "down_ms.p50", 2), Column("p99", "down_ms.p99", 2),
    Column("barge-in p99", "barge_in_ms.p99", 2),
    Column("lost", "all_lost"), Column("before 1st", "lost_before_first"), Column("cut off", "cut_off"),
    Column("MiB/call", "mib_per_call", 3), Column("threads", "threads"),
    Column("set-up p50", "late_setup_ms.p50", 1), Column("p99", "late_setup_ms.p99", 1),
    Column("core", "core_share", 2), Column("others", "others_share", 2), Column("stolen", "stolen_share", 3),
    Column("rig", "rig_share", 2), Column("rig late p99", "rig_late_ms.p99", 2),
)  # fmt: skip


def is_good(row: dict[str, Any]) -> bool:
    """Nothing lost, nobody cut off, and nothing added that could be heard."""
    down = row["down_ms"]["p99"] if row["down_ms"]["n"] else 0.0
    kept = not (row["all_lost"] or row["lost_before_first"] or row["cut_off"])
    return kept and row["up_ms"]["p99"] < ADDED_MS and down < ADDED_MS and row["late_setup_ms"]["p99"] < SETUP_MS


def compare(plan: Plan, rounds: int, as_installed_up_to: int = 0) -> Iterator[dict[str, Any]]:
    """The floor and the product in as many rounds, each row with its ratio to the floor's cost in the same round.

    So many calls at most are also given to the stack as installed, which carries few and is measured by itself.
    """
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="callbot-bench-") as folder:
            product = Product(plan.engine, Path(folder), plan.calls)
            heats: list[list[Relay]] = [[Floor(plan.engine), product]]
            if plan.calls > MOST_AT_ONCE:
                heats = [[Floor(plan.engine)], [product], [Floor(plan.engine)]]
            if plan.calls <= as_installed_up_to:
                heats.append([AsInstalled(plan.engine, plan.calls)])
            rows = with_ratios(measure(heats, plan))
        for row in rows:
            good = {"good": is_good(row), "log_lines": dict(product.log_events)} if row["relay"] == "callbot" else {}
            yield {**row, "round": number, **good}


def with_ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """These rows of one round, each with the ratio of its cost to the floor's; to the mean of two floors."""
    floor = statistics.mean(row["cpu_s_per_call_min"] for row in rows if row["relay"] == "floor")
    return [{**row, "ratio": row["cpu_s_per_call_min"] / max(1e-9, floor)} for row in rows]


def arrangement(rows: Iterable[Mapping[str, Any]]) -> str:
    """Who had the relays' core while these rows were measured, in words."""
    taken = list(rows)
    together = {row["calls"] for row in taken if row.get("at_once", 1) > 1}
    floors = Counter((row["calls"], row["engine"], row["round"]) for row in taken if row["relay"] == "floor")
    between = {calls for (calls, *_), runs in floors.items() if runs > 1}
    parts = []
    if together:
        parts.append(f"with up to {max(together)} calls each, floor and callbot at once, waiting for each other")
    if between:
        parts.append(f"with {min(between)}, the floor before callbot and behind it (the ratio is to their mean)")
    return "; ".join(["relays had a core of their own", *parts]) if parts else "the relay had a core of its own"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.capacity", description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", default="50,200,400", help="numbers of calls, comma-separated")
    parser.add_argument("--engine", default="realtime,amivoice", help="realtime, amivoice or both, comma-separated")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each run is measured")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tls", action="store_true", help="the vendors over TLS, as in production")
    parser.add_argument(
        "--turns", action="store_true", help="amivoice: every 8 s an answer by the chat model and <Say>"
    )
    parser.add_argument(
        "--as-installed", type=int, default=0, metavar="CALLS",
        help="up to so many calls, measure flask-sock and websocket-client as they come as well",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="write all figures here")
    given = parser.parse_args(words)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="callbot-bench-") as folder:
        certificate = write_certificate(Path(folder)) if given.tls else None
        for engine in given.engine.split(","):
            for calls in map(int, given.calls.split(",")):
                plan = Plan(engine, calls, given.seconds, certificate, turns=given.turns)
                for row in compare(plan, given.rounds, given.as_installed):
                    rows.append(row)
                    sys.stderr.write(f"{row['engine']} {row['relay']} {calls}: {row['cpu_s_per_call_min']:.4f}\n")
    sys.stdout.write(f"{table(COLUMNS, rows)}\n{arrangement(rows)}\n")
    if given.json:
        report = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "tls": given.tls, "turns": given.turns}
        given.json.write_text(json.dumps({**report, "machine": machine.description(), "rows": rows}, indent=1))
    return 0 if all(row.get("good", True) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
