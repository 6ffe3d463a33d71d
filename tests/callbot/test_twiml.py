"""Documents that Twilio accepts, whatever they are made of."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbot import twiml
from callbot.twiml import MAX_BYTES, MAX_INLINE, MediaStream
from tests.functions.scenes import AGENT, FUNCTIONS_URL, HUMAN, OUR_NUMBER

NEXT = f"{FUNCTIONS_URL}/call-flow?step=idle&prompts=0"
VERBS = {
    *("Response", "Say", "Pause", "Redirect", "Start", "Stop", "Stream", "Parameter", "Connect", "Recording"),
    *("Dial", "Number", "Hangup"),
}
anything = st.text(st.characters(), max_size=60)


def stream(**fields):
    given = {
        "url": "wss://stream.test/ws",
        "generation": 1,
        "ticket": "t",
        "status_callback": f"{FUNCTIONS_URL}/call-events",
    }
    return MediaStream(**(given | fields))


def parsed(document: str) -> ET.Element:
    assert document.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    assert len(document.encode()) <= MAX_BYTES
    root = ET.fromstring(document.encode())  # noqa: S314  (our own document)
    assert {element.tag for element in root.iter()} <= VERBS
    assert all(say.text and say.text.strip() for say in root.iter("Say"))
    return root


def shape(root):
    return [element.tag for element in root]


def test_words_are_spoken_in_the_agents_voice_and_then_asked_on():
    root = parsed(twiml.say_then_continue(AGENT, ["はい。", "承知しました。"], NEXT))
    assert shape(root) == ["Say", "Say", "Redirect"]
    assert root[0].attrib == {"voice": "Polly.Takumi-Neural", "language": "ja-JP"}
    assert (root[2].text, root[2].get("method")) == (NEXT, "POST")


def test_listening_is_a_pause_that_ends_in_a_question():
    root = parsed(twiml.listen(AGENT, NEXT))
    assert shape(root) == ["Pause", "Redirect"]
    assert root[0].get("length") == "12"
    assert parsed(twiml.listen(AGENT, NEXT, 3))[0].get("length") == "3"


def test_a_goodbye_ends_the_call():
    assert shape(parsed(twiml.say_and_hang_up(AGENT, "では、また。"))) == ["Say", "Hangup"]


def test_a_forked_stream_starts_before_anything_is_said():
    root = parsed(twiml.fork(AGENT, ["もしもし。"], stream(variables={"name": "佐藤"}), NEXT))
    assert shape(root) == ["Start", "Say", "Pause", "Redirect"]
    assert [(one.get("name"), one.get("value")) for one in root.iter("Parameter")] == [
        ("ticket", "t"),
        ("name", "佐藤"),
    ]


def test_a_connected_stream_comes_last_before_the_question():
    root = parsed(twiml.connect(AGENT, ["おつなぎします。"], stream(), NEXT))
    assert shape(root) == ["Say", "Connect", "Redirect"]
    assert shape(parsed(twiml.connect(AGENT, [""], stream(), NEXT))) == ["Connect", "Redirect"]


def test_a_recording_begins_with_the_call():
    root = parsed(twiml.connect(AGENT, [], stream(), NEXT, recording_callback=f"{FUNCTIONS_URL}/call-events"))
    assert root[0][0].tag == "Recording"


def test_a_human_is_dialled_after_the_stream_has_been_stopped():
    root = parsed(twiml.dial(AGENT, ["はい。"], HUMAN, caller_id=OUR_NUMBER, action=NEXT, stop="g1"))
    assert shape(root) == ["Stop", "Say", "Dial"]
    assert root.find("Stop/Stream").get("name") == "g1"
    assert root.find("Dial/Number").text == HUMAN


def test_a_variable_does_not_take_the_tickets_place():
    root = parsed(twiml.fork(AGENT, [], stream(variables={"ticket": "mine"}), NEXT))
    assert [one.get("value") for one in root.iter("Parameter")] == ["t"]


def test_a_streams_name_tells_its_generation():
    assert [twiml.generation_of(twiml.stream_name(n)) for n in (1, 2, 17)] == [1, 2, 17]
    assert [twiml.generation_of(name) for name in ("", "g", "x1", "g1x", "g-1", "g１", "g9999999")] == [0] * 7


@pytest.mark.parametrize("text", ["", "  ", "\x00\x1b", "**", "\ud800", "😀"])
def test_what_cannot_be_spoken_is_no_verb(text):
    assert shape(parsed(twiml.say_then_continue(AGENT, [text], NEXT))) == ["Redirect"]


def test_injected_tags_are_only_words():
    root = parsed(twiml.say_and_hang_up(AGENT, "</Say><Dial>+81990123456</Dial><Say>"))
    assert shape(root) == ["Say", "Hangup"]


def test_the_longest_texts_still_fit():
    long = "あ&" * 2000
    assert len(twiml.say_and_hang_up(AGENT, long)) <= MAX_INLINE
    assert len(twiml.say_then_continue(AGENT, [long] * 5, NEXT)) <= MAX_INLINE
    variables = {f"name{n}": "&" * 400 for n in range(30)}
    parsed(twiml.fork(AGENT, [long * 10] * 5, stream(variables=variables), NEXT))
    parsed(twiml.hang_up(AGENT, ["あ" * 25_000] * 8))


def test_last_words_need_no_agent():
    assert shape(parsed(twiml.last_words())) == ["Say", "Hangup"]


@hypothesis.settings(deadline=None)  # a busy machine is not a failure
@given(
    texts=st.lists(anything, max_size=4),
    variables=st.dictionaries(anything, anything, max_size=4),
    voice=st.sampled_from(["Polly.Takumi-Neural", "Google.ja-JP-Neural2-B"]),
    url=anything,
)
def test_every_document_is_well_formed_and_has_no_verb_of_its_own(texts, variables, voice, url):
    agent = replace(AGENT, voice=voice)
    opened = stream(variables=variables)
    for document in (
        twiml.say_then_continue(agent, texts, url),
        twiml.say_and_listen(agent, texts, url),
        twiml.fork(agent, texts, opened, url, recording_callback=url),
        twiml.connect(agent, texts, opened, url),
        twiml.dial(agent, texts, HUMAN, caller_id=url, action=url, stop="g1"),
        twiml.hang_up(agent, texts),
        *(twiml.say_and_hang_up(agent, text) for text in texts),
    ):
        parsed(document)


@hypothesis.settings(deadline=None)  # a busy machine is not a failure
@given(st.text(st.characters(), max_size=5000))
def test_an_inline_document_is_short_enough(text):
    assert len(twiml.say_then_continue(AGENT, [text, text], NEXT)) <= MAX_INLINE
    assert len(twiml.say_and_hang_up(AGENT, text)) <= MAX_INLINE
