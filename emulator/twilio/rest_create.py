"""Reads a request that creates or changes a call, and refuses what Twilio refuses. Changes nothing.

Source: Twilio, "Call resource", create and update parameters; error dictionary 212xx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from werkzeug.datastructures import MultiDict

from emulator.twilio.plan import (
    LONGEST_CALL_SECONDS,
    Callback,
    CallPlan,
    Detection,
    RecordingWish,
    Source,
    is_e164,
)
from emulator.twilio.rest_errors import invalid
from emulator.twilio.twiml import LONGEST_INLINE

if TYPE_CHECKING:
    from emulator.twilio.carrier import Carrier

Form = MultiDict[str, str]
_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})
_RECORDING_EVENTS = frozenset({"in-progress", "completed", "absent", "failed"})
_LONGEST_RING = 600
_INVALID_PARAMETER = 20001


def call_plan(carrier: Carrier, form: Form) -> CallPlan:
    """Raises `RestError`: 21201/21211 To, 21213/21212/21210 From, 21205 Url, 20001 other values."""
    to, from_ = form.get("To", ""), form.get("From", "")
    if not to:
        raise invalid(21201, "No 'To' number is specified")
    if not is_e164(to):
        raise invalid(21211, f"The phone number you are attempting to call, {to[:40]}, is not valid.")
    if not from_:
        raise invalid(21213, "No 'From' number is specified")
    if not is_e164(from_):
        raise invalid(21212, f"The 'From' number {from_[:40]} is not a valid phone number")
    if not carrier.owns(from_):
        raise invalid(21210, f"The source phone number provided, {from_}, is not yet verified for your account.")
    source = checked_source(form, both_allowed=True)
    if source is None:
        raise invalid(21205, "Url parameter is required.")
    fallback = form.get("FallbackUrl")
    return CallPlan(
        to=to,
        from_=from_,
        direction="outbound-api",
        source=source,
        fallback=(Source(checked_url(fallback, 21205), _method(form, "FallbackMethod")) if fallback else None),
        status_callback=_status_callback(form),
        ring_timeout=float(_whole(form, "Timeout", 60, 1, _LONGEST_RING)),
        time_limit=time_limit(form),
        detection=_detection(form),
        recording=_recording(form),
    )


def checked_source(form: Form, *, both_allowed: bool) -> Source | None:
    """`Url` or `Twiml`; on create the URL wins, on update only one may be given."""
    url, twiml = form.get("Url"), form.get("Twiml")
    if url and twiml and not both_allowed:
        raise invalid(_INVALID_PARAMETER, "Url and Twiml cannot both be given")
    if url:
        return Source(checked_url(url, 21205), _method(form, "Method"))
    if twiml:
        if len(twiml) > LONGEST_INLINE:
            raise invalid(_INVALID_PARAMETER, f"Twiml must not exceed {LONGEST_INLINE} characters")
        return Source(twiml=twiml)
    return None


def checked_url(url: str, code: int) -> str:
    """Raises `RestError` with `code` unless it is an absolute http(s) URL with a legal host name."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # raises on nonsense
    except ValueError as exc:
        raise invalid(code, "Url is not a valid URL") from exc
    if parts.scheme not in ("http", "https") or not host:
        raise invalid(code, f"Url is not a valid URL: {url[:100]}")
    if "_" in host:
        raise invalid(code, f"Url has an underscore in its host name: {host}")
    return url


def time_limit(form: Form) -> float:
    return float(_whole(form, "TimeLimit", LONGEST_CALL_SECONDS, 1, LONGEST_CALL_SECONDS))


def _status_callback(form: Form) -> Callback | None:
    url = form.get("StatusCallback")
    if not url:
        return None
    # 21609 is a warning in Twilio's dictionary; a URL that can never work is refused here all the same.
    return Callback(
        checked_url(url, 21609),
        _method(form, "StatusCallbackMethod"),
        _events(form, "StatusCallbackEvent", _EVENTS),
    )


def _events(form: Form, name: str, known: frozenset[str]) -> frozenset[str]:
    wanted = frozenset(form.getlist(name))
    # One field with several words is a common mistake; Twilio takes repeated fields only.
    if unknown := wanted - known:
        raise invalid(21626, f"Invalid {name} {sorted(unknown)[0][:40]!r}")
    return wanted or frozenset({"completed"})


def _detection(form: Form) -> Detection | None:
    mode = form.get("MachineDetection")
    if not mode or form.get("SendDigits"):
        return None
    callback = form.get("AsyncAmdStatusCallback")
    modes: dict[str, Literal["Enable", "DetectMessageEnd"]] = {
        "Enable": "Enable",
        "DetectMessageEnd": "DetectMessageEnd",
    }
    if mode not in modes:
        raise invalid(_INVALID_PARAMETER, "MachineDetection must be 'Enable' or 'DetectMessageEnd'")
    return Detection(
        modes[mode],
        form.get("AsyncAmd") == "true",
        Callback(checked_url(callback, 21609), _method(form, "AsyncAmdStatusCallbackMethod")) if callback else None,
    )


def _recording(form: Form) -> RecordingWish | None:
    if form.get("Record", "").lower() != "true":
        return None
    callback = form.get("RecordingStatusCallback")
    return RecordingWish(
        channels=2 if form.get("RecordingChannels") == "dual" else 1,
        track=form.get("RecordingTrack", "both"),
        callback=(
            Callback(
                checked_url(callback, 21609),
                _method(form, "RecordingStatusCallbackMethod"),
                _events(form, "RecordingStatusCallbackEvent", _RECORDING_EVENTS),
            )
            if callback
            else None
        ),
    )


def _method(form: Form, name: str) -> str:
    method = form.get(name, "POST").upper()
    if method not in ("GET", "POST"):
        raise invalid(_INVALID_PARAMETER, f"{name} must be GET or POST")
    return method


def _whole(form: Form, name: str, default: int, lowest: int, highest: int) -> int:
    text = form.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 9 and lowest <= int(text) <= highest):
        raise invalid(_INVALID_PARAMETER, f"{name} must be a number from {lowest} to {highest}")
    return int(text)
