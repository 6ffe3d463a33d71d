"""Rows and reports as the bench makes them, of made-up figures: for the tests of what is made of them."""

from typing import Any


def spread(p50: float = 0.1, p99: float = 1.0, n: int = 1000) -> dict[str, Any]:
    """Latencies, ms; without any (n = 0) the rig says -1."""
    return {"n": n, "p50": p50 if n else -1.0, "p95": p99 if n else -1.0, "p99": p99 if n else -1.0, "max": p99 * 2}


def row(relay: Any = "callbot", engine: Any = "realtime", calls: Any = 50, **changed: Any) -> dict[str, Any]:
    """One run of `capacity`, on a quiet machine."""
    callbot = {
        "relay": relay, "engine": engine, "calls": calls, "round": 0, "cpu_s_per_call_min": 0.13, "ratio": 1.3,
        "up_ms": spread(), "down_ms": spread(n=1000 if engine == "realtime" else 0), "barge_in_ms": spread(0.2, 0.5),
        "first_sound_ms": spread(0.1, 0.4), "late_setup_ms": spread(1.0, 2.0), "rig_late_ms": spread(0.02, 0.06),
        "all_lost": 0, "lost_before_first": 0, "cut_off": 0, "mib_per_call": 0.2, "peak_mib": 40.0, "threads": 60,
        "core_share": 0.4, "others_share": 0.0, "stolen_share": 0.0, "rig_share": 0.3, "at_once": 2,
    }  # fmt: skip
    floor = {"cpu_s_per_call_min": 0.1, "ratio": 1.0, "lost_before_first": 6, "barge_in_ms": spread(n=0)}
    return callbot | (floor if relay == "floor" else {}) | changed


def turn(name: str, p50: float) -> dict[str, Any]:
    ours = {"p50": 8.0, "p95": 10.0, "p99": 11.0, "max": 12.0}
    return {"name": name, "n": 3, "ours_ms": ours, "from_final_ms": {"p50": p50, "p95": p50, "p99": p50, "max": p50}}


def start(process: str, ratio: float | None = None, store: str = "sqlite", least_ms: int = 200) -> dict[str, Any]:
    told = {"process": process, "store": store, "least_ms": least_ms, "median_ms": least_ms + 9, "cpu_ms": 150}
    return told if ratio is None else {**told, "ratio": ratio}


def report(**changed: Any) -> dict[str, Any]:
    """A whole run in which all is well."""
    return {
        "at": "2026-11-21T08:12:37+00:00",
        "form": "short",
        "seconds": 100.0,
        "first": True,
        "codec": "compiled",
        "missing": [],
        "machine": {
            "processor": "An Example", "cores": "2", "memory": "8 GiB", "kernel": "6.18", "python": "3.11.7",
            "load": "0.10 0.20 0.30",
        },
        "capacity": [row("floor"), row()],
        "turns": {
            "rows": [
                turn("amivoice, begun on interim results", 450.0),
                turn("amivoice, begun on the final text", 950.0),
                turn("the whole answer first, as the seed did", 4050.0),
            ],
            "between_sentences_ms": {"p50": 5.0, "p95": 8.0, "p99": 8.0, "max": 9.0},
            "realtime_first_media_ms": {"p50": 0.7, "p95": 2.0, "p99": 2.0, "max": 2.0},
        },
        "startup": [
            start("functions-framework alone", store="-"),
            start("twiml", 1.6, least_ms=190),
            start("calls", 1.7, least_ms=210),
            start("gunicorn and flask-sock alone", store="-"),
            start("stream service", 1.8, least_ms=260),
        ],
        "webhooks": [
            {"store": "sqlite", "webhook": path, "n": 50, "p50": 1.4, "p99": p99, "max": p99, "failed": 0}
            for path, p99 in (("/twiml", 4.0), ("/call-flow", 6.0))
        ],
        "echo": [
            {"server": "callbot's pump", "messages": 9000, "cpu_us_per_message": 8.0, "ratio": 0.1},
            {"server": "flask-sock as installed", "messages": 900, "cpu_us_per_message": 80.0},
        ],
    } | changed  # fmt: skip
