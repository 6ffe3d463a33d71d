"""`/calls`: what operators see, and who is one."""

import base64
from datetime import timedelta

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot.calls import Flow, Status, StreamState
from callbot.errors import StoreError
from callbot.presentation import LABELS, stages
from callbot.store import PutTurn
from callbot.store_sqlite import SqliteCallStore
from tests.functions.conftest import Functions
from tests.functions.scenes import CALL_SID, CALLER, KEY, NOW, OUR_NUMBER, a_call, a_turn

SIDS = [f"CA{n:032x}" for n in range(5)]


@pytest.fixture
def five(store):
    """Five calls, the last one the newest."""
    for n, sid in enumerate(SIDS):
        store.begin(a_call(sid=sid, created_at=NOW + timedelta(seconds=n), expire_at=None))


def test_the_newest_calls_come_first(functions, five):
    body = functions.operator().json
    assert [call["callSid"] for call in body["calls"]] == SIDS[::-1]
    assert body["next"] is None
    assert "turns" not in body["calls"][0]


def test_the_list_goes_on_from_page_to_page(functions, five):
    seen, url = [], "/calls?limit=2"
    while url:
        body = functions.operator(url).json
        seen += [call["callSid"] for call in body["calls"]]
        url = body["next"] and f"/calls?limit=2&before={body['next']}"
    assert seen == SIDS[::-1]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=",
        "limit=-1",
        "before=yesterday",
        "before=2026-11-21T10:00:00",
        "before=0001-01-01T00:00:00Z",
    ],
)
def test_a_list_that_cannot_be_asked_for_is_400(functions, query):
    response = functions.operator(f"/calls?{query}")
    assert response.status_code == 400
    assert "error" in response.json


def test_a_call_with_its_turns(functions, store):
    call = a_call(
        status=Status.COMPLETED,
        ended_at=NOW,
        duration=60,
        end_reason="caller hung up",
        variables={"first_name": "佐藤"},
        usage={"input_tokens": 12},
        answered_by="human",
    )
    store.begin(call)
    timings = {"speech_end": 100.0, "first_token": 100.4, "first_words_out": 100.9}
    store.write_all([PutTurn(CALL_SID, a_turn(1, role="caller", text="もしもし", sentences=()))])
    store.write_all([PutTurn(CALL_SID, a_turn(2, heard="はい。", interrupted=True, timings=timings))])
    body = functions.operator(f"/calls/{CALL_SID}").json
    assert {name: body[name] for name in ("callSid", "direction", "from", "to", "agent", "engine", "status")} == {
        "callSid": CALL_SID,
        "direction": "inbound",
        "from": CALLER,
        "to": OUR_NUMBER,
        "agent": "takumi",
        "engine": "amivoice",
        "status": "completed",
    }
    assert (body["duration"], body["endReason"], body["answeredBy"]) == (60, "caller hung up", "human")
    assert (body["createdAt"], body["endedAt"]) == (f"{call.created_at:%FT%T}.000Z", f"{NOW:%FT%T}.000Z")
    assert body["variables"] == {"first_name": "佐藤"}
    assert body["usage"] == {"inputTokens": 12}
    assert body["generation"] == 1
    assert [(turn["n"], turn["role"], turn["text"]) for turn in body["turns"]] == [
        (1, "caller", "もしもし"),
        (2, "agent", "はい。承知しました。"),
    ]
    assert body["turns"][1]["heard"] == "はい。"
    assert body["turns"][1]["interrupted"] is True
    assert body["turns"][1]["timings"] == {"speechEnd": 100.0, "firstToken": 100.4, "firstWordsOut": 100.9}
    assert body["turns"][1]["stagesMs"] == {"firstToken": 400, "firstWordsOut": 900}


def test_before_the_last_callback_the_stream_services_reason_is_shown(functions, store):
    store.begin(a_call(stream=StreamState(1, ending="caller said goodbye")))
    assert functions.operator(f"/calls/{CALL_SID}").json["endReason"] == "caller said goodbye"


def test_what_was_heard_is_known_from_the_calls_own_steps(functions, store):
    store.begin(a_call(flow=Flow(turn=2, sentence=1)))
    store.write_all([PutTurn(CALL_SID, a_turn(2))])
    assert functions.operator(f"/calls/{CALL_SID}").json["turns"][0]["heard"] == "はい。"


@pytest.mark.parametrize("sid", ["CA" + "f" * 32, "x", "..", "%00", "é"])
def test_a_call_that_is_not_there_is_404(functions, store, sid):
    response = functions.operator(f"/calls/{sid}")
    assert response.status_code == 404
    assert "error" in response.json


