"""What may be wrong with the values of settings, one sentence each. Reading them is `settings.py`'s."""

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from callbot.addresses import PLACEHOLDER

NUMBERS = frozenset(
    {"OUTBOUND_PER_MINUTE", "OUTBOUND_PER_DAY", "OUTBOUND_PER_NUMBER_PER_DAY", "STREAM_CONCURRENCY", "PORT"}
)
_LOG_LEVELS = ("debug", "info", "warning", "error")
_CHOICES = {"TRIGGER_AUTH": ("key", "iam"), "STREAM_SIGNATURE": ("required", "checked")}
_WHOLE = re.compile("[0-9]{1,9}")
_SCHEMES = {
    "PUBLIC_URL": ("https", "http"),
    "FUNCTIONS_URL": ("https", "http"),
    "STREAM_URL": ("wss", "ws"),
    "TWILIO_API_URL": ("https", "http"),
    "OPENAI_BASE_URL": ("https", "http"),
    "OPENAI_REALTIME_URL": ("wss", "ws"),
    "AMIVOICE_URL": ("wss", "ws"),
}


def problems(values: Mapping[str, str], *, on_cloud_run: bool) -> list[str]:
    """Everything that is wrong with these values, all settings being among them, empty or not."""
    found = []
    for name, schemes in _SCHEMES.items():
        if values[name] and not _is_url(values[name], schemes):
            found.append(f"{name} must be a URL that begins with {schemes[0]}://")
    if not _places_its_functions(values["FUNCTIONS_URL"]):
        found.append(f"FUNCTIONS_URL must have {PLACEHOLDER} once, in its path, or no braces at all")
    found += [f"{name} must be a whole number" for name in sorted(NUMBERS) if not _WHOLE.fullmatch(values[name])]
    found += [f"{name} must be {a} or {b}" for name, (a, b) in _CHOICES.items() if values[name] not in (a, b)]
    if values["TRIGGER_AUTH"] == "iam" and not on_cloud_run:
        # Whoever could reach a server elsewhere would be let in.
        found.append("TRIGGER_AUTH=iam has Cloud Run check who asks, and this is not Cloud Run: it must be key here")
    if any(not re.fullmatch("[A-Za-z]{2}", region) for region in listed(values["OUTBOUND_REGIONS"])):
        found.append("OUTBOUND_REGIONS must be ISO 3166 codes of two letters, such as JP,US")
    if values["TWILIO_PHONE_NUMBER"] and not re.fullmatch(r"\+[1-9][0-9]{6,14}", values["TWILIO_PHONE_NUMBER"]):
        found.append("TWILIO_PHONE_NUMBER must be E.164, such as +815012345678")
    if values["LOG_LEVEL"].lower() not in _LOG_LEVELS:
        found.append(f"LOG_LEVEL must be one of {', '.join(_LOG_LEVELS)}")
    if not values["CALL_STORE"].startswith(("sqlite:", "firestore:")):
        found.append("CALL_STORE must be sqlite:PATH or firestore:PROJECT[/DATABASE]")
    return found


def listed(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated value."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    parts = _parts(text)
    return parts is not None and parts.scheme in schemes and bool(parts.hostname)


def _places_its_functions(url: str) -> bool:
    parts = _parts(url)
    if parts is None or not any(brace in url for brace in "{}"):
        return True  # what is no URL is another problem
    named = url.replace(PLACEHOLDER, "", 1)
    return PLACEHOLDER in parts.path and not any(brace in named for brace in "{}")


def _parts(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        return parts if parts.port is None or parts.port > 0 else None
    except ValueError:
        return None
