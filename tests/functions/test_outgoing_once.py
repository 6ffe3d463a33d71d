"""`/outgoing-call`: one key makes one call, whatever fails in between."""

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from callbot import twilio_rest
from callbot.errors import StoreError
from callbot.store_sqlite import SqliteCallStore
from tests.functions.scenes import CALL_SID, CALLER, KEY, a_call
from tests.functions.test_answering import dialled
from tests.functions.test_outgoing_call import problems

GOOD = {"phoneNumber": CALLER}


GOOD = {"phoneNumber": CALLER}


# -- one key, one call -------------------------------------------------------------------------------------------------


def test_a_hundred_parallel_requests_with_one_key_make_one_call(functions, store, twilio):
    twilio.before_answer = lambda: time.sleep(0.2)
    functions.app("outgoing_call")
    with ThreadPoolExecutor(100) as pool:
        responses = list(pool.map(lambda _: functions.trigger(GOOD, Idempotency_Key="k"), range(100)))
    assert sorted(response.status_code for response in responses) == [200] * 99 + [201]
    assert len({response.json["callSid"] for response in responses}) == 1
    assert len(twilio.created) == 1


def test_without_a_key_each_request_is_a_call(functions, twilio):
    assert len({functions.trigger(GOOD).json["callSid"] for _ in range(3)}) == 3


def test_the_key_may_stand_in_the_body_or_in_the_header(functions):
    first = functions.trigger(GOOD | {"idempotencyKey": "k"})
    again = functions.trigger(GOOD, Idempotency_Key="k")
    both = functions.trigger(GOOD | {"idempotencyKey": "k"}, Idempotency_Key="k")
    assert [first.status_code, again.status_code, both.status_code] == [201, 200, 200]
    assert first.json == again.json == both.json


def test_two_keys_are_a_problem(functions):
    response = functions.trigger(GOOD | {"idempotencyKey": "k"}, Idempotency_Key="l")
    assert problems(response).keys() == {"idempotencyKey"}


def test_a_key_used_for_another_request_is_a_conflict(functions, twilio):
    functions.trigger(GOOD, Idempotency_Key="k")
    assert functions.trigger(GOOD | {"record": True}, Idempotency_Key="k").status_code == 409
    assert len(twilio.created) == 1


# -- when Twilio or the store fail -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        ([(400, 21211)], 502, "21211"),
        ([(401, 20003)], 502, "20003"),
        ([(400, 21215)], 502, "21215"),
        ([(429, 20429), (429, 20429)], 503, "20429"),
    ],
)
def test_twilios_refusal_is_told_with_its_code_and_told_again(functions, twilio, refusal, status, code):
    twilio.refuse += refusal
    for _ in range(2):
        response = functions.trigger(GOOD, Idempotency_Key="k")
        assert (response.status_code, response.json["twilioCode"]) == (status, code)
        assert CALLER not in response.get_data(as_text=True)
    assert len(twilio.created) == len(refusal)


def test_too_many_requests_at_once_are_tried_a_second_time(functions, twilio):
    twilio.refuse.append((429, 20429))
    assert functions.trigger(GOOD).status_code == 201
    assert len(twilio.created) == 2


def test_a_twilio_that_cannot_be_reached_has_placed_no_call(functions, environment):
    environment.setenv("TWILIO_API_URL", "http://127.0.0.1:1")
    response = functions.trigger(GOOD)
    assert (response.status_code, response.json["twilioCode"]) == (503, "unreachable")


@pytest.fixture
def impatient(monkeypatch):
    """Requests to Twilio end after a moment."""
    monkeypatch.setattr(twilio_rest, "TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr("callbot.outgoing._WEBHOOK_IS_FASTER", timedelta(seconds=0.3))


@pytest.fixture
def swallowed(twilio):
    """Twilio takes the order and its answer never comes."""
    hold = threading.Event()
    twilio.before_answer = lambda: hold.wait(5)
    yield twilio
    hold.set()


def test_an_order_without_an_answer_is_looked_for_and_adopted(functions, store, swallowed, impatient):
    long_ago, somebody_elses = "CA" + "8" * 32, "CA" + "9" * 32
    swallowed.listed += [(long_ago, datetime.now(UTC) - timedelta(hours=1)), (somebody_elses, datetime.now(UTC))]
    store.begin(a_call(sid=somebody_elses, direction="outbound", reservation="another"))
    swallowed.before_answer, hold = accept_then_hang(swallowed)
    response = functions.trigger(GOOD, Idempotency_Key="k")
    hold.set()
    assert response.status_code == 201
    assert len(swallowed.created) == 1
    assert response.json["callSid"] not in (long_ago, somebody_elses)
    assert store.get(response.json["callSid"]).to == CALLER
    assert functions.trigger(GOOD, Idempotency_Key="k").json == response.json


def accept_then_hang(twilio):
    hold = threading.Event()

    def wait():
        sid, _ = twilio.listed.pop()
        twilio.listed.append((sid, datetime.now(UTC)))
        hold.wait(5)

    return wait, hold


def test_an_order_without_an_answer_or_a_trace_stays_unknown(functions, swallowed, impatient):
    response = functions.trigger(GOOD, Idempotency_Key="k")
    assert response.status_code == 503
    assert "may exist" in response.json["error"]
    assert functions.trigger(GOOD, Idempotency_Key="k").status_code == 503
    assert len(swallowed.created) == 1


def test_the_calls_own_webhook_tells_what_became_of_it(functions, swallowed, impatient):
    assert functions.trigger(GOOD, Idempotency_Key="k").status_code == 503
    id_ = parse_qs(urlsplit(swallowed.created[0]["Url"][0]).query)["reservation"][0]
    dialled(functions, id_)
    response = functions.trigger(GOOD, Idempotency_Key="k")
    assert (response.status_code, response.json) == (200, {"callSid": CALL_SID})


def test_nothing_is_dialled_that_cannot_be_stored_first(functions, environment, twilio, monkeypatch):
    def fail(*_):
        raise StoreError("down")

    monkeypatch.setattr(SqliteCallStore, "reserve", fail)
    assert functions.trigger(GOOD).status_code == 503
    assert twilio.asked == []


def test_nothing_is_dialled_when_there_is_no_store(functions, environment, twilio, tmp_path):
    environment.setenv("CALL_STORE", f"sqlite:{tmp_path}/no/such/directory/calls.db")
    assert functions.trigger(GOOD).status_code == 503
    assert twilio.asked == []


@pytest.mark.parametrize("method", ["settle", "begin"])
def test_a_call_that_was_dialled_is_told_even_when_that_cannot_be_stored(functions, store, twilio, monkeypatch, method):
    def fail(*_, **__):
        raise StoreError("down")

    monkeypatch.setattr(SqliteCallStore, method, fail)
    response = functions.trigger(GOOD)
    assert (response.status_code, len(twilio.created)) == (201, 1)


def test_a_mistake_of_ours_is_a_plain_500(functions, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(SqliteCallStore, "reserve", fail)
    response = functions.trigger(GOOD)
    assert response.status_code == 500
    assert response.json == {"error": "something went wrong here"}


def test_no_number_and_no_key_reaches_the_log(functions, twilio, capfd):
    functions.trigger(GOOD | {"variables": {"name": "カナリア"}, "greeting": "{name}様"}, Idempotency_Key="k")
    twilio.refuse.append((400, 21211))
    functions.trigger(GOOD, Idempotency_Key="l")
    out = "".join(capfd.readouterr())
    for private in (CALLER, CALLER[1:], KEY, "カナリア", json.dumps("カナリア").strip('"')):
        assert private not in out
    assert re.search("vendor failed", out)
