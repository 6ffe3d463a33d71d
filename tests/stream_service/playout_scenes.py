"""The playout under test, so that its figures are easy to follow."""

from typing import Any

from both_codecs import under_test

from stream_service.playout import PythonPlayout

SECOND = 8000  # bytes


def new_playout(**how: Any) -> PythonPlayout:
    """With a mark behind each second."""
    playout: PythonPlayout = under_test.Playout(1000, **how)
    return playout
