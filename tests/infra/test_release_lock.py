"""One delivery at a time, and none that undoes a newer one."""

import threading
from pathlib import Path

import pytest

from tests.infra.fake_gcloud import Cloud
from tests.infra.release_shell import Shell

LOCK = "gs://state/mine/delivery.lock"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud.new(tmp_path)


@pytest.fixture
def shell(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(cloud, monkeypatch)


def build(cloud: Cloud, name: str, status: str, created: str, trigger: str = "t") -> None:
    cloud.data["builds"][name] = {"id": name, "status": status, "createTime": created, "buildTriggerId": trigger}
    cloud.save()


def lock(shell: Shell, name: str, seconds: float = 0) -> tuple[int, str]:
    where = (f"--object={LOCK}", f"--build={name}", "--build-region=asia-northeast1")
    return shell.run("lock", *where, f"--seconds={seconds}")


def unlock(shell: Shell, name: str) -> tuple[int, str]:
    return shell.run("unlock", f"--object={LOCK}", f"--build={name}", "--build-region=asia-northeast1")


def holder(cloud: Cloud) -> str:
    found = cloud.load().data["objects"].get(LOCK)
    return str(found["metadata"]["build"]) if found else ""


def test_one_build_delivers_at_a_time(cloud: Cloud, shell: Shell) -> None:
    build(cloud, "one", "WORKING", "2026-01-01T00:00:00Z")
    build(cloud, "two", "WORKING", "2026-01-01T00:01:00Z")
    assert lock(shell, "one")[0] == 0
    assert lock(shell, "one")[0] == 0  # a step that is run again
    code, told = lock(shell, "two")
    assert code == 1
    assert "build one still has the lock" in told
    assert unlock(shell, "one")[0] == 0
    assert lock(shell, "two")[0] == 0
    assert holder(cloud) == "two"


@pytest.mark.parametrize("status", ["FAILURE", "CANCELLED", "TIMEOUT"])
def test_a_lock_that_a_dead_build_left_is_taken_over(cloud: Cloud, shell: Shell, status: str) -> None:
    build(cloud, "one", "WORKING", "2026-01-01T00:00:00Z")
    assert lock(shell, "one")[0] == 0
    build(cloud.load(), "one", status, "2026-01-01T00:00:00Z", trigger="another")
    build(cloud, "two", "WORKING", "2026-01-01T00:01:00Z")
    assert lock(shell, "two")[0] == 0
    assert holder(cloud) == "two"
    code, told = unlock(shell, "one")
    assert code == 1
    assert "two deliveries may have run at once" in told
    assert holder(cloud) == "two"


def test_an_older_push_does_not_undo_a_newer_one(cloud: Cloud, shell: Shell) -> None:
    build(cloud, "newer", "SUCCESS", "2026-01-01T00:01:00.5Z")
    build(cloud, "older", "WORKING", "2026-01-01T00:01:00.123456Z")
    build(cloud, "review", "SUCCESS", "2026-01-01T00:02:00Z", trigger="pull requests")
    build(cloud, "again", "WORKING", "2026-01-01T00:03:00Z")
    code, told = lock(shell, "older")
    assert code == 1
    assert "newer is newer" in told
    assert holder(cloud) == ""
    assert lock(shell, "again")[0] == 0


def test_what_cannot_be_asked_is_not_taken_for_free(cloud: Cloud, shell: Shell) -> None:
    build(cloud, "one", "WORKING", "2026-01-01T00:00:00Z")
    assert lock(shell, "one")[0] == 0
    del cloud.load().data["builds"]["one"]
    build(cloud, "two", "WORKING", "2026-01-01T00:01:00Z")
    code, told = lock(shell, "two")
    assert code == 1
    assert "NOT_FOUND" in told
    assert holder(cloud) == "one"


def test_a_build_waits_for_the_one_before_it(cloud: Cloud, shell: Shell) -> None:
    from release_gcloud import Gcloud
    from release_lock import Lock

    build(cloud, "one", "WORKING", "2026-01-01T00:00:00Z")
    build(cloud, "two", "WORKING", "2026-01-01T00:01:00Z")
    waiting, free = threading.Event(), threading.Event()

    def sleep(_: float) -> None:
        waiting.set()
        assert free.wait(20)

    first, second = (
        Lock(Gcloud("p"), LOCK, build=name, region="r", say=lambda _: None, sleep=sleep) for name in ("one", "two")
    )
    first.take(0)
    waiter = threading.Thread(target=second.take, args=(30,), daemon=True)
    waiter.start()
    assert waiting.wait(20)
    assert holder(cloud) == "one"
    first.give_back()
    free.set()
    waiter.join(20)
    assert holder(cloud) == "two"
