"""The smoke call: before callers get to a deployed revision, the emulated Twilio rings it, with the true signatures.

What is tried, and what counts as failed, is decided here; options and printing are `cli_smoke`'s. It goes over the real
network to the real vendors, so it costs half a minute of OpenAI Realtime and leaves two calls in the records.

Engine `amivoice` is rung up to its greeting only: its answers go through Twilio's REST API, which knows no such call.
"""

import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

from callbot.addresses import function_url
from callbot.calls import EngineName
from emulator import place_call
from emulator.numbers import webhooks
from emulator.recordings import Library
from emulator.twilio import Caller, CallReport, Carrier, HangUp, Listen, Number, Speak, Step
from emulator.twilio.caller import Person
from emulator.twilio.faults import Faults
from emulator.twilio.tls import tls_for
from emulator.twilio.webhooks import Tunnels, host_asked
from emulator.vendors import CALLER_NUMBER

READY_SECONDS = 90.0  # for a service without an instance: the image is fetched, Python starts
CALL_SECONDS = 60.0  # then the caller hangs up, whatever happens
# A smoke call tells working from broken. How fast it works is the alerts' business: what has just been deployed is
# cold, and the build that rings it may be an ocean away.
LONGEST_SILENCE = 10.0
_ENDING_SECONDS = 40.0  # from the end of a call to its report: the last callbacks are delivered in it
_REQUEST_SECONDS = 15.0
_RECORD_SECONDS = 15.0
_PAUSE_SECONDS = 0.5
_ENOUGH_SECONDS = 2.0  # of the answer
_QUESTION = "opening-hours"


@dataclass(frozen=True, slots=True)
class Target:
    """A deployed system and how to get to it.

    `functions_url` and `stream_url` are the public addresses: signatures are made over them. `addresses` says where to
    go instead, for a revision without traffic: public URLs, or their beginnings, and the URLs that they stand for; one
    of the stream service holds for all of its host. `calls_token` is a bearer token for `/calls`; without one no record
    is read.
    """

    functions_url: str
    stream_url: str
    account_sid: str
    auth_token: str = field(repr=False)
    number: str
    addresses: Mapping[str, str] = field(default_factory=dict)
    calls_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried: `problems` is empty when it went well, `detail` says how it went."""

    name: str
    problems: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class HearVoice:
    """The caller waits until the bot's own voice has been heard: the whole of it, or (`seconds`) so much of it.

    A voice that comes over the stream, that is, and not what Twilio reads out: with `realtime` that comes first, and a
    model takes longer than a pause between sentences until it begins.
    """

    seconds: float | None = None
    until_quiet: float = 1.5
    max_seconds: float = 20.0

    def perform(self, person: Person) -> None:
        """Returns, too, when that takes too long: what was not heard is missing in the report."""
        ear, give_up = person.call.ear, person.call.now() + self.max_seconds
        while (now := person.call.now()) < give_up:
            if self.seconds is None:
                voices = [heard for heard in list(ear.heard) if heard.kind == "audio" and heard.end > person.since]
                if voices and now - ear.quiet_since(now) >= self.until_quiet:
                    break
            else:
                began = ear.first_sound_after(person.since, now)
                if began is not None and now - began >= self.seconds:
                    break
            person.wait(_PAUSE_SECONDS / 2)
        person.since = person.call.now()


def checks(target: Target) -> Iterator[Check]:
    """Try everything, one after the other; stops after the first check with problems that the rest would share."""
    ready = _ready(target)
    yield ready
    if ready.problems:
        return
    yield _stranger(target)
    with _carrier(target) as carrier:
        yield _impostor(carrier, target)
        talked, sid = _conversation(carrier, target)
        yield talked
        if not talked.problems and target.calls_token:
            yield _recorded(target, sid)
        yield _greeting(carrier, target)


# -- what is tried -----------------------------------------------------------------------------------------------------


def _ready(target: Target) -> Check:
    """Starts an instance, too: a stream's handshake does not wait as long as a cold start may take."""
    name, url = "the stream service is ready", _located(_health(target.stream_url), target)
    began = time.monotonic()
    problem = "nobody answers"
    while (passed := time.monotonic() - began) < READY_SECONDS:
        try:
            status = _get(url, timeout=min(_REQUEST_SECONDS, READY_SECONDS - passed)).status_code
        except requests.RequestException as exc:
            problem = f"no answer ({type(exc).__name__})"
        else:
            if status == 200:
                return Check(name, detail=f"{time.monotonic() - began:.1f} s")
            problem = f"/health answers {status}"
        time.sleep(_PAUSE_SECONDS)
    return Check(name, (f"{problem}, for {READY_SECONDS:g} s",))


