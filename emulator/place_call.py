"""Placing one emulated call from outside: asking the emulated Twilio for it, following it, and judging it.

Nothing is printed here. The emulated Twilio may be in another process: only HTTP is used.
"""

import base64
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.audio import wav_to_ulaw
from emulator.recordings import Library, Recording

LONGEST_SILENCE = 3.0  # seconds that a caller may be left waiting: the promise of the product
_ASK_SECONDS = 5.0
_ANSWER_SECONDS = 20.0  # of the trigger, which asks Twilio before it answers
_ENDING_SECONDS = 60.0  # from the last sound of a call to its report
_RECORD_SECONDS = 3.0  # for the last callbacks to arrive
_FINAL = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})


# Everything asked here is on this machine: a proxy has no place between.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class NotPlacedError(Exception):
    """The call could not be placed or followed; the message says why."""


@dataclass(frozen=True, slots=True)
class Order:
    """A call to place: who rings whom, what the caller says turn by turn, who hangs up, and how long it may last."""

    to: str
    from_: str
    speech: Sequence[Recording]
    hang_up: bool = True
    max_seconds: float = 120.0


def answers(twilio_url: str) -> bool:
    """Whether an emulated Twilio is there."""
    try:
        return isinstance(_ask(f"{twilio_url}/emulator/calls"), dict)
    except (OSError, ValueError, http.client.HTTPException):
        return False


def learn(twilio_url: str, recording: Recording) -> None:
    """Have the other emulators recognise this recording. Raises NotPlacedError."""
    try:
        _ask(f"{twilio_url}/emulator/recordings", _spoken(recording))
    except (OSError, ValueError, http.client.HTTPException) as exc:
        raise NotPlacedError(f"the emulators could not be taught a recording: {_reason(exc)}") from exc


def place(twilio_url: str, order: Order) -> Iterator[dict[str, Any]]:
    """Place the call; its events as they happen, the last one (`CallEnded`) with the report. Raises NotPlacedError."""
    wish = {
        "to": order.to,
        "from": order.from_,
        "speech": [_spoken(recording) for recording in order.speech],
        "hang_up_after": order.hang_up,
        "max_seconds": order.max_seconds,
    }
    try:
        request = _request(f"{twilio_url}/emulator/calls", wish)
        with _open(request, timeout=order.max_seconds + _ENDING_SECONDS) as lines:
            for line in lines:
                yield json.loads(line)
    except (OSError, ValueError, http.client.HTTPException) as exc:
        raise NotPlacedError(f"the call could not be placed or followed: {_reason(exc)}") from exc


def record(product_url: str, key: str, sid: str) -> dict[str, Any] | None:
    """What `/calls/<sid>` says once the call is over there too; None when it cannot be read."""
    ends_at = time.monotonic() + _RECORD_SECONDS
    found = None
    while time.monotonic() < ends_at:
        try:
            found = _ask(f"{product_url}/calls/{sid}", key=key)
        except urllib.error.HTTPError as exc:
            if exc.code != 404:
                return None
        except (OSError, ValueError, http.client.HTTPException):
            return None
        if found is not None and found.get("status") in _FINAL:
            return found
        time.sleep(0.1)
    return found


def trigger(product_url: str, key: str, wish: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """`POST /outgoing-call`: the status and the answer. Raises NotPlacedError when there is none."""
    try:
        with _open(_request(f"{product_url}/outgoing-call", wish, key), timeout=_ANSWER_SECONDS) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, {"error": exc.reason}
    except (OSError, ValueError, http.client.HTTPException) as exc:
        raise NotPlacedError(f"the trigger did not answer: {_reason(exc)}") from exc


def problems(report: Mapping[str, Any], recorded: Mapping[str, Any] | None) -> list[str]:
    """What was not as it should be in a call; nothing when it was."""
    found = []
    if report["status"] != "completed":
        found.append(f"the call ended as {report['status']}")
    elif report["ended_by"] not in ("bot", "caller"):
        found.append(f"the call was ended by the {report['ended_by']}")
    found += [f"error {code}: {message}" for code, message in report["errors"]]
    found += [note for note in report["notes"] if "max_seconds" in note]
    if not report["heard"]:
        found.append("the bot was never heard")
    if any(said["text"] for said in report["said"]) and not report["turns"]:
        found.append("nothing the caller said was answered")
    silence = report["longest_unexplained_silence"]
    if silence > LONGEST_SILENCE:
        found.append(f"the caller was left waiting for {silence:.1f} s")
    if recorded is not None and recorded.get("status") not in _FINAL:
        found.append(f"its record says {recorded.get('status')}")
    return found


def from_file(path: Path, library: Library) -> Recording:
    """A WAV file as a recording; its words are in a text file beside it, or known, or else its name.

    Raises ValueError for a file that is no such audio, OSError for one that cannot be read.
    """
    ulaw = wav_to_ulaw(path.read_bytes())
    for beside in (path.with_name(path.name + ".txt"), path.with_suffix(".txt")):
        if beside.is_file():
            return Recording(path.stem, beside.read_text(encoding="utf-8").strip(), ulaw)
    return Recording(path.stem, library.recognise(ulaw).text or path.stem, ulaw)


def _spoken(recording: Recording) -> dict[str, str]:
    return {"text": recording.text, "ulaw": base64.b64encode(recording.ulaw).decode()}


def _ask(url: str, body: Mapping[str, Any] | None = None, key: str = "") -> dict[str, Any]:
    with _open(_request(url, body, key), timeout=_ASK_SECONDS) as answer:
        found = json.loads(answer.read())
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _request(url: str, body: Mapping[str, Any] | None = None, key: str = "") -> urllib.request.Request:
    headers = {"Accept": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    if body is None:
        return urllib.request.Request(url, headers=headers)  # noqa: S310 - the address of an emulator or of the product
    return urllib.request.Request(  # noqa: S310 - the same
        url, json.dumps(body).encode(), headers={**headers, "Content-Type": "application/json"}
    )


def _reason(exc: Exception) -> str:
    if isinstance(exc, urllib.error.HTTPError):
        try:
            return str(json.loads(exc.read())["message"])
        except (ValueError, KeyError, TypeError, OSError):
            return f"status {exc.code}"
    return str(exc)
