"""What operators see of calls (`/calls`, `/calls/<sid>`): JSON, or a page for a browser. Reading only."""

import functools
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from callbot.addresses import PLACEHOLDER, function_url
from callbot.errors import CallbotError
from callbot.presentation import call_summary, call_with_turns, stages
from callbot.store import CallStore

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
# Where the list and each call are; deployed alone, the function may have a name with more than `calls` in it.
PLACE = re.compile("(?:/(?:[a-z0-9-]+-)?calls(?:-[a-z0-9-]+)?)?(?:/(CA[0-9A-Za-z]{32}))?/?")
# A page loads nothing and runs nothing: it shows what strangers said.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class BadQueryError(CallbotError):
    """A parameter of the list cannot be read; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which part of the list is asked for."""

    limit: int = DEFAULT_LIMIT
    before: datetime | None = None

    @classmethod
    def read(cls, request: Request) -> "Query":
        """Raises BadQueryError."""
        limit, before = request.args.get("limit", str(DEFAULT_LIMIT)), request.args.get("before", "")
        if not re.fullmatch("[0-9]{1,3}", limit) or not 1 <= int(limit) <= MAX_LIMIT:
            raise BadQueryError(f"limit must be a whole number from 1 to {MAX_LIMIT}")
        return cls(int(limit), _time(before) if before else None)


def root(request: Request, functions_url: str) -> str:
    """The path at which whoever asks finds the list of calls."""
    if PLACEHOLDER in functions_url:  # each function alone, behind a path that it does not see itself
        return urlsplit(function_url(functions_url, "calls")).path
    mounted_at = request.script_root
    return mounted_at if mounted_at.endswith("/calls") else f"{mounted_at}/calls"


def wants_page(request: Request) -> bool:
    """Whether a browser asks; whoever accepts anything gets JSON."""
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def listing(store: CallStore, query: Query) -> dict[str, Any]:
    """The newest calls without their turns; `next` continues the list as its `before`, or is null at the end."""
    found = store.recent(query.limit + 1, query.before)
    calls = found[: query.limit]
    more = len(found) > query.limit
    return {
        "calls": [call_summary(call) for call in calls],
        "next": calls[-1].created_at.isoformat().replace("+00:00", "Z") if more else None,
    }


def listing_page(store: CallStore, query: Query, root: str) -> str:
    return _pages().get_template("calls.html").render(**listing(store, query), limit=query.limit, root=root)


def detail(store: CallStore, sid: str) -> dict[str, Any] | None:
    """One call with its turns; None when there is no such call."""
    call = store.get(sid)
    return call_with_turns(call, store.turns(sid)) if call else None


def detail_page(store: CallStore, sid: str, root: str) -> str | None:
    call = store.get(sid)
    if call is None:
        return None
    turns = store.turns(sid)
    shown = call_with_turns(call, turns)
    for turn, row in zip(turns, shown["turns"], strict=True):
        row["stages"] = stages(turn)
    return _pages().get_template("call.html").render(call=shown, root=root)


@functools.cache
def _pages() -> Environment:
    return Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None or not 2000 <= at.year <= 9000:
            raise ValueError("out of range")
    except ValueError as exc:
        raise BadQueryError("before must be a time such as 2026-11-21T10:05:00Z") from exc
    return at
