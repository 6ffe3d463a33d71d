"""The REST API over HTTP: the server, who may use it, how errors look. What is asked is answered in `rest_calls`,
`rest_numbers` and `control`.

Source: Twilio, "REST API: requests to Twilio"; error dictionary. Reached by pointing the client's base URL here.
"""

from __future__ import annotations

import hmac
import socket
import threading
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from emulator.twilio import control, rest_calls, rest_numbers
from emulator.twilio.rest_errors import RestError, not_found

if TYPE_CHECKING:
    from emulator.twilio.carrier import Carrier

LARGEST_REQUEST = 32 * 1024 * 1024  # speech comes in through `/emulator/calls`
_STOP_LIMIT = 5.0


class _QuietHandler(WSGIRequestHandler):
    """No access log: query strings hold telephone numbers."""

    def log_request(self, *_: object) -> None:
        return

    def log(self, *_: object) -> None:
        return


class RestServer:
    """Bound to 127.0.0.1 from the beginning, so that its URL is known; serves between `start` and `stop`."""

    def __init__(self, carrier: Carrier, port: int) -> None:
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1", port, make_app(carrier), threaded=True, request_handler=_QuietHandler
        )
        # A request that hangs must not keep the process alive.
        self._server.daemon_threads = True  # type: ignore[attr-defined]  # the threaded variant, not in the stubs
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},  # how long `stop` may take to be noticed, in seconds
            name="carrier rest",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        if self._thread:
            self._server.shutdown()
            self._thread.join(_STOP_LIMIT)
            self._thread = None
        self._server.server_close()


def make_app(carrier: Carrier) -> Flask:
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_REQUEST
    app.config["MAX_FORM_MEMORY_SIZE"] = LARGEST_REQUEST

    @app.before_request
    def admit() -> None:
        if not request.path.startswith("/2010-04-01/"):
            return
        user = request.authorization
        known = (
            user is not None
            and user.type == "basic"
            and hmac.compare_digest((user.username or "").encode(), carrier.account_sid.encode())
            and hmac.compare_digest((user.password or "").encode(), carrier.auth_token.encode())
        )
        if not known:
            raise RestError(401, 20003, "Authenticate")
        if carrier.faults.rest_429_times > 0:
            carrier.faults.rest_429_times -= 1
            raise RestError(429, 20429, "Too many concurrent requests")
        if g.get("account", carrier.account_sid) != carrier.account_sid:
            raise not_found(request.path)

    @app.url_value_preprocessor
    def take_account(_endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.account = (values or {}).pop("account", carrier.account_sid)  # the same for every route

    @app.errorhandler(RestError)
    def refused(error: RestError) -> tuple[Response, int]:
        return jsonify(error.as_dict()), error.status

    @app.errorhandler(HTTPException)
    def unknown(error: HTTPException) -> tuple[Response, int]:
        status = error.code or 500
        code = {404: 20404, 405: 20004}.get(status, 20000 + status)
        return jsonify(RestError(status, code, error.description or error.name).as_dict()), status

    @app.after_request
    def drop(response: Response) -> Response:
        if response.headers.pop(rest_calls.DROP_ANSWER, None):
            _hang_up_on_client()
        return response

    app.register_blueprint(rest_calls.blueprint(carrier))
    app.register_blueprint(rest_numbers.blueprint(carrier))
    app.register_blueprint(control.blueprint(carrier))
    return app


def _hang_up_on_client() -> None:
    connection: Any = request.environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket):
        connection.shutdown(socket.SHUT_RDWR)
