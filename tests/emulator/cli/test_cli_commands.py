"""The commands as they are typed: help, exit codes, and what `callbot number` does at Twilio."""

import json

import pytest
from cli_answering import ACCOUNT, NUMBER, TOKEN, answering
from click.testing import CliRunner

from callbot.settings import SETTINGS
from emulator import cli_call, espeak
from emulator.audio import ulaw_to_wav
from emulator.cli import main


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.delenv("FROM_PHONE_NUMBER", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def run(*arguments, **env):
    return CliRunner().invoke(main, arguments, env=env)


@pytest.mark.parametrize("command", [[], ["dev"], ["call"], ["number", "set"], ["number", "show"]])
def test_every_command_has_help_with_an_example(command):
    shown = run(*command, "--help")
    assert shown.exit_code == 0
    assert "Example" in shown.output
    assert "callbot " + " ".join(command) in shown.output.partition("Example")[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["dev", "extra"],
        ["call", "--engine", "steam"],
        ["call", "--max-seconds", "0"],
        ["call", "--wav", "nowhere.wav"],
        ["number", "set"],
    ],
)
def test_wrong_usage_is_2(arguments):
    assert run(*arguments).exit_code == 2


def test_wrong_settings_are_2_and_named_all_at_once():
    complaint = run("number", "set", NUMBER)
    assert complaint.exit_code == 2
    for name in ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "FUNCTIONS_URL"):
        assert name in complaint.output
    assert run("dev", TWILIO_ACCOUNT_SID=ACCOUNT).exit_code == 2
    complaint = run("dev", TWILIO_ACCOUNT_SID=ACCOUNT, TWILIO_AUTH_TOKEN=TOKEN)
    assert complaint.exit_code == 2
    assert "FUNCTIONS_URL" in complaint.output
    assert "STREAM_URL" in complaint.output
    assert run("call", LOG_LEVEL="loud").exit_code == 2
    assert run("number", "show", NUMBER, PORT="many").exit_code == 2


def test_a_file_that_is_no_audio_is_wrong_usage(tmp_path):
    (tmp_path / "a.wav").write_text("not audio")
    refused = run("call", "--wav", "a.wav")
    assert refused.exit_code == 2
    assert "a.wav" in refused.output


def test_saying_something_needs_espeak(monkeypatch):
    monkeypatch.setattr(espeak.shutil, "which", lambda _: None)
    refused = run("call", "--say", "はい")
    assert refused.exit_code == 1
    assert "espeak-ng is not installed" in refused.output
    assert run("call", "--say", " ").exit_code == 2


# -- callbot call, at a Twilio that says always the same ---------------------------------------------------------------


def test_a_call_is_shown_and_judged(tmp_path, library):
    (tmp_path / "line.wav").write_bytes(ulaw_to_wav(library["hai"].ulaw))
    with answering("<Say>ご用件をどうぞ</Say><Pause length='2'/><Say>承知しました</Say><Pause length='9'/>") as carrier:
        carrier.on_recording = lambda *_: None
        shown = run("call", "--wav", "line.wav", TWILIO_API_URL=carrier.url)
    assert shown.exit_code == 0, shown.output
    assert ["bot", "ご用件をどうぞ"] in [line.split()[1:3] for line in shown.output.splitlines()]
    assert "1 of 1 turns answered" in shown.output
    assert "ended by the caller" in shown.output


def test_the_report_is_one_json_document_and_a_bad_call_is_1():
    with answering("<Say>はい</Say><Pause length='4'/>") as carrier:
        shown = run("call", "--json", TWILIO_API_URL=carrier.url)
    report = json.loads(shown.stdout)
    assert report["to"] == NUMBER
    assert report["heard"][0]["text"] == "はい"
    assert report["problems"] == ["nothing the caller said was answered"]
    assert report["record"] is None
    assert shown.exit_code == 1


def test_a_number_that_nobody_has_is_1():
    with answering("<Say>はい</Say>") as carrier:
        refused = run("call", "--to", "+819000000000", TWILIO_API_URL=carrier.url)
    assert refused.exit_code == 1
    assert "not a number of this carrier" in refused.output


def test_the_lines_of_the_caller_end_with_a_goodbye(library):
    assert [library[name].text for name in cli_call.DEFAULT_LINES][-1].endswith("失礼します")


# -- callbot number ----------------------------------------------------------------------------------------------------


def account(carrier, **more):
    return {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_API_URL": carrier.url} | more


@pytest.mark.parametrize(("engine", "path"), [([], "/incoming-call"), (["--engine", "amivoice"], "/twiml")])
def test_a_number_is_pointed_here(engine, path):
    with answering("") as carrier:
        done = run("number", "set", NUMBER, *engine, **account(carrier, PUBLIC_URL="https://here.test/"))
        assert done.exit_code == 0, done.output
        number = carrier.numbers[NUMBER]
        assert number.voice_url == f"https://here.test{path}"
        assert number.status_callback == "https://here.test/call-events"
        assert number.fallback_url.startswith("https://here.test/call-flow?step=resume")
        shown = run("number", "show", NUMBER, **account(carrier))
    assert shown.exit_code == 0
    assert f"https://here.test{path}" in shown.output


def test_a_refusal_of_twilio_is_1_and_in_its_own_words():
    with answering("") as carrier:
        env = account(carrier, FUNCTIONS_URL="https://here.test")
        refused = run("number", "set", NUMBER, **env | {"TWILIO_AUTH_TOKEN": "wrong"})
        assert refused.exit_code == 1
        assert "Authenticate" in refused.output
        unknown = run("number", "set", "+815099999999", **env)
        assert unknown.exit_code == 1
        assert "has no number +815099999999" in unknown.output
        assert carrier.numbers[NUMBER].voice_url == "https://old.test/voice"
    assert run("number", "show", NUMBER, **env).exit_code == 1
