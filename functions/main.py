"""The HTTP functions' entry points: verify, translate, call the core, render. No decision about a call is made here.

Each is deployed on its own and answers at `/` and at its own name. Nothing is built before the first request needs it,
and nothing is imported that only the other functions need: a caller may be waiting for a process that starts.
"""

import functools
import importlib
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import functions_framework
from flask import Request, Response
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from callbot import failures, loading, logs, replies
from callbot.agents import Agents
from callbot.calls import EngineName
from callbot.errors import ConfigError, RefusedError, StoreError
from callbot.settings import Part, Settings
from callbot.store import CallStore, open_store, preload

if TYPE_CHECKING:
    from callbot.outgoing import Answer
    from callbot.twilio_rest import TwilioRest
    from callbot.webhooks import Webhook

log = logging.getLogger("callbot.functions")


# -- what is built once and kept while this instance is warm -----------------------------------------------------------


@functools.cache
def settings() -> Settings:
    return Settings.read(os.environ, Part.FUNCTIONS)


@functools.cache
def agents() -> Agents:
    return Agents.load(settings().agents_file or None)


@functools.cache
def store() -> CallStore:
    return open_store(settings().call_store)


@functools.cache
def rest() -> "TwilioRest":
    from callbot.twilio_rest import TwilioRest

    return TwilioRest(settings())


# -- Twilio's webhooks -------------------------------------------------------------------------------------------------


@functions_framework.http
def twiml(request: Request) -> Response:
    """An inbound call on the `amivoice` engine."""
    return _webhook(request, "/twiml", _answer("amivoice"), _goodbye)


@functions_framework.http
def incoming_call(request: Request) -> Response:
    """An inbound call, or the answered leg of an outbound one, on the agent's engine."""
    return _webhook(request, "/incoming-call", _answer(None), _goodbye)


@functions_framework.http
def call_flow(request: Request) -> Response:
    """What a call does next."""
    from callbot import continuing

    def go_on(webhook: "Webhook") -> Response:
        return replies.xml(continuing.go_on(webhook, settings=settings(), agents=agents(), store=store, now=_now))

    def apologise(webhook: "Webhook") -> Response:
        return replies.xml(continuing.after_a_mistake(webhook, settings=settings(), agents=agents(), now=_now()))

    return _webhook(request, "/call-flow", go_on, apologise)


@functions_framework.http
def call_events(request: Request) -> Response:
    """Twilio's callbacks about a call."""
    from callbot import callbacks

    def take(webhook: "Webhook") -> Response:
        desk = callbacks.Desk(settings(), agents(), store(), rest, _now)
        callbacks.safely(desk.take, webhook)
        return Response(status=204)

    return _webhook(request, "/call-events", take, lambda _: Response(status=204))


# -- operators' endpoints ----------------------------------------------------------------------------------------------


@functions_framework.http
def outgoing_call(request: Request) -> Response:
    """The trigger: asks for an outbound call."""
    if refusal := replies.misplaced(request, "/outgoing-call", "POST"):
        return refusal
    try:
        return _place(request)
    except Exception:
        logs.event(log, "request failed", call_sid="", severity="ERROR", stack=True, path="/outgoing-call")
        return replies.error(500, "something went wrong here")


@functions_framework.http
def calls(request: Request) -> Response:
    """The list of calls, and one call with its turns."""
    from callbot import views

    place = views.PLACE.fullmatch(request.path)
    if place is None:
        return replies.error(404, "not found")
    if request.method not in ("GET", "HEAD"):
        return replies.error(405, "method not allowed", Allow="GET, HEAD")
    try:
        return _shown(request, place[1] or "")
    except StoreError as exc:
        failures.store_down(log, exc)
        return replies.error(503, "the call store could not be reached")
    except Exception:
        logs.event(log, "request failed", call_sid="", severity="ERROR", stack=True, path="/calls")
        return replies.error(500, "something went wrong here")


FUNCTIONS: Mapping[str, Callable[[Request], ResponseReturnValue]] = {
    "/twiml": twiml,
    "/incoming-call": incoming_call,
    "/outgoing-call": outgoing_call,
    "/call-flow": call_flow,
    "/call-events": call_events,
    "/calls": calls,
}


# -- how ---------------------------------------------------------------------------------------------------------------


def _webhook(
    request: Request, path: str, act: Callable[["Webhook"], Response], apologise: Callable[["Webhook"], Response]
) -> Response:
    from callbot import webhooks

    if refusal := replies.misplaced(request, path, "POST"):
        return refusal
    try:
        _trace(request)
        webhook = webhooks.verified(request, path.removeprefix("/"), settings())
    except RefusedError as exc:
        logs.event(log, "webhook refused", call_sid="", severity="WARNING", path=path, reason=str(exc))
        return replies.error(403, "forbidden")
    except Exception:
        _mistake("check", path)
        return replies.last_words()
    try:
        return act(webhook)
    except Exception:
        _mistake("act", path, webhook.call_sid)
    try:
        return apologise(webhook)
    except Exception:
        _mistake("apology", path, webhook.call_sid)
        return replies.last_words()


