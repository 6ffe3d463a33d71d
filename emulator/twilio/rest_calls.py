"""The Calls resource and what hangs below it: streams and recordings of a call.

Source: Twilio, "Call resource", "Stream resource", "Recordings resource". Reading requests and writing answers; calls
themselves are changed through `call`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, request

from emulator.twilio.call import FINAL, EmulatedCall
from emulator.twilio.plan import Callback, RecordingWish, Source, StreamPlan
from emulator.twilio.progress import timestamp
from emulator.twilio.rest_create import call_plan, checked_source, checked_url, time_limit
from emulator.twilio.rest_errors import invalid, not_found
from emulator.twilio.stream_verbs import StreamRefusedError, open_stream, stop_stream

if TYPE_CHECKING:
    from emulator.twilio.carrier import Carrier

BASE = "/2010-04-01/Accounts/<account>"
DROP_ANSWER = "X-Emulator-Drop-Answer"
_LONGEST_DELAY = 30.0
_RECORDING_EVENTS = "completed"


def blueprint(carrier: Carrier) -> Blueprint:
    routes = Blueprint("calls", __name__, url_prefix=BASE)

    def find(sid: str) -> EmulatedCall:
        call = carrier.calls.get(sid)
        if call is None:
            raise not_found(request.path)
        return call

    @routes.post("/Calls.json")
    def create() -> Response:
        plan = call_plan(carrier, request.form)
        call = carrier.place(plan, carrier.callee_for(plan.to))
        response = jsonify(call_resource(call) | {"status": "queued"})  # however fast it has begun to ring
        response.status_code = 201
        if carrier.faults.create_timeout_after_accept > 0:
            carrier.faults.create_timeout_after_accept -= 1
            response.headers[DROP_ANSWER] = "1"
        return response

    @routes.get("/Calls.json")
    def list_calls() -> dict[str, Any]:
        wanted = [call for call in list(carrier.calls.values()) if _matches(call)]
        wanted.sort(key=lambda call: call.created, reverse=True)
        return page("calls", [call_resource(call) for call in wanted])

    @routes.get("/Calls/<sid>.json")
    def fetch(sid: str) -> dict[str, Any]:
        return call_resource(find(sid))

    @routes.post("/Calls/<sid>.json")
    def update(sid: str) -> dict[str, Any]:
        call = find(sid)
        if carrier.faults.update_delay > 0:
            time.sleep(min(carrier.faults.update_delay, _LONGEST_DELAY))
        _update(call)
        return call_resource(call)

    @routes.post("/Calls/<sid>/Streams.json")
    def create_stream(sid: str) -> Response:
        call = find(sid)
        if call.status != "in-progress":
            raise invalid(21220, "Call is not in-progress")
        form = request.form
        callback = form.get("StatusCallback")
        try:
            stream = open_stream(
                call,
                StreamPlan(
                    "start",
                    form.get("Url", ""),
                    form.get("Name", ""),
                    form.get("Track", "inbound_track"),
                    _stream_parameters(),
                    Callback(checked_url(callback, 21609), form.get("StatusCallbackMethod", "POST"))
                    if callback
                    else None,
                ),
            )
        except StreamRefusedError as exc:
            raise invalid(exc.code, str(exc)) from exc
        response = jsonify(_stream_resource(call, stream.sid, stream.plan.name, "in-progress"))
        response.status_code = 201
        return response

    @routes.post("/Calls/<sid>/Streams/<stream_sid>.json")
    def update_stream(sid: str, stream_sid: str) -> dict[str, Any]:
        call = find(sid)
        if request.form.get("Status") != "stopped":
            raise invalid(20001, "Status must be 'stopped'")
        if not stop_stream(call, stream_sid):
            raise not_found(request.path)
        stream = next(stream for stream in call.streams if stream_sid in (stream.sid, stream.plan.name))
        return _stream_resource(call, stream.sid, stream.plan.name, "stopped")

    @routes.post("/Calls/<sid>/Recordings.json")
    def create_recording(sid: str) -> Response:
        call = find(sid)
        if call.status != "in-progress":
            raise invalid(21220, "Call is not in-progress, cannot record")
        form = request.form
        callback = form.get("RecordingStatusCallback")
        events = frozenset(" ".join(form.getlist("RecordingStatusCallbackEvent")).split()) or {_RECORDING_EVENTS}
        recording = call.record(
            RecordingWish(
                channels=2 if form.get("RecordingChannels") == "dual" else 1,
                source="StartCallRecordingAPI",
                track=form.get("RecordingTrack", "both"),
                callback=(
                    Callback(
                        checked_url(callback, 21609),
                        form.get("RecordingStatusCallbackMethod", "POST"),
                        frozenset(events),
                    )
                    if callback
                    else None
                ),
            )
        )
        response = jsonify(
            {
                "sid": recording.sid,
                "account_sid": carrier.account_sid,
                "call_sid": sid,
                "status": recording.status,
                "channels": recording.wish.channels,
                "source": recording.wish.source,
                "track": recording.wish.track,
                "start_time": recording.start_time,
                "api_version": "2010-04-01",
                "duration": None,
                "uri": f"/2010-04-01/Accounts/{carrier.account_sid}/Calls/{sid}/Recordings/{recording.sid}.json",
            }
        )
        response.status_code = 201
        return response

    return routes


def _update(call: EmulatedCall) -> None:
    form = request.form
    status = form.get("Status")
    if status not in (None, "completed", "canceled"):
        raise invalid(20001, "Status must be 'completed' or 'canceled'")
    if call.status in FINAL:
        raise invalid(21220, "Call is not in-progress. Cannot redirect.")
    source = checked_source(form, both_allowed=False)
    fallback, callback = form.get("FallbackUrl"), form.get("StatusCallback")
    if fallback:
        call.fallback = Source(checked_url(fallback, 21205), form.get("FallbackMethod", "POST"))
    if callback:
        call.status_callback = Callback(
            checked_url(callback, 21609),
            form.get("StatusCallbackMethod", "POST"),
            call.status_callback.events if call.status_callback else frozenset({"completed"}),
        )
    if "TimeLimit" in form:
        call.limit_to(time_limit(form))
    if status == "canceled" and call.status == "in-progress":
        raise invalid(21220, "Call is in-progress. Cannot cancel.")
    done = True
    if status:
        done = call.end("bot", "canceled")
    elif source:
        done = call.update(source)
    if not done:
        raise invalid(21220, "Call is not in-progress. Cannot redirect.")


def _matches(call: EmulatedCall) -> bool:
    args = request.args
    started = datetime.fromtimestamp(call.created, UTC)
    return (
        args.get("To") in (None, call.to)
        and args.get("From") in (None, call.from_)
        and args.get("Status") in (None, call.status)
        and args.get("ParentCallSid") in (None, call.plan.parent_sid)
        # The API compares whole days; the clients send times. Times are taken seriously here.
        and ("StartTime>" not in args or started >= _time(args["StartTime>"]))
        and ("StartTime<" not in args or started <= _time(args["StartTime<"]))
        and ("StartTime" not in args or started.date() == _time(args["StartTime"]).date())
    )


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise invalid(20001, "StartTime is not a date") from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def page(key: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """One page of a list, as `Page` and `PageSize` ask for it."""
    try:
        size = min(1000, max(1, int(request.args.get("PageSize", 50))))
        number = max(0, int(request.args.get("Page", 0)))
    except ValueError as exc:
        raise invalid(20001, "Page and PageSize are numbers") from exc
    shown = items[number * size : (number + 1) * size]
    rest = request.args.to_dict()

    def uri(of: int) -> str:
        query = "&".join(f"{name}={value}" for name, value in (rest | {"Page": str(of), "PageSize": str(size)}).items())
        return f"{request.path}?{query.replace('+', '%2B')}"

    return {
        key: shown,
        "page": number,
        "page_size": size,
        "start": number * size,
        "end": number * size + len(shown) - 1,
        "uri": uri(number),
        "first_page_uri": uri(0),
        "next_page_uri": uri(number + 1) if len(items) > (number + 1) * size else None,
        "previous_page_uri": uri(number - 1) if number else None,
    }


def call_resource(call: EmulatedCall) -> dict[str, Any]:
    account, over = call.carrier.account_sid, call.is_over
    uri = f"/2010-04-01/Accounts/{account}/Calls/{call.sid}"
    created = timestamp(call.created)
    return {
        "sid": call.sid,
        "account_sid": account,
        "parent_call_sid": call.plan.parent_sid,
        "to": call.to,
        "to_formatted": call.to,
        "from": call.from_,
        "from_formatted": call.from_,
        "phone_number_sid": call.carrier.sid_of_number(call.to if call.direction == "inbound" else call.from_),
        "status": call.status,
        "start_time": created,
        "end_time": timestamp() if over else None,
        "duration": str(round(call.duration())) if over else None,
        "price": None,
        "price_unit": "USD",
        "direction": call.direction,
        "answered_by": call.answered_by,
        "annotation": None,
        "api_version": "2010-04-01",
        "forwarded_from": None,
        "group_sid": None,
        "caller_name": None,
        "queue_time": "0",
        "trunk_sid": None,
        "date_created": created,
        "date_updated": timestamp(),
        "uri": f"{uri}.json",
        "subresource_uris": {"recordings": f"{uri}/Recordings.json", "streams": f"{uri}/Streams.json"},
    }


def _stream_parameters() -> dict[str, str]:
    form = request.form
    return {
        form[f"Parameter{index}.Name"]: form.get(f"Parameter{index}.Value", "")
        for index in range(1, 100)
        if f"Parameter{index}.Name" in form
    }


def _stream_resource(call: EmulatedCall, sid: str, name: str, status: str) -> dict[str, Any]:
    account = call.carrier.account_sid
    return {
        "sid": sid,
        "account_sid": account,
        "call_sid": call.sid,
        "name": name or None,
        "status": status,
        "date_updated": timestamp(),
        "uri": f"/2010-04-01/Accounts/{account}/Calls/{call.sid}/Streams/{sid}.json",
    }
