"""Whether a request is Twilio's: genuine ones are read, and nothing else gets in or breaks anything."""

import base64
import io
from urllib.parse import urlencode

import hypothesis
import pytest
from flask import Flask, Request
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator
from werkzeug.test import EnvironBuilder

from callbot.errors import RefusedError
from callbot.webhooks import Webhook, verified
from tests.functions.scenes import ACCOUNT, CALL_SID, CALLER, FUNCTIONS_URL, OUR_NUMBER, TOKEN, settings, signature

FORM = {
    "CallSid": CALL_SID,
    "AccountSid": ACCOUNT,
    "From": CALLER,
    "To": OUR_NUMBER,
    "CallStatus": "ringing",
    "Direction": "inbound",
    "ApiVersion": "2010-04-01",
    "CallerName": "佐藤 太郎",
    "FromCity": "",
}
SETTINGS = settings()
FORM_TYPE = "application/x-www-form-urlencoded"


def request(body: bytes, query: str = "", headers: object = None, content_type: str | None = FORM_TYPE) -> Request:
    builder = EnvironBuilder(
        path="/", method="POST", query_string=query, input_stream=io.BytesIO(body), content_type=content_type
    )
    environ = builder.get_environ()
    environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in (headers or {}).items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    return Request(environ)


def signed(form: dict[str, str], query: str = "", name: str = "twiml", token: str = TOKEN, **more: str) -> Request:
    url = f"{FUNCTIONS_URL}/{name}" + (f"?{query}" if query else "")
    return request(urlencode(form).encode(), query, {"X-Twilio-Signature": signature(url, form, token)} | more)


def read(req: Request, name: str = "twiml", with_settings=SETTINGS) -> Webhook:
    with Flask("test").app_context():
        return verified(req, name, with_settings)


def refused(req: Request, name: str = "twiml", with_settings=SETTINGS) -> None:
    with pytest.raises(RefusedError):
        read(req, name, with_settings)


# -- genuine -----------------------------------------------------------------------------------------------------------


def test_a_genuine_webhook_is_read():
    webhook = read(signed(FORM))
    assert (webhook.call_sid, webhook.form, webhook.query) == (CALL_SID, FORM, {})


def test_our_own_signature_is_the_vendors():
    assert RequestValidator(TOKEN).compute_signature(FUNCTIONS_URL + "/twiml", FORM) == signature(
        FUNCTIONS_URL + "/twiml", FORM
    )


@pytest.mark.parametrize("query", ["step=words&turn=3", "a=%E3%81%82&b=c%20d", "reservation=x&empty="])
def test_the_raw_query_is_part_of_what_is_signed(query):
    assert read(signed(FORM, query)).query


def test_either_token_will_do_while_they_are_rotated():
    rotating = settings(TWILIO_AUTH_TOKEN=f"new-token,{TOKEN}")
    for token in ("new-token", TOKEN):
        assert read(signed(FORM, token=token), with_settings=rotating).call_sid == CALL_SID
    refused(signed(FORM, token="older-token"), with_settings=rotating)


def test_the_requests_own_idea_of_its_address_does_not_count():
    for host in ("evil.test", "h:99999", "h:abc", "[::1", "callbot.test:80", ""):
        headers = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-Proto": "http"}
        assert read(signed(FORM, **headers)).call_sid == CALL_SID


@hypothesis.settings(deadline=None)  # a busy machine is not a failure
@given(st.dictionaries(st.from_regex(r"[A-Z][A-Za-z]{3,12}", fullmatch=True), st.text(max_size=20), max_size=6))
def test_parameters_that_we_do_not_know_are_fine(more):
    form = {name: value for name, value in more.items() if name not in FORM and name not in WATCHED} | FORM
    # A lone surrogate can be sent by nobody.
    form = {name: value.encode("utf-8", "ignore").decode() for name, value in form.items()}
    assert read(signed(form)).form == form


WATCHED = ("DialCallStatus", "AnsweredBy", "StreamEvent", "StreamName")


# -- not genuine -------------------------------------------------------------------------------------------------------


def test_no_signature():
    refused(request(urlencode(FORM).encode()))
    refused(request(urlencode(FORM).encode(), headers={"X-Twilio-Signature": ""}))


@pytest.mark.parametrize("junk", ["x", "é" * 28, "=" * 28, "\x00", "a" * 100_000, base64.b64encode(b"0" * 20).decode()])
def test_a_junk_signature(junk):
    refused(request(urlencode(FORM).encode(), headers={"X-Twilio-Signature": junk}))


def test_two_signatures():
    right = signature(FUNCTIONS_URL + "/twiml", FORM)
    refused(request(urlencode(FORM).encode(), headers={"X-Twilio-Signature": f"{right},{right}"}))


def test_the_signature_of_another_path():
    refused(signed(FORM, name="call-flow"))
    refused(signed(FORM), name="incoming-call")


def test_the_signature_of_a_stream():
    url = "wss://stream.test/ws"
    refused(request(urlencode(FORM).encode(), headers={"X-Twilio-Signature": signature(url, {})}))