def _stranger(target: Target) -> Check:
    """Nobody but Twilio may open a stream (setting STREAM_SIGNATURE=required)."""
    name = "a stream without a signature is refused"
    address = urlsplit(_located(target.stream_url, target).replace("http", "ws", 1))
    # Asked by the name that Twilio's request would bear, wherever it is.
    url = address._replace(netloc=host_asked(target.stream_url, address.geturl())).geturl()
    try:
        port = address.port or (443 if address.scheme == "wss" else 80)
        plain = socket.create_connection((address.hostname or "", port), _REQUEST_SECONDS)
        tls = tls_for(address.scheme)
        connect(url, sock=plain, ssl=tls, open_timeout=_REQUEST_SECONDS, proxy=None, compression=None).close()
    except InvalidStatus as exc:
        status = exc.response.status_code
        return Check(name) if status == 403 else Check(name, (f"it is answered with {status}",))
    except (InvalidHandshake, OSError, EOFError) as exc:
        return Check(name, (f"the handshake failed otherwise ({type(exc).__name__})",))
    return Check(name, ("it was let in",))


def _impostor(carrier: Carrier, target: Target) -> Check:
    """A caller whose carrier has another token: every function that Twilio asks turns it away."""
    carrier.faults.signature = "wrong"
    try:
        report = _ring(carrier, target, "realtime", HangUp())
    except TimeoutError as exc:
        return Check("webhooks with a wrong signature are refused", (str(exc),))
    finally:
        carrier.faults.signature = "right"
    asked = {_path(url): status for _, url, _, status in report.webhooks}
    let_in = tuple(f"{path} answers {status or 'nothing'}" for path, status in asked.items() if status != 403)
    if not asked:
        let_in = ("no webhook was asked",)
    return Check("webhooks with a wrong signature are refused", let_in, ", ".join(sorted(asked)))


def _conversation(carrier: Carrier, target: Target) -> tuple[Check, str]:
    """The whole way of a call, with both directions of audio; the second value is its SID."""
    name = "realtime: a question is answered"
    question = Library.shipped()[_QUESTION]
    script = (HearVoice(), Speak(question.ulaw, question.text), HearVoice(_ENOUGH_SECONDS), HangUp())
    try:
        report = _ring(carrier, target, "realtime", *script)
    except TimeoutError as exc:
        return Check(name, (str(exc),)), ""
    problems = _problems(report)
    voices = [heard.start for heard in report.heard if heard.kind == "audio"]
    if not voices:
        problems.append("the agent's voice was never heard")
    elif not any(start >= said.end for said in report.said for start in voices):
        problems.append("the question was not answered by it")
    answered = "".join(f", answer after {turn.latency:.1f} s" for turn in report.turns)
    return Check(name, tuple(problems), f"call of {report.duration:.0f} s{answered}"), report.sid


def _greeting(carrier: Carrier, target: Target) -> Check:
    """Who rings the other engine and hangs up after its greeting."""
    name = "amivoice: the greeting is heard"
    try:
        report = _ring(carrier, target, "amivoice", Listen(), HangUp())
    except TimeoutError as exc:
        return Check(name, (str(exc),))
    problems = _problems(report)
    if not any(heard.kind == "say" for heard in report.heard):
        problems.append("no greeting was heard")
    return Check(name, tuple(problems), f"call of {report.duration:.0f} s")


