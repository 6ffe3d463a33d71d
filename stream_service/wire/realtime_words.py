"""What the model says, as the words that come beside its audio: most of what a session says besides that.

Facts: OpenAI's API reference, "Realtime server events", `response.output_audio_transcript.delta`.
"""

import json
from collections.abc import Sequence

from callbot.errors import RemoteError
from stream_service.wire.json_text import text
from stream_service.wire.realtime import NEXT_WORDS, Transcript, item_of

_TYPE = NEXT_WORDS.decode()
_COMPACT = b'{"type":"' + NEXT_WORDS + b'"'


def is_words(message: bytes) -> bool:
    """Whether this event surely is the next words of what the model says; a form that OpenAI does not use is not."""
    return message.startswith(_COMPACT)


def are_of_item(words: Sequence[bytes], message: bytes) -> bool:
    """Whether these `is_words` in a row belong to the item of this event: the first and the last do.

    Items do not alternate, and a text cannot hold what looks like a member, for it has no bare quotes.
    """
    item = item_of(message)
    return bool(item and words) and item in words[0] and item in words[-1]


def decode_words(messages: Sequence[bytes]) -> list[Transcript]:
    """What events in a row say that are all `is_words`, the pieces of one item as one, read in one go.

    Raises RemoteError when any of them cannot be read.
    """
    said: list[tuple[str, str, list[str]]] = []
    try:
        for fields in json.loads(b"[" + b",".join(messages) + b"]"):
            response, item = fields["response_id"], fields["item_id"]
            if fields["type"] != _TYPE:
                raise ValueError("no words")
            if not said or said[-1][:2] != (response, item):
                said.append((response, item, []))
            said[-1][2].append(fields["delta"])
        return [Transcript(text(response), text(item), text("".join(words)), False) for response, item, words in said]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise RemoteError("openai", f"unreadable words in {len(messages)} events", retryable=True) from exc
