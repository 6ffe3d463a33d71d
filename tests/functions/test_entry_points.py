"""Each function on its own address: paths, methods, refusals, and what starting one costs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask, request
from werkzeug.test import EnvironBuilder

from callbot.errors import ConfigError
from callbot.webhooks import MAX_BODY
from tests.functions.conftest import MAIN
from tests.functions.scenes import ACCOUNT, CALL_SID, ENVIRONMENT, FUNCTIONS_URL, KEY, signature

WEBHOOKS = ["/twiml", "/incoming-call", "/call-flow", "/call-events"]
POSTED = [*WEBHOOKS, "/outgoing-call"]


def target(path):
    return path.strip("/").replace("-", "_")


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_405_in_json(functions, path, method):
    response = functions.client(target(path)).open(path, method=method)
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert "error" in response.json


def test_calls_are_only_read(functions):
    response = functions.client("calls").post("/calls", headers={"Authorization": f"Bearer {KEY}"})
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", [*POSTED, "/calls"])
@pytest.mark.parametrize("other", ["/nowhere", "/twiml/x", "/call-flow/", "/calls/a/b", "/callsx"])
def test_another_path_is_404_in_json(functions, path, other):
    response = functions.client(target(path)).open(other, method="GET" if path == "/calls" else "POST")
    assert response.status_code == 404
    assert "error" in response.json


@pytest.mark.parametrize("path", WEBHOOKS)
@pytest.mark.parametrize("at", ["/", None], ids=["its root", "its name"])
def test_a_function_answers_at_its_root_and_at_its_name(functions, path, at):
    form = {"CallSid": CALL_SID, "AccountSid": ACCOUNT}
    headers = {"X-Twilio-Signature": signature(FUNCTIONS_URL + path, form)}
    response = functions.client(target(path)).post(at or path, data=form, headers=headers)
    assert response.status_code in (200, 204)


@pytest.mark.parametrize("path", WEBHOOKS)
def test_a_function_mounted_at_its_name_answers_there(functions, path):
    form = {"CallSid": CALL_SID, "AccountSid": ACCOUNT}
    headers = {"X-Twilio-Signature": signature(FUNCTIONS_URL + path, form)}
    environ = {"SCRIPT_NAME": path, "PATH_INFO": "/"}
    client = functions.client(target(path))
    assert client.post("/", data=form, headers=headers, environ_overrides=environ).status_code in (200, 204)
    app = functions.app(target(path))
    for rest in ("", "/"):
        builder = EnvironBuilder(method="POST", data=form, headers=headers)
        environ = builder.get_environ() | {"SCRIPT_NAME": path, "PATH_INFO": rest}
        with app.request_context(environ):
            response = sys.modules["main"].FUNCTIONS[path](request)
        assert response.status_code in (200, 204)


@pytest.mark.parametrize("path", WEBHOOKS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Twilio-Signature": ""},
        {"X-Twilio-Signature": "wrong"},
        {"Host": "h:99999"},
        {"Host": "h:abc", "X-Twilio-Signature": "x"},
        {"Host": "[::1", "X-Twilio-Signature": "x"},
        {"Content-Type": "application/json", "X-Twilio-Signature": "x"},
        {"Content-Length": "-5", "X-Twilio-Signature": "x"},
    ],
)
def test_what_is_not_from_twilio_is_403_in_json(functions, path, headers):
    response = functions.client(target(path)).post("/", data={"CallSid": CALL_SID}, headers=headers)
    assert response.status_code == 403
    assert response.json == {"error": "forbidden"}


@pytest.mark.parametrize("path", WEBHOOKS)
def test_a_huge_webhook_is_403(functions, path):
    form = {"CallSid": CALL_SID, "AccountSid": ACCOUNT, "Padding": "x" * MAX_BODY}
    headers = {"X-Twilio-Signature": signature(FUNCTIONS_URL + path, form)}
    assert functions.client(target(path)).post("/", data=form, headers=headers).status_code == 403


@pytest.mark.parametrize("path", WEBHOOKS)
def test_two_signatures_are_403(functions, path):
    form = {"CallSid": CALL_SID, "AccountSid": ACCOUNT}
    right = signature(FUNCTIONS_URL + path, form)
    headers = [("X-Twilio-Signature", right), ("X-Twilio-Signature", right)]
    assert functions.client(target(path)).post("/", data=form, headers=headers).status_code == 403


def test_wrong_settings_are_refused_at_start_all_at_once(functions, environment):
    for name in ("TWILIO_AUTH_TOKEN", "STREAM_URL"):
        environment.delenv(name)
    with pytest.raises(ConfigError) as caught:
        functions.app("twiml")
    assert "TWILIO_AUTH_TOKEN" in str(caught.value)
    assert "STREAM_URL" in str(caught.value)


def test_a_wrong_agents_file_is_refused_at_start(functions, monkeypatch, tmp_path):
    file = tmp_path / "agents.toml"
    file.write_text("nonsense = 1\n")
    monkeypatch.setattr("callbot.agents.DEFAULT_FILE", file)
    with pytest.raises(ConfigError):
        functions.app("twiml")


def test_when_not_even_the_settings_can_be_read_the_caller_is_told_so(environment, monkeypatch):
    environment.delenv("TWILIO_AUTH_TOKEN")
    environment.delenv("FUNCTION_TARGET")
    monkeypatch.syspath_prepend(str(MAIN.parent))
    monkeypatch.delitem(sys.modules, "main", raising=False)
    import main  # type: ignore[import-not-found]  # the functions' entry points, which are no package

    with Flask("test").test_request_context("/", method="POST", data={"CallSid": CALL_SID}):
        response = main.FUNCTIONS["/twiml"](request)
    assert response.status_code == 200
    assert "<Say" in response.get_data(as_text=True)
    assert main.FUNCTIONS.keys() == {*POSTED, "/calls"}


BUDGET = """
import json, os, sys
import functions_framework
from urllib.parse import urlencode
from tests.functions.scenes import ACCOUNT, CALL_SID, CALLER, FUNCTIONS_URL, OUR_NUMBER, signature
for path in ("/twiml", "/incoming-call", "/call-flow", "/call-events"):
    app = functions_framework.create_app(target=path[1:].replace("-", "_"), source=os.environ["MAIN"])
    form = {"CallSid": CALL_SID, "AccountSid": ACCOUNT, "From": CALLER, "To": OUR_NUMBER, "CallStatus": "ringing"}
    headers = {"X-Twilio-Signature": signature(FUNCTIONS_URL + path, form)}
    status = app.test_client().post("/", data=form, headers=headers).status_code
    assert status in (200, 204), (path, status)
