"""The decision replayed over a patient's records: what somebody would be given of them. Pure.

Keeps true: what is said to pass is what a release would let pass, asked with the same decision over the same bytes;
what the patient hides is left out. Trusts the caller for the records and hidings being the patient's.
Source: `docs/spec/patient-pages.md` 5, 18; `docs/spec/consent.md` C13, D18; `docs/spec/release.md` 7.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Final

from consent.decision import Request, Resource, passes
from consent.directive import SUBJECT, compile_content
from consent.facts import facts_told
from consent.hiding import Hidden, decide_hidden
from consent.web.ports import PatientRecord
from medchain.encoding import Json
from medchain.ledger.one_claim import one_claim_in
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.event_time import event_span

_NO_STOP: Final = bytes(HASH_BYTES).hex()


@dataclass(frozen=True, slots=True)
class Replay:
    """A patient's records at one moment.

    Attributes:
        records: what the decision asks of them, in their newest versions.
        hidden: what the patient hides.
        now: Unix seconds.
        zone: of dates without one.
    """

    records: Sequence[Resource]
    hidden: frozenset[Hidden]
    now: int
    zone: tzinfo

    def passing(self, content: Mapping[str, Json]) -> list[Resource]:
        """List what the content of a consent object would let through if it were in force; for one claim, in part.

        Args:
            content: of its body; what stops it may be left out, which is told to no page and matters to no decision.
        """
        custodians = content["custodians"]
        asked = Request(
            now=self.now * 1_000_000,
            patient=SUBJECT,
            organization=f"Organization/{content['recipient']}",
            groups=None,
            purpose=str(content["purpose"]),
            custodian=f"Organization/{custodians[0]}" if isinstance(custodians, list) else None,
        )
        one = one_claim_in(content)
        if one is not None:
            asked = replace(asked, action=one.digest.hex())
        decision = compile_content({"stop": _NO_STOP, **content}, "", "", zone=self.zone).decide(asked)
        if decision.denial is not None:
            return []
        hidden = decide_hidden(asked, self.hidden)
        return [one for one in self.records if decision.passes(one) and passes(hidden, one)]

    def kept_back(self, hidden: Collection[Hidden], custodian: str) -> list[Resource]:
        """List what hidings at a custodian keep from others: what is hidden, and what refers to such a record."""
        other = Request(now=self.now * 1_000_000, patient=SUBJECT, groups=None, custodian=f"Organization/{custodian}")
        decision = decide_hidden(other, hidden)
        return [one for one in self.records if not passes(decision, one)]


def facts_shown(record: PatientRecord, now: int, zone: tzinfo) -> Resource:
    """Tell of a record that a page has opened what a release tells the decision.

    Args:
        record: which.
        now: Unix seconds.
        zone: of dates without one.
    """
    return facts_told(record.type, event_span(record.content, now, zone), record.content, record.meant)
