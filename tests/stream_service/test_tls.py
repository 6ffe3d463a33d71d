"""TLS with a vendor as its client: whom it takes for the vendor, and what it does when one fails. Both ways alike."""

import ctypes
import ctypes.util
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from both_codecs import way
from cryptography import x509
from pump_peers import PATIENCE, tcp_pair
from tls_peers import certified, trusting

from stream_service.tls import Authorities, tls_of

__all__ = ["way"]

DAY = 86_400.0
Serve = Callable[[ssl.SSLSocket], object]


@pytest.fixture
def certify(tmp_path: Path) -> Callable[..., Path]:
    """Makes certificates; whoever is given one's file trusts it."""
    return lambda name="localhost", **how: certified(tmp_path / "peer.pem", name, **how)


@contextmanager
def peer(sock: socket.socket, certificate: Path, serve: Serve, version: ssl.TLSVersion | None = None) -> Iterator[None]:
    """The other end, on a thread of its own; what it thinks of the handshake is its own business."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if version:
        context.minimum_version = context.maximum_version = version

    def run() -> None:
        sock.settimeout(PATIENCE)
        try:
            with context.wrap_socket(sock, server_side=True) as secure:
                serve(secure)
        except OSError:
            sock.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE)


@contextmanager
def opened(certificate: Path, serve: Serve, host: str = "localhost", **how: ssl.TLSVersion) -> Iterator[socket.socket]:
    ours, theirs = tcp_pair()
    ours.settimeout(PATIENCE)
    with peer(theirs, certificate, serve, **how):
        secure = trusting(certificate, ours, host)
        try:
            yield secure
        finally:
            secure.close()


def echo(secure: ssl.SSLSocket) -> None:
    while data := secure.recv(65_536):
        secure.sendall(data)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_sent_comes_and_the_end_is_told(certify: Callable[..., Path], version: ssl.TLSVersion) -> None:
    with opened(certify(), lambda secure: secure.sendall(secure.recv(100)), version=version) as secure:
        assert secure.send(b"hello") == 5
        assert secure.recv(2) == b"he"
        assert tls_of(secure).pending() == 3  # type: ignore[union-attr]  # it is one
        assert secure.recv(100) == b"llo"
        assert secure.recv(100) == b""


def test_more_than_the_buffers_hold_comes_whole(certify: Callable[..., Path]) -> None:
    sent = bytes(range(256)) * 8_000
    with opened(certify(), echo) as secure:
        left, got = memoryview(sent), bytearray()

        def write() -> None:
            nonlocal left
            while left:
                left = left[secure.send(left[:16_384]) :]

        for _ in range(125):  # never more under way than the echo can hold
            left = memoryview(sent)[len(got) : len(got) + 16_384]
            write()
            before = len(got)
            while len(got) < before + 16_384:
                got += secure.recv(16_384)
    assert bytes(got) == sent


def test_an_address_is_what_its_certificate_says(certify: Callable[..., Path]) -> None:
    with opened(certify("127.0.0.1"), echo, "127.0.0.1") as secure:
        assert secure.send(b"x") == 1


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("elsewhere.example", "localhost"),
        ("127.0.0.1", "127.0.0.2"),
        ("localhost", "127.0.0.1"),
        ("a*.example", "ab.example"),
        ("*.vendor.example", "deep.api.vendor.example"),
    ],
)
def test_a_certificate_for_another_is_refused(certify: Callable[..., Path], name: str, host: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), opened(certify(name), echo, host):
        pass


def test_a_wildcard_stands_for_one_name(certify: Callable[..., Path]) -> None:
    with opened(certify("*.vendor.example"), echo, "api.vendor.example") as secure:
        assert secure.send(b"x") == 1


@pytest.mark.parametrize("valid", [(-2 * DAY, -DAY), (DAY, 2 * DAY)])
def test_so_is_one_that_is_over_or_has_not_begun(certify: Callable[..., Path], valid: tuple[float, float]) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), opened(certify(valid=valid), echo):
        pass


def test_nobody_is_trusted_whom_the_system_does_not_vouch_for(
    certify: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certify()
    ours, theirs = tcp_pair()
    ours.settimeout(PATIENCE)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with peer(theirs, certificate, echo), pytest.raises(ssl.SSLCertVerificationError):
        Authorities().wrap_socket(ours, server_hostname="localhost")
    assert ours.fileno() == -1  # closed, or taken over and closed


def test_the_host_is_asked_for_by_its_name(certify: Callable[..., Path]) -> None:
    asked: list[str | None] = []
    certificate = certify()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _sock, name, _context: asked.append(name)
    ours, theirs = tcp_pair()
    ours.settimeout(PATIENCE)
    thread = threading.Thread(target=lambda: context.wrap_socket(theirs, server_side=True).close())
    thread.start()
    trusting(certificate, ours, "localhost").close()
    thread.join(PATIENCE)
    assert asked == ["localhost"]


def test_old_versions_are_not_spoken(certify: Callable[..., Path]) -> None:
    with (
        pytest.warns(DeprecationWarning, match="TLSv1_1"),
        pytest.raises(OSError),  # noqa: PT011 - how it is refused is OpenSSL's
        opened(certify(), echo, version=ssl.TLSVersion.TLSv1_1),
    ):
        pass


def test_who_says_nothing_is_waited_for_no_longer_than_the_socket_says(certify: Callable[..., Path]) -> None:
    ours, theirs = tcp_pair()
    with theirs:
        ours.settimeout(0.05)
        with pytest.raises(TimeoutError):
            trusting(certify(), ours, "localhost")
    with opened(certify(), lambda secure: secure.recv(1)) as secure:
        secure.settimeout(0.05)
        with pytest.raises(TimeoutError):
            secure.recv(1)
        secure.settimeout(0)
        with pytest.raises(ssl.SSLWantReadError):
            secure.recv(1)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_who_does_not_speak_tls_is_an_error_and_is_closed(certify: Callable[..., Path], answer: bytes) -> None:
    ours, theirs = tcp_pair()
    ours.settimeout(PATIENCE)

    def serve() -> None:
        with theirs:
            theirs.recv(10_000)
            theirs.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(OSError):  # noqa: PT011 - ssl.SSLError and ConnectionResetError are
        trusting(certify(), ours, "localhost")
    thread.join(PATIENCE)
    assert ours.fileno() == -1


def test_a_peer_that_breaks_off_is_at_its_end(certify: Callable[..., Path]) -> None:
    with opened(certify(), lambda secure: socket.socket(fileno=secure.detach()).close()) as secure:
        assert secure.recv(10) == b""


def leave_an_error() -> None:
    """Somebody else on this thread uses OpenSSL, fails, and does not clear away what it says of that."""
    crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
    of_ssl, bad_length = 20, 271  # ERR_LIB_SSL and one of its reasons
    crypto.ERR_new()
    crypto.ERR_set_error(of_ssl, bad_length, None)
    assert crypto.ERR_peek_error()


def test_what_others_did_wrong_is_not_ours(certify: Callable[..., Path], way: str) -> None:
    """Python's own TLS takes it for its own, so only the compiled one is asked."""
    if way == "python":
        return
    full = threading.Event()

    def serve(secure: ssl.SSLSocket) -> None:
        secure.sendall(b"hello")
        full.wait(PATIENCE)
        secure.unwrap()

    with opened(certify(), serve) as secure:
        assert secure.recv(10) == b"hello"
        secure.settimeout(0)
        leave_an_error()
        with pytest.raises(ssl.SSLWantWriteError):
            sum(secure.send(bytes(16_384)) for _ in range(10_000))
        full.set()
        secure.settimeout(PATIENCE)
        leave_an_error()
        assert secure.recv(10) == b""


def test_nothing_is_written_to_whoever_has_the_number_of_a_closed_socket(certify: Callable[..., Path]) -> None:
    with opened(certify(), echo) as secure:
        tls = tls_of(secure)
        assert tls is not None
        secure.close()
        for use in (lambda: tls.write(b"x"), lambda: tls.read(1)):
            with pytest.raises(OSError):  # noqa: PT011 - whichever
                use()


def test_certificates_made_here_say_what_the_tests_believe(certify: Callable[..., Path]) -> None:
    made = x509.load_pem_x509_certificate(certify("127.0.0.1").read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
