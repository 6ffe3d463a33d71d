"""Runs cloudbuild.yaml's steps on this machine: in their order, with their scripts and environment, in one workspace.

    python -m tests.infra.run_build [--review]

Terraform is the real one over the simulated Google Cloud; `infra/release.py` and `callbot smoke` are real, and what is
rung is a real system of two processes on this machine. Stood in for are `gcloud` (`fake_gcloud`), `docker`, `syft`, and
of `make` everything but the names of its targets: .ci/run has run them. What Terraform applies appears in gcloud's
cloud; what gcloud changes there, Terraform does not see.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.deployment import Deployment
from tests.infra import fake_docker, simulation
from tests.infra.fake_gcloud import Cloud

ROOT = simulation.ROOT
REGION, PROJECT, PREFIX, BUCKET = "asia-northeast1", "my-callbot-123456", "callbot", "my-state"
REPOSITORY = f"projects/{PROJECT}/locations/{REGION}/connections/here/repositories/callbot"
STEP_SECONDS = 180.0
ENTRY_POINTS = {"anchore/syft": "syft"}  # of builders that a step uses without a script
# What the smoke call signs with, as infra/secrets.tf names it.
SIGNS = (f"{PREFIX}-twilio-account-sid", f"{PREFIX}-twilio-auth-token")
SECRETS = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "OPENAI_API_KEY", "AMIVOICE_API_KEY", "STREAM_TICKET_SECRET")


@dataclass(frozen=True)
class Done:
    """A step that was run."""

    id: str
    code: int
    seconds: float
    output: str


def document(path: Path = ROOT / "cloudbuild.yaml") -> dict[str, Any]:
    """The build configuration, read by the YAML library of the infrastructure's tools."""
    program = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)"
    command = [str(simulation.PYTHON), "-c", program, str(path)]
    read = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    found: dict[str, Any] = json.loads(read.stdout)
    return found


class Serving(Deployment):
    """What is rung: one system, whichever revision it is that Terraform has deployed."""

    def __init__(self, folder: Path, functions_url: str, stream_url: str) -> None:
        folder.mkdir()
        super().__init__(folder, settings={"FUNCTIONS_URL": functions_url, "STREAM_URL": stream_url})

    def address(self, service: str) -> str:
        """Where a service is, by its name without the prefix."""
        return self.stream.url if service == "stream" else f"{self.functions.url}/{service}"


