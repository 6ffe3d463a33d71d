"""What is made of the bench's rows: tables, doubts, the README's section, the lines of the plot."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import abuse, capacity, doubts, plot, readme
from tests.bench.report import all_doubts, settled, text
from tests.bench.samples import report, row, spread
from tests.bench.table import Column, table

ROOT = Path(__file__).parents[2]


def test_a_table_is_markdown_with_a_dash_for_what_is_not_there() -> None:
    columns = (Column("relay", "relay"), Column("p99", "up_ms.p99", 2), Column("n", "up_ms.n"))
    lines = table(columns, [row(), {"relay": "floor", "up_ms": {"p99": -1.0}}]).splitlines()

    assert lines == [
        "|   relay |  p99 |    n |",
        "|--------:|-----:|-----:|",
        "| callbot | 1.00 | 1000 |",
        "|   floor |    - |    - |",
    ]


def test_of_several_rounds_the_one_with_the_ratio_in_the_middle_is_shown() -> None:
    rounds = [
        row(relay, ratio=ratio, cpu_s_per_call_min=cpu, round=n)
        for n, (ratio, cpu) in enumerate(((1.4, 0.3), (1.5, 0.2), (1.3, 0.1)))
        for relay in ("floor", "callbot")
    ]
    alone = [row("floor", calls=400), row(calls=400), row("floor", calls=400, ratio=1.02)]
    shown = settled([*rounds, *alone])
    assert [(one["relay"], one["calls"], one["round"]) for one in shown] == [
        ("floor", 50, 0), ("callbot", 50, 0), ("floor", 400, 0), ("callbot", 400, 0),
    ]  # fmt: skip
    assert shown[2]["ratio"] == 1.02


def test_ratios_are_to_the_floor_or_to_the_mean_of_two() -> None:
    costs = [("floor", 0.1), ("callbot", 0.15), ("as installed", 0.9)]
    rows: list[dict[str, Any]] = [{"relay": relay, "cpu_s_per_call_min": cost} for relay, cost in costs]
    assert [round(one["ratio"], 6) for one in capacity.with_ratios(rows)] == [1.0, 1.5, 9.0]
    again = [*rows, {"relay": "floor", "cpu_s_per_call_min": 0.2}]
    assert [round(one["ratio"], 6) for one in capacity.with_ratios(again)] == [0.666667, 1.0, 6.0, 1.333333]


def test_who_had_the_core_is_said() -> None:
    pair = [row("floor", calls=200), row(calls=200), row("as installed", calls=200, at_once=1)]
    alone = [row("floor", calls=400, at_once=1), row(calls=400, at_once=1)]
    assert capacity.arrangement(alone) == "the relay had a core of its own"
    assert capacity.arrangement(pair).endswith(
        "with up to 200 calls each, floor and callbot at once, waiting for each other"
    )
    all_rows = [*pair, *alone, row("floor", calls=400, at_once=1)]
    said = capacity.arrangement(all_rows)
    assert said.startswith(capacity.arrangement(pair))
    assert said.endswith("with 400, the floor before callbot and behind it (the ratio is to their mean)")
    assert said in readme.section(report(capacity=all_rows), "p")
    assert said in text(report(capacity=all_rows))


def test_nothing_is_doubtful_on_a_quiet_machine() -> None:
    assert all_doubts(report()) == []
    assert "NOT TO BE TRUSTED" not in text(report())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"others_share": 0.31}, "other processes had 31% of the relay's core (1 of 2 runs; worst with callbot"),
        ({"stolen_share": 0.02}, "the hypervisor kept 2.0% of the relay's core"),
        ({"rig_share": 0.9}, "the rig itself needed 90% of its core"),
        ({"rig_late_ms": spread(p99=7.0)}, "the rig itself was 7.0 ms late (p99)"),
    ],
)
def test_what_disturbed_the_figures_is_said_in_words(changed: dict[str, object], said: str) -> None:
    disturbed = report(capacity=[row("floor"), row(**changed)])
    (doubt,) = all_doubts(disturbed)
    assert doubt.startswith(said)
    assert "NOT TO BE TRUSTED" in text(disturbed)
    assert said in text(disturbed)


def test_load_before_and_a_missing_right_are_doubts_too() -> None:
    assert doubts.load_doubt("1.10 0 0", "2") == ["the machine's load was 1.1 before anything was measured"]
    assert doubts.load_doubt("0.90 5 5", "2") == []
    assert len(all_doubts(report(first=False))) == 1
    assert all_doubts(report(first=False, capacity=[])) == []


def test_what_could_not_be_measured_is_said_and_has_no_table() -> None:
    shown = text(report(capacity=[], webhooks=[], missing=["capacity: no compiler"]))
    assert "not measured: capacity: no compiler" in shown
    assert "Calls on one core" not in shown
    assert "Webhooks" not in shown
    assert "Starts" in shown


def test_the_section_takes_the_place_of_the_old_one_and_of_nothing_else() -> None:
    old = f"before\n{readme.BEGIN}\n\nold\n\n{readme.END}\nafter\n"
    new = readme.with_section(old, "new")
    assert new == f"before\n{readme.BEGIN}\n\nnew\n\n{readme.END}\nafter\n"
    assert readme.with_section(new, "new") == new
    with pytest.raises(readme.MarksMissingError):
        readme.with_section("no place", "new")


def test_what_is_not_as_it_should_be_is_said_beside_the_figures() -> None:
    bad = report(capacity=[row("floor"), row(cut_off=3)])
    assert "**Not as it should be**: realtime, 50 calls: 0 pieces of audio lost" in readme.section(bad, "plot.png")
    assert "NOT AS IT SHOULD BE: realtime, 50 calls: 0 pieces of audio lost" in text(bad)
    assert "as it should be" not in readme.section(report(), "plot.png") + text(report()).lower()


def test_the_section_says_when_where_and_what() -> None:
    section = readme.section(report(), "tests/bench/latency.png")
    assert "Measured 2026-11-21 (short form) on An Example, 2 cores, 8 GiB, Linux 6.18, Python 3.11.7" in section
    assert "](tests/bench/latency.png)" in section
    for told in ("0.130", "450 ms", "4050 ms", "190 to 210 ms", "260 ms", "p99 6 ms", "p99 0.4"):
        assert told in section, told
    assert "Doubtful" not in section
    assert "Doubtful, because the machine's load" in readme.section(
        report(machine=report()["machine"] | {"load": "3 3 3"}), "p"
    )


def test_the_readme_shows_what_was_measured_last() -> None:
    last = json.loads((ROOT / "tests" / "bench" / "figures.json").read_text(encoding="utf-8"))
    shown = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.with_section(shown, readme.section(last, "tests/bench/latency.png")) == shown


def test_lines_of_the_plot_go_from_few_calls_to_many() -> None:
    rows = [row(calls=200, up_ms=spread(0.3, 3.0)), row(calls=50), row("floor"), row(engine="amivoice")]
    lines = plot.series(rows, "realtime", "up_ms")
    assert lines["callbot", "p50"] == [(50, 0.1), (200, 0.3)]
    assert lines["callbot", "p99"] == [(50, 1.0), (200, 3.0)]
    assert lines["floor", "p50"] == [(50, 0.1)]
    assert {relay for relay, _ in plot.series(rows, "realtime", "barge_in_ms")} == {"callbot"}


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib comes with `make bench`")
def test_a_small_picture_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    plot.draw([row("floor"), row(), row("as installed"), row(calls=400)], path, "a machine")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size < 60_000


def test_good_calls_undisturbed_and_every_bad_one_noticed() -> None:
    good = row(peak_mib=40.0)
    ends = {kind: ["stream opened: x", said[0]] for kind, said in abuse.ENDS.items()}
    assert abuse.complaints(good, row(ends=ends)) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"all_lost": 2}, "good calls lost 2 pieces"),
        ({"cut_off": 1}, "1 were cut off"),
        ({"up_ms": spread(p99=21.0)}, "p99 21.0 ms up"),
        ({"down_ms": spread(p99=21.0)}, "21.0 ms down"),
        ({"peak_mib": 120.0}, "memory: 120 MiB at most, and 40 without"),
        (
            {"ends": {"flood-vendor": ["stream closed: caller hung up"]}},
            "flood-vendor: not noticed; the log gives stream",
        ),
        ({"ends": {"gone-caller": []}}, "gone-caller: not noticed; the log gives no reason"),
    ],
)
def test_what_bad_peers_did_is_said(changed: dict[str, object], said: str) -> None:
    (complaint,) = abuse.complaints(row(peak_mib=40.0), row(**{"ends": {}, **changed}))
    assert said in complaint


def test_one_way_streams_have_no_deaf_caller() -> None:
    assert set(abuse.kinds("realtime")) - set(abuse.kinds("amivoice")) == {"deaf-caller"}
