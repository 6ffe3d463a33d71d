"""Requests from the carrier to the customer: signed, limited in time and size, failures by Twilio's codes.

How a request is made belongs here (and the tunnels that lead to where it goes); what it is for does not. No public name
is ever looked up on the network: a public address without a tunnel does not exist.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import requests
from werkzeug.datastructures import Headers, MultiDict

from emulator.twilio import signing
from emulator.twilio.clock import Clock
from emulator.twilio.faults import Faults, Signature
from emulator.twilio.journal import Journal
from emulator.twilio.twiml import LARGEST_DOCUMENT

TIME_LIMIT = 15.0  # seconds for the whole answer (Twilio: webhook connection limits)
CONNECT_LIMIT = 5.0
# The two forms of a TwiML answer that Twilio's documentation names.
TWIML_TYPES = ("text/xml", "application/xml")
_LARGEST_MEDIA = 16 * 1024 * 1024

Form = MultiDict[str, str]
Fetch = Callable[[str, str, Mapping[str, str], Form], tuple[int, Mapping[str, str], bytes]]
"""(method, public url, headers, form) -> (status, headers, body). May raise `FetchError`."""


class FetchError(Exception):
    """A webhook that brought nothing usable. `code` is Twilio's error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Answer:
    """What came back, with a status that means success."""

    content_type: str
    body: bytes


def is_loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")


class Tunnels:
    """Public addresses and where they really are, as a tunnel's client would know.

    A public address is a host, or the beginning of a URL (`https://host/path`); of two that fit the longer one counts.
    """

    def __init__(self, targets: Mapping[str, str]) -> None:
        self._targets = targets

    def locate(self, url: str) -> str:
        """The address to connect to for a public `url`.

        Raises `FetchError`: 11100 not a URL, 11210 a host that nobody knows.
        """
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            _ = parts.port  # raises on nonsense
        except ValueError as exc:
            raise FetchError(11100, "invalid URL format") from exc
        if parts.scheme not in ("http", "https", "ws", "wss") or not host:
            raise FetchError(11100, "invalid URL format")
        bare, mark, query = url.partition("#")[0].partition("?")
        for begins in sorted((key for key in self._targets if "://" in key), key=len, reverse=True):
            if bare == begins or bare.startswith(begins.rstrip("/") + "/"):
                return self._targets[begins].rstrip("/") + bare.removeprefix(begins.rstrip("/")) + mark + query
        rest = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        target = self._targets.get(parts.netloc) or self._targets.get(host)
        if target:
            return target.rstrip("/") + rest
        if is_loopback(host) or parts.scheme == "http":
            return f"http://{parts.netloc}{rest}"
        raise FetchError(11210, f"HTTP bad host name: {host}")


def host_asked(public: str, address: str) -> str:
    """The Host that a request for `public` names when it goes to `address`.

    A tunnel to this machine passes on the public one; what is elsewhere on the network knows its own name only.
    """
    target = urlsplit(address)
    return urlsplit(public).netloc if is_loopback(target.hostname or "") else target.netloc


