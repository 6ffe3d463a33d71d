"""What changes with the variables that deliveries and further deployments set: image, held_revision, name_prefix."""

import re
from typing import Any

import pytest

from tests.infra.conftest import PROJECT, Planner
from tests.infra.simulation import Outcome

DIGEST = "sha256:" + "5" * 64
IMAGE = f"asia-northeast1-docker.pkg.dev/{PROJECT}/callbot-images/stream@{DIGEST}"
HELD = "callbot-stream-00007-abc"
SECOND = "callbot-two"


def stream(outcome: Outcome) -> dict[str, Any]:
    [service] = outcome.resources("google_cloud_run_v2_service").values()
    return service


def traffic(outcome: Outcome) -> list[tuple[str, str | None, int, str | None]]:
    return [
        (one["type"].removeprefix("TRAFFIC_TARGET_ALLOCATION_TYPE_"), one["revision"], one["percent"], one["tag"])
        for one in stream(outcome)["traffic"]
    ]


@pytest.fixture(scope="module")
def candidate(planned: Planner) -> Outcome:
    """The pipeline's first apply: the new revision is there to be tried, the held one serves."""
    return planned(held_revision=HELD, image=IMAGE)


def test_the_pipelines_image_runs_as_it_was_tested_and_none_is_built(candidate: Outcome) -> None:
    assert stream(candidate)["template"][0]["containers"][0]["image"] == IMAGE
    assert candidate.resources("google_cloud_run_v2_job") == {}


def test_without_a_pipeline_the_image_is_built_from_these_sources(plan: Outcome) -> None:
    [job] = plan.resources("google_cloud_run_v2_job").values()
    assert job["run_execution_token"]
    [uploaded] = [name for name in plan.resources("google_storage_bucket_object") if "image" in name]
    content = (
        plan.resources("google_storage_bucket_object")[uploaded]["name"].removeprefix("image-").removesuffix(".zip")
    )
    assert job["name"] == f"callbot-image-{content}"


def test_normally_the_newest_revision_serves(plan: Outcome) -> None:
    assert traffic(plan) in ([("LATEST", None, 100, None)], [("LATEST", "", 100, "")])
    for values in plan.resources("google_cloudfunctions2_function").values():
        assert values["service_config"][0]["all_traffic_on_latest_revision"] is True


def test_while_a_revision_is_held_the_new_one_gets_no_calls_and_can_be_tried(candidate: Outcome) -> None:
    assert traffic(candidate) == [("REVISION", HELD, 100, None), ("LATEST", None, 0, "candidate")]
    for values in candidate.resources("google_cloudfunctions2_function").values():
        assert values["service_config"][0]["all_traffic_on_latest_revision"] is False


# What two deployments share: switches of the project, which both leave on; pauses; versions, whose secret has a name.
NAMELESS = ("google_project_service", "time_sleep", "google_secret_manager_secret_version")
# What tells a thing from another of its kind: one of these, or for some kinds all of several.
NAMES = ("name", "secret_id", "account_id", "repository_id", "role_id", "display_name", "dashboard_json")
SEVERAL = {
    "google_firestore_field": ("database", "collection", "field"),
    "google_storage_bucket_object": ("bucket", "name"),
}


def names(outcome: Outcome) -> dict[tuple[str, str], str]:
    """The addresses of all things that have a name, by kind and name."""
    found = {}
    for address, values in outcome.resources().items():
        kind = address.split(".")[0]
        if kind in NAMELESS or "_iam_member" in kind:
            continue
        name = " ".join(str(values[key]) for key in SEVERAL.get(kind, NAMES) if values.get(key))
        assert name, f"{address}: what tells it from another deployment's?"
        found[kind, name] = address
    return found


@pytest.fixture(scope="module")
def second(planned: Planner) -> Outcome:
    """Another deployment in the same project, whose name begins with the first one's."""
    return planned(name_prefix=SECOND)


def test_two_deployments_in_one_project_have_nothing_of_the_same_name(plan: Outcome, second: Outcome) -> None:
    first_names, second_names = names(plan), names(second)
    assert len(first_names) == len(second_names)
    assert first_names.keys() & second_names.keys() == set()


def test_two_deployments_give_their_rights_to_their_own_accounts(plan: Outcome, second: Outcome) -> None:
    def members(outcome: Outcome) -> set[str]:
        every = {values["member"] for address, values in outcome.resources().items() if "_iam_member" in address}
        return {member for member in every if member.startswith("serviceAccount:")}

    assert members(plan)
    assert members(plan) & members(second) == set()


def test_everything_of_a_deployment_has_its_prefix_in_its_name(second: Outcome) -> None:
    own = re.compile(SECOND.replace("-", "[-_]"))  # roles have no hyphens
    assert [address for (_, name), address in names(second).items() if not own.search(name)] == []
