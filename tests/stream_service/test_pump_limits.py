"""What one peer may do to us: flood, fall silent, stop reading. It loses its link; the others notice nothing."""

import threading
from dataclasses import replace
from functools import partial

import pytest
from both_codecs import way
from pump_peers import GENEROUS, Clock, Ears, Peer, Scene, flood, running_pump, send_audio
from wsproto.frame_protocol import FrameProtocol, Opcode

from stream_service.pump import Limits, Link, Lost
from stream_service.wire.frames import Binary, Text

__all__ = ["way"]  # every test here runs both ways


def block(link: Link, peer: Peer, scene: Scene) -> int:
    """Fill everything between the link and a peer that does not read; the number of messages that took."""
    count = 0
    while not link.stats.dropped_audio:
        send_audio(link, b"%08d" % count + bytes(992))
        count += 1
        if not count % 20:
            pass_of(scene)
        assert count < 20_000
    return count


def pass_of(scene: Scene) -> None:
    """Come back when the pump has been round."""
    _, peer, ears = scene.link(name="round")
    peer.send("round")
    ears.wait_for_messages(1)
    peer.close()


def let_pass(seconds: float, clock: Clock, scene: Scene) -> None:
    """Move the clock, and come back when every link has looked at it: a quiet one sends its ping then."""
    _, peer, ears = scene.link(name="clock", limits=replace(GENEROUS, ping_seconds=seconds))
    peer.send("admitted")
    ears.wait_for_messages(1)
    clock.now += seconds
    assert peer.next() == (Opcode.PING, b"")
    peer.close()


def test_old_audio_makes_room_for_new_and_is_counted() -> None:
    with running_pump() as scene:
        link, peer, _ = scene.link(small_buffers=True, limits=replace(GENEROUS, audio_bytes=20_000))
        sent = block(link, peer, scene) + 500
        for number in range(sent - 500, sent):
            send_audio(link, b"%08d" % number + bytes(992))
        stats = link.stats
        link.send_text("the end")
        numbers = []
        while (message := peer.next_data()) != b"the end":
            numbers.append(int(message[:8]))
        assert numbers == sorted(numbers)
        assert numbers[-19:] == list(range(sent - 19, sent))  # 1004 bytes each with its header: 19 fit
        assert len(numbers) == sent - stats.dropped_audio
        assert stats.dropped_audio > 400  # the sockets themselves take a few
        assert stats.max_buffered <= 20_000 + 1004


def test_forgotten_audio_is_not_sent_but_control_around_it_is() -> None:
    with running_pump() as scene:
        link, peer, _ = scene.link(small_buffers=True, limits=replace(GENEROUS, audio_bytes=20_000))
        block(link, peer, scene)
        link.send_text("before")
        for number in range(5):
            send_audio(link, b"lost %d" % number)
        link.send_text("after")
        assert link.discard_audio() > 5
        assert link.discard_audio() == 0
        send_audio(link, b"new")
        received = []
        while not received or received[-1] != b"new":
            received.append(peer.next_data())
        assert received[-3:] == [b"before", b"after", b"new"]
        assert not [message for message in received if message.startswith(b"lost")]


def test_one_audio_message_over_the_bound_is_dropped_itself() -> None:
    with running_pump() as scene:
        link, peer, _ = scene.link(limits=replace(GENEROUS, audio_bytes=1000))
        assert not send_audio(link, bytes(1001))
        assert send_audio(link, b"fits")
        assert peer.next_data() == b"fits"
        assert link.stats.dropped_audio == 1


def test_control_that_cannot_be_kept_ends_the_link() -> None:
    with running_pump() as scene:
        link, _, ears = scene.link(small_buffers=True, limits=replace(GENEROUS, control_bytes=50_000))
        for _ in range(10_000):
            link.send_text(bytes(1000))
            if ears.lost:
                break
        assert ears.wait_until_lost().reason == "overflow"
        assert link.stats.max_buffered <= 50_000
        link.send_text("into the void")
        assert not send_audio(link, b"into the void")


@pytest.mark.parametrize("payload", [b"", bytes(2000)])
def test_a_flood_of_messages_or_bytes_ends_the_link_and_no_other(payload: bytes) -> None:
    limits = Limits(messages_per_second=50, bytes_per_second=10_000, burst_seconds=2)
    with running_pump() as scene:
        _, quiet, quiet_ears = scene.link(limits=limits)
        link, flooder, ears = scene.link(limits=limits)
        wire = flooder.protocol.send_data(payload, True) * 100
        flood(flooder, wire)
        lost = ears.wait_until_lost()
        assert (lost.reason, lost.close_code) == ("flood", 1008)
        assert len(ears.messages) <= 100
        assert link.stats.bytes_in <= 20_000 + 65_536
        quiet.send("still here")
        quiet_ears.wait_for_messages(1)


