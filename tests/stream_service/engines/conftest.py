"""What the engines' tests run on: a pump, threads, and the shipped recordings."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from emulator.recordings import Library
from stream_service.pump import Pump


@pytest.fixture(scope="session")
def library() -> Library:
    return Library.shipped()


@pytest.fixture
def pump() -> Iterator[Pump]:
    running = Pump()
    running.start()
    yield running
    running.stop(2)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads
