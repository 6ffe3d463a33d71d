"""`callbot call`: one emulated call, on a terminal or as JSON. Placing and judging it are `place_call`'s."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from callbot.calls import ENGINES, EngineName
from callbot.settings import Settings
from emulator import cli_system, place_call, recordings, running, terminal, vendors
from emulator import dev as local
from emulator.place_call import NotPlacedError, Order
from emulator.recordings import Library, Recording, SpeechUnavailable
from emulator.running import Running

DEFAULT_LINES = ("opening-hours", "price", "thanks")


@click.command(
    epilog="""\b
Examples:
  callbot call
  callbot call --engine realtime --wav question.wav --wav goodbye.wav
  callbot call --say えいぎょうじかんを、おしえてください --json

The words of a WAV file are read from question.txt beside it. Exit code 0: the call ended
as it should. 1: an error, no reply, or the caller was left waiting for more than 3 s.""",
)
@click.option("--engine", type=click.Choice(ENGINES), default="amivoice", show_default=True, help="Who answers.")
@click.option("--to", metavar="NUMBER", help="The number to ring, instead of the engine's.")
@click.option("--from", "from_", metavar="NUMBER", default=vendors.CALLER_NUMBER, show_default=True, help="Who rings.")
@click.option(
    "--wav",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="What the caller says next, recorded (repeatable).",
)
@click.option(
    "--say", metavar="TEXT", multiple=True, help="The same, spoken by espeak-ng; kana sounds best (repeatable)."
)
@click.option(
    "--max-seconds", type=click.FloatRange(1, 3600), default=120, show_default=True, help="The caller hangs up then."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead: the report.")
def call(
    engine: EngineName,
    to: str | None,
    from_: str,
    wav: tuple[Path, ...],
    say: tuple[str, ...],
    max_seconds: float,
    as_json: bool,
) -> None:
    """Place an emulated call and print the conversation as it happens.

    It rings a running `callbot dev`; when none runs, everything is started for this one call.
    """
    library = Library.shipped()
    own = _own_speech(wav, say, library)
    speech = own or [library[name] for name in DEFAULT_LINES]
    out = terminal.console(stderr=as_json)
    with _system(out) as system:
        try:
            for recording in own:
                place_call.learn(system.twilio_url, recording)
            # After its own lines the caller waits to be hung up on: the last of them is a goodbye.
            order = Order(to or system.numbers.get(engine, ""), from_, speech, bool(own), max_seconds)
            report = _follow(system, order, terminal.Conversation(out))
        except NotPlacedError as exc:
            raise click.ClickException(str(exc)) from exc
        recorded = place_call.record(system.product_url, system.trigger_key, report["sid"])
    wrong = place_call.problems(report, recorded)
    if as_json:
        click.echo(json.dumps({**report, "record": recorded, "problems": wrong}, ensure_ascii=False, indent=2))
    else:
        _summarise(out, report, recorded, wrong)
    sys.exit(1 if wrong else 0)


def _own_speech(wav: tuple[Path, ...], say: tuple[str, ...], library: Library) -> list[Recording]:
    speech = []
    for path in wav:
        try:
            speech.append(place_call.from_file(path, library))
        except (OSError, ValueError) as exc:
            raise click.BadParameter(f"{path}: {exc}", param_hint="--wav") from exc
    for text in say:
        try:
            speech.append(recordings.synthesise(text))
        except ValueError as exc:
            raise click.BadParameter(str(exc), param_hint="--say") from exc
        except SpeechUnavailable as exc:
            raise click.ClickException(f"--say: {exc}") from exc
    return speech


@contextmanager
def _system(out: Console) -> Iterator[Running]:
    settings = cli_system.settings()
    there = _running_already(settings)
    if there is not None:
        yield there
        return
    with tempfile.TemporaryDirectory(prefix="callbot-") as folder:
        wanted = cli_system.wishes(
            {"CALL_STORE": f"sqlite:{folder}/calls.db", **local.environment()}, emulate_twilio=True, port=0
        )
        out.print(
            f"[dim]no callbot dev runs here: starting one for this call; emulated: {', '.join(wanted.emulated)}[/]"
        )
        system = cli_system.on_port(wanted)
        cli_system.start(system)
        try:
            yield system.running()
        finally:
            system.stop()


def _running_already(settings: Settings) -> Running | None:
    found = running.find(settings.port)
    if found is None:
        # Perhaps on another machine's port, forwarded, or started with settings of its own.
        is_emulated = settings.twilio_api_url.startswith("http://")
        found = Running(
            twilio_url=settings.twilio_api_url if is_emulated else f"http://127.0.0.1:{settings.port + 1}",
            product_url=f"http://127.0.0.1:{settings.port}",
            trigger_key=settings.trigger_keys[0] if settings.trigger_keys else "",
            numbers={"amivoice": vendors.AMIVOICE_NUMBER, "realtime": vendors.REALTIME_NUMBER},
        )
    return found if found.twilio_url and place_call.answers(found.twilio_url) else None


def _follow(system: Running, order: Order, conversation: terminal.Conversation) -> dict[str, Any]:
    for event in place_call.place(system.twilio_url, order):
        conversation.show(event)
        if event["event"] == "CallEnded":
            report: dict[str, Any] = event["report"]
            return report
    raise NotPlacedError("the call broke off without a report")


def _summarise(out: Console, report: dict[str, Any], recorded: dict[str, Any] | None, wrong: list[str]) -> None:
    latencies = sorted(turn["latency"] for turn in report["turns"])
    reason = (recorded or {}).get("endReason") or "not known here"
    out.print()
    slowest = f", the slowest after {latencies[-1]:.2f} s" if latencies else ""
    out.print(f"{len(latencies)} of {len(report['said'])} turns answered{slowest}")
    out.print(f"longest unexplained silence: {report['longest_unexplained_silence']:.2f} s")
    out.print(
        f"ended by the {report['ended_by']} after {report['duration']:.0f} s ({report['status']}); reason: {reason}"
    )
    for problem in wrong:
        out.print(f"[red]not as it should be:[/] {escape(problem)}")
