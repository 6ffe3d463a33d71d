"""A WebSocket route whose socket goes to the pump, served by the tests under werkzeug and under gunicorn."""

import gc
import threading
from collections.abc import Callable
from typing import Any

from flask import Flask, jsonify, request
from flask_sock import Sock
from gunicorn.workers.gthread import ThreadWorker

from stream_service.handshake import NoReaderThread, strip_extensions, take_over
from stream_service.pump import Limits, Link, Lost, Pump
from stream_service.wire.frames import Binary, Text


def create_app() -> Flask:
    """Says "hello", echoes, closes or aborts when told to. It starts a pump: make it after the fork."""
    app = Flask(__name__)
    app.config["SOCK_SERVER_OPTIONS"] = {"thread_class": NoReaderThread}
    sock = Sock(app)
    pump = Pump()
    pump.start()
    app.extensions["pump"] = pump

    @app.before_request
    def before_handshake() -> None:
        strip_extensions(request.environ)

    @sock.route("/ws")  # type: ignore[untyped-decorator]  # flask-sock has no types
    def ws_route(ws: Any) -> None:
        ended = threading.Event()
        link: Link

        def on_message(message: Text | Binary) -> None:
            orders: dict[bytes, Callable[[], None]] = {b"close": link.close, b"abort": link.abort}
            orders.get(message.data, lambda: link.send_text(message.data))()

        def on_lost(_: Lost) -> None:
            ended.set()

        link = pump.adopt(
            take_over(ws),
            name="caller",
            server=True,
            limits=Limits(),
            on_message=on_message,
            on_lost=on_lost,
            held=True,
        )
        link.release()  # on_message needs the link
        link.send_text("hello")
        ended.wait(20)

    @app.get("/state")
    def state() -> Any:
        threads = [thread.name for thread in threading.enumerate()]
        workers = [found for found in gc.get_objects() if isinstance(found, ThreadWorker)]
        return jsonify(threads=threads, connections=[worker.nr_conns for worker in workers])

    return app
