"""Functions and stream service as two processes, as they are deployed: they share nothing but the call store.

Used by the demo, where one of them is killed. For daily work `dev` has both on one port.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from callbot.settings import SETTINGS, Part
from emulator import processes
from emulator.openai import Pace, Script
from emulator.processes import Supervised
from emulator.twilio import Carrier
from emulator.vendors import VENDORS, Addresses, Vendors

_FUNCTIONS_HOST, _STREAM_HOST = "functions.callbot.localhost", "stream.callbot.localhost"


class Deployment:
    """Both processes and all emulators; the store is a file in `folder`.

    `settings` are the product's, instead of what is made up here; `script` is what the emulated models say, `pace` how
    fast; `output` gets every line both processes write.
    `on_restart` is called with a process's name and exit status when it died and is started again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        script: Script | None = None,
        pace: Pace | None = None,
        output: Callable[[str], None] | None = None,
        on_restart: Callable[[str, int], None] = lambda _name, _status: None,
    ) -> None:
        functions, stream = processes.listen(), processes.listen()
        self.trigger_key = secrets.token_urlsafe(24)
        self.vendors = Vendors(
            VENDORS,
            product=Addresses(
                f"https://{_FUNCTIONS_HOST}",
                {_FUNCTIONS_HOST: processes.address(functions), _STREAM_HOST: processes.address(stream)},
            ),
            script=script,
            pace=pace,
        )
        self.vendors.start()
        self._settings = {
            "FUNCTIONS_URL": f"https://{_FUNCTIONS_HOST}",
            "STREAM_URL": f"wss://{_STREAM_HOST}/ws",
            "CALL_STORE": f"sqlite:{folder / 'calls.db'}",
            "STREAM_TICKET_SECRET": secrets.token_urlsafe(24),
            "STREAM_SIGNATURE": "required",
            "TRIGGER_KEYS": self.trigger_key,
            **self.vendors.settings(),
            **(settings or {}),
        }
        self.functions = Supervised(
            "functions",
            processes.gunicorn(
                "emulator.local_app:create_functions_app()",
                functions,
                "--worker-class=gthread",
                "--threads=16",
                "--no-control-socket",
            ),
            env=self._env(Part.FUNCTIONS),
            listener=functions,
            output=output,
            on_restart=lambda status: on_restart("functions", status),
        )
        self.stream = Supervised(
            "stream",
            processes.gunicorn(
                "stream_service.app:create_app()", stream, "--config=python:stream_service.gunicorn_conf"
            ),
            env=self._env(Part.STREAM),
            listener=stream,
            output=output,
            on_restart=lambda status: on_restart("stream", status),
        )

    @property
    def carrier(self) -> Carrier:
        """The emulated Twilio."""
        assert self.vendors.carrier is not None  # noqa: S101 - all vendors are emulated here
        return self.vendors.carrier

    def start(self) -> None:
        """Raises ProcessFailedError."""
        self.functions.start()
        self.stream.start()

    def stop(self) -> None:
        """End everything; some seconds at most."""
        self.carrier.stop()
        self.stream.stop()
        self.functions.stop()
        self.vendors.stop()

    def __enter__(self) -> "Deployment":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _env(self, part: Part) -> Mapping[str, str]:
        """What the machine says, without settings of its user's, and this part's own settings."""
        known = {setting.name for setting in SETTINGS}
        machine = {name: value for name, value in os.environ.items() if name not in known}
        used = {setting.name for setting in SETTINGS if part in setting.used_by}
        own = {name: value for name, value in self._settings.items() if name in used}
        return {**machine, **own}
