"""The vendors' side: TLS, whose records and ours do not begin and end together."""

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from both_codecs import way
from pump_peers import GENEROUS, PATIENCE, Clock, Scene, running_pump, send_audio
from tls_peers import Vendor, certificate, texts
from wsproto.frame_protocol import Opcode

from stream_service import channel

__all__ = ["certificate", "way"]  # every test here runs both ways


@contextmanager
def vendor_scene(certificate: Path, **how: object) -> Iterator[tuple[Scene, Vendor]]:
    with running_pump() as scene:
        yield scene, Vendor(scene, certificate, **how)  # type: ignore[arg-type]  # Vendor's own keywords


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_ways_through_tls(certificate: Path, version: ssl.TLSVersion) -> None:
    with vendor_scene(certificate, version=version) as (_, vendor):
        vendor.peer.send("から")
        assert vendor.ears.wait_for_messages(1) == ["から".encode()]
        vendor.link.send_text("へ")
        send_audio(vendor.link, b"audio")
        assert vendor.peer.next() == (Opcode.TEXT, "へ".encode())
        assert vendor.peer.next() == (Opcode.TEXT, b"audio")


def test_a_record_that_was_decrypted_before_we_came_is_not_forgotten(certificate: Path) -> None:
    # The poller sees nothing: the kernel's buffer is empty.
    with vendor_scene(certificate, before=texts("session.created", "second")) as (_, vendor):
        assert vendor.ears.wait_for_messages(2) == [b"session.created", b"second"]


def test_the_same_when_the_link_is_held_first(certificate: Path) -> None:
    with vendor_scene(certificate, before=texts("session.created", "second"), held=True) as (scene, vendor):
        other = Vendor(scene, certificate)
        other.peer.send("round")
        other.ears.wait_for_messages(1)
        assert vendor.ears.messages == []
        vendor.link.release()
        assert vendor.ears.wait_for_messages(2) == [b"session.created", b"second"]


def test_one_record_with_many_frames_and_one_frame_in_many_records(certificate: Path) -> None:
    with vendor_scene(certificate) as (_, vendor):
        small = [f"{number}" for number in range(1000)]
        vendor.peer.send_raw(texts(*small))
        assert vendor.ears.wait_for_messages(1000) == [text.encode() for text in small]
        large = os.urandom(60_000)
        for byte in range(65):
            vendor.peer.send_raw(vendor.peer.protocol.send_data(large[:byte], True)[:1])
            vendor.peer.send_raw(vendor.peer.protocol.send_data(large[:byte], True)[1:])
        vendor.peer.send(large)
        assert vendor.ears.wait_for_messages(1066)[-1] == large


