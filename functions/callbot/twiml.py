"""Twilio's call instructions (TwiML) as documents, and the only place that builds them.

What is said and done next is decided elsewhere (`flow.py`, `answering.py`, the stream service); here it only becomes
XML that Twilio accepts: text is cleaned, nothing but the verbs below can appear, and no document runs out silently.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from twilio.twiml.voice_response import VoiceResponse

from callbot.agents import Agent
from callbot.text import clean
from callbot.tickets import PARAMETER as TICKET

MAX_BYTES = 60_000  # Twilio reads at most 64 kB of a fetched document (Twilio: error 11750)
MAX_INLINE = 4_000  # characters of a document handed over in a REST call (Twilio: Call resource, Twiml)
MAX_PARAMETER = 499  # a `<Parameter>`'s name and value together stay under 500 characters (Twilio: Stream)
MAX_PARAMETERS = 20  # keeps the document under MAX_BYTES whatever they contain
_SAY_LIMIT = 3_000  # characters of one `<Say>`; Twilio's own limit is 4096 (Twilio: error 13520)
_INLINE_TEXT = 700  # characters of one text in an inline document; escaping makes that five times as many at worst
_RING_SECONDS = 20  # how long a human is rung before the transfer counts as failed

# Everything XML 1.0 does not allow, which the SDK would write as it is and Twilio would refuse (error 12100). As a
# regular expression it would take 5 ms of every function's start to compile.
_ILLEGAL = dict.fromkeys({*range(0x20), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF} - set(map(ord, "\t\n\r")))


@dataclass(frozen=True, slots=True)
class MediaStream:
    """A media stream to open: where, in which generation, and what it is handed on `start`."""

    url: str  # wss://, without a query, which Twilio would drop
    generation: int
    ticket: str
    status_callback: str
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return stream_name(self.generation)


def stream_name(generation: int) -> str:
    """The name Twilio knows a call's stream of this generation by, and reports in its callbacks."""
    return f"g{generation}"


def generation_of(name: str) -> int:
    """The generation behind a stream's name; 0 for a name that is not ours."""
    match = re.fullmatch(r"g([0-9]{1,6})", name, re.ASCII)
    return int(match[1]) if match else 0


# -- documents handed over in a REST call as well: at most MAX_INLINE characters ---------------------------------------


def say_then_continue(agent: Agent, sentences: Sequence[str], next_url: str) -> str:
    """Speak the sentences, then ask `next_url`. Last sentences that would exceed MAX_INLINE are left out."""
    spoken = [clean(sentence, _INLINE_TEXT) for sentence in sentences]
    while True:
        response = VoiceResponse()
        _say(response, agent, spoken)
        response.redirect(_xml(next_url), method="POST")
        document = str(response)
        if len(document) <= MAX_INLINE or not spoken:
            return document
        spoken.pop()


def listen(agent: Agent, next_url: str, seconds: int | None = None) -> str:
    """Keep the line open and quiet for `seconds` (the agent's idle seconds), then ask `next_url`."""
    return say_and_listen(agent, (), next_url, seconds)


def say_and_hang_up(agent: Agent, text: str) -> str:
    """Speak the text, then end the call."""
    response = VoiceResponse()
    _say(response, agent, [clean(text, _INLINE_TEXT)])
    response.hangup()
    return str(response)


# -- answers to webhooks -----------------------------------------------------------------------------------------------


def say_and_listen(agent: Agent, sentences: Sequence[str], next_url: str, seconds: int | None = None) -> str:
    """Speak, then keep the line open for `seconds` (the agent's idle seconds), then ask `next_url`."""
    response = VoiceResponse()
    _say(response, agent, sentences)
    response.pause(length=max(1, seconds or agent.idle_seconds))
    response.redirect(_xml(next_url), method="POST")
    return _bounded(response)


