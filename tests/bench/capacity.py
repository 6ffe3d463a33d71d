"""`python -m tests.bench.capacity`: how many calls one core carries, and what each of them costs.

    python -m tests.bench.capacity --calls 50,200,400 --engine realtime,amivoice --tls --json capacity.json

The relay has core 0 and the rig, which plays callers and vendors, core 1. Every number of calls is run on the floor and
on the whole product one after the other, so that what else the machine does meets both; compare by the ratio. Needs
Linux, two cores, a C compiler and OpenSSL's headers.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import machine
from tests.bench.certificate import write_certificate
from tests.bench.relays import AsInstalled, Engine, Floor, Product, Relay
from tests.bench.rig_process import RELAY_CORE, Rig
from tests.bench.table import Column, table

AT_REST_SHARE = 0.1  # of a core
LONGEST_LOADING_SECONDS = 15.0
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


@dataclass(frozen=True, slots=True)
class Timing:
    """How a run comes to its window (seconds). The last calls, `late` at most, begin when the others already run: only
    of them is the set-up measured, so that the others may come as fast as they like.
    """

    rest: float = 1.0  # a process that has just started is at rest when it has done nothing for so long
    ramp: float = 0.03  # between two calls' beginnings
    apart: float = 0.1  # and between those of the late ones
    late: int = 40
    warm: float = 2.0  # before the late ones, and behind them


@dataclass(frozen=True, slots=True)
class Plan:
    """One run's size. `turns`: callers of engine amivoice stop and are answered, instead of talking on.

    `mss`: how many bytes a TCP segment to callers and vendors holds at most; 0 for the loopback's 64 kB.
    """

    engine: Engine
    calls: int
    seconds: float
    tls: Path | None
    turns: bool = False
    timing: Timing = field(default_factory=Timing)
    mss: int = 0

    @property
    def late(self) -> int:
        """So many of the calls begin when the others already run."""
        return min(self.timing.late, self.calls // 5)

    @property
    def longest(self) -> float:
        """More seconds than any call can last."""
        timing = self.timing
        ramp = self.calls * (timing.ramp + 0.05) + self.late * (timing.apart + 0.05)
        return ramp + 2 * timing.warm + self.seconds + 20


Meanwhile = Callable[[Rig, Relay], None]


def measure(relay: Relay, plan: Plan, meanwhile: Meanwhile = lambda _rig, _relay: None) -> dict[str, Any]:
    """Run one relay with so many calls. `meanwhile` is called as the window opens."""
    rig = Rig(
        relay_port=relay.port,
        target=relay.target,
        calls=plan.calls,
        seconds=plan.longest,
        turns=plan.turns,
        tls=plan.tls,
        mss=plan.mss,
    )
    timing = plan.timing
    try:
        relay.start(rig.vendor_port, plan.tls)
        _wait_until_at_rest(relay, timing.rest)
        idle, idle_peak = machine.usage(relay.pid, memory=True), machine.peak_mib(relay.pid)
        _begin(rig, relay, range(plan.calls - plan.late), timing.ramp, late=False)
        time.sleep(timing.warm)
        _begin(rig, relay, range(plan.calls - plan.late, plan.calls), timing.apart, late=True)
        time.sleep(timing.warm)
        rig.order(f"window {plan.seconds}")
        rig.wait_for("opened")
        before, rig_before, core_before = _now(relay, rig)
        meanwhile(rig, relay)
        rig.wait_for("shut")
        after, rig_after, core_after = _now(relay, rig)
        filled, peak = machine.usage(relay.pid, memory=True), machine.peak_mib(relay.pid)
        measured = rig.result()
    finally:
        rig.stop()
        relay.stop()
    seconds = after.at - before.at
    cpu = after.cpu - before.cpu
    stolen = core_after.stolen - core_before.stolen
    return {
        "engine": plan.engine,
        **measured,
        "all_lost": measured["lost"] + measured["down_lost"],
        "cpu_s_per_call_min": cpu / (plan.calls * seconds / 60),
        "system_share": (after.system - before.system) / cpu if cpu else 0.0,
        "core_share": cpu / seconds,
        "others_share": max(0.0, core_after.busy - core_before.busy - cpu) / seconds,
        "stolen_share": stolen / seconds,
        "rig_share": (rig_after.cpu - rig_before.cpu) / seconds,
        "idle_mib": idle.mib,
        "mib_per_call": (filled.mib - idle.mib) / plan.calls,
        "peak_mib": peak - idle_peak,
        "threads": after.threads,
    }


def is_good(row: dict[str, Any]) -> bool:
    """Nothing lost, nobody cut off, and nothing added that could be heard."""
    down = row["down_ms"]["p99"] if row["down_ms"]["n"] else 0.0
    kept = not (row["all_lost"] or row["lost_before_first"] or row["cut_off"])
    return kept and row["up_ms"]["p99"] < ADDED_MS and down < ADDED_MS and row["late_setup_ms"]["p99"] < SETUP_MS


def compare(plan: Plan, rounds: int, as_installed_up_to: int = 0) -> Iterator[dict[str, Any]]:
    """The floor and the product in turns; each row has its ratio to the floor's before it.

    So many calls at most are also given to the stack as installed, which carries few.
    """
    for number in range(rounds):
        floor = {"relay": "floor", "round": number, "ratio": 1.0, **measure(Floor(plan.engine), plan)}
        yield floor
        if plan.calls <= as_installed_up_to:
            row = {"relay": "as installed", "round": number, **measure(AsInstalled(plan.engine, plan.calls), plan)}
            row["ratio"] = row["cpu_s_per_call_min"] / max(1e-9, floor["cpu_s_per_call_min"])
            yield row
        with _product(plan) as product:
            row = measure(product, plan)
            row |= {"relay": "callbot", "round": number, "log_lines": dict(product.log_events)}
            row["ratio"] = row["cpu_s_per_call_min"] / max(1e-9, floor["cpu_s_per_call_min"])
            row["good"] = is_good(row)
            yield row


@contextmanager
def _product(plan: Plan) -> Iterator[Product]:
    with tempfile.TemporaryDirectory(prefix="callbot-bench-") as folder:
        yield Product(plan.engine, Path(folder), plan.calls)


def _wait_until_at_rest(relay: Relay, seconds: float) -> None:
    """What it still loads belongs to the idle process, not to its first calls."""
    deadline = time.monotonic() + LONGEST_LOADING_SECONDS
    while time.monotonic() < deadline:
        before = machine.usage(relay.pid).cpu
        time.sleep(seconds)
        if machine.usage(relay.pid).cpu - before < AT_REST_SHARE * seconds:
            return


def _begin(rig: Rig, relay: Relay, numbers: range, apart: float, *, late: bool) -> None:
    due = time.monotonic()
    for number in numbers:
        rig.call(number, relay.ticketed(number), late=late)
        due += apart
        time.sleep(max(0.0, due - time.monotonic()))


def _now(relay: Relay, rig: Rig) -> tuple[machine.Usage, machine.Usage, machine.CoreTime]:
    return machine.usage(relay.pid), machine.usage(rig.pid), machine.core_time(RELAY_CORE)


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
    sys.stdout.write(table(COLUMNS, rows) + "\n")
    if given.json:
        report = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "tls": given.tls, "turns": given.turns}
        given.json.write_text(json.dumps({**report, "machine": machine.description(), "rows": rows}, indent=1))
    return 0 if all(row.get("good", True) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
