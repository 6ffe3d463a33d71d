"""How Twilio signs what it sends: `X-Twilio-Signature`.

Source: Twilio, "Security" (usage/security). Only the computation; who is given a wrong or no signature on
purpose is decided where requests are sent.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

HEADER = "X-Twilio-Signature"


def sign(auth_token: str, url: str, form: Iterable[tuple[str, str]] = ()) -> str:
    """The signature of a request to `url`, as Twilio names it in public (scheme, host, path and query).

    A form POST signs every parameter, sorted by name, each distinct value once, sorted; a GET or a WebSocket
    handshake (`wss://…`) signs the URL alone.
    """
    values: dict[str, set[str]] = {}
    for name, value in form:
        values.setdefault(name, set()).add(value)
    text = url + "".join(name + value for name in sorted(values) for value in sorted(values[name]))
    # A lone surrogate has no UTF-8; replaced rather than raised, the other end cannot have sent it either.
    digest = hmac.new(auth_token.encode(), text.encode(errors="replace"), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()
