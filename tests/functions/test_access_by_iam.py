"""The operators' endpoints behind Google Cloud's IAM: it has asked who comes, and no key of ours is needed."""

import json

import pytest

from callbot.errors import ConfigError
from callbot.settings import Part, Settings
from tests.functions.scenes import CALL_SID, CALLER, ENVIRONMENT, KEY, a_call, settings

# What is left of an identity token behind Cloud Run; nothing in it can be checked any more.
LET_IN = "eyJhbGciOiJSUzI1NiJ9.eyJlbWFpbCI6Im9wZXJhdG9yQGV4YW1wbGUuY29tIn0.SIGNATURE_REMOVED_BY_GOOGLE"


@pytest.fixture
def behind_iam(functions, environment):
    environment.setenv("TRIGGER_AUTH", "iam")
    environment.setenv("K_SERVICE", "callbot-outgoing-call")
    environment.setenv("TRIGGER_KEYS", "")
    return functions


def place(functions, **headers):
    body = {"phoneNumber": CALLER}
    return functions.client("outgoing_call").post("/", json=body, headers=headers)


@pytest.mark.parametrize("header", ["Authorization", "X-Serverless-Authorization"])
def test_whoever_was_let_in_may_have_a_call_placed(behind_iam, twilio, header):
    assert place(behind_iam, **{header: f"Bearer {LET_IN}"}).status_code == 201
    assert len(twilio.created) == 1


def test_and_may_read_calls_without_a_key(behind_iam, store):
    store.begin(a_call())
    assert behind_iam.operator("/calls", key=LET_IN).json["calls"][0]["callSid"] == CALL_SID
    page = behind_iam.client("calls").get("/", headers={"Accept": "text/html", "Authorization": f"Bearer {LET_IN}"})
    assert CALL_SID in page.get_data(as_text=True)


def test_a_request_that_nobody_has_asked_for_its_identity_is_turned_away(behind_iam, twilio, capfd):
    for headers in ({}, {"Authorization": ""}, {"Authorization": "Basic bWU6a2V5"}):
        response = place(behind_iam, **headers)
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    browser = behind_iam.client("calls").get("/", headers={"Accept": "text/html"})
    assert (browser.status_code, browser.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert twilio.created == []
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if '"trigger refused"' in line]
    assert [(line["path"], line["reason"]) for line in lines] == [
        *[("/outgoing-call", "no identity")] * 3,
        ("/calls", "no identity"),
    ]


def test_who_asked_reaches_no_log_line(behind_iam, capfd):
    place(behind_iam, Authorization=f"Bearer {LET_IN}")
    logged = "".join(capfd.readouterr())
    assert '"dialled"' in logged
    assert LET_IN[:20] not in logged
    assert "operator@" not in logged


def test_a_key_of_ours_is_what_counts_otherwise(functions, twilio):
    assert place(functions, Authorization=f"Bearer {LET_IN}").status_code == 401
    assert place(functions, **{"X-Serverless-Authorization": f"Bearer {KEY}"}).status_code == 401
    assert place(functions, Authorization=f"Bearer {KEY}").status_code == 201


def test_it_is_refused_where_nothing_asks_before_us():
    with pytest.raises(ConfigError, match="TRIGGER_AUTH=iam has Cloud Run check who asks, and this is not Cloud Run"):
        settings(TRIGGER_AUTH="iam")
    assert settings(TRIGGER_AUTH="iam", K_SERVICE="callbot-calls").trigger_auth == "iam"


def test_a_way_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="TRIGGER_AUTH must be key or iam"):
        settings(TRIGGER_AUTH="none")
    assert Settings.read(ENVIRONMENT, Part.FUNCTIONS).trigger_auth == "key"
