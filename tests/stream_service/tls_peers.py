"""Vendors of the pump's tests: peers behind TLS, and the certificate they show."""

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from both_codecs import under_test
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pump_peers import GENEROUS, PATIENCE, Ears, Peer, Scene, tcp_pair
from wsproto.frame_protocol import FrameProtocol

from stream_service.pump import Limits, Link
from stream_service.tls import TlsSocket


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, signed by itself, and its key in one file."""
    return certified(tmp_path_factory.mktemp("tls") / "localhost.pem", "localhost")


def certified(path: Path, host: str, valid: tuple[float, float] = (-3600, 3600)) -> Path:
    """Such a certificate for any host or address, valid between two times (seconds from now)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    try:
        called: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        called = x509.DNSName(host)
    begins, ends = (now + datetime.timedelta(seconds=seconds) for seconds in valid)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([called]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


class Vendor:
    """A link to a peer behind TLS, both ends after their handshakes.

    `before` comes with the handshake. With `pieces`, what the peer sends comes so many bytes at a time.
    """

    def __init__(
        self,
        scene: Scene,
        certificate: Path,
        *,
        before: bytes = b"",
        limits: Limits = GENEROUS,
        held: bool = False,
        small_buffers: bool = False,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        route: Callable[[bytes], bool] | None = None,
        ears: Ears | None = None,
        pieces: int | None = None,
    ) -> None:
        ours, theirs = tcp_pair(small_buffers=small_buffers)
        if pieces:
            theirs = in_pieces(theirs, pieces)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.minimum_version = context.maximum_version = version
        accepted: list[ssl.SSLSocket] = []

        def accept() -> None:
            accepted.append(context.wrap_socket(theirs, server_side=True))
            accepted[0].sendall(b"!" + before)

        thread = threading.Thread(target=accept)
        thread.start()
        ours.settimeout(PATIENCE)
        wrapped = trusting(certificate, ours)
        thread.join(PATIENCE)
        # As after websocket-client's handshake: one byte of the record is read, the rest of it lies inside OpenSSL.
        assert wrapped.recv(1) == b"!"
        self.peer = Peer(accepted[0], client=False)
        self.ears = ears or Ears()
        self.link: Link = scene.pump.adopt(
            wrapped, name="vendor", server=False, limits=limits, held=held, route=route,
            on_message=self.ears.on_message, on_lost=self.ears.on_lost,
        )  # fmt: skip
        scene.peers.append(self.peer)


def trusting(certificate: Path, sock: socket.socket, host: str = "localhost") -> socket.socket:
    """The client's end of TLS, by whichever codec is under test."""
    if under_test.TlsClient is not None:
        return TlsSocket(under_test.TlsClient(str(certificate), None), sock, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    return context.wrap_socket(sock, server_hostname=host)


def in_pieces(sock: socket.socket, size: int) -> socket.socket:
    """The end of another socket; what is sent there goes on to `sock` in pieces, and what comes there comes back."""
    end, inner = socket.socketpair()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def forward(source: socket.socket, sink: socket.socket, most: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(most):
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def both() -> None:
        with sock, inner:
            back = threading.Thread(target=forward, args=(sock, inner, 65_536), daemon=True)
            back.start()
            forward(inner, sock, size)
            back.join(PATIENCE)

    threading.Thread(target=both, daemon=True).start()
    return end


def texts(*messages: str) -> bytes:
    protocol = FrameProtocol(client=False, extensions=[])
    return b"".join(protocol.send_data(message, True) for message in messages)
