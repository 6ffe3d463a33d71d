"""What an emulated AmiVoice is told (habits, limits) and what it tells afterwards (reports). Values only."""

from dataclasses import dataclass, field

from emulator.recordings import Recognised


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds after which AmiVoice gives up. Source: limitations page of the manual."""

    no_speech: float = 600.0
    no_data: float = 60.0
    utterance: float = 30.0


@dataclass(frozen=True, slots=True)
class Habits:
    """How this AmiVoice behaves when nothing is wrong.

    `latency_ms` is from the end of an utterance being noticed to its result, `recogniser_start_ms` from its
    beginning being noticed to `C`, `interim_lag_ms` how far interim results are behind the audio; `unknown_text` is
    what is "recognised" in speech that the library does not know ("" rejects it as noise is rejected).
    """

    latency_ms: int = 150
    recogniser_start_ms: int = 60
    interim_lag_ms: int = 120
    unknown_text: str = "聞き取れない音声です"
    keys: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Utterance:
    """An utterance that was found: when (ms since the session's first byte), and what became of it."""

    start_ms: int
    end_ms: int
    recognised: Recognised
    text: str
    code: str


@dataclass(slots=True)
class SessionReport:
    """What happened on one connection, for a test or a person to look at.

    `commands` are the text messages received, without the key; `sent` everything answered, `results_at` when each
    final result was (monotonic seconds); `bytes_received` counts audio; `closed` is None while it lasts, then who
    ended it and how.
    """

    path: str
    commands: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    results_at: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    utterances: list[Utterance] = field(default_factory=list)
    bytes_received: int = 0
    closed: str | None = None
