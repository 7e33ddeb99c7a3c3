"""Cases as they are kept: found, changed together with what they hold, and told to the node's own processes.

Keeps true: a case and what it holds change in one transaction. Trusts the store.
Source: `docs/spec/claim-case.md` 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from medchain.claims.answers import read_kept
from medchain.claims.case_content import CaseContent, case_json, full_json
from medchain.claims.claim_file import ClaimFile, read_claim
from medchain.claims.disputes import About, is_disputed
from medchain.claims.policy_rules import answered, unasked
from medchain.dates import day_text
from medchain.encoding import Json, unhex
from medchain.errors import InputError, NotFoundError
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.members import Members
from medchain.ledger.transaction import ID_BYTES
from medchain.node.config import NO_RULES, PolicyRules
from medchain.node.grant_search import Permission
from medchain.store.cases import CaseRow
from medchain.store.records import RecordStore

Change = Callable[[CaseRow, CaseContent], tuple[CaseRow, CaseContent]]
"""Makes the new state of a case, and of what it holds, from the newest ones."""


class CaseBook:
    """The cases of one node. Threads may share it.

    Attributes:
        progress: tells how far the gathering of a case's evidence is, None where none is under way.
        failed: tells with which code the last gathering ended in vain, None where it did not.
    """

    def __init__(
        self,
        records: RecordStore,
        known: Callable[[], Members],
        permissions: Callable[[bytes], Sequence[Permission]] = lambda _claim: (),
        earlier: Callable[[], Mapping[str, str]] = dict,
        rules: PolicyRules = NO_RULES,
    ) -> None:
        """Prepare.

        Args:
            records: keeps the cases.
            known: gives the members of this moment.
            permissions: lists what was permitted for a claim (its digest), by what this node holds.
            earlier: as of `medchain.claims.claim_file.read_claim`.
            rules: what this insurer's policies ask of each claim.
        """
        self._earlier = earlier
        self._rules = rules
        self._permissions = permissions
        self._records = records
        self._known = known
        self.progress: Callable[[bytes], Json] = lambda _case_id: None
        self.failed: Callable[[bytes], Json] = lambda _case_id: None

    def read(self, row: CaseRow) -> tuple[CaseContent, ClaimFile]:
        """Read what a case holds."""
        content = CaseContent.decode(row.document)
        return content, read_claim(content.content, self._known(), row.hospital, earlier=self._earlier)

    def find(self, case_id: Json) -> CaseRow:
        """Find a case by its id in hexadecimal; raises `NotFoundError` ``case.unknown``."""
        return self._records.case(id_of(case_id))

    def changed(self, case_id: bytes, change: Change) -> CaseRow:
        """Change a case and what it holds; errors as `medchain.store.cases.CaseTable.change_case`."""

        def changed(row: CaseRow) -> CaseRow:
            made, content = change(row, CaseContent.decode(row.document))
            return replace(made, document=content.encode())

        return self._records.change_case(case_id, changed)

    def about(self, claim: bytes, hospital: str) -> About:
        """Find what a question about a claim is about: what that hospital has told of, and whose claim it is.

        Args:
            claim: digest of the claim, 32 bytes.
            hospital: org_id of who is asked.

        Raises:
            NotFoundError: ``case.unknown``.
        """
        row = self._records.case_of(claim)
        if row is None:
            raise NotFoundError("case.unknown")
        told = read_kept(CaseContent.decode(row.document).gathered).told.get(hospital)
        rows = () if told is None else told.signed.disclosure.records
        return About(tuple(one.reference for one in rows), row.patient)

    def listed(self, row: CaseRow) -> dict[str, Json]:
        """Write a case for a list."""
        told = case_json(row, self.progress(row.id), is_disputed=is_disputed(self._records, row.digest))
        return {**told, "failed": self.failed(row.id)}

    def ruled(self, content: CaseContent, claim: ClaimFile) -> dict[str, Json]:
        """Write what comes of this insurer's rules: what hospitals said, and what nothing that is cited answers."""
        cited = [one for rows in claim.cited.values() for one in rows]
        return {"stated": self.stated(content, claim), "unasked": [*unasked(self._rules, cited)]}

    def stated(self, content: CaseContent, claim: ClaimFile) -> dict[str, Json]:
        """Write what hospitals said of what this insurer's policies ask now: org_id → statements."""
        made = "" if claim.created is None else day_text(claim.created // DAY_S)
        day = claim.services[0] if claim.services else made
        found: dict[str, Json] = {}
        for org_id, one in sorted(read_kept(content.gathered).told.items()):
            cited, facts = claim.cited.get(org_id, ()), one.signed.disclosure.facts
            rows = answered(self._rules, cited, day, facts) if cited else ()
            found[org_id] = [fact.to_json() for fact in rows]
        return found

    def told(self, row: CaseRow) -> dict[str, Json]:
        """Write all of a case."""
        content, claim = self.read(row)
        cited: dict[str, Json] = {org_id: [*rows] for org_id, rows in claim.cited.items()}
        permissions: list[Json] = [one.to_json() for one in self._permissions(row.digest)]
        more: dict[str, Json] = {"cited": cited, "outside": [*claim.outside], "permissions": permissions}
        return {**self.listed(row), **full_json(row, content, more | self.ruled(content, claim))}


def id_of(value: Json) -> bytes:
    """Read the id of a case; raises `NotFoundError` ``case.unknown`` for what is none."""
    with suppress(InputError):
        return unhex(value, ID_BYTES)
    raise NotFoundError("case.unknown")
