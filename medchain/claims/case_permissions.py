"""Sees which cases may be judged: those of whose claim the patient has permitted to tell.

Keeps true: a state that a person or the ledger has set is left alone; that a patient has said no is told to nobody, and
so looks like no answer. Trusts `medchain.node.grant_search` for what is permitted.
Source: `docs/spec/claim-case.md` 3; `docs/spec/ask.md` 4.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from threading import Event
from typing import Final

from medchain.claims.case_book import CaseBook
from medchain.claims.case_content import BEFORE_EVIDENCE, CaseContent, Status
from medchain.errors import NotFoundError
from medchain.node.log import Log
from medchain.node.rounds import work_in_rounds
from medchain.store.cases import CaseRow
from medchain.store.records import RecordStore

PERIOD_S: Final = 1.0
"""How often it is looked, in seconds."""

ALL_AFTER: Final = 30
"""After so many rounds in which nothing has come all cases are looked at all the same."""

_LONGEST_REST_S: Final = 60.0
_LOG: Final = Log("cases")


class PermissionWatch:
    """Keeps the states of cases that wait. One thread calls it; fills a `medchain.node.daemon.Job`."""

    __slots__ = ("_book", "_held", "_looked", "_moment", "_records", "_rounds", "_seen_at")

    def __init__(
        self,
        book: CaseBook,
        records: RecordStore,
        held: Callable[[bytes], Collection[str]],
        moment: Callable[[], object],
    ) -> None:
        """Prepare.

        Args:
            book: of the cases.
            records: keeps them.
            held: tells for a claim (its digest) at which hospitals a permission for exactly it is in force: org_ids.
            moment: by what that is decided; while it is equal, the same is told of every claim.
        """
        self._book = book
        self._records = records
        self._held = held
        self._moment = moment
        # At which moment all were looked at last, and how many rounds ago.
        self._seen_at: object = None
        self._rounds = 0
        self._looked: dict[bytes, tuple[str, frozenset[str]]] = {}

    def run(self, end: Event) -> None:
        """Work until told to stop."""
        work_in_rounds(
            self.round,
            end,
            period_s=PERIOD_S,
            longest_rest_s=_LONGEST_REST_S,
            delayed=lambda code: _LOG.warning("cases.unseen", code=code),
        )

    def round(self) -> int:
        """Look at the cases that wait; returns 0, for nothing is left.

        Where nothing has come since the last look, only those are looked at that wait for something else by now; all
        are every `ALL_AFTER` rounds.
        """
        # Told first: what comes while it is looked is seen in the next round.
        moment, looked = self._moment(), dict[bytes, tuple[str, frozenset[str]]]()
        is_same = moment == self._seen_at and self._rounds < ALL_AFTER
        for case_id, digest, status in self._records.cases_in(BEFORE_EVIDENCE):
            before = self._looked.get(case_id)
            if is_same and before is not None and before[0] == status:
                looked[case_id] = before
                continue
            held = looked[case_id] = status, frozenset(self._held(digest))
            # What a case holds is large: it is read once for each state and permission.
            if held != (before or (Status.NEW, frozenset())):
                self._look(case_id, held[1])
        self._looked, self._seen_at = looked, moment
        self._rounds = self._rounds + 1 if is_same else 0
        return 0

    def _look(self, case_id: bytes, held: Collection[str]) -> None:
        """See in which state a case is; one that is dropped meanwhile waits for nothing."""
        with suppress(NotFoundError):
            row = self._records.case(case_id)
            if _seen(row, CaseContent.decode(row.document), held) != row:
                self._book.changed(case_id, lambda row, now: (_seen(row, now, held), now))


def _seen(row: CaseRow, content: CaseContent, held: Collection[str]) -> CaseRow:
    """Write into a case that waits what it waits for."""
    return replace(row, status=content.waits_as(held).value) if row.status in BEFORE_EVIDENCE else row
