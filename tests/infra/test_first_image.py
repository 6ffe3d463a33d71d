"""The script that has the first image built: it waits for the build's end and says how it ended."""

import json
import os
import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "infra" / "first_image.sh"
BUILD = {"steps": [{"name": "a", "args": ["it's", "$HOME"]}]}
GCLOUD = """#!/bin/sh
echo "$@" >> "$CALLS"
case $2 in
    submit) for one; do case $one in --config=*) cp "${one#--config=}" "$CALLS.json" ;; esac; done; echo b-1 ;;
    describe) head -n 1 "$STATES"; sed -i 1d "$STATES" ;;
esac
"""


def build(folder: Path, *states: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the script as its job does, with the states that the build goes through; and what gcloud was asked."""
    tools = folder / "tools"
    tools.mkdir()
    for name, text in {"gcloud": GCLOUD, "sleep": "#!/bin/sh\n"}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    calls, kept = folder / "calls", folder / "states"
    kept.write_text("".join(f"{state}\n" for state in states))
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "TMPDIR": str(folder),
        "PROJECT": "p",
        "BUILD": json.dumps(BUILD),
        "CALLS": str(calls),
        "STATES": str(kept),
    }
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, "-ceu", SCRIPT.read_text()], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    return done, calls.read_text().splitlines()


def test_the_build_is_handed_over_unchanged_and_waited_for(tmp_path: Path) -> None:
    done, calls = build(tmp_path, "QUEUED", "WORKING", "SUCCESS")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "calls.json").read_text()) == BUILD
    assert calls[0].startswith("builds submit --no-source --async")
    assert [call.split()[:3] for call in calls[1:]] == [["builds", "describe", "b-1"]] * 3


def test_a_build_that_fails_fails_the_apply_and_says_where_its_log_is(tmp_path: Path) -> None:
    done, _ = build(tmp_path, "WORKING", "FAILURE")
    assert done.returncode == 1
    assert "FAILURE" in done.stderr
    assert "b-1?project=p" in done.stdout


def test_a_build_that_nothing_is_known_of_is_not_taken_for_a_good_one(tmp_path: Path) -> None:
    done, _ = build(tmp_path, "")
    assert done.returncode == 1
