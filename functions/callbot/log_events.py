"""Every event that a log line may tell, and the fields it may carry: the words that dashboards and alerts rely on.

How a line is written is `logs.py`'s. None of these fields may hold a caller's words, a whole number or a secret:
whoever adds one vouches for that. Times are milliseconds or seconds as the name says, counts are whole numbers.
"""

from collections.abc import Mapping

_FUNCTIONS: Mapping[str, str] = {
    "call started": "agent direction engine",
    "call ended": "agent direction durationSeconds endReason engine status",
    "dialled": "agent engine",
    "webhook refused": "path reason",
    "webhook failed": "path step",  # a mistake of ours; with its stack
    "trigger refused": "httpStatus path reason",
    "request failed": "path",  # an operator's; a mistake of ours; with its stack
    "result not delivered": "httpStatus reason",
}
# The engine of the stream is told with each of these, as far as it is known by then.
_STREAM_SERVICE: Mapping[str, str] = {
    # the stream
    "handshake refused": "reason",
    "stream refused": "reason",
    "stream opened": "generation resumed",
    "stream closed": "dropped frames generation reason seconds",
    "stream lost": "reason",
    "handing over": "reason",
    "ending": "reason",
    "next step not written in time": "",
    "relay failed": "",  # a mistake of ours; with its stack
    # the vendor's session
    "engine ready": "resumed",
    "engine lost": "reason",
    "request refused": "code service",
    # turns
    "caller said": "latencyMs turn",
    # milliseconds from the end of the caller's speech
    "turn answered": (
        "code deliveredMs firstSentenceMs firstTokenMs firstWordsMs guessed heardMs interrupted transcriptMs turn"
    ),
    "long silence": "silenceMs turn",
    "filler": "turn",
    "interrupted": "turn",
    "not understood": "",
    "slow recognition": "",
    "slow answer": "",
    "idle prompt": "count",
    "time warning": "",
    "last word never confirmed": "",
    "sentences without the store": "turn",
    "tool failed": "tool",  # with its stack
    # what is billed for one stream
    "call usage": (
        "model seconds recognitionSeconds transcriptSeconds transcriptTokensIn transcriptTokensOut saidCharacters "
        "textTokensIn cachedTextTokensIn audioTokensIn cachedAudioTokensIn textTokensOut audioTokensOut "
        "guesses guessesKept cutAnswers cutTextTokensIn cutTextTokensOut"
    ),
}
_EITHER: Mapping[str, str] = {
    "vendor failed": "code engine retryable service turn what",
    "store down": "engine reason",  # what was asked for goes on without it
    "store back": "engine",
    "store write lost": "reason what",
}

EVENTS: Mapping[str, frozenset[str]] = {
    **{name: frozenset(fields.split()) for name, fields in (*_FUNCTIONS.items(), *_EITHER.items())},
    **{name: frozenset((*fields.split(), "engine")) for name, fields in _STREAM_SERVICE.items()},
}
