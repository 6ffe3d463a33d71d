"""The `callbot` command line: its commands' names, and `callbot dev`. The others are in `cli_….py`.

Exit codes: 0 it went well, 1 it did not, 2 it was asked for in the wrong way (settings included).
"""

import signal
import sys
import threading

import click
from rich.console import Console
from rich.markup import escape

from emulator import cli_system, running, terminal, vendors
from emulator import dev as local
from emulator.cli_call import call
from emulator.cli_number import number
from emulator.cli_smoke import smoke_command
from emulator.dev import LocalSystem

_LOOK_SECONDS = 0.5


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  callbot dev                          serve everything here, vendors emulated
  callbot call --engine realtime       phone it, with recorded speech
  callbot number set +815012345678     point a real Twilio number at it

Settings come from the environment and from .env (the environment wins).""",
)
def main() -> None:
    """An AI that holds telephone conversations: run it here, phone it, connect a number."""


main.add_command(call)
main.add_command(number)
main.add_command(smoke_command, "smoke")


@main.command(
    epilog="""\b
Examples:
  callbot dev
  PORT=8080 callbot dev
  TWILIO_ACCOUNT_SID=AC… TWILIO_AUTH_TOKEN=… PUBLIC_URL=https://example.ngrok.app callbot dev

A vendor whose key is absent is emulated: TWILIO_ACCOUNT_SID with TWILIO_AUTH_TOKEN,
OPENAI_API_KEY, AMIVOICE_API_KEY. With a real Twilio account, PUBLIC_URL is the https
address of a tunnel to this port.""",
)
@click.option("--reload", is_flag=True, help="Start the server anew when its code or its agents change.")
def dev(reload: bool) -> None:
    """Serve functions and stream on one port (PORT, default 3000)."""
    out = terminal.console()
    wanted = cli_system.wishes(local.environment())
    ready, stop = threading.Event(), threading.Event()

    def leave(*_: object) -> None:
        stop.set()
        if not ready.is_set():
            sys.exit(0)

    for stopping in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stopping, leave)
    system = cli_system.on_port(
        wanted,
        reload=reload,
        output=lambda line: _print_log(out, line),
        on_restart=lambda status: out.print(f"[yellow]the server died ({status}) and is started again[/]"),
    )
    cli_system.start(system)
    ready.set()
    try:
        running.leave(system.port, system.running())
        _welcome(out, system)
        while not stop.wait(_LOOK_SECONDS):
            if system.has_failed:
                raise click.ClickException("the server keeps dying; its last lines are above")
        out.print("[dim]stopping[/]")
    finally:
        running.remove(system.port)
        system.stop()


def _welcome(out: Console, system: LocalSystem) -> None:
    found = system.vendors.settings()
    addresses = {
        vendors.TWILIO: found.get("TWILIO_API_URL"),
        vendors.OPENAI: found.get("OPENAI_BASE_URL"),
        vendors.AMIVOICE: found.get("AMIVOICE_URL"),
    }
    out.print(f"[bold]callbot[/] is ready on {system.url}")
    for vendor, address in addresses.items():
        out.print(f"  {vendor:<9} {f'emulated, {address}' if address else 'the real one'}")
    if system.vendors.carrier is not None:
        for engine, number in system.running().numbers.items():
            out.print(f"  {number}  answered by engine {engine}: callbot call --engine {engine}")
    else:
        out.print(f"  point a number here: callbot number set {system.settings.twilio_phone_number or '+81…'}")
    out.print("have somebody rung up:")
    # A key of the operator's own is a secret and stays where it is; one made up for this run has to be told.
    key = system.running().trigger_key if "TRIGGER_KEYS" in system.made_up else "$KEY"
    out.print(
        f'  curl -X POST {system.url}/outgoing-call -H "Authorization: Bearer {escape(key)}" '
        f"""-H 'Content-Type: application/json' -d '{{"phoneNumber": "{vendors.CALLER_NUMBER}"}}'"""
    )
    out.print("[dim]Ctrl-C stops everything[/]")


def _print_log(out: Console, line: str) -> None:
    # Machines read the lines as they are.
    if out.is_terminal:
        out.print(terminal.log_line(line))
    else:
        out.out(line, highlight=False)
