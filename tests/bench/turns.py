"""`python -m tests.bench.turns`: how long a caller waits for the first words, and how much of it is ours.

    python -m tests.bench.turns --calls 8 --json turns.json

Whole calls against the emulated vendors, whose own times are known: every answer has six sentences at 30 tokens a
second. In one run: engine amivoice with and without an answer begun on interim results, waiting for the whole answer
first (as callbot's seed did), the gaps between sentences, and engine realtime. "Ours" is what is left when the
vendors' own times are taken away. The emulators share this process, so their own delays count as ours: read the
figures as upper bounds.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from callbot.settings import Settings
from callbot.twilio_rest import TwilioRest
from emulator.amivoice_faults import MisheardInterims
from emulator.deployment import Deployment
from emulator.openai import ChatRequest, Message, Pace, Reply
from emulator.twilio import Caller, EmulatedCall, HangUp, Interrupt, Listen, Speak
from emulator.twilio.events import BotFinished, BotSpeaks, Event
from emulator.vendors import AMIVOICE_NUMBER, REALTIME_NUMBER
from tests.bench import machine
from tests.bench.table import Column, table

FIRST_TOKEN_SECONDS = 0.3
TOKENS_PER_SECOND = 30.0  # the emulated model's tokens are characters
ANSWER = (
    "営業時間は平日の午前九時からです。",
    "終わりは午後六時となっております。",
    "土曜日は午後三時まで営業しております。",
    "日曜日と祝日はお休みをいただいております。",
    "ご予約は電話か窓口で承っております。",
    "ほかにご用件はございますでしょうか。",
)
QUESTIONS = ("opening-hours", "price", "location")
STAGGER_SECONDS = 0.7
CALL_SECONDS = 60.0
WHOLE_ANSWER_SECONDS = 40.0  # for the emulated voice to read all of an answer
COLUMNS = (
    Column("turns", "name"), Column("n", "n"),
    Column("ours p50 ms", "ours_ms.p50", 1), Column("p95", "ours_ms.p95", 1), Column("max", "ours_ms.max", 1),
    Column("final text → first words p50 ms", "from_final_ms.p50", 0), Column("p95", "from_final_ms.p95", 0),
)  # fmt: skip


class Reciting:
    """Six sentences, each answer's first one unlike all others, so that it is known which request it came of."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def reply(self, _history: list[Message], _tools: list[str], _instructions: str) -> Reply:
        return Reply("".join((_numbered(next(self._numbers)), *ANSWER[1:])))


def _numbered(number: int) -> str:
    return f"受付番号{number:04d}の件をお答えします。"


