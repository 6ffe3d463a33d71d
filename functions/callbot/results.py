"""Telling the one who asked for a call how it went: one POST of the call to its `callbackUrl`.

The address comes from a request, so it is not trusted: https only, resolved once, every address must be a public one,
and the connection goes to the address that was checked. Hosts of the setting CALLBACK_HOSTS are trusted.
"""

import ipaddress
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from callbot import logs
from callbot.calls import Call, Turn
from callbot.errors import RefusedError
from callbot.presentation import call_with_turns
from callbot.settings import Settings

SECONDS = 5.0  # for all of it: finding the address, connecting, sending, and the answer's first line
_STATUS_LINE = 1024  # bytes read of an answer; redirects are not followed and nothing else of it matters

log = logging.getLogger(__name__)


def post(call: Call, turns: Sequence[Turn], settings: Settings) -> None:
    """Send the call, as `/calls/<sid>` shows it, to its callback URL. A failure is logged and not repeated."""
    body = json.dumps(call_with_turns(call, turns), ensure_ascii=False).encode("utf-8", "replace")
    # Finding an address has no time limit of its own, so all of it happens in a thread that may be left behind.
    thread = threading.Thread(target=_post_safely, args=(call, body, settings), daemon=True, name="result")
    thread.start()
    thread.join(SECONDS)
    if thread.is_alive():
        _not_delivered(call, "not taken in time")


def _post_safely(call: Call, body: bytes, settings: Settings) -> None:
    try:
        status = _post(call.callback_url, body, settings.callback_hosts)
    except (RefusedError, OSError, ValueError) as exc:
        _not_delivered(call, type(exc).__name__)
        return
    if not 200 <= status < 300:
        _not_delivered(call, "refused", status)


def _not_delivered(call: Call, reason: str, http_status: int | None = None) -> None:
    logs.event(
        log, "result not delivered", call_sid=call.sid, severity="WARNING", reason=reason, http_status=http_status
    )


def _post(url: str, body: bytes, trusted: Sequence[str]) -> int:
    ends_at = time.monotonic() + SECONDS
    parts = urlsplit(url)
    is_trusted = parts.hostname in trusted
    if parts.scheme != "https" and not (is_trusted and parts.scheme == "http"):
        raise RefusedError("not https")
    with _connected(parts, is_trusted=is_trusted, ends_at=ends_at) as connection:
        connection.sendall(_head(parts, len(body)) + body)
        return _status(connection, ends_at)


def _connected(parts: SplitResult, *, is_trusted: bool, ends_at: float) -> socket.socket:
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    addresses = [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not addresses or not (is_trusted or all(map(is_public, addresses))):
        raise RefusedError("not a public address")
    connection = socket.create_connection((addresses[0], port), timeout=_left(ends_at))
    if parts.scheme == "http":
        return connection
    try:
        return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    except (OSError, ValueError):
        connection.close()
        raise


def is_public(address: str) -> bool:
    """Whether an IP address is reachable by everybody: not private, local, reserved, or one of those in disguise."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip.sixtofour is not None or ip.teredo is not None:
            return False
    # Reserved covers 64:ff9b::/96 and ::/96, which can carry any IPv4 address (RFC 6052, RFC 4291).
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _head(parts: SplitResult, length: int) -> bytes:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = (
        f"POST {path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "User-Agent: callbot",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _status(connection: socket.socket, ends_at: float) -> int:
    line = b""
    while b"\r\n" not in line and len(line) < _STATUS_LINE:
        connection.settimeout(_left(ends_at))
        if not (received := connection.recv(_STATUS_LINE)):
            break
        line += received
    words = line.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ValueError("not an HTTP answer")
    return int(words[1][:3])


def _left(ends_at: float) -> float:
    return max(0.001, ends_at - time.monotonic())
