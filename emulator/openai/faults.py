"""What can go wrong with OpenAI, as values: `faults.next(Stall(after_chars=5))` spoils the next request.

Each fault waits for the first thing of its own kind that comes: a chat request, a Realtime connection, or a
Realtime response.
"""

import threading
from dataclasses import dataclass
from typing import TypeVar


class ChatFault:
    """Spoils one chat request."""


class ConnectionFault:
    """Spoils one Realtime connection."""


class ResponseFault:
    """Spoils one Realtime response."""


# --- chat completions -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stall(ChatFault):
    """The stream pauses after so many characters."""

    after_chars: int = 5
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class SlowStart(ChatFault):
    """The first token takes this much longer."""

    seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class StreamError(ChatFault):
    """An error object inside the stream, which then ends."""

    after_chars: int = 5
    code: str = "server_error"
    message: str = "The server had an error while processing your request. Sorry about that!"


@dataclass(frozen=True, slots=True)
class CleanCut(ChatFault):
    """The connection closes as if all were well, without finish_reason and [DONE] (no chunked framing)."""

    after_chars: int = 5


@dataclass(frozen=True, slots=True)
class BrokenChunk(ChatFault):
    """The connection closes inside a chunk of the body."""

    after_chars: int = 5


@dataclass(frozen=True, slots=True)
class FinishEarly(ChatFault):
    """The answer stops with this finish_reason: "length" or "content_filter"."""

    after_chars: int = 5
    reason: str = "length"


@dataclass(frozen=True, slots=True)
class Refusal(ChatFault):
    """The model refuses: `refusal` instead of content."""

    text: str = "申し訳ございませんが、そのご依頼にはお応えできません。"


@dataclass(frozen=True, slots=True)
class HttpError(ChatFault):
    """The request is answered with an error status. For usual ones see the functions below."""

    status: int
    code: str | None
    message: str
    kind: str = "server_error"
    retry_after_ms: int | None = None


def rate_limited(retry_after_ms: int | None = 500) -> HttpError:
    """429: too many requests; worth trying again."""
    message = "Rate limit reached for requests per min (RPM). Please try again later."
    return HttpError(429, "rate_limit_exceeded", message, "requests", retry_after_ms)


def quota_exceeded() -> HttpError:
    """429: no money left; never worth trying again."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return HttpError(429, "insufficient_quota", message, "insufficient_quota")


def unauthorized() -> HttpError:
    """401."""
    return HttpError(401, "invalid_api_key", "Incorrect API key provided.", "invalid_request_error")


def server_error(status: int = 500) -> HttpError:
    """500, or 502, 503, 504."""
    return HttpError(status, None, "The server had an error while processing your request.")


# --- Realtime connections -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RefuseHandshake(ConnectionFault):
    """The upgrade request is answered with this status."""

    status: int = 401


@dataclass(frozen=True, slots=True)
class ErrorOnOpen(ConnectionFault):
    """An error event comes instead of session.created, and the connection closes."""

    code: str = "insufficient_quota"
    message: str = "You exceeded your current quota, please check your plan and billing details."


@dataclass(frozen=True, slots=True)
class DropConnection(ConnectionFault):
    """The TCP connection is lost after so many seconds, or once so much audio has come."""

    after_seconds: float | None = None
    at_audio_ms: int | None = None


@dataclass(frozen=True, slots=True)
class FreezeConnection(ConnectionFault):
    """Nothing is read, sent or closed any more after so many seconds, or once so much audio has come."""

    after_seconds: float | None = None
    at_audio_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ExpireSession(ConnectionFault):
    """The session's maximum duration is over after this long: an error event, then the connection closes."""

    after_seconds: float = 1.0


# --- Realtime responses ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FailResponse(ResponseFault):
    """response.done with status "failed": no error event, no audio."""

    code: str = "rate_limit_exceeded"
    message: str = "Rate limit reached. Please try again later."


@dataclass(frozen=True, slots=True)
class IncompleteResponse(ResponseFault):
    """The response stops after so many characters; reason "max_output_tokens" or "content_filter"."""

    after_chars: int = 5
    reason: str = "max_output_tokens"


@dataclass(frozen=True, slots=True)
class SlowResponse(ResponseFault):
    """response.created comes this much later."""

    seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class MissingResponse(ResponseFault):
    """response.created never comes, nor anything after it."""


@dataclass(frozen=True, slots=True)
class DropResponse(ResponseFault):
    """The TCP connection is lost once so many milliseconds of the response's audio have been sent."""

    after_ms: int = 500


Fault = ChatFault | ConnectionFault | ResponseFault
Kind = TypeVar("Kind", ChatFault, ConnectionFault, ResponseFault)


class OpenAIFaults:
    """What to do wrong, in order. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[Fault] = []

    def next(self, *faults: Fault) -> None:
        """Each fault spoils one thing to come, in this order among those of its kind."""
        with self._lock:
            self._queue.extend(faults)

    def take(self, kind: type[Kind]) -> Kind | None:
        """The fault of the request, connection or response that is beginning."""
        with self._lock:
            for fault in self._queue:
                if isinstance(fault, kind):
                    self._queue.remove(fault)
                    return fault
        return None
