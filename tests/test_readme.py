"""The README says what the code says."""

import re
from pathlib import Path

from callbot.settings import SETTINGS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_settings_table_equals_the_code() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*) \| (?:`(.*)`)? ?\|$", README, re.MULTILINE)
    assert rows == [(setting.name, setting.meaning, setting.default) for setting in SETTINGS]


def test_every_path_it_names_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z]+)", README))
    assert targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
