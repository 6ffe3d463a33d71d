"""`python -m tests.bench.abuse`: some bad peers among many good ones, and what the good ones notice of it.

    python -m tests.bench.abuse --calls 200 --engine realtime --tls

The same number of calls is run twice on the whole product: with everybody good, and with one call of each bad kind,
from the moment on when the measuring begins. Nothing of the bad calls is counted; but each must be noticed, and the
log must say for what reason its stream or its vendor's session was given up.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.capacity import ADDED_MS
from tests.bench.certificate import write_certificate
from tests.bench.doubts import doubts
from tests.bench.relays import Engine, Product
from tests.bench.rig_process import Rig, missing
from tests.bench.runs import Plan, measure
from tests.bench.table import Column, table

# What each kind is, is said in rig/rig.c; here is what the log has to say of it. A peer that takes nothing may be
# noticed by what could not be written, by what could not be kept for it, or by a ping that is not answered.
ENDS: Final[Mapping[str, tuple[str, ...]]] = {
    "deaf-caller": ("stream lost: stalled", "stream lost: overflow"),
    "deaf-vendor": ("engine lost: stalled", "engine lost: half-open", "engine lost: overflow"),
    "flood-caller": ("stream lost: flood",),
    "flood-vendor": ("engine lost: flood",),
    "gone-caller": ("stream lost: silent",),
    "gone-vendor": ("engine lost: half-open",),
    "bomb-caller": ("stream lost: protocol",),
    "bomb-vendor": ("engine lost: protocol",),
}
# One-way streams carry nothing to the caller, so there is nothing that a deaf one would not take.
ONE_WAY: Final = "deaf-caller"
# As on the Internet; with segments of the loopback's size the kernel would hold minutes of audio for the deaf.
SEGMENT_BYTES: Final = 1400
MORE_MIB: Final = 64.0  # what all bad peers together may cost: each link's bounds are a few MB

COLUMNS = (
    Column("bad", "bad"), Column("calls", "calls"), Column("up p50", "up_ms.p50", 2), Column("p99", "up_ms.p99", 2),
    Column("down p50", "down_ms.p50", 2), Column("p99", "down_ms.p99", 2), Column("barge-in p99", "barge_in_ms.p99", 2),
    Column("lost", "all_lost"), Column("cut off", "cut_off"), Column("MiB more at most", "peak_mib", 1),
    Column("CPU s/call-min", "cpu_s_per_call_min", 4), Column("others", "others_share", 2),
)  # fmt: skip


def kinds(engine: Engine) -> tuple[str, ...]:
    """The bad peers that this engine can have."""
    return tuple(kind for kind in ENDS if engine == "realtime" or kind != ONE_WAY)


def with_bad_peers(plan: Plan, bad: Sequence[str]) -> dict[str, Any]:
    """Run the product; call 0 turns into the first kind, call 1 into the second, and so on."""

    def turn_bad(rig: Rig) -> None:
        for number, kind in enumerate(bad):
            rig.order(f"bad {kind} {number}")

    with tempfile.TemporaryDirectory(prefix="callbot-bench-") as folder:
        product = Product(plan.engine, Path(folder), plan.calls)
        (row,) = measure([[product]], plan, turn_bad)
        ends = {kind: list(product.reasons(number)) for number, kind in enumerate(bad)}
    return {**row, "bad": f"{len(bad)} kinds" if len(bad) > 1 else "".join(bad) or "none", "ends": ends}


def complaints(good: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """What the good calls noticed, what went unnoticed of the bad ones, and memory that was not given a bound.

    `good` is the run without bad peers.
    """
    down = row["down_ms"]["p99"] if row["down_ms"]["n"] else 0.0
    found = []
    if row["all_lost"] or row["cut_off"]:
        found.append(f"good calls lost {row['all_lost']} pieces of audio, {row['cut_off']} were cut off")
    if row["up_ms"]["p99"] >= ADDED_MS or down >= ADDED_MS:
        found.append(f"good calls waited: p99 {row['up_ms']['p99']:.1f} ms up, {down:.1f} ms down")
    if row["peak_mib"] > good["peak_mib"] + MORE_MIB:
        found.append(f"memory: {row['peak_mib']:.0f} MiB at most, and {good['peak_mib']:.0f} without bad peers")
    for kind, said in row["ends"].items():
        if not set(said) & set(ENDS[kind]):
            found.append(f"{kind}: not noticed; the log gives {', '.join(said) or 'no reason'}")
    return found


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.abuse", description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--engine", choices=["realtime", "amivoice"], default="realtime")
    parser.add_argument("--seconds", type=float, default=20.0, help="long enough for every deadline to pass")
    parser.add_argument("--tls", action="store_true", help="the vendors over TLS, as in production")
    parser.add_argument("--one-by-one", action="store_true", help="a run for each kind, instead of one for all")
    parser.add_argument("--json", type=Path, help="write all figures here")
    given = parser.parse_args(words)
    if lacking := missing():
        parser.error(lacking)
    with tempfile.TemporaryDirectory(prefix="callbot-bench-") as folder:
        certificate = write_certificate(Path(folder)) if given.tls else None
        plan = Plan(given.engine, given.calls, given.seconds, certificate, mss=SEGMENT_BYTES)
        bad = kinds(given.engine)
        scenes = [(kind,) for kind in bad] if given.one_by_one else [bad]
        rows = [with_bad_peers(plan, scene) for scene in [(), *scenes]]
    sys.stdout.write(table(COLUMNS, rows) + "\n")
    for row in rows:
        for kind, said in row["ends"].items():
            sys.stdout.write(f"{kind}: {', '.join(said)}\n")
    found = [complaint for row in rows for complaint in complaints(rows[0], row)]
    sys.stdout.writelines(f"FAILED {complaint}\n" for complaint in found)
    sys.stdout.writelines(f"not to be trusted: {doubt}\n" for doubt in doubts(rows))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
