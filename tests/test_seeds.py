"""Nothing that the two seeds could do is forgotten: the table in `tests/README.md` names, for each row, what shows it.

What a named test asserts is for people to judge; that it is there is judged here.
"""

import ast
import functools
import re
from pathlib import Path

import pytest

from callbot.agents import Agents

TESTS = Path(__file__).parent
ROOT = TESTS.parent
ROWS = [f"S1-{n:02}" for n in range(1, 30)] + [f"S2-{n:02}" for n in range(1, 29)]

TABLE = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in (TESTS / "README.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| S\d-\d", line)
]
SHOWN_BY = {cells[0]: cells[-1] for cells in TABLE}
DEMO = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "emulator").glob("demo*.py"))


def proofs(row: str) -> list[str]:
    return re.findall(r"`([^`]+)`", SHOWN_BY[row])


@functools.cache
def named_in(path: str) -> frozenset[str]:
    """The tests of a file. Raises FileNotFoundError."""
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def exists(proof: str) -> bool:
    """Whether there is such a test, or such a line of the demo."""
    if proof.startswith("demo: "):
        return proof.removeprefix("demo: ") in DEMO
    path, _, test = proof.partition("::")
    return test.startswith("test_") and (TESTS / path).is_file() and test in named_in(path)


def test_every_row_of_the_seeds_is_there_once_and_says_what_became_of_it() -> None:
    assert [cells[0] for cells in TABLE] == ROWS
    assert [cells[0] for cells in TABLE if len(cells) != 4 or not all(cells)] == []


@pytest.mark.parametrize("row", ROWS)
def test_what_shows_a_row_exists(row: str) -> None:
    assert proofs(row)
    assert [proof for proof in proofs(row) if not exists(proof)] == []


@pytest.mark.parametrize(
    "proof",
    [
        "test_seeds.py::test_that_nobody_wrote",
        "test_nowhere.py::test_x",
        "test_seeds.py::exists",
        "test_seeds.py",
        "calls::test_x",
        "demo: a line that is nowhere printed",
        "",
    ],
)
def test_a_proof_that_is_not_there_would_be_seen(proof: str) -> None:
    assert not exists(proof)


# --- rows that are a text, and no behaviour ------------------------------------------------------------------------


def test_the_support_persona_keeps_its_eight_rules() -> None:
    prompt = Agents.load().named("support").prompt
    rules = ["丁寧", "分かりやすく", "共感", "解決", "引き継ぎ", "前向き", "感謝", "ほかにお困りのことはございませんか"]
    found = [prompt.find(rule) for rule in rules]
    assert -1 not in found
    assert found == sorted(found)


def test_the_readme_keeps_what_the_seeds_told() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for told in ("```mermaid\nsequenceDiagram", "28 yen", "60 minutes", "ngrok", "/outgoing-call", "callbot call"):
        assert told in readme
