"""Which series a PromQL query asks for. Not a parser: it finds the selectors, and what they are grouped by.

Facts: Cloud Monitoring, "Mapping Cloud Monitoring metrics to PromQL", and its list of Cloud Run's metrics.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.infra.simulation import Outcome

RESOURCE = {"monitored_resource", "service_name", "revision_name", "configuration_name", "location", "project_id"}
_REQUEST = {"response_code", "response_code_class"}
_DISTRIBUTION = ("_sum", "_count", "_bucket")
CLOUD_RUN: Mapping[str, tuple[set[str], bool]] = {  # labels of the metric; whether it is a distribution
    "request_count": (_REQUEST, False),
    "request_latencies": (_REQUEST, True),
    "container_instance_count": ({"state"}, False),
    "container_max_request_concurrencies": ({"state"}, True),
    "container_cpu_utilizations": (set(), True),
    "container_memory_utilizations": (set(), True),
}
_SELECTOR = re.compile(r"(?:by \((?P<by>[^)]*)\) \((?:increase\()?)?(?P<name>[a-z_]+:\w+)\{(?P<matchers>[^}]*)\}")
_MATCHER = re.compile(r'(?P<label>\w+)(?:=~|!=|=)"(?P<value>[^"]*)"(?:,|$)')


@dataclass(frozen=True)
class Selector:
    """One place of a query: which series, which of their labels it restricts, and by which it groups them."""

    name: str
    matched: Mapping[str, str]
    grouped_by: frozenset[str]


def selectors(query: str) -> list[Selector]:
    """Every selector of a query. Raises AssertionError when there is something that was not understood."""
    found = list(_found(query))
    assert query.count("{") == len(found), query
    assert query.count("(") == query.count(")"), query
    return found


def _found(query: str) -> Iterator[Selector]:
    for match in _SELECTOR.finditer(query):
        assert _MATCHER.sub("", match["matchers"]) == "", match[0]
        matched = {one["label"]: one["value"] for one in _MATCHER.finditer(match["matchers"])}
        by = frozenset(label.strip() for label in (match["by"] or "").split(",") if label.strip())
        yield Selector(match["name"], matched, by)


def known_series(plan: Outcome) -> dict[str, set[str]]:
    """Names that a query may ask for, with the labels of each."""
    known: dict[str, set[str]] = {}
    for metric in plan.resources("google_logging_metric").values():
        name = "logging_googleapis_com:user_" + re.sub(r"\W", "_", metric["name"])
        labels = {label["key"] for label in metric["metric_descriptor"][0]["labels"]}
        _know(known, name, labels, distribution=bool(metric["value_extractor"]))
    for path, (labels, is_distribution) in CLOUD_RUN.items():
        _know(known, f"run_googleapis_com:{path}", labels, distribution=is_distribution)
    return known


def _know(known: dict[str, set[str]], name: str, labels: set[str], *, distribution: bool) -> None:
    for suffix in _DISTRIBUTION if distribution else ("",):
        known[name + suffix] = labels | RESOURCE | ({"le"} if suffix == "_bucket" else set())


def problem(selector: Selector, known: Mapping[str, set[str]]) -> str:
    """What is wrong with it; empty when nothing is."""
    if selector.name not in known:
        return f"there is no {selector.name}"
    if strange := (selector.matched.keys() | selector.grouped_by) - known[selector.name]:
        return f"{selector.name} has no label {strange}"
    if selector.matched.get("monitored_resource") != "cloud_run_revision":
        return f"{selector.name} may be of any resource"  # and the query would be refused
    return ""
