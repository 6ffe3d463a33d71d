"""The end of a link: who says goodbye, who hangs up without, and that it is told once."""

import socket
import struct
import threading

import pytest
from both_codecs import way
from pump_peers import GENEROUS, Clock, Ears, Peer, flood, running_pump, send_audio, tcp_pair
from wsproto.frame_protocol import FrameProtocol, Opcode

from stream_service.pump import Limits, Link, Lost
from stream_service.wire.frames import Binary, Text

__all__ = ["way"]  # every test here runs both ways


@pytest.mark.parametrize("server", [True, False])
def test_we_close_and_the_peer_answers(server: bool) -> None:
    with running_pump(Clock()) as scene:  # no deadline helps out
        link, peer, ears = scene.link(server=server)
        link.send_text("last words")
        link.close(4000, "bye")
        link.send_text("too late")
        link.close(1000)
        assert peer.next_data() == b"last words"
        assert peer.next_close_code() == 4000
        assert not ears.lost
        peer.send("crossed the close frame")
        peer.send_raw(peer.protocol.close(4000))
        assert ears.wait_until_lost() == Lost("link", "closed", 4000, "bye")
        assert peer.at_end()
        assert ears.messages == []


@pytest.mark.parametrize("server", [True, False])
@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_the_peer_closes_and_we_answer(server: bool, code: int) -> None:
    with running_pump(Clock()) as scene:
        link, peer, ears = scene.link(server=server)
        link.send_text("on its way")
        peer.send("one more thing")
        peer.send_raw(peer.protocol.close(code, "さようなら"))
        assert ears.wait_until_lost() == Lost("link", "closed", code, "さようなら")
        assert [message.data for message in ears.messages] == [b"one more thing"]
        assert peer.next_data() == b"on its way"
        assert peer.next_close_code() == code
        assert peer.at_end()


def test_a_close_frame_without_a_code_is_answered_in_kind() -> None:
    with running_pump() as scene:
        _, peer, ears = scene.link()
        peer.send_raw(b"\x88\x80abcd")
        assert ears.wait_until_lost().close_code == 1005
        assert peer.sock.recv(10) == b"\x88\x00"


def test_nothing_counts_after_the_peers_close_frame() -> None:
    with running_pump() as scene:
        _, peer, ears = scene.link()
        closing = FrameProtocol(client=True, extensions=[])
        peer.send_raw(closing.close(1000) + peer.protocol.send_data("posthumous", True) + b"\xff" * 50)
        assert ears.wait_until_lost().reason == "closed"
        assert ears.messages == []


def test_who_does_not_answer_our_close_is_waited_for_one_second() -> None:
    with running_pump() as scene:
        link, peer, ears = scene.link()
        link.close(1000)
        assert peer.next_close_code() == 1000
        assert ears.wait_until_lost() == Lost("link", "closed", 1000, "")
        assert peer.at_end()


def test_a_held_link_can_be_closed_by_us() -> None:
    with running_pump() as scene:
        link, peer, ears = scene.link(held=True)
        peer.send("nobody will read this")
        link.close(1008, "no")
        assert peer.next_close_code() == 1008
        peer.send_raw(peer.protocol.close(1008))
        assert ears.wait_until_lost().close_code == 1008
        assert ears.messages == []


def test_close_from_inside_a_callback() -> None:
    with running_pump() as scene:

        class Closing(Ears):
            def on_message(self, message: Text | Binary) -> None:
                link.close(1003)
                super().on_message(message)

        ears = Closing()
        link, peer, _ = scene.link(ears=ears, held=True)
        link.release()
        peer.send_raw(peer.protocol.send_data("one", True) + peer.protocol.send_data("two", True))
        assert peer.next_close_code() == 1003
        peer.send_raw(peer.protocol.close(1003))
        ears.wait_until_lost()
        assert [message.data for message in ears.messages] == [b"one"]


@pytest.mark.parametrize("held", [False, True])
def test_abort_ends_at_once(held: bool) -> None:
    with running_pump() as scene:
        link, peer, ears = scene.link(held=held)
        link.abort()
        link.abort()
        link.close()
        assert ears.wait_until_lost() == Lost("link", "closed", None, "aborted")
        assert peer.at_end()


def test_the_end_without_a_close_frame_is_a_reset() -> None:
    with running_pump() as scene:
        _, peer, ears = scene.link()
        peer.send("and gone")
        peer.close()
        assert ears.wait_until_lost().reason == "reset"
        assert [message.data for message in ears.messages] == [b"and gone"]


