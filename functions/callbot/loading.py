"""How libraries are loaded: beside the garbage collector, or later. Which, and when, is their users' business."""

import gc
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_postponing = threading.Lock()  # of two modules of one name, only one would ever run
_loading = 0  # blocks of `undisturbed` that are being run, on whatever threads
_was_enabled = False


@contextmanager
def undisturbed() -> Iterator[None]:
    """Import in this block what stays until the process ends.

    A large library makes 100,000 objects that are never garbage. Meanwhile the collector would look through them again
    and again, for a sixth of the time that the import takes; and afterwards each full collection would stop all threads
    for as long as it takes to look through them all (60 ms with the packages of the stream service). So it pauses, and
    what is there at the end is set aside (Python: gc.freeze).
    """
    global _loading, _was_enabled
    with _lock:
        if not _loading:
            _was_enabled = gc.isenabled()
            gc.disable()
        _loading += 1
    try:
        yield
    finally:
        with _lock:
            _loading -= 1
            if not _loading:
                gc.freeze()
                if _was_enabled:
                    gc.enable()


def postpone(*names: str) -> None:
    """Run each of these modules of packages when something in it is first asked for, and not when it is imported.

    For what a library imports and hardly ever uses (Python: importlib.util.LazyLoader). A module that is not there, or
    is there already, stays as it is.
    """
    with _postponing:
        for name in names:
            _postpone(name)


def _postpone(name: str) -> None:
    package, _, child = name.rpartition(".")
    parent = importlib.import_module(package)
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    setattr(parent, child, module)  # where `from package import child` looks first