def fork(
    agent: Agent,
    sentences: Sequence[str],
    stream: MediaStream,
    next_url: str,
    *,
    pause: bool = True,
    wait_first: bool = False,
    stop: str = "",
    recording_callback: str = "",
) -> str:
    """Send a copy of the caller's audio to the stream service, speak, listen, then ask `next_url`.

    `<Start>` does not block: the verbs after it run at once (Twilio: TwiML Stream). `stop` names an older stream to
    end first. Without `pause` the next step follows the words immediately. `wait_first`: the words and a second's
    pause come before the stream, because the last one could not be opened and a service that restarts needs a moment.
    """
    response = VoiceResponse()
    _stop(response, stop)
    _record(response, recording_callback)
    if wait_first:
        _say(response, agent, sentences)
        response.pause(length=1)
    _stream(response.start(), stream, track="inbound_track")
    if not wait_first:
        _say(response, agent, sentences)
    if pause:
        response.pause(length=max(1, agent.idle_seconds))
    response.redirect(_xml(next_url), method="POST")
    return _bounded(response)


def connect(
    agent: Agent,
    sentences: Sequence[str],
    stream: MediaStream,
    next_url: str,
    *,
    recording_callback: str = "",
) -> str:
    """Speak, then join caller and stream service in both directions; once the stream has ended, ask `next_url`.

    `<Connect>` blocks until the stream service closes the socket or the socket is lost (Twilio: TwiML Stream).
    """
    response = VoiceResponse()
    _record(response, recording_callback)
    _say(response, agent, sentences)
    _stream(response.connect(), stream)
    response.redirect(_xml(next_url), method="POST")
    return _bounded(response)


def dial(
    agent: Agent,
    sentences: Sequence[str],
    number: str,
    *,
    caller_id: str,
    action: str,
    stop: str = "",
) -> str:
    """Speak, then join the caller with a human; Twilio reports to `action` how that went.

    `stop` names the forked stream, which would otherwise go on listening to the two humans.
    """
    response = VoiceResponse()
    _stop(response, stop)
    _say(response, agent, sentences)
    joined = response.dial(
        action=_xml(action),
        method="POST",
        timeout=_RING_SECONDS,
        caller_id=_xml(caller_id) or None,
        answer_on_bridge=True,
    )
    joined.number(_xml(number))
    return _bounded(response)


def hang_up(agent: Agent, sentences: Sequence[str]) -> str:
    """Speak every sentence, then end the call."""
    response = VoiceResponse()
    _say(response, agent, sentences)
    response.hangup()
    return _bounded(response)


def last_words() -> str:
    """An apology and the end of the call, for when not even the agents can be read."""
    response = VoiceResponse()
    response.say(
        "申し訳ございません。ただいまお電話をお受けできません。", voice="Polly.Takumi-Neural", language="ja-JP"
    )
    response.hangup()
    return str(response)


# -- parts -------------------------------------------------------------------------------------------------------------


def _say(response: VoiceResponse, agent: Agent, sentences: Sequence[str]) -> None:
    for sentence in sentences:
        # An empty <Say> is an error to Twilio.
        if text := clean(sentence, _SAY_LIMIT):
            response.say(text, voice=agent.voice, language=agent.language)


def _stream(parent: Any, stream: MediaStream, track: str | None = None) -> None:  # the SDK's verbs are untyped
    verb = parent.stream(
        url=_xml(stream.url),
        name=stream.name,
        track=track,
        status_callback=_xml(stream.status_callback),
        status_callback_method="POST",
    )
    verb.parameter(name=TICKET, value=stream.ticket)
    for name, value in islice(stream.variables.items(), MAX_PARAMETERS):
        if len(name) + len(value) <= MAX_PARAMETER and name != TICKET:
            verb.parameter(name=_xml(name), value=_xml(value))


def _stop(response: VoiceResponse, name: str) -> None:
    if name:
        response.stop().stream(name=name)


def _record(response: VoiceResponse, callback: str) -> None:
    if callback:
        response.start().recording(
            recording_status_callback=_xml(callback),
            recording_status_callback_method="POST",
            recording_status_callback_event="completed",
        )


def _xml(text: str) -> str:
    return text.translate(_ILLEGAL)


def _bounded(response: VoiceResponse) -> str:
    """The document; its longest text is cut while the whole is over MAX_BYTES."""
    document = str(response)
    while len(document.encode()) > MAX_BYTES:
        longest = max((verb for verb in response.verbs if verb.name == "Say"), key=lambda verb: len(verb.value))
        longest.value = clean(longest.value, max(1, len(longest.value) // 2))
        document = str(response)
    return document
