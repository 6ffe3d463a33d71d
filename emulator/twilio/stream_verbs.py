"""The verbs for media: Start, Stop, Connect. A stream's life is `media`'s; which a call may have is decided here.

Source: Twilio, TwiML `<Stream>`; error dictionary 319xx.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from emulator.twilio.flow_verbs import recording_wish
from emulator.twilio.media import MediaStream
from emulator.twilio.plan import LONGEST_CALL_SECONDS, TRACKS, Callback, Source, StreamPlan
from emulator.twilio.speech_verbs import then
from emulator.twilio.twiml import Verb
from emulator.twilio.webhooks import FetchError

if TYPE_CHECKING:
    from emulator.twilio.call import EmulatedCall
    from emulator.twilio.runner import Runner

MOST_TRACKS = 4
LONGEST_PARAMETER = 500  # characters of name and of value
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class StreamRefusedError(Exception):
    """A stream that does not start. `code` is Twilio's error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def start(call: EmulatedCall, verb: Verb, runner: Runner) -> None:
    """Does not wait: the next verb runs at once."""
    for noun in verb.children:
        if noun.name == "Recording":
            call.record(recording_wish(noun, runner, "StartCallRecordingTwiML"))
        else:
            _open(call, noun, runner, "start")


def stop(call: EmulatedCall, verb: Verb, _runner: Runner) -> None:
    for noun in verb.children:
        name = noun.get("name")
        if noun.name == "Recording":
            for recording in call.recordings:
                if not name or recording.wish.name == name:
                    recording.end()
        elif not stop_stream(call, name):
            call.journal.note(f"Stop: there is no running one-way stream named {name!r}")


def connect(call: EmulatedCall, verb: Verb, runner: Runner) -> Source | None:
    """Waits until the stream is over; a stream that does not come up is over at once."""
    for noun in verb.children:
        stream = _open(call, noun, runner, "connect")
        if stream:
            _stay_connected(call, stream)
    return then(runner, verb, {})


def _stay_connected(call: EmulatedCall, stream: MediaStream) -> None:
    try:
        call.wait_until(lambda: stream.ended, LONGEST_CALL_SECONDS)
    finally:
        stream.stop()  # when the call was ended or redirected, the stream goes with the verb


def stop_stream(call: EmulatedCall, name_or_sid: str) -> bool:
    """Stops a running `<Start>` stream; False when there is none of that name or SID."""
    for stream in list(call.streams):
        if not stream.ended and stream.plan.kind == "start" and name_or_sid in (stream.plan.name, stream.sid):
            stream.stop()
            return True
    return False


def open_stream(call: EmulatedCall, plan: StreamPlan) -> MediaStream:
    """Starts a stream. Raises `StreamRefusedError`: 31941 track or name, 31920 address."""
    if plan.track not in TRACKS or (plan.kind == "connect" and plan.track != "inbound_track"):
        raise StreamRefusedError(31941, "invalid track configuration")
    running = [stream for stream in call.streams if not stream.ended]
    if plan.name and any(stream.plan.name == plan.name for stream in running):
        raise StreamRefusedError(31941, f"a stream named {plan.name!r} is already running")
    if sum(len(stream.tracks) for stream in running) + len(TRACKS[plan.track]) > MOST_TRACKS:
        raise StreamRefusedError(31941, f"more than {MOST_TRACKS} tracks on one call")
    if plan.kind == "connect" and any(stream.plan.kind == "connect" for stream in running):
        call.journal.note("a two-way stream begins while the one before it is still closing")
    try:
        parts = urlsplit(plan.url)
    except ValueError as exc:
        raise StreamRefusedError(31920, "the url is not a URL") from exc
    if parts.scheme != "wss" or not parts.hostname:
        raise StreamRefusedError(31920, "the url must be wss://")
    if parts.query:
        raise StreamRefusedError(31920, "a query string in the url is not supported; use <Parameter>")
    for name, value in plan.parameters.items():
        if not name or len(name) >= LONGEST_PARAMETER or len(value) >= LONGEST_PARAMETER:
            raise StreamRefusedError(
                31941, "a <Parameter> needs a name, and less than 500 characters in name and value"
            )
    stream = MediaStream(call, plan)
    call.streams.append(stream)
    stream.start()
    return stream


def _open(call: EmulatedCall, noun: Verb, runner: Runner, kind: Literal["start", "connect"]) -> MediaStream | None:
    try:
        callback = noun.get("statusCallback")
        return open_stream(
            call,
            StreamPlan(
                kind,
                _absolute(noun.get("url"), runner),
                noun.get("name"),
                noun.get("track", "inbound_track"),
                {child.get("name"): child.get("value") for child in noun.children},
                Callback(runner.resolve(callback), noun.get("statusCallbackMethod", "POST")) if callback else None,
            ),
        )
    except StreamRefusedError as exc:
        call.journal.error(exc.code, f"Stream: {exc}")
    except FetchError as exc:
        call.journal.error(exc.code, f"Stream: {exc.message}")
    return None


def _absolute(url: str, runner: Runner) -> str:
    """A relative `url` belongs to the host of the document."""
    if _SCHEME.match(url.strip()) or url.startswith("//"):
        return url.strip()
    base = urlsplit(runner.resolve(url))
    return base._replace(scheme="wss").geturl()
