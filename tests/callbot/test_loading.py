"""The garbage collector beside imports: it pauses for them, comes back, and lets what they made be. Imports put off."""

import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from callbot.loading import postpone, undisturbed

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()
    gc.unfreeze()


def test_nothing_is_collected_meanwhile_and_what_is_there_is_set_aside() -> None:
    gc.unfreeze()
    with undisturbed():
        assert not gc.isenabled()
        made = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(made)


def test_a_failed_import_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), undisturbed():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with undisturbed():
        pass
    assert not gc.isenabled()


def test_of_two_threads_the_last_one_turns_it_on_again() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with undisturbed():
            inside.set()
            leave.wait(PATIENCE)

    thread = threading.Thread(target=other)
    with undisturbed():
        thread.start()
        assert inside.wait(PATIENCE)
    assert not gc.isenabled()
    leave.set()
    thread.join(PATIENCE)
    assert gc.isenabled()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package whose module `rare` says that it has been run."""
    folder = tmp_path / "callbot_test_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("ran = []\n")
    (folder / "rare.py").write_text("from callbot_test_package import ran\nran.append(1)\nvalue = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder.name
    for name in (folder.name, f"{folder.name}.rare"):
        sys.modules.pop(name, None)


def test_a_postponed_module_runs_when_something_in_it_is_asked_for(package: str) -> None:
    postpone(f"{package}.rare", f"{package}.missing")
    from callbot_test_package import ran, rare  # type: ignore[import-not-found]

    assert ran == []
    assert rare.value == 7
    assert ran == [1]


def test_a_module_that_is_there_already_is_not_run_again(package: str) -> None:
    from callbot_test_package import ran, rare

    postpone(f"{package}.rare")
    assert sys.modules[f"{package}.rare"] is rare
    assert (rare.value, ran) == (7, [1])
