"""What keeps serving, what is tried and what serves next, on a cloud that gcloud changes (`fake_gcloud`)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.fake_gcloud import Cloud
from tests.infra.release_shell import FUNCTIONS, INFRA, SERVICES, Shell

FUNCTIONS_URL = "https://asia-northeast1-p.cloudfunctions.net/mine-{function}"
STREAM_URL = "wss://mine-stream-1.asia-northeast1.run.app/ws"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """A deployment that serves, and one of somebody else's beside it."""
    made = Cloud.new(tmp_path)
    for name in SERVICES:
        made.deploy(name, FUNCTIONS_URL=FUNCTIONS_URL, STREAM_URL=STREAM_URL)
    made.deploy("other-stream")
    return made


@pytest.fixture
def shell(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(cloud, monkeypatch)


def serving(cloud: Cloud) -> set[int]:
    """Which generations of revisions get traffic: {1} when all seven serve their first one."""
    shares = [cloud.serving(name) for name in SERVICES]
    assert all(list(share.values()) == [100] for share in shares), shares
    return {int(revision.split("-")[-2]) for share in shares for revision in share}


def test_callers_keep_the_old_revisions_until_the_new_ones_were_tried(cloud: Cloud, shell: Shell) -> None:
    shell.well("hold")
    assert shell.written("held_revision") == "mine-stream-00001-abc"
    shell.deliver()
    assert serving(cloud) == {1}
    shell.well("tag")
    assert serving(cloud) == {1}
    shell.well("shift")
    assert serving(cloud) == {2}
    shell.well("untag")
    assert [cloud.tags(name) for name in SERVICES] == [{}] * 7
    assert serving(cloud) == {2}


def test_each_public_address_is_told_with_the_one_to_try(shell: Shell) -> None:
    shell.well("hold")
    shell.deliver()
    shell.well("tag")
    told = json.loads(shell.written("addresses.json"))
    assert (told["functionsUrl"], told["streamUrl"]) == (FUNCTIONS_URL, STREAM_URL)
    assert told["addresses"] == {
        STREAM_URL: "wss://candidate---mine-stream-a1b2c3d4e5-an.a.run.app/ws",
        **{
            f"https://asia-northeast1-p.cloudfunctions.net/mine-{name}": (
                f"https://candidate---mine-{name}-a1b2c3d4e5-an.a.run.app"
            )
            for name in FUNCTIONS
        },
    }


def test_another_deployment_in_the_project_is_left_alone(cloud: Cloud, shell: Shell) -> None:
    before = cloud.load().data["services"]["other-stream"]
    shell.well("hold")
    shell.deliver()
    for step in ("tag", "shift", "untag"):
        shell.well(step)
    assert cloud.load().data["services"]["other-stream"] == before


def test_a_delivery_after_one_that_failed_holds_what_still_serves(cloud: Cloud, shell: Shell) -> None:
    shell.well("hold")
    shell.deliver()
    shell.well("tag")  # and then the smoke call failed
    shell.well("hold")
    assert shell.written("held_revision") == "mine-stream-00001-abc"
    shell.deliver()
    shell.well("tag")
    assert set(cloud.tags("mine-calls").values()) == {"mine-calls-00003-abc"}
    shell.well("shift")
    assert serving(cloud) == {3}


def test_the_first_delivery_has_nothing_to_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(Cloud.new(tmp_path), monkeypatch)
    assert "nothing serves yet" in shell.well("hold")
    assert shell.written("held_revision") == ""
    for name in SERVICES:
        shell.cloud.deploy(name, FUNCTIONS_URL=FUNCTIONS_URL, STREAM_URL=STREAM_URL)
    for step in ("tag", "shift", "untag"):
        shell.well(step)
    assert serving(shell.cloud) == {1}


def test_a_split_made_by_hand_stops_the_delivery(cloud: Cloud, shell: Shell) -> None:
    second = cloud.deploy("mine-stream")
    cloud.data["services"]["mine-stream"]["traffic"] = [
        {"revisionName": "mine-stream-00001-abc", "percent": 90},
        {"revisionName": second, "percent": 10},
    ]
    cloud.save()
    assert "split between" in shell.refused("hold")


def test_a_revision_that_does_not_start_is_not_tried(cloud: Cloud, shell: Shell) -> None:
    shell.well("hold")
    shell.deliver()
    cloud.load().deploy("mine-calls", ready=False)
    cloud.data["services"]["mine-calls"]["condition"] = "False"
    cloud.save()
    assert "does not start: the container did not listen" in shell.refused("tag")
    assert serving(cloud) == {1}


def test_a_revision_that_nobody_tried_gets_no_traffic(cloud: Cloud, shell: Shell) -> None:
    shell.well("hold")
    shell.deliver()
    shell.well("tag")
    cloud.load().deploy("mine-call-flow")  # by hand, meanwhile
    assert "mine-call-flow has a revision that was not tried" in shell.refused("shift")
    assert serving(cloud) == {1}


def test_a_shift_that_fails_half_way_is_undone(cloud: Cloud, shell: Shell) -> None:
    shell.well("hold")
    shell.deliver()
    shell.well("tag")
    cloud.load().data["broken"] = ["mine-call-events"]
    cloud.save()
    told = shell.refused("shift")
    assert "mine-stream: mine-stream-00001-abc serves again" in told
    assert "mine-call-events: mine-call-events-00001-abc COULD NOT BE PUT BACK" in told
    assert serving(cloud) == {1}


def test_the_stream_service_moves_first(cloud: Cloud, shell: Shell) -> None:
    shell.well("hold")
    shell.deliver()
    shell.well("tag")
    shell.well("shift")
    moved = [call[3] for call in cloud.load().data["calls"] if "--to-latest" in call]
    assert moved[0] == "mine-stream"
    assert sorted(moved) == sorted(SERVICES)


def test_without_gcloud_it_says_so(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "gcloud cannot be run" in shell.refused("hold")


def test_it_needs_the_standard_library_alone() -> None:
    # -S: no site-packages, as in the builder image.
    command = [sys.executable, "-E", "-S", str(INFRA / "release.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
