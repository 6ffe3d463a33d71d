"""The functions as they are deployed: each its own functions-framework app, on one store and one Twilio."""

import functools
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from urllib.parse import urlencode

import functions_framework
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from callbot.store import CallStore, open_store
from tests.functions import fake_twilio
from tests.functions.fake_twilio import FakeTwilio
from tests.functions.scenes import ACCOUNT, CALL_SID, CALLER, ENVIRONMENT, FUNCTIONS_URL, KEY, OUR_NUMBER, signature

MAIN = Path(__file__).parents[2] / "functions" / "main.py"


@pytest.fixture
def twilio() -> Iterator[FakeTwilio]:
    with fake_twilio.serving() as twilio:
        yield twilio


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The settings of a small deployment. The framework and the functions' start change the process; it is put back."""
    for name in list(os.environ):
        if name.startswith(("TWILIO_", "OUTBOUND_", "CALLBACK_")) or name in ("PUBLIC_URL", "LOG_LEVEL"):
            monkeypatch.delenv(name)
    for name, value in (ENVIRONMENT | {"CALL_STORE": f"sqlite:{tmp_path / 'calls.db'}"}).items():
        monkeypatch.setenv(name, value)
    # The framework adds each source's folder once more, and what Python looks for it looks for in all of them.
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setenv("FUNCTION_TARGET", "")
    monkeypatch.setenv("FUNCTION_SIGNATURE_TYPE", "http")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield monkeypatch
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def store(environment: pytest.MonkeyPatch) -> Iterator[CallStore]:
    store = open_store(os.environ["CALL_STORE"])
    yield store
    store.close()


class Functions:
    """All functions; `post` sends what Twilio would, signed."""

    def __init__(self) -> None:
        self._modules: list[ModuleType] = []  # each function's own `main`

    @functools.cache  # noqa: B019  (lives as long as the test)
    def app(self, target: str) -> Flask:
        app = functions_framework.create_app(target=target, source=str(MAIN))
        self._modules.append(sys.modules[MAIN.stem])
        return app

    def close(self) -> None:
        """Close the files of those that have opened a store: a process has only so many."""
        for main in self._modules:
            if main.store.cache_info().currsize:
                main.store().close()

    def client(self, target: str) -> FlaskClient:
        return self.app(target).test_client()

    def post(
        self,
        path: str,
        form: Mapping[str, str] | None = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> TestResponse:
        form = {"CallSid": CALL_SID, "AccountSid": ACCOUNT} | dict(form or {})
        raw = f"?{urlencode(query)}" if query else ""
        signed = {"X-Twilio-Signature": signature(FUNCTIONS_URL + path + raw, form)}
        client = self.client(path.strip("/").replace("-", "_"))
        return client.post("/" + raw, data=form, headers=signed | dict(headers or {}))

    def incoming(self, path: str = "/twiml", query: Mapping[str, str] | None = None, **form: str) -> TestResponse:
        ringing = {"From": CALLER, "To": OUR_NUMBER, "CallStatus": "ringing", "Direction": "inbound"}
        return self.post(path, ringing | form, query)

    def trigger(self, body: object, key: str | None = KEY, **headers: str) -> TestResponse:
        authorization = {"Authorization": f"Bearer {key}"} if key is not None else {}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client("outgoing_call").post("/outgoing-call", json=body, headers=authorization | given)

    def operator(self, path: str = "/calls", key: str | None = KEY, **headers: str) -> TestResponse:
        authorization = {"Authorization": f"Bearer {key}"} if key is not None else {}
        return self.client("calls").get(path, headers=authorization | headers)


@pytest.fixture
def functions(environment: pytest.MonkeyPatch, twilio: FakeTwilio) -> Iterator[Functions]:
    environment.setenv("TWILIO_API_URL", twilio.url)
    functions = Functions()
    yield functions
    functions.close()