class Machine:
    """A project in which the deployment was applied once, by an operator, and the build machines of its pipeline."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cloud = Cloud.new(folder)
        self._programs()
        self._world = folder / "world.json"
        self._world.write_text(json.dumps({"assume": [BUCKET], "objects": {}}))
        self._terraform = self._simulated()
        (folder / "state").mkdir()
        first = self._workspace("operator")
        # As the operator does it who has connected the repository.
        variables = ["-var-file=example.tfvars", f"-var=repository={REPOSITORY}", f"-var=state_bucket={BUCKET}"]
        values = {name: f"value of {name}" for name in SECRETS}
        self._run_terraform(first, "init", f"-backend-config=bucket={BUCKET}", "-backend-config=prefix=callbot")
        self._run_terraform(
            first, "apply", "-auto-approve", *variables, environment={"TF_VAR_secrets": json.dumps(values)}
        )
        made = json.loads(self._run_terraform(first, "show", "-json"))["values"]
        # What the triggers give, and nothing that this file knows better.
        self._given = {
            one["name"]: one["values"]["substitutions"]
            for one in made["root_module"]["resources"]
            if one["type"] == "google_cloudbuild_trigger"
        }
        urls = (made["outputs"][name]["value"] for name in ("functions_url", "stream_url"))
        self.system = Serving(folder / "calls", *urls)
        self.system.start()
        account = self.system.carrier.account_sid, self.system.carrier.auth_token
        self.cloud.data["secrets"] = dict(zip(SIGNS, account, strict=True))
        self.cloud.save()
        self._applied(first)

    def deliver(self, build: str, *, without: Sequence[str] = ()) -> list[Done]:
        """A push to main: the steps up to the first that fails, without those named."""
        return self._build(build, "deliver", without)

    def review(self, build: str) -> list[Done]:
        """A pull request."""
        return self._build(build, "review", ())

    def close(self) -> None:
        """Ends the system that was rung."""
        self.system.stop()

    def _build(self, build: str, trigger: str, without: Sequence[str]) -> list[Done]:
        config = document()
        serial = len(self.cloud.load().data["builds"]) + 1
        record = {"id": build, "status": "WORKING", "createTime": f"2026-01-01T00:00:{serial:02}Z"}
        self.cloud.data["builds"][build] = record | {"buildTriggerId": trigger}
        self.cloud.save()
        workspace = self._workspace(build)
        values = config["substitutions"] | self._given[trigger]
        values |= {"PROJECT_ID": PROJECT, "BUILD_ID": build, "LOCATION": REGION, "COMMIT_SHA": "0" * 40}
        done: list[Done] = []
        with fake_docker.running() as firestore:
            for step in (one for one in config["steps"] if one["id"] not in without):
                done.append(self._step(step, workspace, values, firestore))
                if done[-1].code:
                    break
        self.cloud.load().data["builds"][build]["status"] = "FAILURE" if done[-1].code else "SUCCESS"
        self.cloud.save()
        return done

    def _step(self, step: Mapping[str, Any], workspace: Path, values: Mapping[str, str], firestore: str) -> Done:
        # What Cloud Build gives a step; and of this machine, where programs and temporary files are.
        env = {**values, "HOME": str(self.folder), "TMPDIR": str(self.folder), **self._terraform}
        env |= {"RUN_BUILD_STATE": str(self.folder / "state"), **self.cloud.environment()}
        env |= dict(one.split("=", 1) for one in step.get("env", []))
        if "FIRESTORE_EMULATOR_HOST" in env:
            env["FIRESTORE_EMULATOR_HOST"] = firestore
        script = step.get("script", "")
        for volume in step.get("volumes", []):
            (self.folder / volume["name"]).mkdir(exist_ok=True)
            script = script.replace(volume["path"], str(self.folder / volume["name"]))
        if script:
            file = self.folder / "script"
            file.write_text(script)
            file.chmod(0o755)
            command = [str(file)]
        else:
            command = [ENTRY_POINTS[step["name"].split(":")[0]], *(_substituted(one, values) for one in step["args"])]
        began = time.monotonic()
        ran = subprocess.run(
            command,
            cwd=workspace,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        done = Done(step["id"], ran.returncode, time.monotonic() - began, ran.stdout)
        if step["name"].startswith("hashicorp/terraform") and "Apply complete!" in ran.stdout:
            self._applied(workspace)
        return done

    def _applied(self, workspace: Path) -> None:
        """What Terraform has deployed is there for gcloud: new revisions where what runs has changed, and traffic."""
        shown = json.loads(self._run_terraform(workspace, "show", "-json"))
        for one in shown["values"]["root_module"]["resources"]:
            values = one["values"]
            if one["type"] == "google_cloudfunctions2_function":
                config = values["service_config"][0]
                env = config["environment_variables"]
                runs = [values["build_config"], env, config["secret_environment_variables"]]
                traffic = None
                if config["all_traffic_on_latest_revision"]:
                    traffic = [{"latestRevision": True, "percent": 100}]
            elif one["address"] == "google_cloud_run_v2_service.stream":
                env = {}
                runs = [values["template"]]
                traffic = [
                    {
                        **({"revisionName": to["revision"]} if to.get("revision") else {"latestRevision": True}),
                        **({"percent": to["percent"]} if to.get("percent") else {}),
                        **({"tag": to["tag"]} if to.get("tag") else {}),
                    }
                    for to in values["traffic"]
                ]
            else:
                continue
            service = self.cloud.load().data["services"].get(values["name"])
            if service is None or service.get("runs") != runs:
                self.cloud.deploy(values["name"], **env)
            service = self.cloud.data["services"][values["name"]]
            service |= {"runs": runs, "url": self.system.address(values["name"].removeprefix(f"{PREFIX}-"))}
            service["traffic"] = traffic or service["traffic"]
            self.cloud.save()

    def _workspace(self, build: str) -> Path:
        workspace = self.folder / f"workspace-{build}"
        workspace.mkdir()
        for name in simulation.SOURCES:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, workspace / name, ignore=simulation.JUNK)
            elif source.exists():
                shutil.copy2(source, workspace / name)
        # The step `test` would make it.
        (workspace / ".venv").symlink_to(ROOT / ".venv")
        # In place of the bucket, which only the arguments of init name.
        state = self.folder / "state" / "default.tfstate"
        (workspace / "infra" / "backend_override.tf").write_text(
            f'terraform {{\n  backend "local" {{\n    path = "{state}"\n  }}\n}}\n'
        )
        return workspace

    def _programs(self) -> None:
        real = shutil.which("terraform")
        programs = {
            "docker": f'exec {sys.executable} -E -S {Path(__file__).with_name("fake_docker.py")} docker "$@"',
            "syft": f'exec {sys.executable} -E -S {Path(__file__).with_name("fake_docker.py")} syft "$@"',
            "make": f'exec {shutil.which("make")} --directory={ROOT} --dry-run "$@"',
            # The local backend has no bucket; which one was named is the business of a test.
            "terraform": "for word; do shift; case $word in -backend-config=*) ;; *)"
            f' set -- "$@" "$word" ;; esac; done\nexec {real} "$@"',
        }
        for name, text in programs.items():
            program = self.folder / "bin" / name
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)

    def _simulated(self) -> dict[str, str]:
        command = [str(simulation.PYTHON), str(simulation.TFSIM), "shell-env", str(self.folder / "mirror")]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=STEP_SECONDS, check=True)
        exports = dict(line.removeprefix("export ").split("=", 1) for line in asked.stdout.splitlines())
        found = {name: value.strip("'") for name, value in exports.items()}
        return found | {"SIM_WORLD": str(self._world), "SIM_DELAY": "0", "TF_IN_AUTOMATION": "1"}

    def _run_terraform(self, workspace: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        env = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        ran = subprocess.run(
            [str(self.folder / "bin" / "terraform"), *arguments],
            cwd=workspace / "infra",
            env={**env, **self._terraform, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


def _substituted(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)


def main() -> int:
    """Prints each step as it went; 0 when all went well."""
    parser = argparse.ArgumentParser(description="Run cloudbuild.yaml's steps on this machine.")
    parser.add_argument("--review", action="store_true", help="as for a pull request")
    given = parser.parse_args()
    if lacking := simulation.missing():
        sys.exit(f"run_build: {lacking}")
    with tempfile.TemporaryDirectory(prefix="callbot-build-") as folder:
        machine = Machine(Path(folder))
        try:
            done = machine.review("by-hand") if given.review else machine.deliver("by-hand")
        finally:
            machine.close()
    for step in done:
        sys.stdout.write(f"{step.id:<10} {'ok' if not step.code else 'FAILED'} {step.seconds:6.1f} s\n")
        sys.stdout.write(textwrap.indent(step.output.strip()[-3000:], "    ") + "\n")
    ran = {step.id for step in done}
    if left := [step["id"] for step in document()["steps"] if step["id"] not in ran]:
        sys.stdout.write(f"not run: {', '.join(left)}\n")
    return max(step.code for step in done)


if __name__ == "__main__":
    sys.exit(main())