class HttpFetch:
    """Real HTTP through the tunnels."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels

    def __call__(
        self, method: str, url: str, headers: Mapping[str, str], form: Form
    ) -> tuple[int, Mapping[str, str], bytes]:
        address = self._tunnels.locate(url)
        give_up = time.monotonic() + TIME_LIMIT
        with requests.Session() as session:
            session.trust_env = False  # a proxy of this machine has no place between the carrier and a tunnel
            sent = dict(headers) | {"Host": host_asked(url, address), "X-Forwarded-Proto": urlsplit(url).scheme}
            body = urlencode(list(form.items(multi=True))) if method == "POST" else None
            try:
                with session.request(
                    method,
                    address,
                    data=body,
                    headers=sent,
                    timeout=(CONNECT_LIMIT, TIME_LIMIT),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    limit = _LARGEST_MEDIA if method == "GET" else LARGEST_DOCUMENT
                    return response.status_code, response.headers, _read(response, limit, give_up)
            except (requests.ConnectTimeout, requests.ConnectionError) as exc:
                raise FetchError(11205, f"HTTP connection failure: {_short(exc)}") from exc
            except (requests.RequestException, ValueError) as exc:
                raise FetchError(11200, f"HTTP retrieval failure: {_short(exc)}") from exc


def _short(exc: BaseException) -> str:
    return type(exc).__name__


def _read(response: requests.Response, limit: int, give_up: float) -> bytes:
    body = bytearray()
    for piece in response.iter_content(8192):
        body += piece
        if len(body) > limit:
            break  # enough to know that it is too large
        if time.monotonic() > give_up:
            raise FetchError(11200, f"HTTP retrieval failure: no whole answer within {TIME_LIMIT:g} s")
    return bytes(body)


class Webhooks:
    """Makes the carrier's requests for all calls of an account. Thread-safe."""

    def __init__(self, auth_token: str, fetch: Fetch, faults: Faults, clock: Clock) -> None:
        self.faults = faults
        self._auth_token = auth_token
        self._fetch = fetch
        self._clock = clock

    def request(self, journal: Journal, method: str, url: str, params: list[tuple[str, str]]) -> Answer:
        """One signed request, noted in `journal`.

        Raises `FetchError`: 11100, 11200 (also for a status that is no success), 11205, 11210.
        """
        form = Form(params)
        if self.faults.duplicate_parameters:
            for name, value in params:
                form.add(name, value + "-again")
        # `#rc=2&…` after a URL is Twilio's connection override; it is never sent nor signed.
        url = url.partition("#")[0]
        if method == "GET":
            url += ("&" if "?" in url else "?") + urlencode(list(form.items(multi=True)))
            form = Form()
        headers = Headers(
            {
                "User-Agent": "TwilioProxy/1.1",
                "Accept": "*/*",
                "I-Twilio-Idempotency-Token": secrets.token_hex(16),
            }
        )
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=UTF-8"
        signature = self.signature(url, list(form.items(multi=True)), self.faults.signature)
        if signature is not None:
            headers[signing.HEADER] = signature
        if self.faults.webhook_delay > 0:
            self._clock.wait(self.faults.webhook_delay, self._clock.wake())
        status: int | None = None
        try:
            status, answer_headers, body = self._call(method, url, dict(headers), form)
        finally:
            journal.webhook(url, dict(params), status)
        if not 200 <= status < 300:
            raise FetchError(11200, f"HTTP retrieval failure: status {status} from {url.partition('?')[0]}")
        lowered = {name.lower(): value for name, value in answer_headers.items()}
        return Answer(lowered.get("content-type", "").partition(";")[0].strip().lower(), body)

    def signature(self, url: str, form: list[tuple[str, str]], kind: Signature) -> str | None:
        """What the signature header says, as the faults want it; None for no header."""
        if kind == "missing":
            return None
        return signing.sign(self._auth_token + ("x" if kind == "wrong" else ""), url, form)

    def twiml(self, journal: Journal, method: str, url: str, params: list[tuple[str, str]]) -> bytes:
        """Fetches a document. Raises `FetchError` as `request`, and 11750 (too large), 12300 (content type)."""
        answer = self.request(journal, method, url, params)
        if len(answer.body) > LARGEST_DOCUMENT:
            raise FetchError(11750, f"response body too large: over {LARGEST_DOCUMENT} bytes")
        if answer.content_type not in TWIML_TYPES:
            raise FetchError(12300, f"invalid Content-Type '{answer.content_type[:80]}'")
        return answer.body

    def _call(
        self, method: str, url: str, headers: Mapping[str, str], form: Form
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            return self._fetch(method, url, headers, form)
        except FetchError:
            raise
        except Exception as exc:  # an injected fetch is the customer's program: whatever it raises is its failure
            raise FetchError(11200, f"HTTP retrieval failure: {exc!r}") from exc
