"""Twilio's REST API, and the only place that speaks it: placing calls, changing live ones, pointing numbers at us.

`twilio.rest` costs about 0.1 s to import and most webhooks need none of it, so it is imported with the first request.
What a call is told to do is decided elsewhere.
"""

import contextlib
import functools
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from callbot import loading
from callbot.errors import RefusedError, RemoteError
from callbot.settings import Settings

if TYPE_CHECKING:
    from twilio.rest import Client

TIMEOUT_SECONDS = 5.0  # Twilio's own client waits for ever
TIMEOUT = "timeout"  # RemoteError.code when no usable answer came: the request may have been carried out
UNREACHABLE = "unreachable"  # RemoteError.code when the request did not get to Twilio
TOO_MANY = "20429"
_GONE = {"20404", "21220"}  # not found; not in progress (Twilio: REST API errors)
_POOL_SIZE = 32
_COLD_SECONDS = 20.0  # without a request; servers close connections that are idle for longer (a minute is common)
_RETRY_AFTER_SECONDS = (0.2, 0.6)  # drawn between the two, so that refused requests do not come back together
_LISTED = 50
_VENDOR = "https://api.twilio.com"

T = TypeVar("T")


class CallGoneError(RemoteError):
    """The call is over, or Twilio knows no such call: nothing is left to be changed."""

    def __init__(self, code: str) -> None:
        super().__init__("twilio", "the call is over", code=code, retryable=False)


class TwilioRest:
    """One account's REST API. Every method may be called from any thread and raises RemoteError (service `twilio`).

    `RemoteError.code` is Twilio's code, or `timeout` when no answer came within TIMEOUT_SECONDS: then the request may
    have been carried out. Only requests that Twilio turned away as too many (429) are sent a second time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._used_at: float | None = None

    @property
    def is_cold(self) -> bool:
        """Whether the next request would probably have to open a connection first."""
        return self._used_at is None or time.monotonic() - self._used_at > _COLD_SECONDS

    def load(self) -> None:
        """Import what requests need, unless that has been done. Nobody is connected to."""
        _ = self._client.calls

    def warm_up(self) -> None:
        """Import what requests need and open a connection, while nobody waits: it can take half a second. Never fails.

        Any answer will do, so nothing is asked for and nobody signs in.
        """
        self._used_at = time.monotonic()  # before, so that nobody else does the same
        self.load()
        with contextlib.suppress(RemoteError):
            self._once(lambda _: self._http.session.head(self._base, timeout=TIMEOUT_SECONDS))

    def create_call(self, **fields: Any) -> str:  # the SDK's own argument names (`to`, `from_`, `status_callback`, …)
        """Place a call and return its CallSid. Never repeated after a timeout: Twilio has no idempotency key."""
        sid = self._ask(lambda client: client.calls.create(**fields)).sid
        if not sid:
            raise RemoteError("twilio", "an answer without a CallSid", retryable=False, code=TIMEOUT)
        return str(sid)

    def update_twiml(self, sid: str, twiml: str) -> None:
        """Replace what the call is doing by this document, at once. CallGoneError when it is over."""
        self._ask(lambda client: client.calls(sid).update(twiml=twiml))

    def redirect(self, sid: str, url: str) -> None:
        """Make the call ask `url` what to do, at once. CallGoneError when it is over."""
        self._ask(lambda client: client.calls(sid).update(url=url, method="POST"))

    def complete(self, sid: str) -> None:
        """End the call. CallGoneError when it is over already."""
        self._ask(lambda client: client.calls(sid).update(status="completed"))

    def calls_to(self, to: str, from_: str, since: datetime) -> list[tuple[str, datetime]]:
        """CallSid and time of creation of the newest calls from one number to another, created at or after `since`.

        The filter is ours: Twilio's own is by StartTime, which a call that is still queued does not have.
        """
        found = self._ask(lambda client: client.calls.list(to=to, from_=from_, limit=_LISTED, page_size=_LISTED))
        dated = [(str(call.sid), _utc(call.date_created)) for call in found if call.date_created is not None]
        return [(sid, created) for sid, created in dated if created >= since]

    def set_webhooks(self, number: str, *, voice_url: str, status_callback: str, voice_fallback_url: str = "") -> None:
        """Point an account's number at us. RefusedError when the account has no such number."""
        owned = self._owned(number)
        self._ask(
            lambda _: owned.update(
                voice_url=voice_url,
                voice_method="POST",
                voice_fallback_url=voice_fallback_url,
                voice_fallback_method="POST",
                status_callback=status_callback,
                status_callback_method="POST",
            )
        )

    def webhooks(self, number: str) -> dict[str, str]:
        """Where an account's number points: `set_webhooks`'s arguments as they are. RefusedError as there."""
        owned = self._owned(number)
        names = ("voice_url", "voice_fallback_url", "status_callback")
        return {name: getattr(owned, name) or "" for name in names}

    def _owned(self, number: str) -> Any:
        owned = self._ask(lambda client: client.incoming_phone_numbers.list(phone_number=number, limit=1))
        if not owned:
            raise RefusedError(f"the account {self._settings.twilio_account_sid} has no number {number}")
        return owned[0]

    def _ask(self, request: Callable[["Client"], T]) -> T:
        try:
            return self._once(request)
        except RemoteError as exc:
            if exc.code != TOO_MANY:
                raise
        time.sleep(random.uniform(*_RETRY_AFTER_SECONDS))  # noqa: S311  (spreads load; nothing secret about it)
        return self._once(request)

    def _once(self, request: Callable[["Client"], T]) -> T:
        client = self._client
        self._used_at = time.monotonic()
        import requests
        from twilio.base.exceptions import TwilioException

        try:
            return request(client)
        except TwilioException as exc:
            raise _translated(exc) from exc
        except (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError) as exc:
            raise RemoteError("twilio", "unreachable", retryable=True, code=UNREACHABLE) from exc
        except requests.exceptions.RequestException as exc:
            code = UNREACHABLE if _never_left(exc) else TIMEOUT
            raise RemoteError("twilio", "no answer", retryable=code == UNREACHABLE, code=code) from exc
        except (ValueError, LookupError, AttributeError) as exc:  # the package does not expect anything but its JSON
            raise RemoteError("twilio", "no readable answer", retryable=False, code=TIMEOUT) from exc

    @property
    def _base(self) -> str:
        return self._settings.twilio_api_url.rstrip("/")

    @functools.cached_property
    def _http(self) -> Any:
        from requests.adapters import HTTPAdapter
        from twilio.http.http_client import TwilioHttpClient

        http = TwilioHttpClient(timeout=TIMEOUT_SECONDS)
        for scheme in ("https://", "http://"):
            http.session.mount(scheme, HTTPAdapter(pool_maxsize=_POOL_SIZE))
        return http

    @functools.cached_property
    def _client(self) -> "Client":
        with loading.undisturbed():
            from twilio.rest import Client
            from twilio.rest.api.v2010.account import call  # noqa: F401  # most of the import; every request needs it

        return Client(
            self._settings.twilio_account_sid,
            self._settings.twilio_auth_tokens[0],
            http_client=_AtAddress(self._http, self._base),
            environment={"TWILIO_EDGE": ""},  # not the process's environment: the settings alone say where Twilio is
        )


