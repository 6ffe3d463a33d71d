"""AmiVoice's ear: the audio of one session in, its `S C U E A` messages out.

Speech is found and dated by the audio itself, never by the wall clock, which only makes a result late.
Commands, errors and limits on silence are in `amivoice_recognition`, the JSON in `amivoice_results`.

Source: AmiVoice API manual, commands and responses (detector and recogniser run side by side: `C` may come
before or after `E`), A event packet, limitations (an utterance is cut at 30 s).
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emulator.amivoice_commands import Start
from emulator.amivoice_faults import (
    EmptyResults,
    Fault,
    FaultKind,
    MisheardInterims,
    RecogniserAfterEnd,
    RejectUtterances,
    SlowResults,
)
from emulator.amivoice_report import Habits, Utterance
from emulator.amivoice_results import EMPTY, REJECTED, Verdict, final_result, interim_result
from emulator.audio import BYTES_PER_MS, FRAME_BYTES, Ended, Started, UtteranceFinder, level, ulaw_from_pcm16
from emulator.recordings import Library, Recognised

_MARGIN_MS = 200  # of audio around an utterance that the recogniser gets too
_POST_TIME_MS = 700  # "a bit under 1 s" of silence closes an utterance
_QUIET_DBOV = -35.0
_SHORT_MS = 300


@dataclass(slots=True)
class _Result:
    """A result that is due once the session's audio or the clock has come so far."""

    at_ms: float
    at: float
    message: str


