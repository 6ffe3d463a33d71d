"""The codec in Python and the compiled one, for tests that must hold for both.

The compiled one is built for the tests from the sources as they are, wherever a compiler is; what lies beside the
sources is not asked. A test module imports the fixture `codec`, and takes everything from `under_test`; or the fixture
`way`, when it has a pump at work, which then takes everything from there as well.
"""

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stream_service import connection, poller, tls
from stream_service.engines.downlink import PythonDownlink
from stream_service.engines.repeats import PythonRepeats
from stream_service.engines.uplink import PythonUplink
from stream_service.lane import PythonLane
from stream_service.outbox import PythonOutbox
from stream_service.playout import PythonPlayout
from stream_service.wire import build_codec, frames
from stream_service.wire.build_codec import CannotBuildError
from stream_service.wire.frame_decoder import PythonDecoder


@dataclass
class Codec:
    """One of the two; the names are those of `stream_service.wire._codec`."""

    encode: Callable[[int, bytes, bool], bytes] = frames.python_encode
    Decoder: Any = PythonDecoder
    Outbox: Any = PythonOutbox
    Uplink: Any = PythonUplink
    Downlink: Any = PythonDownlink
    Playout: Any = PythonPlayout
    Repeats: Any = PythonRepeats
    Lane: Any = PythonLane
    Mover: Any = None
    TlsClient: Any = None


under_test = Codec()


@contextmanager
def _put_to_test(which: str) -> Iterator[str]:
    chosen = Codec() if which == "python" else compiled_codec()
    vars(under_test).update(vars(chosen))
    yield which
    vars(under_test).update(vars(Codec()))


@pytest.fixture(scope="module", params=["python", "compiled"], autouse=True)
def codec(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs every test of the module twice. Without a compiler the second time is skipped."""
    with _put_to_test(request.param) as which:
        yield which


@pytest.fixture(scope="module", params=["python", "compiled"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Like `codec`, and pumps that are started meanwhile move everything this way."""
    with _put_to_test(request.param) as which, pytest.MonkeyPatch.context() as patch:
        for name in ("Lane", "Decoder", "Outbox"):
            patch.setattr(connection, name, getattr(under_test, name))
        patch.setattr(poller, "Mover", under_test.Mover)
        patch.setattr(tls, "TlsClient", under_test.TlsClient)
        yield which


def compiled_codec() -> Codec:
    """The compiled pieces; the test is skipped when they cannot be built here."""
    try:
        module = compiled()
    except CannotBuildError as error:
        pytest.skip(f"the codec cannot be compiled here: {error}")
    found = {field.name: getattr(module, field.name, None) for field in fields(Codec)}
    # A Mover there is only on Linux, TLS only with OpenSSL.
    return Codec(**{name: piece for name, piece in found.items() if piece is not None})


@cache
def compiled() -> ModuleType:
    """The compiled codec as a module. Raises CannotBuildError."""
    target = _folder() / "_codec.abi3.so"
    if not target.exists():
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        build_codec.build(target)  # other workers may do the same, and it is put in place whole
    spec = importlib.util.spec_from_file_location("stream_service.wire._codec", target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _folder() -> Path:
    """One for each state of the sources, shared by the test workers of a user."""
    sources = sorted(build_codec.HERE.glob("_codec*.[ch]"))
    state = hashlib.sha256(b"".join(source.read_bytes() for source in sources) + sys.version.encode())
    return Path(tempfile.gettempdir()) / f"callbot-codec-{os.getuid()}" / state.hexdigest()[:16]
