"""Moving messages: from socket to socket, in order, whole, from any thread, and held when told to."""

import os
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from both_codecs import way
from pump_peers import GENEROUS, Ears, Peer, running_pump, send_audio, tcp_pair
from wsproto.frame_protocol import FrameProtocol, Opcode

from stream_service.pump import Link, Pump, PumpStoppedError
from stream_service.wire import frames
from stream_service.wire.frames import Binary, Text

__all__ = ["way"]  # every test here runs both ways

PREFIX, SUFFIX = b'{"type":"input_audio_buffer.append","audio":"', b'"}'


def splice_to(vendor: Link, prefix: bytes = b"audio:") -> Callable[[bytes], bool]:
    def route(payload: bytes) -> bool:
        if not payload.startswith(prefix):
            return False
        return send_audio(vendor, b"".join((PREFIX, payload[len(prefix) :], SUFFIX)))

    return route


def test_messages_arrive_typed_on_the_pumps_thread() -> None:
    with running_pump() as scene:
        _, peer, ears = scene.link()
        peer.send("もしもし")
        peer.send(b"\x00\xff")
        ears.wait(lambda: len(ears.messages) == 2)
        assert ears.messages == [Text("もしもし".encode()), Binary(b"\x00\xff")]
        assert ears.threads == {"pump"}


@pytest.mark.parametrize("server", [True, False])
def test_we_speak_as_server_and_as_client(server: bool) -> None:
    with running_pump() as scene:
        link, peer, ears = scene.link(server=server)
        link.send_text("文")
        link.send_text(b"bytes")
        link.send_binary(b"\x80")
        assert [peer.next() for _ in range(3)] == [
            (Opcode.TEXT, "文".encode()), (Opcode.TEXT, b"bytes"), (Opcode.BINARY, b"\x80"),
        ]  # fmt: skip
        peer.send("hello")
        assert ears.wait_for_messages(1) == [b"hello"]


