"""The stream service's HTTP side: the handshake of `/ws`, and `/health`. Entry point for gunicorn.

A handshake is refused here, before the upgrade: once flask-sock's route runs, the 101 has been sent.
"""

import logging
import os
from collections.abc import Mapping

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from flask_sock import Sock
from simple_websocket import Server
from simple_websocket.errors import ConnectionClosed
from twilio.request_validator import HMAC_SHA1, RequestValidator
from werkzeug.exceptions import HTTPException

from callbot import logs
from callbot.settings import Part, Settings
from stream_service.handshake import NoReaderThread, strip_extensions, take_over
from stream_service.reception import receive
from stream_service.services import Services

log = logging.getLogger(__name__)

SERVICES = "callbot.services"
_SIGNATURE = "X-Twilio-Signature"


def create_app(env: Mapping[str, str] | None = None, services: Services | None = None) -> Flask:
    """The service, with its threads running. Raises ConfigError when a setting or the agents file is wrong."""
    if services is None:
        settings = Settings.read(os.environ if env is None else env, Part.STREAM)
        logs.configure(settings.log_level)
        services = Services(settings)
    app = Flask(__name__)
    app.config["SOCK_SERVER_OPTIONS"] = {"thread_class": NoReaderThread}
    app.extensions[SERVICES] = services
    shared = services

    @app.get("/health")
    def health() -> ResponseReturnValue:
        if shared.live.draining:
            return jsonify(status="stopping"), 503
        answer = jsonify(status="ok", calls=len(shared.live))
        # Whoever asks starts this instance, or is about to have a call sent here; the answer leaves first.
        answer.call_on_close(shared.load_soon)
        return answer

    @app.before_request
    def guard() -> ResponseReturnValue | None:
        if request.path != "/ws":
            return None
        strip_extensions(request.environ)
        return _refusal(shared)

    @app.errorhandler(HTTPException)
    def in_json(error: HTTPException) -> ResponseReturnValue:
        headers = dict(error.get_headers())
        del headers["Content-Type"]  # a 405 has to say what is allowed
        return jsonify(error=error.name.lower()), error.code or 500, headers

    sock = Sock(app)

    @sock.route("/ws")  # type: ignore[untyped-decorator]  # flask-sock has no types
    def media_stream(ws: Server) -> None:
        try:
            taken = take_over(ws)
        except ConnectionClosed:
            return
        receive(taken, shared)

    return app


def _refusal(services: Services) -> ResponseReturnValue | None:
    """Why this handshake is refused, as a response; None when it may go on."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        return jsonify(error="a WebSocket is expected here"), 426
    if services.live.draining or services.live.full:
        _log_refusal("stopping" if services.live.draining else "no capacity")
        return jsonify(error="no capacity"), 503
    if not _is_signed(request.headers.getlist(_SIGNATURE), services.settings):
        _log_refusal("signature")
        return jsonify(error="forbidden"), 403
    return None


def _log_refusal(reason: str) -> None:
    logs.event(log, "handshake refused", call_sid="", severity="WARNING", reason=reason)


def _is_signed(signatures: list[str], settings: Settings) -> bool:
    if not signatures:
        return settings.stream_signature == "checked"
    if len(signatures) != 1:
        return False
    # Twilio signs the URL of the TwiML without parameters; some of its paths add a slash.
    urls = (settings.stream_url, settings.stream_url.rstrip("/") + "/")
    return any(
        RequestValidator(token).validate(url, {}, signatures[0], HMAC_SHA1)
        for token in settings.twilio_auth_tokens
        for url in urls
    )
