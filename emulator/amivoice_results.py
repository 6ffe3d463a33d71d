"""The JSON of AmiVoice's `U` and `A` messages.

Source: AmiVoice API manual, A event packet and result format: one element in `results`, times in milliseconds
since the session's first byte, `spoken` is "_" for punctuation, a failure has a `code` and no text.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(r"[、。？！…]|[ぁ-ゖー]+|[^、。？！…ぁ-ゖー]+")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the recogniser makes of an utterance."""

    text: str
    code: str = ""
    message: str = ""


REJECTED = Verdict("", "o", "recognition result is rejected because confidence is below the threshold")
EMPTY = Verdict("")


def interim_result(text: str) -> str:
    """The body of a `U`: no confidence, no times, and the text goes on."""
    growing = text + "..."
    tokens = [{"written": word} for word in _TOKEN.findall(text)]
    return _json({"results": [{"tokens": tokens, "text": growing}], "text": growing})


def final_result(verdict: Verdict, start_ms: int, end_ms: int, number: int) -> str:
    """The body of an `A`."""
    result = {
        "confidence": 0.95 if verdict.text else 0.0,
        "starttime": start_ms,
        "endtime": end_ms,
        "tags": [],
        "rulename": "",
        "text": verdict.text,
        "tokens": _tokens(verdict.text, start_ms, end_ms),
    }
    return _json(
        {
            "results": [result],
            "utteranceid": f"emulator/{number}",
            "text": verdict.text,
            "code": verdict.code,
            "message": verdict.message,
        }
    )


def _tokens(text: str, start_ms: int, end_ms: int) -> list[dict[str, Any]]:
    """The words with their times, spread over the utterance by their length."""
    tokens = []
    place = 0
    for word in _TOKEN.findall(text):
        begin = start_ms + (end_ms - start_ms) * place // len(text)
        place += len(word)
        tokens.append(
            {
                "written": word,
                "confidence": 0.95,
                "starttime": begin,
                "endtime": start_ms + (end_ms - start_ms) * place // len(text),
                "spoken": "_" if word in "、。？！…" else word,
            }
        )
    return tokens


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
