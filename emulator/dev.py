"""The local system: functions and stream on one port, with an emulator for every vendor whose key is absent.

What is emulated is decided here, from the environment. How it looks on a terminal is `cli`'s and `terminal`'s.
"""

import os
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values

from callbot.agents import DEFAULT_FILE
from callbot.errors import ConfigError
from callbot.settings import Part, Settings
from emulator import processes, vendors
from emulator.processes import Supervised
from emulator.running import Running
from emulator.vendors import AMIVOICE, OPENAI, TWILIO, Addresses, Vendors

PUBLIC_URL = "https://callbot.localhost"  # reserved for this machine (RFC 6761); only the emulated Twilio asks it
_KEYS: Mapping[str, tuple[str, ...]] = {
    TWILIO: ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"),
    OPENAI: ("OPENAI_API_KEY",),
    AMIVOICE: ("AMIVOICE_API_KEY",),
}
_HANG_UP_SECONDS = 2.0  # for the emulated calls, before the product is told to stop
_CHILD_SECONDS = 6.5


class PortTakenError(Exception):
    """Somebody else listens on the port."""


def environment(dotenv: Path = Path(".env")) -> dict[str, str]:
    """The settings of `.env`, overruled by the environment; both may be empty."""
    given = {name: value for name, value in dotenv_values(dotenv).items() if value is not None}
    return {**given, **os.environ}


def emulated(env: Mapping[str, str]) -> tuple[str, ...]:
    """The vendors that `env` has no key for. Raises ConfigError for half a key: that is a slip, not a wish."""
    absent = []
    for vendor, names in _KEYS.items():
        missing = [name for name in names if not env.get(name, "").strip()]
        if missing and len(missing) < len(names):
            raise ConfigError(f"{' and '.join(missing)} missing, though other settings of {vendor} are there")
        if missing:
            absent.append(vendor)
    return tuple(absent)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the local system is to be. Build it by `wishes`; `settings` has stand-ins for what emulators will bring."""

    env: Mapping[str, str]
    settings: Settings
    port: int
    emulated: tuple[str, ...]
    made_up: tuple[str, ...]  # settings that were missing and are valid for this run only


def wishes(env: Mapping[str, str], *, emulate_twilio: bool = False, port: int | None = None) -> Wishes:
    """What `env` asks for, with secrets made up where they are missing.

    Raises ConfigError with everything that is missing or wrong.
    """
    absent = emulated(env)
    if emulate_twilio and TWILIO not in absent:
        absent = (TWILIO, *absent)
    full = dict(env)
    made_up = []
    for name in ("STREAM_TICKET_SECRET", "TRIGGER_KEYS"):
        if not full.get(name, "").strip():
            full[name] = secrets.token_urlsafe(24)
            made_up.append(name)
    if TWILIO in absent:
        if emulate_twilio or not full.get("PUBLIC_URL", "").strip():
            full["PUBLIC_URL"] = PUBLIC_URL
        if emulate_twilio:
            full.pop("FUNCTIONS_URL", None)
            full.pop("STREAM_URL", None)
    stand_ins = {name: "emulated" for vendor in absent for name in _KEYS[vendor]}
    settings = Settings.read({**full, **stand_ins}, *Part)
    return Wishes(full, settings, settings.port if port is None else port, absent, tuple(made_up))


class LocalSystem:
    """`callbot dev`: emulators as threads of this process, the product as a child process.

    `reload`: the product starts anew when its code or its agents change; calls are handed over. `output` gets its log
    lines; `on_restart` is called with the exit status when it had to be started again. Raises PortTakenError.
    """

    def __init__(
        self,
        wanted: Wishes,
        *,
        reload: bool = False,
        output: Callable[[str], None] | None = None,
        on_restart: Callable[[int], None] | None = None,
    ) -> None:
        self._reload = ("--reload", f"--reload-extra-file={DEFAULT_FILE}") if reload else ()
        self.settings = settings = wanted.settings
        self.made_up = wanted.made_up
        self._wanted = wanted
        self._output = output
        self._on_restart = on_restart
        try:
            self._listener = processes.listen(wanted.port)
        except (OSError, OverflowError) as exc:
            raise PortTakenError(f"port {wanted.port} cannot be used ({exc}); choose another one: PORT=…") from exc
        self.port: int = self._listener.getsockname()[1]
        self.url = processes.address(self._listener)
        hosts = {urlsplit(url).netloc for url in (settings.functions_url, settings.stream_url)}
        neighbour = self.port + 1
        self.vendors = Vendors(
            wanted.emulated,
            product=Addresses(settings.functions_url, dict.fromkeys(hosts, self.url)),
            number=settings.twilio_phone_number or vendors.AMIVOICE_NUMBER,
            twilio_port=neighbour if processes.is_free(neighbour) else 0,
        )
        self.product: Supervised | None = None

    def start(self) -> None:
        """Start everything and wait until calls can be taken. Raises ProcessFailedError, OSError; nothing runs then."""
        try:
            self.vendors.start()
            self.product = Supervised(
                "callbot",
                processes.gunicorn(
                    "emulator.local_app:create_app()",
                    self._listener,
                    "--config=python:stream_service.gunicorn_conf",
                    *self._reload,
                ),
                env={**self._wanted.env, **self.vendors.settings(), "PORT": str(self.port)},
                listener=self._listener,
                output=self._output,
                on_restart=self._on_restart,
            )
            self.product.start()
        except BaseException:
            self.stop()
            raise

    @property
    def has_failed(self) -> bool:
        """Whether the product died too often to be started once more."""
        return self.product is not None and self.product.failed

    def running(self) -> Running:
        """How it can be called; valid once it has been started. `twilio_url` is empty with the real Twilio."""
        twilio = self.vendors.carrier
        return Running(
            twilio_url=twilio.url if twilio is not None else "",
            product_url=self.url,
            trigger_key=self.settings.trigger_keys[0],
            numbers={"amivoice": self.vendors.number, "realtime": self.vendors.realtime_number},
        )

    def stop(self) -> None:
        """End the emulated calls, then the product, then the rest: about 9 s at most."""
        if self.vendors.carrier is not None:
            # First, so that the product still hears how each call ended.
            hanging_up = threading.Thread(target=self.vendors.carrier.stop, name="hanging up", daemon=True)
            hanging_up.start()
            hanging_up.join(_HANG_UP_SECONDS)
        if self.product is not None:
            self.product.stop(_CHILD_SECONDS)
        self._listener.close()
        # What is left are daemon threads and sockets of this process, which is about to end.
        ending = threading.Thread(target=self.vendors.stop, name="stopping vendors", daemon=True)
        ending.start()
        ending.join(0.5)

    def __enter__(self) -> "LocalSystem":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
