"""`/outgoing-call`: who may ask for a call, what they may ask, and that one key makes one call."""

from urllib.parse import parse_qs, urlsplit

import pytest

from callbot.agents import Agents
from callbot.calls import Status
from tests.functions.scenes import CALLER, FUNCTIONS_URL, KEY, OUR_NUMBER
from tests.functions.test_answering import dialled, document

GOOD = {"phoneNumber": CALLER}


def test_a_call_is_placed(functions, store, twilio):
    response = functions.trigger(GOOD)
    assert response.status_code == 201
    sid = response.json["callSid"]
    (order,) = twilio.created
    query = urlsplit(order["Url"][0]).query
    id_ = parse_qs(query)["reservation"][0]
    assert order == {
        "To": [CALLER],
        "From": [OUR_NUMBER],
        "Url": [f"{FUNCTIONS_URL}/incoming-call?reservation={id_}"],
        "Method": ["POST"],
        "FallbackUrl": [f"{FUNCTIONS_URL}/call-flow?step=resume&generation=0&reservation={id_}"],
        "FallbackMethod": ["POST"],
        "StatusCallback": [f"{FUNCTIONS_URL}/call-events?reservation={id_}"],
        "StatusCallbackMethod": ["POST"],
        "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
        "Timeout": ["30"],
        "TimeLimit": [str(Agents.load().default.max_duration_seconds + 60)],
    }
    call = store.get(sid)
    assert (call.status, call.direction, call.to, call.reservation) == (Status.QUEUED, "outbound", CALLER, id_)
    assert store.reservation(id_).state == "dialled"


def test_everything_that_may_be_asked_for_reaches_the_call(functions, store, twilio):
    wish = GOOD | {
        "agent": "support",
        "engine": "amivoice",
        "variables": {"name": "佐藤"},
        "greeting": "{name}様でしょうか。",
        "maxDurationSeconds": 300,
        "machineDetection": True,
        "record": True,
        "callbackUrl": "https://example.com/done?x=1",
        "idempotencyKey": "order 17",
    }
    response = functions.trigger(wish)
    assert response.status_code == 201
    (order,) = twilio.created
    assert order["TimeLimit"] == ["360"]
    assert (order["MachineDetection"], order["AsyncAmd"]) == (["Enable"], ["true"])
    assert order["AsyncAmdStatusCallback"] == order["StatusCallback"] == order["RecordingStatusCallback"]
    assert order["Record"] == ["true"]
    call = store.get(response.json["callSid"])
    assert (call.agent, call.engine, call.variables) == ("support", "amivoice", {"name": "佐藤"})
    assert (call.max_duration_seconds, call.record, call.callback_url) == (300, True, "https://example.com/done?x=1")


def test_the_answered_call_greets_with_the_variables(functions, twilio):
    functions.trigger(GOOD | {"engine": "amivoice", "variables": {"name": "佐藤"}, "greeting": "{name}様でしょうか。"})
    id_ = parse_qs(urlsplit(twilio.created[0]["Url"][0]).query)["reservation"][0]
    assert document(dialled(functions, id_)).find("Say").text == "佐藤様でしょうか。"


