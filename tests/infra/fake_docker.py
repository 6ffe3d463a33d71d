"""`docker` and `syft`, as far as cloudbuild.yaml uses them, without containers.

What has been built and pushed is kept in a file; what is asked of an image that nobody has built is refused. Digests
and ids are of the right form and made of the image's name.
"""

import hashlib
import http.server
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATE = "RUN_BUILD_STATE"


def main(program: str, arguments: list[str]) -> int:
    """Does what the program would do; its exit code."""
    file = Path(os.environ[STATE]) / "images.json"
    images = json.loads(file.read_text()) if file.exists() else {}
    words = [word for word in arguments if not word.startswith("--")]
    options = dict(word.partition("=")[::2] for word in arguments if word.startswith("--"))
    match [program, *words]:
        case ["docker", "run", image, *_] if "@sha256:" in image and "--detach" in options:
            sys.stdout.write(f"{_hash(image)[:12]} (stood in)\n")
        case ["docker", "build", context] if Path(context, options["--file"]).is_file():
            images[options["--tag"]] = []
        case ["docker", "image", "inspect", image] if image in images:
            repository, _, _ = image.rpartition(":")
            shown = {
                "{{.Id}}": f"sha256:{_hash(image)}",
                "{{index .RepoDigests 0}}": f"{repository}@sha256:{_hash('pushed ' + image)}",
            }
            if "RepoDigests" in options["--format"] and "pushed" not in images[image]:
                sys.stderr.write("index of untyped nil\n")
                return 1
            sys.stdout.write(shown[options["--format"]] + "\n")
        case ["docker", "push", image] if image in images:
            images[image].append("pushed")
            sys.stdout.write(image + "\n")
        case ["syft", "scan", image, form] if image.removeprefix("docker:") in images and "--output" in options:
            kind, _, path = form.partition("=")
            Path(path).write_text(json.dumps({"form": kind, "name": image}))
        case _:
            sys.stderr.write(f"{program} {' '.join(arguments)}: no such image, file or command\n")
            return 1
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(images))
    return 0


@contextmanager
def running() -> Iterator[str]:
    """In place of what `docker run` would start: something that answers, at this `host:port`."""
    server = http.server.HTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
