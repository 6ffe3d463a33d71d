"""The IncomingPhoneNumbers resource: where a number's calls go. Buying numbers is not emulated.

Source: Twilio, "IncomingPhoneNumber resource".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import Blueprint, request

from emulator.twilio.plan import Number
from emulator.twilio.progress import timestamp
from emulator.twilio.rest_calls import BASE, page
from emulator.twilio.rest_create import checked_url
from emulator.twilio.rest_errors import invalid, not_found

if TYPE_CHECKING:
    from emulator.twilio.carrier import Carrier

_URLS = {"VoiceUrl": "voice_url", "VoiceFallbackUrl": "fallback_url", "StatusCallback": "status_callback"}
_METHODS = {
    "VoiceMethod": "voice_method",
    "VoiceFallbackMethod": "fallback_method",
    "StatusCallbackMethod": "status_callback_method",
}


def blueprint(carrier: Carrier) -> Blueprint:
    routes = Blueprint("numbers", __name__, url_prefix=BASE)

    def find(sid: str) -> str:
        for number in carrier.numbers:
            if carrier.sid_of_number(number) == sid:
                return number
        raise not_found(request.path)

    @routes.get("/IncomingPhoneNumbers.json")
    def list_numbers() -> dict[str, Any]:
        wanted = request.args.get("PhoneNumber")
        shown = [number for number in carrier.numbers if not wanted or wanted.lstrip("+") in number]
        return page("incoming_phone_numbers", [_resource(carrier, number) for number in shown])

    @routes.get("/IncomingPhoneNumbers/<sid>.json")
    def fetch(sid: str) -> dict[str, Any]:
        return _resource(carrier, find(sid))

    @routes.post("/IncomingPhoneNumbers/<sid>.json")
    def update(sid: str) -> dict[str, Any]:
        number = find(sid)
        carrier.numbers[number] = replace(carrier.numbers[number], **_changes())
        return _resource(carrier, number)

    return routes


def _changes() -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for parameter, name in _URLS.items():
        if parameter in request.form:
            url = request.form[parameter]
            changes[name] = checked_url(url, 21502) if url else None
    for parameter, name in _METHODS.items():
        if parameter in request.form:
            method = request.form[parameter].upper()
            if method not in ("GET", "POST"):
                raise invalid(20001, f"{parameter} must be GET or POST")
            changes[name] = method
    if "FriendlyName" in request.form:
        changes["friendly_name"] = request.form["FriendlyName"][:64]
    if changes.get("voice_url", "") is None:
        changes["voice_url"] = ""
    return changes


def _resource(carrier: Carrier, phone_number: str) -> dict[str, Any]:
    number: Number = carrier.numbers[phone_number]
    sid, account = carrier.sid_of_number(phone_number), carrier.account_sid
    return {
        "sid": sid,
        "account_sid": account,
        "friendly_name": number.friendly_name or phone_number,
        "phone_number": phone_number,
        "voice_url": number.voice_url,
        "voice_method": number.voice_method,
        "voice_fallback_url": number.fallback_url,
        "voice_fallback_method": number.fallback_method,
        "voice_caller_id_lookup": False,
        "voice_application_sid": "",
        "status_callback": number.status_callback,
        "status_callback_method": number.status_callback_method,
        "capabilities": {"voice": True, "sms": False, "mms": False, "fax": False},
        "beta": False,
        "status": "in-use",
        "api_version": "2010-04-01",
        "date_created": timestamp(),
        "date_updated": timestamp(),
        "uri": f"/2010-04-01/Accounts/{account}/IncomingPhoneNumbers/{sid}.json",
    }
