"""`callbot dev` and `callbot call` as two processes, as somebody at two terminals has them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from callbot.settings import SETTINGS
from emulator import processes

pytestmark = pytest.mark.real_time

ROOT = Path(__file__).parents[3]
CALLBOT = [sys.executable, "-c", "from emulator.cli import main; main()"]
WAV = ROOT / "emulator" / "recordings" / "hang-up.wav"


@pytest.fixture
def env(tmp_path) -> dict[str, str]:
    known = {setting.name for setting in SETTINGS} | {"FROM_PHONE_NUMBER"}
    with processes.listen() as probe:
        port = probe.getsockname()[1]
    machine = {name: value for name, value in os.environ.items() if name not in known}
    return {**machine, "PORT": str(port), "XDG_RUNTIME_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}


class Server:
    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self.url = f"http://127.0.0.1:{env['PORT']}"
        self.lines: list[str] = []
        self._ready = threading.Event()
        self.process = subprocess.Popen(
            [*CALLBOT, "dev"], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self.lines.append(line.rstrip("\n"))
                if "Ctrl-C" in line:
                    self._ready.set()

    def wait_until_ready(self) -> None:
        assert self._ready.wait(30), "\n".join(self.lines)

    def stop(self, number: int) -> tuple[int, float]:
        began = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(20)
        self._reader.join(5)
        return status, time.monotonic() - began


@contextlib.contextmanager
def dev(env: dict[str, str], folder: Path) -> Iterator[Server]:
    server = Server(env, folder)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop(signal.SIGKILL)


def call(env: dict[str, str], folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [*CALLBOT, "call", *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=50, check=False
    )
    return done.returncode, done.stdout


def test_a_call_to_a_running_server_and_a_polite_end(env, tmp_path):
    with dev(env, tmp_path) as server:
        told = "\n".join(server.lines)
        for vendor in ("Twilio", "OpenAI", "AmiVoice"):
            assert f"{vendor:<9} emulated" in told
        assert "\x1b" not in told
        with urllib.request.urlopen(f"{server.url}/health", timeout=5) as answer:
            assert answer.status == 200

        status, text = call(env, tmp_path, "--json", "--wav", str(WAV))
        report = json.loads(text)
        assert report["problems"] == []
        assert status == 0
        assert report["said"][0]["text"] == "電話を切ってください"
        assert report["ended_by"] == "bot"
        assert report["record"]["endReason"] == "the caller asked to end the call"
        assert (tmp_path / "callbot.db").exists()

        second = subprocess.run([*CALLBOT, "dev"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=20)
        assert second.returncode == 1
        assert env["PORT"] in second.stderr

        status, seconds = server.stop(signal.SIGINT)
        assert status == 0
        assert seconds < 9
    assert not processes.is_healthy(server.url, 0.5)
    assert list(tmp_path.glob("callbot-*")) == []


def test_a_call_when_nothing_runs_brings_its_own_server(env, tmp_path):
    status, text = call(env, tmp_path, "--engine", "realtime", "--wav", str(WAV))
    assert "no callbot dev runs here" in text
    assert "1 of 1 turns answered" in text
    assert "reason: the caller asked to end the call" in text
    assert status == 0, text
    assert list(tmp_path.iterdir()) == []


def test_the_trigger_printed_at_the_start_works_and_sigterm_hangs_up(env, tmp_path):
    with dev(env, tmp_path) as server:
        curl = next(line for line in server.lines if "curl" in line)
        key = curl.partition("Bearer ")[2].partition('"')[0]
        request = urllib.request.Request(
            f"{server.url}/outgoing-call",
            b'{"phoneNumber": "+819012345678"}',
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 201
            assert json.load(answer)["callSid"].startswith("CA")
        status, seconds = server.stop(signal.SIGTERM)
        assert status == 0
        assert seconds < 9
