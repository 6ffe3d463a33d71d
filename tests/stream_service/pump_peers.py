"""Who the pump's tests talk to: peers on real sockets that speak through wsproto, and ears that remember."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from wsproto.frame_protocol import FrameProtocol, Opcode

from stream_service.pump import Limits, Link, Lost, Pump
from stream_service.wire import frames

PATIENCE = 10.0

# For scenes that are not about limits.
GENEROUS = Limits(messages_per_second=1e9, bytes_per_second=1e12, silence_seconds=None)


class Ears:
    """What a link's callbacks heard, in order."""

    def __init__(self) -> None:
        self.messages: list[frames.Text | frames.Binary] = []
        self.lost: list[Lost] = []
        self.threads: set[str] = set()
        self._changed = threading.Condition()

    def on_message(self, message: frames.Text | frames.Binary) -> None:
        with self._changed:
            self.threads.add(threading.current_thread().name)
            self.messages.append(message)
            self._changed.notify_all()

    def on_lost(self, lost: Lost) -> None:
        with self._changed:
            self.threads.add(threading.current_thread().name)
            self.lost.append(lost)
            self._changed.notify_all()

    def taken(self, payload: bytes) -> bool:
        """A route that takes everything."""
        self.on_message(frames.Text(payload))
        return True

    def wait(self, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, seconds), (self.messages[-3:], self.lost)

    def wait_for_messages(self, count: int) -> list[bytes]:
        self.wait(lambda: len(self.messages) >= count)
        return [message.data for message in self.messages]

    def wait_until_lost(self) -> Lost:
        self.wait(lambda: self.lost)
        return self.lost[0]


class Peer:
    """The other end of a link: blocking, with a deadline, and understood by wsproto."""

    def __init__(self, sock: socket.socket, *, client: bool) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.protocol = FrameProtocol(client=client, extensions=[])
        self._frames: list[tuple[Opcode, bytes]] = []
        self._parts: list[bytes] = []

    def send(self, payload: str | bytes) -> None:
        self.sock.sendall(self.protocol.send_data(payload, True))

    def send_raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def next(self) -> tuple[Opcode, bytes]:
        """The next whole message or control frame. Raises EOFError at the end of the connection."""
        while not self._frames:
            data = self.sock.recv(65_536)
            if not data:
                raise EOFError
            self.protocol.receive_bytes(data)
            for part in self.protocol.received_frames():
                if part.opcode is Opcode.CLOSE:
                    self._frames.append((part.opcode, int(part.payload[0]).to_bytes(2, "big")))
                    continue
                payload = part.payload.encode() if isinstance(part.payload, str) else bytes(part.payload)
                self._parts.append(payload)
                if part.message_finished:
                    self._frames.append((part.opcode, b"".join(self._parts)))
                    self._parts.clear()
        return self._frames.pop(0)

    def next_data(self) -> bytes:
        opcode, payload = self.next()
        assert opcode in (Opcode.TEXT, Opcode.BINARY), opcode
        return payload

    def next_close_code(self) -> int:
        opcode, payload = self.next()
        assert opcode is Opcode.CLOSE, (opcode, payload[:40])
        return int.from_bytes(payload, "big")

    def at_end(self) -> bool:
        """Whether the connection ends here, after what has been read, politely or not."""
        try:
            self.next()
        except (EOFError, ConnectionError):
            return True
        return False

    def close(self) -> None:
        self.sock.close()


@dataclass
class Scene:
    """A running pump and the ends of its links."""

    pump: Pump
    peers: list[Peer] = field(default_factory=list)
    keep: list[socket.socket] = field(default_factory=list)  # sockets that must outlive a function

    def link(
        self,
        *,
        name: str = "link",
        server: bool = True,
        limits: Limits = GENEROUS,
        held: bool = False,
        initial: bytes = b"",
        route: Callable[[bytes], bool] | None = None,
        ears: Ears | None = None,
        small_buffers: bool = False,
    ) -> tuple[Link, Peer, Ears]:
        ours, theirs = tcp_pair(small_buffers=small_buffers)
        peer = Peer(theirs, client=server)
        ears = ears or Ears()
        link = self.pump.adopt(
            ours, name=name, server=server, limits=limits, route=route, held=held, initial=initial,
            on_message=ears.on_message, on_lost=ears.on_lost,
        )  # fmt: skip
        self.peers.append(peer)
        return link, peer, ears


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def send_audio(link: Link, message: bytes) -> bool:
    """As uplinks and downlinks do it: a message that may be dropped goes into the outbox. Whether it was taken."""
    outbox, masked, flush = link.inlet
    taken: bool = outbox.put_audio(frames.encode(frames.TEXT_FRAME, message, masked))
    flush()
    return taken


def flood(peer: Peer, data: bytes) -> None:
    """Send until the other side has had enough and is gone; fails when it takes what comes for ever."""
    for _ in range(100_000):
        try:
            peer.send_raw(data)
        except ConnectionError:
            return
    raise AssertionError("nobody minds the flood")


@contextlib.contextmanager
def running_pump(clock: Callable[[], float] | None = None) -> Iterator[Scene]:
    scene = Scene(Pump(clock=clock) if clock else Pump())
    scene.pump.start()
    try:
        yield scene
    finally:
        for peer in scene.peers:
            peer.close()
        scene.pump.stop(2)


def tcp_pair(*, small_buffers: bool = False) -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection on the loopback; with small buffers a few kilobytes stall it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        if small_buffers:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ours = socket.socket()
        if small_buffers:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.connect(server.getsockname())
        theirs, _ = server.accept()
    return ours, theirs
