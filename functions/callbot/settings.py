"""The settings: one typed object, read once from the environment. Nothing else in the product reads the environment.

The README's table and `.env.example` are kept equal to `SETTINGS` by tests. What a value may be is said in
`settings_checks.py`.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

from callbot import settings_checks
from callbot.errors import ConfigError
from callbot.settings_checks import NUMBERS, listed


class Part(StrEnum):
    """A deployable part; each needs its own share of the settings."""

    FUNCTIONS = "functions"
    STREAM = "stream"


class Setting(NamedTuple):
    """One environment variable: who cannot do without it, its default, and what it means."""

    name: str
    meaning: str
    default: str = ""
    needed_by: frozenset[Part] = frozenset()
    used_by: frozenset[Part] = frozenset(Part)
    secret: bool = False


_BOTH = frozenset(Part)
_FUNCTIONS = frozenset({Part.FUNCTIONS})
_STREAM = frozenset({Part.STREAM})

SETTINGS: tuple[Setting, ...] = (
    Setting("TWILIO_ACCOUNT_SID", "the Twilio account", needed_by=_BOTH),
    Setting(
        "TWILIO_AUTH_TOKEN",
        "its auth token; two, comma-separated, while it is being rotated (the first is used to sign in)",
        needed_by=_BOTH,
        secret=True,
    ),
    Setting(
        "TWILIO_PHONE_NUMBER",
        "the number calls come from and to, E.164 (`FROM_PHONE_NUMBER` is accepted too)",
        used_by=_FUNCTIONS,
    ),
    Setting("OPENAI_API_KEY", "OpenAI's key", needed_by=_STREAM, used_by=_STREAM, secret=True),
    Setting("AMIVOICE_API_KEY", "AmiVoice's key", needed_by=_STREAM, used_by=_STREAM, secret=True),
    Setting(
        "PUBLIC_URL",
        "the `https://…` address at which Twilio reaches a local server (a tunnel); sets the next two",
    ),
    Setting(
        "FUNCTIONS_URL",
        "where the functions are, `https://…`, with `{function}` in the path where each one's name stands if they are "
        "not paths below one address; signatures are checked against it",
        needed_by=_FUNCTIONS,
    ),
    Setting(
        "STREAM_URL",
        "where the stream service is, `wss://…/ws`; signatures are checked against it",
        needed_by=_BOTH,
    ),
    Setting("CALL_STORE", "`sqlite:PATH` or `firestore:PROJECT[/DATABASE]`", default="sqlite:callbot.db"),
    Setting("AGENTS_FILE", "another agents file than the one that is delivered (`functions/callbot/agents.toml`)"),
    Setting(
        "TRIGGER_AUTH",
        "who may trigger outbound calls and read `/calls`: `key`, whoever has one of `TRIGGER_KEYS`; `iam`, whoever "
        "Google Cloud lets in before us (on Cloud Run only)",
        default="key",
        used_by=_FUNCTIONS,
    ),
    Setting(
        "TRIGGER_KEYS",
        "comma-separated keys for `TRIGGER_AUTH=key` (bearer, or a browser's password); none: nobody may",
        used_by=_FUNCTIONS,
        secret=True,
    ),
    Setting("STREAM_TICKET_SECRET", "signs the tickets that let streams in", needed_by=_BOTH, secret=True),
    Setting("TWILIO_API_URL", "where Twilio's REST API is", default="https://api.twilio.com"),
    Setting("OPENAI_BASE_URL", "where OpenAI's HTTP API is", default="https://api.openai.com/v1", used_by=_STREAM),
    Setting(
        "OPENAI_REALTIME_URL",
        "where OpenAI Realtime is",
        default="wss://api.openai.com/v1/realtime",
        used_by=_STREAM,
    ),
    Setting(
        "AMIVOICE_URL",
        "where AmiVoice is; the default keeps no log of the audio",
        default="wss://acp-api.amivoice.com/v1/nolog/",
        used_by=_STREAM,
    ),
    Setting("AMIVOICE_GRAMMAR", "AmiVoice's engine; it must accept 8 kHz", default="-a-general", used_by=_STREAM),
    Setting("OPENAI_CHAT_MODEL", "the chat model of engine `amivoice`", default="gpt-5.4-mini", used_by=_STREAM),
    Setting(
        "OPENAI_CHAT_EFFORT",
        "its reasoning effort (`none`, `minimal`, `low`, …), or `omit` for a model that has no such thing",
        default="none",
        used_by=_STREAM,
    ),
    Setting(
        "OPENAI_REALTIME_MODEL",
        "the model of engine `realtime`",
        default="gpt-realtime-2.1-mini",
        used_by=_STREAM,
    ),
    Setting(
        "OPENAI_TRANSCRIBE_MODEL",
        "writes down what callers say to `realtime`",
        default="gpt-transcribe",
        used_by=_STREAM,
    ),
    Setting(
        "OUTBOUND_REGIONS",
        "regions that may be dialled (ISO 3166 codes, comma-separated)",
        default="JP",
        used_by=_FUNCTIONS,
    ),
    Setting("OUTBOUND_PER_MINUTE", "outbound calls a minute, at most", default="60", used_by=_FUNCTIONS),
    Setting("OUTBOUND_PER_DAY", "outbound calls a day (UTC), at most", default="1000", used_by=_FUNCTIONS),
    Setting(
        "OUTBOUND_PER_NUMBER_PER_DAY",
        "outbound calls a day to one number, at most",
        default="20",
        used_by=_FUNCTIONS,
    ),
    Setting(
        "CALLBACK_HOSTS",
        "hosts, comma-separated, that a `callbackUrl` may name though they are not public or not `https`",
        used_by=_FUNCTIONS,
    ),
    Setting(
        "STREAM_CONCURRENCY",
        "calls that one instance of the stream service takes at once; gunicorn gets so many threads and a few more",
        default="80",
        used_by=_STREAM,
    ),
    Setting(
        "STREAM_SIGNATURE",
        "`required`: a stream's handshake without Twilio's signature is refused; `checked`: only one with a wrong one "
        "is (the ticket is required always)",
        default="checked",
        used_by=_STREAM,
    ),
    Setting("LOG_LEVEL", "`debug`, `info`, `warning` or `error`; words are logged at `debug` only", default="info"),
    Setting("PORT", "the local server's port", default="3000"),
)
_ALIASES = {"TWILIO_PHONE_NUMBER": "FROM_PHONE_NUMBER"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, read and checked. Secrets do not show in its `repr`."""

    twilio_account_sid: str
    twilio_auth_tokens: tuple[str, ...]
    twilio_phone_number: str
    openai_api_key: str
    amivoice_api_key: str
    public_url: str
    functions_url: str  # without a trailing slash; see `addresses.function_url`
    stream_url: str
    call_store: str
    agents_file: str
    trigger_auth: str  # key, iam
    trigger_keys: tuple[str, ...]
    stream_ticket_secret: str
    twilio_api_url: str
    openai_base_url: str
    openai_realtime_url: str
    amivoice_url: str
    amivoice_grammar: str
    openai_chat_model: str
    openai_chat_effort: str
    openai_realtime_model: str
    openai_transcribe_model: str
    outbound_regions: tuple[str, ...]
    outbound_per_minute: int
    outbound_per_day: int
    outbound_per_number_per_day: int
    callback_hosts: tuple[str, ...]
    stream_concurrency: int
    stream_signature: str
    log_level: str
    port: int

    @classmethod
    def read(cls, env: Mapping[str, str], *parts: Part) -> "Settings":
        """The settings that `env` gives, complete for `parts`.

        Raises ConfigError, which lists everything that is missing or wrong at once.
        """
        values = {setting.name: _value(setting, env) for setting in SETTINGS}
        _derive_urls(values)
        problems = [
            f"{setting.name} is missing ({setting.meaning})"
            for setting in SETTINGS
            if setting.needed_by.intersection(parts) and not values[setting.name]
        ]
        problems += settings_checks.problems(values, on_cloud_run=bool(env.get(_ON_CLOUD_RUN)))
        if problems:
            raise ConfigError("set these environment variables:\n" + "\n".join(f"  {line}" for line in problems))
        return cls(**{f.name: _typed(f.name, values) for f in fields(cls)})

    def __repr__(self) -> str:
        shown = {s.name for s in SETTINGS if not s.secret}
        pairs = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if _source(f.name) in shown]
        return f"Settings({', '.join(pairs)})"


