"""An emulated Twilio with one number, whose calls run one fixed document."""

from collections.abc import Iterator
from contextlib import contextmanager

from emulator.twilio import Carrier, Number

NUMBER = "+815010000001"
ACCOUNT = "AC" + "0" * 32
TOKEN = "token-of-the-emulator"


@contextmanager
def answering(verbs: str) -> Iterator[Carrier]:
    document = f"<Response>{verbs}</Response>".encode()
    carrier = Carrier(
        account_sid=ACCOUNT,
        auth_token=TOKEN,
        numbers={NUMBER: Number(voice_url="https://old.test/voice")},
        fetch=lambda *_: (200, {"Content-Type": "text/xml"}, document),
        say_rate=10.0,
    )
    with carrier:
        yield carrier
