"""`gcloud`, as far as a delivery uses it, over a cloud that is one JSON file: put it on PATH and it can be released to.

Written from the commands' reference pages and the answers' API pages (Cloud Run Admin API v1: Service; Cloud Storage
JSON API: Objects; Cloud Build API: Build), not from `infra/`. A command or option that gcloud does not have is refused.
"""

import fcntl
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATE = "FAKE_GCLOUD_STATE"
EVERYWHERE = {"--project", "--quiet", "--format"}


class Cloud:
    """What the file at `path` holds; also a test's own view of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: dict[str, Any] = {}

    @classmethod
    def new(cls, folder: Path) -> "Cloud":
        """An empty one, and an executable `gcloud` in `folder`/bin."""
        (folder / "bin").mkdir(parents=True)
        program = folder / "bin" / "gcloud"
        # It is started hundreds of times: nothing of the environment's is looked for, and little is imported above.
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -E -S {__file__} "$@"\n')
        program.chmod(0o755)
        cloud = cls(folder / "cloud.json")
        cloud.data = {
            "services": {},
            "objects": {},
            "builds": {},
            "secrets": {},
            "calls": [],
            "broken": [],
            "serial": 1,
        }
        cloud.save()
        return cloud

    def environment(self) -> dict[str, str]:
        """What a process needs to find it."""
        return {"PATH": f"{self.path.parent / 'bin'}:{os.environ['PATH']}", STATE: str(self.path)}

    def load(self) -> "Cloud":
        """What commands have made of it meanwhile."""
        self.data = json.loads(self.path.read_text())
        return self

    def save(self) -> None:
        """For commands to come."""
        self.path.write_text(json.dumps(self.data))

    def deploy(self, name: str, *, ready: bool = True, **env: str) -> str:
        """A new revision of a service, which gets traffic where the newest does; its name."""
        service = self.data["services"].setdefault(
            name, {"revisions": [], "ready": "", "env": {}, "traffic": [{"latestRevision": True, "percent": 100}]}
        )
        revision = f"{name}-{len(service['revisions']) + 1:05}-abc"
        service["revisions"].append(revision)
        service["env"] |= env
        if ready:
            service["ready"] = revision
        self.save()
        return revision

    def serving(self, name: str) -> dict[str, int]:
        """Which revisions get how much."""
        status = described(name, self.load().data["services"][name])["status"]["traffic"]
        return {one["revisionName"]: one["percent"] for one in status if one.get("percent")}

    def tags(self, name: str) -> dict[str, str]:
        """The tags of a service and the revisions that they are of."""
        status = described(name, self.load().data["services"][name])["status"]["traffic"]
        return {one["tag"]: one["revisionName"] for one in status if "tag" in one}


def described(name: str, service: dict[str, Any]) -> dict[str, Any]:
    """A service as the API has it."""
    newest, ready = service["revisions"][-1], service["ready"]
    traffic = []
    for one in service["traffic"]:
        shown = dict(one)
        if one.get("latestRevision"):
            shown["revisionName"] = ready
        if "tag" in one:
            shown["url"] = service.get("url") or f"https://{one['tag']}---{name}-a1b2c3d4e5-an.a.run.app"
        traffic.append(shown)
    is_ready = newest == ready
    condition = {"type": "Ready", "status": "True" if is_ready else service.get("condition", "Unknown")}
    env = [{"name": key, "value": value} for key, value in service["env"].items()]
    env.append({"name": "TWILIO_AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"key": "1", "name": "token"}}})
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [{"env": env}]}}, "traffic": service["traffic"]},
        "status": {
            "latestCreatedRevisionName": newest,
            "latestReadyRevisionName": ready,
            "conditions": [condition | ({} if is_ready else {"message": "the container did not listen"})],
            "traffic": traffic,
        },
    }


class Refused(Exception):  # noqa: N818 - as gcloud says it
    """An error that gcloud would print; it ends with 1."""


Options = dict[str, str]


def list_services(cloud: Cloud, _: list[str], __: Options) -> Any:
    return [described(name, service) for name, service in cloud.data["services"].items()]


def update_traffic(cloud: Cloud, arguments: list[str], options: Options) -> Any:
    name = arguments[0]
    if name in cloud.data["broken"]:
        raise Refused("(gcloud.run.services.update-traffic) ABORTED: Conflict for resource")
    service = cloud.data["services"].get(name)
    if service is None:
        raise Refused(f"(gcloud.run.services.update-traffic) Service [{name}] could not be found.")
    traffic = service["traffic"]
    for change in filter(None, options.get("--update-tags", "").split(",")):
        tag, revision = change.split("=")
        if revision not in service["revisions"]:
            raise Refused(f"Revision named '{revision}' not found")
        traffic = [one for one in traffic if one.get("tag") != tag] + [{"revisionName": revision, "tag": tag}]
    for tag in filter(None, options.get("--remove-tags", "").split(",")):
        traffic = [{key: value for key, value in one.items() if (key, value) != ("tag", tag)} for one in traffic]
    target: dict[str, Any] | None = None
    if "--to-latest" in options:
        target = {"latestRevision": True, "percent": 100}
    elif "--to-revisions" in options:
        revision, percent = options["--to-revisions"].split("=")
        if revision not in service["revisions"]:
            raise Refused(f"Revision named '{revision}' not found")
        target = {"revisionName": revision, "percent": int(percent)}
    if target:
        traffic = [target] + [{key: value for key, value in one.items() if key != "percent"} for one in traffic]
    service["traffic"] = [one for one in traffic if one.get("percent") or "tag" in one]
    return []


def describe_object(cloud: Cloud, arguments: list[str], _: Options) -> Any:
    found = cloud.data["objects"].get(arguments[0])
    if found is None:
        raise Refused(f"(gcloud.storage.objects.describe) {arguments[0]} not found: 404.")
    return found


def copy(cloud: Cloud, arguments: list[str], options: Options) -> Any:
    source, url = arguments
    present = cloud.data["objects"].get(url, {}).get("generation", "0")
    if options.get("--if-generation-match", present) != present:
        raise Refused("HTTPError 412: At least one of the pre-conditions you specified did not hold.")
    metadata = dict(pair.split("=") for pair in filter(None, options.get("--custom-metadata", "").split(",")))
    cloud.data["serial"] += 1
    generation = str(1_700_000_000_000_000 + cloud.data["serial"])
    size = str(Path(source).stat().st_size)
    cloud.data["objects"][url] = {"generation": generation, "metadata": metadata, "size": size}
    return None


def remove(cloud: Cloud, arguments: list[str], options: Options) -> Any:
    found = cloud.data["objects"].get(arguments[0])
    if found is None or options.get("--if-generation-match", found["generation"]) != found["generation"]:
        raise Refused("HTTPError 412: At least one of the pre-conditions you specified did not hold.")
    del cloud.data["objects"][arguments[0]]
    return None


def describe_build(cloud: Cloud, arguments: list[str], _: Options) -> Any:
    found = cloud.data["builds"].get(arguments[0])
    if found is None:
        raise Refused("(gcloud.builds.describe) NOT_FOUND: Requested entity was not found.")
    return found


def list_builds(cloud: Cloud, _: list[str], options: Options) -> Any:
    newest = sorted(cloud.data["builds"].values(), key=lambda build: build["createTime"], reverse=True)
    return newest[: int(options["--limit"])]


def access_secret(cloud: Cloud, arguments: list[str], options: Options) -> Any:
    if arguments != ["latest"] or options["--secret"] not in cloud.data["secrets"]:
        raise Refused("(gcloud.secrets.versions.access) NOT_FOUND: Secret not found or has no versions.")
    Path(options["--out-file"]).write_text(cloud.data["secrets"][options["--secret"]])
    return None


def scan(cloud: Cloud, arguments: list[str], options: Options) -> Any:
    if options.get("--location") not in ("us", "europe", "asia"):
        raise Refused("argument --location: Invalid choice")
    return {"done": True, "response": {"scan": "projects/sample/locations/asia/scans/0"}}


def list_vulnerabilities(cloud: Cloud, arguments: list[str], _: Options) -> Any:
    assert arguments[0].startswith("projects/"), arguments
    return cloud.data.get("vulnerabilities", [])


# The command, its options, and what it does.
COMMANDS: dict[str, tuple[set[str], Callable[[Cloud, list[str], Options], Any]]] = {
    "run services list": ({"--region"}, list_services),
    "run services update-traffic": (
        {"--region", "--to-latest", "--to-revisions", "--update-tags", "--remove-tags"},
        update_traffic,
    ),
    "storage objects describe": ({"--raw"}, describe_object),
    "storage cp": ({"--if-generation-match", "--custom-metadata"}, copy),
    "storage rm": ({"--if-generation-match"}, remove),
    "builds describe": ({"--region"}, describe_build),
    "builds list": ({"--region", "--limit"}, list_builds),
    "secrets versions access": ({"--secret", "--out-file"}, access_secret),
    "artifacts docker images scan": ({"--location"}, scan),
    "artifacts docker images list-vulnerabilities": (set(), list_vulnerabilities),
}


def main(arguments: list[str]) -> int:
    """Does what `gcloud ARGUMENTS` would do: 0 done, 1 refused, 2 no such command or option."""
    words = [word for word in arguments if not word.startswith("--")]
    options = {name: value for name, _, value in (word.partition("=") for word in arguments if word.startswith("--"))}
    command = next((known for known in COMMANDS if words[: len(known.split())] == known.split()), "")
    if not command or not options.keys() <= COMMANDS[command][0] | EVERYWHERE:
        sys.stderr.write(f"ERROR: (gcloud) Invalid choice or unrecognized arguments: {' '.join(arguments)}\n")
        return 2
    path = Path(os.environ[STATE])
    with path.with_suffix(".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # one at a time; whoever holds it ends at once
        cloud = Cloud(path).load()
        cloud.data["calls"].append(arguments)
        try:
            answer = COMMANDS[command][1](cloud, words[len(command.split()) :], options)
        except Refused as refusal:
            sys.stderr.write(f"ERROR: {refusal}\n")
            return 1
        finally:
            cloud.save()
    _show(answer, options.get("--format", ""))
    return 0


def _show(answer: Any, how: str) -> None:
    if how == "json":
        sys.stdout.write(json.dumps(answer) + "\n")
    elif how.startswith("value("):  # one or more paths, tab-separated, a line for each
        paths = how[len("value(") : -1].split(",")
        for one in answer if isinstance(answer, list) else [answer]:
            values = []
            for path in paths:
                value = one
                for key in path.split("."):
                    value = value.get(key, {})
                values.append(str(value or ""))
            sys.stdout.write("\t".join(values) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
