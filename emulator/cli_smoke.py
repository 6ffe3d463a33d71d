"""`callbot smoke`: the smoke call from a command line or a build, printed so that a build's log can be read.

What is tried is `smoke`'s. Secrets come from the environment only, so that they are in no command line and no log.
"""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from emulator import cli_system, smoke, vendors
from emulator.smoke import Target

_SCHEMES = ("https", "wss", "http", "ws")


@click.command(
    epilog="""\b
Examples:
  callbot smoke --addresses .release/addresses.json
  callbot smoke --functions-url 'https://REGION-PROJECT.cloudfunctions.net/callbot-{function}' \\
                --stream-url wss://callbot-stream-NUMBER.REGION.run.app/ws
  callbot smoke --address wss://callbot-stream-….run.app/ws=wss://candidate---callbot-stream-….run.app/ws

Needs TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN: the call is signed as Twilio signs it. FUNCTIONS_URL and
STREAM_URL may be given as settings too. Two real calls: the vendors bill about half a minute.
Exit code 0: all is well. 1: it is not."""
)
@click.option("--functions-url", metavar="URL", help="Where the functions are in public; signatures are made over it.")
@click.option("--stream-url", metavar="URL", help="Where the stream service is in public, wss://…/ws.")
@click.option(
    "--address",
    "pairs",
    metavar="PUBLIC=CANDIDATE",
    multiple=True,
    help="Go to CANDIDATE for everything below the public address PUBLIC (repeatable).",
)
@click.option(
    "--addresses",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A JSON file with all of them, as infra/release.py writes it.",
)
@click.option("--to", metavar="NUMBER", help="The number that is rung, instead of the deployment's own.")
@click.option(
    "--calls-token",
    envvar="CALLS_TOKEN",
    show_envvar=True,
    default="",
    help="A bearer token for /calls; then the call's record is read too. Give it by the environment.",
)
def smoke_command(
    functions_url: str | None,
    stream_url: str | None,
    pairs: tuple[str, ...],
    file: Path | None,
    to: str | None,
    calls_token: str,
) -> None:
    """Ring a deployed system, perhaps a revision without traffic, and say whether it works."""
    target = _target(functions_url, stream_url, pairs, file, to, calls_token)
    failed = False
    for check in smoke.checks(target):
        failed = failed or bool(check.problems)
        detail = f" ({check.detail})" if check.detail else ""
        click.echo(f"{'FAILED' if check.problems else 'ok':<7}{check.name}{detail}")
        for problem in check.problems:
            click.echo(f"       - {problem}")
    click.echo("the smoke call failed" if failed else "the smoke call went well")
    sys.exit(1 if failed else 0)


def _target(
    functions_url: str | None,
    stream_url: str | None,
    pairs: tuple[str, ...],
    file: Path | None,
    to: str | None,
    calls_token: str,
) -> Target:
    written = _written(file) if file is not None else {}
    addresses = written.get("addresses", {}) | _given(pairs)
    settings = cli_system.settings()
    found = {
        "TWILIO_ACCOUNT_SID": settings.twilio_account_sid,
        "TWILIO_AUTH_TOKEN": ",".join(settings.twilio_auth_tokens),
        "FUNCTIONS_URL (or --functions-url)": functions_url or written.get("functionsUrl") or settings.functions_url,
        "STREAM_URL (or --stream-url)": stream_url or written.get("streamUrl") or settings.stream_url,
    }
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise cli_system.WrongSettingsError(f"set these environment variables: {', '.join(missing)}")
    account_sid, tokens, public_functions, public_stream = found.values()
    return Target(
        functions_url=public_functions.rstrip("/"),
        stream_url=public_stream,
        account_sid=account_sid,
        auth_token=tokens.split(",")[0],
        number=to or written.get("phoneNumber") or settings.twilio_phone_number or vendors.REALTIME_NUMBER,
        addresses=addresses,
        calls_token=calls_token,
    )


def _written(file: Path) -> dict[str, Any]:
    """What the file says. Raises click.BadParameter when it is not of `infra/release.py`'s form."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        addresses = found["addresses"]
        texts = (found["functionsUrl"], found["streamUrl"], found.get("phoneNumber", ""))
        well_formed = all(isinstance(text, str) for text in texts)
        well_formed = well_formed and all(_is_url(one) for pair in addresses.items() for one in pair)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise click.BadParameter(f"{file} cannot be read ({type(exc).__name__})", param_hint="--addresses") from exc
    if not well_formed:
        raise click.BadParameter(f"{file} has addresses that are none", param_hint="--addresses")
    return dict(found)


def _given(pairs: tuple[str, ...]) -> dict[str, str]:
    addresses = {}
    for pair in pairs:
        public, _, candidate = pair.partition("=")
        if not (_is_url(public) and _is_url(candidate)):
            raise click.BadParameter(f"{pair!r} is not PUBLIC=CANDIDATE, both URLs", param_hint="--address")
        addresses[public] = candidate
    return addresses


def _is_url(text: object) -> bool:
    try:
        parts = urlsplit(str(text))
    except ValueError:
        return False
    return parts.scheme in _SCHEMES and bool(parts.hostname)
