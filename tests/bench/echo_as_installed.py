"""A WebSocket echo with flask-sock as it comes, for gunicorn: what `echo_server` is compared with."""

from flask import Flask
from flask_sock import Sock
from simple_websocket import Server

app = Flask(__name__)
sock = Sock(app)


@app.get("/health")
def health() -> str:
    return "ok"


@sock.route("/ws")  # type: ignore[untyped-decorator]  # flask-sock has no types
def echo(ws: Server) -> None:
    while True:
        ws.send(ws.receive())
