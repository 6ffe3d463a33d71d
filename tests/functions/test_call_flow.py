"""`/call-flow`: what Twilio is told to do next, and what its coming back proves."""

import threading
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from callbot import continuing, tickets
from callbot.agents import Agents
from callbot.calls import NextStep, Status, StatusReport, StreamState
from callbot.errors import StoreError
from callbot.store import PutTurn, Writer
from callbot.store_sqlite import SqliteCallStore
from tests.functions.scenes import CALL_SID, ENVIRONMENT, HUMAN, OUR_NUMBER, a_call, a_turn
from tests.functions.test_answering import document, parameters, shape

TAKUMI = Agents.load().default


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def talking(store):
    """A call of engine amivoice in the middle of its first stream."""
    return on_line(store)


def on_line(store, **fields):
    call = a_call(created_at=now(), answered_at=now(), stream=StreamState(), **fields)
    store.begin(call)
    return store.open_stream(call.sid, 1, now())


def lose_stream(store, call, after=60.0, next_step=None):
    state = StreamState(1, connected_at=now() - timedelta(seconds=after), seen_at=now(), lost_at=now())
    store.update(call.sid, Writer.STREAM, {"stream": state, "next_step": next_step})


def flow(functions, step, **params):
    form = params.pop("form", {"CallStatus": "in-progress"})
    return document(functions.post("/call-flow", form, {"step": step, **params}))


def said(root):
    return [say.text for say in root.iter("Say")]


def next_step(root):
    url = root.findall("Redirect")[-1].text
    assert url.startswith("https://callbot.test/call-flow?")
    return dict(parse_qsl(urlsplit(url).query))


def test_a_turn_is_handed_out_sentence_by_sentence(functions, store, talking):
    store.write_all([PutTurn(CALL_SID, a_turn(2))])
    root = flow(functions, "words", turn=2, sentence=1)
    assert said(root) == ["承知しました。"]
    assert shape(root) == ["Say", "Redirect"]
    assert next_step(root) == {"step": "words", "turn": "2", "sentence": "2"}
    assert (store.get(CALL_SID).flow.turn, store.get(CALL_SID).flow.sentence) == (2, 1)

    root = flow(functions, **next_step(root))
    assert shape(root) == ["Pause", "Redirect"]
    assert next_step(root) == {"step": "idle", "prompts": "0"}
    assert store.get(CALL_SID).flow.sentence == 2


def test_a_sentence_that_arrives_while_twilio_waits_is_said_at_once(functions, store, talking):
    store.write_all([PutTurn(CALL_SID, a_turn(2, sentences=("はい。",), complete=False))])
    timer = threading.Timer(0.3, lambda: store.write_all([PutTurn(CALL_SID, a_turn(2))]))
    timer.start()
    root = flow(functions, "words", turn=2, sentence=1)
    timer.join()
    assert said(root) == ["承知しました。"]


def test_a_sentence_that_does_not_arrive_is_asked_for_again_and_then_given_up(functions, store, talking, monkeypatch):
    monkeypatch.setattr(continuing, "PATIENCE", timedelta(seconds=0.2))
    store.write_all([PutTurn(CALL_SID, a_turn(2, sentences=("はい。",), complete=False))])
    root = flow(functions, "words", turn=2, sentence=1)
    assert shape(root) == ["Pause", "Redirect"]
    assert root.find("Pause").get("length") == "1"
    assert next_step(root) == {"step": "words", "turn": "2", "sentence": "1", "waits": "1"}
    root = flow(functions, "words", turn=2, sentence=1, waits=2)
    assert said(root) == [TAKUMI.apology]


def test_markup_and_control_characters_of_a_model_do_not_reach_twilio(functions, store, talking):
    nasty = "**はい**\x00\x1b[31m </Say><Hangup/> \ufffe\ud800 & です。"
    store.write_all([PutTurn(CALL_SID, a_turn(2, sentences=(nasty.replace("\ud800", ""),)))])
    root = flow(functions, "words", turn=2, sentence=0)
    assert shape(root) == ["Say", "Redirect"]
    assert "はい" in said(root)[0]
    assert "\x00" not in said(root)[0]


def test_a_silent_caller_is_prompted_then_said_goodbye_to(functions, store, talking):
    root, heard = flow(functions, "idle", prompts=0), []
    while root.find("Hangup") is None:
        heard += said(root)
        root = flow(functions, **next_step(root))
    assert heard == list(TAKUMI.idle_prompts)
    assert said(root) == [TAKUMI.closing]
    call = store.get(CALL_SID)
    assert (call.end_reason, call.flow.step) == ("caller silent", "hangup")


def test_a_lost_two_way_stream_is_replaced_by_the_next_generation(functions, store):
    call = on_line(store, engine="realtime", variables={"name": "佐藤"})
    lose_stream(store, call)
    root = flow(functions, "resume", generation=1)
    assert said(root) == [TAKUMI.resume]
    assert root.find("Connect/Stream").get("name") == "g2"
    assert next_step(root) == {"step": "resume", "generation": "2"}
    ticket = tickets.check(parameters(root)["ticket"], ENVIRONMENT["STREAM_TICKET_SECRET"], CALL_SID)
    assert (ticket.generation, ticket.engine) == (2, "realtime")
    assert parameters(root)["name"] == "佐藤"


def test_a_lost_forked_stream_is_replaced_and_counted(functions, store, talking):
    lose_stream(store, talking, after=1)
    root = flow(functions, "resume", generation=1, failures=1)
    # The words and a second come first: a service that has just failed needs a moment before the next stream.
    assert shape(root) == ["Say", "Pause", "Start", "Pause", "Redirect"]
    assert root.find("Pause").get("length") == "1"
    stream = root.find("Start/Stream")
    assert stream.get("name") == "g2"
    assert stream.get("statusCallback") == "https://callbot.test/call-events?failures=2"
    assert next_step(root) == {"step": "idle", "prompts": "0", "generation": "2", "failures": "2"}


