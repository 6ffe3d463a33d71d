"""The HTTP functions' entry points: verify, translate, call the core, render. No decision about a call is made here.

Each is deployed on its own and answers at `/` and at its own name. Nothing is built before the first request needs it.
"""

import functools
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import functions_framework
from flask import Request, Response, json
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from callbot import access, answering, callbacks, continuing, failures, logs, trigger, views, webhooks
from callbot import twiml as documents
from callbot.agents import Agents
from callbot.calls import EngineName
from callbot.errors import ConfigError, RefusedError, StoreError
from callbot.outgoing import Answer, Dialler
from callbot.settings import Part, Settings
from callbot.store import CallStore, open_store
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
def rest() -> TwilioRest:
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

    def go_on(webhook: Webhook) -> Response:
        return _xml(continuing.go_on(webhook, settings=settings(), agents=agents(), store=store, now=_now))

    def apologise(webhook: Webhook) -> Response:
        return _xml(continuing.after_a_mistake(webhook, settings=settings(), agents=agents(), now=_now()))

    return _webhook(request, "/call-flow", go_on, apologise)


@functions_framework.http
def call_events(request: Request) -> Response:
    """Twilio's callbacks about a call."""

    def take(webhook: Webhook) -> Response:
        desk = callbacks.Desk(settings(), agents(), store(), rest, _now)
        callbacks.safely(desk.take, webhook)
        return Response(status=204)

    return _webhook(request, "/call-events", take, lambda _: Response(status=204))


# -- operators' endpoints ----------------------------------------------------------------------------------------------


@functions_framework.http
def outgoing_call(request: Request) -> Response:
    """The trigger: asks for an outbound call."""
    if refusal := _misplaced(request, "/outgoing-call", "POST"):
        return refusal
    try:
        return _place(request)
    except Exception:
        logs.event(log, "request failed", call_sid="", severity="ERROR", stack=True, path="/outgoing-call")
        return _error(500, "something went wrong here")


@functions_framework.http
def calls(request: Request) -> Response:
    """The list of calls, and one call with its turns."""
    place = views.PLACE.fullmatch(request.path)
    if place is None:
        return _error(404, "not found")
    if request.method not in ("GET", "HEAD"):
        return _error(405, "method not allowed", Allow="GET, HEAD")
    try:
        return _shown(request, place[1] or "")
    except StoreError as exc:
        failures.store_down(log, exc)
        return _error(503, "the call store could not be reached")
    except Exception:
        logs.event(log, "request failed", call_sid="", severity="ERROR", stack=True, path="/calls")
        return _error(500, "something went wrong here")


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
    request: Request, path: str, act: Callable[[Webhook], Response], apologise: Callable[[Webhook], Response]
) -> Response:
    if refusal := _misplaced(request, path, "POST"):
        return refusal
    try:
        _trace(request)
        webhook = webhooks.verified(request, path.removeprefix("/"), settings())
    except RefusedError as exc:
        logs.event(log, "webhook refused", call_sid="", severity="WARNING", path=path, reason=str(exc))
        return _error(403, "forbidden")
    except Exception:
        _mistake("check", path)
        return _xml(documents.last_words())
    try:
        return act(webhook)
    except Exception:
        _mistake("act", path, webhook.call_sid)
    try:
        return apologise(webhook)
    except Exception:
        _mistake("apology", path, webhook.call_sid)
        return _xml(documents.last_words())


def _mistake(step: str, path: str, call_sid: str = "") -> None:
    """Tell the log of the exception being handled, which is a mistake of ours."""
    logs.event(log, "webhook failed", call_sid=call_sid, severity="ERROR", stack=True, path=path, step=step)


def _answer(engine: EngineName | None) -> Callable[[Webhook], Response]:
    def answer(webhook: Webhook) -> Response:
        return _xml(answering.answer(webhook, engine, settings=settings(), agents=agents(), store=store, now=_now()))

    return answer


def _goodbye(_: Webhook) -> Response:
    agent = agents().default
    return _xml(documents.hang_up(agent, (agent.apology, agent.closing)))


