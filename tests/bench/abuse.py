"""`python -m tests.bench.abuse`: some bad peers among many good ones, and what the good ones notice of it.

    python -m tests.bench.abuse --calls 200 --engine realtime --tls

The same number of calls is run twice on the whole product: with everybody good, and with one call of each bad kind,
from the moment on when the measuring begins. Nothing of the bad calls is counted.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.capacity import ADDED_MS, Plan, measure
from tests.bench.certificate import write_certificate
from tests.bench.relays import Product, Relay
from tests.bench.rig_process import Rig
from tests.bench.table import Column, table

# What each is, is said in rig/rig.c.
KINDS: Final = ("deaf-caller", "deaf-vendor", "flood-caller", "flood-vendor", "gone-caller", "bomb-caller")

COLUMNS = (
    Column("bad", "bad"), Column("calls", "calls"), Column("up p50", "up_ms.p50", 2), Column("p99", "up_ms.p99", 2),
    Column("down p50", "down_ms.p50", 2), Column("p99", "down_ms.p99", 2), Column("barge-in p99", "barge_in_ms.p99", 2),
    Column("lost", "all_lost"), Column("cut off", "cut_off"), Column("MiB more", "mib_more", 1),
    Column("CPU s/call-min", "cpu_s_per_call_min", 4), Column("others", "others_share", 2),
)  # fmt: skip


def with_bad_peers(plan: Plan, kinds: Sequence[str]) -> dict[str, Any]:
    """Run the product; call 0 turns into the first kind, call 1 into the second, and so on."""

    def turn_bad(rig: Rig, _: Relay) -> None:
        for number, kind in enumerate(kinds):
            rig.order(f"bad {kind} {number}")

    with tempfile.TemporaryDirectory(prefix="callbot-bench-") as folder:
        product = Product(plan.engine, Path(folder), plan.calls)
        row = measure(product, plan, turn_bad)
        row["closed_for"] = dict(product.log_reasons)
    return {**row, "bad": ", ".join(kinds) or "none", "mib_more": row["mib_per_call"] * plan.calls}


def undisturbed(row: dict[str, Any]) -> bool:
    """Whether the good calls lost nothing, and nothing was added that they could hear."""
    down = row["down_ms"]["p99"] if row["down_ms"]["n"] else 0.0
    return not row["all_lost"] and not row["cut_off"] and row["up_ms"]["p99"] < ADDED_MS and down < ADDED_MS


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.abuse", description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--engine", choices=["realtime", "amivoice"], default="realtime")
    parser.add_argument("--seconds", type=float, default=12.0, help="long enough for every deadline to pass")
    parser.add_argument("--tls", action="store_true", help="the vendors over TLS, as in production")
    parser.add_argument("--one-by-one", action="store_true", help="a run for each kind, instead of one for all")
    parser.add_argument("--json", type=Path, help="write all figures here")
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="callbot-bench-") as folder:
        certificate = write_certificate(Path(folder)) if given.tls else None
        plan = Plan(given.engine, given.calls, given.seconds, certificate, turns=False)
        scenes = [(), *([(kind,) for kind in KINDS] if given.one_by_one else [KINDS])]
        rows = [with_bad_peers(plan, kinds) for kinds in scenes]
    sys.stdout.write(table(COLUMNS, rows) + "\n")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))
    return 0 if all(undisturbed(row) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
