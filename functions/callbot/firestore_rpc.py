"""The calls to Firestore, one by one, with deadlines of ours. What is done with them is `store_firestore.py`'s.

The only place that knows Google's library, which is slow to import: whoever needs it says when (`load`).
"""

import functools
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from callbot import loading, records
from callbot.records import Document

if TYPE_CHECKING:
    from google.cloud.firestore import Client as Client
    from google.cloud.firestore import DocumentSnapshot, Query

    Snapshot: TypeAlias = DocumentSnapshot[Any]

Path = tuple[str, ...]

# Only who signs in with a service account's key file needs these, and with them comes `cryptography`.
_FOR_KEY_FILES = ("google.auth.crypt", "google.auth.iam", "google.auth.jwt")


@functools.cache
def load() -> None:
    """Load Google's library, once: 0.15 s of processor, the dearest part of a function's start."""
    with loading.undisturbed():
        loading.postpone(*_FOR_KEY_FILES)
        from google.cloud import firestore  # noqa: F401 - what is imported elsewhere comes with it


def connected(project: str, database: str) -> "Client":
    """A client of the database. Nothing is connected before its first call."""
    from google.cloud import firestore

    return firestore.Client(project=project, database=database)


class Rpc:
    """The calls to Firestore of one try, none of which outlasts the operation. The library's own retries are off."""

    def __init__(self, client: "Client", deadline: float) -> None:
        self.client = client
        self._deadline = deadline

    def get(self, path: Path) -> "Snapshot":
        return self.client.document(*path).get(retry=None, timeout=self._left())

    def get_all(self, *paths: Path, only: Sequence[str] | None = None) -> "list[Snapshot]":
        """One consistent look at several documents, or `only` some of their fields, in the order asked for."""
        references = [self.client.document(*path) for path in paths]
        answer = self.client.get_all(references, field_paths=only, retry=None, timeout=self._left())
        found = {one.reference.path: one for one in answer}
        return [found[reference.path] for reference in references]

    def query(self, query: "Query") -> list[Document]:
        return [found for found in map(live, query.stream(retry=None, timeout=self._left())) if found is not None]

    def create(self, path: Path, document: Document) -> bool:
        """Write the document unless one is there; whether none was."""
        from google.api_core.exceptions import AlreadyExists

        try:
            self.client.document(*path).create(document, retry=None, timeout=self._left())
        except AlreadyExists:
            return False
        return True

    def update(self, path: Path, fields: Document) -> None:
        """Change whole fields of the document, if there is one."""
        from google.api_core.exceptions import NotFound

        with suppress(NotFound):
            self.client.document(*path).update(fields, retry=None, timeout=self._left())

    def commit(self, *writes: "tuple[Snapshot, Document]", over: Mapping[Path, Document] | None = None) -> None:
        """Write all or none, if each document still is as it was found; those of `over` whole, whatever is there."""
        batch = self.client.batch()
        for found, fields in writes:
            if found.exists:
                unchanged = self.client.write_option(last_update_time=found.update_time)
                batch.update(found.reference, fields, option=unchanged)
            else:
                batch.create(found.reference, fields)
        for path, document in (over or {}).items():
            batch.set(self.client.document(*path), document)
        batch.commit(retry=None, timeout=self._left())

    def _left(self) -> float:
        return max(0.05, self._deadline - time.monotonic())


def live(snapshot: "Snapshot") -> Document | None:
    document = snapshot.to_dict()
    return None if document is None or records.is_expired(document, datetime.now(UTC)) else document
