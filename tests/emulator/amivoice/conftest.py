"""An AmiVoice to talk to."""

from collections.abc import Iterator

import pytest
from amivoice_client import KEY, START, Client, Dial

from emulator.amivoice import AmiVoice, Limits
from emulator.recordings import Library


@pytest.fixture
def amivoice(library: Library) -> Iterator[AmiVoice]:
    with AmiVoice(library, keys={KEY}) as server:
        yield server


@pytest.fixture
def impatient(library: Library) -> Iterator[AmiVoice]:
    """The same with limits short enough to wait for."""
    limits = Limits(no_speech=3.0, no_data=0.3, utterance=2.0)
    with AmiVoice(library, keys={KEY}, limits=limits) as server:
        yield server


@pytest.fixture
def dial() -> Iterator[Dial]:
    clients: list[Client] = []

    def dial_to(server: AmiVoice, start: str | None = START) -> Client:
        client = Client(server.url)
        clients.append(client)
        if start is not None:
            client.send(start)
            assert client.next().strip() == "s"
        return client

    yield dial_to
    for client in clients:
        client.socket.close_timeout = 0.2
        client.socket.close()
