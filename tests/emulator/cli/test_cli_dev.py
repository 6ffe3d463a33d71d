"""What `callbot dev` makes of its environment."""

import pytest

from callbot.errors import ConfigError
from emulator import dev
from emulator.vendors import AMIVOICE, OPENAI, TWILIO

ACCOUNT = {"TWILIO_ACCOUNT_SID": "AC0", "TWILIO_AUTH_TOKEN": "token"}
KEYS = ACCOUNT | {"OPENAI_API_KEY": "sk", "AMIVOICE_API_KEY": "ak"}


def test_without_a_key_everything_is_emulated_and_secrets_are_made_up():
    wanted = dev.wishes({})
    assert wanted.emulated == (TWILIO, OPENAI, AMIVOICE)
    assert set(wanted.made_up) == {"STREAM_TICKET_SECRET", "TRIGGER_KEYS"}
    assert wanted.port == 3000
    assert wanted.settings.functions_url == "https://callbot.localhost"
    assert wanted.settings.stream_url == "wss://callbot.localhost/ws"
    assert wanted.settings.call_store == "sqlite:callbot.db"
    again = dev.wishes({})
    assert again.env["STREAM_TICKET_SECRET"] != wanted.env["STREAM_TICKET_SECRET"]


@pytest.mark.parametrize(
    ("env", "emulated"),
    [
        ({"OPENAI_API_KEY": "sk"}, (TWILIO, AMIVOICE)),
        ({"AMIVOICE_API_KEY": "ak", "OPENAI_API_KEY": " "}, (TWILIO, OPENAI)),
        (KEYS | {"PUBLIC_URL": "https://a.test"}, ()),
        (ACCOUNT | {"FUNCTIONS_URL": "https://a.test", "STREAM_URL": "wss://b.test/ws"}, (OPENAI, AMIVOICE)),
    ],
)
def test_a_vendor_with_a_key_is_not_emulated(env, emulated):
    assert dev.wishes(env).emulated == emulated


def test_given_secrets_and_port_are_kept():
    wanted = dev.wishes({"TRIGGER_KEYS": "mine", "STREAM_TICKET_SECRET": "s", "PORT": "8080"})
    assert wanted.made_up == ()
    assert wanted.settings.trigger_keys == ("mine",)
    assert wanted.port == 8080


def test_half_a_twilio_key_is_a_slip():
    with pytest.raises(ConfigError, match="TWILIO_AUTH_TOKEN missing"):
        dev.wishes({"TWILIO_ACCOUNT_SID": "AC0"})


def test_the_real_twilio_needs_an_address_and_all_complaints_come_at_once():
    with pytest.raises(ConfigError) as complaint:
        dev.wishes(ACCOUNT | {"LOG_LEVEL": "loud"})
    for name in ("FUNCTIONS_URL", "STREAM_URL", "LOG_LEVEL"):
        assert name in str(complaint.value)


def test_a_call_of_the_emulator_never_uses_the_real_account():
    real = KEYS | {"FUNCTIONS_URL": "https://deployed.test", "STREAM_URL": "wss://deployed.test/ws"}
    wanted = dev.wishes(real, emulate_twilio=True, port=0)
    assert wanted.emulated == (TWILIO,)
    assert wanted.settings.functions_url == "https://callbot.localhost"


def test_the_environment_overrules_the_file(monkeypatch, tmp_path):
    file = tmp_path / ".env"
    file.write_text("PORT=4000\nOPENAI_API_KEY=from-file\nEMPTY\n", encoding="utf-8")
    monkeypatch.setenv("PORT", "5000")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    env = dev.environment(file)
    assert (env["PORT"], env["OPENAI_API_KEY"]) == ("5000", "from-file")
    assert "EMPTY" not in env
    assert dev.environment(tmp_path / "none")["PORT"] == "5000"


def test_the_emulated_twilio_sits_beside_the_product_and_knows_its_numbers():
    system = dev.LocalSystem(dev.wishes({"TWILIO_PHONE_NUMBER": "+815012345678"}, port=0))
    try:
        numbers = system.vendors.carrier.numbers
        assert list(numbers) == ["+815012345678", "+815010000002"]
        assert [number.voice_url for number in numbers.values()] == [
            "https://callbot.localhost/twiml",
            "https://callbot.localhost/incoming-call",
        ]
        assert system.vendors.carrier.tunnels == {"callbot.localhost": system.url}
    finally:
        system.stop()


def test_a_taken_port_is_refused():
    first = dev.LocalSystem(dev.wishes({}, port=0))
    try:
        with pytest.raises(dev.PortTakenError, match=str(first.port)):
            dev.LocalSystem(dev.wishes({}, port=first.port))
    finally:
        first.stop()


def test_with_every_key_nothing_is_emulated_and_given_addresses_are_kept():
    given = KEYS | {
        "PUBLIC_URL": "https://a.test",
        "TWILIO_API_URL": "http://127.0.0.1:9",
        "OPENAI_BASE_URL": "http://b/v1",
    }
    system = dev.LocalSystem(dev.wishes(given, port=0))
    try:
        assert system.vendors.settings() == {}
        assert system.running().twilio_url == ""
        assert system.settings.twilio_api_url == "http://127.0.0.1:9"
        assert system.settings.openai_base_url == "http://b/v1"
    finally:
        system.stop()
