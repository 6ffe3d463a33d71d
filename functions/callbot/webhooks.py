"""Whether a request really comes from Twilio, and what it says. Nothing is done for one that does not.

The signature is checked against the address in our settings, never against the request's own headers, and the
algorithm is ours to choose, never the request's. What a webhook means is not decided here.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from flask import Request
from twilio.request_validator import HMAC_SHA1, RequestValidator
from werkzeug.exceptions import HTTPException

from callbot.addresses import function_url
from callbot.errors import RefusedError
from callbot.settings import Settings

MAX_BODY = 64 * 1024  # bytes; Twilio's own forms are below 8 kB
SIGNATURE = "X-Twilio-Signature"
_FORM = "application/x-www-form-urlencoded"
_CALL_SID = "CA[0-9A-Za-z]{2,62}"  # Twilio's have 32 behind the CA
_STATUS = "queued|initiated|ringing|in-progress|completed|busy|failed|no-answer|canceled|answered"
# The shape of what we act on. The signed string joins names and values without separators, so a captured request
# could be replayed with the border between the two moved, and a parameter would silently be gone. Hardly any is ever
# compared, so none is compiled before.
_SHAPES = {
    "CallSid": _CALL_SID,
    "AccountSid": "AC[0-9A-Za-z]{32}",
    "From": r"\+[0-9]{2,15}",
    "To": r"\+[0-9]{2,15}",
    "Direction": "inbound|outbound-api|outbound-dial",
    "CallStatus": _STATUS,
    "DialCallStatus": _STATUS,
    "AnsweredBy": "human|fax|unknown|machine_(start|end_beep|end_silence|end_other)",
    "StreamEvent": "stream-(started|stopped|error)",
    "StreamName": "g[0-9]{1,6}",
}


class Webhook(NamedTuple):
    """A request that Twilio signed: each parameter once."""

    call_sid: str
    form: Mapping[str, str]
    query: Mapping[str, str]


def verified(request: Request, name: str, settings: Settings) -> Webhook:
    """What Twilio says in this request to the function `name`, such as `call-flow` (Twilio: Webhooks security).

    Raises RefusedError for everything that is not one well-formed POST form signed with one of our auth tokens.
    """
    try:
        return _verified(request, name, settings)
    except (HTTPException, ValueError, TypeError, KeyError, RecursionError) as exc:
        # The validator raises on odd input; and whatever cannot even be read is not from Twilio.
        raise RefusedError(f"unreadable webhook: {type(exc).__name__}") from exc


def _verified(request: Request, name: str, settings: Settings) -> Webhook:
    signatures = request.headers.getlist(SIGNATURE)
    if len(signatures) != 1 or not signatures[0]:
        raise RefusedError("not one signature")
    if request.mimetype != _FORM:
        raise RefusedError("not a form")
    request.max_content_length = MAX_BODY
    form = _each_once(request.form.lists())
    query = _each_once(request.args.lists())
    if form.keys() & query.keys():
        raise RefusedError("a parameter in both form and query")

    raw_query = request.query_string.decode("ascii")
    url = function_url(settings.functions_url, name) + (f"?{raw_query}" if raw_query else "")
    if not any(_is_signed(url, form, signatures[0], token) for token in settings.twilio_auth_tokens):
        raise RefusedError("wrong signature")

    if not re.fullmatch(_CALL_SID, form.get("CallSid", "")):
        raise RefusedError("no CallSid")
    if form.get("AccountSid", settings.twilio_account_sid) != settings.twilio_account_sid:
        raise RefusedError("another account")
    _refuse_moved_borders(form)
    return Webhook(form["CallSid"], form, query)


def _is_signed(url: str, form: Mapping[str, str], signature: str, token: str) -> bool:
    return bool(RequestValidator(token).validate(url, dict(form), signature, HMAC_SHA1))


def _each_once(lists: Iterable[tuple[str, list[str]]]) -> dict[str, str]:
    once = {}
    for name, values in lists:
        if len(values) != 1:
            raise RefusedError("a doubled parameter")
        once[name] = values[0]
    return once


def _refuse_moved_borders(form: Mapping[str, str]) -> None:
    for known, shape in _SHAPES.items():
        if known in form:
            continue
        for name, value in form.items():
            joined = name + value
            if joined.startswith(known) and re.fullmatch(shape, joined[len(known) :]):
                raise RefusedError("a parameter's name and value are mixed up")
