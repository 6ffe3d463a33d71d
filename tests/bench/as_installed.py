"""The least that flask-sock and websocket-client need to pass a call's audio, as they come.

What the product left behind. For gunicorn, and for comparison only: JSON both ways, no calls, no errors handled.
`VENDOR_URL` is where the vendor is; its path says which of the two it is.
"""

import base64
import contextlib
import json
import os
import threading

import websocket
from flask import Flask
from flask_sock import Sock
from simple_websocket import ConnectionClosed, Server

app = Flask(__name__)
sock = Sock(app)


@app.get("/health")
def health() -> str:
    return "ok"


@sock.route("/ws")  # type: ignore[untyped-decorator]  # flask-sock has no types
def media_stream(ws: Server) -> None:
    url = os.environ["VENDOR_URL"]
    speaks = "realtime" in url
    vendor = websocket.create_connection(url, timeout=10)
    vendor.settimeout(None)
    if speaks:
        vendor.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
    else:
        vendor.send("s MULAW -a-general authorization=x")
    stream: dict[str, str] = {}
    listener = threading.Thread(target=_from_vendor, args=(vendor, ws, stream), daemon=True)
    listener.start()
    with contextlib.suppress(ConnectionClosed, websocket.WebSocketException, OSError):
        while True:
            message = json.loads(ws.receive())
            if message["event"] == "start":
                stream["sid"] = message["start"]["streamSid"]
            elif message["event"] == "media" and speaks:
                event = {"type": "input_audio_buffer.append", "audio": message["media"]["payload"]}
                vendor.send(json.dumps(event))
            elif message["event"] == "media":
                vendor.send_binary(b"p" + base64.b64decode(message["media"]["payload"]))
    vendor.close()


def _from_vendor(vendor: websocket.WebSocket, ws: Server, stream: dict[str, str]) -> None:
    with contextlib.suppress(ConnectionClosed, websocket.WebSocketException, OSError):
        while text := vendor.recv():
            if not isinstance(text, str) or not text.startswith("{"):
                continue
            message = json.loads(text)
            if message["type"] == "response.output_audio.delta":
                sid = stream["sid"]
                ws.send(json.dumps({"event": "media", "streamSid": sid, "media": {"payload": message["delta"]}}))
                ws.send(json.dumps({"event": "mark", "streamSid": sid, "mark": {"name": "piece"}}))
