"""Terraform against a simulated Google Cloud (tfsim): where it is, what it is run on, and what a plan or a state says.

What they must say is the tests' business. `python -m tests.infra.simulation [OPTION ...]` runs tfsim's whole `check`.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TFSIM = (ROOT / os.environ.get("TFSIM", "../shared/terraform-google/tfsim.py")).resolve()
PYTHON = ROOT / ".venv-infra" / "bin" / "python"
EXAMPLE = ROOT / "infra" / "example.tfvars"
# What the configuration reads. Not the whole checkout: tfsim copies all it is given, virtual environments too.
SOURCES = ("infra", "functions", "stream_service", "cloudbuild.yaml", ".dockerignore", ".gcloudignore")
JUNK = shutil.ignore_patterns(".terraform*", "*.tfstate*", ".build", "__pycache__", "*.db*", ".venv*")
# One run of tfsim. A plan takes 5 to 15 s on a machine that does nothing else, the whole check a few minutes.
SECONDS = 240
CHECK_SECONDS = 900
CHECKED_ELSEWHERE = ("--skip", "fmt", "--skip", "validate", "--skip", "test")


@dataclass(frozen=True)
class Outcome:
    """What Terraform would make in an empty project (a plan) or has made there (a state)."""

    data: Mapping[str, Any]  # Terraform: JSON output format
    output: str  # all that Terraform printed on the way
    files: str  # what an apply leaves on the disk: the state and the plan that was applied

    def resources(self, kind: str = "") -> dict[str, dict[str, Any]]:
        """The values of every managed resource of a type, or of all, by address."""
        module = self.data["planned_values" if "planned_values" in self.data else "values"]["root_module"]
        return {
            one["address"]: one["values"]
            for one in module["resources"]
            if one["mode"] == "managed" and kind in ("", one["type"])
        }


def missing() -> str:
    """What this machine lacks for the simulation, in words; empty when it lacks nothing."""
    if not shutil.which("terraform"):
        return "terraform (1.11 or newer) is not on the path"
    if not TFSIM.exists():
        return "the simulated Google Cloud is not there: set TFSIM to the path of tfsim.py"
    return "" if PYTHON.exists() else "its tools are not installed: `make infra` does that"


def plan(shared: Path, *options: str, environment: Mapping[str, str] | None = None) -> Outcome:
    """The plan of the example's variables and these options of tfsim, such as `--var a=b`.

    Made once for all processes that use the folder `shared`. Raises AssertionError, with Terraform's words, when there
    is no plan.
    """

    def make(work: Path) -> Outcome:
        written = work / "plan.json"
        done = _check(
            _copied(shared),
            work,
            *CHECKED_ELSEWHERE,
            "--until",
            "plan",
            "-v",
            "--plan-json",
            str(written),
            *options,
            environment=environment,
        )
        assert done.returncode == 0, _complaint(done.stdout)
        return Outcome(json.loads(written.read_text()), done.stdout, "")

    return _once(shared, ["plan", *options], environment, make)


def state(shared: Path, *options: str, environment: Mapping[str, str] | None = None) -> Outcome:
    """The state after an apply, where every value is known; otherwise as `plan`."""

    def make(work: Path) -> Outcome:
        written = work / "plan.json"
        done = _check(
            _copied(shared),
            work,
            *CHECKED_ELSEWHERE,
            "--until",
            "apply",
            "-v",
            "--keep",
            "--delay",
            "0",
            "--plan-json",
            str(written),
            *options,
            environment=environment,
        )
        assert done.returncode == 0, _complaint(done.stdout)
        kept = re.search("^kept: (.+)$", done.stdout, re.MULTILINE)
        assert kept is not None
        folder = Path(kept[1]) / "tree" / "infra"
        shown = subprocess.run(
            ["terraform", "show", "-json"],
            cwd=folder,
            env=_clean({"TF_CLI_CONFIG_FILE": str(Path(kept[1]) / "install" / "terraform.rc")}),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        return Outcome(json.loads(shown.stdout), done.stdout, _left_in(folder) + written.read_text())

    return _once(shared, ["state", *options], environment, make)


def _left_in(folder: Path) -> str:
    texts = [path.read_text(errors="replace") for path in folder.glob("*tfstate*") if path.is_file()]
    with zipfile.ZipFile(folder / "tfsim.plan") as plan_file:
        texts += [plan_file.read(name).decode(errors="replace") for name in plan_file.namelist()]
    return "\n".join(texts)


def _once(
    shared: Path, asked: list[str], environment: Mapping[str, str] | None, make: Callable[[Path], Outcome]
) -> Outcome:
    name = hashlib.sha256(json.dumps([asked, sorted((environment or {}).items())]).encode()).hexdigest()[:16]
    kept = shared / f"{name}.json"
    with _locked(shared / f"{name}.lock"):
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=shared) as work:
                outcome = make(Path(work))
            kept.write_text(json.dumps([outcome.data, outcome.output, outcome.files]))
    return Outcome(*json.loads(kept.read_text()))


def _copied(shared: Path) -> Path:
    tree = shared / "tree"
    with _locked(shared / "tree.lock"):
        if not tree.exists():
            unfinished = Path(tempfile.mkdtemp(dir=shared))
            for name in SOURCES:
                source = ROOT / name
                if source.is_dir():
                    shutil.copytree(source, unfinished / name, ignore=JUNK)
                elif source.exists():
                    shutil.copy2(source, unfinished / name)
            unfinished.rename(tree)
    return tree


def _check(
    tree: Path, work: Path, *options: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, TFSIM, "check", tree, "infra", "--var-file", EXAMPLE, *options]
    return subprocess.run(
        list(map(str, command)),
        env=_clean({"TMPDIR": str(work), **(environment or {})}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def _complaint(output: str) -> str:
    return output[max(0, output.find("\nError")) :]


def _clean(also: Mapping[str, str]) -> dict[str, str]:
    # None of a developer's own Terraform variables may change what is tested.
    return {name: value for name, value in os.environ.items() if not name.startswith("TF_")} | dict(also)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # a holder has a deadline of its own, and a dead one holds nothing
        yield


def main() -> int:
    """fmt, init, validate, test, plan, apply, an empty second plan, destroy; printed as they are done."""
    if lacking := missing():
        sys.exit(f"infra: {lacking}")
    with tempfile.TemporaryDirectory(prefix="callbot-infra-") as shared:
        command = [PYTHON, TFSIM, "check", _copied(Path(shared)), "infra", "--var-file", EXAMPLE, *sys.argv[1:]]
        return subprocess.run(
            list(map(str, command)), env=_clean({"TMPDIR": shared}), timeout=CHECK_SECONDS, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