def test_a_forked_stream_that_lived_is_replaced_before_anything_is_said(functions, store, talking):
    lose_stream(store, talking)
    assert shape(flow(functions, "resume", generation=1)) == ["Start", "Say", "Pause", "Redirect"]


def test_a_forked_stream_that_hangs_is_stopped_first(functions, store, talking):
    silent = StreamState(1, connected_at=now() - timedelta(seconds=90), seen_at=now() - timedelta(seconds=30))
    store.update(CALL_SID, Writer.STREAM, {"stream": silent})
    root = flow(functions, "idle", prompts=0)
    assert shape(root)[:2] == ["Stop", "Start"]
    assert root.find("Stop/Stream").get("name") == "g1"


def test_a_forked_call_continues_the_sentence_it_was_in(functions, store, talking):
    store.write_all([PutTurn(CALL_SID, a_turn(2))])
    flow(functions, "words", turn=2, sentence=1)
    lose_stream(store, talking)
    root = flow(functions, "resume", generation=1)
    assert shape(root) == ["Start", "Say", "Redirect"]
    assert next_step(root) == {"step": "words", "turn": "2", "sentence": "1"}


def test_the_goodbye_that_the_stream_service_asked_for(functions, store):
    call = on_line(store, engine="realtime")
    lose_stream(store, call, next_step=NextStep(1, "goodbye", say="では、また。", reason="caller said goodbye"))
    root = flow(functions, "resume", generation=1)
    assert (said(root), shape(root)) == (["では、また。"], ["Say", "Hangup"])
    assert store.get(CALL_SID).end_reason == "caller said goodbye"


def test_a_transfer_and_its_ends(functions, store, monkeypatch):
    on_line(store, agent="support")
    support = Agents.load().named("support")
    target, number = next(iter(support.transfers.items()))
    root = flow(functions, "transfer", target=target)
    assert shape(root) == ["Stop", "Say", "Dial"]
    dial = root.find("Dial")
    assert dial.find("Number").text == number
    assert dial.get("callerId") == OUR_NUMBER
    assert (dial.get("timeout"), dial.get("answerOnBridge")) == ("20", "true")
    assert store.get(CALL_SID).flow.step == "transfer"

    action = dict(parse_qsl(urlsplit(dial.get("action")).query))
    assert action == {"step": "transferred", "target": target, "generation": "1"}
    busy = flow(functions, **action, form={"DialCallStatus": "busy"})
    assert said(busy) == [support.transfer_failed]
    assert busy.find("Start/Stream").get("name") == "g2"
    done = flow(functions, **action, form={"DialCallStatus": "completed"})
    assert (said(done), shape(done)) == ([support.closing], ["Say", "Hangup"])
    assert store.get(CALL_SID).end_reason == "transferred"


def test_no_number_from_outside_is_ever_dialled(functions, store, talking):
    root = flow(functions, "transfer", target=HUMAN)
    assert root.find("Dial") is None


def test_a_call_that_is_over_is_not_continued(functions, store, talking):
    store.report_status(CALL_SID, StatusReport(Status.COMPLETED, now()))
    assert shape(flow(functions, "idle", prompts=0)) == ["Hangup"]


def test_a_call_without_a_record_gets_one_and_goes_on(functions, store):
    ringing = {"From": "+819011112222", "To": OUR_NUMBER, "Direction": "inbound", "CallStatus": "in-progress"}
    root = flow(functions, "idle", prompts=0, form=ringing)
    assert said(root)
    assert store.get(CALL_SID).engine == "amivoice"


def test_without_the_store_the_line_stays_open(functions, store, talking, monkeypatch):
    def fail(*_):
        raise StoreError("down")

    monkeypatch.setattr(SqliteCallStore, "get", fail)
    assert shape(flow(functions, "words", turn=2, sentence=1)) == ["Pause", "Redirect"]
    assert said(flow(functions, "idle", prompts=1)) == [TAKUMI.idle_prompts[1]]
    assert flow(functions, "resume", generation=1).find("Connect/Stream").get("name") == "g2"
    assert flow(functions, "resume", generation=1, engine="amivoice").find("Start/Stream").get("name") == "g2"


def test_a_step_that_cannot_be_written_down_is_taken_all_the_same(functions, store, talking, monkeypatch):
    def fail(*_):
        raise StoreError("down")

    store.write_all([PutTurn(CALL_SID, a_turn(2))])
    monkeypatch.setattr(SqliteCallStore, "update", fail)
    assert said(flow(functions, "words", turn=2, sentence=0)) == ["はい。"]


@pytest.mark.parametrize("step", ["idle", "words", "resume", "transferred", "transfer", "?"])
def test_a_mistake_of_ours_is_an_apology_and_never_an_endless_one(functions, store, talking, monkeypatch, step):
    def fail(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(SqliteCallStore, "get", fail)
    params = {"step": step}
    for _ in range(4):
        response = functions.post("/call-flow", {}, params)
        assert "secret detail" not in response.get_data(as_text=True)
        root = document(response)
        ends = root.find("Hangup") is not None
        assert said(root)[0] == (TAKUMI.final_apology if ends else TAKUMI.apology)
        if ends:
            return
        params = next_step(root)
    pytest.fail("apologises for ever")


def test_the_document_is_xml_whatever_a_sentence_contains(functions, store, talking):
    store.write_all([PutTurn(CALL_SID, a_turn(2, sentences=("<>&\"'" * 200,)))])
    ET.fromstring(functions.post("/call-flow", {}, {"step": "words", "turn": 2, "sentence": 0}).data)  # noqa: S314
