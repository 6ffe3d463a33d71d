"""The Makefile, the pinned requirements and the script that checks everything."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKS = {
    "functions": "functions/requirements.txt",
    "stream": "stream_service/requirements.txt",
    "dev": "requirements-dev.txt",
    "bench": "requirements-bench.txt",
}


def pinned(lock: str) -> dict[str, str]:
    text = (ROOT / LOCKS[lock]).read_text(encoding="utf-8").replace("\\\n", " ")
    return dict(line.split("==", 1) for line in text.splitlines())


def names(*requirements: str) -> set[str]:
    found = set()
    for requirement in requirements:
        inner = re.fullmatch(r"callbot\[(.+)\]", requirement)
        if inner:
            found |= names(*(one for extra in inner[1].split(",") for one in EXTRAS[extra]))
        else:
            found.add(re.split(r"[<>=!~ ]", requirement, maxsplit=1)[0])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_with_hashes(lock):
    for name, rest in pinned(lock).items():
        assert re.match(r"\d\S*", rest), name
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), name


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_the_project_asks_for_is_there(lock):
    wanted = names(*PROJECT["dependencies"], *EXTRAS[lock])
    assert wanted - pinned(lock).keys() == set(), "run `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_no_address_no_path_and_not_ourselves(lock):
    text = (ROOT / LOCKS[lock]).read_text(encoding="utf-8")
    assert not re.search(r"://|file:|--(extra-)?index|--find-links|^[./]|@ ", text, re.MULTILINE)
    assert "callbot" not in text


def test_what_is_deployed_has_only_what_it_needs():
    assert not {"openai", "flask-sock", "websocket-client", "pytest", "click-default"} & pinned("functions").keys()
    assert not {"functions-framework", "pytest", "rich", "websockets", "uv"} & pinned("stream").keys()


def test_deployed_and_tested_versions_are_the_same():
    tested = {name: rest.split()[0] for name, rest in pinned("dev").items()}
    for lock in ("functions", "stream"):
        assert {name: rest.split()[0] for name, rest in pinned(lock).items()}.items() <= tested.items()


def test_what_draws_the_plot_changes_nothing_that_is_tested():
    tested, drawing = pinned("dev"), pinned("bench")
    for name in tested.keys() & drawing.keys():
        assert drawing[name].split()[0] == tested[name].split()[0], name


def test_make_explains_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert f"make {target} " in shown


def test_the_script_that_checks_everything_is_sound(tmp_path):
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    bare = {"PATH": str(tmp_path)}
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    refused = subprocess.run(["/bin/bash", str(script)], env=bare, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "python3 is missing" in refused.stderr
