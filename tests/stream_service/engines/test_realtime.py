"""Engine realtime against the emulated OpenAI: audio both ways, and what it is asked to do."""

from emulator.audio import silence
from emulator.openai.faults import (
    FailResponse,
)
from engines.engine_desk import FRAME, until
from engines.realtime_desk import GREETING, SAY_GREETING, STREAM, Start, start
from stream_service.commands import (
    AnswerTool,
    MarkPlayback,
    RequestResponse,
    Speak,
    StopListening,
    TellModel,
)
from stream_service.events import (
    AgentAudioStarted,
    AgentWords,
    CallerSaid,
    CallerStarted,
    CallerStopped,
    EngineLost,
    RequestRefused,
    ResponseEnded,
    ResponseStarted,
    ToolCall,
)

__all__ = ["start"]


def test_the_settings_are_accepted_whole(start: Start) -> None:
    call = start()
    call.ready()
    assert call.session.errors == []
    assert call.session.events[0] == "session.update"
    session = call.session.session
    assert session["instructions"] == "あなたはたくみです。"
    assert session["audio"]["input"]["format"] == session["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    assert [tool["name"] for tool in session["tools"]] == ["end_call", "transfer_call"]
    assert call.session.model == "gpt-realtime-2.1-mini"


def test_what_the_model_says_goes_to_the_caller_as_it_is_with_a_mark_behind_it(start: Start) -> None:
    call = start()
    call.ready()
    call.do(SAY_GREETING)
    call.next(ResponseEnded)
    kinds = [type(event) for event in call.events]
    assert kinds.index(ResponseStarted) < kinds.index(AgentAudioStarted) < kinds.index(ResponseEnded)
    words = [event for event in call.all(AgentWords) if event.whole]
    assert [event.text for event in words] == [GREETING]
    item = call.next(AgentAudioStarted).item
    until(lambda: len(call.carrier.audio()) == call.session.responses[0].audio_ms * 8)
    assert call.playout.sent_ms(item) == call.session.responses[0].audio_ms
    assert all(message["streamSid"] == STREAM for message in call.carrier.messages)
    until(lambda: call.carrier.kinds()[-1] == "mark")
    assert call.carrier.kinds()[0] == "media"
    assert len(set(call.carrier.marks())) == len(call.carrier.marks())
    assert len(call.all(AgentAudioStarted)) == 1


def test_what_the_caller_says_reaches_the_model_byte_for_byte(start: Start) -> None:
    call = start()
    call.ready()
    text = call.say("booking")
    said = call.next(CallerSaid)
    assert said.text.rstrip("。") == text.rstrip("。")
    assert said.item == call.next(CallerStopped).item
    assert call.all(CallerStarted)
    assert call.session.turns[0].recognised.intact
    ended = call.next(ResponseEnded)
    assert ended.status == "completed"  # of its own accord
    assert ended.usage["audio_tokens_out"] > 0
    spent = call._built.spent()
    assert spent["transcript_tokens_in"] > 0
    assert spent["transcript_tokens_out"] == len(said.text)


def test_audio_from_before_the_session_is_open_is_not_lost(start: Start) -> None:
    call = start()
    call.start()
    text = call.say("two-persons")
    assert call.next(CallerSaid).text.rstrip("。") == text.rstrip("。")
    assert call.session.turns[0].recognised.intact


def test_the_callers_audio_is_counted_in_bytes_of_sound(start: Start) -> None:
    call = start()
    call.start()
    call.hear(silence(60_000))
    assert call._built.uplink.position == 60_000 * 8
    assert 60_000 * 8 % FRAME == 0


def test_tools_messages_and_marks(start: Start) -> None:
    call = start()
    call.ready()
    call.say("hang-up")
    call.next(CallerSaid)
    tool = call.next(ResponseEnded).tool_calls[0]
    assert tool.name == "end_call"
    call.do(AnswerTool(tool, "done"), TellModel("(the caller pressed the key 5)"), StopListening(), MarkPlayback("bye"))
    until(lambda: "bye" in call.carrier.marks())
    until(lambda: len(call.session.updates) == 2)
    assert call.session.session["audio"]["input"]["turn_detection"] is None
    kinds = [item["type"] for item in call.session.items.values()]
    assert "function_call_output" in kinds
    assert call.session.errors == []
    assert call.engine is not None
    assert not call.engine.perform(Speak(1, ("x",), 1))


def test_a_request_too_many_is_refused_and_the_session_goes_on(start: Start) -> None:
    call = start(speed=4.0)
    call.ready()
    call.do(SAY_GREETING)
    call.next(ResponseStarted)
    call.do(RequestResponse())
    assert call.next(RequestRefused).code == "conversation_already_has_active_response"
    assert call.next(ResponseEnded).status == "completed"
    assert not call.all(EngineLost)


def test_an_answer_to_an_unknown_tool_call_is_refused_and_the_session_goes_on(start: Start) -> None:
    call = start()
    call.ready()
    call.do(AnswerTool(ToolCall("call_of_an_earlier_session", "end_call", "{}"), "done"))
    call.do(SAY_GREETING)
    assert call.next(ResponseEnded).status == "completed"


def test_a_failed_response_says_why(start: Start) -> None:
    call = start(FailResponse("rate_limit_exceeded"))
    call.ready()
    call.do(SAY_GREETING)
    ended = call.next(ResponseEnded)
    assert (ended.status, ended.code) == ("failed", "rate_limit_exceeded")
