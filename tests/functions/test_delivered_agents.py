"""What callers of the agents as they are delivered live through, as far as the functions' documents decide it."""

import pytest

from callbot import agents
from callbot.agents import Agents
from callbot.store import PutTurn
from callbot.text import spoken_seconds
from tests.functions.scenes import CALL_SID, CALLER, a_turn
from tests.functions.test_answering import document, shape
from tests.functions.test_call_flow import flow, next_step, on_line, said

TAKUMI = Agents.load().default


def seconds(root) -> float:
    """How long Twilio is at it before it comes back."""
    pauses = sum(int(pause.get("length")) for pause in root.iter("Pause"))
    return pauses + sum(spoken_seconds(words) for words in said(root))


@pytest.mark.parametrize("after", ["the greeting", "a reply"])
def test_a_silent_line_is_held_for_about_forty_seconds_and_ends_with_a_word(functions, store, after):
    on_line(store)
    if after == "the greeting":
        root = document(functions.incoming("/twiml"))
        silence = seconds(root) - spoken_seconds(TAKUMI.greeting)
    else:
        store.write_all([PutTurn(CALL_SID, a_turn(2))])
        root = flow(functions, "words", turn=2, sentence=2)
        silence = seconds(root)
    while root.find("Hangup") is None:
        root = flow(functions, **next_step(root))
        silence += seconds(root)
    assert said(root) == [TAKUMI.closing]
    assert 35 <= silence <= 50


def test_a_caller_of_the_realtime_engine_is_told_that_they_are_connected(functions):
    root = document(functions.incoming("/incoming-call"))
    assert shape(root) == ["Say", "Connect", "Redirect"]
    assert said(root) == [TAKUMI.connecting]
    assert root.find("Say").attrib == {"voice": TAKUMI.voice, "language": "ja-JP"}


@pytest.mark.parametrize(("wish", "ordered"), [({}, ["true"]), ({"record": False}, None)])
def test_dialled_calls_are_recorded_when_the_agents_file_says_so(
    functions, twilio, monkeypatch, tmp_path, wish, ordered
):
    file = tmp_path / "agents.toml"
    file.write_text(agents.DEFAULT_FILE.read_text().replace("record = false", "record = true", 1))
    monkeypatch.setattr(agents, "DEFAULT_FILE", file)
    assert functions.trigger({"phoneNumber": CALLER} | wish).status_code == 201
    assert twilio.created[0].get("Record") == ordered
