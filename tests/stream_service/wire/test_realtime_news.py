"""Which of OpenAI's events nobody need be woken for: told by their first bytes, never one that means something.

What the others mean is in `test_realtime.py`.
"""

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent

from stream_service.wire.realtime import NO_NEWS, decode
from stream_service.wire.realtime import kind as kind_of

KINDS = {
    kind
    for event in get_args(get_args(RealtimeServerEvent)[0])
    for kind in get_args(event.model_fields["type"].annotation)
}
# All that `decode` looks at, in one: whatever of these an event has, its type alone says whether it means something.
FIELDS: dict[str, Any] = {
    "event_id": "event_1",
    "item_id": "item_1",
    "response_id": "resp_1",
    "transcript": "はい",
    "delta": "は",
    "audio_start_ms": 1,
    "audio_end_ms": 2,
    "response": {"id": "resp_1", "status": "completed"},
    "error": {"code": "server_error"},
}


def compact(kind: str) -> bytes:
    return json.dumps({"type": kind, **FIELDS}, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize("kind", sorted(NO_NEWS))
def test_what_tells_nothing_decodes_to_nothing(kind: bytes) -> None:
    message = compact(kind.decode())
    assert kind_of(message) in NO_NEWS
    assert decode(message) is None


def test_they_are_openais_names() -> None:
    assert {kind.decode() for kind in NO_NEWS} <= KINDS


@pytest.mark.parametrize("kind", sorted(kind for kind in KINDS if decode(compact(kind)) is not None))
def test_an_event_that_means_something_is_never_among_them(kind: str) -> None:
    assert kind_of(compact(kind)) not in NO_NEWS


def test_nor_is_audio() -> None:
    assert kind_of(compact("response.output_audio.delta")) not in NO_NEWS


@pytest.mark.parametrize(
    "message",
    [
        b'{"type": "response.output_item.done"}',
        b' {"type":"response.output_item.done"}',
        b'{"event_id":"e","type":"response.output_item.done"}',
        b'{"type":"response.output_item.done.',
        b'{"type":"response.output_item.done',
        b'{"type":"response.output_item.done}',
        b'{"type":"response.output_item"}',
        b'{"type":"response\\u002eoutput_item.done"}',
        b'{"type":""}',
        b'{"type":"',
        b"",
    ],
)
def test_any_other_form_has_to_be_decoded_to_be_known(message: bytes) -> None:
    assert kind_of(message) not in NO_NEWS


@given(st.sampled_from(sorted(KINDS)) | st.text(max_size=90), st.text(max_size=20))
def test_whatever_the_type_what_tells_nothing_means_nothing(kind: str, after: str) -> None:
    message = compact(kind + after)
    assert kind_of(message) not in NO_NEWS or decode(message) is None
