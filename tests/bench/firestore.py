"""The Firestore emulator for what is measured with it, on the core of who measures; one for all who ask meanwhile."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from callbot.store_firestore import FirestoreCallStore
from tests.bench import machine
from tests.firestore_emulator import EmulatorMissingError, emulator
from tests.functions.scenes import a_call

_HOST = "FIRESTORE_EMULATOR_HOST"
# After so many calls the emulator answers in 3 ms and not in 15, as its Java has compiled itself. The database that it
# stands for is never cold.
_WARM_CALLS = 250


@contextlib.contextmanager
def firestore(folder: Path) -> Iterator[bool]:
    """Whether there is one; processes that are started inside find it by their environment."""
    before = os.environ.get(_HOST)
    with contextlib.ExitStack() as stack:
        try:
            with machine.confined(machine.SECOND_CORE):
                os.environ[_HOST] = stack.enter_context(emulator(folder))
                _warm()
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


def _warm() -> None:
    store = FirestoreCallStore("warm")
    for number in range(_WARM_CALLS):
        sid = f"CA{number:032x}"
        store.begin(a_call(sid=sid))
        store.get(sid)
    store.close()