def _recorded(target: Target, sid: str) -> Check:
    """The call is in the records, and it is over there too."""
    name = "the call is in the records"
    url = _located(f"{function_url(target.functions_url, 'calls')}/{sid}", target)
    headers = {"Authorization": f"Bearer {target.calls_token}", "Accept": "application/json"}
    ends_at = time.monotonic() + _RECORD_SECONDS
    problem = ""
    while time.monotonic() < ends_at:
        try:
            answer = _get(url, timeout=_REQUEST_SECONDS, headers=headers)
            found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        except (requests.RequestException, ValueError) as exc:
            problem = f"they could not be read ({type(exc).__name__})"
        else:
            problem = f"they answer {answer.status_code}" if not found else f"there it is {found.get('status')}"
            if found.get("status") == "completed":
                return Check(name, detail=str(found.get("endReason")))
        time.sleep(_PAUSE_SECONDS)
    return Check(name, (problem,))


# -- how ---------------------------------------------------------------------------------------------------------------


def _carrier(target: Target) -> Carrier:
    return Carrier(
        account_sid=target.account_sid,
        auth_token=target.auth_token,
        numbers={},
        tunnels=_tunnels(target),
        faults=Faults(),
    )


def _ring(carrier: Carrier, target: Target, engine: EngineName, *script: Step) -> CallReport:
    """One inbound call, to its report. Raises TimeoutError."""
    where = webhooks(target.functions_url, engine)
    carrier.numbers[target.number] = Number(
        where.voice_url, status_callback=where.status_callback, fallback_url=where.voice_fallback_url
    )
    caller = Caller(script, max_seconds=CALL_SECONDS)
    call = carrier.dial(to=target.number, from_=CALLER_NUMBER, caller=caller)
    return call.wait(CALL_SECONDS + _ENDING_SECONDS)


def _problems(report: CallReport) -> list[str]:
    found = [problem for problem in place_call.problems(report.as_dict(), None) if "left waiting" not in problem]
    if report.longest_unexplained_silence > LONGEST_SILENCE:
        found.append(f"the caller was left waiting for {report.longest_unexplained_silence:.1f} s")
    if report.ended_by != "caller":
        found.append(f"the call was not ended by the caller but by the {report.ended_by}")
    found += [
        f"{_path(url)} answered {status or 'nothing'}"
        for _, url, _, status in report.webhooks
        if not status or status >= 400
    ]
    if not any(stream.started is not None for stream in report.streams):
        found.append("no stream was opened")
    return found


def _tunnels(target: Target) -> dict[str, str]:
    # What has no other address is where it says it is.
    public = {urlsplit(url).netloc for url in (target.functions_url, target.stream_url)}
    found = {host: f"https://{host}" for host in public}
    for url, instead in target.addresses.items():
        parts, candidate = urlsplit(url), urlsplit(instead)
        if parts.scheme in ("ws", "wss"):
            found[parts.netloc] = candidate._replace(scheme=_web(candidate.scheme), path="").geturl()
        else:
            found[url] = instead
    return found


def _located(url: str, target: Target) -> str:
    return Tunnels(_tunnels(target)).locate(url)


def _health(stream_url: str) -> str:
    parts = urlsplit(stream_url)
    return parts._replace(scheme=_web(parts.scheme), path="/health").geturl()


def _web(scheme: str) -> str:
    """The scheme of requests where that of WebSockets is given."""
    return {"ws": "http", "wss": "https"}.get(scheme, scheme)


def _get(url: str, *, timeout: float, headers: Mapping[str, str] | None = None) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=timeout, headers=headers, allow_redirects=False)


def _path(url: str) -> str:
    return urlsplit(url).path
