"""One port for everything: where requests lead."""

import importlib.util
import logging

import pytest

from emulator import local_app
from stream_service.app import SERVICES

KEY = {"Authorization": "Bearer key"}


@pytest.fixture
def settings(monkeypatch, tmp_path):
    for name, value in {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "token",
        "TWILIO_PHONE_NUMBER": "+815010000001",
        "OPENAI_API_KEY": "key",
        "AMIVOICE_API_KEY": "key",
        "PUBLIC_URL": "https://callbot.test",
        "STREAM_TICKET_SECRET": "secret",
        "TRIGGER_KEYS": "key",
        "CALL_STORE": f"sqlite:{tmp_path / 'calls.db'}",
        # functions-framework sets these itself; set here, they are put back.
        "FUNCTION_TARGET": "",
        "FUNCTION_SIGNATURE_TYPE": "",
    }.items():
        monkeypatch.setenv(name, value)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture(params=["whole", "functions"])
def client(request, settings):
    if request.param == "functions":
        yield local_app.create_functions_app().test_client()
        return
    app = local_app.create_app()
    yield app.test_client()
    app.extensions[SERVICES].stop()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/health", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/twiml-and-more", 404),
        ("POST", "/health", 405),
        ("GET", "/twiml", 405),
        ("POST", "/twiml", 403),
        ("POST", "/incoming-call", 403),
        ("POST", "/call-flow?step=listen", 403),
        ("POST", "/call-events", 403),
        ("POST", "/twiml/deeper", 404),
        ("POST", "/outgoing-call", 400),
        ("GET", "/calls", 200),
        ("GET", "/calls/CA0", 404),
        ("POST", "/calls", 405),
    ],
)
def test_every_path_is_answered_in_json(client, method, path, status):
    answer = client.open(path, method=method, headers=KEY)
    assert answer.status_code == status
    assert isinstance(answer.get_json(), dict)


def test_it_says_that_it_is_alive(client):
    assert client.get("/").get_json() == {"service": "callbot", "status": "ok"}


def test_a_call_listed_links_to_its_own_path(client):
    page = client.get("/calls", headers=KEY | {"Accept": "text/html"})
    assert page.status_code == 200
    assert page.content_type.startswith("text/html")


def test_every_function_is_mounted(settings):
    spec = importlib.util.spec_from_file_location("main_of_the_functions", local_app.SOURCE)
    main = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main)
    assert {f"/{name.replace('_', '-')}" for name in local_app.ENTRY_POINTS} == set(main.FUNCTIONS)


def test_wrong_settings_are_refused_at_start(settings, monkeypatch):
    from callbot.errors import ConfigError

    monkeypatch.delenv("STREAM_TICKET_SECRET")
    with pytest.raises(ConfigError, match="STREAM_TICKET_SECRET"):
        local_app.create_functions_app()
