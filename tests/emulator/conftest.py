"""What every emulator's tests share."""

import pytest

from emulator.recordings import Library


@pytest.fixture(scope="session")
def library() -> Library:
    """The shipped recordings. Tests that add to a library make their own."""
    return Library.shipped()
