"""The settings as an operator meets them: one complete complaint, no secret shown, and files that stay true."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot.errors import ConfigError
from callbot.settings import SETTINGS, Part, Settings, env_example

ROOT = Path(__file__).parents[2]
COMPLETE = {
    "TWILIO_ACCOUNT_SID": "AC1",
    "TWILIO_AUTH_TOKEN": "new-token, old-token",
    "TWILIO_PHONE_NUMBER": "+815012345678",
    "OPENAI_API_KEY": "sk-openai",
    "AMIVOICE_API_KEY": "amivoice-key",
    "FUNCTIONS_URL": "https://functions.example/base/",
    "STREAM_URL": "wss://stream.example/ws",
    "TRIGGER_KEYS": "first-key,second-key,",
    "STREAM_TICKET_SECRET": "ticket-secret\n",
}


def test_a_complete_environment_becomes_typed_values() -> None:
    settings = Settings.read({**COMPLETE, "OUTBOUND_REGIONS": "jp, US", "LOG_LEVEL": "DEBUG"}, *Part)
    assert settings.twilio_auth_tokens == ("new-token", "old-token")
    assert settings.functions_url == "https://functions.example/base"
    assert settings.trigger_keys == ("first-key", "second-key")
    assert settings.stream_ticket_secret == "ticket-secret"
    assert settings.outbound_regions == ("JP", "US")
    assert settings.callback_hosts == ()
    assert (settings.port, settings.log_level, settings.outbound_per_minute) == (3000, "debug", 60)
    assert settings.call_store == "sqlite:callbot.db"


def test_every_setting_has_a_field_and_every_field_a_setting() -> None:
    names = {"TWILIO_AUTH_TOKEN" if f.name == "twilio_auth_tokens" else f.name.upper() for f in fields(Settings)}
    assert names == {setting.name for setting in SETTINGS}


def test_one_complaint_lists_everything_that_is_missing() -> None:
    with pytest.raises(ConfigError) as complaint:
        Settings.read({}, *Part)
    for name in COMPLETE.keys() - {"TWILIO_PHONE_NUMBER", "TRIGGER_KEYS"}:
        assert f"  {name} is missing" in str(complaint.value)


def test_a_part_needs_only_its_own_share() -> None:
    with pytest.raises(ConfigError) as complaint:
        Settings.read({}, Part.FUNCTIONS)
    assert "FUNCTIONS_URL" in str(complaint.value)
    assert "OPENAI_API_KEY" not in str(complaint.value)
    assert Settings.read({}).openai_api_key == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FUNCTIONS_URL", "functions.example"),
        ("FUNCTIONS_URL", "https://"),
        ("STREAM_URL", "https://stream.example/ws"),
        ("PUBLIC_URL", "https://h:99999"),
        ("OPENAI_BASE_URL", "https://[::1"),
        ("CALL_STORE", "redis:x"),
        ("LOG_LEVEL", "loud"),
        ("PORT", "http"),
        ("PORT", "-1"),
        ("OUTBOUND_PER_DAY", "9" * 5000),
        ("OUTBOUND_REGIONS", "Japan"),
        ("TWILIO_PHONE_NUMBER", "050-1234-5678"),
    ],
)
def test_a_malformed_value_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Settings.read({**COMPLETE, name: value})


@given(st.sampled_from([setting.name for setting in SETTINGS]), st.text())
def test_whatever_a_variable_holds_only_our_own_error_comes_of_it(name: str, value: str) -> None:
    try:
        settings = Settings.read({**COMPLETE, name: value}, *Part)
    except ConfigError:
        return
    assert isinstance(settings.port, int)


def test_one_public_url_sets_both_addresses() -> None:
    settings = Settings.read({"PUBLIC_URL": "https://tunnel.example/"})
    assert settings.public_url == settings.functions_url == "https://tunnel.example"
    assert settings.stream_url == "wss://tunnel.example/ws"
    assert Settings.read({"PUBLIC_URL": "http://127.0.0.1:3000"}).stream_url == "ws://127.0.0.1:3000/ws"


def test_the_older_name_of_the_number_is_accepted() -> None:
    assert Settings.read({"FROM_PHONE_NUMBER": "+815012345678"}).twilio_phone_number == "+815012345678"


def test_no_secret_shows_when_settings_are_printed() -> None:
    shown = repr(Settings.read(COMPLETE, *Part))
    assert "https://functions.example/base" in shown
    for secret in ("new-token", "old-token", "sk-openai", "amivoice-key", "first-key", "second-key", "ticket-secret"):
        assert secret not in shown
    assert [s.name for s in SETTINGS if re.search("KEY|TOKEN|SECRET", s.name) and not s.secret] == []


def test_the_example_file_is_what_the_code_says() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example()
    given = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", env_example(), re.MULTILINE))
    assert given == {setting.name: setting.default for setting in SETTINGS}
