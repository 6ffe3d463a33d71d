"""A pump with nothing to do does nothing, whatever state its sockets are in."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from both_codecs import way
from pump_peers import GENEROUS, Ears, Scene, running_pump, send_audio, tcp_pair

from stream_service.pump import Pump

__all__ = ["way"]  # every test here runs both ways


class PassCounter:
    """A clock that stands still and counts how often the pump looks at it: once each time round."""

    def __init__(self) -> None:
        self.passes = 0

    def __call__(self) -> float:
        self.passes += 1
        return 1000.0


def held_with_bytes_waiting(scene: Scene) -> None:
    _, peer, _ = scene.link(held=True)
    peer.send("for later")


def blocked(scene: Scene) -> None:
    link, _, _ = scene.link(small_buffers=True, limits=replace(GENEROUS, audio_bytes=20_000))
    while not link.stats.dropped_audio:
        send_audio(link, bytes(1000))


def waiting_for_the_peers_close_frame(scene: Scene) -> None:
    link, peer, _ = scene.link()
    link.close()
    assert peer.next_close_code() == 1000


def after_the_end_of_a_socket_of_which_a_duplicate_lives(scene: Scene) -> None:
    ours, theirs = tcp_pair()
    ears = Ears()
    link = scene.pump.adopt(
        ours.dup(), name="dup", server=True, limits=GENEROUS, on_message=ears.on_message, on_lost=ears.on_lost
    )
    link.abort()
    ears.wait_until_lost()
    theirs.settimeout(10)
    assert theirs.recv(1) == b""  # the connection has ended, though a server still holds its end
    scene.keep = [ours, theirs]


@pytest.mark.parametrize(
    "state",
    [
        held_with_bytes_waiting,
        blocked,
        waiting_for_the_peers_close_frame,
        after_the_end_of_a_socket_of_which_a_duplicate_lives,
    ],
)
def test_no_busy_loop(state: Callable[[Scene], None]) -> None:
    clock = PassCounter()
    with running_pump(clock) as scene:
        state(scene)
        threading.Event().wait(0.2)  # what was under way comes to rest
        before = clock.passes
        threading.Event().wait(0.5)
        assert clock.passes - before < 15
        for sock in scene.keep:
            sock.close()


def test_without_links_it_sleeps() -> None:
    clock = PassCounter()
    pump = Pump(clock=clock)
    pump.start()
    before = clock.passes
    threading.Event().wait(0.5)
    assert clock.passes - before <= 1
    pump.stop(1)
