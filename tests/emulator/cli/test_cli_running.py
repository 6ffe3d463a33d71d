"""How `callbot call` finds a running `callbot dev`."""

import pytest

from emulator import running
from emulator.running import Running

HERE = Running("http://127.0.0.1:1", "http://127.0.0.1:2", "key", {"amivoice": "+815010000001"})


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_what_was_left_is_found_until_it_is_removed():
    assert running.find(3000) is None
    running.leave(3000, HERE)
    assert running.find(3000) == HERE
    assert running.find(3001) is None
    running.leave(3000, HERE)
    running.remove(3000)
    assert running.find(3000) is None
    running.remove(3000)


def test_nobody_else_can_read_the_key(folder):
    running.leave(3000, HERE)
    (left,) = folder.iterdir()
    assert left.stat().st_mode & 0o077 == 0


def test_a_link_is_not_followed(folder, tmp_path_factory):
    running.leave(3000, HERE)
    (left,) = folder.iterdir()
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "file"
    left.rename(elsewhere)
    left.symlink_to(elsewhere)
    assert running.find(3000) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"twilio_url": "x"}', '{"a": 1}', "\udcff"])
def test_anything_else_is_nothing(folder, content):
    running.leave(3000, HERE)
    (left,) = folder.iterdir()
    left.write_text(content, encoding="utf-8", errors="surrogateescape")
    assert running.find(3000) is None
