"""What the HTTP functions answer with: TwiML, JSON, and refusals. What is answered is decided elsewhere."""

from typing import TYPE_CHECKING, Any

from flask import Request, Response, json

if TYPE_CHECKING:
    from callbot.trigger import Problem


def misplaced(request: Request, path: str, method: str) -> Response | None:
    """The refusal of a request that is not for the function at `path`, or not made by this method."""
    # Alone, a function is served at the root of its own address; together, each is mounted at its name.
    if request.path not in ("", "/", path):
        return error(404, "not found")
    if request.method != method:
        return error(405, "method not allowed", Allow=method)
    return None


def xml(document: str) -> Response:
    return Response(document, content_type="text/xml; charset=utf-8")


def last_words() -> Response:
    """An apology and the end of the call, when nothing better can be said."""
    from callbot import twiml  # here, because most answers are documents already, or none

    return xml(twiml.last_words())


def as_json(body: Any, status: int, **headers: str) -> Response:
    text = json.dumps(body, ensure_ascii=False) + "\n"
    return Response(text, status, headers, content_type="application/json; charset=utf-8")


def error(status: int, said: str, **headers: str) -> Response:
    # Streamed, because the framework would read a request to its end before any other answer, however long it is.
    body = (json.dumps({"error": said}) + "\n").encode()
    return Response(iter([body]), status, headers, content_type="application/json; charset=utf-8")


def invalid(*problems: "Problem") -> Response:
    listed = [{"field": one.field, "problem": one.problem} for one in problems]
    return as_json({"error": "invalid request", "problems": listed}, 400)
