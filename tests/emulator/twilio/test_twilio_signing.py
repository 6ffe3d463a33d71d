"""The customer's own check, the twilio package's, accepts what the carrier signs."""

from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from emulator.twilio.signing import sign

TOKEN = "a-token-for-tests"


def test_a_form_is_signed_with_its_url_and_sorted_parameters():
    form = [("To", "+815011112222"), ("CallSid", "CA1"), ("FromCity", "")]
    url = "https://callbot.test/call-flow?step=2&x=%E3%81%82"
    assert RequestValidator(TOKEN).validate(url, MultiDict(form), sign(TOKEN, url, form))


def test_a_parameter_sent_twice_is_signed_once_for_each_distinct_value():
    form = [("Digits", "2"), ("Digits", "1"), ("Digits", "2")]
    assert RequestValidator(TOKEN).validate("https://a.test/", MultiDict(form), sign(TOKEN, "https://a.test/", form))


def test_a_handshake_is_signed_over_the_wss_url_and_nothing_else():
    url = "wss://stream.test/ws/abc"
    assert RequestValidator(TOKEN).validate(url, {}, sign(TOKEN, url))
    assert not RequestValidator(TOKEN).validate("https://stream.test/ws/abc", {}, sign(TOKEN, url))


def test_another_token_another_signature():
    assert not RequestValidator("other").validate("https://a.test/", {}, sign(TOKEN, "https://a.test/"))


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=8))
def test_any_form_is_accepted(form):
    url = "https://callbot.test/twiml?a=b"
    assert RequestValidator(TOKEN).validate(url, MultiDict(form), sign(TOKEN, url, form))


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4))
def test_nothing_in_a_form_breaks_signing(form):
    assert sign(TOKEN, "https://callbot.test/", form)
