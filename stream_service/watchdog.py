"""Whether a peer keeps to its limits: rates, silence, unanswered pings, a stalled socket. It judges; the link acts."""

from dataclasses import dataclass

from stream_service.limits import Limits, Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """The link must end: why, and the close code to end it with."""

    reason: Reason
    code: int
    detail: str


class Watchdog:
    """Counts what one peer sends and how long it waits. Times are seconds on the clock of whoever calls.

    `bytes_left` and `messages_left` are what it may send just now; the link takes from them, and below zero is a flood.
    `heard_at` is when bytes came last, and `ping_at` when a ping was sent that nothing has come after: whoever reads
    sets the one and clears the other, for every read, which is too often to call anybody.
    """

    __slots__ = ("_limits", "_looked_at", "bytes_left", "heard_at", "messages_left", "ping_at")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.heard_at = self._looked_at = 0.0
        self.ping_at: float | None = None
        self.bytes_left = limits.bytes_per_second * limits.burst_seconds
        self.messages_left = limits.messages_per_second * limits.burst_seconds

    def begin(self, now: float) -> None:
        """Count from here."""
        self.heard_at = self._looked_at = now

    def look(self, now: float, *, listening: bool, stuck_since: float | None) -> Verdict | None:
        """Judge, and let the budgets grow by the time since the last look.

        `listening`: we do read, so that silence means something. `stuck_since`: since when nothing could be written.
        """
        limits = self._limits
        passed, self._looked_at = now - self._looked_at, now
        self.bytes_left = _grown(self.bytes_left, limits.bytes_per_second, passed, limits.burst_seconds)
        self.messages_left = _grown(self.messages_left, limits.messages_per_second, passed, limits.burst_seconds)
        if stuck_since is not None and now - stuck_since > limits.write_stall_seconds:
            return Verdict("stalled", 1001, f"nothing written for {limits.write_stall_seconds:g} s")
        if not listening:
            self.heard_at, self.ping_at = now, None
        elif limits.silence_seconds is not None and now - self.heard_at > limits.silence_seconds:
            return Verdict("silent", 1001, f"no byte for {limits.silence_seconds:g} s")
        elif self.ping_at is not None and now - self.ping_at > limits.pong_seconds:
            return Verdict("half-open", 1001, f"no answer to a ping for {limits.pong_seconds:g} s")
        return None

    def wants_ping(self, now: float) -> bool:
        """Whether it is time to ask the peer if it is there; true once until it is heard again."""
        seconds = self._limits.ping_seconds
        if seconds is None or self.ping_at is not None or now - self.heard_at < seconds:
            return False
        self.ping_at = now
        return True


def _grown(left: float, rate: float, passed: float, burst: float) -> float:
    return min(left + rate * passed, rate * burst)
