"""`callbot number`: where a Twilio number's calls go, through Twilio's REST API."""

import click

from callbot.calls import ENGINES, EngineName
from callbot.errors import CallbotError
from callbot.settings import Settings
from callbot.twilio_rest import TwilioRest, refusal
from emulator import cli_system, numbers


@click.group()
def number() -> None:
    """Where the calls of a Twilio number go."""


@number.command(
    "set",
    epilog="""\b
Examples:
  callbot number set +815012345678
  FUNCTIONS_URL='https://asia-northeast1-example.cloudfunctions.net/callbot-{function}' callbot number set +815012345678

Needs TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, and FUNCTIONS_URL or PUBLIC_URL.""",
)
@click.argument("phone_number", metavar="NUMBER")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="realtime",
    show_default=True,
    help="Who answers, where the agent does not say it.",
)
def set_number(phone_number: str, engine: EngineName) -> None:
    """Point a Twilio number's webhooks at this deployment."""
    settings = _twilio_settings("FUNCTIONS_URL")
    where = numbers.webhooks(settings.functions_url, engine)
    try:
        TwilioRest(settings).set_webhooks(
            phone_number,
            voice_url=where.voice_url,
            status_callback=where.status_callback,
            voice_fallback_url=where.voice_fallback_url,
        )
    except CallbotError as exc:
        raise _refused(exc) from exc
    click.echo(f"{phone_number} is answered by {where.voice_url}")


@number.command("show", epilog="\b\nExample:\n  callbot number show +815012345678")
@click.argument("phone_number", metavar="NUMBER")
def show_number(phone_number: str) -> None:
    """Show where a Twilio number points."""
    settings = _twilio_settings()
    try:
        found = TwilioRest(settings).webhooks(phone_number)
    except CallbotError as exc:
        raise _refused(exc) from exc
    for name, url in found.items():
        click.echo(f"{name:<19} {url or '-'}")


def _twilio_settings(*also: str) -> Settings:
    settings = cli_system.settings()
    values = {
        "TWILIO_ACCOUNT_SID": settings.twilio_account_sid,
        "TWILIO_AUTH_TOKEN": settings.twilio_auth_tokens,
        "FUNCTIONS_URL": settings.functions_url,
    }
    needed = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", *also)
    missing = [f"{name} (or PUBLIC_URL)" if name == "FUNCTIONS_URL" else name for name in needed if not values[name]]
    if missing:
        raise cli_system.WrongSettingsError(f"set these environment variables: {', '.join(missing)}")
    return settings


def _refused(exc: CallbotError) -> click.ClickException:
    # Twilio's own words, which the product keeps out of its logs because they repeat the number.
    cause = exc.__cause__
    words = getattr(cause, "msg", "")
    if cause is not None and not words and len(cause.args) > 1:
        words = refusal(cause.args[1].text).get("message", "")
    return click.ClickException(f"{exc}: {words}" if words else str(exc))