def _mistake(step: str, path: str, call_sid: str = "") -> None:
    """Tell the log of the exception being handled, which is a mistake of ours."""
    logs.event(log, "webhook failed", call_sid=call_sid, severity="ERROR", stack=True, path=path, step=step)


def _answer(engine: EngineName | None) -> Callable[["Webhook"], Response]:
    from callbot import answering

    def answer(webhook: "Webhook") -> Response:
        document = answering.answer(webhook, engine, settings=settings(), agents=agents(), store=store, now=_now())
        return replies.xml(document)

    return answer


def _goodbye(_: "Webhook") -> Response:
    from callbot import twiml as documents

    agent = agents().default
    return replies.xml(documents.hang_up(agent, (agent.apology, agent.closing)))


def _place(request: Request) -> Response:
    from callbot import access, trigger
    from callbot.outgoing import Dialler

    _trace(request)
    if reason := access.refusal(request, settings()):
        return _stranger("/outgoing-call", reason, "Bearer")
    request.max_content_length = trigger.MAX_BODY
    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        return replies.error(413, f"the body is over {trigger.MAX_BODY} bytes")
    if not request.is_json:
        return replies.invalid(trigger.Problem("", "must be sent with Content-Type: application/json"))
    try:
        wanted = trigger.read(body, request.headers.get("Idempotency-Key"), settings(), agents())
    except trigger.InvalidRequestError as exc:
        return replies.invalid(*exc.problems)
    except trigger.ForbiddenError as exc:
        access.log_refusal("/outgoing-call", 403, "forbidden number")
        return replies.error(403, f"phoneNumber: {exc}")
    try:
        dialler = Dialler(settings(), agents(), store(), rest(), _now)
    except (StoreError, ConfigError) as exc:
        failures.store_down(log, exc)
        return replies.error(503, "the request could not be stored, so nothing was dialled")
    return _answered(dialler.place(wanted))


def _stranger(path: str, reason: str, scheme: str) -> Response:
    from callbot import access

    access.log_refusal(path, 401, reason)
    return replies.error(401, access.NEEDED[settings().trigger_auth], **{"WWW-Authenticate": scheme})


def _answered(answer: "Answer") -> Response:
    headers = {} if answer.retry_after is None else {"Retry-After": str(answer.retry_after)}
    return replies.as_json(answer.body, answer.status, **headers)


def _shown(request: Request, sid: str) -> Response:
    from callbot import access, views

    is_page = views.wants_page(request)
    _trace(request)
    if reason := access.refusal(request, settings(), as_password=True):
        takes_password = is_page and settings().trigger_auth == "key"
        return _stranger("/calls", reason, 'Basic realm="calls", charset="UTF-8"' if takes_password else "Bearer")
    root = views.root(request, settings().functions_url)
    if sid:
        shown: Any = views.detail_page(store(), sid, root) if is_page else views.detail(store(), sid)
        if shown is None:
            return replies.error(404, "there is no such call")
    else:
        try:
            query = views.Query.read(request)
        except views.BadQueryError as exc:
            return replies.error(400, str(exc))
        shown = views.listing_page(store(), query, root) if is_page else views.listing(store(), query)
    response = (
        Response(shown, content_type="text/html; charset=utf-8", headers=views.PAGE_HEADERS)
        if is_page
        else replies.as_json(shown, 200)
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept, Authorization"
    return response


def _trace(request: Request) -> None:
    kind, _, address = settings().call_store.partition(":")
    project = address.partition("/")[0] if kind == "firestore" else ""
    headers = {name: request.headers.get(name, "") for name in ("X-Cloud-Trace-Context", "traceparent")}
    logs.trace_from(headers, project)


def _now() -> datetime:
    return datetime.now(UTC)


# What the first request of each will need.
_OWN = {
    "twiml": ("answering", "documents"),
    "incoming_call": ("answering", "documents"),
    "call_flow": ("continuing",),
    "call_events": ("callbacks",),
    "outgoing_call": ("outgoing",),
    "calls": ("access", "views"),
}

if target := os.environ.get("FUNCTION_TARGET"):
    # Started to serve: what is wrong with the settings or the agents is said now, all of it, and not to a caller.
    logs.configure(settings().log_level)
    logs.protect(*settings().twilio_auth_tokens, *settings().trigger_keys, settings().stream_ticket_secret)
    with loading.undisturbed():
        agents()
        preload(settings().call_store)  # before gunicorn forks: afterwards all that it touches would have to be copied
        for module in _OWN.get(target, ()):
            importlib.import_module(f"callbot.{module}")