def test_a_budget_grows_again_with_time() -> None:
    clock = Clock()
    with running_pump(clock) as scene:
        limits = Limits(messages_per_second=10, bytes_per_second=10_000, burst_seconds=1, silence_seconds=None)
        _, peer, ears = scene.link(limits=limits)
        for seconds in range(1, 4):
            for _ in range(10):
                peer.send("x")
            ears.wait_for_messages(10 * seconds)
            let_pass(1, clock, scene)
        assert not ears.lost
        for _ in range(11):
            peer.send("x")
        assert ears.wait_until_lost().reason == "flood"


def test_pings_count_as_messages() -> None:
    with running_pump() as scene:
        _, peer, ears = scene.link(limits=Limits(messages_per_second=10, burst_seconds=1))
        peer.send_raw(peer.protocol.ping(b"") * 11)
        assert ears.wait_until_lost().reason == "flood"


def test_silence_ends_a_link_but_any_byte_breaks_it() -> None:
    clock = Clock()
    with running_pump(clock) as scene:
        _, peer, ears = scene.link(limits=Limits(silence_seconds=5))
        clock.now += 4
        peer.send("a word")
        ears.wait_for_messages(1)
        let_pass(4, clock, scene)
        assert not ears.lost
        clock.now += 2
        lost = ears.wait_until_lost()
        assert (lost.reason, lost.close_code) == ("silent", 1001)
        assert peer.next_close_code() == 1001


def test_silence_counts_from_the_start_of_the_link_however_long_the_pump_had_slept() -> None:
    clock = Clock()
    with running_pump(clock) as scene:
        pass_of(scene)
        clock.now += 3600
        link, peer, ears = scene.link(limits=Limits(silence_seconds=5))
        let_pass(4, clock, scene)
        peer.send("well in time")
        ears.wait_for_messages(1)
        link.send_text("indeed")
        assert peer.next_data() == b"indeed"


def test_a_burst_of_one_peer_lets_the_others_have_their_turn() -> None:
    with running_pump() as scene:
        other, other_peer, other_ears = scene.link(held=True)
        other_peer.send("me too")
        before_other: list[int] = []

        def note_or_release(payload: bytes) -> bool:
            if payload == b"10":
                other.release()
            if not other_ears.messages:
                before_other.append(int(payload))
            return False

        link, peer, ears = scene.link(held=True, route=note_or_release)
        peer.send_raw(b"".join(bytes(peer.protocol.send_data(f"{number}", True)) for number in range(1500)))
        link.release()
        assert ears.wait_for_messages(1500) == [f"{number}".encode() for number in range(1500)]
        other_ears.wait_for_messages(1)
        assert len(before_other) < 500


def test_a_held_link_is_not_silent() -> None:
    clock = Clock()
    with running_pump(clock) as scene:
        limits = Limits(silence_seconds=5, ping_seconds=1, pong_seconds=1)
        link, _, ears = scene.link(limits=limits, held=True)
        for _ in range(3):
            let_pass(10, clock, scene)
        assert not ears.lost
        link.release()
        pass_of(scene)
        clock.now += 6
        assert ears.wait_until_lost().reason == "silent"


def test_a_peer_that_does_not_answer_a_ping_is_half_open() -> None:
    clock = Clock()
    with running_pump(clock) as scene:
        limits = replace(GENEROUS, ping_seconds=3, pong_seconds=2)
        _, peer, ears = scene.link(limits=limits)
        pass_of(scene)
        clock.now += 3
        assert peer.next() == (Opcode.PING, b"")
        peer.send_raw(peer.protocol.pong(b""))
        peer.send("and a word")
        ears.wait_for_messages(1)
        let_pass(2.5, clock, scene)
        assert not ears.lost
        clock.now += 0.6
        assert peer.next() == (Opcode.PING, b"")
        clock.now += 2.1
        assert ears.wait_until_lost().reason == "half-open"


def test_one_ping_waits_for_its_answer() -> None:
    clock = Clock()
    with running_pump(clock) as scene:
        _, peer, ears = scene.link(limits=replace(GENEROUS, ping_seconds=1, pong_seconds=60))
        for _ in range(5):
            let_pass(1, clock, scene)
        assert peer.next() == (Opcode.PING, b"")
        peer.send("any byte is an answer")
        ears.wait_for_messages(1)
        clock.now += 1
        assert peer.next() == (Opcode.PING, b"")


