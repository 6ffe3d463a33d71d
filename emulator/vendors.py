"""The vendors' emulators as one: they share a library of speech, and are reached by settings alone.

Which vendor is emulated is decided elsewhere (`dev`), and so is what is done with them.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emulator.amivoice import AmiVoice
from emulator.numbers import webhooks
from emulator.openai import OpenAI, Pace, Script
from emulator.recordings import Library
from emulator.twilio import Caller, Carrier, Listen, Number, Speak, StayUntilEnd

# Japanese VoIP numbers; the emulated account owns them.
AMIVOICE_NUMBER = "+815010000001"
REALTIME_NUMBER = "+815010000002"
CALLER_NUMBER = "+819012345678"
TWILIO, OPENAI, AMIVOICE = "Twilio", "OpenAI", "AmiVoice"
VENDORS = (TWILIO, OPENAI, AMIVOICE)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the product is: its public addresses as Twilio is told, and the local ones behind them."""

    functions_url: str
    tunnels: Mapping[str, str]  # public host to local address


class Vendors:
    """The emulators of the vendors named in `emulated`, as threads of this process.

    `number` is the account's first one, answered by engine `amivoice`. `twilio_port` 0 has a free one chosen.
    `script` is what the models say, `pace` how fast.
    """

    def __init__(
        self,
        emulated: Iterable[str] = VENDORS,
        *,
        product: Addresses,
        number: str = AMIVOICE_NUMBER,
        twilio_port: int = 0,
        script: Script | None = None,
        pace: Pace | None = None,
    ) -> None:
        wanted = frozenset(emulated)
        self.library = Library.shipped()
        self.number = number
        self.realtime_number = next(n for n in (REALTIME_NUMBER, AMIVOICE_NUMBER) if n != number)
        self._key = f"emulated-{secrets.token_hex(12)}"
        self._product = product
        self.amivoice = AmiVoice(self.library, keys={self._key}) if AMIVOICE in wanted else None
        self.openai = OpenAI(self.library, {self._key}, script, pace=pace) if OPENAI in wanted else None
        self.carrier = (
            Carrier(
                account_sid=f"AC{secrets.token_hex(16)}",
                auth_token=secrets.token_hex(16),
                numbers=self._numbers(),
                tunnels=dict(product.tunnels),
                callees=lambda _: talkative(self.library),
                port=twilio_port,
                on_recording=self._learn,
            )
            if TWILIO in wanted
            else None
        )

    def start(self) -> None:
        """Raises OSError when a port is taken; nothing runs then."""
        try:
            for emulator in (self.carrier, self.openai, self.amivoice):
                if emulator is not None:
                    emulator.start()
        except OSError:
            self.stop()
            raise

    def stop(self) -> None:
        """End calls and connections; returns within some seconds. Idempotent."""
        for emulator in (self.carrier, self.openai, self.amivoice):
            if emulator is not None:
                emulator.stop()

    def settings(self) -> dict[str, str]:
        """The settings by which the product finds the emulators; valid once they have been started."""
        found: dict[str, str] = {}
        if self.carrier is not None:
            found |= {
                "TWILIO_ACCOUNT_SID": self.carrier.account_sid,
                "TWILIO_AUTH_TOKEN": self.carrier.auth_token,
                "TWILIO_PHONE_NUMBER": self.number,
                "TWILIO_API_URL": self.carrier.url,
            }
        if self.openai is not None:
            found |= {
                "OPENAI_API_KEY": self._key,
                "OPENAI_BASE_URL": self.openai.url,
                "OPENAI_REALTIME_URL": self.openai.realtime_url,
            }
        if self.amivoice is not None:
            found |= {"AMIVOICE_API_KEY": self._key, "AMIVOICE_URL": self.amivoice.url}
        return found

    def _numbers(self) -> dict[str, Number]:
        answered = {
            self.number: webhooks(self._product.functions_url, "amivoice"),
            self.realtime_number: webhooks(self._product.functions_url, "realtime"),
        }
        return {
            number: Number(
                voice_url=where.voice_url,
                status_callback=where.status_callback,
                fallback_url=where.voice_fallback_url,
            )
            for number, where in answered.items()
        }

    def _learn(self, text: str, ulaw: bytes) -> None:
        self.library.add(text, ulaw)


def talkative(library: Library) -> Caller:
    """Somebody who picks up, asks a question, listens, and says goodbye."""

    def say(name: str) -> Speak:
        recording = library[name]
        return Speak(recording.ulaw, recording.text)

    return Caller([Listen(), say("opening-hours"), Listen(), say("thanks"), StayUntilEnd()])
