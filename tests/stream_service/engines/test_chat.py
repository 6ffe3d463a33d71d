"""Answers of the chat model over real HTTP: sentence by sentence, given up in time, and every way they fail."""

import gc
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from call_scenes import AGENT

from emulator.openai import Message, OpenAI, Pace, Reply
from emulator.openai import ToolCall as ScriptedCall
from emulator.openai.faults import (
    BrokenChunk,
    ChatFault,
    CleanCut,
    FinishEarly,
    Refusal,
    SlowStart,
    Stall,
    StreamError,
    quota_exceeded,
    rate_limited,
    server_error,
    unauthorized,
)
from emulator.recordings import Library
from engines.engine_desk import KEY, PATIENCE, settings
from stream_service.engines import chat as chat_module
from stream_service.engines.chat import Chat, ChatModel
from stream_service.events import AnswerCut, AnswerDone, AnswerFailed, Event, FirstToken, SentenceReady, ToolCall

SENTENCES = ("営業時間は九時から六時までです。", "土曜日は三時までです。", "日曜日はお休みです。")
MESSAGES = (
    {"role": "system", "content": "あなたは窓口です。"},
    {"role": "user", "content": "営業時間を教えてください。"},
)


class Recited:
    """A model that says the same whatever it is asked, or uses a tool first."""

    def __init__(self) -> None:
        self.reply_with = Reply("".join(SENTENCES))

    def reply(self, history: list[Message], *_: object) -> Reply:
        return Reply("晴れです。") if history[-1].role == "tool" else self.reply_with


class Talk:
    """One call's chat, and what it posts."""

    def __init__(self, server: OpenAI, script: Recited, pool: ThreadPoolExecutor) -> None:
        self.server = server
        self.script = script
        self.model = ChatModel(settings(OPENAI_BASE_URL=server.url), pool)
        self.chat = Chat(self.model)
        self.posted: queue.Queue[Event] = queue.Queue()

    def ask(self, turn: int = 3, messages: Any = MESSAGES) -> None:
        self.chat.ask(turn, messages, AGENT, self.posted.put)

    def next(self) -> Event:
        return self.posted.get(timeout=PATIENCE)

    def rest(self) -> list[Event]:
        """All events up to the one that ends the answer."""
        events = [self.next()]
        while not isinstance(events[-1], AnswerDone | AnswerFailed):
            events.append(self.next())
        return events


Start = Callable[..., Talk]


@pytest.fixture
def start(library: Library, pool: ThreadPoolExecutor) -> Iterator[Start]:
    running: list[OpenAI] = []

    def talk(*faults: ChatFault, speed: float = 5000.0) -> Talk:
        script = Recited()
        server = OpenAI(library, {KEY}, script, pace=Pace(first_token=0.0, characters_per_second=speed)).start()
        running.append(server)
        server.faults.next(*faults)
        return Talk(server, script, pool)

    yield talk
    for server in running:
        server.stop()


def test_an_answer_comes_as_sentences(start: Start) -> None:
    talk = start()
    talk.ask()
    first, *sentences, done = talk.rest()
    assert first == FirstToken(3)
    assert sentences == [SentenceReady(3, sentence) for sentence in SENTENCES]
    assert isinstance(done, AnswerDone)
    assert done.tool_calls == ()
    assert done.usage["text_tokens_in"] > 0
    assert done.usage["text_tokens_out"] > 0


def test_the_connection_is_open_before_the_first_question(library: Library) -> None:
    opened: list[object] = []
    with ThreadPoolExecutor(1) as one_by_one, OpenAI(library, {KEY}, pace=Pace(first_token=0.0)) as server:
        http = server._chat._http
        assert http is not None
        admit = http.process_request
        http.process_request = lambda *peer: (opened.append(peer), admit(*peer))[1]  # type: ignore[method-assign]
        talk = Talk(server, Recited(), one_by_one)
        talk.chat.warm_up()
        talk.chat.warm_up()  # once is enough for a while
        one_by_one.submit(lambda: None).result(PATIENCE)
        assert len(opened) == 1
        talk.ask()
        talk.rest()
        assert len(server.requests) == 1
    assert len(opened) == 1


