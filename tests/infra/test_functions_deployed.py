"""The functions of `functions/main.py` are deployed: all of them, nothing else, under the names the code expects."""

import importlib.util
import inspect
from collections.abc import Mapping
from typing import Any

import pytest

from tests.infra.simulation import ROOT, Outcome

MAIN = ROOT / "functions" / "main.py"


@pytest.fixture(scope="module")
def entry_points() -> Mapping[str, str]:
    """Each function's path and the name of its entry point, from the code."""
    spec = importlib.util.spec_from_file_location("deployed_main", MAIN)  # a name that no other test's import has
    assert spec is not None
    assert spec.loader is not None
    main = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main)
    names = {function: name for name, function in inspect.getmembers(main, inspect.isfunction)}
    return {path.removeprefix("/"): names[function] for path, function in main.FUNCTIONS.items()}


def functions(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {values["name"]: values for values in outcome.resources("google_cloudfunctions2_function").values()}


def test_every_function_is_deployed_and_nothing_else(plan: Outcome, entry_points: Mapping[str, str]) -> None:
    deployed = {name: values["build_config"][0]["entry_point"] for name, values in functions(plan).items()}
    assert deployed == {f"callbot-{path}": entry_point for path, entry_point in entry_points.items()}


def test_all_are_of_one_zip_that_is_named_by_its_content(plan: Outcome) -> None:
    [zip_name] = {
        values["build_config"][0]["source"][0]["storage_source"][0]["object"] for values in functions(plan).values()
    }
    [uploaded] = [
        values["name"]
        for address, values in plan.resources("google_storage_bucket_object").items()
        if address.startswith("google_storage_bucket_object.functions")
    ]
    assert zip_name == uploaded
    assert len(uploaded.removeprefix("functions-").removesuffix(".zip")) >= 12


def test_each_takes_more_than_one_request_at_once(plan: Outcome) -> None:
    for name, values in functions(plan).items():
        config = values["service_config"][0]
        assert config["max_instance_request_concurrency"] > 1, name
        assert float(config["available_cpu"]) >= 1, name  # Cloud Run: with less there is one request at a time
        # functions-framework: THREADS; fewer would let a request wait inside the instance
        assert int(config["environment_variables"]["THREADS"]) >= config["max_instance_request_concurrency"], name


def test_twilio_gets_no_answer_after_it_has_stopped_waiting(plan: Outcome) -> None:
    """Twilio: 15 s for a webhook. A function may take somewhat longer, so that it can log what kept it."""
    seconds = {name: values["service_config"][0]["timeout_seconds"] for name, values in functions(plan).items()}
    webhooks = ("twiml", "incoming-call", "call-flow", "call-events")
    assert all(15 <= seconds[f"callbot-{name}"] <= 30 for name in webhooks), seconds


def test_all_run_the_python_that_the_stream_service_runs(plan: Outcome) -> None:
    runtimes = {values["build_config"][0]["runtime"] for values in functions(plan).values()}
    dockerfile = (ROOT / "stream_service" / "Dockerfile").read_text(encoding="utf-8")
    [runtime] = runtimes
    assert f"python:{runtime.removeprefix('python')[0]}.{runtime.removeprefix('python')[1:]}-slim" in dockerfile
