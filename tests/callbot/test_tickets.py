"""Tickets: whoever lets streams in learns what the functions said, from nobody else, for this call, for a while."""

import itsdangerous
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot import tickets
from callbot.errors import RefusedError
from callbot.tickets import Ticket

SECRET = "a secret of the tests"
SID = "CA" + "0123456789abcdef" * 2
TICKET = Ticket(SID, 3, "takumi", "amivoice", "https://asia-northeast1-my-project.cloudfunctions.net")


def test_what_was_issued_is_what_is_checked() -> None:
    assert tickets.check(tickets.issue(TICKET, SECRET), SECRET, SID) == TICKET


def test_a_ticket_fits_a_parameter_of_twilios() -> None:
    text = tickets.issue(TICKET, SECRET)
    assert len(tickets.PARAMETER) + len(text) <= 500
    assert text.isascii()


@pytest.mark.parametrize("change", ["call", "secret", "signature", "content", "missing", "number", "long"])
def test_a_ticket_that_is_not_ours_for_this_call_lets_nobody_in(change: str) -> None:
    text: object = tickets.issue(TICKET, SECRET)
    assert isinstance(text, str)
    sid, secret = SID, SECRET
    match change:
        case "call":
            sid = "CA" + "f" * 32
        case "secret":
            secret = SECRET + "!"
        case "signature":
            body, _, signature = text.rpartition(".")  # not its last character, which has bits that mean nothing
            text = f"{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
        case "content":
            text = "A" + text[1:]
        case "missing":
            text = None
        case "number":
            text = 7
        case "long":
            text = text + "A" * 500
    with pytest.raises(RefusedError):
        tickets.check(text, secret, sid)


def test_a_ticket_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    text = tickets.issue(TICKET, SECRET)
    issued = itsdangerous.TimestampSigner(SECRET).get_timestamp()
    monkeypatch.setattr(itsdangerous.TimestampSigner, "get_timestamp", lambda _: issued + tickets.LIFETIME_SECONDS)
    assert tickets.check(text, SECRET, SID) == TICKET
    monkeypatch.setattr(itsdangerous.TimestampSigner, "get_timestamp", lambda _: issued + tickets.LIFETIME_SECONDS + 2)
    with pytest.raises(RefusedError, match="SignatureExpired"):
        tickets.check(text, SECRET, SID)


@pytest.mark.parametrize("content", [[], [SID], [SID, 1, "a", "no engine", "u"], {"a": 1}, None, "text", 7])
def test_what_we_signed_for_another_use_is_no_ticket(content: object) -> None:
    signed = itsdangerous.URLSafeTimedSerializer(SECRET, salt="callbot.stream").dumps(content)
    with pytest.raises(RefusedError):
        tickets.check(signed, SECRET, SID)


@given(st.text() | st.none() | st.integers() | st.binary())
def test_whatever_is_shown_only_our_own_error_comes_of_it(shown: object) -> None:
    with pytest.raises(RefusedError):
        tickets.check(shown, SECRET, SID)
