"""Audio flows both ways, and then somebody goes, fails, floods, reads no more, or says goodbye."""

import contextlib
import gc
import socket
import struct
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
from audio_paths import AudioPath, assert_flows, delta, media, number_in, numbers, scene, secret, text, wait_for
from both_codecs import under_test, way
from pump_peers import GENEROUS, Ears, Peer, Scene, flood
from tls_peers import certificate
from wsproto.frame_protocol import Opcode

from stream_service.pump import Link

__all__ = ["certificate", "scene", "secret", "way"]  # every test here runs both ways


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("who", ["caller", "model"])
def test_who_goes_in_the_middle_of_a_frame_ends_one_link(scene: Scene, who: str, reset: bool) -> None:
    path, other = AudioPath(scene), AudioPath(scene)
    peer, far, ears = (
        (path.caller, path.model, path.ears) if who == "caller" else (path.model, path.caller, path.vendor_ears)
    )
    audio, masked = (media, True) if who == "caller" else (delta, False)
    peer.send_raw(text(audio(1), masked=masked) + text(audio(2), masked=masked)[:-3])
    assert number_in(far.next_data()) == 1
    if reset:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    lost = ears.wait_until_lost()
    assert (lost.reason, lost.close_code) == ("reset", None)
    far.send_raw(text((delta if masked else media)(3), masked=not masked))  # nobody is there to hear it
    assert_flows(other)
    assert not (path.vendor_ears if who == "caller" else path.ears).lost


def test_audio_that_came_with_the_end_is_passed_on(scene: Scene, secret: Path | None) -> None:
    path = AudioPath(scene, certificate=secret)
    path.model.send_raw(b"".join(text(delta(number), masked=False) for number in range(50)))
    path.model.close()
    assert path.vendor_ears.wait_until_lost().reason == "reset"
    assert numbers(path.caller, 49) == list(range(50))


def test_a_caller_that_reads_nothing_costs_its_own_link_only(scene: Scene) -> None:
    limits = replace(GENEROUS, audio_bytes=20_000, control_bytes=2_000)
    path, other = AudioPath(scene, carrier_limits=limits, small_buffers=True), AudioPath(scene)
    for number in range(20_000):
        path.model.send_raw(text(delta(number, 1600, b"marked"), masked=False))
        if path.ears.lost:
            break
    assert path.ears.wait_until_lost().reason == "overflow"
    assert path.carrier.stats.max_buffered <= 22_000
    path.model.send_raw(text(b"still there", masked=False))
    path.vendor_ears.wait_for_messages(1)
    assert not path.vendor_ears.lost
    assert_flows(other)


def test_a_mark_that_cannot_be_kept_ends_the_link_of_a_caller_who_reads_and_speaks(scene: Scene) -> None:
    path, other = AudioPath(scene, carrier_limits=replace(GENEROUS, control_bytes=5)), AudioPath(scene)
    path.model.send_raw(text(delta(1, response=b"marked"), masked=False))
    with contextlib.suppress(ConnectionError):
        while not path.ears.lost:
            path.caller.send_raw(text(media(1), masked=True))
            assert_flows(other)
    assert path.ears.wait_until_lost().reason == "overflow"


@pytest.mark.parametrize("burst", [{"bytes_per_second": 10_000.0}, {"messages_per_second": 20.0}])
@pytest.mark.parametrize("who", ["caller", "model"])
def test_a_flood_of_audio_ends_the_link_and_no_other(scene: Scene, who: str, burst: dict[str, float]) -> None:
    limits = replace(GENEROUS, burst_seconds=2, **burst)
    path = AudioPath(scene, **{"carrier_limits" if who == "caller" else "vendor_limits": limits})  # type: ignore[arg-type]  # only Limits are meant
    other = AudioPath(scene)
    peer, ears, link = (
        (path.caller, path.ears, path.carrier) if who == "caller" else (path.model, path.vendor_ears, path.vendor)
    )
    wire = text(media(1), masked=True) if who == "caller" else text(delta(1), masked=False)
    flood(peer, wire * 20)
    lost = ears.wait_until_lost()
    assert (lost.reason, lost.close_code) == ("flood", 1008)
    assert link.stats.bytes_in <= 20_000 + 2 * 16_384
    assert not (path.vendor_ears if who == "caller" else path.ears).lost
    assert_flows(other)


