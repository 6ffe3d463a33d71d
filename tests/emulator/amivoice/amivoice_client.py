"""A client that speaks AmiVoice's protocol by hand: sends commands and audio, collects what is answered."""

import json
import time
from collections.abc import Callable

from websockets.sync.client import ClientConnection, connect

from emulator.audio import silence

KEY = "right-key"
START = f's MULAW -a-general authorization={KEY} resultUpdatedInterval=300 segmenterProperties="postTime=500"'


class Client:
    """Sends commands and audio; collects what is answered."""

    def __init__(self, url: str) -> None:
        self.socket: ClientConnection = connect(url, compression=None)
        self.messages: list[str] = []

    def send(self, message: str | bytes) -> None:
        self.socket.send(message)

    def feed(self, ulaw: bytes, chunk: int = 800) -> None:
        for start in range(0, len(ulaw), chunk):
            self.socket.send(b"p" + ulaw[start : start + chunk])

    def say(self, ulaw: bytes) -> None:
        self.feed(ulaw + silence(900))

    def next(self, seconds: float = 5.0) -> str:
        message = self.socket.recv(timeout=seconds)
        assert isinstance(message, str)
        self.messages.append(message)
        return message

    def until(self, tag: str, seconds: float = 5.0) -> str:
        deadline = time.monotonic() + seconds
        while True:
            message = self.next(deadline - time.monotonic())
            if message[:1] == tag:
                return message

    def result(self) -> dict[str, object]:
        body = json.loads(self.until("A")[2:])
        assert isinstance(body, dict)
        return body

    @property
    def tags(self) -> str:
        return "".join(message[0] for message in self.messages)


Dial = Callable[..., Client]
