"""For the command line: settings and the local system, with what is wrong about them as click's own errors."""

from typing import Any

import click

from callbot.errors import ConfigError
from callbot.settings import Settings
from emulator import dev
from emulator.dev import LocalSystem, Wishes
from emulator.processes import ProcessFailedError


class WrongSettingsError(click.ClickException):
    """Settings are missing or wrong, which is wrong usage."""

    exit_code = 2


def settings() -> Settings:
    """What the environment and `.env` say, complete or not."""
    try:
        return Settings.read(dev.environment())
    except ConfigError as exc:
        raise WrongSettingsError(str(exc)) from exc


def wishes(env: dict[str, str], **how: Any) -> Wishes:
    """See `dev.wishes`."""
    try:
        return dev.wishes(env, **how)
    except ConfigError as exc:
        raise WrongSettingsError(str(exc)) from exc


def start(system: LocalSystem) -> None:
    """Start the system and wait until it can be called."""
    try:
        system.start()
    except (ProcessFailedError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc


def on_port(wanted: Wishes, **how: Any) -> LocalSystem:
    """The system, with its port taken; nothing of it runs yet."""
    try:
        return LocalSystem(wanted, **how)
    except dev.PortTakenError as exc:
        raise click.ClickException(str(exc)) from exc
