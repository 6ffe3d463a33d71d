"""The front door: who gets a WebSocket, whose stream is carried, and that nobody else costs anything."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import websocket
from call_scenes import a_call
from front_door import PATIENCE, STREAM_URL, TOKENS, Door, Vendors, close_code, signed, ticket, until

from callbot import tickets
from callbot.calls import Status, StreamState
from callbot.errors import StoreError
from stream_service import reception
from stream_service import services as services_module

Open = Callable[..., Door]


@pytest.fixture
def vendors() -> Iterator[Vendors]:
    made = Vendors()
    yield made
    made.close()


@pytest.fixture
def open_door(tmp_path: Path, vendors: Vendors) -> Iterator[Open]:
    doors: list[Door] = []

    def open_one(**changes: str) -> Door:
        doors.append(Door(tmp_path, vendors, **changes))
        return doors[-1]

    yield open_one
    for door in doors:
        door.stop()


@pytest.fixture
def door(open_door: Open) -> Door:
    return open_door()


# --- plain HTTP ---------------------------------------------------------------------------------------------------


def test_health(door: Door) -> None:
    assert door.ask("/health") == (200, {"status": "ok", "calls": 0})
    door.services.live.drain()
    assert door.ask("/health") == (503, {"status": "stopping"})


def test_whoever_asks_for_health_has_the_first_call_prepared(
    door: Door, vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, loaded, given, stores = threading.Event(), threading.Semaphore(0), [], []
    load = door.services.chat_model.load

    def count() -> None:
        given.append(answered.wait(PATIENCE))
        load()

    monkeypatch.setattr(services_module, "preload", stores.append)
    monkeypatch.setattr(door.services.chat_model, "load", count)
    monkeypatch.setattr(door.services.rest, "load", loaded.release)
    assert door.ask("/health")[0] == 200  # although loading has not come to an end
    answered.set()
    assert door.ask("/health")[0] == 200
    assert loaded.acquire(timeout=PATIENCE)
    assert given == [True]
    assert stores == [door.services.settings.call_store]
    assert door.services.chat_model._client is not None
    assert not vendors.visited.is_set()


def test_other_requests_are_answered_in_json(door: Door) -> None:
    assert door.ask("/nothing")[0] == 404
    assert door.ask("/ws") == (426, {"error": "a WebSocket is expected here"})


# --- the handshake ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signature",
    [signed(), signed(TOKENS[1]), signed(url=STREAM_URL + "/")],
    ids=["of the token", "of the token that is being rotated out", "with a slash"],
)
def test_a_right_signature_is_let_in(open_door: Open, signature: str) -> None:
    door = open_door(STREAM_SIGNATURE="required")
    assert door.knock(signature).connected


@pytest.mark.parametrize(
    "signatures",
    [
        ["wrong"],
        [""],
        [signed("another-token")],
        [signed(url="wss://elsewhere.example/ws")],
        [signed(url="https://stream.example/ws")],
        [signed(), signed()],
        ["\u00e9"],
    ],
)
def test_a_wrong_signature_is_refused_before_the_upgrade(door: Door, vendors: Vendors, signatures: list[str]) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        door.knock(*signatures)
    assert refused.value.status_code == 403
    assert not vendors.visited.is_set()


def reasons(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    return [record.__dict__["reason"] for record in caplog.records if record.__dict__.get("event") == event]


def test_no_signature_is_refused_where_one_is_required(open_door: Open, caplog: pytest.LogCaptureFixture) -> None:
    door = open_door(STREAM_SIGNATURE="required")
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        door.knock()
    assert refused.value.status_code == 403
    assert reasons(caplog, "handshake refused") == ["signature"]


def test_no_compression_is_agreed_on(door: Door) -> None:
    ws = websocket.create_connection(
        f"ws://127.0.0.1:{door.port}/ws",
        header=["Sec-WebSocket-Extensions: permessage-deflate"],
        timeout=PATIENCE,
    )
    assert "sec-websocket-extensions" not in ws.getheaders()
    ws.shutdown()


def test_a_full_instance_takes_no_more(open_door: Open, caplog: pytest.LogCaptureFixture) -> None:
    door = open_door(STREAM_CONCURRENCY="1")
    key = door.services.live.enter(lambda: None)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        door.knock()
    assert refused.value.status_code == 503
    assert reasons(caplog, "handshake refused") == ["no capacity"]
    door.services.live.leave(key)
    assert door.knock().connected


def test_an_instance_that_stops_takes_no_more(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    door.services.live.drain()
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        door.knock()
    assert refused.value.status_code == 503
    assert reasons(caplog, "handshake refused") == ["stopping"]


# --- the ticket ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"ticket": ""},
        {"ticket": "nonsense"},
        {"ticket": ticket() + "x"},
        {"ticket": "x" * 5000},
        {"ticket": ticket("another-secret")},
        {"ticket": ticket(call_sid="CA2")},
        {"ticket": ticket(agent="nobody")},
        {"ticket": ticket(engine="psychic")},
        {"ticket": 5},
        {"ticket": ticket(), "account": "AC2"},
        {"ticket": ticket(), "call_sid": "CA2"},
    ],
)
def test_a_stream_without_a_good_ticket_is_closed_and_costs_nothing(
    door: Door, vendors: Vendors, parameters: dict[str, Any]
) -> None:
    assert close_code(door.stream(**parameters)) == 1008
    assert not vendors.visited.is_set()
    assert door.store.get("CA1") is None
    assert len(door.services.live) == 0


def test_an_expired_ticket_is_no_ticket(door: Door, vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "LIFETIME_SECONDS", -1)
    assert close_code(door.stream(ticket=ticket())) == 1008
    assert not vendors.visited.is_set()


@pytest.mark.parametrize(
    "messages",
    [
        [b"hello"],
        ["hello"],
        ['{"event":"start"}'],
        ['{"event":"connected"}', '{"event":"start","start":[]}'],
        ["[" * 50_000],
    ],
)
def test_a_stream_that_begins_strangely_is_closed(door: Door, vendors: Vendors, messages: list[str | bytes]) -> None:
    ws = door.knock()
    for message in messages:
        if isinstance(message, bytes):
            ws.send_binary(message)
        else:
            ws.send(message)
    assert close_code(ws) == 1008
    assert not vendors.visited.is_set()


def test_a_stream_that_never_begins_is_closed(door: Door, vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reception.START_SECONDS <= 5
    monkeypatch.setattr(reception, "START_SECONDS", 0.2)
    ws = door.knock()
    ws.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
    assert close_code(ws) == 1008
    assert not vendors.visited.is_set()


def test_chatter_before_start_does_not_put_off_the_deadline(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "START_SECONDS", 0.3)
    ws = door.knock()
    stop = threading.Event()

    def chatter() -> None:
        while not stop.wait(0.02):
            try:
                ws.send('{"event":"news"}')
            except (OSError, websocket.WebSocketException):
                return

    thread = threading.Thread(target=chatter)
    thread.start()
    assert close_code(ws) == 1008
    stop.set()
    thread.join(PATIENCE)


@pytest.mark.parametrize("engine", ["amivoice", "realtime"])
def test_a_good_ticket_opens_the_stream(door: Door, vendors: Vendors, engine: Any) -> None:
    door.store.begin(replace(a_call(engine), stream=StreamState()))
    door.stream(ticket=ticket(engine=engine))
    assert vendors.visited.wait(PATIENCE)
    until(lambda: len(door.services.live) == 1)
    call = door.store.get("CA1")
    assert call is not None
    assert call.stream.generation == 1
    assert door.ask("/health") == (200, {"status": "ok", "calls": 1})


def test_a_ticket_opens_one_stream_and_no_second(door: Door, vendors: Vendors) -> None:
    door.store.begin(replace(a_call("amivoice"), stream=StreamState()))
    once = ticket()
    door.stream(ticket=once)
    assert vendors.visited.wait(PATIENCE)
    assert close_code(door.stream(ticket=once)) == 1008
    assert len(door.services.live) == 1


def test_a_ticket_of_an_earlier_generation_is_too_late(door: Door) -> None:
    door.store.begin(replace(a_call("amivoice"), stream=StreamState(generation=3)))
    assert close_code(door.stream(ticket=ticket(generation=2))) == 1008


def test_a_ticket_of_a_call_that_is_over_is_refused(door: Door, vendors: Vendors) -> None:
    door.store.begin(replace(a_call("amivoice"), stream=StreamState(), status=Status.COMPLETED))
    assert close_code(door.stream(ticket=ticket())) == 1008
    assert not vendors.visited.is_set()


def test_a_call_whose_webhook_could_not_write_it_down_is_written_down_now(door: Door, vendors: Vendors) -> None:
    door.stream(ticket=ticket(), name="佐藤")
    assert vendors.visited.wait(PATIENCE)
    call = until(lambda: door.store.get("CA1"))
    assert (call.agent, call.engine, call.stream.generation) == ("takumi", "amivoice", 1)
    assert call.variables == {"name": "佐藤"}


def test_a_store_that_is_down_keeps_nobody_out(door: Door, vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object, **__: object) -> None:
        raise StoreError("down")

    for method in ("open_stream", "begin", "update", "write_all", "turns", "get"):
        monkeypatch.setattr(door.store, method, down)
    door.stream(ticket=ticket())
    assert vendors.visited.wait(PATIENCE)
    assert len(door.services.live) == 1


# --- the end ------------------------------------------------------------------------------------------------------


def test_a_caller_who_hangs_up_frees_the_place(door: Door) -> None:
    ws = door.stream(ticket=ticket())
    until(lambda: len(door.services.live) == 1)
    ws.send('{"event":"stop","streamSid":"MZ1","stop":{"accountSid":"AC1","callSid":"CA1"}}')
    assert close_code(ws) == 1000
    until(lambda: len(door.services.live) == 0)
    lost = until(lambda: (call := door.store.get("CA1")) and call.stream.lost_at)
    assert lost


def test_a_socket_that_dies_frees_the_place(door: Door) -> None:
    ws = door.stream(ticket=ticket())
    until(lambda: len(door.services.live) == 1)
    ws.shutdown()
    until(lambda: len(door.services.live) == 0)


def test_a_process_that_stops_tells_every_stream_at_once(door: Door) -> None:
    streams = [door.stream(call_sid=f"CA{n}", ticket=ticket(call_sid=f"CA{n}")) for n in range(3)]
    until(lambda: len(door.services.live) == 3)
    door.services.live.drain()
    assert [close_code(ws) for ws in streams] == [1001, 1001, 1001]
    assert door.services.live.wait_until_empty(PATIENCE)
