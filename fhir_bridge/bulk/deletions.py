"""Finds what was deleted since a bulk export before, as far as it was what this one is of.

Keeps true: listed is what the newest version at the snapshot deletes, and no other; where an export is narrower than a
type, what was deleted must have been in it as it last was, by references to what the caller may have and no others; of
what was erased so that nobody can tell, nothing is listed. Trusts callers for who may hear of it.
Source: HL7 Bulk Data Access 2.0 (Response - Complete Status, ``deleted``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from fhir_bridge.document import parse
from fhir_bridge.search.judge import Judge, Subject
from fhir_bridge.search.tree import Condition
from medchain.errors import NotFoundError
from medchain.node.records import EMPTY_BYTES, RecordService
from medchain.node.telling import said
from medchain.store.records import RecordVersion
from medchain.store.versions import Past, VersionReader

PART: Final = 5_000
"""How many versions are looked at at once: deletions are few among them, but nothing else tells which they are."""


class Deletions:
    """Finds deletions. Threads may share it."""

    __slots__ = ("_judge", "_reader", "_service")

    def __init__(self, reader: VersionReader, service: RecordService, judge: Judge) -> None:
        """Prepare; what is given reads versions, opens them, and tells what they were found by."""
        self._reader = reader
        self._service = service
        self._judge = judge

    def types(self) -> frozenset[str]:
        """List the types of which anything may have been deleted."""
        return self._reader.types()

    def candidates(self, name: str, since: int, after: int, snapshot: int) -> tuple[list[RecordVersion], int | None]:
        """List newest versions that may be deletions, of one part of all versions.

        Args:
            name: resource type.
            since: not stored before this, Unix seconds.
            after: number of the last version of the part before; 0 for the beginning.
            snapshot: number of the last version that counts.

        Returns:
            The versions, and after which number the next part begins, None where this is the last.
        """
        return self._reader.newest_of_size(Past((name,), since=since, limit=PART), EMPTY_BYTES, after, snapshot)

    def of_export(
        self,
        name: str,
        rows: Sequence[RecordVersion],
        ways: Sequence[Sequence[Condition]],
        within: Sequence[Condition],
    ) -> list[RecordVersion]:
        """Choose those that delete what an export is of.

        Args:
            name: resource type.
            rows: versions of `candidates`.
            ways: what is exported fulfils all conditions of one of them; one without conditions is all of the type.
            within: what must hold of what stands at the other end of references, for the caller's rights.
        """
        is_all = any(not way for way in ways)
        tests = [] if is_all else [self._judge.test(name, way, within=within) for way in ways]
        chosen = []
        for row in rows:
            # Of what was erased nobody can tell.
            with suppress(NotFoundError):
                if self._service.is_deleted(row) and (is_all or self._was_within(row, tests)):
                    chosen.append(row)
        return chosen

    def _was_within(self, row: RecordVersion, tests: Sequence[Callable[[Subject], bool]]) -> bool:
        """Tell whether what a version deletes was in an export as it last was; raises `NotFoundError` if erased."""
        before = self._reader.find(row.type, row.id, row.version - 1)
        content = b"" if before is None else said(self._service, before.stored)
        if not content:
            return False
        subject = self._judge.subject(row.type, parse(content))
        return any(test(subject) for test in tests)
