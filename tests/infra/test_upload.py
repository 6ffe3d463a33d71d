"""What is uploaded: `.dockerignore` for the image, Terraform's archive for the first one, `.gcloudignore` by hand."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("functions/callbot", "stream_service")
# What lies about in a working copy, or could, and must never leave it.
JUNK = (
    ".env",
    ".env.local",
    ".git/config",
    ".venv/lib/python3.11/site-packages/flask/app.py",
    ".venv-infra/bin/python",
    ".pytest_cache/README.md",
    "callbot.db",
    "callbot.db-wal",
    "callbot.egg-info/PKG-INFO",
    "functions/callbot/__pycache__/calls.cpython-311.pyc",
    "infra/.build/image.zip",
    "infra/.terraform/terraform.tfstate",
    "infra/terraform.tfstate",
    "infra/terraform.tfstate.backup",
    "infra/crash.log",
    "stream_service/__pycache__/app.cpython-313.pyc",
    "stream_service/wire/_codec.abi3.so",
)
# What is well placed in the repository, and must not be in the image.
NOT_FOR_THE_IMAGE = (
    ".dockerignore",
    ".env.example",
    "Makefile",
    "README.md",
    "cloudbuild.yaml",
    "emulator/cli.py",
    "functions/callbot/.env",
    "functions/callbot/credentials.json",
    "functions/main.py",
    "functions/requirements.txt",
    "infra/stream.tf",
    "pyproject.toml",
    "requirements-dev.txt",
    "stream_service/Dockerfile",
    "stream_service/README.md",
    "stream_service/calls.db",
    "stream_service/tls.pem",
    "tests/conftest.py",
)


def program() -> set[str]:
    """Every file that the stream service is made of."""
    kinds = {".py", ".toml", ".html", ".txt", ".c", ".h"}
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.suffix in kinds)
    return {path.relative_to(ROOT).as_posix() for path in files}


def in_context(path: str) -> bool:
    """Whether `docker build` gets it: the last line to match it or a folder of it decides (Docker: .dockerignore)."""
    parents = [path, *(parent.as_posix() for parent in Path(path).parents[:-1])]
    included = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = re.compile(_as_regex(line.removeprefix("!")))
            if any(pattern.fullmatch(candidate) for candidate in parents):
                included = line.startswith("!")
    return included


def _as_regex(pattern: str) -> str:
    parts = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return re.sub(
        r"\*\*/|\*|\?|\[[^\]]*\]|.",
        lambda found: parts.get(found[0], found[0] if found[0].startswith("[") else re.escape(found[0])),
        pattern,
    )


def test_the_image_gets_the_program() -> None:
    assert {path for path in program() if not in_context(path)} == set()


def test_the_image_gets_nothing_else() -> None:
    assert {path for path in (*JUNK, *NOT_FOR_THE_IMAGE) if in_context(path)} == set()


def test_terraforms_archive_holds_the_same_program() -> None:
    patterns = re.findall(r'fileset\(local\.root, "([^"]+)"\)', (ROOT / "infra/sources.tf").read_text())
    archived = {
        path.relative_to(ROOT).as_posix()
        for pattern in patterns
        for one in _expanded(pattern)
        for path in ROOT.glob(one)
    }

    assert archived == {*program(), "stream_service/Dockerfile"}


def _expanded(pattern: str) -> list[str]:
    braces = re.search(r"\{([^}]*)\}", pattern)
    return [pattern.replace(braces[0], one) for one in braces[1].split(",")] if braces else [pattern]


@pytest.mark.terraform  # of `make infra`: the pipeline's own test step has no gcloud
def test_a_build_by_hand_gets_what_git_would_track(tmp_path: Path) -> None:
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        if os.environ.get("CI"):
            pytest.fail("under CI this must run, and needs gcloud")
        pytest.skip("needs gcloud: it knows what it uploads")
    tree = tmp_path / "tree"
    wanted = {*program(), "stream_service/Dockerfile", "infra/stream.tf", "infra/example.tfvars", "tests/conftest.py"}
    wanted |= {".dockerignore", ".env.example", ".gitignore", "cloudbuild.yaml", "Makefile"}
    for path in (*wanted, *JUNK):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).touch()
    for name in (".gcloudignore", ".gitignore"):
        shutil.copy(ROOT / name, tree)

    listed = subprocess.run(
        [gcloud, "meta", "list-files-for-upload", str(tree)],
        env={**os.environ, "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert listed.returncode == 0, listed.stderr
    assert set(listed.stdout.split()) == wanted
