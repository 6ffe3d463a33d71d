"""Runs TwiML on a call: fetches a document, carries out its verbs one by one, goes where they lead.

The order of things and what happens when a document cannot be had belong here; what a verb does does not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from emulator.twilio import detection, dialing, flow_verbs, speech_verbs, stream_verbs
from emulator.twilio.orders import Redirected
from emulator.twilio.plan import Source
from emulator.twilio.progress import request_params
from emulator.twilio.report import EndedBy
from emulator.twilio.twiml import Document, TwimlError, Verb, parse
from emulator.twilio.webhooks import FetchError

if TYPE_CHECKING:
    from emulator.twilio.call import EmulatedCall

APOLOGY = "We are sorry. An application error has occurred. Goodbye."
MOST_FETCHES_WITHOUT_TIME = 100
_LEAST_SECONDS = 1.0
_FETCH_LIMIT = 20.0  # the webhook's own 15 s and some: a fetch that ignores its limit does not hold the call
_APOLOGY = Source(twiml=f"<Response><Say>{APOLOGY}</Say></Response>")

T = TypeVar("T")
Run = Callable[["EmulatedCall", Verb, "Runner"], Source | None]
"""Carries out a verb; what it returns is where the call goes instead of to the next verb."""

VERBS: dict[str, Run] = {
    "Say": speech_verbs.say,
    "Play": speech_verbs.play,
    "Pause": speech_verbs.pause,
    "Redirect": flow_verbs.redirect,
    "Hangup": flow_verbs.hangup,
    "Reject": flow_verbs.hangup,  # as a first verb it is never carried out, see below
    "Gather": flow_verbs.gather,
    "Record": flow_verbs.record,
    "Dial": dialing.dial,
    "Start": stream_verbs.start,
    "Stop": stream_verbs.stop,
    "Connect": stream_verbs.connect,
}


class Runner:
    """The program counter of one call."""

    def __init__(self, call: EmulatedCall) -> None:
        self.call = call
        self.here = ""
        """The URL of the running document, to which relative ones are relative."""
        self._ended_by: EndedBy = "bot"
        self._verb_seconds = 0.0
        self._fetched_at: deque[float] = deque(maxlen=MOST_FETCHES_WITHOUT_TIME + 1)

    def run(self, source: Source) -> None:
        """Runs the call to its end; always leaves by `CallOver`."""
        following: Source | None = source
        to_detect = self.call.plan.detection
        while current := following:
            try:
                if to_detect:
                    wish, to_detect = to_detect, None
                    detection.detect(self.call, wish)
                following = self._run_document(self._document(current))
            except Redirected as update:
                following, self._ended_by = update.source, "bot"
            except (FetchError, TwimlError) as failure:
                self.call.journal.error(failure.code, failure.message)
                following = self._instead_of(current, failure)
        self.call.end(self._ended_by)
        self.call.pass_time(0)

    def resolve(self, url: str) -> str:
        """An absolute URL for one in a document. Raises `FetchError` (11100) where there is none."""
        try:
            absolute = urljoin(self.here, url.strip())
            parts = urlsplit(absolute)
        except ValueError as exc:
            raise FetchError(11100, "invalid URL format") from exc
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise FetchError(11100, f"invalid URL format: {url.strip()[:100]!r}")
        return absolute

    def in_background(self, job: Callable[[], T]) -> T:
        """Runs `job`, a request, so that the call can be ended or redirected meanwhile; then its result is lost.

        Raises `FetchError` and as `pass_time`.
        """
        call = self.call
        if call.clock.virtual:
            return job()  # no time passes in it, so nothing can come between
        outcome: list[T | FetchError] = []

        def work() -> None:
            try:
                outcome.append(job())
            except FetchError as exc:
                outcome.append(exc)
            call.wake_all()

        call.clock.spawn(work, f"fetch {call.sid[-6:]}")
        if not call.wait_until(lambda: bool(outcome), _FETCH_LIMIT):
            raise FetchError(11200, "HTTP retrieval failure: no answer in time")
        if isinstance(outcome[0], FetchError):
            raise outcome[0]
        return outcome[0]

    def _document(self, source: Source) -> Document:
        inline = source.twiml
        body = self._fetch(source) if inline is None else inline.encode(errors="replace")
        if source is not _APOLOGY:
            self.call.journal.document(body.decode(errors="replace"))
        document = parse(body)
        for warning in document.warnings:
            self.call.journal.error(12200, f"schema validation warning: {warning}")
        return document

    def _fetch(self, source: Source) -> bytes:
        call, url = self.call, self.resolve(source.url or "")
        self._fetched_at.append(self._verb_seconds)
        if (
            len(self._fetched_at) > MOST_FETCHES_WITHOUT_TIME
            and self._verb_seconds - self._fetched_at[0] < _LEAST_SECONDS
        ):
            self._fetched_at.clear()
            raise FetchError(
                11215,
                f"HTTP too many redirects: {MOST_FETCHES_WITHOUT_TIME} documents in {_LEAST_SECONDS:g} s of the call",
            )
        params = request_params(call) | dict(source.params)
        body = self.in_background(
            lambda: call.carrier.webhooks.twiml(call.journal, source.method, url, list(params.items()))
        )
        self.here = url
        return body

    def _run_document(self, document: Document) -> Source | None:
        call = self.call
        first = document.verbs[0] if document.verbs else None
        if not call.answered and first and first.name == "Reject":
            # The caller hears "busy" or a recorded refusal from the network; the call is never answered.
            call.end("bot", "busy" if first.get("reason") == "busy" else "no-answer")
        call.pass_time(0)
        if not call.answered:
            call.answer()
        for verb in document.verbs:
            began = call.now()
            try:
                following = VERBS[verb.name](call, verb, self)
            finally:
                self._verb_seconds += call.now() - began
            if following is not None:
                return following
        return None

    def _instead_of(self, failed: Source, failure: FetchError | TwimlError) -> Source:
        fallback = self.call.fallback
        if fallback and failed.url != fallback.url and failure.code != 11215:
            params = (("ErrorCode", str(failure.code)), ("ErrorUrl", self._named(failed)))
            return Source(fallback.url, fallback.method, params=params)
        self._ended_by = "carrier"
        return _APOLOGY

    def _named(self, source: Source) -> str:
        try:
            return self.resolve(source.url or "")
        except FetchError:
            return source.url or ""