@pytest.mark.parametrize(
    ("script", "path"), [("", "/calls/" + CALL_SID), ("", "/" + CALL_SID), ("/calls", "/" + CALL_SID)]
)
def test_a_call_is_found_wherever_the_function_is_mounted(functions, store, script, path):
    store.begin(a_call())
    environ = {"SCRIPT_NAME": script, "PATH_INFO": path}
    response = functions.client("calls").get("/", environ_overrides=environ, headers={"Authorization": f"Bearer {KEY}"})
    assert (response.status_code, response.json and response.json.get("callSid")) == (200, CALL_SID)


@pytest.mark.parametrize("path", ["/calls", f"/calls/{CALL_SID}"])
def test_only_operators_may_look(functions, store, path):
    store.begin(a_call())
    for key in (None, "", "wrong"):
        response = functions.operator(path, key=key)
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert CALLER not in response.get_data(as_text=True)


def page(functions: Functions, path: str, password: str | None = KEY):
    headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    if password is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"me:{password}".encode()).decode()
    return functions.client("calls").get(path, headers=headers)


def test_a_browser_gets_a_page_that_loads_and_runs_nothing(functions, store):
    store.begin(a_call(from_="<script>alert(1)</script>"))
    turn = a_turn(1, text="<img src=x>", timings={"speech_end": 1.0, "first_token": 1.25})
    store.write_all([PutTurn(CALL_SID, turn)])
    for path in ("/calls", f"/calls/{CALL_SID}"):
        response = page(functions, path)
        text = response.get_data(as_text=True)
        assert (response.status_code, response.mimetype) == (200, "text/html")
        assert "<script" not in text
        assert "<img" not in text
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Cache-Control"] == "no-store"
    assert "first token" in text
    assert "250 ms" in text
    assert f'href="/calls/{CALL_SID}"' in page(functions, "/calls").get_data(as_text=True)


def test_a_browser_is_asked_for_the_key(functions):
    for password in (None, "wrong"):
        response = page(functions, "/calls", password)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic ")


def test_an_empty_list_has_a_page_too(functions):
    assert "No calls" in page(functions, "/calls").get_data(as_text=True)


def test_older_calls_are_linked(functions, five):
    assert "limit=2&amp;before=20" in page(functions, "/calls?limit=2").get_data(as_text=True)


def test_a_store_that_is_down_is_503(functions, monkeypatch):
    def fail(*_):
        raise StoreError("down")

    monkeypatch.setattr(SqliteCallStore, "recent", fail)
    assert functions.operator().status_code == 503


def test_a_mistake_of_ours_shows_nothing_of_itself(functions, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(SqliteCallStore, "recent", fail)
    response = functions.operator()
    assert response.status_code == 500
    assert "secret detail" not in response.get_data(as_text=True)


@hypothesis.settings(deadline=None)  # a busy machine is not a failure
@given(st.text(max_size=30), st.text(max_size=30))
def test_no_query_is_an_error_of_ours(limit, before):
    from flask import Request
    from werkzeug.test import EnvironBuilder

    from callbot.views import BadQueryError, Query

    environ = EnvironBuilder(query_string={"limit": limit, "before": before.encode("utf-8", "replace")}).get_environ()
    try:
        query = Query.read(Request(environ))
    except BadQueryError:
        return
    assert 1 <= query.limit <= 100


def test_the_stages_of_a_turn_are_told_in_ms_after_the_callers_last_word():
    timings = {"speech_end": 1.0, "transcript": 1.8, "asked": 1.4, "heard": 9.0, "other": 9.0}
    assert a_turn(timings=timings).stages_ms == {"transcript": 800, "asked": 400, "heard": 8000}
    assert a_turn(timings={"first_words_out": 2.5}).stages_ms == {}  # a greeting answers nobody


def test_a_turns_bar_is_its_stages_one_behind_the_other():
    timings = {"speech_end": 1.0, "transcript": 1.9, "asked": 1.6, "first_words_out": 4.0, "heard": 30.0}
    bar = stages(a_turn(timings=timings))
    assert [(stage.name, stage.ms, stage.left, stage.width) for stage in bar] == [
        ("asked", 600, 0.0, 20.0),
        ("transcript", 900, 20.0, 10.0),
        ("first_words_out", 3000, 30.0, 70.0),
        ("heard", 29000, 100.0, 0.0),
    ]
    assert {stage.name for stage in bar} <= LABELS.keys()


def test_a_bar_stays_within_its_width_whatever_the_clocks_say():
    slow = stages(a_turn(timings={"speech_end": 1.0, "first_token": 0.5, "first_words_out": 7.0}))
    assert [(stage.left, stage.width) for stage in slow] == [(0.0, 0.0), (0.0, 100.0)]
    assert stages(a_turn(timings={})) == []
