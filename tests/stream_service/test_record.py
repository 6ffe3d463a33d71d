"""What a stream writes of its call: how soon, how often, and that whoever reads it in time finds what it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from call_scenes import a_call, a_turn

from callbot.calls import EngineName, NextStep, Turn
from callbot.flow import _CALLER_SPEAKING, _SILENT_STREAM
from callbot.store import PutTurn, Update, Write, Writer
from stream_service.inbox import CALM_TICK_SECONDS
from stream_service.record import (
    ACTIVE_EVERY_SECONDS,
    ACTIVE_KNOWN_SECONDS,
    ALIVE_EVERY_SECONDS,
    PATIENCE_SECONDS,
    USAGE_PATIENCE_SECONDS,
    CallRecord,
)

BEGIN = 1000.0
ENGINES: Sequence[EngineName] = ("amivoice", "realtime")


class Desk:
    """In the writer's place: what was put, how long it may wait, and what is written once it goes out."""

    def __init__(self) -> None:
        self.put_within: list[tuple[str, float]] = []
        self.updates: list[Mapping[str, Any]] = []
        self.turns: list[Turn] = []
        self.hurried = 0
        self._waiting: dict[str, Write] = {}

    def put(self, what: str, write: Write, within: float = 0.0) -> Event:
        assert write.sid == "CA1"
        self.put_within.append((what, within))
        self._waiting[what] = write
        return Event()

    def hurry(self, call_sid: str) -> None:
        assert call_sid == "CA1"
        self.hurried += 1

    def write(self) -> None:
        """All that waits goes out."""
        for write in self._waiting.values():
            match write:
                case Update(_, writer, changes):
                    assert writer is Writer.STREAM
                    self.updates.append(changes)
                case PutTurn(_, turn):
                    self.turns.append(turn)
        self._waiting.clear()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def record_of(engine: EngineName, desk: Desk) -> CallRecord:
    return CallRecord(a_call(engine), desk, BEGIN)  # type: ignore[arg-type]  # all of it that is used


def test_the_stream_and_what_is_billed_go_out_in_one_write(desk: Desk) -> None:
    record = record_of("amivoice", desk)
    record.usage({"text_tokens_in": 1})
    record.caller_active(BEGIN + 1)
    record.usage({"text_tokens_in": 2})
    desk.write()
    (update,) = desk.updates
    assert update["usage"] == {"text_tokens_in": 2}
    assert update["stream"].caller_active_at is not None
    assert update["stream"].connected_at == a_call("amivoice").stream.connected_at


def test_a_later_write_takes_nothing_back(desk: Desk) -> None:
    record = record_of("realtime", desk)
    step = NextStep(1, "goodbye", reason="asked")
    record.usage({"text_tokens_in": 1})
    record.ending("asked")
    record.next_step(step)
    desk.write()
    record.lost()
    desk.write()
    assert desk.updates[-1]["usage"] == {"text_tokens_in": 1}
    assert desk.updates[-1]["next_step"] == step
    assert desk.updates[-1]["stream"].ending == "asked"
    assert desk.updates[-1]["stream"].lost_at is not None


@pytest.mark.parametrize("engine", ENGINES)
def test_what_ends_a_stream_cannot_wait(desk: Desk, engine: EngineName) -> None:
    record = record_of(engine, desk)
    record.ending("asked")
    record.next_step(NextStep(1, "goodbye"))
    record.lost()
    assert [within for _, within in desk.put_within] == [0.0, 0.0, 0.0]
    record.hurry()
    assert desk.hurried == 1


def test_a_sentence_that_the_carrier_may_be_coming_for_cannot_wait(desk: Desk) -> None:
    record = record_of("amivoice", desk)
    thinking = a_turn(3, "agent", "", complete=False)
    record.turn(a_turn(2, "caller", "予約です"))
    record.turn(thinking)
    record.turn(replace(thinking, text="はい。", sentences=("はい。",)))
    record.turn(replace(thinking, text="はい。", sentences=("はい。",), complete=True))
    kept_back = ("turn 2", PATIENCE_SECONDS), ("turn 3", PATIENCE_SECONDS)
    assert desk.put_within == [*kept_back, ("turn 3", 0.0), ("turn 3", 0.0)]
    desk.write()
    assert [turn.n for turn in desk.turns] == [2, 3]
    assert desk.turns[-1].complete


def test_what_the_model_says_itself_nobody_comes_for(desk: Desk) -> None:
    record = record_of("realtime", desk)
    record.turn(a_turn(1, "agent", "はい。", engine="realtime"))
    assert desk.put_within == [("turn 1", PATIENCE_SECONDS)]


def test_that_the_caller_speaks_is_told_at_once_and_then_now_and_then(desk: Desk) -> None:
    record = record_of("amivoice", desk)
    for tenth in range(100):  # ten seconds of speech
        record.caller_active(BEGIN + tenth / 10)
    waits = [within for _, within in desk.put_within]
    assert waits == [0.0] + [PATIENCE_SECONDS] * (len(waits) - 1)
    assert len(waits) == 1 + int(9.9 / ACTIVE_EVERY_SECONDS)
    record.caller_active(BEGIN + 30)  # after a pause
    assert desk.put_within[-1] == ("record", 0.0)


def test_what_call_flow_knows_of_a_caller_who_speaks_on_is_never_too_old() -> None:
    assert _CALLER_SPEAKING.total_seconds() >= ACTIVE_KNOWN_SECONDS + PATIENCE_SECONDS
    assert ACTIVE_EVERY_SECONDS < ACTIVE_KNOWN_SECONDS


def test_a_quiet_stream_is_never_taken_for_dead() -> None:
    assert _SILENT_STREAM.total_seconds() > ALIVE_EVERY_SECONDS + CALM_TICK_SECONDS + PATIENCE_SECONDS


def test_a_stream_gives_a_sign_of_life_when_nothing_else_was_one(desk: Desk) -> None:
    record = record_of("amivoice", desk)
    record.alive(BEGIN + ALIVE_EVERY_SECONDS - 0.1)
    record.caller_active(BEGIN + ALIVE_EVERY_SECONDS)
    record.alive(BEGIN + ALIVE_EVERY_SECONDS + 0.1)
    assert len(desk.put_within) == 1
    record.alive(BEGIN + 2 * ALIVE_EVERY_SECONDS)
    desk.write()
    (update,) = desk.updates
    assert update["stream"].seen_at != a_call("amivoice").stream.seen_at


def test_a_two_way_stream_tells_nothing_that_nobody_reads(desk: Desk) -> None:
    record = record_of("realtime", desk)
    record.caller_active(BEGIN + 1)
    record.alive(BEGIN + 100)
    assert desk.put_within == []
    record.usage({"text_tokens_in": 1})
    assert desk.put_within == [("record", USAGE_PATIENCE_SECONDS)]