class Listener:
    """Hears one session. `send` takes each message; `utterances` is where finds are reported."""

    def __init__(
        self,
        start: Start,
        library: Library,
        habits: Habits,
        faults: tuple[Fault, ...],
        utterances: list[Utterance],
        send: Callable[[str], None],
    ) -> None:
        self._start = start
        self._library = library
        self._habits = habits
        self._faults = faults
        self._utterances = utterances
        self._send = send
        self._finder = UtteranceFinder(end_ms=max(100, start.segmenter.get("postTime", _POST_TIME_MS)))
        self._audio = bytearray()
        self._audio_from = 0  # the position in the session of the first byte kept
        self._half_sample = self._rest = b""
        self._speaking_since: int | None = None
        self._previous_end_ms = 0
        self._recogniser_at: int | None = None
        self._update_at = 0
        self._last_update = ""
        self._results: deque[_Result] = deque()

    @property
    def heard_ms(self) -> int:
        """How much audio has come, in milliseconds."""
        return self._finder.heard_ms

    @property
    def silent_ms(self) -> int:
        """How long ago in the audio anything was said."""
        return 0 if self._speaking_since is not None else self.heard_ms - self._previous_end_ms

    def frames(self, audio: bytes) -> Iterator[bytes]:
        """The whole 20 ms frames of mu-law that this message completes; what is left waits for the next.

        How the client packs its audio must not change what is heard or when.
        """
        if self._start.audio_format == "LSB8K":
            pcm = self._half_sample + audio
            whole = len(pcm) // 2 * 2
            self._half_sample, audio = pcm[whole:], ulaw_from_pcm16(pcm[:whole])
        ulaw = self._rest + audio
        whole = len(ulaw) // FRAME_BYTES * FRAME_BYTES
        self._rest = ulaw[whole:]
        return (ulaw[position : position + FRAME_BYTES] for position in range(0, whole, FRAME_BYTES))

    def hear(self, ulaw: bytes, now: float) -> None:
        """Listens to one frame, so that messages come in the order of the audio."""
        self._audio += ulaw
        for event in self._finder.feed(ulaw):
            self._on_event(event, now)
        if self._speaking_since is not None:
            self._while_speaking(self._speaking_since, now)
        else:
            self._forget_before(self.heard_ms - 1000)
        self.release(now)

    def finish(self, now: float) -> None:
        """No more audio: an open utterance ends here."""
        self.hear(self._rest, now)
        self._rest = b""
        for event in self._finder.finish():
            self._on_event(event, now)

    def release(self, now: float) -> None:
        """Sends the results that are due."""
        while self._results and (now >= self._results[0].at or self.heard_ms >= self._results[0].at_ms):
            self._send(self._results.popleft().message)

    def hurry(self, at: float) -> None:
        """Has every result that is still to come ready by then."""
        for result in self._results:
            result.at = min(result.at, at)

    @property
    def next_result_at(self) -> float | None:
        """When the next result is due by the clock."""
        return self._results[0].at if self._results else None

    def _on_event(self, event: Started | Ended, now: float) -> None:
        if isinstance(event, Started):
            self._speaking_since = self._update_at = event.ms
            self._recogniser_at = self.heard_ms + self._habits.recogniser_start_ms
            self._last_update = ""
            self._send(f"S {event.ms}")
            return
        if self._recogniser_at is None:
            self._send(f"E {event.ms}")
        elif self._fault(RecogniserAfterEnd):
            self._send(f"E {event.ms}")
            self._send("C")
        else:
            self._send("C")
            self._send(f"E {event.ms}")
        self._speaking_since = self._recogniser_at = None
        self._conclude(event, now)
        self._previous_end_ms = event.ms

    def _while_speaking(self, since: int, now: float) -> None:
        if self.heard_ms - since >= self._habits.limits.utterance * 1000:
            for event in self._finder.split():
                self._on_event(event, now)
            return
        if self._recogniser_at is not None:
            if self.heard_ms < self._recogniser_at or self._fault(RecogniserAfterEnd):
                return
            self._recogniser_at = None
            self._send("C")
        interval = self._start.updated_interval_ms
        if interval and self.heard_ms >= self._update_at + interval:
            self._update_at = self.heard_ms
            text = self._interim(since)
            if text and text != self._last_update:
                self._last_update = text
                self._send("U " + interim_result(text))

    def _interim(self, since: int) -> str:
        """What the recogniser has made of the utterance so far."""
        audio = self._between(since, self.heard_ms)
        audio = audio[: max(0, len(audio) - self._habits.interim_lag_ms * BYTES_PER_MS)]
        text = self._library.recognise(audio, complete=False).text
        misheard = self._fault(MisheardInterims)
        return text[:-1] + misheard.text if misheard and text else text

    def _conclude(self, event: Ended, now: float) -> None:
        """The result of an utterance, to be sent a little later."""
        audio = self._between(event.start_ms, event.ms)
        recognised = self._library.recognise(audio)
        verdict = self._verdict(recognised, audio, event)
        self._utterances.append(Utterance(event.start_ms, event.ms, recognised, verdict.text, verdict.code))
        slow = self._fault(SlowResults)
        latency = self._habits.latency_ms / 1000 + (slow.seconds if slow else 0.0)
        message = "A " + final_result(verdict, event.start_ms, event.ms, len(self._utterances))
        self._results.append(_Result(self.heard_ms + latency * 1000, now + latency, message))

    def _verdict(self, recognised: Recognised, audio: bytes, event: Ended) -> Verdict:
        rejected = self._fault(RejectUtterances)
        if rejected and len(self._utterances) < rejected.count:
            return REJECTED
        empty = self._fault(EmptyResults)
        if empty and len(self._utterances) < empty.count:
            return EMPTY
        if recognised.text:
            return Verdict(recognised.sentence)
        noise = recognised.recording or event.ms - event.start_ms < _SHORT_MS or level(audio) < _QUIET_DBOV
        return REJECTED if noise or not self._habits.unknown_text else Verdict(self._habits.unknown_text)

    def _between(self, start_ms: int, end_ms: int) -> bytes:
        start_ms = max(self._previous_end_ms, start_ms - _MARGIN_MS)
        first = max(0, start_ms * BYTES_PER_MS - self._audio_from)
        return bytes(self._audio[first : (end_ms + _MARGIN_MS) * BYTES_PER_MS - self._audio_from])

    def _forget_before(self, ms: int) -> None:
        surplus = ms * BYTES_PER_MS - self._audio_from
        if surplus > 16 * FRAME_BYTES:
            del self._audio[:surplus]
            self._audio_from += surplus

    def _fault(self, kind: type[FaultKind]) -> FaultKind | None:
        return next((fault for fault in self._faults if isinstance(fault, kind)), None)