print(json.dumps(sorted(sys.modules)))
"""


def modules_after(script, tmp_path, **environment):
    """What a process has imported that has run this script, which prints it at its end."""
    environment = {"CALL_STORE": f"sqlite:{tmp_path / 'calls.db'}", "MAIN": str(MAIN), **environment}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        env=os.environ | ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_answering_a_webhook_imports_nothing_heavy(tmp_path):
    modules = modules_after(BUDGET, tmp_path)
    assert "callbot.answering" in modules
    for heavy in ("openai", "twilio.rest", "pydantic", "google.cloud.firestore", "grpc", "requests", "aiohttp"):
        assert heavy not in modules


FIRST = """
import json, os, sys
import functions_framework
from tests.functions.scenes import ACCOUNT, CALL_SID, FUNCTIONS_URL, KEY, signature
target = os.environ["FUNCTION_TARGET"]
app = functions_framework.create_app(target=target, source=os.environ["MAIN"])
started = set(sys.modules)
path, form = "/" + target.replace("_", "-"), {"CallSid": CALL_SID, "AccountSid": ACCOUNT, "CallStatus": "completed"}
signed, key = {"X-Twilio-Signature": signature(FUNCTIONS_URL + path, form)}, {"Authorization": f"Bearer {KEY}"}
match target:
    case "calls":
        answer = app.test_client().get(path, headers=key)
    case "outgoing_call":
        answer = app.test_client().post(path, json={}, headers=key)
    case _:
        answer = app.test_client().post(path, data=form, headers=signed)
assert answer.status_code in (200, 204, 400), answer.status_code
late = [name for name in set(sys.modules) - started if name.startswith(("callbot.", "twilio."))]
assert not late, late
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("twiml", "callbot.callbacks callbot.continuing callbot.outgoing callbot.twilio_rest callbot.views"),
        ("call_flow", "callbot.callbacks callbot.outgoing callbot.twilio_rest callbot.views"),
        ("call_events", "callbot.continuing callbot.outgoing callbot.results callbot.views twilio.twiml"),
        ("outgoing_call", "callbot.callbacks callbot.continuing callbot.views twilio.twiml"),
        ("calls", "callbot.answering callbot.outgoing callbot.webhooks twilio"),
    ],
)
def test_a_function_imports_its_own_at_its_start_and_nothing_that_only_others_need(name, foreign, tmp_path):
    modules = modules_after(FIRST, tmp_path, FUNCTION_TARGET=name)
    assert not modules.intersection(foreign.split())
    assert "google.cloud.firestore" not in modules


STARTED = """
import json, os, sys
import functions_framework
functions_framework.create_app(target=os.environ["FUNCTION_TARGET"], source=os.environ["MAIN"])
print(json.dumps(sorted(sys.modules)))
"""


def test_no_first_caller_waits_for_the_library_of_firestore(tmp_path):
    modules = modules_after(STARTED, tmp_path, FUNCTION_TARGET="twiml", CALL_STORE="firestore:a-project")
    assert "google.cloud.firestore" in modules
    assert "sqlite3" not in modules