@pytest.mark.parametrize("seed", range(6))
def test_spliced_audio_arrives_whole_and_in_order_however_it_is_cut(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a scene that can be played again
    with running_pump() as scene:
        vendor, vendor_peer, _ = scene.link(name="vendor", server=False)
        _, caller, ears = scene.link(name="caller", route=splice_to(vendor))
        protocol = FrameProtocol(client=True, extensions=[])
        stream, audio, events = b"", [], []
        for number in range(300):
            if chance.random() < 0.1:
                events.append(f"event {number}".encode())
                stream += protocol.send_data(events[-1].decode(), True)
            body = f"{number:06d}".encode() * chance.randrange(1, 60)
            audio.append(PREFIX + body + SUFFIX)
            stream += protocol.send_data("audio:" + body.decode(), True)
        while stream:
            cut = chance.choice([1, 2, 3, 7, 100, 1400, 9000])
            caller.send_raw(stream[:cut])
            stream = stream[cut:]
        assert [vendor_peer.next_data() for _ in audio] == audio
        assert ears.wait_for_messages(len(events)) == events


def test_control_and_audio_keep_their_order() -> None:
    with running_pump() as scene:
        link, peer, _ = scene.link()
        sent = []
        for number in range(200):
            sent.append(f"{number}".encode())
            if number % 3:
                assert send_audio(link, sent[-1])
            else:
                link.send_text(sent[-1])
        assert [peer.next_data() for _ in sent] == sent


def test_who_frames_audio_itself_puts_it_in_line_with_the_rest() -> None:
    with running_pump() as scene:
        link, peer, _ = scene.link()
        link.send_text("first")
        outbox, masked, flush = link.inlet
        outbox.put_audio(frames.encode_binary(b"p\xff\x7f", masked))
        flush()
        assert peer.next_data() == b"first"
        assert peer.next() == (Opcode.BINARY, b"p\xff\x7f")


def test_bytes_behind_the_handshake_come_first() -> None:
    with running_pump() as scene:
        wire = FrameProtocol(client=True, extensions=[]).send_data("first", True)
        _, peer, ears = scene.link(initial=wire + wire[:3])
        peer.send_raw(wire[3:])
        peer.send("second")
        assert ears.wait_for_messages(3) == [b"first", b"first", b"second"]


def test_senders_on_many_threads_never_mix_their_frames() -> None:
    with running_pump() as scene:
        link, peer, _ = scene.link(small_buffers=True, limits=replace(GENEROUS, control_bytes=4_000_000))
        start = threading.Barrier(8)

        def shout(letter: str) -> None:
            start.wait(10)
            for number in range(5):
                link.send_text(letter * 60_000 + str(number))

        threads = [threading.Thread(target=shout, args=(letter,)) for letter in "abcdefgh"]
        for thread in threads:
            thread.start()
        heard: dict[str, list[str]] = {letter: [] for letter in "abcdefgh"}
        for _ in range(40):
            text = peer.next_data().decode()
            assert text[:-1] == text[0] * 60_000
            heard[text[0]].append(text[-1])
        for thread in threads:
            thread.join(10)
        assert all(numbers == list("01234") for numbers in heard.values())


def test_what_is_sent_before_anything_is_read_from_a_thread_wakes_the_pump() -> None:
    with running_pump() as scene:
        link, peer, _ = scene.link()
        for number in range(50):
            link.send_text(f"{number}")
            assert peer.next_data() == f"{number}".encode()


def test_a_route_can_be_replaced_between_two_messages() -> None:
    with running_pump() as scene:
        routed = Ears()
        link, peer, ears = scene.link()
        peer.send("one")
        ears.wait_for_messages(1)
        link.route = routed.taken
        peer.send("two")
        peer.send("three")
        routed.wait_for_messages(2)
        link.route = None
        peer.send("four")
        assert ears.wait_for_messages(2) == [b"one", b"four"]
        assert routed.wait_for_messages(2) == [b"two", b"three"]


def test_a_link_held_from_the_start_keeps_the_first_words() -> None:
    with running_pump() as scene:
        link, peer, ears = scene.link(held=True, initial=FrameProtocol(client=True, extensions=[]).send_data("0", True))
        _, other_peer, other_ears = scene.link()
        for number in range(1, 200):
            peer.send(f"{number}")
        other_peer.send("the pump has been round")
        other_ears.wait_for_messages(1)
        assert ears.messages == []
        link.release()
        assert ears.wait_for_messages(200) == [f"{number}".encode() for number in range(200)]


def test_hold_inside_a_message_stops_right_there_and_release_goes_on() -> None:
    with running_pump() as scene:
        _, peer, ears = scene.link()
        ears_with_hold = Ears()
        link: Link

        def hold_at_every_tenth(payload: bytes) -> bool:
            if int(payload) % 10 == 9:
                link.hold()
            return False

        link, held_peer, _ = scene.link(ears=ears_with_hold, route=hold_at_every_tenth, held=True)
        held_peer.send_raw(b"".join(held_peer.protocol.send_data(f"{number}", True) for number in range(100)))
        for tens in range(1, 11):
            link.release()
            ears_with_hold.wait_for_messages(tens * 10)
            peer.send("round")  # when this is heard the pump has had every chance to deliver too much
            ears.wait_for_messages(tens)
            assert len(ears_with_hold.messages) == tens * 10
        assert ears_with_hold.wait_for_messages(100) == [f"{number}".encode() for number in range(100)]


def test_a_held_link_leaves_megabytes_with_the_kernel_and_loses_none() -> None:
    with running_pump() as scene:
        link, peer, ears = scene.link(held=True)
        payloads = [os.urandom(30_000) for _ in range(100)]
        sender = threading.Thread(target=lambda: [peer.send(payload) for payload in payloads])
        sender.start()
        link.release()
        ears.wait_for_messages(5)
        link.hold()
        link.release()
        assert ears.wait_for_messages(100) == payloads
        sender.join(10)


def test_the_hang_up_of_a_held_peer_is_noticed() -> None:
    with running_pump() as scene:
        _, peer, ears = scene.link(held=True)
        peer.send("never read")
        peer.close()
        lost = ears.wait_until_lost()
        assert (lost.reason, lost.close_code) == ("reset", None)
        assert ears.messages == []


def test_counters_tell_what_passed() -> None:
    with running_pump() as scene:
        link, peer, ears = scene.link()
        peer.send("12345")
        ears.wait_for_messages(1)
        send_audio(link, b"123")
        link.send_text(b"1234")
        assert [peer.next_data(), peer.next_data()] == [b"123", b"1234"]
        peer.send("54321")
        ears.wait_for_messages(2)
        stats = link.stats
        assert (stats.messages_in, stats.bytes_in) == (2, 2 * (6 + 5))
        assert (stats.messages_out, stats.bytes_out) == (2, 2 + 3 + 2 + 4)
        assert stats.dropped_audio == 0
        assert 0 < stats.max_buffered <= 11


def test_a_stopped_pump_leaves_no_thread_and_no_descriptor() -> None:
    before = _open_descriptors()
    with running_pump() as scene:
        ends = [scene.link(name=f"{number}") for number in range(20)]
        for _, peer, ears in ends:
            peer.send("x")
            ears.wait_for_messages(1)
        answering = [threading.Thread(target=_say_goodbye, args=(peer,)) for _, peer, _ in ends]
        for thread in answering:
            thread.start()
        scene.pump.stop(5)
        for thread in answering:
            thread.join(10)
        lost = {(ears.wait_until_lost().reason, ears.lost[0].close_code) for _, _, ears in ends}
        assert lost == {("stopped", 1001)}
        assert "pump" not in {thread.name for thread in threading.enumerate()}
    assert _open_descriptors() <= before


def test_stopping_waits_no_longer_than_told_for_peers_that_do_not_answer() -> None:
    with running_pump() as scene:
        _, peer, ears = scene.link()
        scene.pump.stop(0.2)
        assert ears.wait_until_lost().reason == "stopped"
        assert peer.next_close_code() == 1001
        scene.pump.stop(0.2)


@pytest.mark.parametrize("started", [False, True])
def test_a_pump_that_does_not_run_takes_no_socket(started: bool) -> None:
    pump = Pump()
    if started:
        pump.start()
    pump.stop(1)
    ours, theirs = tcp_pair()
    ears = Ears()
    with pytest.raises(PumpStoppedError), theirs:
        pump.adopt(ours, name="late", server=True, limits=GENEROUS, on_message=ears.on_message, on_lost=ears.on_lost)
    assert ours.fileno() == -1
    assert ears.lost == []


def test_a_dead_socket_is_refused_at_once() -> None:
    with running_pump() as scene:
        ours, theirs = tcp_pair()
        ours.close()
        theirs.close()
        with pytest.raises(OSError, match="descriptor"):
            scene.pump.adopt(
                ours, name="dead", server=True, limits=GENEROUS, on_message=lambda _: None, on_lost=lambda _: None
            )


def test_other_kinds_of_sockets_will_do() -> None:
    with running_pump() as scene:
        ours, theirs = socket.socketpair()
        ears = Ears()
        link = scene.pump.adopt(
            ours, name="unix", server=True, limits=GENEROUS, on_message=ears.on_message, on_lost=ears.on_lost
        )
        peer = Peer(theirs, client=True)
        scene.peers.append(peer)
        peer.send("there?")
        ears.wait_for_messages(1)
        link.send_text("here")
        assert peer.next_data() == b"here"


def _say_goodbye(peer: Peer) -> None:
    assert peer.next_close_code() == 1001
    peer.send_raw(peer.protocol.close(1001))
    assert peer.at_end()


def _open_descriptors() -> set[str]:
    """Where the system tells (Linux)."""
    directory = Path("/proc/self/fd")
    return {entry.name for entry in directory.iterdir()} if directory.is_dir() else set()
