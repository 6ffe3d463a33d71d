"""How the failures of others are told in the log: a vendor's, and the store's. What is done about them is not here."""

import logging

from callbot import logs
from callbot.errors import CallbotError, RemoteError


def vendor_failed(logger: logging.Logger, failure: RemoteError, *, what: str, call_sid: str = "") -> None:
    """A vendor did not do `what` (`call`, `update`, `hang-up`, …), after whatever tries it was worth."""
    logs.event(
        logger,
        "vendor failed",
        call_sid=call_sid,
        severity="ERROR",
        service=failure.service,
        what=what,
        code=failure.code,
        retryable=failure.retryable,
    )


def store_down(logger: logging.Logger, failure: CallbotError, *, call_sid: str = "") -> None:
    """The store did not answer, and what was asked for goes on without it. Called while `failure` is handled."""
    logs.event(logger, "store down", call_sid=call_sid, severity="ERROR", stack=True, reason=str(failure))


def write_lost(logger: logging.Logger, failure: CallbotError, *, what: str, call_sid: str = "") -> None:
    """`what` should have been written down and never will be. Called while `failure` is handled."""
    reason = str(failure)
    logs.event(logger, "store write lost", call_sid=call_sid, severity="ERROR", stack=True, what=what, reason=reason)
