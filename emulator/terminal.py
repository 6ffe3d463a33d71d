"""How a conversation looks on a terminal: who says what, when, and how long each answer took.

It prints the events of an emulated call (`emulator.twilio.events`, as dictionaries) and the product's log lines.
Colours are for terminals only, and never with NO_COLOR set (no-color.org): rich sees to both.
"""

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

_SLOW_SECONDS = 3.0
_WIDTH = 120  # of a table, where no terminal says how wide it is
_SEVERITY_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
_LOG_FIELDS_HIDDEN = {"severity", "message", "event", "time", "logger"}


def console(*, stderr: bool = False) -> Console:
    """Where to print. Long lines are not broken, so that they can be searched and copied."""
    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDTH
    return console


class Conversation:
    """Prints one call, event by event. `label` tells calls apart that run at the same time."""

    def __init__(self, out: Console, label: str = "", style: str = "cyan") -> None:
        self._out = out
        self._label = f"[{style}]{escape(label)}[/] " if label else ""
        self._latency: float | None = None
        self._bot_began: list[tuple[str, float]] = []
        self._held: list[Mapping[str, Any]] = []

    def show(self, event: Mapping[str, Any]) -> None:
        """Print what the event means to somebody who watches; events of no interest print nothing."""
        match event.get("event"):
            case "BotSpeaks":
                self._bot_began.append((str(event["kind"]), float(event["at"])))
            case "BotFinished":
                self._bot(event, float(event["at"]))
            case "Latency":
                self._latency = float(event["seconds"])
            case kind:
                # What happens while the bot speaks is printed below its words, which show when they are over.
                self._held.append(event)
                if kind == "CallEnded":
                    self._bot_began.clear()
        if not self._bot_began:
            held, self._held = self._held, []
            for other in held:
                self._other(other)

    def _other(self, event: Mapping[str, Any]) -> None:
        at = float(event.get("at", 0.0))
        match event.get("event"):
            case "CallStarted":
                self._line(None, "call", f"{event['direction']}, {event['from']} rings {event['to']}", "dim")
            case "Answered":
                self._line(at, "call", "answered", "dim")
            case "CallerSpeaks":
                self._line(at, "caller", str(event["text"]) or "(a noise)", "green")
            case "StreamOpened":
                self._line(at, "stream", f"opened ({event['kind']}, {event['name']})", "dim")
            case "StreamClosed":
                trouble = f", error {event['error']}" if event["error"] else ""
                self._line(at, "stream", f"closed{trouble}", "dim")
            case "WebhookFetched" if (event["status"] or 599) >= 400:
                self._line(at, "error", f"a webhook was answered with {event['status'] or 'nothing'}", "red")
            case "CallEnded":
                report = event["report"]
                self._line(
                    float(report["duration"]), "call", f"{report['status']}, ended by the {report['ended_by']}", "dim"
                )
            case "Problem":
                self._line(None, "error", str(event["message"]), "red")

    def note(self, text: str) -> None:
        """Print something that happens beside the conversation."""
        self._line(None, "note", text, "yellow")

    def _bot(self, event: Mapping[str, Any], at: float) -> None:
        kind = str(event["kind"])
        began = next((start for known, start in self._bot_began if known == kind), at)
        self._bot_began = [entry for entry in self._bot_began if entry != (kind, began)]
        if not event["text"] and not event["complete"]:
            return  # replaced before a word of it was heard
        text = str(event["text"]) or f"({kind})"
        cut = "" if event["complete"] else " [yellow]― cut off[/]"
        latency, self._latency = self._latency, None
        took = ""
        if latency is not None:
            style = "red" if latency > _SLOW_SECONDS else "dim"
            took = f"  [{style}](after {latency:.2f} s)[/]"
        self._line(began, "bot", escape(text) + cut + took, "bold", markup=True)

    def _line(self, at: float | None, who: str, text: str, style: str, *, markup: bool = False) -> None:
        time = "       " if at is None else f"{at:6.1f}s"
        words = text if markup else escape(text)
        self._out.print(f"{self._label}[dim]{time}[/]  [{style}]{who:<6}[/]  {words}")


def log_line(line: str) -> str:
    """A log line of the product for a person to read, as rich markup; other output is left as it is."""
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or "message" not in entry:
        return f"[dim]{escape(line)}[/]"
    style = _SEVERITY_STYLES.get(str(entry.get("severity")), "dim")
    told = "  ".join(f"{name}={value}" for name, value in entry.items() if name not in _LOG_FIELDS_HIDDEN)
    clock = str(entry.get("time", ""))[11:19]
    return f"[dim]{clock}[/]  [{style}]{escape(str(entry['message']))}[/]  [dim]{escape(told)}[/]".rstrip()
