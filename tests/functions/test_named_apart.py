"""Functions that are deployed one by one: each has an address of its own, and none of them sees its path."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from callbot import tickets
from callbot.calls import StreamState
from tests.functions.scenes import (
    ACCOUNT,
    CALL_SID,
    CALLER,
    ENVIRONMENT,
    FUNCTIONS_URL,
    KEY,
    OUR_NUMBER,
    a_call,
    signature,
)

BASE = "https://asia-northeast1-shop.cloudfunctions.net/mine-{function}"
FORM = {"CallSid": CALL_SID, "AccountSid": ACCOUNT, "From": CALLER, "To": OUR_NUMBER, "Direction": "inbound"}


def at(name: str) -> str:
    return BASE.replace("{function}", name)


@pytest.fixture(autouse=True)
def _apart(environment):
    environment.setenv("FUNCTIONS_URL", BASE)


def post(functions, name, signed_for, query=None):
    raw = f"?{urlencode(query)}" if query else ""
    headers = {"X-Twilio-Signature": signature(signed_for + raw, FORM)}
    return functions.client(name.replace("-", "_")).post("/" + raw, data=FORM, headers=headers)


def addresses(response) -> list[str]:
    """Every address that a document gives to Twilio, without its query."""
    root = ET.fromstring(response.get_data(as_text=True).encode())  # noqa: S314  (our own document)
    given = [element.get(name) for element in root.iter() for name in ("action", "statusCallback")]
    given += [element.text for element in root.iter("Redirect")]
    return [url.partition("?")[0] for url in given if url]


@pytest.mark.parametrize("name", ["twiml", "incoming-call"])
def test_a_call_is_answered_and_led_to_functions_that_exist(functions, store, name):
    response = post(functions, name, at(name))
    assert response.status_code == 200
    assert set(addresses(response)) == {at("call-flow"), at("call-events")}
    root = ET.fromstring(response.get_data(as_text=True).encode())  # noqa: S314  (our own document)
    (text,) = [one.get("value") for one in root.iter("Parameter") if one.get("name") == tickets.PARAMETER]
    ticket = tickets.check(text, ENVIRONMENT["STREAM_TICKET_SECRET"], CALL_SID)
    assert ticket.functions_url == BASE  # the stream service makes its own addresses from it


def test_a_step_is_signed_for_its_own_address(functions, store):
    now = datetime.now(UTC)  # by which the function goes: the call of the scenes is long over
    stream = StreamState(generation=1, connected_at=now, seen_at=now)
    store.begin(a_call(created_at=now, answered_at=now, stream=stream))
    query = {"step": "idle", "prompts": 0}
    assert set(addresses(post(functions, "call-flow", at("call-flow"), query))) == {at("call-flow")}
    for elsewhere in (at("twiml"), BASE, FUNCTIONS_URL + "/call-flow", at("call-flow") + "/call-flow"):
        assert post(functions, "call-flow", elsewhere, query).status_code == 403


def test_callbacks_are_taken_at_their_own_address(functions, store):
    assert post(functions, "call-events", at("call-events")).status_code == 204
    assert post(functions, "call-events", at("call-flow")).status_code == 403


def test_a_dialled_call_is_answered_by_them(functions, twilio):
    assert functions.trigger({"phoneNumber": CALLER}).status_code == 201
    (order,) = twilio.created
    given = {name: order[name][0].partition("?")[0] for name in ("Url", "FallbackUrl", "StatusCallback")}
    assert given == {"Url": at("incoming-call"), "FallbackUrl": at("call-flow"), "StatusCallback": at("call-events")}


@pytest.mark.parametrize("path", ["/", "/mine-calls", "/calls"])
def test_pages_link_to_what_a_browser_can_reach(functions, store, path):
    store.begin(a_call())
    headers = {"Accept": "text/html", "Authorization": f"Bearer {KEY}"}
    page = functions.client("calls").get(path, headers=headers)
    assert page.status_code == 200
    assert f'href="/mine-calls/{CALL_SID}"' in page.get_data(as_text=True)


@pytest.mark.parametrize("path", [f"/{CALL_SID}", f"/mine-calls/{CALL_SID}", f"/calls/{CALL_SID}"])
def test_a_call_is_found_with_and_without_the_functions_name(functions, store, path):
    store.begin(a_call())
    assert functions.operator(path).json["callSid"] == CALL_SID
