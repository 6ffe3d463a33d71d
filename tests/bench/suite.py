"""All that the bench measures: in a short form, a long one, and one that is judged. What it means is not said here.

A report is a JSON object: `machine`, `form`, `at`, `seconds`, `first` (whether relay and rig go before everybody else),
`missing` (what could not be measured, and why), and the rows of each topic.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.bench import abuse, capacity, echo_cost, machine, rig_process, startup, webhooks
from tests.bench.certificate import write_certificate
from tests.bench.firestore import firestore
from tests.bench.relays import Engine
from tests.bench.rig_process import RigFailedError
from tests.bench.runs import Plan, Timing

Report = dict[str, Any]
_TURNS_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Form:
    """How much is measured. `webhook_seconds` 0: no webhooks; `abuse_seconds` 0: no bad peers."""

    name: str
    sizes: Mapping[Engine, tuple[int, ...]]
    as_installed: Mapping[Engine, int]  # the stack as it comes is measured up to so many calls
    window_seconds: float
    alone_seconds: float  # and so long where floor and callbot are too much for the core at once: that varies more
    rounds: int
    timing: Timing
    tries: int
    turn_calls: int
    listen_seconds: float
    webhook_seconds: float
    abuse_seconds: float = 0.0
    abuse_calls: int = 200
    turns_alone: bool = field(default=False)  # or beside the starts and webhooks that need SQLite, on the other core
    judged_only: bool = field(default=False)  # only what `verdict` looks at


_HASTE: Final = Timing(rest=0.3, ramp=0.008, apart=0.05, late=10, warm=0.5)
SHORT: Final = Form(
    name="short",
    sizes={"realtime": (50, 200, 400), "amivoice": (50, 200)},
    as_installed={"realtime": 50},
    window_seconds=3.0,
    alone_seconds=4.0,
    rounds=1,
    timing=_HASTE,
    tries=4,
    turn_calls=3,
    listen_seconds=12.0,
    webhook_seconds=3.0,
)
LONG: Final = Form(
    name="long",
    sizes={"realtime": (50, 200, 400), "amivoice": (50, 200, 400)},
    as_installed={"realtime": 50, "amivoice": 50},
    window_seconds=8.0,
    alone_seconds=8.0,
    rounds=3,
    timing=Timing(),
    tries=7,
    turn_calls=8,
    listen_seconds=40.0,
    webhook_seconds=10.0,
    abuse_seconds=20.0,
    turns_alone=True,
)
CHECK: Final = Form(
    name="check",
    sizes={"realtime": (50,), "amivoice": (50,)},
    as_installed={},
    window_seconds=2.0,
    alone_seconds=2.0,
    rounds=1,
    timing=_HASTE,
    tries=2,
    turn_calls=2,
    listen_seconds=1.0,
    webhook_seconds=0.0,
    judged_only=True,
)


def measure(form: Form) -> Report:
    """Run everything of this form. Raises what the parts raise: a part that fails has measured nothing."""
    began = time.monotonic()
    report: Report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "form": form.name,
        "machine": machine.description(),
        "first": rig_process.may_go_first(),
        "codec": _codec(),
        "missing": [],
    }
    if form.judged_only:  # ratios so far apart that the one may run beside the other
        with _turns(form, report):
            _calls(form, report)
            _with_sqlite(form, report)
            _say("cost of a message")
            report["echo"] = echo_cost.measure()
            _say("turns: waiting for the last calls")
    else:
        with ExitStack() as stack:
            with _turns(form, report):
                there = stack.enter_context(_database(report))
                if not form.turns_alone:
                    _with_sqlite(form, report)
                _say("turns: waiting for the last calls")
            if form.turns_alone:
                _with_sqlite(form, report)
            if there:
                _with_firestore(form, report)
        _calls(form, report)
    return {**report, "seconds": round(time.monotonic() - began, 1)}


@contextmanager
def _turns(form: Form, report: Report) -> Iterator[None]:
    """Whole calls in a process of its own on the rig's core; they mostly wait, and end before this does."""
    with tempfile.TemporaryDirectory(prefix="callbot-bench-") as folder:
        written = Path(folder) / "turns.json"
        command = [
            *rig_process.pinned(machine.SECOND_CORE), sys.executable, "-m", "tests.bench.turns",
            "--calls", str(form.turn_calls), "--listen", str(form.listen_seconds), "--json", str(written),
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            yield
            if status := process.wait(_TURNS_SECONDS):
                raise RuntimeError(f"tests.bench.turns ended with status {status}")
            report["turns"] = json.loads(written.read_text())
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _database(report: Report) -> Iterator[bool]:
    with tempfile.TemporaryDirectory(prefix="callbot-bench-") as folder, firestore(Path(folder)) as there:
        if not there:
            report["missing"].append("with Firestore: its emulator is not installed")
        yield there


def _with_sqlite(form: Form, report: Report) -> None:
    _say("starts, sqlite")
    report["startup"] = startup.with_sqlite(form.tries)
    if form.webhook_seconds:
        _say("webhooks, sqlite")
        report["webhooks"] = webhooks.with_sqlite(webhooks.RATE, form.webhook_seconds)


def _with_firestore(form: Form, report: Report) -> None:
    """Beside nothing else: the emulated database is on the other core, where turns would be in its way."""
    _say("starts, firestore")
    report["startup"] += startup.with_firestore(form.tries)
    _say("webhooks, firestore")
    report["webhooks"] += webhooks.with_firestore(webhooks.RATE, form.webhook_seconds)


def _calls(form: Form, report: Report) -> None:
    report["capacity"] = []
    if lacking := rig_process.missing():
        report["missing"].append(f"capacity: {lacking}")
        return
    with tempfile.TemporaryDirectory(prefix="callbot-bench-") as folder:
        certificate = write_certificate(Path(folder))
        for engine, sizes in form.sizes.items():
            for calls in sizes:
                seconds = form.window_seconds if calls <= capacity.MOST_AT_ONCE else form.alone_seconds
                plan = Plan(engine, calls, seconds, certificate, timing=_timing(form, engine))
                report["capacity"] += _compared(plan, form)
        if form.abuse_seconds:
            report["abuse"] = [row for engine in form.sizes for row in _abused(engine, form, certificate)]


def _timing(form: Form, engine: Engine) -> Timing:
    """Of engine amivoice each call begins an answer early on its first words, all at once here: that has to be over."""
    return replace(form.timing, warm=max(form.timing.warm, 1.5)) if engine == "amivoice" else form.timing


def _compared(plan: Plan, form: Form) -> Iterator[dict[str, Any]]:
    _say(f"calls: {plan.engine}, {plan.calls}")
    try:
        yield from capacity.compare(plan, form.rounds, form.as_installed.get(plan.engine, 0))
    except RigFailedError as error:
        raise RuntimeError(f"{plan.engine}, {plan.calls} calls: {error}") from error


def _abused(engine: Engine, form: Form, certificate: Path) -> Iterator[dict[str, Any]]:
    plan = Plan(engine, form.abuse_calls, form.abuse_seconds, certificate, mss=abuse.SEGMENT_BYTES)
    good: dict[str, Any] | None = None
    for bad in ((), abuse.kinds(engine)):
        _say(f"bad peers: {engine}, {len(bad)} kinds")
        row = abuse.with_bad_peers(plan, bad)
        good = good or row
        yield {**row, "complaints": abuse.complaints(good, row)}


def _codec() -> str:
    try:
        from stream_service.wire import _codec
    except ImportError:
        return "Python"
    return "compiled" if _codec else "Python"


def _say(what: str) -> None:
    sys.stderr.write(f"{datetime.now():%H:%M:%S} {what}\n")  # noqa: DTZ005 - the clock on the wall of who waits
