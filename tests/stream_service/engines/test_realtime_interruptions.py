"""Engine realtime against the emulated OpenAI: who speaks over the bot silences it, and what was heard is known."""

import time

from engines.engine_desk import until
from engines.realtime_desk import AUDIO_DONE, SAY_GREETING, SPEECH_STARTED, Model, Start, delta, start
from stream_service.commands import (
    ClearPlayback,
    StopListening,
)
from stream_service.events import (
    AgentAudioStarted,
    CallerStarted,
    ResponseEnded,
)

__all__ = ["start"]


def interrupted(call: Model, after_ms: int) -> str:
    """The bot is silenced once it has been heard for so long; its item."""
    call.ready()
    call.do(SAY_GREETING)
    begun = call.next(AgentAudioStarted)
    call.until(lambda: call.playout.heard_ms(begun.item, time.monotonic()) >= after_ms)
    call.model_says(SPEECH_STARTED)
    return begun.item


def test_an_interruption_silences_the_carrier_and_the_model_forgets_what_was_not_heard(start: Start) -> None:
    call = start(speed=4.0)
    item = interrupted(call, after_ms=40)
    heard = call.playout.heard_ms(item, time.monotonic())
    until(lambda: call.session.truncations)
    assert call.session.truncations == [(item, heard)]
    until(lambda: "clear" in call.carrier.kinds())
    call.next(ResponseEnded)
    clear = call.carrier.kinds().index("clear")
    assert "media" not in call.carrier.kinds()[clear:]  # what still came of it was dropped
    assert call.session.errors == []


def test_an_item_of_which_nothing_was_heard_is_forgotten_whole(start: Start) -> None:
    call = start(speed=4.0)
    call.ready()
    call.buffered_seconds = 60.0
    call.do(SAY_GREETING)
    begun = call.next(AgentAudioStarted)
    call.model_says(SPEECH_STARTED)
    until(lambda: "conversation.item.delete" in call.session.events)
    call.next(ResponseEnded)
    assert begun.item not in call.session.items
    assert call.session.truncations == []


def test_a_second_interruption_does_not_truncate_the_first_item_again(start: Start) -> None:
    call = start(speed=4.0)
    item = interrupted(call, after_ms=40)
    call.next(ResponseEnded)
    call.do(SAY_GREETING)
    second = call.next(AgentAudioStarted, 2)
    call.until(lambda: call.playout.heard_ms(second.item, time.monotonic()) >= 40)
    call.model_says(SPEECH_STARTED)
    call.next(ResponseEnded, 2)
    until(lambda: len(call.session.truncations) == 2)
    assert [cut for cut, _ in call.session.truncations] == [item, second.item]
    assert call.session.errors == []


def test_the_next_response_in_the_same_packet_is_not_silenced_with_the_last_one(start: Start) -> None:
    call = start()
    call.ready()
    call.model_says(delta("r1", "i1"), AUDIO_DONE)
    until(lambda: len(call.carrier.kinds()) == 2)
    call.model_says(SPEECH_STARTED, delta("r1", "i1"), delta("r2", "i2"), AUDIO_DONE)
    until(lambda: len(call.carrier.kinds()) == 5)
    assert call.carrier.kinds() == ["media", "mark", "clear", "media", "mark"]


def test_audio_behind_which_no_mark_has_been_sent_yet_is_silenced_too(start: Start) -> None:
    call = start()
    call.ready()
    call.model_says(delta("r1", "i1"), SPEECH_STARTED, AUDIO_DONE, delta("r2", "i2"), AUDIO_DONE)
    until(lambda: call.carrier.kinds()[-2:] == ["media", "mark"])
    assert call.carrier.kinds() in (["clear", "media", "mark"], ["media", "clear", "media", "mark"])


def test_a_caller_who_speaks_into_silence_silences_nobody(start: Start) -> None:
    call = start()
    call.ready()
    call.model_says(SPEECH_STARTED, delta("r1", "i1"), AUDIO_DONE)
    until(lambda: len(call.carrier.kinds()) == 2)
    assert call.carrier.kinds() == ["media", "mark"]


def test_the_goodbye_is_not_silenced(start: Start) -> None:
    call = start()
    call.ready()
    call.do(StopListening())
    call.model_says(delta("r1", "i1"), SPEECH_STARTED, delta("r1", "i1"), AUDIO_DONE)
    until(lambda: len(call.carrier.kinds()) == 4)
    assert "clear" not in call.carrier.kinds()


def test_the_caller_speaks_over_the_bot(start: Start) -> None:
    call = start(speed=4.0)
    call.ready()
    call.do(SAY_GREETING)
    begun = call.next(AgentAudioStarted)
    call.say("wait")
    call.next(CallerStarted)
    call.do(ClearPlayback(begun.response))
    ended = call.next(ResponseEnded)
    assert (ended.response, ended.status) == (begun.response, "cancelled")
    call.next(ResponseEnded, 2)
    assert call.session.errors == []
