"""`make demo`: four emulated calls with real speech over real sockets, shown as they happen, then judged.

Exit status 0 only if every call ended as it should. What must hold is in `demo_checks`; the system that is called,
in `deployment`.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from callbot.agents import Agent, Agents
from emulator import demo_checks, place_call, terminal
from emulator.demo_checks import Check, Evidence
from emulator.deployment import Deployment
from emulator.place_call import NotPlacedError
from emulator.processes import ProcessFailedError
from emulator.recordings import Recognised
from emulator.twilio import Caller, Do, EmulatedCall, Interrupt, Listen, Speak, StayUntilEnd, Step
from emulator.twilio.events import as_dict
from emulator.vendors import CALLER_NUMBER

CALLEE_NUMBER = "+819098765432"
VARIABLES = {"customerName": "山田"}
GREETING = "{customerName}様、ご予約の確認でお電話いたしました。"
_LONGEST_CALL = 100.0  # seconds; the caller hangs up then, and the call has not ended as it should
_STYLES = {"a": "cyan", "b": "magenta", "c": "blue", "d": "yellow"}


@dataclass(frozen=True, slots=True)
class Result:
    """A demonstrated call, and what was checked."""

    label: str
    title: str
    engine: str
    call: Evidence
    checks: Sequence[Check]


class Demo:
    """The four calls, on a deployment that runs."""

    def __init__(self, deployment: Deployment, out: Console) -> None:
        self._deployment = deployment
        self._deployment.carrier.callees = self.callee
        self._out = out
        self._agent: Agent = Agents.load().default

    def run(self) -> list[Result]:
        """All calls, some at the same time; the stream's process is killed when none but (d) needs it any more."""
        with ThreadPoolExecutor(3) as pool:
            booking, outbound = pool.submit(self.booking), pool.submit(self.outbound)
            one_by_one = pool.submit(lambda: [self.interruption(), self.lost_line([booking, outbound])])
            results = [booking.result(), outbound.result(), *one_by_one.result()]
        return sorted(results, key=lambda result: result.label)

    def booking(self) -> Result:
        """(a) Somebody asks, books a table, and says goodbye."""
        script = self._talk("opening-hours", "booking", "two-persons", "thanks")
        call = self._inbound("a", self._deployment.vendors.number, script)
        checks = [*self._usual(call, self._agent.greeting, 3), demo_checks.without_errors(call)]
        return Result("a", "inbound", "amivoice", call, checks)

    def interruption(self) -> Result:
        """(b) Somebody talks over the bot, and asks it to hang up."""
        words = self._say("wait")
        script = [
            *self._talk("opening-hours"),
            Interrupt(words.ulaw, words.text),
            *self._talk("hang-up"),
        ]
        call = self._inbound("b", self._deployment.vendors.realtime_number, script)
        checks = [
            *self._usual(call, self._agent.greeting, 3),
            demo_checks.interrupted(call, words.text),
            demo_checks.without_errors(call),
        ]
        return Result("b", "inbound, interrupting", "realtime", call, checks)

    def outbound(self) -> Result:
        """(c) A webhook has somebody rung up, greeted by name."""
        wish = {"phoneNumber": CALLEE_NUMBER, "engine": "realtime", "variables": VARIABLES, "greeting": GREETING}
        status, answer = place_call.trigger(self._deployment.functions.url, self._deployment.trigger_key, wish)
        self._out.print(f"[blue]c[/] POST /outgoing-call {escape(_json(wish))} → {status} {escape(_json(answer))}")
        call = self._follow("c", self._deployment.carrier.wait_for_call(CALLEE_NUMBER, timeout=10))
        checks = [
            Check("the webhook answered with the call's id", (status, answer) == (201, {"callSid": call.report.sid})),
            *self._usual(call, GREETING.format(**VARIABLES), 2),
            demo_checks.spoken_with(call, VARIABLES),
            demo_checks.without_errors(call),
        ]
        return Result("c", "outbound, by webhook", "realtime", call, checks)

    def callee(self, _number: str) -> Caller:
        """Who picks up in (c)."""
        return Caller([*self._talk("price", "thanks"), StayUntilEnd()], max_seconds=_LONGEST_CALL)

    def lost_line(self, others: Sequence[Future[Result]]) -> Result:
        """(d) The stream's process is killed in mid-call; the call goes on."""
        killed: list[float] = []

        def kill(call: EmulatedCall) -> None:
            wait(others, _LONGEST_CALL)
            killed.append(call.now())
            self._out.print(f"[yellow]d[/] SIGKILL to the stream's process ({self._deployment.stream.pid})")
            self._deployment.stream.kill()

        # A person who has been told to wait does, a little longer than usual.
        script = [
            *self._talk("location"),
            Listen(),
            Do(kill),
            Listen(until_quiet=1.5),
            *self._talk("booking", "thanks")[1:],
        ]
        call = self._inbound("d", self._deployment.vendors.number, script)
        checks = [
            *self._usual(call, self._agent.greeting, 3),
            *demo_checks.survived(call, killed[0] if killed else None),
        ]
        return Result("d", "inbound, line lost", "amivoice", call, checks)

    # -- how ---------------------------------------------------------------------------------------------------

    def _usual(self, call: Evidence, greeting: str, answered: int) -> list[Check]:
        return demo_checks.as_it_should(call, greeting=greeting, closing=self._agent.closing, answered=answered)

    def _say(self, name: str) -> Speak:
        recording = self._deployment.vendors.library[name]
        return Speak(recording.ulaw, recording.text)

    def _talk(self, *names: str) -> list[Step]:
        return [step for name in names for step in (Listen(), self._say(name))]

    def _inbound(self, label: str, number: str, script: Sequence[Step]) -> Evidence:
        caller = Caller([*script, StayUntilEnd()], max_seconds=_LONGEST_CALL)
        return self._follow(label, self._deployment.carrier.dial(to=number, from_=CALLER_NUMBER, caller=caller))

    def _follow(self, label: str, call: EmulatedCall) -> Evidence:
        conversation = terminal.Conversation(self._out, label, _STYLES[label])
        call.subscribe(lambda event: conversation.show(as_dict(event)))
        report = call.wait(timeout=_LONGEST_CALL + 20)
        record = place_call.record(self._deployment.functions.url, self._deployment.trigger_key, call.sid)
        return Evidence(report, record or {})


