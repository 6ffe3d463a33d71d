"""Fixtures for tests of more than one part."""

import gc
import os
from collections.abc import Generator, Iterator

import pytest

from tests.firestore_emulator import EmulatorMissingError, emulator


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage, of which there is none: looking takes each worker a quarter of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have two thirds of the workers begin with what mostly waits; the others work off what needs a core meanwhile.

    Each worker begins with an equal share of the list and then takes from the end of another's.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    total, begin = len(items), workers * 2 // 3
    waiting = [item for item in items if item.get_closest_marker("real_time")]
    if begin:
        items[:] = [item for item in items if not item.get_closest_marker("real_time")]
    for n in range(begin):
        at = n * total // workers
        items[at:at] = waiting[n::begin]


@pytest.fixture(scope="session")
def firestore_address(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    """Where the Firestore emulator is; shared by all workers, so each test takes a project of its own.

    Without an emulator the test is skipped, and under CI it fails: there it must run.
    """
    base = tmp_path_factory.getbasetemp()
    try:
        with emulator(base if worker_id == "master" else base.parent) as address:
            yield address
    except EmulatorMissingError as missing:
        if os.environ.get("CI"):
            pytest.fail(f"under CI these tests must run, but {missing}")
        pytest.skip(str(missing))
