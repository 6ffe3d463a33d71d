"""How gunicorn runs the stream service: one worker, a thread for each call and a few more, and a polite SIGTERM.

gunicorn by itself tells a WebSocket's handler nothing on SIGTERM, and Cloud Run kills after 10 s; so the hook below has
every call handed over at once, and the worker leaves within `graceful_timeout`.
"""

import gc
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from callbot.settings import Settings
from stream_service.app import SERVICES

_settings = Settings.read(os.environ)

bind = f"0.0.0.0:{_settings.port}"
worker_class = "gthread"
workers = 1
threads = _settings.stream_concurrency + 8
worker_connections = 2 * threads
timeout = 0
graceful_timeout = 6
keepalive = 5
control_socket_disable = True
accesslog = None
loglevel = "warning"


def post_worker_init(worker: Any) -> None:
    """Have SIGTERM hand the calls over before gunicorn stops, and keep pauses short."""
    # The pump must not wait 5 ms (Python's default) for the interpreter whenever a call's thread is at work.
    sys.setswitchinterval(0.0005)
    # Nor for a collection of garbage that looks at what stays until the end anyway.
    gc.freeze()
    services = worker.wsgi.extensions[SERVICES]
    stop_gunicorn = signal.getsignal(signal.SIGTERM)

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        # A signal handler must not wait for a lock that the interrupted code may hold.
        threading.Thread(target=services.live.drain, name="drain").start()
        if callable(stop_gunicorn):
            stop_gunicorn(number, frame)

    signal.signal(signal.SIGTERM, on_sigterm)


def worker_exit(_server: Any, worker: Any) -> None:
    """Write what waits to be written."""
    if getattr(worker, "wsgi", None):  # none when the app could not be built
        worker.wsgi.extensions[SERVICES].stop()
