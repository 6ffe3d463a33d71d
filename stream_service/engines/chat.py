"""OpenAI chat completions, streamed, for one call: pieces in, whole sentences out. The only user of `openai`.

Facts: the `openai` package, `chat.completions.create(stream=True)`. Nothing is retried once a stream has begun, and a
stream that ends without a `finish_reason` was cut. The library's own patience (600 s, two hidden retries) is not a
telephone's, so every deadline here is ours.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, cast

from callbot import loading
from callbot.agents import Agent
from callbot.settings import Settings
from callbot.text import Sentences
from stream_service.events import AnswerCut, AnswerDone, AnswerFailed, Event, FirstToken, SentenceReady, ToolCall
from stream_service.tools import offered
from stream_service.wire import openai_usage

if TYPE_CHECKING:
    import httpx2
    from openai import OpenAI
    from openai.types.chat import ChatCompletionChunk

log = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0
SILENT_SECONDS = 4.0  # between two pieces; the session gives the answer up a moment earlier
RETRY_WITHIN_SECONDS = 1.0  # of the request: a refusal that came later leaves no time for a second try
RETRY_AFTER_SECONDS = 0.2
MOST_TOKENS = 600  # of an answer: nobody listens longer on the telephone
# The library gives a connection up after 5 s without a request, which is about one turn of a conversation.
KEEP_OPEN_SECONDS = 120.0
COLD_SECONDS = 20.0  # without a request; servers too close what is idle
MOST_CONNECTIONS = 1000


class ChatModel:
    """The process's client for the chat model.

    Importing `openai` takes half a second and 40 MiB, which no start waits for: it is done by `load`, or when needed.
    """

    def __init__(self, settings: Settings, pool: Executor) -> None:
        self._settings = settings
        self.pool = pool
        self._lock = threading.Lock()
        self._client: OpenAI | None = None
        self._http: httpx2.Client | None = None
        self._used_at: float | None = None

    def load(self) -> None:
        """Import and build all that an answer needs, unless that has been done. Nobody is connected to."""
        if self._client is None:
            with loading.undisturbed():
                _ = self.client().chat.completions  # imported on first use

    def warm_up(self) -> None:
        """Load, and open a connection while nobody waits for it, unless that was done just now."""
        if self._used_at is None or time.monotonic() - self._used_at > COLD_SECONDS:
            self._used_at = time.monotonic()
            self.pool.submit(self._open)

    def _open(self) -> None:
        self.load()
        if self._http:
            # Any answer will do: nothing is asked for, and without the key nothing can be counted against anybody.
            with contextlib.suppress(OSError, *_transport_errors()):
                self._http.head(self._settings.openai_base_url)

    def client(self) -> "OpenAI":
        with self._lock:
            if self._client is None:
                import httpx2
                from openai import DefaultHttpxClient, OpenAI

                self._http = DefaultHttpxClient(
                    timeout=httpx2.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS),
                    limits=httpx2.Limits(
                        max_connections=MOST_CONNECTIONS,
                        max_keepalive_connections=MOST_CONNECTIONS,
                        keepalive_expiry=KEEP_OPEN_SECONDS,
                    ),
                )
                self._client = OpenAI(
                    api_key=self._settings.openai_api_key,
                    base_url=self._settings.openai_base_url,
                    http_client=self._http,
                    max_retries=0,
                )
            return self._client

    def request(self, messages: Sequence[Mapping[str, Any]], agent: Agent) -> Iterable["ChatCompletionChunk"]:
        """Begin an answer. Raises what `openai` raises."""
        self._used_at = time.monotonic()
        options: dict[str, Any] = {}
        if tools := [tool.for_chat() for tool in offered(agent)]:
            options = {"tools": tools, "tool_choice": "auto", "parallel_tool_calls": False}
        if self._settings.openai_chat_effort != "omit":
            options["reasoning_effort"] = self._settings.openai_chat_effort
        stream = self.client().chat.completions.create(
            model=self._settings.openai_chat_model,
            messages=cast(Any, list(messages)),
            stream=True,
            stream_options={"include_usage": True},
            max_completion_tokens=MOST_TOKENS,
            store=False,
            **options,
        )
        return cast("Iterable[ChatCompletionChunk]", stream)


class Chat:
    """One call's answers, one at a time. `ask` and `cancel` are called on the call's thread."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self._answers: dict[int, threading.Event] = {}

    def warm_up(self) -> None:
        self._model.warm_up()

    def ask(
        self, turn: int, messages: Sequence[Mapping[str, Any]], agent: Agent, post: Callable[[Event], None]
    ) -> None:
        self.cancel(turn)
        cancelled = self._answers[turn] = threading.Event()
        self._model.pool.submit(_Answer(self._model, turn, post, cancelled).run, messages, agent)

    def cancel(self, turn: int) -> None:
        if cancelled := self._answers.pop(turn, None):
            cancelled.set()

    def close(self) -> None:
        for turn in list(self._answers):
            self.cancel(turn)


