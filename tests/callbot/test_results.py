"""Where a result may be sent: to the public, and not into our own network."""

import socket
import threading

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot import results
from callbot.errors import RefusedError
from tests.functions.scenes import a_call, settings

PRIVATE = [
    "0.0.0.0",  # noqa: S104  (an address that is refused)
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.1.2.3",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "203.0.113.5",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2001::7f00:1",
    "2002:7f00:1::",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "",
    "localhost",
    "127.1",
    "2130706433",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_none_to_send_to(address):
    assert not results.is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", "::ffff:8.8.8.8"])
def test_a_public_address_is(address):
    assert results.is_public(address)


@hypothesis.settings(deadline=None)  # a busy machine is not a failure
@given(st.one_of(st.text(max_size=40), st.ip_addresses().map(str)))
def test_no_address_is_an_error(address):
    assert results.is_public(address) in (True, False)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/latest/meta-data",
        "https://169.254.169.254/",
        "ftp://example.com/",
    ],
)
def test_nothing_is_connected_to_inside(monkeypatch, url):
    def connect(*_: object, **__: object) -> None:
        pytest.fail("connected")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(RefusedError):
        results._post(url, b"{}", ())


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(RefusedError):
        results._post("https://rebinding.test/", b"{}", ())


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch):
    asked = []

    def resolve(*_: object, **__: object) -> list[object]:
        asked.append(1)
        # A second look would find another address.
        address = "8.8.8.8" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]

    def connect(address: tuple[str, int], timeout: float) -> None:
        raise ConnectionRefusedError(address[0])

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(ConnectionRefusedError, match=r"8\.8\.8\.8"):
        results._post("https://rebinding.test/", b"{}", ())


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1", b"garbage\r\n", b"x" * 5000, b"HTTP/1.1 abc\r\n", b"HTTP/1.1 302 Found\r\n\r\n"],
)
def test_an_odd_answer_harms_nothing(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(answer)
            connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        results.post(a_call(callback_url=url), [], settings(CALLBACK_HOSTS="127.0.0.1"))
        thread.join(5)
        assert not thread.is_alive()


def test_a_receiver_that_says_nothing_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(results, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        results.post(a_call(callback_url=url), [], settings(CALLBACK_HOSTS="127.0.0.1"))
