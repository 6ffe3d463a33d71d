"""`/twiml` and `/incoming-call`: how a call is answered."""

import threading
import time
import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest

from callbot import agents, answering, tickets
from callbot.agents import Agents
from callbot.calls import Reservation, Status
from callbot.errors import StoreError
from callbot.store import CallStore
from callbot.store_sqlite import SqliteCallStore
from tests.functions.conftest import Functions
from tests.functions.scenes import CALL_SID, CALLER, ENVIRONMENT, FUNCTIONS_URL, OUR_NUMBER

TAKUMI = Agents.load().default


def document(response) -> ET.Element:
    assert response.status_code == 200
    assert response.mimetype == "text/xml"
    return ET.fromstring(response.get_data(as_text=True).encode())  # noqa: S314  (our own document)


def shape(root: ET.Element) -> list[str]:
    return [element.tag for element in root]


def parameters(root: ET.Element) -> dict[str, str]:
    return {element.get("name"): element.get("value") for element in root.iter("Parameter")}


def a_request(**fields: object) -> dict[str, object]:
    request = {
        "to": CALLER,
        "from": OUR_NUMBER,
        "agent": "takumi",
        "engine": "amivoice",
        "variables": {"name": "佐藤"},
        "greeting": "",
        "max_duration_seconds": 0,
        "record": False,
        "callback_url": "",
    }
    return request | fields


def reserved(store: CallStore, **fields: object) -> str:
    reservation = Reservation("r" * 64, "f", a_request(**fields), datetime.now(UTC))
    store.reserve(reservation, {})
    return reservation.id


def dialled(functions: Functions, id_: str, **form: str):
    """The webhook of an outbound call that was picked up."""
    answered = {"Direction": "outbound-api", "From": OUR_NUMBER, "To": CALLER, "CallStatus": "in-progress"}
    return functions.incoming("/incoming-call", {"reservation": id_}, **answered | form)


def test_an_inbound_call_on_the_amivoice_engine(functions, store):
    root = document(functions.incoming("/twiml"))
    assert shape(root) == ["Start", "Say", "Pause", "Redirect"]
    stream = root.find("Start/Stream")
    assert stream.attrib == {
        "url": "wss://stream.test/ws",
        "name": "g1",
        "track": "inbound_track",
        "statusCallback": f"{FUNCTIONS_URL}/call-events",
        "statusCallbackMethod": "POST",
    }
    assert root.find("Say").text == TAKUMI.greeting
    assert root.find("Say").attrib == {"voice": TAKUMI.voice, "language": "ja-JP"}
    assert root.find("Pause").get("length") == str(TAKUMI.idle_seconds)
    assert root.find("Redirect").text == f"{FUNCTIONS_URL}/call-flow?step=idle&prompts=0"

    ticket = tickets.check(parameters(root)["ticket"], ENVIRONMENT["STREAM_TICKET_SECRET"], CALL_SID)
    assert (ticket.generation, ticket.agent, ticket.engine) == (1, "takumi", "amivoice")
    assert ticket.functions_url == FUNCTIONS_URL

    call = store.get(CALL_SID)
    assert (call.direction, call.from_, call.to, call.engine) == ("inbound", CALLER, OUR_NUMBER, "amivoice")
    assert call.status is Status.IN_PROGRESS
    assert call.answered_at is not None


def test_an_inbound_call_on_the_realtime_engine(functions, store):
    root = document(functions.incoming("/incoming-call"))
    assert shape(root)[-2:] == ["Connect", "Redirect"]
    assert root.find("Connect/Stream").get("url") == "wss://stream.test/ws"
    assert root.find("Connect/Stream").get("track") is None
    assert root.find("Redirect").text == f"{FUNCTIONS_URL}/call-flow?step=resume&generation=1"
    assert store.get(CALL_SID).engine == "realtime"


def test_a_repeated_webhook_gets_the_same_document_but_for_the_ticket(functions, store):
    first, second = (functions.incoming("/twiml").get_data(as_text=True) for _ in range(2))
    tickets_ = [parameters(ET.fromstring(text.encode()))["ticket"] for text in (first, second)]  # noqa: S314
    assert first.replace(tickets_[0], "") == second.replace(tickets_[1], "")
    assert len(store.recent(10)) == 1


@pytest.mark.parametrize("caller", ["anonymous", "+266696687", "Restricted", "sip:x@y.test", "あ" * 500])
def test_a_withheld_number_is_kept_as_it_came(functions, store, caller):
    document(functions.incoming("/twiml", From=caller))
    assert store.get(CALL_SID).from_ == caller[:100]


def test_a_number_nobody_claims_is_answered_by_the_default_agent(functions, store):
    document(functions.incoming("/twiml", To="+81312345678"))
    assert store.get(CALL_SID).agent == "takumi"


def test_an_outbound_call_is_answered_as_it_was_asked_for(functions, store):
    id_ = reserved(store, greeting="{name}様のお電話でしょうか。", agent="support", max_duration_seconds=120)
    root = document(dialled(functions, id_))
    assert root.find("Say").text == "佐藤様のお電話でしょうか。"
    assert parameters(root)["name"] == "佐藤"
    call = store.get(CALL_SID)
    assert (call.direction, call.agent, call.engine) == ("outbound", "support", "amivoice")
    assert (call.max_duration_seconds, call.reservation) == (120, id_)
    assert store.reservation(id_).call_sid == CALL_SID


