"""The echo server and client themselves: the Autobahn suite's instruments must not be what fails."""

import socket
import threading
from collections.abc import Iterator

import pytest
import websocket
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websockets

from stream_service.pump import Pump
from tests.bench import echo_client, echo_server


@pytest.fixture
def pump() -> Iterator[Pump]:
    pump = Pump()
    pump.start()
    yield pump
    pump.stop(2)


def test_the_server_echoes_to_a_client_of_others(pump: Pump) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=echo_server.serve, args=(listener, pump))
    thread.start()
    url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
    with socket.create_connection(listener.getsockname()) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(10) == b""
    ws = websocket.create_connection(url, timeout=10)
    for message in ("", "こんにちは", "x" * 200_000):
        ws.send(message)
        assert ws.recv() == message
    ws.send_binary(b"\xff" * 70_000)
    assert ws.recv() == b"\xff" * 70_000
    ws.close(timeout=5)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)
    assert not thread.is_alive()


def test_the_client_runs_every_case_of_a_fuzzing_server(pump: Pump) -> None:
    asked: list[str] = []
    reported = threading.Event()

    def fuzz(connection: ServerConnection) -> None:
        path = connection.request.path if connection.request else ""
        asked.append(path)
        if path == "/getCaseCount":
            connection.send("3")
        elif path.startswith("/runCase"):
            for message in ("text", b"binary", "x" * 100_000):
                connection.send(message)
                assert connection.recv(timeout=10) == message
            asked.append("echoed")
        else:
            reported.set()

    with serve_websockets(fuzz, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert echo_client.run_suite(f"ws://127.0.0.1:{server.socket.getsockname()[1]}", pump) == 3
        assert reported.wait(10)
        server.shutdown()
        thread.join(10)
    assert asked.count("echoed") == 3
    assert asked[0] == "/getCaseCount"
    assert asked[-1].startswith("/updateReports")
