"""What `make infra` installs: pinned, with hashes, from no address in particular; and what checkov shall overlook."""

import re

from tests.infra.simulation import ROOT

LOCK = (ROOT / "requirements-infra.txt").read_text(encoding="utf-8")
PINNED = dict(line.split("==", 1) for line in LOCK.replace("\\\n", " ").splitlines())


def test_every_tool_is_pinned_with_hashes() -> None:
    for name, rest in PINNED.items():
        assert re.match(r"\d\S*", rest), name
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), name
    assert not re.search(r"://|file:|--(extra-)?index|--find-links|^[./]|@ ", LOCK, re.MULTILINE)


def test_every_tool_that_is_asked_for_is_there() -> None:
    asked = (ROOT / "requirements-infra.in").read_text(encoding="utf-8")
    names = {name.lower() for name in re.findall(r"^([A-Za-z-]+)", asked, re.MULTILINE)}
    assert names - PINNED.keys() == set(), "run `make lock`"


def test_each_rule_that_is_waived_says_why() -> None:
    """A waiver, or a few of them in a row, follows its reason."""
    waived = (ROOT / ".checkov.yaml").read_text(encoding="utf-8").partition("skip-check:\n")[2]
    blocks = re.findall(r"((?:^  # .+\n)+)((?:^  - CKV\w+\n)+)", waived, re.MULTILINE)
    assert "".join(reason + rules for reason, rules in blocks) == waived
    assert all(len(reason) > 60 for reason, _ in blocks)
