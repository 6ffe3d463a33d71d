"""Chat completions as they fail: refusals, stalls, answers that are cut or end early, and clients that go."""

import time

import openai
import pytest
from chat_asking import stream, words

from emulator.openai import OpenAI, Pace
from emulator.openai.faults import (
    BrokenChunk,
    CleanCut,
    FinishEarly,
    Refusal,
    SlowStart,
    Stall,
    StreamError,
    quota_exceeded,
    rate_limited,
    server_error,
    unauthorized,
)
from emulator.recordings import Library


def test_faults_of_http(client: openai.OpenAI, server: OpenAI) -> None:
    server.faults.next(rate_limited(1500), quota_exceeded(), unauthorized(), server_error(), server_error(503))
    with pytest.raises(openai.RateLimitError) as limited:
        stream(client)
    assert limited.value.code == "rate_limit_exceeded"
    assert limited.value.response.headers["retry-after-ms"] == "1500"
    assert limited.value.request_id
    with pytest.raises(openai.RateLimitError) as quota:
        stream(client)
    assert quota.value.code == "insufficient_quota"
    with pytest.raises(openai.AuthenticationError):
        stream(client)
    with pytest.raises(openai.InternalServerError):
        stream(client)
    with pytest.raises(openai.InternalServerError):
        stream(client)
    assert words(stream(client))  # and then all is well
    assert [request.status for request in server.requests] == [429, 429, 401, 500, 503, 200]


def test_a_retrying_client_gets_through(server: OpenAI) -> None:
    server.faults.next(rate_limited(10))
    client = openai.OpenAI(api_key="sk-right", base_url=server.url, max_retries=1)
    assert words(stream(client))
    assert len(server.requests) == 2


def test_a_stall_runs_into_the_clients_timeout(client: openai.OpenAI, server: OpenAI) -> None:
    server.faults.next(Stall(after_chars=5, seconds=30))
    said = ""
    with pytest.raises(openai.APITimeoutError):  # noqa: PT012 - what came before is part of the scene
        for chunk in stream(client, timeout=0.3):
            said += chunk.choices[0].delta.content or ""
    assert 5 <= len(said) <= 8
    assert finished(server) == "client closed"


def test_a_slow_start(client: openai.OpenAI, server: OpenAI) -> None:
    server.faults.next(SlowStart(0.4))
    began = time.monotonic()
    assert words(stream(client))
    assert time.monotonic() - began >= 0.4


def test_an_error_inside_the_stream(client: openai.OpenAI, server: OpenAI) -> None:
    server.faults.next(StreamError(after_chars=5))
    with pytest.raises(openai.APIError) as failed:
        words(stream(client))
    assert failed.value.code == "server_error"
    assert not isinstance(failed.value, openai.APIStatusError)


def test_a_clean_cut_looks_like_an_end(client: openai.OpenAI, server: OpenAI) -> None:
    server.faults.next(CleanCut(after_chars=5))
    chunks = list(stream(client))  # no exception
    assert 5 <= len(words(chunks)) <= 8
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks)


def test_a_cut_inside_a_chunk_is_an_error(client: openai.OpenAI, server: OpenAI) -> None:
    server.faults.next(BrokenChunk(after_chars=5))
    with pytest.raises(openai.APIConnectionError) as cut:
        words(stream(client))
    assert not isinstance(cut.value, openai.APITimeoutError)
    assert server.requests[0].outcome == "BrokenChunk"


def test_a_short_answer_is_spoilt_before_its_end(client: openai.OpenAI, server: OpenAI) -> None:
    server.faults.next(CleanCut(after_chars=5000))
    assert all(chunk.choices[0].finish_reason is None for chunk in stream(client))


def test_answers_that_end_early(client: openai.OpenAI, server: OpenAI) -> None:
    server.faults.next(FinishEarly(6), FinishEarly(3, "content_filter"), Refusal("お断りします。"))
    *_, last = chunks = list(stream(client))
    assert (words(chunks), last.choices[0].finish_reason) == ("営業時間は、", "length")
    *_, last = stream(client)
    assert last.choices[0].finish_reason == "content_filter"
    refusal = "".join(chunk.choices[0].delta.refusal or "" for chunk in stream(client))
    assert refusal == "お断りします。"


def test_a_client_that_closes_early_is_noticed(library: Library) -> None:
    with OpenAI(library, keys={"k"}, pace=Pace(first_token=0, characters_per_second=10)) as server:
        client = openai.OpenAI(api_key="k", base_url=server.url, max_retries=0)
        with stream(client) as chunks:
            next(chunks)
        assert finished(server) == "client closed"
        assert server.requests[0].closed_early
        assert len(server.requests[0].sent) < 20


def test_stopping_ends_what_is_going_on(library: Library) -> None:
    server = OpenAI(library, keys={"k"}, pace=Pace(first_token=0, characters_per_second=5)).start()
    client = openai.OpenAI(api_key="k", base_url=server.url, max_retries=0)
    chunks = stream(client)
    next(chunks)
    server.stop()
    with pytest.raises(openai.APIConnectionError):
        list(chunks)
    with pytest.raises(openai.APIConnectionError):
        stream(client)


def finished(server: OpenAI) -> str | None:
    """How the last request ended."""
    assert server.requests[-1].finished.wait(5)
    return server.requests[-1].outcome
