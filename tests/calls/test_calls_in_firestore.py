"""A whole call with its record in Firestore, as it is deployed."""

import uuid
from pathlib import Path

import pytest

from emulator.twilio import Listen, StayUntilEnd
from tests.calls.system import System

pytestmark = [pytest.mark.firestore, pytest.mark.real_time]


def test_a_call_is_carried_and_kept(tmp_path: Path, firestore_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_address)
    with System(tmp_path, CALL_STORE=f"firestore:calls-{uuid.uuid4().hex[:12]}") as system:
        call = system.dial("amivoice", Listen(), system.says("price"), Listen(), system.says("hang-up"), StayUntilEnd())
        report = call.wait(60)

        assert report.ended_by == "bot"
        assert report.longest_unexplained_silence <= 3.0
        record = system.ended(call.sid)
        assert record["endReason"] == "the caller asked to end the call"
        assert [turn["role"] for turn in record["turns"]] == ["agent", *["caller", "agent"] * 2]
        assert record["turns"][2]["heard"] == record["turns"][2]["text"]
        assert [line for line in system.events(call.sid) if line["severity"] == "ERROR"] == []
