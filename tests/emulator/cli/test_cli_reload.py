"""`callbot dev --reload`: what a developer changes is served without a restart by hand."""

import os
import threading
from pathlib import Path

import pytest

from callbot.agents import DEFAULT_FILE
from emulator import dev

STARTED = "Reloader is on"  # what gunicorn says when a worker begins


def test_a_changed_agents_file_starts_the_server_anew(tmp_path: Path) -> None:
    workers, enough = [], threading.Event()

    def count(line: str) -> None:
        if STARTED in line:
            workers.append(line)
        if len(workers) == 2:
            enough.set()

    env = {**os.environ, "CALL_STORE": f"sqlite:{tmp_path / 'calls.db'}"}
    system = dev.LocalSystem(dev.wishes(env, port=0), reload=True, output=count)
    system.start()
    try:
        for _ in range(20):  # gunicorn looks once a second, and at first only to remember
            os.utime(DEFAULT_FILE)
            if enough.wait(1.0):
                return
        pytest.fail("it was never started anew")
    finally:
        system.stop()
