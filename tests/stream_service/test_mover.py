"""Audio both ways between a caller and a vendor, over real sockets, with whatever else comes between."""

import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from audio_paths import (
    AudioPath,
    appended,
    assert_flows,
    delta,
    media,
    number_in,
    numbers,
    played,
    scene,
    secret,
    text,
    wait_for,
)
from both_codecs import under_test, way
from pump_peers import GENEROUS, Scene
from tls_peers import certificate

__all__ = ["certificate", "scene", "secret", "way"]  # every test here runs both ways


def test_audio_goes_both_ways_and_nobody_is_told(scene: Scene, secret: Path | None) -> None:
    path = AudioPath(scene, certificate=secret)
    for number in range(200):
        path.caller.send_raw(text(media(number), masked=True))
        path.model.send_raw(text(delta(number), masked=False))
    assert [path.model.next_data() for _ in range(200)] == [appended(number) for number in range(200)]
    assert [path.caller.next_data() for _ in range(200)] == [played(number) for number in range(200)]
    assert path.told == []
    assert path.ears.messages == path.vendor_ears.messages == []
    stats, vendor = path.carrier.stats, path.vendor.stats
    assert (stats.messages_in, stats.messages_out, vendor.messages_in, vendor.messages_out) == (200,) * 4
    assert stats.bytes_in == 200 * len(text(media(0), masked=True))
    assert vendor.bytes_out == 200 * len(text(appended(0), masked=True))


def test_what_is_no_audio_is_told_where_it_came(scene: Scene, secret: Path | None) -> None:
    path = AudioPath(scene, certificate=secret)
    order: list[int | str] = ["x1", 1, "x2", 2, 3, "mine x3", "x4", 4, 5, "x5"]
    for peer, audio, masked in ((path.caller, media, True), (path.model, delta, False)):
        peer.send_raw(
            b"".join(text(one.encode() if isinstance(one, str) else audio(one), masked=masked) for one in order)
        )
    assert path.ears.wait_for_messages(4) == [b"x1", b"x2", b"x4", b"x5"]
    assert path.vendor_ears.wait_for_messages(4) == [b"x1", b"x2", b"x4", b"x5"]
    places = {b"x1": 0, b"x2": 1, b"mine x3": 3, b"x4": 3, b"x5": 5}
    assert [one[1:] for one in path.told if one[0] == "model"] == list(places.items())
    assert [one[1:] for one in path.told if one[0] == "caller"] == [(told, 160 * at) for told, at in places.items()]
    assert numbers(path.model, 5) == numbers(path.caller, 5) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_frames_come_in_any_pieces(scene: Scene, size: int) -> None:
    path = AudioPath(scene)
    for peer, audio, masked in ((path.caller, media, True), (path.model, delta, False)):
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = b"".join(text(audio(number), masked=masked) for number in range(5))
        for start in range(0, len(stream), size):
            peer.send_raw(stream[start : start + size])
    assert numbers(path.model, 4) == numbers(path.caller, 4) == [0, 1, 2, 3, 4]


def test_a_vendor_that_reads_late_gets_all_of_it_in_order(scene: Scene, secret: Path | None) -> None:
    limits = replace(GENEROUS, audio_bytes=10_000_000)
    path = AudioPath(scene, certificate=secret, vendor_limits=limits, small_buffers=True)
    count = 0
    while not path.vendor.lane.blocked:
        path.caller.send_raw(b"".join(text(media(number, 1600), masked=True) for number in range(count, count + 10)))
        count += 10
        wait_for(lambda: path.uplink.position == 1600 * count)  # noqa: B023 - called at once
    path.vendor.send_text("in its place")
    for number in range(count, count + 50):
        path.caller.send_raw(text(media(number, 1600), masked=True))
    got: list[int | bytes] = []
    while len(got) < count + 51:
        message = path.model.next_data()
        got.append(number_in(message) if message[:1] == b"<" else message)
    got.remove(b"in its place")
    assert got == list(range(count + 50))
    wait_for(lambda: not path.vendor.lane.blocked)
    assert path.vendor.stats.dropped_audio == 0
    assert_flows(path)


def test_the_oldest_audio_goes_when_a_vendor_reads_too_late(scene: Scene, secret: Path | None) -> None:
    limits = replace(GENEROUS, audio_bytes=20_000)
    path = AudioPath(scene, certificate=secret, vendor_limits=limits, small_buffers=True)
    count = 0
    while path.vendor.stats.dropped_audio < 20:
        path.caller.send_raw(text(media(count, 1600), masked=True))
        count += 1
        wait_for(lambda: path.uplink.position == 1600 * count)  # noqa: B023 - called at once
    got = numbers(path.model, count - 1)
    assert got == sorted(set(got))
    assert len(got) == count - path.vendor.stats.dropped_audio
    assert path.vendor.stats.max_buffered <= 20_000
    assert got[-9:] == list(range(count - 9, count))  # of 2144 bytes each nine fit
    assert_flows(path)


