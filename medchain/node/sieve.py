"""Judges records one by one for a request: whether each is asked for, and the decision lets it leave.

Keeps true: a record is opened where more than its type matters, else each type is judged once; what is told of the
records that it stands beside has to pass as well. Trusts the decision, and the caller for what was asked.
Source: `docs/spec/release.md` 7.
"""

from __future__ import annotations

from medchain.ledger.kinds.content import Period
from medchain.node.release_ports import CustodianParts, Ruling, Selected
from medchain.node.telling import DEPENDENT, Telling, Told
from medchain.store.records import RecordVersion


class Sieve:
    """Judges records for one request: each is opened where more than its type matters, else each type is judged once.

    A decision without a record's content says the same of every record of a type, but for one that is as the records
    that it stands beside.
    """

    __slots__ = ("_by_type", "_is_by_type", "_parts", "_period", "_ruling", "_telling", "_wanted")

    def __init__(
        self,
        parts: CustodianParts,
        telling: Telling,
        period: Period | None,
        ruling: Ruling,
        wanted: Selected | None,
    ) -> None:
        """Prepare for what a request asks for and the decision lets pass."""
        self._parts, self._period, self._ruling, self._wanted = parts, period, ruling, wanted
        self._telling = telling
        self._is_by_type = period is None and wanted is None and not ruling.needs_content
        self._by_type: dict[str, bool] = {}

    def passes(self, stored: RecordVersion) -> bool:
        """Judge one record."""
        if not self._is_by_type or stored.type in DEPENDENT:
            return self._passes_opened(stored)
        if stored.type not in self._by_type:
            self._by_type[stored.type] = self._ruling.passes(stored.type, None, None)
        return self._by_type[stored.type]

    def _passes_opened(self, stored: RecordVersion) -> bool:
        """Judge one record by its content."""
        told = self._telling.of(stored, self._parts.zone)
        return bool(told) and self._is_wanted(told[0]) and all(map(self._is_permitted, told))

    def _is_wanted(self, told: Told) -> bool:
        """Tell whether a record is one that was asked for."""
        # A date that nobody can tell is outside every limit, the asker's own included.
        within = self._period is None or (told.span is not None and self._period.contains(told.span))
        return within and (self._wanted is None or (told.content is not None and self._wanted.finds(told.content)))

    def _is_permitted(self, told: Told) -> bool:
        """Tell whether the decision lets a record pass."""
        return self._ruling.passes(told.type, told.span, told.content, told.meant)
