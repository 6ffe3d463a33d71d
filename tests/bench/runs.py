"""Runs: relays, each with a rig of its own, from their start to the figures. Those that are measured together share the
relays' core and go through every phase at the same moments: whatever else the machine does then meets all of them.

What is compared with what is decided elsewhere (`capacity`).
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import machine
from tests.bench.relays import Engine, Relay
from tests.bench.rig_process import RELAY_CORE, Rig, our_turn

AT_REST_SHARE = 0.1  # of a core
LONGEST_LOADING_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Timing:
    """How a run comes to its window (seconds). The last calls, `late` at most, begin when the others already run: only
    of them is the set-up measured, so that the others may come as fast as they like.
    """

    rest: float = 1.0  # a process that has just started is at rest when it has done nothing for so long
    ramp: float = 0.03  # between the beginnings of two calls of the same relay
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


class Run:
    """One relay with its rig and as many calls as planned."""

    def __init__(self, relay: Relay, rig: Rig, plan: Plan) -> None:
        """Start the relay. Its tickets are all asked for now: the functions answer on the rig's core."""
        self.relay, self.rig, self.plan = relay, rig, plan
        relay.start(rig.vendor_port, plan.tls)
        self._tickets = [relay.ticketed(number) for number in range(plan.calls)]

    def settle(self) -> None:
        """What it still loads belongs to the idle process, not to its first calls."""
        deadline, rest = time.monotonic() + LONGEST_LOADING_SECONDS, self.plan.timing.rest
        used = AT_REST_SHARE * rest
        while used >= AT_REST_SHARE * rest and time.monotonic() < deadline:
            before = machine.usage(self.relay.pid).cpu
            time.sleep(rest)
            used = machine.usage(self.relay.pid).cpu - before
        self._idle_mib, self._idle_peak_mib = self._memory()

    def begin(self, number: int, *, late: bool) -> None:
        self.rig.call(number, self._tickets[number], late=late)

    def memory(self) -> dict[str, float]:
        """What the calls have added to the relay's memory since it was at rest."""
        mib, peak = self._memory()
        return {
            "idle_mib": self._idle_mib,
            "mib_per_call": (mib - self._idle_mib) / self.plan.calls,
            "peak_mib": peak - self._idle_peak_mib,
        }

    def _memory(self) -> tuple[float, float]:
        return machine.usage(self.relay.pid, memory=True).mib, machine.peak_mib(self.relay.pid)


def measure(
    heats: Sequence[Sequence[Relay]], plan: Plan, meanwhile: Callable[[Rig], None] = lambda _rig: None
) -> list[dict[str, Any]]:
    """A row for each relay. Those of one heat run together, the heats one after the other, and all are started before
    the first. `meanwhile` is called with each rig as its window opens.

    Raises what relays raise that do not start, and RigFailedError.
    """
    with our_turn(), ExitStack() as stack:
        started = [[_start(relay, plan, stack) for relay in heat] for heat in heats]
        for runs in started:
            for run in runs:
                run.settle()
        used = [figures for runs in started for figures in _window(runs, plan, meanwhile)]
        # Not sooner: while one heat's calls are hung up, those of the next may begin.
        results = [(run.relay.name, run.rig.result()) for runs in started for run in runs]
    return [
        {"relay": name, "engine": plan.engine, **result, "all_lost": result["lost"] + result["down_lost"], **figures}
        for (name, result), figures in zip(results, used, strict=True)
    ]


def _start(relay: Relay, plan: Plan, stack: ExitStack) -> Run:
    rig = Rig(
        relay_port=relay.port,
        target=relay.target,
        calls=plan.calls,
        seconds=plan.longest,
        turns=plan.turns,
        tls=plan.tls,
        mss=plan.mss,
    )
    stack.callback(rig.stop)
    stack.callback(relay.stop)
    return Run(relay, rig, plan)


def _window(runs: Sequence[Run], plan: Plan, meanwhile: Callable[[Rig], None]) -> list[dict[str, Any]]:
    """What the relays of one heat spent, from their first calls until the windows have shut."""
    timing, early = plan.timing, plan.calls - plan.late
    _begin(runs, range(early), timing.ramp, late=False)
    time.sleep(timing.warm)
    _begin(runs, range(early, plan.calls), timing.apart, late=True)
    time.sleep(timing.warm)
    for run in runs:
        run.rig.order(f"window {plan.seconds}")
    for run in runs:
        run.rig.wait_for("opened")
    before = _reading(runs)
    for run in runs:
        meanwhile(run.rig)
    for run in runs:
        run.rig.wait_for("shut")
    after = _reading(runs)
    return [figures | run.memory() for run, figures in zip(runs, spent(before, after, plan.calls), strict=True)]


def _begin(runs: Sequence[Run], numbers: range, apart: float, *, late: bool) -> None:
    """Each relay gets a call every `apart` seconds; one relay's calls come between those of the others."""
    due = time.monotonic()
    for number in numbers:
        for run in runs:
            run.begin(number, late=late)
            due += apart / len(runs)
            time.sleep(max(0.0, due - time.monotonic()))


@dataclass(frozen=True, slots=True)
class Reading:
    """What the relays and their rigs, in the same order, and the relays' core have done up to a moment."""

    relays: Sequence[machine.Usage]
    rigs: Sequence[machine.Usage]
    core: machine.CoreTime


def _reading(runs: Sequence[Run]) -> Reading:
    relays = [machine.usage(run.relay.pid) for run in runs]
    return Reading(relays, [machine.usage(run.rig.pid) for run in runs], machine.core_time(RELAY_CORE))


def spent(before: Reading, after: Reading, calls: int) -> list[dict[str, Any]]:
    """What each relay spent on so many calls between two readings, and what became of the two cores meanwhile: those
    figures are the same for all. Of the relays' core, "others" are all but these relays; of the rigs', it is all rigs.
    """
    took = [(now.at - then.at, now.cpu - then.cpu) for then, now in zip(before.relays, after.relays, strict=True)]
    seconds = took[0][0]
    rigs = sum(now.cpu - then.cpu for then, now in zip(before.rigs, after.rigs, strict=True))
    cores = {
        "at_once": len(took),
        "others_share": max(0.0, after.core.busy - before.core.busy - sum(cpu for _, cpu in took)) / seconds,
        "stolen_share": (after.core.stolen - before.core.stolen) / seconds,
        "rig_share": rigs / seconds,
    }
    return [
        {
            "cpu_s_per_call_min": cpu / (calls * seconds / 60),
            "system_share": (now.system - then.system) / cpu if cpu else 0.0,
            "core_share": cpu / seconds,
            "threads": now.threads,
            **cores,
        }
        for (seconds, cpu), then, now in zip(took, before.relays, after.relays, strict=True)
    ]
