"""An OpenAI to talk to, quick enough for tests."""

from collections.abc import Iterator
from dataclasses import replace

import openai
import pytest
from realtime_caller import MODEL, Caller

from emulator.openai import OpenAI, Pace
from emulator.recordings import Library

KEY = "sk-right"
QUICK = Pace(
    first_token=0.01,
    characters_per_second=2000,
    response=0.01,
    first_audio=0.01,
    audio_speed=50.0,
    transcription=0.02,
)


@pytest.fixture
def server(library: Library) -> Iterator[OpenAI]:
    with OpenAI(library, keys={KEY}, pace=QUICK) as running:
        yield running


@pytest.fixture
def client(server: OpenAI) -> Iterator[openai.OpenAI]:
    """The vendor's own client, as the product uses it: no hidden retries."""
    realtime = server.realtime_url.removesuffix("/realtime")
    # Reading the certificates would take longer than most tests, and nothing here is encrypted.
    http = openai.DefaultHttpxClient(verify=False)
    with openai.OpenAI(
        api_key=KEY, base_url=server.url, websocket_base_url=realtime, max_retries=0, timeout=5, http_client=http
    ) as made:
        yield made


@pytest.fixture
def unhurried(library: Library) -> Iterator[OpenAI]:
    """One whose voice is made slowly enough to be interrupted in."""
    with OpenAI(library, keys={KEY}, pace=replace(QUICK, audio_speed=6.0)) as running:
        yield running


@pytest.fixture
def caller(client: openai.OpenAI) -> Iterator[Caller]:
    with client.realtime.connect(model=MODEL) as connection:
        one = Caller(connection)
        one.until("session.created")
        yield one
