"""The dashboard: its JSON is what the Dashboards API takes, its tiles fit, and its queries ask for what is there."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra import promql
from tests.infra.log_filter import compiled
from tests.infra.simulation import Outcome

COLUMNS = 48
# Fields of the Dashboards API (v1) that may be used. One that it does not have is refused only when it is applied.
FIELDS = {
    "tile": {"xPos", "yPos", "width", "height", "widget"},
    "widget": {"title", "scorecard", "xyChart", "logsPanel", "incidentList"},
    "scorecard": {"timeSeriesQuery", "thresholds"},
    "xyChart": {"dataSets", "yAxis", "thresholds"},
    "dataSet": {"plotType", "targetAxis", "legendTemplate", "timeSeriesQuery"},
    "timeSeriesQuery": {"prometheusQuery"},
    "yAxis": {"label", "scale"},
    "threshold": {"value", "color", "direction", "targetAxis"},
    "logsPanel": {"filter", "resourceNames"},
}


@pytest.fixture
def dashboard(plan: Outcome) -> dict[str, Any]:
    (one,) = plan.resources("google_monitoring_dashboard").values()
    return json.loads(one["dashboard_json"])


@pytest.fixture
def tiles(dashboard) -> list[dict[str, Any]]:
    assert dashboard.keys() == {"displayName", "mosaicLayout"}
    assert dashboard["mosaicLayout"]["columns"] == COLUMNS
    return dashboard["mosaicLayout"]["tiles"]


def data_sets(tiles: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for tile in tiles:
        yield from tile["widget"].get("xyChart", {}).get("dataSets", [])
        if "scorecard" in tile["widget"]:
            yield tile["widget"]["scorecard"]


def test_no_field_is_made_up(tiles) -> None:
    def check(kind: str, value: dict[str, Any]) -> None:
        assert value.keys() <= FIELDS[kind], kind

    for tile in tiles:
        check("tile", tile)
        widget = tile["widget"]
        check("widget", widget)
        assert len(widget) == 2, "a title, and one thing to show"
        chart = widget.get("xyChart", {})
        check("xyChart", chart)
        check("yAxis", chart.get("yAxis", {}))
        check("scorecard", widget.get("scorecard", {}))
        check("logsPanel", widget.get("logsPanel", {}))
        for threshold in chart.get("thresholds", []):
            assert threshold.keys() == {"value", "targetAxis"}, "the API takes no colour in a chart"
        for one in chart.get("dataSets", []):
            check("dataSet", one)
            assert one["plotType"] in {"LINE", "STACKED_AREA", "STACKED_BAR"}
        for threshold in widget.get("scorecard", {}).get("thresholds", []):
            check("threshold", threshold)
    for one in data_sets(tiles):
        check("timeSeriesQuery", one["timeSeriesQuery"])


def test_tiles_lie_on_the_page_and_beside_each_other(tiles) -> None:
    assert all(tile["xPos"] + tile["width"] <= COLUMNS for tile in tiles)
    for one, other in itertools.combinations(tiles, 2):
        assert (
            one["xPos"] + one["width"] <= other["xPos"]
            or other["xPos"] + other["width"] <= one["xPos"]
            or one["yPos"] + one["height"] <= other["yPos"]
            or other["yPos"] + other["height"] <= one["yPos"]
        ), (one["widget"]["title"], other["widget"]["title"])


def test_every_query_asks_for_series_that_are_there(plan: Outcome, tiles) -> None:
    known = promql.known_series(plan)
    queries = [one["timeSeriesQuery"]["prometheusQuery"] for one in data_sets(tiles)]
    assert len(queries) > 30
    asked = [selector for query in queries for selector in promql.selectors(query)]
    assert [problem for selector in asked if (problem := promql.problem(selector, known))] == []


def test_a_legend_names_only_what_its_query_groups_by(tiles) -> None:
    for one in data_sets(tiles):
        query = one["timeSeriesQuery"]["prometheusQuery"]
        named = set(re.findall(r"\$\{(?:metric|resource)\.label\.(\w+)\}", one.get("legendTemplate", "")))
        grouped = {label for selector in promql.selectors(query) for label in selector.grouped_by} - {"le"}
        assert named == (grouped if "legendTemplate" in one else set()), one


def test_every_metric_of_ours_is_shown(plan: Outcome, tiles) -> None:
    shown = " ".join(one["timeSeriesQuery"]["prometheusQuery"] for one in data_sets(tiles))
    ours = {
        name.removesuffix("_sum").removesuffix("_count").removesuffix("_bucket") for name in promql.known_series(plan)
    }
    unseen = {
        name
        for name in ours
        if name.startswith("logging_") and not re.search(rf"{name}(_sum|_count|_bucket)?\{{", shown)
    }
    # Asked for by an alert only; and a token of a model that charges none (its price is 0).
    assert {name.removeprefix("logging_googleapis_com:user_callbot_") for name in unseen} == {
        "streams_opened",
        "usage_transcript_tokens_out",
    }


def test_its_log_lines_are_this_deployments_warnings(tiles) -> None:
    (panel,) = [tile["widget"]["logsPanel"] for tile in tiles if "logsPanel" in tile["widget"]]
    matches = compiled(panel["filter"])
    resource = {"type": "cloud_run_revision", "labels": {"service_name": "callbot-stream"}}
    entry = {"severity": "WARNING", "resource": resource, "jsonPayload": {}}
    assert matches(entry)
    assert not matches({**entry, "severity": "INFO"})
    assert not matches({**entry, "resource": {**resource, "labels": {"service_name": "callbot2-stream"}}})
    assert panel["resourceNames"] == ["projects/my-callbot-123456"]
