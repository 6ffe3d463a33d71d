"""Whatever happens in a call, in whatever order: no decision raises, and what every call promises is kept.

The promises are those that `Scene.happens` checks; here are the events.
"""

from collections.abc import Callable

from call_scenes import Scene, a_turn, none, since
from hypothesis import given, settings
from hypothesis import strategies as st
from spoken_scenes import spoken
from voiced_scenes import VoicedScene, voiced

from stream_service.commands import Finish, Listen, RunTool, Speak, StartChat
from stream_service.events import (
    AgentAudioStarted,
    AgentWords,
    AnswerDone,
    AnswerFailed,
    CallerSaid,
    CallerSaying,
    CallerStarted,
    CallerStopped,
    CallerUnclear,
    CallGone,
    CarrierLost,
    CarrierRefused,
    Delivered,
    Digit,
    Drain,
    EngineFailed,
    EngineLost,
    EngineReady,
    Event,
    FirstToken,
    HeardSoFar,
    PlaybackReached,
    RequestRefused,
    ResponseEnded,
    ResponseStarted,
    SentenceReady,
    StoreHealth,
    StreamStopped,
    ToolCall,
    ToolResult,
)
from stream_service.tools import Ending, Transfer
from stream_service.voiced_responses import TOO_LATE

words = st.sampled_from(["はい", "予約をお願いします。", "もしもし、たくみです。", "あ", "待って", ""])
some_words = words.filter(bool)
calls = st.builds(
    ToolCall,
    st.sampled_from(["a", "b"]),
    st.sampled_from(["end_call", "transfer_call", "?"]),
    st.sampled_from(["{}", "{", '{"target":"operator"}']),
)
outcomes = st.one_of(
    st.just(Ending("asked")), st.just(Transfer("operator")), st.sampled_from(["晴れ", "the tool took too long"])
)
codes = st.sampled_from(["timeout", "insufficient_quota", "", TOO_LATE])
flags = st.booleans()
usage = st.sampled_from([{}, {"text_tokens_in": 3}])
everywhere: list[st.SearchStrategy[Event]] = [
    st.just(EngineReady(resumed=True)),
    st.builds(EngineLost, codes),
    st.just(CallerStarted()),
    st.just(CallerStarted()),
    st.builds(StoreHealth, flags),
]
endings: list[st.SearchStrategy[Event]] = [
    st.sampled_from([StreamStopped(), CarrierLost("reset"), Drain(), CallGone()]),
    st.builds(EngineFailed, codes, flags),
]


def spoken_events(turns: st.SearchStrategy[int]) -> st.SearchStrategy[Event]:
    return st.one_of(
        *everywhere,
        st.just(CallerStopped()),
        st.builds(CallerSaying, words),
        st.builds(CallerSaid, some_words),
        st.builds(CallerUnclear, st.floats(0, 3)),
        st.builds(HeardSoFar, turns, st.integers(0, 4), st.floats(0, 9)),
        st.builds(Delivered, turns),
        st.builds(CarrierRefused, turns, codes),
        st.builds(FirstToken, turns),
        st.builds(SentenceReady, turns, some_words),
        st.builds(AnswerDone, turns, st.lists(calls, max_size=2).map(tuple), usage),
        st.builds(AnswerFailed, turns, codes, flags),
        st.builds(ToolResult, turns, calls, outcomes),
    )


responses = st.sampled_from(["r1", "r2", "r3"])
items = st.sampled_from(["i1", "i2", "i3"])


def voiced_events() -> st.SearchStrategy[Event]:
    return st.one_of(
        *everywhere,
        st.builds(CallerStopped, item=items),
        st.builds(CallerSaid, words, st.none(), items),
        st.builds(Digit, st.sampled_from("0#")),
        st.builds(PlaybackReached, st.sampled_from(["bye", "a0-1", "a0-2", "a1-3", "x"])),
        st.builds(ResponseStarted, responses),
        st.builds(AgentAudioStarted, responses, items),
        st.builds(AgentWords, responses, items, words, flags),
        st.builds(
            ResponseEnded,
            responses,
            st.sampled_from(["completed", "completed", "cancelled", "incomplete", "failed"]),
            codes,
            st.lists(calls, max_size=2).map(tuple),
            usage,
        ),
        st.builds(RequestRefused, codes),
        st.builds(ToolResult, st.just(0), calls, outcomes),
    )


pauses = st.sampled_from([0.0, 0.0, 0.1, 0.5, 2.0, 5.0, 15.0])
histories = st.sampled_from([(1, 0), (2, 0), (4, 880)])  # generation, seconds the call has lasted


def begin(build: Callable[..., Scene], history: tuple[int, int]) -> Scene:
    generation, seconds = history
    earlier = [a_turn(1, "agent", "もしもし。", heard="もし"), a_turn(2, "caller", "予約です")]
    return build(earlier if generation > 1 else None, generation=generation, answered_at=since(seconds))


@settings(max_examples=35, deadline=None)
@given(st.data(), histories, st.integers(1, 40))
def test_any_spoken_call(data: st.DataObject, history: tuple[int, int], steps: int) -> None:
    scene = begin(spoken, history)
    scene.happens(EngineReady(resumed=False))
    for step in range(steps):
        asked = [command.turn for command in scene.all(StartChat)]
        turns = st.one_of(st.just(asked[-1] if asked else 1), st.integers(1, 6))
        events = spoken_events(turns) if step < steps - 1 else st.one_of(*endings)
        scene.wait(data.draw(pauses), tick=0.4)
        scene.happens(data.draw(events))
    scene.happens(StreamStopped())
    scene.wait(1.5)
    assert scene.session.finished
    if scene.all(Finish) and scene.all(Finish) != [Finish("stream lost")]:
        # The call is over, so nothing of it stays open.
        assert all(turn.complete and turn.heard is not None for turn in scene.turns() if turn.role == "agent")


@settings(max_examples=35, deadline=None)
@given(st.data(), histories, st.integers(1, 40))
def test_any_voiced_call(data: st.DataObject, history: tuple[int, int], steps: int) -> None:
    scene = begin(voiced, history)
    assert isinstance(scene, VoicedScene)
    scene.happens(EngineReady(resumed=False))
    for step in range(steps):
        scene.wait(data.draw(pauses), tick=0.4)
        event = data.draw(voiced_events() if step < steps - 1 else st.one_of(*endings))
        if isinstance(event, AgentAudioStarted):  # as the pump would: the first time only
            _, first = scene.playout.sent(event.item, data.draw(st.integers(1, 40_000)), scene.now)
            if not first:
                continue
        before = len(scene.all(RunTool))
        scene.happens(event)
        if not isinstance(event, ResponseEnded):
            assert len(scene.all(RunTool)) == before
    scene.happens(StreamStopped())
    assert scene.session.finished
    none(scene.commands, Speak, StartChat, Listen)
