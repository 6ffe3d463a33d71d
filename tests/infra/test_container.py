"""stream_service/Dockerfile, read as text, and its command, tried here. `build_image` runs its steps."""

import json
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from callbot.settings import SETTINGS, Part
from tests.infra.container import Image
from tests.infra.image_rules import BUILDERS, faults
from tests.infra.test_upload import in_context

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "stream_service/Dockerfile").read_text()


def stages() -> list[list[tuple[str, str]]]:
    """The Dockerfile's stages: instructions with their arguments on one line, each stage from its FROM on."""
    lines = "\n".join(line for line in TEXT.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    instructions = [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in lines.splitlines() if line]
    begins = [n for n, (name, _) in enumerate(instructions) if name == "FROM"]
    return [instructions[begin:end] for begin, end in pairwise([*begins, len(instructions)])]


def last(name: str) -> str:
    """The argument of the last such instruction in the stage that is shipped."""
    return [argument for instruction, argument in stages()[-1] if instruction == name][-1]


def command() -> list[str]:
    return [*json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))]


def test_it_begins_with_one_slim_image_known_by_its_digest() -> None:
    named, outside = set(), []
    for stage in stages():
        source, *alias = stage[0][1].split(" AS ")
        if source not in named:
            outside.append(source)
        named.update(alias)

    assert len(outside) == 1
    assert re.fullmatch(r"python:3\.13\.\d+-slim-\w+@sha256:[0-9a-f]{64}", outside[0])


def test_it_runs_the_same_python_as_the_functions() -> None:
    base = stages()[0][0][1]
    runtime = re.search(r'runtime\s*=\s*"python3(\d+)"', (ROOT / "infra/functions.tf").read_text())

    assert runtime is not None
    assert f"python:3.{runtime[1]}." in base


def test_only_known_wheels_are_installed() -> None:
    installs = [
        line for stage in stages() for name, line in stage if name == "RUN" and "pip" in line and "install" in line
    ]
    pip = [line for line in installs if "apt-get" not in line]

    assert len(pip) == 1
    for option in ("--require-hashes", "--only-binary :all:", "--no-deps", "-r /build/requirements.txt"):
        assert option in pip[0]


def test_nothing_is_installed_in_what_is_shipped() -> None:
    shipped = "\n".join(line for name, line in stages()[-1] if name == "RUN")

    assert not re.search(r"apt|pip[\d. ]* .*install|curl|wget", shipped)


def test_all_that_is_copied_from_the_repository_is_in_the_context() -> None:
    copies = [shlex.split(line) for stage in stages() for name, line in stage if name == "COPY"]
    sources = {source for copy in copies if not copy[0].startswith("--from=") for source in copy[:-1]}

    assert sources >= {"functions/callbot", "stream_service"}
    for source in sources:
        assert (ROOT / source).exists(), source
        assert in_context(source), source


def test_it_is_nobodys_process() -> None:
    uid, gid = map(int, last("USER").split(":"))

    assert uid >= 1000
    assert gid >= 1000


def test_gunicorn_is_process_1_and_does_as_its_configuration_says() -> None:
    """With the settings that Cloud Run gives; gunicorn itself says what it makes of them."""
    assert command()[0] == "gunicorn"
    if not Path("/dev/shm").is_dir():  # noqa: S108 - where the image has gunicorn write, no file of ours
        pytest.skip("needs Linux's /dev/shm")
    known = {setting.name for setting in SETTINGS}
    env = {name: value for name, value in os.environ.items() if name not in known}
    env |= {setting.name: "unused" for setting in SETTINGS if Part.STREAM in setting.needed_by}
    env |= {"FUNCTIONS_URL": "https://callbot.test", "STREAM_URL": "wss://callbot.test/ws", "CALL_STORE": "firestore:p"}
    env |= {"PORT": "8123", "STREAM_CONCURRENCY": "30"}

    said = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--print-config", *command()[1:]],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert said.returncode == 0, said.stderr
    config = dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)
    config = {name.strip(): value.strip() for name, value in config.items()}
    assert config["bind"] == "['0.0.0.0:8123']"
    assert (config["workers"], config["worker_class"], config["threads"]) == ("1", "gthread", "38")
    assert config["worker_tmp_dir"] == "/dev/shm"  # noqa: S108 - as above
    assert (config["timeout"], config["daemon"], config["control_socket_disable"]) == ("0", "False", "True")


def test_it_listens_where_cloud_run_asks_unless_it_is_told_otherwise() -> None:
    assert last("EXPOSE") == "8080"
    assert re.search(r"\bPORT=8080\b", last("ENV"))


# -- the rules by which `build_image` judges the result, each broken once ----------------------------------------------


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """An unpacked image without faults, as small as one can be."""
    for source in (tmp_path / "usr/local/lib/python3.13/os.py", tmp_path / "srv/callbot/stream_service/app.py"):
        (source.parent / "__pycache__").mkdir(parents=True)
        source.touch()
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        compiled.write_bytes(b"\xf3\r\r\n" + (1).to_bytes(4, "little") + bytes(8))
    (tmp_path / "usr/bin").mkdir()
    return Image(tmp_path, ["gunicorn"], {}, "65532:65532", "/")


def test_a_good_image_has_no_faults(image: Image) -> None:
    assert faults(image) == []


@pytest.mark.parametrize("tool", [*BUILDERS])
def test_a_compiler_or_installer_that_is_left_is_seen(image: Image, tool: str) -> None:
    (image.root / "usr/bin" / tool).symlink_to("nowhere")

    assert faults(image) == [f"/usr/bin/{tool} is left"]


def test_python_without_byte_code_is_seen(image: Image) -> None:
    (image.root / "srv/callbot/stream_service/late.py").touch()

    assert faults(image) == ["no byte code for srv/callbot/stream_service/late.py"]


def test_byte_code_that_goes_by_a_files_time_is_seen(image: Image) -> None:
    path = image.root / "srv/callbot/stream_service/__pycache__/app.cpython-313.pyc"
    path.write_bytes(b"\xf3\r\r\n" + bytes(12))

    assert faults(image) == [f"byte code that is compared with its source: {path.relative_to(image.root)}"]


def test_what_may_be_a_secret_is_seen(image: Image) -> None:
    (image.root / "srv/callbot/.env").touch()

    assert faults(image) == ["srv/callbot/.env is none of the program's"]


def test_a_package_installer_that_is_left_is_seen(image: Image) -> None:
    (image.root / "usr/local/lib/python3.13/ensurepip").mkdir()

    assert faults(image) == ["/usr/local/lib/python3.13/ensurepip is left"]


def test_a_file_that_the_process_could_change_is_seen(image: Image) -> None:
    (image.root / "usr/local/lib/python3.13/os.py").chmod(0o666)

    assert faults(image) == ["everybody may write usr/local/lib/python3.13/os.py"]


def test_a_root_user_or_a_shell_as_process_1_is_seen(image: Image) -> None:
    wrong = Image(image.root, ["/bin/sh", "-c", "gunicorn"], {}, "", "/")

    assert len(faults(wrong)) == 2
