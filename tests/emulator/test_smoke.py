"""`callbot smoke` rings a system that was deployed: here one on this machine, behind addresses like the cloud's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from emulator import dev, processes, smoke
from emulator.cli import main
from emulator.deployment import Deployment
from emulator.openai.faults import ConnectionFault, RefuseHandshake
from emulator.smoke import Check, Target

FUNCTIONS_URL = "https://asia-northeast1-sample.cloudfunctions.net/callbot-{function}"
STREAM_URL = "wss://callbot-stream-123456789012.asia-northeast1.run.app/ws"
FUNCTIONS = ("twiml", "incoming-call", "call-flow", "call-events", "calls", "outgoing-call")


class Deployed(Deployment):
    """A system that knows itself by the cloud's addresses and is reached at others, as what is tried is."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.lines: list[str] = []
        own = {"FUNCTIONS_URL": FUNCTIONS_URL, "STREAM_URL": STREAM_URL, **settings}
        super().__init__(folder, settings=own, output=self.lines.append)

    def addresses(self) -> dict[str, Any]:
        """As `infra/release.py` writes them."""
        candidates = {FUNCTIONS_URL.replace("{function}", name): f"{self.functions.url}/{name}" for name in FUNCTIONS}
        candidates[STREAM_URL] = self.stream.url.replace("http", "ws", 1) + "/ws"
        return {"functionsUrl": FUNCTIONS_URL, "streamUrl": STREAM_URL, "addresses": candidates}

    def target(self) -> Target:
        """The same for `smoke`'s own functions."""
        sid, token, addresses = self.carrier.account_sid, self.carrier.auth_token, self.addresses()["addresses"]
        return Target(FUNCTIONS_URL, STREAM_URL, sid, token, "+815010000002", addresses)

    def ring(self, folder: Path, *options: str, **environment: str) -> Result:
        """`callbot smoke` with this system's addresses, in an environment of its own."""
        file = folder / "addresses.json"
        file.write_text(json.dumps(self.addresses()))
        account = {
            "TWILIO_ACCOUNT_SID": self.carrier.account_sid,
            "TWILIO_AUTH_TOKEN": f"{self.carrier.auth_token},the-next-one",
            "TWILIO_PHONE_NUMBER": "+815010000002",
        }
        command = ["smoke", "--addresses", str(file), *options]
        return CliRunner().invoke(main, command, env=account | environment)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with Deployed(tmp_path_factory.mktemp("deployed")) as system:
        yield system


def test_a_system_that_works_passes(deployed: Deployed, tmp_path: Path) -> None:
    result = deployed.ring(tmp_path, CALLS_TOKEN=deployed.trigger_key)
    assert result.exit_code == 0, result.output
    assert result.output.count("ok ") == 6
    assert "realtime: a question is answered (call of" in result.output
    assert "the call is in the records (caller hung up)" in result.output
    assert deployed.carrier.auth_token not in result.output


def test_signatures_that_the_system_does_not_know_fail(deployed: Deployed, tmp_path: Path) -> None:
    result = deployed.ring(tmp_path, TWILIO_AUTH_TOKEN="another-account-s")
    assert result.exit_code == 1
    assert "FAILED realtime: a question is answered" in result.output
    assert "/callbot-incoming-call answered 403" in result.output
    assert "FAILED amivoice: the greeting is heard" in result.output


def test_a_system_whose_model_never_answers_fails(
    deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke, "CALL_SECONDS", 6.0)
    monkeypatch.setattr(smoke, "_greeting", lambda *_: Check("not now"))
    assert deployed.vendors.openai is not None
    faults = deployed.vendors.openai.faults
    faults.next(*[RefuseHandshake(503)] * 20)
    result = deployed.ring(tmp_path)
    while faults.take(ConnectionFault):
        pass
    assert result.exit_code == 1
    assert "the agent's voice was never heard" in result.output


def test_a_system_that_is_not_there_fails_at_once(
    deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke, "READY_SECONDS", 0.6)
    with processes.listen() as probe:
        nowhere = processes.address(probe).replace("http", "ws", 1)
    result = deployed.ring(tmp_path, f"--address={STREAM_URL}={nowhere}/ws")
    assert result.exit_code == 1
    assert "FAILED the stream service is ready" in result.output
    assert "realtime" not in result.output


def test_a_stream_service_that_lets_strangers_in_fails(tmp_path: Path) -> None:
    with Deployed(tmp_path, STREAM_SIGNATURE="checked") as system:
        found = smoke._stranger(system.target())
        assert found.problems == ("it was let in",)


def test_functions_that_let_an_impostor_in_fail(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    right = deployed.carrier.webhooks.signature
    with smoke._carrier(deployed.target()) as carrier:
        # What is meant to be wrong is right for this system.
        monkeypatch.setattr(carrier.webhooks, "signature", lambda url, form, _: right(url, form, "right"))
        found = smoke._impostor(carrier, deployed.target())
    assert "/callbot-incoming-call answers 200" in found.problems


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, FUNCTIONS_URL (or --functions-url)"),
        (["--address", "nonsense"], "not PUBLIC=CANDIDATE"),
        (["--address", "https://a.test="], "not PUBLIC=CANDIDATE"),
    ],
)
def test_it_says_what_it_needs(options: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "environment", dict)
    result = CliRunner().invoke(main, ["smoke", *options])
    assert result.exit_code == 2
    assert complaint in result.output


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"functionsUrl": 1, "streamUrl": "", "addresses": {"a": "b"}}'])
def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "addresses.json").write_text(text)
    result = CliRunner().invoke(main, ["smoke", "--addresses", str(tmp_path / "addresses.json")])
    assert result.exit_code == 2
    assert "--addresses" in result.output
