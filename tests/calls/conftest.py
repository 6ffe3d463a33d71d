"""One system for each test process, as long as it makes calls; each test leaves it as it found it."""

from collections.abc import Iterator

import pytest

from emulator.openai.faults import ChatFault, ConnectionFault, ResponseFault
from tests.calls.system import System


@pytest.fixture(scope="package")
def running_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system")) as system:
        yield system


@pytest.fixture
def system(running_system: System) -> Iterator[System]:
    running_system.stream.wait_until_healthy()
    running_system.functions.wait_until_healthy()
    faults = running_system.carrier.faults
    before = dict(vars(faults))
    yield running_system
    vars(faults).update(before)
    running_system.callees.clear()
    while running_system.amivoice.faults.take():
        pass
    for kind in (ChatFault, ConnectionFault, ResponseFault):
        while running_system.openai.faults.take(kind):
            pass
