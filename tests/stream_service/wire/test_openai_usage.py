"""What OpenAI counts, as what it bills: every token in one kind, whatever the vendor leaves out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CompletionUsage
from openai.types.realtime import RealtimeResponseUsage
from pydantic import TypeAdapter

from stream_service.wire.openai_usage import of_chat, of_response, of_transcript


def test_a_responses_tokens_are_told_apart_by_price() -> None:
    usage = {
        "total_tokens": 253,
        "input_tokens": 132,
        "output_tokens": 121,
        "input_token_details": {
            "text_tokens": 119,
            "audio_tokens": 13,
            "image_tokens": 0,
            "cached_tokens": 64,
            "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
    }
    TypeAdapter(RealtimeResponseUsage).validate_python(usage, strict=True)
    counted = of_response(usage)
    assert counted == {
        "text_tokens_in": 59,
        "cached_text_tokens_in": 60,
        "audio_tokens_in": 9,
        "cached_audio_tokens_in": 4,
        "text_tokens_out": 30,
        "audio_tokens_out": 91,
    }
    assert sum(counted.values()) == usage["total_tokens"]


def test_a_chats_tokens_are_all_text() -> None:
    usage = {
        "prompt_tokens": 1200,
        "completion_tokens": 40,
        "total_tokens": 1240,
        "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    }
    TypeAdapter(CompletionUsage).validate_python(usage, strict=True)
    assert of_chat(usage) == {"text_tokens_in": 176, "cached_text_tokens_in": 1024, "text_tokens_out": 40}


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"type": "duration", "seconds": 1.5}, {"transcript_ms": 1500}),
        (
            {"type": "tokens", "input_tokens": 15, "output_tokens": 6, "total_tokens": 21},
            {"transcript_tokens_in": 15, "transcript_tokens_out": 6},
        ),
    ],
)
def test_a_transcript_is_billed_by_time_or_by_tokens(usage: dict[str, Any], counted: dict[str, int]) -> None:
    assert of_transcript(usage) == counted


@pytest.mark.parametrize("missing", [{}, {"input_token_details": None}, {"input_token_details": {"cached_tokens": 3}}])
def test_details_may_be_missing(missing: dict[str, Any]) -> None:
    counted = of_response({"input_tokens": 10, "output_tokens": 4} | missing)
    assert sum(counted.values()) == 14
    assert of_chat({"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": None}) == {
        "text_tokens_in": 10,
        "text_tokens_out": 4,
    }


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.dictionaries(
        st.sampled_from(
            [
                "input_tokens",
                "output_tokens",
                "prompt_tokens",
                "completion_tokens",
                "input_token_details",
                "output_token_details",
                "prompt_tokens_details",
                "cached_tokens_details",
                "cached_tokens",
                "audio_tokens",
                "text_tokens",
                "seconds",
            ]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=20,
).filter(lambda value: isinstance(value, dict))


@given(anything)
def test_whatever_is_counted_is_a_positive_whole_number(usage: Any) -> None:
    for counted in (of_response(usage), of_chat(usage), of_transcript(usage)):
        assert all(type(count) is int and count > 0 for count in counted.values())
