"""Asking for the secrets: what the command is given, and that nothing of it is shown. At a terminal of its own."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "infra" / "ask_secrets.py"
SHOW = [sys.executable, "-c", "import os; print('given', os.environ['TF_VAR_secrets'])"]
SID = "AC" + "0" * 32
TOKEN = "f" * 32
SECONDS = 20.0


def at_a_terminal(*arguments: str, answers: list[str]) -> tuple[int, str]:
    """Run the script, answer each question when it is asked; the exit code and all that the terminal showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown, asked = "", 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and select.select([ours], [], [], deadline - time.monotonic())[0]:
        try:
            shown += os.read(ours, 65_536).decode()
        except OSError:  # Linux: the other end of a terminal is gone
            break
        if shown.endswith(": ") and asked < len(answers):
            os.write(ours, (answers[asked] + "\n").encode())
            asked += 1
    os.close(ours)
    try:
        return process.wait(SECONDS), shown
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def given(shown: str) -> dict[str, str]:
    """What the command had in its environment, read as Terraform reads it."""
    [line] = [line for line in shown.splitlines() if line.startswith("given ")]
    text = line.removeprefix("given ").replace("$${", "${").replace("%%{", "%{")
    values: dict[str, str] = json.loads(text)
    return values


def test_the_command_is_given_every_secret_and_one_that_nobody_typed() -> None:
    code, shown = at_a_terminal(*SHOW, answers=[SID, TOKEN, "sk-1", "key${not}%{template}  "])
    assert code == 0
    values = given(shown)
    assert len(values.pop("STREAM_TICKET_SECRET")) >= 32
    assert values == {
        "TWILIO_ACCOUNT_SID": SID,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "OPENAI_API_KEY": "sk-1",
        "AMIVOICE_API_KEY": "key${not}%{template}",
    }


def test_what_is_typed_is_not_shown() -> None:
    _, shown = at_a_terminal(sys.executable, "-c", "pass", answers=[SID, TOKEN, "sk-secret", "amivoice-secret"])
    assert "auth token" in shown
    assert not any(secret in shown for secret in (SID, TOKEN, "sk-secret", "amivoice-secret"))


def test_each_rotation_makes_another_ticket_secret() -> None:
    made = {given(at_a_terminal("--only", "STREAM_TICKET_SECRET", *SHOW, answers=[])[1]).popitem() for _ in range(2)}
    assert {name for name, _ in made} == {"STREAM_TICKET_SECRET"}
    assert len(made) == 2


def test_one_key_is_asked_for_alone() -> None:
    _, shown = at_a_terminal("--only", "OPENAI_API_KEY", *SHOW, answers=["sk-2"])
    assert given(shown) == {"OPENAI_API_KEY": "sk-2"}


def test_what_cannot_be_right_is_asked_for_again_and_then_nothing_is_run() -> None:
    code, shown = at_a_terminal("--only", "TWILIO_ACCOUNT_SID", *SHOW, answers=["nonsense", SID])
    assert (code, given(shown)) == (0, {"TWILIO_ACCOUNT_SID": SID})

    code, shown = at_a_terminal("--only", "TWILIO_ACCOUNT_SID", *SHOW, answers=["", "x", "y"])
    assert code == 1
    assert "nothing was run" in shown
    assert "given" not in shown.replace("was not given", "")


def test_without_a_terminal_nothing_is_asked_and_nothing_is_run() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, *SHOW], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "TF_VAR_secrets" in done.stderr
