"""The Firestore emulator for what is measured with it, on the core of who measures; one for all who ask meanwhile."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.bench import machine
from tests.firestore_emulator import EmulatorMissingError, emulator

_HOST = "FIRESTORE_EMULATOR_HOST"


@contextlib.contextmanager
def firestore(folder: Path) -> Iterator[bool]:
    """Whether there is one; processes that are started inside find it by their environment."""
    before = os.environ.get(_HOST)
    with contextlib.ExitStack() as stack:
        try:
            with machine.confined(machine.SECOND_CORE):
                os.environ[_HOST] = stack.enter_context(emulator(folder))
        except EmulatorMissingError:
            yield False
            return
        try:
            yield True
        finally:
            if before is None:
                del os.environ[_HOST]
            else:
                os.environ[_HOST] = before