def test_a_peer_that_stops_reading_is_given_up_and_holds_nobody_up() -> None:
    clock = Clock()
    with running_pump(clock) as scene:
        deaf, _, deaf_ears = scene.link(small_buffers=True, limits=replace(GENEROUS, audio_bytes=20_000))
        _, talker, talker_ears = scene.link(route=partial(send_audio, deaf))
        vendor, vendor_peer, _ = scene.link(server=False)
        _, caller, _ = scene.link(route=partial(send_audio, vendor))
        while not deaf.stats.dropped_audio:
            talker.send(bytes(1000))
            caller.send("meanwhile")
            assert vendor_peer.next_data() == b"meanwhile"
        let_pass(4, clock, scene)
        assert not deaf_ears.lost
        for _ in range(3):  # the kernel may still have taken a few bytes after the last look
            let_pass(5.5, clock, scene)
        lost = deaf_ears.wait_until_lost()
        assert (lost.reason, lost.close_code) == ("stalled", None)
        assert deaf.stats.max_buffered <= 21_100
        caller.send("afterwards")
        assert vendor_peer.next_data() == b"afterwards"
        assert not talker_ears.lost


def test_a_peer_that_reads_slowly_is_not_stalled() -> None:
    clock = Clock()
    with running_pump(clock) as scene:
        link, peer, ears = scene.link(small_buffers=True, limits=replace(GENEROUS, audio_bytes=300_000))
        block(link, peer, scene)
        for _ in range(4):
            for _ in range(40):
                peer.next_data()
            let_pass(4, clock, scene)
        assert not ears.lost


def test_a_message_too_long_is_refused() -> None:
    with running_pump() as scene:
        _, peer, ears = scene.link(limits=Limits(max_message=1000))
        peer.send(bytes(1000))
        ears.wait_for_messages(1)
        peer.send(bytes(1001))
        assert peer.next_close_code() == 1009
        peer.close()
        lost = ears.wait_until_lost()
        assert (lost.reason, lost.close_code) == ("protocol", 1009)


@pytest.mark.parametrize("where", ["route", "on_message", "on_lost"])
def test_a_failing_callback_costs_its_own_link_only(where: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(payload: bytes) -> bool:
        raise KeyError("the caller's own words")

    class Failing(Ears):
        def on_message(self, message: Text | Binary) -> None:
            if where == "on_message":
                fail(message.data)

        def on_lost(self, lost: Lost) -> None:
            super().on_lost(lost)
            if where == "on_lost":
                fail(b"")

    with running_pump() as scene:
        ears = Failing()
        _, peer, _ = scene.link(ears=ears, route=fail if where == "route" else None)
        _, other, other_ears = scene.link()
        peer.send("boom")
        if where == "on_lost":
            peer.send_raw(peer.protocol.close(1000))
        assert peer.next_close_code() == (1000 if where == "on_lost" else 1011)
        lost = ears.wait_until_lost()
        assert lost.reason == ("closed" if where == "on_lost" else "protocol")
        other.send("unharmed")
        other_ears.wait_for_messages(1)
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "words" not in caplog.text
    assert len(ears.lost) == 1


def test_a_failing_callback_on_release_costs_its_own_link_only() -> None:
    def fail(payload: bytes) -> bool:
        raise RuntimeError

    with running_pump() as scene:
        wire = FrameProtocol(client=True, extensions=[]).send_data("waiting", True)
        link, _, ears = scene.link(held=True, initial=wire, route=fail)
        link.release()
        assert ears.wait_until_lost().reason == "protocol"
        pass_of(scene)


def test_many_links_flooding_stalling_and_hanging_up_at_once_leave_a_call_undisturbed() -> None:
    limits = Limits(messages_per_second=200, bytes_per_second=20_000, burst_seconds=1, audio_bytes=20_000)
    with running_pump() as scene:
        vendor, vendor_peer, _ = scene.link(server=False)
        _, caller, caller_ears = scene.link(route=partial(send_audio, vendor))
        over = threading.Event()

        def misbehave(number: int) -> None:
            while not over.is_set():
                link, peer, ears = scene.link(name=f"bad {number}", limits=limits, small_buffers=True)
                try:
                    for _ in range(100):
                        send_audio(link, bytes(1000))
                        peer.send_raw(peer.protocol.send_data(bytes(500), True) if number else b"\xff" * 500)
                except OSError:
                    pass
                peer.close()
                ears.wait_until_lost()

        bad = [threading.Thread(target=misbehave, args=(number,)) for number in range(3)]
        for thread in bad:
            thread.start()
        for number in range(200):
            caller.send(f"{number}")
            assert vendor_peer.next_data() == f"{number}".encode()
        over.set()
        for thread in bad:
            thread.join(20)
        assert not caller_ears.lost
