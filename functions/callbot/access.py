"""Who may use the operators' endpoints, `/outgoing-call` and `/calls`. Twilio's requests are `webhooks.py`'s.

Setting TRIGGER_AUTH says how: by a key of ours, or by Google Cloud's IAM in front of us.
"""

import hashlib
import hmac
import logging

from flask import Request

from callbot import logs
from callbot.settings import Settings

NEEDED = {"key": "a key of TRIGGER_KEYS is needed", "iam": "an identity token is needed"}
_CHECKED_BY_CLOUD_RUN = ("Authorization", "X-Serverless-Authorization")

log = logging.getLogger(__name__)


def refusal(request: Request, settings: Settings, *, as_password: bool = False) -> str:
    """Why this request is not served: `no key`, `wrong key` or `no identity`; empty when it may be.

    `as_password`: a key is also taken as a password, which is what a browser can send.
    """
    if settings.trigger_auth == "iam":
        return _refusal_by_iam(request)
    header = request.headers.get("Authorization", "")
    if not header:
        return "no key"
    password = request.authorization if as_password else None
    if password is not None and password.type == "basic":
        return "" if _is_key(password.password or "", settings.trigger_keys) else "wrong key"
    scheme, _, token = header.partition(" ")
    return "" if scheme.lower() == "bearer" and _is_key(token.strip(), settings.trigger_keys) else "wrong key"


def log_refusal(path: str, http_status: int, reason: str) -> None:
    """Tell the log that a request to one of these endpoints was turned away; who asked is nobody's business there."""
    logs.event(
        log, "trigger refused", call_sid="", severity="WARNING", path=path, http_status=http_status, reason=reason
    )


def _refusal_by_iam(request: Request) -> str:
    # Cloud Run has let nobody in but those who may call this service, and has made their token's signature unreadable
    # (Cloud Run: service-to-service authentication), so there is nothing left to check. One thing is: a request
    # without any token can only have come in because the service was made public by mistake.
    tokens = (request.headers.get(name, "") for name in _CHECKED_BY_CLOUD_RUN)
    return "" if any(token.lower().startswith("bearer ") for token in tokens) else "no identity"


def _is_key(token: str, keys: tuple[str, ...]) -> bool:
    """Whether this is one of the keys, compared with all of them in constant time whatever its length or alphabet."""
    given = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
    matches = [hmac.compare_digest(given, hashlib.sha256(key.encode()).digest()) for key in keys]
    return bool(token) and any(matches)
