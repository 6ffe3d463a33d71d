"""Where the carrier goes for a public address: to this machine, or, for a revision that is tried, to another host."""

import datetime
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twilio_customer import ACCOUNT, NUMBER, TOKEN, connect_stream, response, ring
from websockets.sync.server import ServerConnection, serve

from emulator.twilio import Carrier, FetchError, HangUp, Number, Wait
from emulator.twilio.webhooks import Tunnels, host_asked

PUBLIC = "https://region-project.test/mine"


@pytest.mark.parametrize(
    ("public", "address"),
    [
        ("https://callbot.test/start?a=1", "http://127.0.0.1:3000/start?a=1"),
        ("wss://callbot.test/ws", "http://127.0.0.1:3000/ws"),
        (f"{PUBLIC}-call-flow?step=listen&n=1", "https://candidate.test?step=listen&n=1"),
        (f"{PUBLIC}-calls/CA1", "https://calls.test/CA1"),
        (f"{PUBLIC}-calls", "https://calls.test"),
        (f"{PUBLIC}-calls/CA2/turns", "https://one-call.test/turns"),
        # Another function, whose name only begins the same.
        (f"{PUBLIC}-calls-of-others", "https://elsewhere.test/mine-calls-of-others"),
    ],
)
def test_the_longest_public_address_that_fits_counts(public: str, address: str) -> None:
    tunnels = Tunnels(
        {
            "callbot.test": "http://127.0.0.1:3000",
            "region-project.test": "https://elsewhere.test",
            f"{PUBLIC}-call-flow": "https://candidate.test",
            f"{PUBLIC}-calls": "https://calls.test/",
            f"{PUBLIC}-calls/CA2": "https://one-call.test",
        }
    )
    assert tunnels.locate(public) == address


def test_an_address_without_a_tunnel_does_not_exist() -> None:
    with pytest.raises(FetchError) as raised:
        Tunnels({f"{PUBLIC}-calls": "https://calls.test"}).locate(f"{PUBLIC}-twiml")
    assert raised.value.code == 11210


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://127.0.0.1:3000/start", "callbot.test"),
        ("http://localhost:3000/start", "callbot.test"),
        ("https://candidate---mine.run.app/", "candidate---mine.run.app"),
        ("https://candidate.test:8443/", "candidate.test:8443"),
    ],
)
def test_what_is_not_on_this_machine_is_asked_by_its_own_name(address: str, host: str) -> None:
    assert host_asked("https://callbot.test/start", address) == host


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS for `callbot.test`, and the file of who vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "callbot.test")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("callbot.test"), x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.pem").write_bytes(pem)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(secret + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context, folder / "ca.pem"


@pytest.fixture
def secure_site(tls: tuple[ssl.SSLContext, Path]) -> Iterator[str]:
    """An https address that answers every webhook with a two-way stream."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = response(connect_stream(url="wss://callbot.test/ws")).encode()
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Answers)
    server.socket = tls[0].wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    thread.join(5)
    server.server_close()


def test_webhooks_and_streams_go_by_tls_where_the_address_says_so(
    tls: tuple[ssl.SSLContext, Path], secure_site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages, versions = list[str](), list[str]()

    def take(connection: ServerConnection) -> None:
        versions.append(connection.socket.version())  # type: ignore[attr-defined]  # it is one with TLS
        messages.extend(map(str, connection))

    server = serve(take, "127.0.0.1", 0, ssl=tls[0])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(tls[1]))
    port = server.socket.getsockname()[1]
    carrier = Carrier(
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        numbers={NUMBER: Number("https://site.test/start")},
        tunnels={"site.test": secure_site, "callbot.test": f"https://127.0.0.1:{port}"},
    )
    with carrier:
        report = ring(carrier, Wait(0.3), HangUp()).wait(20)
    server.shutdown()
    thread.join(5)
    assert report.errors == []
    assert versions == ["TLSv1.2"]
    assert '"event": "start"' in messages[1]


def test_a_stream_whose_certificate_nobody_vouches_for_is_not_opened(tls: tuple[ssl.SSLContext, Path]) -> None:
    server = serve(lambda connection: connection.recv(), "127.0.0.1", 0, ssl=tls[0])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    port = server.socket.getsockname()[1]
    document = response(connect_stream(url="wss://callbot.test/ws"))
    carrier = Carrier(
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        numbers={NUMBER: Number("https://site.test/start")},
        tunnels={"callbot.test": f"https://127.0.0.1:{port}"},
        fetch=lambda *_: (200, {"Content-Type": "text/xml"}, document.encode()),
    )
    with carrier:
        report = ring(carrier, Wait(0.3), HangUp()).wait(20)
    server.shutdown()
    thread.join(5)
    assert [code for code, _ in report.errors] == [31902]