_ON_CLOUD_RUN = "K_SERVICE"  # the platform's own variable (Cloud Run: container contract)
_LISTS = {"TWILIO_AUTH_TOKEN", "TRIGGER_KEYS", "OUTBOUND_REGIONS", "CALLBACK_HOSTS"}


def _value(setting: Setting, env: Mapping[str, str]) -> str:
    # A secret mounted from a file often ends in a newline, which would break an Authorization header.
    given = env.get(setting.name, "").strip() or env.get(_ALIASES.get(setting.name, ""), "").strip()
    return given or setting.default


def _derive_urls(values: dict[str, str]) -> None:
    public = values["PUBLIC_URL"].rstrip("/")
    if public:
        values["FUNCTIONS_URL"] = values["FUNCTIONS_URL"] or public
        values["STREAM_URL"] = values["STREAM_URL"] or "ws" + public.removeprefix("http") + "/ws"
    values["FUNCTIONS_URL"] = values["FUNCTIONS_URL"].rstrip("/")
    values["PUBLIC_URL"] = public


def _source(field_name: str) -> str:
    return "TWILIO_AUTH_TOKEN" if field_name == "twilio_auth_tokens" else field_name.upper()


def _typed(field_name: str, values: Mapping[str, str]) -> Any:
    name = _source(field_name)
    if name in NUMBERS:
        return int(values[name])
    if name == "OUTBOUND_REGIONS":
        return tuple(region.upper() for region in listed(values[name]))
    if name in _LISTS:
        return listed(values[name])
    return values[name].lower() if name == "LOG_LEVEL" else values[name]


def env_example() -> str:
    """The text of `.env.example`: every setting with its meaning; what has a default is commented out."""
    blocks = [_EXAMPLE_HEAD]
    for setting in SETTINGS:
        needed = " and ".join(sorted(setting.needed_by))
        meaning = setting.meaning + (f"; needed by: {needed}" if needed else "")
        line = f"#{setting.name}={setting.default}" if setting.default else f"{setting.name}="
        blocks.append("\n".join([*textwrap.wrap(meaning, 100, initial_indent="# ", subsequent_indent="#   "), line]))
    return "\n\n".join(blocks) + "\n"


_EXAMPLE_HEAD = """\
# Copy this to `.env`, which `callbot dev` reads; deployed parts get the same names from their environment.
# What is left empty is emulated by `callbot dev` where it is a vendor's key."""
