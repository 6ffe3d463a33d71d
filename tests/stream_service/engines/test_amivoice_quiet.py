"""What of engine amivoice wakes the call's thread, and what waits until it wakes for something else."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from call_scenes import AGENT

from engines.engine_desk import NoChat, settings
from stream_service.engines.amivoice import AmivoiceEngine
from stream_service.engines.chat import Chat
from stream_service.engines.port import FromVendor, Post, Urgency, VendorOpened
from stream_service.events import CallerSaying
from stream_service.pump import Link, Pump


class Silent:
    """The recogniser's link, which only has a route."""

    route: Callable[[bytes], bool]

    def release(self) -> None:
        """It is not held."""

    def send_text(self, text: bytes) -> None:
        """Nobody hears it."""


def test_words_wake_when_they_stand_and_once_more_the_same_wake_nobody(pump: Pump, pool: ThreadPoolExecutor) -> None:
    posted: list[FromVendor] = []
    given = settings(AMIVOICE_URL="ws://127.0.0.1:9/nobody")
    engine = AmivoiceEngine(
        settings=given, agent=AGENT, pump=pump, pool=pool, post=cast(Post, posted.append), chat=cast(Chat, NoChat())
    )
    link = Silent()
    engine.receive(FromVendor(0, VendorOpened(cast(Link, link))), 0.0)
    said, more = 'U {"text":"予約"}'.encode(), 'U {"text":"予約を"}'.encode()

    def comes(*messages: bytes) -> list[Urgency]:
        """How soon the call wakes, for each that is posted of these."""
        posted.clear()
        for message in messages:
            assert link.route(message)
        return [one.urgency for one in posted]

    assert comes(said, said, said) == [Urgency.UNLESS_MORE]
    assert engine.receive(posted[-1], 0.0) == [CallerSaying("予約")]
    assert engine.tick(0.0) == [CallerSaying("予約")]  # it was said once more
    assert engine.tick(0.0) == []
    assert comes(said, more, said, said) == [Urgency.UNLESS_MORE] * 2
    assert comes(b"E 100", b"E 100") == [Urgency.AT_ONCE] * 2
    assert engine.tick(0.0) == []  # that is not the newest any more
