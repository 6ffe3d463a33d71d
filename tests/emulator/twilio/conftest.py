"""The customer and an account to call them from: on a virtual clock, or in real time with sockets for everything."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from twilio_customer import ACCOUNT, NUMBER, TOKEN, MediaServer, Site
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from emulator.twilio import Carrier, Number, VirtualClock


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def media() -> Iterator[MediaServer]:
    server = MediaServer()
    yield server
    server.stop()


@pytest.fixture
def still(site: Site) -> Iterator[Carrier]:
    """A carrier on a virtual clock whose webhooks go straight to the site."""
    carrier = Carrier(
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        numbers={NUMBER: Number("https://callbot.test/start", "https://callbot.test/events")},
        fetch=site.fetch,
        clock=VirtualClock(),
    )
    site.pages |= {"/events": Response(status=204), "/stream": Response(status=204)}
    with carrier:
        yield carrier


@pytest.fixture
def real(site: Site, media: MediaServer) -> Iterator[Carrier]:
    """A carrier in real time, with sockets for everything."""
    server = make_server("127.0.0.1", 0, site, threaded=True)
    server.daemon_threads = True
    server.RequestHandlerClass.log_request = lambda *_: None  # type: ignore[attr-defined]  # no access log in tests
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    site.pages |= {"/events": Response(status=204), "/stream": Response(status=204)}
    carrier = Carrier(
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        numbers={NUMBER: Number("https://callbot.test/start", "https://callbot.test/events")},
        tunnels={
            "callbot.test": f"http://127.0.0.1:{server.server_port}",
            "stream.test": f"http://127.0.0.1:{media.port}",
        },
        say_rate=4.0,
        detection_seconds=0.1,
    )
    with carrier:
        yield carrier
    server.shutdown()
    thread.join(5)
    server.server_close()
