"""Media streams over real sockets: those that do not begin, and every way one can end.

Times are compared with each other, never with the wall.
"""

import threading

import pytest
from twilio_customer import (
    STREAM_URL,
    client,
    connect_stream,
    media_of,
    refused,
    response,
    ring,
    say,
    start_stream,
    stream_events,
    voice,
)

from emulator.twilio import Do, Wait
from emulator.twilio.plan import Source


@pytest.mark.parametrize(
    "message",
    [
        "not json",
        "[]",
        '{"event":"stop"}',
        b"\x00\x01",
        '{"event":"media","media":{"payload":"AAAA"}}',
        '{"event":"mark","streamSid":"SID","mark":{}}',
        '{"event":"media","streamSid":"SID","media":{"payload":"***"}}',
        '{"event":"dtmf","streamSid":"SID","dtmf":{"digit":"1"}}',
        "[" * 100_000,
    ],
)
def test_a_message_twilio_does_not_know_ends_the_stream(site, real, media, message):
    def bot(talk):
        talk.until("start")
        talk.connection.send(message.replace("SID", talk.sid) if isinstance(message, str) else message)
        talk.listen()

    media.behave = bot
    site.pages["/start"] = response(connect_stream(), say("続き"))
    report = ring(real).wait(10)
    assert [code for code, _ in report.errors] == [31924]
    assert [heard.text for heard in report.heard] == ["続き"]
    assert stream_events(site) == [("stream-started", ""), ("stream-error", "31924")]


def test_a_one_way_stream_takes_no_message_at_all_and_the_call_goes_on(site, real, media):
    def bot(talk):
        talk.until("start")
        talk.send("media", **media_of(voice("だめ")))
        talk.listen()

    media.behave = bot
    site.pages["/start"] = response(start_stream(), '<Pause length="1"/>', say("続き"))
    report = ring(real).wait(10)
    assert [code for code, _ in report.errors] == [31924]
    assert [heard.text for heard in report.heard] == ["続き"]


@pytest.mark.parametrize(("way", "event"), [("close", "stream-stopped"), ("crash", "stream-error")])
@pytest.mark.parametrize("kind", ["start", "connect"])
def test_a_server_that_leaves(site, real, media, way, event, kind):
    def bot(talk):
        talk.until("media")
        if way == "crash":
            talk.connection.socket.shutdown(2)
        else:
            talk.connection.close(1011)

    media.behave = bot
    stream = start_stream() + '<Pause length="1"/>' if kind == "start" else connect_stream()
    site.pages["/start"] = response(stream, say("続き"))
    report = ring(real).wait(10)
    assert [heard.text for heard in report.heard] == ["続き"]
    assert [code for code, _ in report.errors] == [31921]
    assert stream_events(site) == [("stream-started", ""), (event, "31921")]
    assert report.streams[0].close_code == (1011 if way == "close" else 1006)


def test_a_bot_that_dies_in_mid_sentence_leaves_the_caller_waiting(site, real, media):
    text = "これはとても長い返事です"

    def bot(talk):
        talk.until("start")
        talk.send("media", **media_of(voice(text)))
        for _ in range(25):
            talk.until("media")
        talk.connection.socket.shutdown(2)

    media.behave = bot
    site.pages["/start"] = response(connect_stream(), '<Pause length="1"/>', say("失礼しました"))
    report = ring(real).wait(10)
    broken, apology = report.heard
    assert (broken.complete, apology.complete) == (False, True)
    assert text.startswith(broken.text)
    assert len(broken.text) < len(text)
    (waited,) = [silence for silence in report.silences if silence.start >= broken.end]
    assert not waited.explained
    assert report.longest_unexplained_silence == waited.seconds


def test_audio_still_waiting_when_the_server_closes_is_never_heard(site, real, media):
    def bot(talk):
        talk.until("start")
        talk.send("media", **media_of(voice("これはとても長い返事です")))
        for _ in range(25):
            talk.until("media")

    media.behave = bot
    site.pages["/start"] = response(connect_stream())
    (heard,) = ring(real).wait(10).heard
    assert not heard.complete


def test_a_connect_with_nothing_behind_it_ends_the_call(site, real, media):
    media.behave = lambda talk: talk.until("media")
    site.pages["/start"] = response(connect_stream())
    report = ring(real).wait(10)
    assert (report.ended_by, report.status) == ("bot", "completed")


def test_a_refused_handshake_falls_through(site, real, media):
    media.refuse_with = 403
    site.pages["/start"] = response(connect_stream(), say("続き"))
    report = ring(real).wait(10)
    assert [code for code, _ in report.errors] == [31920]
    assert [heard.text for heard in report.heard] == ["続き"]
    assert stream_events(site) == [("stream-error", "31920")]
    assert report.streams[0].started is None