def test_a_changed_algorithm_in_a_header_changes_nothing():
    weaker = {"X-Twilio-Webhooks-Signature-Settings": "key=x,algorithm=NONE"}
    assert read(signed(FORM, **weaker)).call_sid == CALL_SID
    refused(request(urlencode(FORM).encode(), headers={"X-Twilio-Signature": "x"} | weaker))


@pytest.mark.parametrize("sid", [None, "", "CA1", "CA" + "z" * 63, "CA" + "あ" * 32, "MZ" + "a" * 32, CALL_SID + "\n"])
def test_no_call(sid):
    form = {name: value for name, value in FORM.items() if name != "CallSid"}
    refused(signed(form | ({} if sid is None else {"CallSid": sid})))


def test_another_account():
    refused(signed(FORM | {"AccountSid": "AC" + "1" * 32}))


def test_a_doubled_parameter_in_the_form():
    body = urlencode(FORM) + f"&CallSid={CALL_SID}"
    refused(request(body.encode(), headers={"X-Twilio-Signature": signature(FUNCTIONS_URL + "/twiml", FORM)}))


def test_a_doubled_parameter_in_the_query():
    refused(signed(FORM, "step=idle&step=resume"))


def test_a_parameter_in_both():
    refused(signed(FORM, f"CallSid={CALL_SID}"))


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "multipart/form-data; boundary=x", "text/plain"]
)
def test_another_kind_of_body(content_type):
    headers = {"X-Twilio-Signature": signature(FUNCTIONS_URL + "/twiml", FORM)}
    refused(request(urlencode(FORM).encode(), headers=headers, content_type=content_type))


def test_a_huge_form():
    refused(signed(FORM | {"Padding": "x" * 70_000}))


def test_a_form_that_is_not_utf_8():
    refused(request(urlencode(FORM).encode() + b"&X=%ff%fe", headers={"X-Twilio-Signature": "x"}))


@pytest.mark.parametrize(
    ("name", "new_name", "new_value"),
    [
        ("CallSid", "CallSidC", "A" + "a" * 32),
        ("AccountSid", "AccountSidA", "C" + "0" * 32),
        ("AccountSid", "Account", "Sid" + ACCOUNT),
        ("From", "From+", CALLER[1:]),
        ("CallStatus", "CallStatusring", "ing"),
        ("CallStatus", "Call", "Statusringing"),
        ("Direction", "Directioni", "nbound"),
    ],
)
def test_a_border_between_name_and_value_that_has_been_moved(name, new_name, new_value):
    moved = {key: value for key, value in FORM.items() if key != name} | {new_name: new_value}
    # The signature cannot tell: the joined text is the same as long as the order of the names is.
    if sorted(moved).index(new_name) == sorted(FORM).index(name):
        assert signature("", moved) == signature("", FORM)
    refused(
        request(urlencode(moved).encode(), headers={"X-Twilio-Signature": signature(FUNCTIONS_URL + "/twiml", FORM)})
    )


# -- whatever else -----------------------------------------------------------------------------------------------------


@hypothesis.settings(deadline=None)  # a busy machine is not a failure
@given(
    body=st.one_of(st.binary(max_size=300), st.just(urlencode(FORM).encode())),
    query=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=50),
    sent=st.text(st.characters(codec="latin-1"), max_size=60),
    content_type=st.sampled_from([FORM_TYPE, FORM_TYPE + "; charset=x", "multipart/form-data", "", "%"]),
)
def test_nothing_but_a_refusal_is_ever_raised(body, query, sent, content_type):
    refused(request(body, query, {"X-Twilio-Signature": sent}, content_type))


@st.composite
def mutations(draw) -> Request:
    """A genuine request with one thing changed."""
    form, query = dict(FORM), "step=idle&prompts=1"
    right = signature(f"{FUNCTIONS_URL}/twiml?{query}", form)
    match draw(st.sampled_from(["value", "name", "drop", "add", "query", "signature", "swap"])):
        case "value":
            name = draw(st.sampled_from(sorted(form)))
            form[name] = draw(st.text(max_size=20).filter(lambda text: text != form[name]))
        case "name":
            name = draw(st.sampled_from(sorted(form)))
            form[name.swapcase()] = form.pop(name)
        case "drop":
            # An empty value leaves nothing in the signed text but its name.
            del form[draw(st.sampled_from(sorted(form)))]
        case "add":
            form[draw(st.from_regex(r"[A-Z][a-z]{1,8}", fullmatch=True).filter(lambda n: n not in FORM))] = "x"
        case "query":
            query = draw(st.sampled_from(["", "step=idle&prompts=2", "step=idle", "prompts=1&step=idle", query + "&"]))
        case "signature":
            at = draw(st.integers(0, len(right) - 2))  # the last character is padding
            right = right[:at] + ("A" if right[at] != "A" else "B") + right[at + 1 :]
        case "swap":
            form["From"], form["To"] = form["To"], form["From"]
    body = urlencode({name: value.encode("utf-8", "surrogatepass") for name, value in form.items()})
    return request(body.encode(), query, {"X-Twilio-Signature": right})


@hypothesis.settings(deadline=None)  # a busy machine is not a failure
@given(mutations())
def test_a_changed_request_is_refused(changed):
    refused(changed)
