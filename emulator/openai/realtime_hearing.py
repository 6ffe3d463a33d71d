"""The ear of a Realtime session: the input audio buffer and the server's detection of speech. No sockets.

Source: API reference, input audio buffer events and turn detection: times count from the first byte of audio
written in the session; `audio_start_ms` includes the prefix padding, `audio_end_ms` the silence waited for.
"""

import base64
import binascii
from array import array
from dataclasses import dataclass
from typing import Any

from emulator.audio import BYTES_PER_MS, SPEECH_DBOV, Ended, Started, UtteranceFinder, ulaw_from_pcm16
from emulator.openai.schema import ApiError

_LARGEST_APPEND = 15 * 1024 * 1024
_KEPT_BYTES = 600_000 * BYTES_PER_MS  # ten minutes of audio that nobody commits; the oldest goes
_ONSET_MS = 60
_LEAST_COMMIT_MS = 100
# How long semantic detection waits after a finished sentence; its maximum waits are 8, 4 and 2 s.
_EAGERNESS_MS = {"low": 1200, "medium": 700, "auto": 700, "high": 400}


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak; `at_ms` is where the buffer's audio for it begins."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller stopped; `ulaw` is what is committed."""

    start_ms: int
    end_ms: int
    ulaw: bytes


class Ear:
    """The input audio buffer of one session, always as mu-law inside."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._buffer_from = 0
        self._total = 0
        self._finder: UtteranceFinder | None = None
        self._finder_from_ms = 0
        self._detection: dict[str, Any] | None = None
        self._start_ms = 0
        self._half = b""

    @property
    def heard_ms(self) -> int:
        """How much audio has been written in this session."""
        return self._total // BYTES_PER_MS

    @property
    def heard_bytes(self) -> int:
        """The same in bytes of mu-law."""
        return self._total

    @property
    def speaking(self) -> bool:
        """Whether the caller is speaking now, as far as the detector knows."""
        return self._finder is not None and self._finder.speaking

    def detect(self, detection: dict[str, Any] | None) -> None:
        """Uses these turn_detection settings from here on; None: the client commits by itself."""
        if detection == self._detection:
            return
        self._detection = detection
        self._finder = None
        if detection:
            # 0.5 is the level at which telephone speech is told from line noise; 0.1 more is 6 dB more.
            threshold = SPEECH_DBOV + (detection.get("threshold", 0.5) - 0.5) * 60
            self._finder = UtteranceFinder(_ONSET_MS, max(50, self._silence_ms), threshold)
            self._finder_from_ms = self.heard_ms

    @property
    def _silence_ms(self) -> int:
        detection = self._detection or {}
        if detection.get("type") == "semantic_vad":
            return _EAGERNESS_MS[detection["eagerness"]]
        return int(detection.get("silence_duration_ms", 500))

    def append(self, audio: str, audio_format: dict[str, Any]) -> list[SpeechStarted | SpeechStopped]:
        """Writes base64 audio; gives what the detector makes of it. Raises ApiError for what is no base64."""
        if len(audio) > _LARGEST_APPEND:
            raise ApiError("Invalid 'audio'. Audio is larger than 15 MiB.", "string_above_max_length", "audio")
        try:
            data = base64.b64decode(audio, validate=True)
        except (ValueError, binascii.Error):
            message = "Invalid 'audio'. Expected base64-encoded audio bytes but got an invalid value."
            raise ApiError(message, "invalid_value", "audio") from None
        ulaw = data if audio_format["type"] == "audio/pcmu" else self._from_24k(data)
        self._buffer += ulaw
        self._total += len(ulaw)
        found = self._found(ulaw)
        if self._finder is not None and not self._finder.speaking:
            self._forget_before(self.heard_ms - self._padding_ms - 1000)
        self._forget_before((self._total - _KEPT_BYTES) // BYTES_PER_MS)
        return found

    def commit(self) -> SpeechStopped:
        """Takes what is in the buffer. Raises ApiError when there is too little."""
        length = len(self._buffer) / BYTES_PER_MS
        if length < _LEAST_COMMIT_MS:
            message = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                f"but buffer only has {length:.2f}ms of audio."
            )
            raise ApiError(message, "input_audio_buffer_commit_empty")
        return self._take(self._buffer_from // BYTES_PER_MS, self.heard_ms)

    def take_silence(self, start_ms: int) -> SpeechStopped:
        """The audio since then, in which nobody spoke (idle timeout)."""
        return self._take(start_ms, self.heard_ms)

    def clear(self) -> None:
        """Throws away what is in the buffer."""
        self._buffer.clear()
        self._buffer_from = self._total

    def _found(self, ulaw: bytes) -> list[SpeechStarted | SpeechStopped]:
        found: list[SpeechStarted | SpeechStopped] = []
        for event in self._finder.feed(ulaw) if self._finder else []:
            if isinstance(event, Started):
                self._start_ms = max(0, self._finder_from_ms + event.ms - self._padding_ms)
                found.append(SpeechStarted(self._start_ms))
            elif isinstance(event, Ended):
                found.append(self._take(self._start_ms, self._finder_from_ms + event.ms + self._silence_ms))
        return found

    @property
    def _padding_ms(self) -> int:
        return int((self._detection or {}).get("prefix_padding_ms", 300))

    def _take(self, start_ms: int, end_ms: int) -> SpeechStopped:
        first = max(0, start_ms * BYTES_PER_MS - self._buffer_from)
        last = max(first, end_ms * BYTES_PER_MS - self._buffer_from)
        ulaw = bytes(self._buffer[first:last])
        del self._buffer[:last]
        self._buffer_from = self._total - len(self._buffer)
        return SpeechStopped(start_ms, end_ms, ulaw)

    def _forget_before(self, ms: int) -> None:
        surplus = ms * BYTES_PER_MS - self._buffer_from
        if surplus > 0:
            del self._buffer[:surplus]
            self._buffer_from = self._total - len(self._buffer)

    def _from_24k(self, data: bytes) -> bytes:
        """Mu-law at 8 kHz from 16-bit samples at 24 kHz: every third, which is enough to detect speech."""
        data = self._half + data
        whole = len(data) // 6 * 6
        self._half = data[whole:]
        samples = array("h")
        samples.frombytes(data[:whole])
        return ulaw_from_pcm16(samples[::3].tobytes())