def test_a_peer_that_is_gone_before_the_first_word_is_a_reset(caplog: pytest.LogCaptureFixture) -> None:
    with running_pump() as scene:
        for _ in range(100):
            ours, theirs = tcp_pair()
            theirs.close()
            ears = Ears()
            link = scene.pump.adopt(
                ours, name="gone", server=True, limits=GENEROUS, on_message=ears.on_message, on_lost=ears.on_lost
            )
            for _ in range(10):
                link.send_text("anybody?")
            assert ears.wait_until_lost().reason == "reset"
    assert "failed" not in caplog.text


def test_a_reset_connection_is_a_reset() -> None:
    with running_pump() as scene:
        _, peer, ears = scene.link()
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        lost = ears.wait_until_lost()
        assert (lost.reason, lost.close_code) == ("reset", None)


def test_a_peer_that_closes_and_goes_while_we_talk_still_tells_its_code() -> None:
    talking = threading.Event()
    with running_pump() as scene:
        for _ in range(30):
            link, peer, ears = scene.link()
            thread = threading.Thread(target=_talk, args=(link, ears, talking))
            thread.start()
            assert talking.wait(10)
            peer.send_raw(peer.protocol.close(1013))
            peer.close()
            lost = ears.wait_until_lost()
            thread.join(10)
            talking.clear()
            assert (lost.reason, lost.close_code) == ("closed", 1013)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [(b"\x83\x80abcd", 1002), (b"\x81\x00", 1002), (b"\x81\x81\0\0\0\0\xff", 1007), (b"\x88\x81\0\0\0\0x", 1002)],
)
def test_who_breaks_the_protocol_is_told_and_left(wrong: bytes, code: int) -> None:
    with running_pump(Clock()) as scene:
        _, peer, ears = scene.link()
        peer.send_raw(peer.protocol.send_data("good", True) + wrong + b"more nonsense")
        assert peer.next_close_code() == code
        assert peer.at_end()
        peer.close()
        lost = ears.wait_until_lost()
        assert (lost.reason, lost.close_code) == ("protocol", code)
        assert [message.data for message in ears.messages] == [b"good"]


def test_who_breaks_the_protocol_and_stays_is_waited_for_one_second() -> None:
    with running_pump() as scene:
        _, peer, ears = scene.link()
        peer.send_raw(b"\xff\xff")
        assert peer.next_close_code() == 1002
        assert ears.wait_until_lost().reason == "protocol"


def test_who_breaks_the_protocol_cannot_flood_while_it_is_left() -> None:
    with running_pump() as scene:
        link, peer, ears = scene.link(limits=Limits(bytes_per_second=10_000, burst_seconds=1))
        peer.send_raw(b"\xff\xff")
        assert peer.next_close_code() == 1002
        flood(peer, bytes(5000))
        assert ears.wait_until_lost().reason == "protocol"
        assert link.stats.bytes_in < 100_000


def test_pings_are_answered_and_pongs_ignored() -> None:
    with running_pump() as scene:
        _, peer, ears = scene.link()
        peer.send_raw(peer.protocol.pong(b"nobody asked"))
        peer.send_raw(b"\x01\x82\0\0\0\0he" + peer.protocol.ping(b"between fragments") + b"\x80\x83\0\0\0\0llo")
        assert peer.next() == (Opcode.PONG, b"between fragments")
        assert ears.wait_for_messages(1) == [b"hello"]


def test_the_end_is_told_once_whoever_ends_it() -> None:
    everybody: list[Ears] = []
    with running_pump() as scene:
        for _ in range(30):
            link, peer, ears = scene.link(limits=GENEROUS)
            enders = [
                threading.Thread(target=end)
                for end in (link.close, link.abort, peer.close, lambda link=link: link.close(1001))
            ]
            for ender in enders:
                ender.start()
            for ender in enders:
                ender.join(10)
            ears.wait_until_lost()
            everybody.append(ears)
        other, other_peer, _ = scene.link()
        other.send_text("the pump lives")
        assert other_peer.next_data() == b"the pump lives"
    assert {len(ears.lost) for ears in everybody} == {1}


def _talk(link: Link, ears: Ears, talking: threading.Event) -> None:
    while not ears.lost:
        send_audio(link, bytes(300))
        talking.set()


def test_peer_and_ears_are_honest() -> None:
    """The scenes above are worth nothing if their instruments do not see."""
    left, right = socket.socketpair()
    peer = Peer(left, client=True)
    right.sendall(FrameProtocol(client=False, extensions=[]).send_data("seen", True))
    assert not peer.at_end()
    right.close()
    assert peer.at_end()
    left.close()
    with pytest.raises(AssertionError):
        Ears().wait(lambda: False, seconds=0.01)
