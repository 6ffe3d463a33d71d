"""One setting says where all functions are: paths of one address, or each on an address of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot.addresses import function_url
from callbot.errors import ConfigError
from callbot.flow import flow_url
from callbot.settings import Settings
from emulator import numbers
from tests.functions.scenes import ENVIRONMENT

NAMED = "https://asia-northeast1-shop.cloudfunctions.net/mine-{function}"


@pytest.mark.parametrize(
    ("base", "address"),
    [
        ("https://callbot.test", "https://callbot.test/call-flow"),
        ("https://callbot.test/base", "https://callbot.test/base/call-flow"),
        (NAMED, "https://asia-northeast1-shop.cloudfunctions.net/mine-call-flow"),
        ("https://callbot.test/{function}/v1", "https://callbot.test/call-flow/v1"),
    ],
)
def test_where_a_function_is(base, address):
    assert function_url(base, "call-flow") == address


def test_the_way_on_and_a_numbers_webhooks_are_addresses_of_functions():
    assert flow_url(NAMED, "words", turn=3) == NAMED.replace("{function}", "call-flow") + "?step=words&turn=3"
    where = numbers.webhooks(NAMED, "amivoice")
    assert where.voice_url == NAMED.replace("{function}", "twiml")
    assert where.voice_fallback_url.startswith(NAMED.replace("{function}", "call-flow") + "?step=resume")
    assert where.status_callback == NAMED.replace("{function}", "call-events")
    assert numbers.webhooks(NAMED, "realtime").voice_url == NAMED.replace("{function}", "incoming-call")


@pytest.mark.parametrize("url", [NAMED, NAMED + "/", "https://callbot.test/a/{function}/b"])
def test_an_address_with_a_place_for_the_name_is_taken(url):
    assert Settings.read(ENVIRONMENT | {"FUNCTIONS_URL": url}).functions_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "https://{function}.callbot.test",
        "https://callbot.test?{function}",
        "https://callbot.test/x#{function}",
        NAMED + "/{function}",
        "https://callbot.test/{name}",
        "https://callbot.test/{",
        "https://callbot.test/{{function}}",
    ],
)
def test_a_name_in_the_wrong_place_is_refused(url):
    with pytest.raises(ConfigError, match=r"FUNCTIONS_URL must have \{function\} once, in its path"):
        Settings.read(ENVIRONMENT | {"FUNCTIONS_URL": url})


@given(st.text("{}function/:?#.h", max_size=30))
def test_no_accepted_address_leaves_a_brace_behind(tail):
    try:
        settings = Settings.read(ENVIRONMENT | {"FUNCTIONS_URL": "https://h/" + tail})
    except ConfigError:
        return
    assert not set("{}") & set(function_url(settings.functions_url, "calls"))
