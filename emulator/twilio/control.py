"""Placing emulated calls from another process, over HTTP. Not Twilio's: the emulator's own remote control.

`POST /emulator/calls` speaks a list of recordings turn by turn and answers the call's live events as NDJSON, the last
line holding the report. `POST /emulator/recordings` lets other emulators learn what a recording says.
"""

from __future__ import annotations

import base64
import binascii
import json
import queue
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from emulator.twilio.call import EmulatedCall
from emulator.twilio.caller import Caller, HangUp, Interrupt, Listen, Speak, StayUntilEnd, Step
from emulator.twilio.events import CallEnded, Event, as_dict
from emulator.twilio.plan import is_e164
from emulator.twilio.rest_errors import RestError

if TYPE_CHECKING:
    from emulator.twilio.carrier import Carrier

_MOST_TURNS = 100
_LONGEST_SECONDS = 3600.0
_ENDING_SECONDS = 40.0  # after the call: streams, callbacks, report
_FIELDS = {"to", "from", "speech", "interrupt_turn", "hang_up_after", "max_seconds"}


def blueprint(carrier: Carrier) -> Blueprint:
    routes = Blueprint("control", __name__, url_prefix="/emulator")

    @routes.get("/calls")
    def list_calls() -> dict[str, Any]:
        return {
            "calls": [
                {
                    "sid": call.sid,
                    "direction": call.direction,
                    "from": call.from_,
                    "to": call.to,
                    "status": call.status,
                }
                for call in list(carrier.calls.values())
            ]
        }

    @routes.post("/calls")
    def place() -> Response:
        wish = _object()
        _refuse_unknown(wish, _FIELDS)
        to, from_ = _text(wish, "to"), _text(wish, "from")
        if to not in carrier.numbers:
            raise _bad("to is not a number of this carrier")
        if not is_e164(from_):
            raise _bad("from is not a number in E.164 form")
        longest = _seconds(wish)
        call = carrier.dial(to=to, from_=from_, caller=Caller(_script(wish), max_seconds=longest))
        return Response(_lines(call, longest), mimetype="application/x-ndjson")

    @routes.post("/recordings")
    def learn() -> dict[str, Any]:
        wish = _object()
        _refuse_unknown(wish, {"text", "ulaw"})
        recording = _recording(wish)
        if carrier.on_recording is None:
            raise RestError(501, 20501, "nobody here wants to learn recordings")
        carrier.on_recording(recording.text, recording.ulaw)
        return {"learned": recording.text}

    return routes


def _lines(call: EmulatedCall, longest: float) -> Iterator[str]:
    events: queue.Queue[Event] = queue.Queue()  # bounded by the journal, which keeps so many events and no more
    call.subscribe(events.put)
    try:
        while True:
            event = events.get(timeout=longest + _ENDING_SECONDS)
            yield json.dumps(as_dict(event), ensure_ascii=False) + "\n"
            if isinstance(event, CallEnded):
                return
    except queue.Empty:
        yield json.dumps({"event": "Problem", "message": "the call has not ended in time"}) + "\n"
    finally:
        call.hang_up()  # whoever was watching has gone, or the call is over anyway


def _script(wish: dict[str, Any]) -> list[Step]:
    speech = wish.get("speech")
    if not isinstance(speech, list) or len(speech) > _MOST_TURNS:
        raise _bad(f"speech must be a list of at most {_MOST_TURNS} turns")
    interrupt_turn = wish.get("interrupt_turn")
    if interrupt_turn is not None and (type(interrupt_turn) is not int or not 0 <= interrupt_turn < len(speech)):
        raise _bad("interrupt_turn must be an index into speech, counted from 0")
    script: list[Step] = []
    for index, turn in enumerate(speech):
        if not isinstance(turn, dict):
            raise _bad(f"speech[{index}] must be an object with text and ulaw")
        spoken = _recording(turn, f"speech[{index}].")
        if index == interrupt_turn:
            script.append(Interrupt(spoken.ulaw, spoken.text))
        else:
            script += [Listen(), spoken]
    hang_up = wish.get("hang_up_after", True)
    if not isinstance(hang_up, bool):
        raise _bad("hang_up_after must be true or false")
    return [*script, Listen(), HangUp()] if hang_up else [*script, StayUntilEnd()]


def _recording(wish: dict[str, Any], where: str = "") -> Speak:
    text, encoded = wish.get("text"), wish.get("ulaw")
    if not isinstance(text, str):
        raise _bad(f"{where}text must be a string")
    if not isinstance(encoded, str):
        raise _bad(f"{where}ulaw must be base64 text")
    try:
        ulaw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _bad(f"{where}ulaw is not base64") from exc
    if not ulaw:
        raise _bad(f"{where}ulaw is empty")
    return Speak(ulaw, text)


def _object() -> dict[str, Any]:
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise _bad("the body must be a JSON object")
    return body


def _refuse_unknown(wish: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(wish) - known):
        raise _bad(f"unknown field {unknown[0][:40]!r}")


def _text(wish: dict[str, Any], name: str) -> str:
    value = wish.get(name)
    if not isinstance(value, str):
        raise _bad(f"{name} must be a string")
    return value


def _seconds(wish: dict[str, Any]) -> float:
    value = wish.get("max_seconds", 300)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST_SECONDS:
        raise _bad(f"max_seconds must be a number up to {_LONGEST_SECONDS:g}")
    return float(value)


def _bad(message: str) -> RestError:
    return RestError(400, 20001, message)