def test_reads_smaller_than_a_record_leave_nothing_behind(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_READ_BYTES", 100)
    with vendor_scene(certificate) as (_, vendor):
        small = [f"{number}" for number in range(1000)]
        vendor.peer.send_raw(texts(*small))
        assert vendor.ears.wait_for_messages(1000) == [text.encode() for text in small]


def test_hold_in_the_middle_of_a_record(certificate: Path) -> None:
    with vendor_scene(certificate, held=True) as (scene, vendor):

        def hold_at_ten(payload: bytes) -> bool:
            if payload == b"9":
                vendor.link.hold()
            return False

        vendor.link.route = hold_at_ten
        vendor.peer.send_raw(texts(*(f"{number}" for number in range(30))))
        vendor.link.release()
        vendor.ears.wait_for_messages(10)
        other = Vendor(scene, certificate)
        other.peer.send("round")
        other.ears.wait_for_messages(1)
        assert len(vendor.ears.messages) == 10
        vendor.link.release()
        assert vendor.ears.wait_for_messages(30) == [f"{number}".encode() for number in range(30)]


def test_a_slow_reader_gets_every_control_message_and_the_newest_audio(certificate: Path) -> None:
    limits = replace(GENEROUS, audio_bytes=30_000, control_bytes=10_000_000)
    with vendor_scene(certificate, small_buffers=True, limits=limits) as (_, vendor):
        for number in range(200):
            vendor.link.send_text(b"c%04d" % number + bytes(9000))
            send_audio(vendor.link, b"a%04d" % number + bytes(995))
        vendor.link.send_text("end")
        control, audio = [], []
        while (message := vendor.peer.next_data()) != b"end":
            (control if message.startswith(b"c") else audio).append(int(message[1:5]))
        assert control == list(range(200))
        assert audio == sorted(audio)
        assert audio[-1] == 199
        assert len(audio) + vendor.link.stats.dropped_audio == 200


def test_a_message_larger_than_any_record_or_buffer(certificate: Path) -> None:
    limits = replace(GENEROUS, max_message=3_000_000, control_bytes=3_000_000)
    with vendor_scene(certificate, limits=limits, small_buffers=True) as (_, vendor):
        payload = os.urandom(2_000_000)
        vendor.link.send_binary(payload)
        assert vendor.peer.next() == (Opcode.BINARY, payload)
        vendor.peer.send(payload)
        assert vendor.ears.wait_for_messages(1) == [payload]


def test_traffic_both_ways_at_once_from_many_threads(certificate: Path) -> None:
    with vendor_scene(certificate, limits=replace(GENEROUS, control_bytes=10_000_000)) as (_, vendor):

        def shout(letter: str) -> None:
            for _ in range(20):
                vendor.link.send_text(letter * 20_000)

        threads = [threading.Thread(target=shout, args=(letter,)) for letter in "abcd"]
        threads.append(
            threading.Thread(target=lambda: [vendor.peer.send("x" * size) for size in range(0, 40_000, 400)])
        )
        for thread in threads:
            thread.start()
        for _ in range(80):
            text = vendor.peer.next_data().decode()
            assert text == text[0] * 20_000
        vendor.ears.wait_for_messages(100)
        for thread in threads:
            thread.join(PATIENCE)


def test_the_close_handshake_through_tls(certificate: Path) -> None:
    with vendor_scene(certificate) as (scene, vendor):
        vendor.link.close(1000, "thanks")
        assert vendor.peer.next_close_code() == 1000
        vendor.peer.send_raw(vendor.peer.protocol.close(1000))
        assert vendor.ears.wait_until_lost().reason == "closed"
        theirs = Vendor(scene, certificate)
        theirs.peer.send_raw(theirs.peer.protocol.close(1011, "session expired"))
        assert theirs.ears.wait_until_lost().close_code == 1011
        assert theirs.peer.next_close_code() == 1011


def test_a_protocol_error_through_tls_is_told(certificate: Path, caplog: pytest.LogCaptureFixture) -> None:
    with vendor_scene(certificate) as (_, vendor):
        vendor.peer.send_raw(texts("good") + b"\x83\x00")
        assert vendor.peer.next_close_code() == 1002
        vendor.peer.send("heard by nobody")
        vendor.peer.close()
        assert vendor.ears.wait_until_lost().reason == "protocol"
    assert "failed" not in caplog.text


def test_a_connection_cut_without_tls_goodbye_is_a_reset(certificate: Path) -> None:
    with vendor_scene(certificate) as (_, vendor):
        vendor.peer.send("bye")
        vendor.peer.close()
        assert vendor.ears.wait_until_lost().reason == "reset"


def test_bytes_that_are_not_tls_are_a_reset(certificate: Path) -> None:
    with vendor_scene(certificate) as (_, vendor):
        raw = os.dup(vendor.peer.sock.fileno())
        os.write(raw, b"HTTP/1.1 500 not what was agreed on\r\n\r\n" * 10)
        assert vendor.ears.wait_until_lost().reason == "reset"
        os.close(raw)


def test_a_half_open_vendor_is_noticed_through_tls(certificate: Path) -> None:
    clock = Clock()
    with running_pump(clock) as scene:
        vendor = Vendor(scene, certificate, limits=replace(GENEROUS, ping_seconds=3, pong_seconds=3))
        vendor.peer.send("admitted")
        vendor.ears.wait_for_messages(1)
        clock.now += 3
        assert vendor.peer.next() == (Opcode.PING, b"")
        clock.now += 3.1
        assert vendor.ears.wait_until_lost().reason == "half-open"
