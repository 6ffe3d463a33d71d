"""Which elements, attributes and nestings TwiML for voice has. Only the table; reading it is `twiml`'s.

Source: Twilio, "TwiML for Programmable Voice", one page per verb. Verbs this emulator cannot run (Enqueue, Pay,
Refer, …) are left out, so that a call that needs one is refused loudly instead of pretending.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Element:
    """What an element may carry."""

    attributes: frozenset[str] = frozenset()
    children: frozenset[str] = frozenset()
    text: bool = False


def _element(attributes: str = "", children: str = "", *, text: bool = False) -> Element:
    return Element(frozenset(attributes.split()), frozenset(children.split()), text)


_SSML = "break emphasis lang p phoneme prosody s say-as sub w"
_RECORDING_CALLBACK = "recordingStatusCallback recordingStatusCallbackMethod recordingStatusCallbackEvent"
_AMD = (
    "machineDetection machineDetectionTimeout machineDetectionSpeechThreshold "
    "machineDetectionSpeechEndThreshold machineDetectionSilenceTimeout "
    "amdStatusCallback amdStatusCallbackMethod"
)

VERBS: dict[str, Element] = {
    "Say": _element("voice language loop", _SSML, text=True),
    "Play": _element("loop digits", text=True),
    "Pause": _element("length"),
    "Redirect": _element("method", text=True),
    "Hangup": _element(),
    "Reject": _element("reason"),
    "Record": _element(
        "action method timeout finishOnKey maxLength playBeep trim transcribe transcribeCallback "
        "recordingTrack " + _RECORDING_CALLBACK
    ),
    "Gather": _element(
        "action method input timeout finishOnKey numDigits actionOnEmptyResult language hints "
        "profanityFilter speechTimeout speechModel enhanced bargeIn debug maxSpeechTime "
        "partialResultCallback partialResultCallbackMethod dtmfDetection",
        "Say Play Pause",
    ),
    "Dial": _element(
        "action method timeout timeLimit callerId answerOnBridge hangupOnStar record trim ringTone "
        "sequential referUrl referMethod recordingTrack callReason events " + _RECORDING_CALLBACK,
        "Number",
        text=True,
    ),
    "Start": _element("action method", "Stream Recording"),
    "Stop": _element("", "Stream Recording"),
    "Connect": _element("action method", "Stream"),
}

NOUNS: dict[str, Element] = {
    "Number": _element(
        "sendDigits url method statusCallback statusCallbackMethod statusCallbackEvent byoc " + _AMD, text=True
    ),
    # connectorName, audioFormat and sampleRate are known to the SDKs only; their meaning is undocumented.
    "Stream": _element("url name track statusCallback statusCallbackMethod", "Parameter"),
    "Recording": _element("name track channels trim " + _RECORDING_CALLBACK),
    "Parameter": _element("name value"),
}

SSML: dict[str, Element] = {
    name: Element(frozenset(attributes.split()), frozenset(_SSML.split()), text=True)
    for name, attributes in {
        "break": "strength time",
        "emphasis": "level",
        "lang": "xml:lang",
        "p": "",
        "phoneme": "alphabet ph",
        "prosody": "volume rate pitch",
        "s": "",
        "say-as": "interpret-as format role",
        "sub": "alias",
        "w": "role",
    }.items()
}

# Wrong values that Twilio's schema refuses; everything not named here takes any value.
VALUES: dict[tuple[str, str], frozenset[str]] = {
    (element, attribute): frozenset(values.split())
    for element, attribute, values in (
        ("Reject", "reason", "rejected busy"),
        ("Redirect", "method", "GET POST"),
        ("Dial", "method", "GET POST"),
        ("Gather", "method", "GET POST"),
        ("Record", "method", "GET POST"),
        ("Connect", "method", "GET POST"),
        ("Stream", "statusCallbackMethod", "GET POST"),
        ("Dial", "answerOnBridge", "true false"),
        ("Gather", "actionOnEmptyResult", "true false"),
        ("Record", "playBeep", "true false"),
    )
}


@dataclass(frozen=True)
class WholeNumber:
    """The allowed range of a numeric attribute."""

    lowest: int
    highest: int = field(default=10**6)


NUMBERS: dict[tuple[str, str], WholeNumber] = {
    ("Say", "loop"): WholeNumber(0),
    ("Play", "loop"): WholeNumber(0),
    ("Pause", "length"): WholeNumber(0),
    ("Gather", "numDigits"): WholeNumber(1),
    ("Gather", "timeout"): WholeNumber(0),
    ("Record", "timeout"): WholeNumber(0),
    ("Record", "maxLength"): WholeNumber(1, 14400),
    ("Dial", "timeout"): WholeNumber(1, 600),
    ("Dial", "timeLimit"): WholeNumber(1, 14400),
}
