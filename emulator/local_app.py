"""The whole product behind one port: the stream service's app with every function mounted at its local path.

For gunicorn: `emulator.local_app:create_app()`, or `create_functions_app()` for the functions by themselves. Where
requests lead is decided here; what answers them is the product's own, each function as functions-framework serves it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import functions_framework
from flask import Flask, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.dispatcher import DispatcherMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SOURCE = Path(__file__).parents[1] / "functions" / "main.py"
# A function's name is its path on the local server.
ENTRY_POINTS = ("twiml", "incoming_call", "outgoing_call", "call_flow", "call_events", "calls")


def create_app() -> Flask:
    """Functions and stream on one port. Raises ConfigError when a setting or the agents file is wrong."""
    # Imported here, so that the functions by themselves need nothing of the stream service.
    from stream_service.app import create_app as create_stream_app

    app = create_stream_app()
    _greet(app)
    return _mounted(app)


def create_functions_app() -> Flask:
    """The functions alone. Raises ConfigError when a setting or the agents file is wrong."""
    app = Flask(__name__)

    @app.get("/health")
    def health() -> ResponseReturnValue:
        return jsonify(status="ok")

    @app.errorhandler(HTTPException)
    def in_json(error: HTTPException) -> ResponseReturnValue:
        headers = dict(error.get_headers())
        del headers["Content-Type"]  # a 405 has to say what is allowed
        return jsonify(error=error.name.lower()), error.code or 500, headers

    _greet(app)
    return _mounted(app)


def _greet(app: Flask) -> None:
    @app.get("/")
    def alive() -> ResponseReturnValue:
        return jsonify(service="callbot", status="ok")


def _mounted(app: Flask) -> Flask:
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, _functions())  # type: ignore[method-assign]  # Flask's own advice
    return app


def _functions() -> dict[str, "WSGIApplication"]:
    """Each function as a WSGI app of its own, with its own copy of `main`: they share as little as when deployed."""
    return {f"/{name.replace('_', '-')}": _rooted(_framework_app(name)) for name in ENTRY_POINTS}


def _framework_app(target: str) -> "WSGIApplication":
    app: WSGIApplication = functions_framework.create_app(target, str(SOURCE))  # type: ignore[no-untyped-call]  # no types
    return app


def _rooted(app: "WSGIApplication") -> "WSGIApplication":
    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        # Flask redirects a request for the mount itself to the mount with a slash, and Twilio would sign that.
        environ["PATH_INFO"] = environ["PATH_INFO"] or "/"
        return app(environ, start_response)

    return serve