class Listener:
    """When the caller of one call begins and ends to hear what (monotonic seconds)."""

    def __init__(self, call: EmulatedCall) -> None:
        self.began: list[tuple[float, str]] = []
        self.gaps: list[float] = []
        self._ended: float | None = None
        call.subscribe(self._take)

    def _take(self, event: Event) -> None:
        now = time.monotonic()
        match event:
            case BotSpeaks(_, "say", text):
                self.began.append((now, text))
                if self._ended is not None and text in ANSWER[1:]:
                    self.gaps.append(now - self._ended)
            case BotFinished(_, "say", _, complete):
                self._ended = now if complete else None


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of engine amivoice. Seconds."""

    guessed: bool
    ours: float
    from_final: float


def measure(calls: int, listen_seconds: float = WHOLE_ANSWER_SECONDS) -> dict[str, Any]:
    """Everything in one run. One caller listens to an answer for so long, for the gaps between its sentences."""
    pace = Pace(first_token=FIRST_TOKEN_SECONDS, characters_per_second=TOKENS_PER_SECOND)
    with (
        tempfile.TemporaryDirectory(prefix="callbot-turns-") as folder,
        Deployment(Path(folder), script=Reciting(), pace=pace) as system,
    ):
        _warm(system)
        load_before = machine.description()["load"]
        whole = [_dial_listener(system, listen_seconds)]
        spoken = [_dial_amivoice(system, n) for n in range(calls)]
        voiced = [_dial_realtime(system) for _ in range(max(2, calls // 2))]
        whole_answers = _wait_for_whole_answers(system, calls)
        turns = _answers(system, _done(spoken))
        first_sounds = _first_sounds(system, _done(voiced))
        gaps = [gap for _, listener in _done(whole) for gap in listener.gaps]
    return {
        "machine": machine.description() | {"load before": load_before},
        "rows": [
            _row("amivoice, begun on interim results", [turn for turn in turns if turn.guessed]),
            _row("amivoice, begun on the final text", [turn for turn in turns if not turn.guessed]),
            _row("the whole answer first, as the seed did", whole_answers),
        ],
        "between_sentences_ms": _spread(gaps),
        "realtime_first_media_ms": _spread(first_sounds),
    }


# --- engine amivoice ----------------------------------------------------------------------------------------------


def _warm(system: Deployment) -> None:
    """The first call of a process; it pays for imports that the others do not. The caller talks over the greeting."""
    script = [_speak(system, "price"), Listen(0.2, 2), HangUp()]
    _dial(system, AMIVOICE_NUMBER, script)[0].wait(CALL_SECONDS)


def _dial_amivoice(system: Deployment, n: int) -> tuple[EmulatedCall, Listener]:
    """A caller who asks, listens for a second, and asks again over the answer."""
    assert system.vendors.amivoice
    system.vendors.amivoice.faults.next(*([MisheardInterims()] if n % 2 else []))
    first, *others = QUESTIONS
    script: list[Any] = [Listen(0.3), _speak(system, first)]
    for question in others:
        recording = system.vendors.library[question]
        script.append(Interrupt(recording.ulaw, recording.text, after=1.0))
    dialled = _dial(system, AMIVOICE_NUMBER, [*script, Interrupt(b"\xff" * 800, "", after=1.0), HangUp()])
    time.sleep(STAGGER_SECONDS)  # so that the recogniser's connections come in the order of the calls
    return dialled


def _dial_listener(system: Deployment, seconds: float) -> tuple[EmulatedCall, Listener]:
    assert system.vendors.amivoice
    system.vendors.amivoice.faults.next()
    script = [Listen(0.3), _speak(system, "price"), Listen(2.0, seconds), HangUp()]
    dialled = _dial(system, AMIVOICE_NUMBER, script)
    time.sleep(STAGGER_SECONDS)
    return dialled


def _answers(system: Deployment, calls: Iterable[tuple[EmulatedCall, Listener]]) -> list[Turn]:
    assert system.vendors.openai
    assert system.vendors.amivoice
    asked: dict[str, ChatRequest] = {}
    for request in system.vendors.openai.requests:
        if request.stream and request.reply and request.reply.text:
            asked[request.reply.text[: len(_numbered(0))]] = request
    turns = []
    # Behind the sessions of the call that warmed up, and of the listener.
    for (_, listener), session in zip(calls, system.vendors.amivoice.sessions[2:], strict=False):
        for spoken_at, text in listener.began:
            finals = [at for at in session.results_at if at < spoken_at]
            if text in asked and finals:
                turns.append(_turn(asked[text], finals[-1], spoken_at, len(text)))
    return turns


def _turn(request: ChatRequest, final_at: float, spoken_at: float, length: int) -> Turn:
    written_at = request.sent_at[length - 1]
    if request.asked_at < final_at:
        return Turn(True, spoken_at - max(final_at, written_at), spoken_at - final_at)
    model = written_at - request.asked_at
    return Turn(False, spoken_at - final_at - model, spoken_at - final_at)


def _wait_for_whole_answers(system: Deployment, count: int) -> list[Turn]:
    """What callbot's seed did with a final text: ask, wait for all of the answer, then update the call."""
    from openai import OpenAI

    settings = Settings.read(system.vendors.settings())
    client = OpenAI(api_key=settings.openai_api_key, base_url=settings.openai_base_url)
    rest = TwilioRest(settings)
    messages: Any = [{"role": "user", "content": "営業時間を教えてください。"}]
    turns = []
    for _ in range(max(2, count // 3)):
        began = time.monotonic()
        answer = client.chat.completions.create(model=settings.openai_chat_model, messages=messages)
        model = FIRST_TOKEN_SECONDS + len(answer.choices[0].message.content or "") / TOKENS_PER_SECOND
        rest.calls_to(AMIVOICE_NUMBER, AMIVOICE_NUMBER, datetime.now(UTC))  # a request that takes as long as an update
        took = time.monotonic() - began
        turns.append(Turn(False, took - model, took))
    return turns


# --- engine realtime ----------------------------------------------------------------------------------------------


def _dial_realtime(system: Deployment) -> tuple[EmulatedCall, Listener]:
    asks = [step for name in ("price", "location") for step in (Listen(0.3, 4), _speak(system, name))]
    return _dial(system, REALTIME_NUMBER, [*asks, Listen(0.3, 4), HangUp()])


def _first_sounds(system: Deployment, calls: Iterable[tuple[EmulatedCall, Listener]]) -> list[float]:
    """From the model's first piece of sound to the carrier's having it, for each response."""
    assert system.vendors.openai
    sounds = sorted(at for call, _ in calls for stream in call.streams for at in stream.sounds_at)
    sent = sorted(
        response.audio_at
        for session in system.vendors.openai.sessions
        for response in session.responses
        if response.audio_at is not None
    )
    return [min(at - began for at in sounds if at >= began) for began in sent if any(at >= began for at in sounds)]


# --- calls and figures --------------------------------------------------------------------------------------------


def _speak(system: Deployment, name: str) -> Speak:
    recording = system.vendors.library[name]
    return Speak(recording.ulaw, recording.text)


def _dial(system: Deployment, to: str, script: Sequence[Any]) -> tuple[EmulatedCall, Listener]:
    caller = Caller(list(script), max_seconds=CALL_SECONDS)
    call = system.carrier.dial(to=to, from_="+819011112222", caller=caller)
    return call, Listener(call)


def _done(dialled: Iterable[tuple[EmulatedCall, Listener]]) -> list[tuple[EmulatedCall, Listener]]:
    calls = list(dialled)
    for call, _ in calls:
        call.wait(CALL_SECONDS)
    return calls


def _row(name: str, turns: Sequence[Turn]) -> dict[str, Any]:
    return {
        "name": name,
        "n": len(turns),
        "ours_ms": _spread([turn.ours for turn in turns]),
        "from_final_ms": _spread([turn.from_final for turn in turns]),
    }


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds. A percentile of few values is one of the largest."""
    if not seconds:
        return {}
    ordered = sorted(1000 * value for value in seconds)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

    return {"p50": round(statistics.median(ordered), 2), "p95": at(0.95), "p99": at(0.99), "max": round(ordered[-1], 2)}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=8, help="of engine amivoice, three turns each")
    parser.add_argument(
        "--listen", type=float, default=WHOLE_ANSWER_SECONDS, help="seconds of one answer that are listened to"
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asked = parser.parse_args(arguments)
    sys.setswitchinterval(0.0005)  # the emulators' threads must not wait for each other
    figures = measure(asked.calls, asked.listen)
    lines = [
        table(COLUMNS, figures["rows"]),
        f"between two sentences of an answer, ms: {figures['between_sentences_ms']}",
        f"realtime, from the model's first sound to the carrier's, ms: {figures['realtime_first_media_ms']}",
        f"machine: {figures['machine']}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if asked.json:
        asked.json.write_text(json.dumps(figures, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
