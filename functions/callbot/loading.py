"""How libraries are loaded beside the garbage collector. Which are loaded, and when, is their users' business."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
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