# -- who ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "", "wrong", KEY + "x", KEY[:-1], KEY.upper(), "キー", "second-key, " + KEY])
def test_whoever_has_no_key_is_turned_away(functions, twilio, key):
    headers = {} if key is None else {"Authorization": f"Bearer {key}".encode().decode("latin-1")}
    response = functions.client("outgoing_call").post("/", json=GOOD, headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert twilio.asked == []


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_each_key_opens(functions, scheme):
    for key in (KEY, "second-key"):
        client = functions.client("outgoing_call")
        assert client.post("/", json=GOOD, headers={"Authorization": f"{scheme} {key}"}).status_code == 201


def test_a_key_in_another_scheme_does_not_open(functions):
    client = functions.client("outgoing_call")
    assert client.post("/", json=GOOD, headers={"Authorization": f"Basic {KEY}"}).status_code == 401
    assert client.post(f"/?key={KEY}", json=GOOD).status_code == 401


def test_without_keys_nobody_may(functions, environment):
    environment.delenv("TRIGGER_KEYS")
    assert functions.trigger(GOOD, key="").status_code == 401
    assert functions.trigger(GOOD, key=KEY).status_code == 401


# -- what --------------------------------------------------------------------------------------------------------------


def problems(response):
    assert response.status_code == 400
    assert response.json["error"] == "invalid request"
    return {one["field"]: one["problem"] for one in response.json["problems"]}


def test_all_problems_are_told_at_once_by_field(functions, twilio):
    wish = {
        "phoneNumber": "090-1111-2222",
        "agent": "nobody",
        "engine": "gramophone",
        "variables": {"ticket": "x"},
        "greeting": "{unknown}様",
        "maxDurationSeconds": 3301,
        "machineDetection": "yes",
        "record": 1,
        "callbackUrl": "http://example.com",
        "idempotencyKey": "",
        "colour": "blue",
    }
    found = problems(functions.trigger(wish))
    assert found.keys() == wish.keys()
    assert found["colour"] == "is not a known field"
    assert twilio.asked == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phoneNumber", None),
        ("phoneNumber", 819011112222),
        ("phoneNumber", ["+819011112222"]),
        ("phoneNumber", "+81 90 1111 2222"),
        ("phoneNumber", "+819011112222;ext=5"),
        ("phoneNumber", "tel:+819011112222"),
        ("phoneNumber", "110"),
        ("phoneNumber", "+81118"),
        ("agent", 5),
        ("engine", None),
        ("variables", []),
        ("variables", {"a": 1}),
        ("variables", {"1a": "x"}),
        ("variables", {"a b": "x"}),
        ("variables", {"名前": "x"}),
        ("variables", {"": "x"}),
        ("variables", {"a" * 65: "x"}),
        ("variables", {"a": "x" * 401}),
        ("variables", {f"a{n}": "x" for n in range(21)}),
        ("greeting", "  "),
        ("greeting", "あ" * 1001),
        ("maxDurationSeconds", 29),
        ("maxDurationSeconds", 60.0),
        ("maxDurationSeconds", True),
        ("maxDurationSeconds", "60"),
        ("callbackUrl", "https://"),
        ("callbackUrl", "https://user:pass@example.com/"),
        ("callbackUrl", "https://example.com/a b"),
        ("callbackUrl", "https://example.com:99999/"),
        ("callbackUrl", "https://[::1"),
        ("callbackUrl", "https://example.com/" + "a" * 2000),
        ("idempotencyKey", "a" * 256),
        ("idempotencyKey", "a\nb"),
    ],
)
def test_a_value_that_cannot_be_used_is_a_problem_of_its_field(functions, twilio, field, value):
    assert problems(functions.trigger(GOOD | {field: value})).keys() == {field}
    assert twilio.asked == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b'{"phoneNumber": NaN}',
        b"[" * 60_000,
        b'{"phoneNumber": "+819011112222", "phoneNumber": "+819011113333"}',
    ],
)
def test_a_body_that_is_no_object_is_a_problem(functions, body):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    response = functions.client("outgoing_call").post("/", data=body, headers=headers)
    assert problems(response).keys() == {""}


def test_a_form_is_not_json(functions):
    response = functions.client("outgoing_call").post("/", data=GOOD, headers={"Authorization": f"Bearer {KEY}"})
    assert "application/json" in problems(response)[""]


def test_a_huge_body_is_not_read(functions):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    response = functions.client("outgoing_call").post("/", data=b" " * 70_000, headers=headers)
    assert response.status_code == 413
    assert "error" in response.json


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("+14155552671", "region US"),
        ("+18765550123", "region JM"),
        ("+881612345678", "region 001"),
        ("+81990123456", "premium rate"),
        ("+81570000000", "universal access"),
    ],
)
def test_a_number_that_policy_forbids_is_403_with_the_reason(functions, twilio, number, reason):
    response = functions.trigger({"phoneNumber": number})
    assert response.status_code == 403
    assert reason in response.json["error"]
    assert number not in response.get_data(as_text=True)
    assert twilio.asked == []


def test_a_region_that_is_allowed_is_dialled(functions, environment):
    environment.setenv("OUTBOUND_REGIONS", "JP,US")
    assert functions.trigger({"phoneNumber": "+14155552671"}).status_code == 201


def test_without_a_number_of_ours_nothing_can_be_dialled(functions, environment, twilio):
    environment.delenv("TWILIO_PHONE_NUMBER")
    response = functions.trigger(GOOD)
    assert response.status_code == 503
    assert "TWILIO_PHONE_NUMBER" in response.json["error"]
    assert twilio.asked == []


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "longest"),
    [("OUTBOUND_PER_MINUTE", 60), ("OUTBOUND_PER_DAY", 86_400), ("OUTBOUND_PER_NUMBER_PER_DAY", 86_400)],
)
def test_over_a_limit_nothing_is_dialled(functions, environment, twilio, setting, longest):
    environment.setenv(setting, "2")
    # Three of four fall into one minute even when it turns in between.
    statuses = [functions.trigger(GOOD) for _ in range(5)]
    refused = [response for response in statuses if response.status_code == 429]
    assert refused
    assert len(twilio.created) == 5 - len(refused) <= 4
    assert 1 <= int(refused[0].headers["Retry-After"]) <= longest


def test_a_repeated_key_costs_nothing(functions, environment, twilio):
    environment.setenv("OUTBOUND_PER_DAY", "1")
    for status in (201, 200, 200):
        assert functions.trigger(GOOD, Idempotency_Key="k").status_code == status