@pytest.mark.parametrize("who", ["caller", "model"])
@pytest.mark.parametrize("message", [b"fail", delta(1, response=b"fail")])
def test_who_fails_on_the_way_costs_its_own_link_only(
    scene: Scene, who: str, message: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path, other = AudioPath(scene), AudioPath(scene)
    if who == "caller":
        path.carrier.route = path.downlink if message != b"fail" else path.uplink
    peer, ears = (path.caller, path.ears) if who == "caller" else (path.model, path.vendor_ears)
    peer.send_raw(text(message, masked=who == "caller"))
    lost = ears.wait_until_lost()
    assert (lost.reason, lost.close_code) == ("protocol", 1011)
    assert peer.next_close_code() == 1011
    assert_flows(other)
    assert not (path.vendor_ears if who == "caller" else path.ears).lost
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "LookupError" in str(vars(caplog.records[0]))


@pytest.mark.parametrize("what", ["hold", "close", "reroute"])
def test_who_says_stop_in_the_middle_of_a_read_is_obeyed_at_once(scene: Scene, secret: Path | None, what: str) -> None:
    path = AudioPath(scene, certificate=secret)
    second: list[bytes] = []

    def take(message: bytes) -> bool:
        second.append(message)
        return True

    def passes(size: int, item: str, response: str) -> bytes:
        path.pieces.append(size)
        if len(path.pieces) == 2:
            if what == "reroute":
                path.vendor.route = take
            else:
                getattr(path.vendor, what)()
        return b""

    downlink = under_test.Downlink(b"[", b"]", b"(", b")", 0, passes, bool)
    downlink.attach(*path.carrier.inlet)
    path.vendor.hold()
    path.vendor.route = downlink
    path.model.send_raw(b"".join(text(delta(number), masked=False) for number in range(5)))
    path.vendor.release()
    wait_for(lambda: len(path.pieces) == 2)
    assert_flows(AudioPath(scene, certificate=secret))  # the pump has been round
    assert len(path.pieces) == 2
    if what == "hold":
        path.vendor.release()
        assert numbers(path.caller, 4) == [0, 1, 2, 3, 4]
    elif what == "reroute":
        wait_for(lambda: second == [delta(number) for number in (2, 3, 4)])


@pytest.mark.parametrize("who", ["carrier", "vendor"])
def test_the_close_handshake_while_audio_flows(scene: Scene, who: str, secret: Path | None) -> None:
    path = AudioPath(scene, certificate=secret)
    link, peer, ears = (
        (path.carrier, path.caller, path.ears) if who == "carrier" else (path.vendor, path.model, path.vendor_ears)
    )
    over = threading.Event()

    def talk() -> None:
        number = 0
        while not over.wait(0.0005):
            path.caller.send_raw(text(media(number), masked=True))
            path.model.send_raw(text(delta(number, response=b"marked"), masked=False))
            number += 1

    talking = threading.Thread(target=talk)
    talking.start()
    wait_for(lambda: path.uplink.position > 20 * 160 and len(path.pieces) > 20)
    link.close(4001, "enough")
    while (come := peer.next())[0] is not Opcode.CLOSE:
        assert come[0] is Opcode.TEXT
    assert come[1] == (4001).to_bytes(2, "big")
    over.set()
    talking.join(10)
    peer.send_raw(peer.protocol.close(4001))
    assert ears.wait_until_lost().reason == "closed"
    heard = path.uplink.position if who == "carrier" else len(path.pieces)
    assert_flows(AudioPath(scene))
    assert heard == (path.uplink.position if who == "carrier" else len(path.pieces))


@pytest.mark.parametrize("gone", [False, True])
def test_who_is_sent_audio_before_the_pump_has_it_gets_it(scene: Scene, gone: bool) -> None:
    uplink = under_test.Uplink(b"<", b">", False, 10_000_000, 10_000_000)
    for number in range(3_000):
        uplink(media(number, 1600))
    made: list[tuple[Link, Peer, Ears]] = []

    def adopt(_: bytes) -> bool:
        """On the pump's thread, which cannot come to it before we are done."""
        limits = replace(GENEROUS, audio_bytes=10_000_000)
        made.append(scene.link(name="vendor", server=False, limits=limits, small_buffers=True))
        vendor, model, _ = made[0]
        if gone:
            model.close()
        uplink.attach(*vendor.inlet)
        return True

    _, peer, _ = scene.link(route=adopt)
    peer.send("go")
    wait_for(lambda: uplink.attached)
    _, model, ears = made[0]
    if gone:
        assert ears.wait_until_lost().reason == "reset"
    else:
        assert numbers(model, 2_999) == list(range(3_000))
    assert_flows(AudioPath(scene))
    assert len(scene.pump._links) == (3 if gone else 4)


def test_nothing_is_left_of_a_call_that_has_ended(scene: Scene, secret: Path | None) -> None:
    before = those_alive()
    path = AudioPath(scene, certificate=secret)
    assert_flows(path)
    assert those_alive() > before
    gone = weakref.ref(path)
    for link, ears in ((path.carrier, path.ears), (path.vendor, path.vendor_ears)):
        link.abort()
        ears.wait_until_lost()
    for peer in scene.peers:
        peer.close()
    scene.peers.clear()
    del path, link, ears, peer
    _, peer, ears = scene.link()
    peer.send("the pump has been round, and thinks of somebody else")
    ears.wait_for_messages(1)
    peer.send_raw(peer.protocol.close(1000))
    ears.wait_until_lost()
    wait_for(lambda: those_alive() <= before + 2 and gone() is None)  # the last link and its lane may linger


def test_a_link_that_has_ended_need_not_wait_for_the_collector(scene: Scene) -> None:
    before = those_alive()
    gc.disable()
    try:
        for _ in range(10):
            _, peer, ears = scene.link(route=lambda _: False)
            peer.send_raw(peer.protocol.close(1000))
            ears.wait_until_lost()
            peer.close()
        scene.peers.clear()
        wait_for(lambda: those_alive(collect=False) <= before + 2)  # the last one, which we hold ourselves
    finally:
        gc.enable()


def those_alive(*, collect: bool = True) -> int:
    """How many there are of what a call's audio path is made of."""
    if collect:
        gc.collect()
    pieces = {"Link", "Lane", "PythonLane", "Uplink", "PythonUplink", "Downlink", "PythonDownlink"}
    return sum(type(one).__name__ in pieces for one in gc.get_objects())
