"""The pass that lets one stream of one call in: signed, short-lived, and single-use by its generation.

Twilio drops the query string of a `<Stream>` URL, so the ticket travels as a `<Parameter>` and is checked on `start`.
That it is used once is the store's doing (`CallStore.open_stream`): each generation can be claimed once.
"""

from typing import NamedTuple, cast

from itsdangerous import BadData, URLSafeTimedSerializer

from callbot.calls import ENGINES, EngineName
from callbot.errors import RefusedError

LIFETIME_SECONDS = 120  # long enough for a greeting spoken before `<Connect>`
PARAMETER = "ticket"
MAX_LENGTH = 480  # Twilio allows 500 characters for a parameter's name and value together


class Ticket(NamedTuple):
    """What the functions tell the stream service about the stream it is about to get."""

    call_sid: str
    generation: int
    agent: str
    engine: EngineName
    functions_url: str


def issue(ticket: Ticket, secret: str) -> str:
    """The ticket as text for a `<Parameter>`."""
    fields = [ticket.call_sid, ticket.generation, ticket.agent, ticket.engine, ticket.functions_url]
    text = _serializer(secret).dumps(fields)
    return text if isinstance(text, str) else text.decode()


def check(text: object, secret: str, call_sid: str) -> Ticket:
    """The ticket behind `text`, which must be ours, unexpired and for this call. Raises RefusedError."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_LENGTH:
        raise RefusedError("no ticket")
    try:
        fields = _serializer(secret).loads(text, max_age=LIFETIME_SECONDS)
        sid, generation, agent, engine, functions_url = fields
    except (BadData, ValueError, TypeError) as exc:
        raise RefusedError(f"bad ticket: {type(exc).__name__}") from exc
    if sid != call_sid or engine not in ENGINES:
        raise RefusedError("ticket for another call")
    return Ticket(sid, int(generation), str(agent), cast(EngineName, engine), str(functions_url))


def _serializer(secret: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret, salt="callbot.stream")
