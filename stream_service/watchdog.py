"""Whether a peer keeps to its limits: rates, silence, unanswered pings, a stalled socket. It judges; the link acts."""

from dataclasses import dataclass
from math import inf

from stream_service.lane import Lane
from stream_service.limits import Limits, Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """The link must end: why, and the close code to end it with."""

    reason: Reason
    code: int
    detail: str


class Watchdog:
    """Grants one peer what it may send, and counts how long it waits. Times are seconds on the clock of whoever calls.

    What it may send is in its lane, where whoever reads takes from it, and there too is when something was last heard.
    """

    __slots__ = ("_lane", "_limits", "_looked_at", "_ping_at")

    def __init__(self, limits: Limits, lane: Lane) -> None:
        self._limits = limits
        self._lane = lane
        self._looked_at = 0.0
        self._ping_at: float | None = None
        lane.bytes_left = limits.bytes_per_second * limits.burst_seconds
        lane.messages_left = limits.messages_per_second * limits.burst_seconds
        lane.enough_bytes, lane.enough_messages = lane.bytes_left / 2, lane.messages_left / 2
        lane.patience = min(
            seconds for seconds in (limits.silence_seconds, limits.ping_seconds, inf) if seconds is not None
        )

    def begin(self, now: float) -> None:
        """Count from here."""
        self._lane.heard_at = self._looked_at = now

    def look(self, now: float, *, listening: bool, stuck_since: float | None) -> Verdict | None:
        """Judge, and let the budgets grow by the time since the last look.

        `listening`: we do read, so that silence means something. `stuck_since`: since when nothing could be written.
        """
        limits, lane = self._limits, self._lane
        passed, self._looked_at = now - self._looked_at, now
        lane.bytes_left = _grown(lane.bytes_left, limits.bytes_per_second, passed, limits.burst_seconds)
        lane.messages_left = _grown(lane.messages_left, limits.messages_per_second, passed, limits.burst_seconds)
        if stuck_since is not None and now - stuck_since > limits.write_stall_seconds:
            return Verdict("stalled", 1001, f"nothing written for {limits.write_stall_seconds:g} s")
        if not listening:
            lane.heard_at = now
        if self._ping_at is not None and lane.heard_at >= self._ping_at:
            self._ping_at = None
        if limits.silence_seconds is not None and now - lane.heard_at > limits.silence_seconds:
            return Verdict("silent", 1001, f"no byte for {limits.silence_seconds:g} s")
        if self._ping_at is not None and now - self._ping_at > limits.pong_seconds:
            return Verdict("half-open", 1001, f"no answer to a ping for {limits.pong_seconds:g} s")
        return None

    def wants_ping(self, now: float) -> bool:
        """Whether it is time to ask the peer if it is there; true once until it is heard again."""
        seconds = self._limits.ping_seconds
        if seconds is None or self._ping_at is not None or now - self._lane.heard_at < seconds:
            return False
        self._ping_at = now
        return True


def _grown(left: float, rate: float, passed: float, burst: float) -> float:
    return min(left + rate * passed, rate * burst)