def _place(request: Request) -> Response:
    _trace(request)
    if reason := access.refusal(request, settings()):
        return _stranger("/outgoing-call", reason, "Bearer")
    request.max_content_length = trigger.MAX_BODY
    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        return _error(413, f"the body is over {trigger.MAX_BODY} bytes")
    if not request.is_json:
        return _invalid(trigger.Problem("", "must be sent with Content-Type: application/json"))
    try:
        wanted = trigger.read(body, request.headers.get("Idempotency-Key"), settings(), agents())
    except trigger.InvalidRequestError as exc:
        return _invalid(*exc.problems)
    except trigger.ForbiddenError as exc:
        access.log_refusal("/outgoing-call", 403, "forbidden number")
        return _error(403, f"phoneNumber: {exc}")
    try:
        dialler = Dialler(settings(), agents(), store(), rest(), _now)
    except (StoreError, ConfigError) as exc:
        failures.store_down(log, exc)
        return _error(503, "the request could not be stored, so nothing was dialled")
    return _answered(dialler.place(wanted))


def _stranger(path: str, reason: str, scheme: str) -> Response:
    access.log_refusal(path, 401, reason)
    return _error(401, access.NEEDED[settings().trigger_auth], **{"WWW-Authenticate": scheme})


def _answered(answer: Answer) -> Response:
    headers = {} if answer.retry_after is None else {"Retry-After": str(answer.retry_after)}
    return _json(answer.body, answer.status, **headers)


def _shown(request: Request, sid: str) -> Response:
    is_page = views.wants_page(request)
    _trace(request)
    if reason := access.refusal(request, settings(), as_password=True):
        takes_password = is_page and settings().trigger_auth == "key"
        return _stranger("/calls", reason, 'Basic realm="calls", charset="UTF-8"' if takes_password else "Bearer")
    root = views.root(request, settings().functions_url)
    if sid:
        shown: Any = views.detail_page(store(), sid, root) if is_page else views.detail(store(), sid)
        if shown is None:
            return _error(404, "there is no such call")
    else:
        try:
            query = views.Query.read(request)
        except views.BadQueryError as exc:
            return _error(400, str(exc))
        shown = views.listing_page(store(), query, root) if is_page else views.listing(store(), query)
    response = (
        Response(shown, content_type="text/html; charset=utf-8", headers=views.PAGE_HEADERS)
        if is_page
        else _json(shown, 200)
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept, Authorization"
    return response


def _misplaced(request: Request, path: str, method: str) -> Response | None:
    # Alone, a function is served at the root of its own address; together, each is mounted at its name.
    if request.path not in ("", "/", path):
        return _error(404, "not found")
    if request.method != method:
        return _error(405, "method not allowed", Allow=method)
    return None


def _xml(document: str) -> Response:
    return Response(document, content_type="text/xml; charset=utf-8")


def _json(body: Any, status: int, **headers: str) -> Response:
    text = json.dumps(body, ensure_ascii=False) + "\n"
    return Response(text, status, headers, content_type="application/json; charset=utf-8")


def _error(status: int, error: str, **headers: str) -> Response:
    # Streamed, because the framework would read a request to its end before any other answer, however long it is.
    body = (json.dumps({"error": error}) + "\n").encode()
    return Response(iter([body]), status, headers, content_type="application/json; charset=utf-8")


def _invalid(*problems: trigger.Problem) -> Response:
    listed = [{"field": one.field, "problem": one.problem} for one in problems]
    return _json({"error": "invalid request", "problems": listed}, 400)


def _trace(request: Request) -> None:
    kind, _, address = settings().call_store.partition(":")
    project = address.partition("/")[0] if kind == "firestore" else ""
    headers = {name: request.headers.get(name, "") for name in ("X-Cloud-Trace-Context", "traceparent")}
    logs.trace_from(headers, project)


def _now() -> datetime:
    return datetime.now(UTC)


if os.environ.get("FUNCTION_TARGET"):
    # Started to serve: what is wrong with the settings or the agents is said now, all of it, and not to a caller.
    logs.configure(settings().log_level)
    logs.protect(*settings().twilio_auth_tokens, *settings().trigger_keys, settings().stream_ticket_secret)
    agents()
