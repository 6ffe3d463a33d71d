"""What this machine is, what else runs on it, what a tree of processes uses. Linux's /proc, read; nothing changed."""

import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_ALLOWED = sorted(os.sched_getaffinity(0))
# What is measured has one core, what measures it another: the same one where there is only one.
FIRST_CORE, SECOND_CORE = _ALLOWED[0], _ALLOWED[-1]


@contextmanager
def confined(core: int) -> Iterator[None]:
    """This thread, and the threads and processes that it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process and all that it started: seconds of processor since the start, MiB (PSS) and threads now.

    `cpu` is exact; `system`, of it in the kernel, is a guess by the clock's ticks.
    """

    at: float
    cpu: float
    system: float
    mib: float
    threads: int


@dataclass(frozen=True, slots=True)
class CoreTime:
    """Seconds that one core was busy, for anybody, and that the hypervisor kept from it, since some moment."""

    busy: float
    stolen: float


def usage(pid: int, *, memory: bool = False) -> Usage:
    """What the tree under `pid` has used. Memory is dear to count, so it is 0 unless asked for."""
    at, cpu, system, mib, threads = time.monotonic(), 0.0, 0.0, 0.0, 0
    for member in _tree(pid):
        fields = _stat(member)
        if fields is None:
            continue
        cpu, system = cpu + _cpu_seconds(member), system + int(fields[12]) / _TICKS
        threads += int(fields[17])
        mib += _pss_mib(member) if memory else 0.0
    return Usage(at, cpu, system, mib, threads)


def _cpu_seconds(pid: int) -> float:
    """By the process's own clock (clock_getcpuclockid(3)): /proc tells hundredths, which are 5 % of a short run."""
    scheduled = 2
    try:
        return time.clock_gettime(~pid << 3 | scheduled)
    except OSError:  # it is gone
        return 0.0


def peak_mib(pid: int) -> float:
    """The most memory (RSS, MiB) that the tree under `pid` ever had, process by process."""
    return sum(_mib(_PROC / str(member) / "status", "VmHWM:") for member in _tree(pid))


def core_time(core: int) -> CoreTime:
    """What one core has done up to now.

    It was busy when it was not idle: that the kernel measures. The rest it guesses at its clock's ticks, and audio that
    moves every 20 ms keeps step with those (a fifth of a core too much or too little was seen).
    """
    at = time.monotonic()
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            idle, waiting, _irq, _softirq, stolen = (int(word) / _TICKS for word in line.split()[4:9])
            return CoreTime(at - idle - waiting - stolen, stolen)
    raise ValueError(f"there is no core {core}")


def description() -> dict[str, str]:
    """The machine in words."""
    models = [line for line in (_PROC / "cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = int((_PROC / "meminfo").read_text().split()[1]) >> 20
    return {
        "processor": models[0].partition(":")[2].strip() if models else "unknown",
        "cores": str(len(_ALLOWED)),
        "memory": f"{memory} GiB",
        "kernel": os.uname().release,
        "python": platform.python_version(),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children[int(fields[1])].append(int(entry.name))
    found: list[int] = []
    ahead = [pid]
    while ahead:
        found.append(ahead.pop())
        ahead += children[found[-1]]
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat behind the name, which may hold anything; None when it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _pss_mib(pid: int) -> float:
    return _mib(_PROC / str(pid) / "smaps_rollup", "Pss:")


def _mib(path: Path, field: str) -> float:
    """A field that is told in kB; 0 when the process is gone."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