def test_the_engine_asked_for_decides_the_verb(functions, store):
    root = document(dialled(functions, reserved(store, engine="realtime")))
    assert root.find("Connect/Stream") is not None
    assert root.find("Start") is None


def test_a_variable_too_long_for_a_parameter_is_left_out(functions, store):
    root = document(dialled(functions, reserved(store, variables={"short": "a", "long": "b" * 500})))
    assert parameters(root).keys() == {"ticket", "short"}


def test_an_outbound_call_whose_agent_is_gone_is_answered_by_the_default_one(functions, store):
    document(dialled(functions, reserved(store, agent="retired")))
    assert store.get(CALL_SID).agent == "takumi"


def test_an_inbound_call_is_recorded_when_the_agents_file_says_so(functions, store, monkeypatch, tmp_path):
    file = tmp_path / "agents.toml"
    file.write_text(agents.DEFAULT_FILE.read_text().replace("record = false", "record = true", 1))
    monkeypatch.setattr(agents, "DEFAULT_FILE", file)
    recording = document(functions.incoming("/twiml")).find("Start/Recording")
    assert recording.get("recordingStatusCallback") == f"{FUNCTIONS_URL}/call-events"
    assert store.get(CALL_SID).record


def test_an_inbound_call_is_not_recorded_otherwise(functions, store):
    assert document(functions.incoming("/twiml")).find("Start/Recording") is None


def test_a_dialled_call_is_recorded_by_the_order_and_not_by_the_document(functions, store):
    assert document(dialled(functions, reserved(store, record=True))).find("Start/Recording") is None


@pytest.mark.parametrize("verdict", ["machine_start", "machine_end_beep", "fax"])
def test_an_answering_machine_gets_a_message(functions, store, verdict):
    id_ = reserved(store)
    root = document(dialled(functions, id_, AnsweredBy=verdict))
    assert shape(root) == ["Say", "Hangup"]
    call = store.get(CALL_SID)
    assert (call.answered_by, call.end_reason, call.flow.step) == (verdict, "answering machine", "hangup")


@pytest.mark.parametrize("verdict", ["human", "unknown"])
def test_anybody_else_is_talked_to(functions, store, verdict):
    assert "Start" in shape(document(dialled(functions, reserved(store), AnsweredBy=verdict)))


def test_a_call_is_answered_without_the_store(functions, environment, tmp_path):
    environment.setenv("CALL_STORE", f"sqlite:{tmp_path}/no/such/directory/calls.db")
    root = document(functions.incoming("/twiml"))
    assert shape(root) == ["Start", "Say", "Pause", "Redirect"]
    ticket = tickets.check(parameters(root)["ticket"], ENVIRONMENT["STREAM_TICKET_SECRET"], CALL_SID)
    assert ticket.engine == "amivoice"


@pytest.mark.parametrize("method", ["reservation", "begin", "settle", "report_status"])
def test_a_store_that_fails_half_way_does_not_stop_the_answer(functions, store, monkeypatch, method):
    def fail(*_: object, **__: object) -> None:
        raise StoreError("down")

    id_ = reserved(store)
    monkeypatch.setattr(SqliteCallStore, method, fail)
    assert "Say" in shape(document(dialled(functions, id_)))


def test_a_call_whose_request_cannot_be_read_is_not_recorded_half(functions, store, monkeypatch):
    def fail(*_: object) -> None:
        raise StoreError("down")

    id_ = reserved(store)
    with monkeypatch.context() as context:
        context.setattr(SqliteCallStore, "reservation", fail)
        document(dialled(functions, id_))
    assert store.get(CALL_SID) is None


def test_a_mistake_of_ours_is_an_apology(functions, store, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(SqliteCallStore, "begin", fail)
    response = functions.incoming("/twiml")
    root = document(response)
    assert shape(root) == ["Say", "Say", "Hangup"]
    assert root.find("Say").text == TAKUMI.apology
    assert "secret detail" not in response.get_data(as_text=True)


def test_a_store_that_hangs_keeps_a_caller_waiting_for_a_moment_only(functions, store, monkeypatch):
    hold = threading.Event()
    monkeypatch.setattr(answering, "STORE_SECONDS", 0.2)
    monkeypatch.setattr(SqliteCallStore, "begin", lambda *_: hold.wait(20))
    begun = time.monotonic()
    try:
        assert "Say" in shape(document(functions.incoming("/twiml")))
        assert time.monotonic() - begun < 10
    finally:
        hold.set()


def test_stores_that_hang_do_not_use_up_what_answers_callers(functions, store, monkeypatch):
    hold = threading.Event()
    monkeypatch.setattr(answering, "STORE_SECONDS", 0.05)
    monkeypatch.setattr(SqliteCallStore, "begin", lambda *_: hold.wait(20))
    try:
        for _ in range(20):
            assert "Say" in shape(document(functions.incoming("/twiml")))
    finally:
        hold.set()