class _Answer:
    """One request to the model, on a thread of the pool."""

    def __init__(self, model: ChatModel, turn: int, post: Callable[[Event], None], cancelled: threading.Event) -> None:
        self._model = model
        self._turn = turn
        self._post_event = post
        self._cancelled = cancelled
        self._sentences = Sentences()
        self._calls: dict[int, dict[str, str]] = {}
        self._usage: dict[str, int] = {}
        self._pieces = 0  # about as many as there were tokens
        self._finish = ""
        self._began = False

    def run(self, messages: Sequence[Mapping[str, Any]], agent: Agent) -> None:
        asked_at = time.monotonic()
        if self._cancelled.is_set():  # while it waited for a thread
            return
        try:
            self._stream(messages, agent)
        except Exception as exc:  # the thread ends here: whatever failed, the caller must hear of it
            code, retryable = _failure(exc)
            if not self._began and retryable and time.monotonic() - asked_at < RETRY_WITHIN_SECONDS:
                self._retry(messages, agent)
                return
            self._fail(exc, code, retryable)

    def _retry(self, messages: Sequence[Mapping[str, Any]], agent: Agent) -> None:
        if self._cancelled.wait(RETRY_AFTER_SECONDS):
            return
        try:
            self._stream(messages, agent)
        except Exception as exc:  # as in `run`
            self._fail(exc, *_failure(exc))

    def _fail(self, exc: Exception, code: str, retryable: bool) -> None:
        log.debug("chat failed", exc_info=exc)
        self._post(AnswerFailed(self._turn, code, retryable))

    def _stream(self, messages: Sequence[Mapping[str, Any]], agent: Agent) -> None:
        stream = self._model.request(messages, agent)
        try:
            for chunk in stream:
                self._take(chunk)
                if self._cancelled.is_set():
                    self._cut(messages)
                    return
        finally:
            close = getattr(stream, "close", None)
            if close:
                close()  # frees the connection, and stops the model when the caller interrupted
        self._end()

    def _take(self, chunk: "ChatCompletionChunk") -> None:
        if chunk.usage:
            self._usage = openai_usage.of_chat(chunk.usage.model_dump())
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        self._finish = choice.finish_reason or self._finish
        self._pieces += 1
        piece = choice.delta.content or choice.delta.refusal or ""
        if (piece or choice.delta.tool_calls) and not self._began:
            self._began = True
            self._post(FirstToken(self._turn))
        for fragment in choice.delta.tool_calls or ():
            call = self._calls.setdefault(fragment.index, {"id": "", "name": "", "arguments": ""})
            call["id"] = call["id"] or fragment.id or ""
            if fragment.function:
                call["name"] = call["name"] or fragment.function.name or ""
                call["arguments"] += fragment.function.arguments or ""
        self._say(self._sentences.feed(piece))

    def _cut(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Nobody wants it any more. It is billed all the same; OpenAI says how much at the end only."""
        asked = sum(len(str(message.get("content") or "")) for message in messages)  # about a token a character
        estimate = {"cut_answers": 1, "cut_text_tokens_in": asked, "cut_text_tokens_out": self._pieces}
        self._post_event(AnswerCut(self._usage or estimate))

    def _end(self) -> None:
        self._say(self._sentences.finish())
        if self._finish in ("", "content_filter"):
            self._post(AnswerFailed(self._turn, self._finish or "truncated", retryable=True))
            return
        calls = tuple(ToolCall(c["id"], c["name"], c["arguments"]) for _, c in sorted(self._calls.items()))
        self._post(AnswerDone(self._turn, calls, self._usage))

    def _say(self, sentences: Sequence[str]) -> None:
        for sentence in sentences:
            self._post(SentenceReady(self._turn, sentence))

    def _post(self, event: Event) -> None:
        if not self._cancelled.is_set():
            self._post_event(event)


def _transport_errors() -> tuple[type[Exception], ...]:
    import httpx2

    return (httpx2.HTTPError,)


def _failure(exc: Exception) -> tuple[str, bool]:
    """The code to record, and whether asking again could help."""
    import openai

    match exc:
        case openai.APITimeoutError():
            return "timeout", True
        case openai.APIConnectionError():
            return "unreachable", True
        case openai.RateLimitError(code="insufficient_quota"):
            return "insufficient_quota", False
        case openai.APIStatusError(status_code=status, code=code):
            return str(code or status), status in (408, 409, 429) or status >= 500
        case openai.APIError(code=code):
            return str(code or "error in mid-stream"), code != "insufficient_quota"
    log.error("chat failed unexpectedly", exc_info=exc)
    return type(exc).__name__, True