def main() -> int:
    """Run the demo; the exit status."""
    out = terminal.console()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="callbot-demo-") as folder:
        try:
            deployment = Deployment(Path(folder), on_restart=lambda name, status: _tell_restart(out, name, status))
            with deployment:
                out.print(
                    "functions and stream service run as two processes; Twilio, OpenAI and AmiVoice are emulated\n"
                )
                try:
                    results = Demo(deployment, out).run()
                except (NotPlacedError, TimeoutError) as exc:
                    return _broke_off(out, deployment, str(exc))
                intact = demo_checks.audio_intact(_recognised(deployment))
                all_well = _judge(out, results, intact)
                if not all_well:
                    _show_logs(out, deployment)
        except ProcessFailedError as exc:
            out.print(f"[red]{escape(str(exc))}[/]")
            return 1
    out.print(f"\n{'every call ended as it should' if all_well else '[red]not as it should be[/]'}", end="")
    out.print(f" ({time.monotonic() - began:.0f} s)")
    return 0 if all_well else 1


def _judge(out: Console, results: Sequence[Result], intact: Check) -> bool:
    table = Table(title="\nwhat happened", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for heading in ("call", "engine", "turns", "silence", "latency", "end reason", "checks"):
        numeric = heading in ("turns", "silence", "latency")
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=numeric)
    for result in results:
        call, held = result.call, sum(check.holds for check in result.checks)
        table.add_row(
            f"{result.label}  {result.title}",
            result.engine,
            str(len(call.latencies)),
            f"{call.report.longest_unexplained_silence:.2f} s",
            f"{call.median_latency:.2f} / {max(call.latencies, default=0.0):.2f} s",
            str(call.record.get("endReason") or "none on record"),
            f"{held}/{len(result.checks)}",
        )
    out.print(table)
    out.print("[dim]turns: answered ones; silence: the longest unexplained; latency: median / slowest[/]\n")
    for result in results:
        for check in result.checks:
            _print_check(out, result.label, check)
    _print_check(out, "all", intact)
    return all(check.holds for result in results for check in result.checks) and intact.holds


def _print_check(out: Console, label: str, check: Check) -> None:
    mark = "[green]ok  [/]" if check.holds else "[red]FAIL[/]"
    out.print(f"  {mark} [dim]{label:<3}[/] {escape(check.what)}")


def _recognised(deployment: Deployment) -> list[Recognised]:
    amivoice, openai = deployment.vendors.amivoice, deployment.vendors.openai
    found = [
        utterance.recognised for session in (amivoice.sessions if amivoice else []) for utterance in session.utterances
    ]
    return found + [turn.recognised for session in (openai.sessions if openai else []) for turn in session.turns]


def _tell_restart(out: Console, name: str, status: int) -> None:
    out.print(f"[dim]the {name} process ended with {status} and is started again[/]")


def _broke_off(out: Console, deployment: Deployment, problem: str) -> int:
    out.print(f"[red]{escape(problem)}[/]")
    _show_logs(out, deployment)
    return 1


def _show_logs(out: Console, deployment: Deployment) -> None:
    for process in (deployment.functions, deployment.stream):
        out.print(f"\n[bold]last lines of {process.name}[/]")
        out.out(process.last_lines, highlight=False)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
