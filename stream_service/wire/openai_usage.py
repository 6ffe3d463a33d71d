"""What OpenAI says it has counted, as the kinds it bills: each token is in one of them, so each has one price. No I/O.

Facts: the types of the `openai` package (`RealtimeResponseUsage`, `CompletionUsage`, the transcription's `Usage`).
OpenAI counts what was cached among the input, and audio among all; a count that is missing or no number is none.
"""

from collections.abc import Mapping
from typing import Any


def of_response(usage: Mapping[str, Any]) -> dict[str, int]:
    """Of a Realtime response, which is billed for the whole conversation before it."""
    given, made = _part(usage, "input_token_details"), _part(usage, "output_token_details")
    cached = _part(given, "cached_tokens_details")
    audio, cached_audio = _count(given, "audio_tokens"), _count(cached, "audio_tokens")
    # An image is billed at another price than text, but none is ever sent.
    text_in = _count(usage, "input_tokens") - audio
    cached_text = _count(given, "cached_tokens") - cached_audio
    audio_out = _count(made, "audio_tokens")
    return _told(
        text_tokens_in=text_in - cached_text,
        cached_text_tokens_in=cached_text,
        audio_tokens_in=audio - cached_audio,
        cached_audio_tokens_in=cached_audio,
        text_tokens_out=_count(usage, "output_tokens") - audio_out,
        audio_tokens_out=audio_out,
    )


def of_chat(usage: Mapping[str, Any]) -> dict[str, int]:
    """Of a chat completion, whose tokens are all text."""
    cached = _count(_part(usage, "prompt_tokens_details"), "cached_tokens")
    return _told(
        text_tokens_in=_count(usage, "prompt_tokens") - cached,
        cached_text_tokens_in=cached,
        text_tokens_out=_count(usage, "completion_tokens"),
    )


def of_transcript(usage: Mapping[str, Any]) -> dict[str, int]:
    """Of writing down what a caller said: by tokens or by time, as the model is billed. Milliseconds."""
    seconds = usage.get("seconds")
    return _told(
        transcript_ms=round(seconds * 1000) if isinstance(seconds, int | float) and 0 < seconds < _A_DAY else 0,
        transcript_tokens_in=_count(usage, "input_tokens"),
        transcript_tokens_out=_count(usage, "output_tokens"),
    )


_A_DAY = 86_400.0


def _part(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = usage.get(name)
    return part if isinstance(part, Mapping) else {}


def _count(usage: Mapping[str, Any], name: str) -> int:
    count = usage.get(name)
    return count if isinstance(count, int) and not isinstance(count, bool) else 0


def _told(**counts: int) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count > 0}
