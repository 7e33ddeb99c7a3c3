"""Provenances that are no one patient's: of which records each is, and so which consents keep them back.

Those of one patient's records alone are that patient's, and judged with all else of the patient; of these no consent
would know. Keeps true: of records that are kept back such a Provenance says nothing either, whatever else it is of; of
a version that cannot be read nobody is shown anything. Trusts its caller for what is kept back, and for one thread.
Source: `docs/spec/consent.md` C4.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, TypeAlias

import orjson

from medchain.errors import NotFoundError, VerificationError
from medchain.node.records import RecordService
from medchain.node.telling import PROVENANCE, targets_in
from medchain.store.consents import Fresh
from medchain.store.records import RecordStore

Name: TypeAlias = tuple[str, str]
"""Type and id of a record."""

# Number of a version, and of which records it is; None for a deletion.
_Version: TypeAlias = "tuple[int, frozenset[Name] | None]"
_NOTHING: Final = frozenset[Name]()


class JointProvenances:
    """Knows them, once it has been told of those that are there."""

    __slots__ = ("_holders", "_records", "_service", "_versions", "is_begun")

    def __init__(self, records: RecordStore, service: RecordService) -> None:
        """Use a node's records; none is read yet.

        Args:
            records: the records file.
            service: opens them.
        """
        self._records = records
        self._service = service
        self._versions: dict[str, list[_Version]] = {}
        self._holders: dict[Name, set[str]] = {}
        self.is_begun = False

    def begin(self, rows: Iterable[Fresh]) -> None:
        """Take over what is there, in the order in which it was stored."""
        self.is_begun = True
        self.take(rows)

    def take(self, rows: Iterable[Fresh]) -> bool:
        """Take over what was stored since, and tell whether any is of these; nothing before the beginning."""
        if not self.is_begun:
            return False
        nobody = self._service.patient_token("")
        mine = [row for row in rows if row.type == PROVENANCE and row.patient == nobody]
        for row in mine:
            targets = self._targets(row.seq)
            self._versions.setdefault(row.id, []).append((row.seq, targets))
            for target in targets or ():
                self._holders.setdefault(target, set()).add(row.id)
        return bool(mine)

    def among(self, names: Iterable[Name]) -> list[Name]:
        """List those of some records that any of them is of."""
        return [name for name in names if name in self._holders]

    def kept_back(self, names: Iterable[Name]) -> Mapping[Name, tuple[int, ...]]:
        """Number the versions that are kept back with some records, of which one of these may itself be one."""
        kept, found = set(names), dict[Name, tuple[int, ...]]()
        waiting = list(kept)
        while waiting:
            for one in self._holders.get(waiting.pop(), ()):
                name = (PROVENANCE, one)
                found[name] = numbers = tuple(self._kept_of(one, kept))
                is_newest = numbers[-1:] == (self._versions[one][-1][0],)
                if is_newest and name not in kept:
                    kept.add(name)
                    waiting.append(name)
        return found

    def _kept_of(self, name: str, kept: Collection[Name]) -> list[int]:
        """Number the versions of one that are kept back: all with the newest, and a deletion is as what it deletes."""
        numbers = list[int]()
        is_kept = False
        for number, targets in self._versions[name]:
            is_kept = is_kept if targets is None else not targets.isdisjoint(kept)
            if is_kept:
                numbers.append(number)
        return [number for number, _ in self._versions[name]] if is_kept else numbers

    def _targets(self, number: int) -> frozenset[Name] | None:
        """Tell of which records of this node a version is."""
        stored = self._records.numbered(number)
        try:
            content = b"" if stored is None else self._service.open(stored).content
        except (NotFoundError, VerificationError):
            # Nobody is shown it either.
            return _NOTHING
        return frozenset(targets_in(orjson.loads(content))) if content else None
