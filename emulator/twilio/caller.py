"""A person who takes part in an emulated call: what they do, step by step, and how they do it.

The vocabulary of scripts belongs here, and the thread that acts one out. The person knows only what a human on
the telephone knows: what is heard and when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from emulator import audio
from emulator.twilio.hearing import STILL_SPEAKING_SECONDS, sounding_part
from emulator.twilio.report import Said

if TYPE_CHECKING:
    from emulator.twilio.call import EmulatedCall

# After the caller stopped speaking, sound this short is the end of what the bot was saying, not its reply.
_TAIL_SECONDS = 0.1
_LOOK_AGAIN_SECONDS = 0.2


class Step(Protocol):
    """One thing the person does."""

    def perform(self, person: Person) -> None: ...


@dataclass(frozen=True)
class Listen:
    """Waits until the bot has been heard (since the last step that spoke or listened) and then been quiet."""

    until_quiet: float = 0.7
    max_seconds: float = 20.0

    def perform(self, person: Person) -> None:
        call, give_up = person.call, person.call.now() + self.max_seconds
        while (now := call.now()) < give_up:
            left = give_up - now
            if call.ear.first_sound_after(person.since, now) is not None:
                left = min(left, call.ear.quiet_since(now) + self.until_quiet - now)
                if left <= 1e-6:
                    person.since = now
                    return
            elif person.hears_something():
                left = min(left, _LOOK_AGAIN_SECONDS)
            person.wait(left)
        call.journal.note(f"the caller listened for {self.max_seconds:g} s and did not hear a whole utterance")


@dataclass(frozen=True)
class Hear:
    """Waits until the bot has said `text_part` since the caller last spoke."""

    text_part: str
    max_seconds: float = 20.0

    def perform(self, person: Person) -> None:
        call, give_up = person.call, person.call.now() + self.max_seconds
        while (now := call.now()) < give_up:
            if self.text_part in call.ear.text_since(call.ear.last_said_end(), now):
                return
            person.wait(min(_LOOK_AGAIN_SECONDS, give_up - now))
        call.journal.note(f"the caller waited {self.max_seconds:g} s for words that were never heard")


@dataclass(frozen=True)
class Speak:
    """Says a recording (mu-law 8 kHz); `text` is what is in it."""

    ulaw: bytes
    text: str

    def perform(self, person: Person) -> None:
        person.speak(self.ulaw, self.text)


@dataclass(frozen=True)
class Interrupt:
    """Lets the bot speak for `after` seconds, then speaks over it. A reply shorter than that is not waited for."""

    ulaw: bytes
    text: str
    after: float = 1.2
    max_seconds: float = 30.0

    def perform(self, person: Person) -> None:
        call, give_up = person.call, person.call.now() + self.max_seconds
        while (now := call.now()) < give_up:
            left = give_up - now
            began = call.ear.first_sound_after(person.since, now)
            if began is not None:
                if began + self.after - now <= 1e-6:
                    if not person.hears_something():
                        call.journal.note("the caller wanted to interrupt, but the bot had already finished")
                    break
                left = min(left, began + self.after - now)
            elif person.hears_something():
                left = min(left, _LOOK_AGAIN_SECONDS)
            person.wait(left)
        else:
            call.journal.note(f"the caller waited {self.max_seconds:g} s for the bot to begin, to interrupt it")
        person.speak(self.ulaw, self.text)


@dataclass(frozen=True)
class Press:
    """Presses keys, `0`-`9`, `*`, `#`, one every `seconds`."""

    digits: str
    seconds: float = 0.25

    def perform(self, person: Person) -> None:
        for digit in self.digits:
            person.call.press(digit)
            person.wait_for(self.seconds)


@dataclass(frozen=True)
class Wait:
    """Does nothing for some seconds."""

    seconds: float

    def perform(self, person: Person) -> None:
        person.wait_for(self.seconds)


@dataclass(frozen=True)
class HangUp:
    """Puts the receiver down."""

    def perform(self, person: Person) -> None:
        person.call.hang_up()


@dataclass(frozen=True)
class StayUntilEnd:
    """Stays silent on the line until the other side hangs up (also what happens after the last step)."""

    def perform(self, person: Person) -> None:
        person.wait_for(float("inf"))


@dataclass(frozen=True)
class Do:
    """A hook for tests: runs `action(call)` at this point."""

    action: Callable[[EmulatedCall], object]

    def perform(self, person: Person) -> None:
        person.action(self.action)


@dataclass(frozen=True)
class Caller:
    """A person and what they will do. The same value may take part in several calls.

    `machine` makes an answering machine of them: `"machine"`, `"fax"`, `"unknown"` or Twilio's exact
    `AnsweredBy` value. After `max_seconds` on the line they hang up whatever happens.
    """

    script: Iterable[Step] = ()
    answers: bool = True
    ring_seconds: float = 0.2
    machine: str | None = None
    busy: bool = False
    reachable: bool = True
    max_seconds: float = 300.0
    steps: tuple[Step, ...] = field(init=False)

    def __post_init__(self) -> None:
        # A generator could be acted out only once.
        object.__setattr__(self, "steps", tuple(self.script))


class _Gone(Exception):  # noqa: N818  # leaves the script; nothing is wrong
    """The call is over for this person."""


class Person:
    """Acts out a script on one call, in a thread of its own."""

    def __init__(self, caller: Caller, call: EmulatedCall) -> None:
        self.call = call
        self.since = 0.0
        """What was heard before this moment is settled."""
        self.wake = call.clock.wake()
        self._caller = caller
        self._leaves_at = caller.max_seconds

    def run(self) -> None:
        try:
            for step in self._caller.steps:
                self._check()
                step.perform(self)
            self.wait_for(float("inf"))
        except _Gone:
            return

    def wait(self, seconds: float) -> None:
        """Waits until something changes, at most `seconds`. Raises when the call is over."""
        self._check()
        self.call.clock.wait(min(seconds, self._leaves_at - self.call.now()), self.wake)
        self._check()

    def wait_for(self, seconds: float) -> None:
        """Waits that long, whatever is heard."""
        until = self.call.now() + seconds
        while self.call.now() < until - 1e-6:
            self.wait(until - self.call.now())

    def hears_something(self) -> bool:
        """Whether the other side is being heard right now; a pause for breath does not count as quiet."""
        now = self.call.now()
        return now - self.call.ear.quiet_since(now) <= STILL_SPEAKING_SECONDS

    def speak(self, ulaw: bytes, text: str) -> None:
        call = self.call
        start = call.mouth.speak(call.now(), ulaw)
        first, last = sounding_part(ulaw)
        call.ear.saying(Said(text, start + first, start + last))
        peer_hears = call.heard_by_peer(text)
        try:
            self.wait_for(start + len(ulaw) / audio.SAMPLE_RATE - call.now())
        finally:
            at = min(call.now(), call.over_at())
            call.ear.said_until(min(at, start + last) if call.is_over else start + last)
            peer_hears()
        self.since = start + last + _TAIL_SECONDS

    def action(self, action: Callable[[EmulatedCall], object]) -> None:
        """Runs a hook; its failure is noted, the person carries on."""
        try:
            action(self.call)
        except Exception as exc:  # a test's hook may raise anything; the call must end all the same
            self.call.journal.note(f"a Do step failed: {exc!r}")

    def _check(self) -> None:
        if self.call.is_over:
            raise _Gone
        if self.call.now() >= self._leaves_at:
            self.call.journal.note(f"the caller hung up after {self._caller.max_seconds:g} s (max_seconds)")
            self.call.hang_up()
            raise _Gone
