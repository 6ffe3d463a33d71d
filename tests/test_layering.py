"""Who may import whom, read from the sources: the core knows nobody, and each outside system has one address.

A new rule about the shape of the house goes here, with its reason.
"""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DEPLOYED = ("functions", "stream_service")
PRODUCT = (*DEPLOYED, "emulator")

# The emulated vendors are written from the vendors' documents: both ends must not share one misunderstanding.
INDEPENDENT = (
    "emulator/twilio",
    "emulator/openai",
    "emulator/amivoice*",
    "emulator/recordings*",
    "emulator/audio*",
    "emulator/readable_voice*",
)


def sources(*patterns: str) -> list[Path]:
    """The Python files at these paths: files, folders with all in them, or patterns."""
    found: set[Path] = set()
    for pattern in patterns:
        for path in ROOT.glob(pattern):
            found.update(path.rglob("*.py") if path.is_dir() else [path] if path.suffix == ".py" else [])
    return sorted(found)


def imports(path: Path) -> list[str]:
    """Every module that a file imports anywhere in it, as `package.module` and `package.module.name`."""
    return imported(path.read_text(encoding="utf-8"), path.relative_to(ROOT).parts)


@functools.cache  # each rule asks for the same files again
def imported(text: str, where: tuple[str, ...]) -> list[str]:
    """The same of a file's text; `where` it is, from the root."""
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names):
                found += (name.name for name in names)
            case ast.ImportFrom(module, names, level):
                parent = ".".join(where[:-level]) if level else ""
                origin = ".".join(part for part in (parent, module) if part)
                found += (origin, *(f"{origin}.{name.name}" for name in names))
    return found


def offenders(paths: list[Path], *forbidden: str) -> list[str]:
    """Which of these files import a forbidden module or something in it."""
    return [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in paths
        for module in imports(path)
        if any(module == name or module.startswith(f"{name}.") for name in forbidden)
    ]


def importers(module: str) -> set[str]:
    """The files of the product that import a module or something in it."""
    return {str(path.relative_to(ROOT)) for path in sources(*PRODUCT) if offenders([path], module)}


def test_the_sources_are_there() -> None:
    for pattern in (*PRODUCT, *INDEPENDENT, "functions/main.py", "functions/callbot", "tests"):
        assert sources(pattern), f"the rules below would hold for nothing: {pattern}"


@pytest.mark.parametrize(
    ("who", "forbidden"),
    [
        ("functions/callbot", ("stream_service", "emulator", "main")),
        ("functions/main.py", ("stream_service", "emulator")),
        ("stream_service", ("emulator", "main")),
        ("functions", ("tests",)),
        ("stream_service", ("tests",)),
        ("emulator", ("tests",)),
        *((pattern, ("callbot", "stream_service", "main")) for pattern in INDEPENDENT),
        # Decoding never reads and encoding never sends: a wire format is values in, values out.
        ("stream_service/wire", ("socket", "threading", "websocket", "simple_websocket", "flask", "requests")),
    ],
)
def test_nobody_imports_what_they_must_not_know(who: str, forbidden: tuple[str, ...]) -> None:
    assert offenders(sources(who), *forbidden) == []


@pytest.mark.parametrize(
    ("module", "addresses"),
    [
        ("google.cloud", {"functions/callbot/firestore_rpc.py"}),
        ("sqlite3", {"functions/callbot/store_sqlite.py", "functions/callbot/sqlite_schema.py"}),
        ("twilio.rest", {"functions/callbot/twilio_rest.py"}),
        ("twilio.twiml", {"functions/callbot/twiml.py"}),
        ("openai", {"stream_service/engines/chat.py"}),
    ],
)
def test_each_outside_system_has_one_address(module: str, addresses: set[str]) -> None:
    assert importers(module) <= addresses


# The composition roots; everybody else is given what they need.
ROOTS = {"functions/main.py", "stream_service/app.py", "stream_service/gunicorn_conf.py"}


def test_only_the_composition_roots_read_the_environment() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in sources(*DEPLOYED)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv"))
        or (isinstance(node, ast.alias) and node.name in ("environ", "environb", "getenv"))
    }
    assert readers <= ROOTS


def test_a_forbidden_import_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "package").mkdir()
    source = tmp_path / "package" / "module.py"
    for line, seen in (
        ("import emulator", True),
        ("import emulator.audio as a", True),
        ("from emulator import audio", True),
        ("def f():\n    from emulator.twilio import Carrier", True),
        ("from .emulator import x", False),
        ("import emulators", False),
        ("from callbot import emulator", False),
    ):
        source.write_text(line)
        assert bool(offenders(sources("package"), "emulator")) is seen, line
