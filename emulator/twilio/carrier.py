"""The account: its numbers, its calls, its address. What one call does is `call`'s; the REST API is `rest`'s."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Mapping

from emulator.twilio.call import EmulatedCall
from emulator.twilio.caller import Caller
from emulator.twilio.clock import Clock, RealClock
from emulator.twilio.faults import Faults
from emulator.twilio.plan import Callback, CallPlan, Number, Source
from emulator.twilio.rest import RestServer
from emulator.twilio.webhooks import Fetch, HttpFetch, Tunnels, Webhooks

OnRecording = Callable[[str, bytes], None]
_CALLS_END_LIMIT = 10.0


class Carrier:
    """A Twilio account on one machine.

    `numbers`, `tunnels`, `callees` and `faults` are live: they may be changed while calls run. `tunnels` maps a
    public host, or the beginning of a public URL, to the address behind it, whose scheme says whether TLS is spoken
    there (see `webhooks.Tunnels`). `callees` says who answers a number that is called. `fetch` replaces HTTP for
    webhooks, e.g. on a `VirtualClock`. `say_rate` is how many times faster than usual text is spoken.
    """

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: str,
        numbers: dict[str, Number],
        tunnels: dict[str, str] | None = None,
        callees: Mapping[str, Caller] | Callable[[str], Caller] | None = None,
        faults: Faults | None = None,
        clock: Clock | None = None,
        port: int = 0,
        fetch: Fetch | None = None,
        say_rate: float = 1.0,
        detection_seconds: float = 4.0,
        on_recording: OnRecording | None = None,
    ) -> None:
        self.account_sid, self.auth_token = account_sid, auth_token
        self.numbers = numbers
        self.number_sids: dict[str, str] = {}
        self.tunnels = {} if tunnels is None else tunnels
        self.callees = {} if callees is None else callees
        self.faults = faults or Faults()
        self.clock = clock or RealClock()
        self.say_rate = say_rate
        self.detection_seconds = detection_seconds
        self.on_recording = on_recording
        self.calls: dict[str, EmulatedCall] = {}
        self._located = Tunnels(self.tunnels)
        self.webhooks = Webhooks(auth_token, fetch or HttpFetch(self._located), self.faults, self.clock)
        self._server = RestServer(self, port)
        self._changed = threading.Condition()
        self._handed_out: set[str] = set()
        self._stopping = False

    @property
    def url(self) -> str:
        """Where the REST API answers: what `https://api.twilio.com` is to the real one."""
        return self._server.url

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        """Ends every call, waits for them (bounded), closes the API. Idempotent."""
        self._stopping = True
        running = list(self.calls.values())
        for call in running:
            call.end("carrier")
        for call in running:
            with contextlib.suppress(TimeoutError):
                call.wait(_CALLS_END_LIMIT)
        self._server.stop()

    def __enter__(self) -> Carrier:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- calls ---------------------------------------------------------------------------------------

    def dial(self, *, to: str, from_: str, caller: Caller) -> EmulatedCall:
        """Somebody rings a number of the account. Raises `KeyError` for a number it does not have."""
        number = self.numbers[to]
        callback = number.status_callback
        return self.place(
            CallPlan(
                to=to,
                from_=from_,
                direction="inbound",
                source=Source(number.voice_url, number.voice_method),
                fallback=Source(number.fallback_url, number.fallback_method) if number.fallback_url else None,
                # A number reports the end of its calls only.
                status_callback=(
                    Callback(callback, number.status_callback_method, frozenset({"completed"})) if callback else None
                ),
            ),
            caller,
        )

    def place(
        self, plan: CallPlan, human: Caller, on_change: Callable[[EmulatedCall], None] = lambda _: None
    ) -> EmulatedCall:
        """Starts a call. Raises `RuntimeError` once the carrier has been stopped."""
        if self._stopping:
            raise RuntimeError("the carrier has been stopped")
        call = EmulatedCall(self, plan, human, on_change)
        with self._changed:
            self.calls[call.sid] = call
            self._changed.notify_all()
        call.start()
        return call

    def wait_for_call(self, to: str | None = None, timeout: float = 10.0) -> EmulatedCall:
        """The next call the customer made (to that number), each handed out once. Raises `TimeoutError`."""

        def found() -> EmulatedCall | None:
            for call in self.calls.values():
                wanted = call.direction == "outbound-api" and to in (None, call.to)
                if wanted and call.sid not in self._handed_out:
                    return call
            return None

        with self._changed:
            call = self._changed.wait_for(found, timeout)
            if call is None:
                raise TimeoutError(f"no outbound call{f' to {to}' if to else ''} within {timeout:g} s")
            self._handed_out.add(call.sid)
            return call

    # -- what calls and the API ask --------------------------------------------------------------------

    def owns(self, number: str) -> bool:
        return number in self.numbers

    def callee_for(self, number: str) -> Caller:
        """Who picks up; by default somebody who picks up and stays silent."""
        if callable(self.callees):
            return self.callees(number)
        return self.callees.get(number) or Caller()

    def locate_stream(self, url: str) -> str:
        """The address behind a stream's public `url`. Raises `FetchError`."""
        return self._located.locate(url)

    def stream_signature(self, url: str) -> str | None:
        """Signed over the exact `wss://` URL of the TwiML, without parameters."""
        return self.webhooks.signature(url, [], self.faults.media_handshake_signature)

    def sid_of_number(self, number: str) -> str:
        return self.number_sids.setdefault(number, "PN" + secrets.token_hex(16))
