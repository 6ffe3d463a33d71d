"""Media streams over real sockets: frames, playing, marks, keys, whole conversations.

Times are compared with each other, never with the wall.
"""

import base64
import json

import pytest
from twilio.request_validator import RequestValidator
from twilio_customer import (
    ACCOUNT,
    STREAM_URL,
    TOKEN,
    connect_stream,
    media_of,
    response,
    ring,
    say,
    start_stream,
    voice,
)

from emulator import readable_voice
from emulator.twilio import HangUp, Hear, Interrupt, Listen, Press, Speak, Wait


def test_messages_come_in_order_and_in_twilios_form(site, real, media):
    parameter = '<Parameter name="ticket" value="a b&amp;c"/>'
    site.pages["/start"] = response(start_stream(inner=parameter), '<Pause length="9"/>')
    call = ring(real, Wait(0.1), Speak(voice("はい"), "はい"), Wait(0.2), HangUp())
    call.wait(10)
    messages = list(media.messages.queue)
    connected, start, stop = messages[0], messages[1], messages[-1]
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start["start"] == {
        "streamSid": start["streamSid"],
        "accountSid": ACCOUNT,
        "callSid": call.sid,
        "tracks": ["inbound"],
        "customParameters": {"ticket": "a b&c"},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    assert stop["stop"] == {"accountSid": ACCOUNT, "callSid": call.sid}
    frames = messages[2:-1]
    assert {frame["event"] for frame in frames} == {"media"}
    assert [message["sequenceNumber"] for message in messages[1:]] == [str(n + 1) for n in range(len(messages) - 1)]
    assert [frame["media"]["chunk"] for frame in frames] == [str(n + 1) for n in range(len(frames))]
    assert [frame["media"]["timestamp"] for frame in frames] == [str(20 * n) for n in range(len(frames))]
    audio = [base64.b64decode(frame["media"]["payload"]) for frame in frames]
    assert {len(piece) for piece in audio} == {160}
    assert voice("はい") in b"".join(audio)
    assert audio[0] == b"\xff" * 160


def test_the_handshake_is_signed_over_the_url_of_the_document(site, real, media):
    site.pages["/start"] = response(connect_stream(url="wss://stream.test/ws/abc"))
    media.behave = lambda talk: talk.until("media")
    ring(real).wait(10)
    assert media.paths == ["/ws/abc"]
    assert RequestValidator(TOKEN).validate("wss://stream.test/ws/abc", {}, media.signatures[0])
    (headers,) = media.headers
    assert headers["host"] == "stream.test"
    assert "sec-websocket-extensions" not in headers
    assert "sec-websocket-protocol" not in headers


@pytest.mark.parametrize("kind", ["wrong", "missing"])
def test_the_handshake_can_carry_a_wrong_signature_or_none(site, real, media, kind):
    real.faults.media_handshake_signature = kind
    site.pages["/start"] = response(connect_stream())
    media.behave = lambda talk: talk.until("media")
    ring(real).wait(10)
    (signature,) = media.signatures
    assert signature is None if kind == "missing" else not RequestValidator(TOKEN).validate(STREAM_URL, {}, signature)


def test_the_bot_is_heard_and_marks_return_when_it_was_played(site, real, media):
    played = []

    def bot(talk):
        talk.until("start")
        talk.send("mark", mark={"name": "empty"})
        talk.until("mark")
        talk.send("media", **media_of(voice("一つ目")))
        talk.send("mark", mark={"name": "first"})
        talk.send("media", **media_of(voice("二つ目")))
        talk.send("mark", mark={"name": "second"})
        talk.send("mark", mark={"name": "also"})
        while len(played) < 3:
            message = talk.receive()
            if message["event"] == "mark":
                frames = sum(1 for seen in talk.seen if seen["event"] == "media")
                played.append((message["mark"]["name"], frames))

    media.behave = bot
    site.pages["/start"] = response(connect_stream(), say("終わりです"))
    report = ring(real).wait(20)
    assert [name for name, _ in played] == ["first", "second", "also"]
    first_frames = len(voice("一つ目")) / 160
    assert played[0][1] >= first_frames - 1
    assert played[1][1] - played[0][1] >= first_frames - 2
    assert "".join(heard.text for heard in report.heard) == "一つ目二つ目終わりです"
    assert all(heard.complete for heard in report.heard)
    assert report.streams[0].kind == "connect"
    assert report.streams[0].error == 31921
    assert report.streams[0].close_code == 1000


def test_clear_silences_the_bot_and_returns_every_mark(site, real, media):
    text = "とても長い話をしています" * 4

    def bot(talk):
        talk.until("start")
        talk.send("media", **media_of(voice(text)))
        talk.send("mark", mark={"name": "a"})
        talk.send("mark", mark={"name": "b"})
        for _ in range(30):
            talk.until("media")
        talk.send("clear")
        assert [talk.until("mark")["mark"]["name"] for _ in range(2)] == ["a", "b"]

    media.behave = bot
    site.pages["/start"] = response(connect_stream(), "<Hangup/>")
    report = ring(real).wait(20)
    (heard,) = report.heard
    assert not heard.complete
    assert 0 < len(heard.text) < len(text) / 2
    assert text.startswith(heard.text)
    # Nothing more was heard once it was cleared, so the wait that follows is unexplained.
    assert heard.end - heard.start == pytest.approx(len(readable_voice.speak(heard.text)) / 8000, abs=0.3)


def test_both_tracks_carry_both_voices(site, real, media):
    site.pages["/start"] = response(start_stream('track="both_tracks"'), '<Pause length="1"/>', say("ボットです"))
    real.say_rate = 1.0
    ring(real, Speak(voice("人です"), "人です")).wait(10)
    heard = {"inbound": b"", "outbound": b""}
    for message in list(media.messages.queue):
        if message["event"] == "media":
            heard[message["media"]["track"]] += base64.b64decode(message["media"]["payload"])
    assert readable_voice.read(heard["inbound"]) == "人です"
    assert readable_voice.read(heard["outbound"]).startswith("ボット")


def test_keys_reach_two_way_streams_only(site, real, media):
    site.pages["/start"] = response(start_stream(), connect_stream())
    ring(real, Wait(0.3), Press("1#"), HangUp()).wait(10)
    keys = [message for message in media.messages.queue if message["event"] == "dtmf"]
    assert [message["dtmf"] for message in keys] == [
        {"track": "inbound_track", "digit": "1"},
        {"track": "inbound_track", "digit": "#"},
    ]
    assert len({message["streamSid"] for message in keys}) == 1


def test_frames_can_come_in_bunches(site, real, media):
    real.faults.bunch_media = 10
    site.pages["/start"] = response(start_stream(), '<Pause length="1"/>')
    ring(real).wait(10)
    frames = [message for message in media.messages.queue if message["event"] == "media"]
    assert frames
    assert len(frames) % 10 == 0


def test_a_conversation_with_an_interruption(site, real, media):
    long = "これはとても長い返事ですので途中で止めてください"

    def think(talk):
        for _ in range(15):
            talk.until("media")

    def bot(talk):
        talk.until("start")
        talk.send("media", **media_of(voice("ご用件は")))
        said = bytearray()
        spoken = False
        while True:
            message = talk.receive()
            if message["event"] != "media":
                return
            said += base64.b64decode(message["media"]["payload"])
            text = readable_voice.read(bytes(said))
            if not spoken and text == "予約です":
                think(talk)
                talk.send("media", **media_of(voice(long)))
                spoken = True
            if text.endswith("待って"):
                talk.send("clear")
                think(talk)
                talk.send("media", **media_of(voice("はい")))
                said.clear()

    media.behave = bot
    site.pages["/start"] = response(connect_stream())
    report = ring(
        real,
        Listen(),
        Speak(voice("予約です"), "予約です"),
        Interrupt(voice("待って"), "待って", after=0.5),
        Hear("はい"),
        Listen(until_quiet=0.3),
        HangUp(),
    ).wait(30)
    greeting, reply, last = report.heard
    assert (greeting.text, greeting.complete) == ("ご用件は", True)
    assert not reply.complete
    assert long.startswith(reply.text)
    assert len(reply.text) < len(long)
    assert last.text == "はい"
    assert [turn.said for turn in report.turns] == ["予約です", "待って"]
    assert report.said[1].start > reply.start
    assert report.ended_by == "caller"


def test_two_calls_at_once_do_not_hear_each_other(site, real, media):
    def bot(talk):
        talk.until("start")
        said = bytearray()
        while not readable_voice.read(bytes(said)):
            said += base64.b64decode(talk.until("media")["media"]["payload"])
        for _ in range(60):
            said += base64.b64decode(talk.until("media")["media"]["payload"])
        talk.send("media", **media_of(voice(readable_voice.read(bytes(said)))))
        talk.send("mark", mark={"name": "end"})
        talk.until("mark")

    media.behave = bot
    site.pages["/start"] = response(connect_stream())
    calls = [ring(real, Speak(voice(word), word)) for word in ("赤い花", "青い空")]
    assert [call.wait(20).heard[0].text for call in calls] == ["赤い花", "青い空"]


def test_live_events_show_the_stream(site, real, media):
    media.behave = lambda talk: talk.until("media")
    site.pages["/start"] = response(connect_stream())
    call = ring(real)
    seen = []
    call.subscribe(seen.append)
    call.wait(10)
    names = [type(event).__name__ for event in seen]
    assert names.index("StreamOpened") < names.index("StreamClosed")
    assert json.loads(call.wait(1).to_json())["streams"][0]["kind"] == "connect"
