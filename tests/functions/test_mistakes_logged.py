"""A mistake of ours in a webhook: the caller hears words (`test_answering.py`, `test_call_flow.py`), we read why."""

import json

import pytest

from callbot.store_sqlite import SqliteCallStore
from tests.functions.scenes import CALL_SID


@pytest.mark.parametrize(
    ("path", "method"),
    [("/twiml", "begin"), ("/incoming-call", "begin"), ("/call-flow", "get"), ("/call-events", "get")],
)
def test_a_mistake_is_logged_with_the_calls_id_and_its_place(functions, store, monkeypatch, capfd, path, method):
    def fail(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(SqliteCallStore, method, fail)
    form = {"StreamEvent": "stream-stopped", "StreamName": "g1"} if path == "/call-events" else {}
    assert functions.post(path, form).status_code in (200, 204)
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    errors = [line for line in lines if line["severity"] == "ERROR"]
    assert [line["callSid"] for line in errors] == [CALL_SID]
    assert "RuntimeError: a mistake" in errors[0]["stack_trace"]
    assert errors[0]["time"].endswith("+00:00")