def test_loading_connects_to_nobody_and_happens_once(pool: ThreadPoolExecutor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        nobody.settimeout(0.1)
        model = ChatModel(settings(OPENAI_BASE_URL=f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"), pool)
        model.load()
        set_aside = gc.get_freeze_count()
        of_calls = [[number] for number in range(1000)]
        model.load()  # what calls have made meanwhile may become garbage
        assert set_aside > 0
        assert gc.get_freeze_count() < set_aside + len(of_calls)
        with pytest.raises(TimeoutError):
            nobody.accept()


def test_the_first_sentence_is_there_while_the_model_still_writes(start: Start) -> None:
    talk = start(Stall(after_chars=len(SENTENCES[0]) + 3, seconds=1.0))
    talk.ask()
    while talk.next() != SentenceReady(3, SENTENCES[0]):
        pass
    assert talk.server.requests[0].outcome is None
    assert isinstance(talk.rest()[-1], AnswerDone)


def test_what_the_model_is_asked(start: Start) -> None:
    talk = start()
    talk.ask()
    talk.rest()
    body = talk.server.requests[0].body
    assert body["messages"] == list(MESSAGES)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["end_call", "transfer_call"]
    assert body["stream"] is True
    assert body["store"] is False
    assert 0 < body["max_completion_tokens"] <= 1000
    assert "max_tokens" not in body


def test_cancelling_stops_the_model_and_the_news(start: Start) -> None:
    talk = start(speed=40)
    talk.ask()
    while talk.next() != SentenceReady(3, SENTENCES[0]):
        pass
    talk.chat.cancel(3)
    request = talk.server.requests[0]
    assert request.finished.wait(PATIENCE)
    assert request.closed_early
    cut = talk.next()  # OpenAI tells at the end only what it has cost, so this is an estimate
    assert isinstance(cut, AnswerCut)
    assert cut.usage["cut_answers"] == 1
    assert cut.usage["cut_text_tokens_in"] == len("".join(message["content"] for message in MESSAGES))
    assert 0 < cut.usage["cut_text_tokens_out"] <= len("".join(SENTENCES))
    talk.ask(5)
    assert {event.turn for event in talk.rest()} == {5}  # type: ignore[union-attr]


def test_an_answer_cancelled_before_it_was_asked_for_costs_nothing(library: Library) -> None:
    with ThreadPoolExecutor(1) as busy, OpenAI(library, {KEY}, pace=Pace(first_token=0.0)) as server:
        free = threading.Event()
        busy.submit(free.wait, PATIENCE)
        talk = Talk(server, Recited(), busy)
        talk.ask(-1)
        talk.chat.cancel(-1)
        talk.ask(3)
        free.set()
        assert {event.turn for event in talk.rest()} == {3}  # type: ignore[union-attr]
        assert len(server.requests) == 1


def test_closing_cancels_whatever_is_going_on(start: Start) -> None:
    talk = start(speed=40)
    talk.ask(3)
    assert talk.next() == FirstToken(3)
    talk.chat.close()
    assert talk.server.requests[0].finished.wait(PATIENCE)
    assert talk.server.requests[0].closed_early


def test_a_rate_limit_is_tried_once_more(start: Start) -> None:
    talk = start(rate_limited())
    talk.ask()
    assert isinstance(talk.rest()[-1], AnswerDone)
    assert [request.status for request in talk.server.requests] == [429, 200]


def test_a_rate_limit_that_lasts_is_a_failure_after_the_second_try(start: Start) -> None:
    talk = start(rate_limited(), rate_limited())
    talk.ask()
    assert talk.rest() == [AnswerFailed(3, "rate_limit_exceeded", retryable=True)]
    assert len(talk.server.requests) == 2


def test_an_exhausted_quota_is_never_tried_again(start: Start) -> None:
    talk = start(quota_exceeded())
    talk.ask()
    assert talk.rest() == [AnswerFailed(3, "insufficient_quota", retryable=False)]
    assert len(talk.server.requests) == 1


def test_a_wrong_key_is_never_tried_again(start: Start) -> None:
    talk = start(unauthorized())
    talk.ask()
    assert talk.rest() == [AnswerFailed(3, "invalid_api_key", retryable=False)]
    assert len(talk.server.requests) == 1


def test_a_server_error_is_tried_once_more(start: Start) -> None:
    talk = start(server_error(503))
    talk.ask()
    assert isinstance(talk.rest()[-1], AnswerDone)
    assert [request.status for request in talk.server.requests] == [503, 200]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (CleanCut(after_chars=20), "truncated"),
        (BrokenChunk(after_chars=20), "unreachable"),
        (StreamError(after_chars=20, code="server_error"), "server_error"),
        (FinishEarly(after_chars=20, reason="content_filter"), "content_filter"),
    ],
)
def test_an_answer_that_breaks_off_is_a_failure_and_is_not_asked_for_again(
    start: Start, fault: ChatFault, code: str
) -> None:
    talk = start(fault)
    talk.ask()
    first, sentence, *_, failure = talk.rest()
    assert (first, sentence) == (FirstToken(3), SentenceReady(3, SENTENCES[0]))
    assert failure == AnswerFailed(3, code, retryable=True)
    assert len(talk.server.requests) == 1


def test_an_answer_that_is_too_long_is_an_answer(start: Start) -> None:
    talk = start(FinishEarly(after_chars=20, reason="length"))
    talk.ask()
    assert isinstance(talk.rest()[-1], AnswerDone)


def test_a_refusal_is_spoken(start: Start) -> None:
    talk = start(Refusal("お答えできません。"))
    talk.ask()
    assert SentenceReady(3, "お答えできません。") in talk.rest()


@pytest.mark.parametrize("fault", [Stall(after_chars=20), SlowStart(30)])
def test_a_model_that_stalls_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch, fault: ChatFault) -> None:
    monkeypatch.setattr(chat_module, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(chat_module, "RETRY_WITHIN_SECONDS", 0.2)
    talk = start(fault)
    talk.ask()
    assert talk.rest()[-1] == AnswerFailed(3, "timeout", retryable=True)
    assert len(talk.server.requests) == 1


def test_a_server_that_is_not_there(start: Start, pool: ThreadPoolExecutor) -> None:
    talk = start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    talk.chat = Chat(ChatModel(settings(OPENAI_BASE_URL=address), pool))
    talk.ask()
    assert talk.rest() == [AnswerFailed(3, "unreachable", retryable=True)]


def test_tools_are_called_and_their_answers_told(start: Start) -> None:
    talk = start()
    talk.script.reply_with = Reply("お調べします。", [ScriptedCall("transfer_call", {"target": "operator"})])
    talk.ask()
    _, sentence, done = talk.rest()
    assert sentence == SentenceReady(3, "お調べします。")
    assert isinstance(done, AnswerDone)
    (call,) = done.tool_calls
    assert (call.name, call.arguments.replace(" ", "")) == ("transfer_call", '{"target":"operator"}')
    assert call.id
    told = [
        {
            "role": "assistant",
            "content": "お調べします。",
            "tool_calls": [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            ],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "unknown target"},
    ]
    talk.ask(3, (*MESSAGES, *told))
    assert SentenceReady(3, "晴れです。") in talk.rest()
    assert isinstance(call, ToolCall)


def test_asking_anew_gives_up_the_answer_before(start: Start) -> None:
    talk = start(speed=40)
    talk.ask(3)
    assert talk.next() == FirstToken(3)
    talk.ask(3, (*MESSAGES, {"role": "user", "content": "もしもし"}))
    assert talk.server.requests[0].finished.wait(PATIENCE)
    assert talk.server.requests[0].closed_early
    assert isinstance(talk.rest()[-1], AnswerDone)


def test_many_calls_share_one_client(start: Start, pool: ThreadPoolExecutor) -> None:
    talk = start()
    clients: set[int] = set()
    together = threading.Barrier(4)

    def build() -> None:
        together.wait(PATIENCE)
        clients.add(id(talk.model.client()))

    for done in [pool.submit(build) for _ in range(4)]:
        done.result(PATIENCE)
    assert len(clients) == 1
