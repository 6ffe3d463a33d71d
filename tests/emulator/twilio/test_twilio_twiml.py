"""Documents: what runs, what is warned about, what is refused with which code."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml.voice_response import Connect, Dial, Gather, Start, Stop, VoiceResponse

from emulator.twilio.twiml import LARGEST_DOCUMENT, TwimlError, parse


def refusal(body: bytes | str) -> int:
    with pytest.raises(TwimlError) as caught:
        parse(body.encode() if isinstance(body, str) else body)
    return caught.value.code


def test_what_the_twilio_package_writes_is_clean():
    twiml = VoiceResponse()
    start = Start()
    start.stream(url="wss://s.test/ws", name="g1", status_callback="https://c.test/e").parameter(name="t", value="v")
    start.recording(recording_status_callback="https://c.test/r")
    twiml.append(start)
    twiml.say("こんにちは & <ようこそ>", voice="Polly.Kazuha-Neural", language="ja-JP")
    twiml.pause(length=3)
    stop = Stop()
    stop.stream(name="g1")
    twiml.append(stop)
    gather = Gather(num_digits=1, action="/keys", timeout=2)
    gather.say("押してください", language="ja-JP")
    twiml.append(gather)
    dial = Dial(action="/after", timeout=10, caller_id="+815011112222")
    dial.number("+819012345678", status_callback="https://c.test/e", status_callback_event="initiated answered")
    twiml.append(dial)
    twiml.record(max_length=10, play_beep=False)
    twiml.play("https://c.test/a.wav")
    connect = Connect(action="/next")
    connect.stream(url="wss://s.test/ws")
    twiml.append(connect)
    twiml.redirect("/flow", method="POST")
    twiml.hangup()
    twiml.reject(reason="busy")
    document = parse(str(twiml).encode())
    assert document.warnings == []
    assert [verb.name for verb in document.verbs] == (
        ["Start", "Say", "Pause", "Stop", "Gather", "Dial", "Record", "Play", "Connect", "Redirect", "Hangup", "Reject"]
    )
    assert document.verbs[1].text == "こんにちは & <ようこそ>"
    assert document.verbs[0].children[0].children[0].get("value") == "v"


def test_ssml_is_part_of_the_sentence():
    body = '<Response><Say>これは<break time="500ms"/><emphasis>大事</emphasis>です</Say></Response>'
    assert parse(body.encode()).verbs[0].text == "これは大事です"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not xml",
        "<Response><Say>",
        "<Response></Response><Response/>",
        "\n<?xml version='1.0'?><Response/>",
        "<Response><Say>\x01</Say></Response>",
        "<Response><Say>&nbsp;</Say></Response>",
        "<?xml version='1.0' encoding='nonsense'?><Response/>",
        "<response/>",
        "<html/>",
        '<!DOCTYPE r [<!ENTITY a "aaaa">]><Response><Say>&a;</Say></Response>',
    ],
)
def test_what_cannot_be_read_is_a_parse_failure(body):
    assert refusal(body) == 12100


def test_bytes_that_are_no_text_are_a_parse_failure():
    assert refusal(b"<Response><Say>\xff\xfe</Say></Response>") == 12100


def test_a_document_over_64_kb_is_too_large():
    assert refusal("<Response><Say>" + "あ" * 22_000 + "</Say></Response>") == 11750
    assert refusal(b"x" * (LARGEST_DOCUMENT + 1)) == 11750


@pytest.mark.parametrize(
    "verb", ["<say>x</say>", "<SAY/>", "<Shout/>", "<Pay/>", "<Gather><Dial/></Gather>", "<Stream url='wss://a'/>"]
)
def test_an_unknown_verb_or_nesting_is_refused(verb):
    assert refusal(f"<Response>{verb}</Response>") == 12200


@pytest.mark.parametrize(
    ("verb", "attribute"),
    [
        ("<Say Voice='alice'>x</Say>", "Voice"),
        ("<Pause lenght='1'/>", "lenght"),
        ("<Pause length='soon'/>", "length"),
        ("<Pause length='-1'/>", "length"),
        ("<Pause length='١'/>", "length"),
        ("<Redirect method='PUT'>/x</Redirect>", "method"),
        ("<Start><Stream url='wss://a' statusCallBack='x'/></Start>", "statusCallBack"),
    ],
)
def test_an_unknown_attribute_is_a_warning_and_ignored(verb, attribute):
    document = parse(f"<Response>{verb}</Response>".encode())
    assert len(document.warnings) == 1
    assert attribute in document.warnings[0]
    assert attribute not in document.verbs[0].attributes


def test_depth_is_bounded():
    assert refusal("<Response>" + "<Say>" * 5000) in (12100, 12200)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_refusal(body):
    with contextlib.suppress(TwimlError):
        parse(body)


NAMES = st.sampled_from(["Response", "Say", "Pause", "Gather", "Start", "Stream", "Parameter", "break", "say", "X"])
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["length", "url", "name", "loop", "timeout"]), st.text("0a-1 ", max_size=4)
)


def render(tree) -> str:
    name, attributes, children, text = tree
    rendered = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{name}{rendered}>{text}{''.join(map(render, children))}</{name}>"


TREES = st.recursive(
    st.tuples(NAMES, ATTRIBUTES, st.just([]), st.text("あa &lt;", max_size=3).map(lambda text: text.replace("&", ""))),
    lambda inner: st.tuples(NAMES, ATTRIBUTES, st.lists(inner, max_size=3), st.just("")),
    max_leaves=6,
)


@given(st.lists(TREES, max_size=4))
def test_any_tree_runs_or_is_refused(trees):
    with contextlib.suppress(TwimlError):
        for verb in parse(f"<Response>{''.join(map(render, trees))}</Response>".encode()).verbs:
            assert verb.number("length", 1) >= 0
            assert verb.number("loop", 1) >= 0
            assert verb.number("timeout", 1) >= 0
