"""What the carrier is told to say and do while a call is live: updates by REST, one at a time, the newest only.

Twilio carries out updates in no particular order, so a call's next update waits for the one before; and one that a
newer has overtaken is not sent at all.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor

from callbot import failures, twiml
from callbot.agents import Agent
from callbot.errors import RemoteError
from callbot.flow import flow_url
from callbot.twilio_rest import CallGoneError, TwilioRest
from stream_service.commands import Listen, Speak
from stream_service.events import CallGone, CarrierRefused, Delivered, Event

log = logging.getLogger(__name__)

TRIES_SECONDS = (0.3, 0.8)  # before a second and a third try, if nothing newer has come by then


class CarrierVoice:
    """One call's updates. `speak` and `listen` return at once; what became of them comes back as an event."""

    def __init__(
        self,
        *,
        rest: TwilioRest,
        call_sid: str,
        functions_url: str,
        agent: Agent,
        pool: Executor,
        post: Callable[[Event], None],
    ) -> None:
        self._rest = rest
        self._sid = call_sid
        self._functions_url = functions_url
        self._agent = agent
        self._pool = pool
        self._post = post
        self._lock = threading.Lock()
        self._newer = threading.Condition(self._lock)
        self._next: Speak | Listen | None = None
        self._busy = False
        self._closed = False

    def update(self, command: Speak | Listen) -> None:
        with self._lock:
            self._next = command
            self._newer.notify_all()
            if self._busy or self._closed:
                return
            self._busy = True
        self._pool.submit(self._work)

    def get_ready(self) -> None:
        """Words will be spoken soon: by then the way to Twilio is to be open."""
        if self._rest.is_cold:
            self._pool.submit(self._rest.warm_up)

    def complete(self) -> bool:
        """End the call. False when Twilio could not be told; it waits for Twilio, so not for the pump's thread."""
        self.close()
        try:
            self._rest.complete(self._sid)
        except CallGoneError:
            return True
        except RemoteError as error:
            failures.vendor_failed(log, error, what="hang-up", call_sid=self._sid)
            return False
        return True

    def resume(self, generation: int) -> bool:
        """Have the call go on with a new stream; it waits for Twilio. False when Twilio could not be told."""
        self.close()
        url = flow_url(self._functions_url, "resume", generation=generation, engine="amivoice")
        try:
            self._rest.redirect(self._sid, url)
        except CallGoneError:
            return False
        except RemoteError as error:
            failures.vendor_failed(log, error, what="redirect", call_sid=self._sid)
            return False
        return True

    def close(self) -> None:
        """Nothing that still waits is sent."""
        with self._lock:
            self._closed, self._next = True, None
            self._newer.notify_all()

    def _work(self) -> None:
        while True:
            with self._lock:
                command, self._next = self._next, None
                if command is None or self._closed:
                    self._busy = False
                    return
            try:
                self._send(command)
            except Exception:  # one update that cannot be made must not silence all that follow
                log.exception("update failed", extra={"callSid": self._sid})
                self._post(CarrierRefused(_turn(command), "internal"))

    def _send(self, command: Speak | Listen) -> None:
        turn = _turn(command)
        for pause in (*TRIES_SECONDS, None):
            try:
                self._rest.update_twiml(self._sid, self._document(command))
            except CallGoneError:
                self._post(CallGone())
                return
            except RemoteError as error:
                if pause is None or not error.retryable:
                    self._post(CarrierRefused(turn, error.code))
                    return
                if self._overtaken_within(pause):
                    return
            else:
                if turn:
                    self._post(Delivered(turn))
                return

    def _overtaken_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        with self._lock:
            while self._next is None and not self._closed:
                if not self._newer.wait(max(0.0, deadline - time.monotonic())):
                    return False
            return True

    def _document(self, command: Speak | Listen) -> str:
        match command:
            case Speak(turn, sentences, next_sentence):
                url = flow_url(self._functions_url, "words", turn=turn, sentence=next_sentence)
                return twiml.say_then_continue(self._agent, sentences, url)
            case Listen():
                return twiml.listen(self._agent, flow_url(self._functions_url, "idle", prompts=0))


def _turn(command: Speak | Listen) -> int:
    return command.turn if isinstance(command, Speak) else 0