def test_hold_while_audio_flows_loses_nothing(scene: Scene, secret: Path | None) -> None:
    path = AudioPath(scene, certificate=secret)
    path.caller.send_raw(text(media(0), masked=True))
    path.model.send_raw(text(delta(0), masked=False))
    wait_for(lambda: path.uplink.position == 160 and path.pieces == [160])
    path.carrier.hold()
    path.vendor.hold()
    for number in range(1, 30):
        path.caller.send_raw(text(media(number) if number % 5 else b"x%d" % number, masked=True))
        path.model.send_raw(text(delta(number) if number % 5 else b"x%d" % number, masked=False))
    assert_flows(AudioPath(scene))  # the pump has been round
    assert (path.uplink.position, path.pieces, path.told) == (160, [160], [])
    path.carrier.release()
    path.vendor.release()
    expected = [number for number in range(30) if number % 5 or not number]
    assert numbers(path.model, 29) == numbers(path.caller, 29) == expected
    assert path.ears.wait_for_messages(5) == path.vendor_ears.wait_for_messages(5)


def test_hold_and_release_in_a_hurry_lose_nothing(scene: Scene) -> None:
    path = AudioPath(scene)

    def talk() -> None:
        for number in range(400):
            path.caller.send_raw(text(media(number), masked=True))
            path.model.send_raw(text(delta(number), masked=False))

    talking = threading.Thread(target=talk)
    talking.start()
    for _ in range(200):
        for link in (path.carrier, path.vendor):
            link.hold()
            link.release()
    assert numbers(path.model, 399) == numbers(path.caller, 399) == list(range(400))
    talking.join(10)


def test_a_route_replaced_while_audio_flows_loses_nothing(scene: Scene) -> None:
    path = AudioPath(scene)
    second, second_model, _ = scene.link(name="second vendor", server=False)
    uplink = under_test.Uplink(b"<", b">", False, 800, 800)
    uplink.attach(*second.inlet)

    over, said = threading.Event(), 0

    def talk() -> None:
        nonlocal said
        while not over.is_set():
            path.caller.send_raw(text(media(said), masked=True))
            said += 1

    talking = threading.Thread(target=talk)
    talking.start()
    wait_for(lambda: path.uplink.position > 50 * 160)
    path.carrier.route = uplink
    first = number_in(second_model.next_data())
    over.set()
    talking.join(10)
    path.caller.send_raw(text(media(said), masked=True))
    assert numbers(second_model, said) == list(range(first + 1, said + 1))
    assert numbers(path.model, first - 1) == list(range(first))


def test_nobody_gets_what_comes_between_two_vendors_but_the_next(scene: Scene) -> None:
    path = AudioPath(scene)
    path.caller.send_raw(text(media(0), masked=True))
    assert path.model.next_data() == appended(0)
    path.uplink.settled(160)
    path.uplink.detach()
    for number in range(1, 5):
        path.caller.send_raw(text(media(number), masked=True))
    wait_for(lambda: path.uplink.position == 5 * 160)
    second, second_model, _ = scene.link(name="second vendor", server=False)
    assert path.uplink.attach(*second.inlet) == 160
    path.caller.send_raw(text(media(5), masked=True))
    assert numbers(second_model, 5) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("pieces", [1, 13, 1000])
def test_records_come_in_pieces_and_hold_many_frames(scene: Scene, certificate: Path, pieces: int) -> None:
    path = AudioPath(scene, certificate=certificate, pieces=pieces)
    order = [number if number % 7 else b"x%d" % number for number in range(40)]
    stream = b"".join(text(delta(one) if isinstance(one, int) else one, masked=False) for one in order)
    for start in range(0, len(stream), 3_000):  # no frame begins where a record does
        path.model.send_raw(stream[start : start + 3_000])
    assert path.vendor_ears.wait_for_messages(6) == [one for one in order if isinstance(one, bytes)]
    assert numbers(path.caller, 39) == [one for one in order if isinstance(one, int)]
    assert [place for _, _, place in path.told] == [0, 6, 12, 18, 24, 30]


def test_what_came_with_the_handshakes_comes_first(scene: Scene, certificate: Path) -> None:
    before = text(b"session.created", masked=False) + text(delta(1), masked=False) + text(delta(2), masked=False)[:-5]
    path = AudioPath(scene, certificate=certificate, before=before)
    path.model.send_raw(text(delta(2), masked=False)[-5:] + text(delta(3), masked=False))
    assert numbers(path.caller, 3) == [1, 2, 3]
    assert path.told == [("model", b"session.created", 0)]


def test_marks_stand_behind_their_audio(scene: Scene, secret: Path | None) -> None:
    path = AudioPath(scene, certificate=secret)
    for number in range(3):
        for response in (b"marked", b"r1", b"dropped"):
            path.model.send_raw(text(delta(number, response=response), masked=False))
    expected = [(played(number), b"(m%d)" % (3 * number + 1), played(number)) for number in range(3)]
    assert [path.caller.next_data() for _ in range(9)] == [one for three in expected for one in three]
    wait_for(lambda: path.pieces == [160] * 9)
