"""Where the calls of a telephone number go: the addresses that Twilio is given for it, real or emulated."""

from dataclasses import dataclass

from callbot.addresses import function_url
from callbot.calls import EngineName
from callbot.flow import flow_url

_ANSWERED_BY: dict[EngineName, str] = {"amivoice": "twiml", "realtime": "incoming-call"}


@dataclass(frozen=True, slots=True)
class NumberWebhooks:
    """A number's voice URL, the one asked when that fails, and its status callback."""

    voice_url: str
    voice_fallback_url: str
    status_callback: str


def webhooks(functions_url: str, engine: EngineName) -> NumberWebhooks:
    """For a number answered by `engine`; an agent that names an engine has its own way at `/incoming-call`."""
    return NumberWebhooks(
        voice_url=function_url(functions_url, _ANSWERED_BY[engine]),
        # When the answering function fails, the call begins as one whose first stream was lost: it is not dropped.
        voice_fallback_url=flow_url(functions_url, "resume", generation=0, engine=engine),
        status_callback=function_url(functions_url, "call-events"),
    )