class _AtAddress:
    """Twilio's HTTP client, with requests sent to the address of our settings."""

    def __init__(self, http: Any, base: str) -> None:
        self._http = http
        self._base = base

    def request(self, method: str, url: str, **kwargs: Any) -> Any:
        if url.startswith(_VENDOR):
            url = self._base + url.removeprefix(_VENDOR)
        return self._http.request(method, url, **kwargs)


def _translated(exc: Exception) -> RemoteError:
    status, code = getattr(exc, "status", 0), getattr(exc, "code", None)
    if not status and len(exc.args) > 1:
        # Lists raise another exception than the rest of the SDK, with the bare response as its second argument.
        status, code = exc.args[1].status_code, refusal(exc.args[1].text).get("code")
    code = str(code or (TOO_MANY if status == 429 else status or ""))
    if code in _GONE:
        return CallGoneError(code)
    # Twilio's message repeats the number it is about, so only its code is kept.
    return RemoteError("twilio", "refused", code=code, retryable=code == TOO_MANY or status >= 500)


def refusal(text: str) -> dict[str, Any]:
    """The body of a refused request: `code`, `message`, … (Twilio: REST API); empty when it cannot be read."""
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _never_left(exc: BaseException) -> bool:
    """Whether the connection was never made, so that Twilio cannot have seen the request."""
    from urllib3.exceptions import NewConnectionError

    seen: list[BaseException] = [exc]
    while seen:
        one = seen.pop()
        if isinstance(one, NewConnectionError):
            return True
        seen += [arg for arg in (*one.args, getattr(one, "reason", None)) if isinstance(arg, BaseException)]
    return False


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
