"""The command lines AmiVoice understands: text in, values out. What a command does is in `amivoice_recognition`.

Source: AmiVoice API manual, WebSocket interface, s, p and e command packets; request parameters.
"""

import re
from dataclasses import dataclass, field

ILLEGAL_AUTHORIZATION = "received illegal service authorization"
UNSUPPORTED_FORMAT = "received unsupported audio format"
FEED_REFUSED = "can't feed audio data to recognizer server"

_FORMATS = frozenset(
    {"MULAW", "ALAW", "8K", "16K"}
    | {f"{order}{rate}K" for order in ("LSB", "MSB") for rate in (8, 11, 16, 22, 32, 44, 48)}
)
_WORD = re.compile(r'([^\s="]+)=(?:"((?:[^"]|"")*)"|([^\s"]*))(?= |$)')
_PROFILE = re.compile(r":?(?!__)[A-Za-z0-9_-]+")
_NUMBERS = frozenset(
    {
        "resultUpdatedInterval",
        "noInputTimeout",
        "maxDecodingTime",
        "maxResponseTime",
        "maxDecodingRate",
        "targetResponseTime",
        "targetDecodingRate",
        "recognitionTimeout",
    }
)
_SEGMENTER = frozenset({"useDiarizer", "threshold", "powerThreshold", "preTime", "postTime"})
_SECRET = re.compile(r'(authorization=)("(?:[^"]|"")*"|\S*)', re.IGNORECASE)


class CommandError(Exception):
    """The command is refused; the message is what the server answers after the command's letter."""


@dataclass(frozen=True, slots=True)
class Start:
    """An `s` command. `parameters` are as given, `segmenter` are the numbers inside segmenterProperties."""

    audio_format: str
    engine: str
    authorization: str
    parameters: dict[str, str] = field(default_factory=dict)
    segmenter: dict[str, int] = field(default_factory=dict)

    @property
    def updated_interval_ms(self) -> int | None:
        """How often interim results are wanted; None: never."""
        interval = int(self.parameters.get("resultUpdatedInterval", "0"))
        return interval or None


def parse_start(line: str) -> Start:
    """The `s` command in this line. Raises CommandError with the server's answer."""
    words = line.split(" ", 3)
    if len(words) < 3 or words[0] != "s" or not words[1] or not words[2]:
        raise CommandError(UNSUPPORTED_FORMAT)
    audio_format = words[1].upper()
    if audio_format not in _FORMATS:
        raise CommandError(UNSUPPORTED_FORMAT)
    parameters = _parameters(words[3] if len(words) == 4 else "")
    if "authorization" not in parameters:
        raise CommandError(ILLEGAL_AUTHORIZATION)
    authorization = parameters.pop("authorization")
    for name in _NUMBERS & parameters.keys():
        _number(name, parameters[name])
    if parameters.get("keepFillerToken", "0") not in ("0", "1"):
        raise CommandError("received illegal parameter: keepFillerToken")
    if "profileId" in parameters and not _PROFILE.fullmatch(parameters["profileId"]):
        raise CommandError("received illegal parameter: profileId")
    segmenter = {}
    # Unknown names inside are ignored, as unknown keys of the command are.
    for name, value in _parameters(parameters.get("segmenterProperties", "")).items():
        if name in _SEGMENTER:
            segmenter[name] = _number(name, value)
    return Start(audio_format, words[2], authorization, parameters, segmenter)


def _parameters(text: str) -> dict[str, str]:
    """`key=value key="a value with ""quotes"" "`, separated by one space."""
    parameters: dict[str, str] = {}
    position = 0
    while position < len(text):
        found = _WORD.match(text, position)
        if not found:
            raise CommandError("received illegal parameter")
        name, quoted, plain = found.groups()
        parameters[name] = quoted.replace('""', '"') if quoted is not None else plain
        position = found.end() + 1
    return parameters


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise CommandError(f"received illegal parameter: {name}")
    return int(value)


def redacted(line: str) -> str:
    """The line without the key, as it may be kept."""
    return _SECRET.sub(r"\1***", line)