@pytest.mark.parametrize("target", ["http://127.0.0.1:1", None])
def test_a_server_that_is_not_there(site, real, target):
    real.tunnels.pop("stream.test")
    if target:
        real.tunnels["stream.test"] = target
    site.pages["/start"] = response(connect_stream(), say("続き"))
    report = ring(real).wait(10)
    assert [code for code, _ in report.errors] == [31902]
    assert [heard.text for heard in report.heard] == ["続き"]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        ('<Stream url="ws://stream.test/ws"/>', 31920),
        ('<Stream url="https://stream.test/ws"/>', 31920),
        ('<Stream url="wss://stream.test/ws?a=b"/>', 31920),
        ('<Stream url="wss://["/>', 31920),
        ('<Stream url="wss://stream.test/ws" track="both"/>', 31941),
        (f'<Stream url="{STREAM_URL}"><Parameter name="a" value="{"x" * 500}"/></Stream>', 31941),
    ],
)
def test_a_stream_that_twilio_does_not_open(site, real, media, stream, code):
    site.pages["/start"] = response(f"<Start>{stream}</Start>", say("続き"))
    report = ring(real).wait(10)
    assert [each for each, _ in report.errors] == [code]
    assert [heard.text for heard in report.heard] == ["続き"]
    assert media.paths == []


def test_names_are_unique_and_tracks_are_counted(site, real, media):
    site.pages["/start"] = response(
        start_stream(),
        start_stream(),
        f'<Start><Stream url="{STREAM_URL}" name="g2" track="both_tracks"/></Start>',
        f'<Start><Stream url="{STREAM_URL}" name="g3" track="both_tracks"/></Start>',
        '<Stop><Stream name="g1"/></Stop>',
        '<Pause length="1"/>',
        f'<Start><Stream url="{STREAM_URL}" name="g1"/></Start>',
        '<Pause length="1"/>',
    )
    report = ring(real).wait(10)
    assert [code for code, _ in report.errors] == [31941, 31941]
    assert [(stream.name, stream.error) for stream in report.streams] == [("g1", None), ("g2", None), ("g1", None)]


def test_an_update_spares_one_way_streams_and_tears_two_way_ones_down(site, real, media):
    site.pages["/start"] = response(start_stream(), connect_stream(), say("届かない"))
    updated = threading.Event()

    def bot(talk):
        start = talk.until("start")
        if start["start"]["customParameters"] == {}:
            talk.listen()

    media.behave = bot

    def update(call):
        assert call.update(Source(twiml=response(say("更新です"), '<Pause length="1"/>')))
        updated.set()

    report = ring(real, Wait(0.5), Do(update)).wait(10)
    assert updated.is_set()
    one_way, two_way = report.streams
    assert (one_way.kind, two_way.kind) == ("start", "connect")
    assert two_way.ended < one_way.ended
    assert one_way.ended == pytest.approx(report.duration, abs=1.0)
    assert [heard.text for heard in report.heard] == ["更新です"]
    stops = [message for message in media.messages.queue if message["event"] == "stop"]
    assert [stop["streamSid"] for stop in stops] == [two_way.sid, one_way.sid]


def test_a_socket_can_close_without_stop(site, real, media):
    real.faults.close_without_stop = True
    site.pages["/start"] = response(start_stream(), '<Pause length="1"/>')
    report = ring(real).wait(10)
    assert report.errors == []
    assert "stop" not in {message["event"] for message in media.messages.queue}


def test_a_stream_can_be_started_and_stopped_by_the_api(site, real, media):
    site.pages["/start"] = response('<Pause length="20"/>')
    call = ring(real, Wait(0.2))
    site.wait_for("/start")
    answered = threading.Event()
    call.subscribe(lambda event: answered.set() if type(event).__name__ == "Answered" else None)
    assert answered.wait(5)
    streams = client(real).calls(call.sid).streams
    stream = streams.create(url=STREAM_URL, name="api")
    media.wait_for("media")
    assert refused(lambda: streams.create(url=STREAM_URL, name="api")) == (400, 31941)
    assert client(real).calls(call.sid).streams(stream.sid).update(status="stopped").status == "stopped"
    media.wait_for("stop")
    call.hang_up()
    assert call.wait(10).streams[0].name == "api"


def test_stopping_the_carrier_ends_everything(site, real, media):
    site.pages["/start"] = response(connect_stream())
    call = ring(real)
    media.wait_for("media")
    real.stop()
    assert call.wait(1).ended_by == "carrier"
    assert media.wait_for("stop")
    with pytest.raises(RuntimeError):
        ring(real)
