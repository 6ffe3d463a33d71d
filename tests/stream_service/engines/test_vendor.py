"""The vendors' sockets under TLS: whom we take for a vendor, and that a process reads the authorities once."""

import base64
import hashlib
import queue
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from both_codecs import way
from tls_peers import certificate

from engines.engine_desk import PATIENCE
from stream_service.engines import vendor
from stream_service.engines.port import FromVendor, VendorOpened, VendorRefused
from stream_service.engines.vendor import VendorConnection
from stream_service.pump import Pump
from stream_service.tls import Authorities
from stream_service.wire.frames import Text

__all__ = ["certificate", "way"]  # every test here runs both ways

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class Server:
    """Serves each connection on a thread of its own; everything is closed at the end."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.closing = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            peer, _ = self._listener.accept()
            peer.settimeout(PATIENCE)
            self._threads.append(threading.Thread(target=self._attend, args=(peer,)))
            self._threads[-1].start()

    def _attend(self, peer: socket.socket) -> None:
        with peer:
            if not self.closing.is_set():
                self._serve(peer)

    def close(self) -> None:
        self.closing.set()
        socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()  # has it look
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()


@pytest.fixture
def behind_tls(certificate: Path) -> Iterator[Server]:
    """A vendor at `localhost`, which takes every handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(peer: socket.socket) -> None:
        try:
            with context.wrap_socket(peer, server_side=True) as secured:
                shake_hands(secured)
                secured.recv(1)  # until the client goes
        except OSError:  # the client would not have our certificate
            return

    server = Server(serve)
    yield server
    server.close()


def shake_hands(peer: socket.socket) -> None:
    asked = heading(peer)
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", asked)
    assert key
    accept = base64.b64encode(hashlib.sha1(key[1] + _MAGIC).digest())  # noqa: S324 - RFC 6455 wants it
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    peer.sendall(upgrade + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")


def heading(peer: socket.socket) -> bytes:
    asked = b""
    while not asked.endswith(b"\r\n\r\n"):
        asked += peer.recv(1) or pytest.fail("gone before its request was whole")
    return asked


Connect = Callable[[str], FromVendor]


@pytest.fixture
def connect(pump: Pump, pool: ThreadPoolExecutor) -> Iterator[Connect]:
    """What becomes of one try to connect to a URL."""
    opened: list[VendorConnection] = []

    def connect_to(url: str) -> FromVendor:
        news: queue.Queue[FromVendor] = queue.Queue()
        opened.append(
            VendorConnection(
                service="vendor",
                url=url,
                headers=list,
                pump=pump,
                pool=pool,
                post=news.put,  # type: ignore[arg-type]  # a connection posts nothing else
                on_text=lambda epoch, text: news.put(FromVendor(epoch, Text(text))),
            )
        )
        opened[-1].open(0.0)
        return news.get(timeout=PATIENCE)

    vendor.authorities.cache_clear()
    yield connect_to
    for connection in opened:
        connection.close()
    vendor.authorities.cache_clear()


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.mark.usefixtures("trusted")
def test_a_vendor_whose_certificate_is_trusted_is_connected_to(behind_tls: Server, connect: Connect) -> None:
    assert isinstance(connect(f"wss://localhost:{behind_tls.port}/").news, VendorOpened)


def test_a_stranger_is_not(behind_tls: Server, connect: Connect) -> None:
    refused = connect(f"wss://localhost:{behind_tls.port}/").news
    assert isinstance(refused, VendorRefused)
    assert "CertVerification" in str(refused.error)


@pytest.mark.usefixtures("trusted")
def test_nor_is_somebody_with_a_certificate_for_another_host(behind_tls: Server, connect: Connect) -> None:
    refused = connect(f"wss://127.0.0.1:{behind_tls.port}/").news
    assert isinstance(refused, VendorRefused)
    assert "CertVerification" in str(refused.error)


@pytest.mark.usefixtures("trusted")
def test_the_authorities_are_read_once_for_all_connections(
    behind_tls: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Authorities] = []
    read = Authorities.__init__
    monkeypatch.setattr(Authorities, "__init__", lambda self: made.append(self) or read(self))
    for _ in range(3):
        assert isinstance(connect(f"wss://localhost:{behind_tls.port}/").news, VendorOpened)
    assert len(made) == 1


@pytest.mark.usefixtures("trusted")
def test_a_proxy_is_gone_through_and_the_certificate_is_the_vendors(
    behind_tls: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def serve(peer: socket.socket) -> None:
        asked.append(heading(peer).partition(b"\r\n")[0])
        with socket.create_connection(("127.0.0.1", behind_tls.port), PATIENCE) as beyond:
            peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=carry, args=(beyond, peer))
            back.start()
            carry(peer, beyond)
            back.join(PATIENCE)

    proxy = Server(serve)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "elsewhere.example")  # or websocket-client goes to localhost directly
    try:
        news = connect(f"wss://localhost:{behind_tls.port}/").news
        assert isinstance(news, VendorOpened)
        assert asked == [f"CONNECT localhost:{behind_tls.port} HTTP/1.1".encode()]
        news.link.abort()
    finally:
        proxy.close()


def carry(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return
