"""Claims among the records of an insurer's node, and what lies beside them: fills `medchain.claims.case_ports`' port.

The invoice and the policy of a claim are what it contains; of a claim that is stored here also what it refers to here.
Keeps true: a relative reference of a claim that came from elsewhere is to records there, and is never followed here.
Trusts the records of this node.
Source: FHIR R4 Claim, Coverage, Invoice; `docs/spec/claim-case.md` 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fhir_bridge.document import Number, Resource, objects_of, parse
from fhir_bridge.invoice_register import ELECTRONIC, ISSUER, PAPER, SYSTEM
from medchain.claims.batch import CURRENCY
from medchain.claims.case_ports import Beside, StoredClaim
from medchain.claims.claim_file import CLAIM_TYPES, ClaimFile, read_policy
from medchain.encoding import objects_in
from medchain.errors import InputError, NotFoundError
from medchain.ledger.claim_question import AskedRow, read_row
from medchain.ledger.evidence.claim_reading import ORGANISATION_SYSTEM
from medchain.ledger.evidence.document import InsurancePolicy
from medchain.ledger.invoice import Scope
from medchain.node.records import RecordService
from medchain.store.records import RecordStore

WAITING: Final = "https://medchain.example/fhir/StructureDefinition/waiting-days"
"""Extension of a Coverage: days from its beginning in which nothing is paid, `valueUnsignedInt`."""

_LOCAL: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})")
_DAY_CHARS: Final = len("2025-01-01")


class FhirClaims:
    """Finds claims. Threads may share it."""

    __slots__ = ("_records", "_service")

    def __init__(self, records: RecordStore, service: RecordService) -> None:
        """Use a node's records.

        Args:
            records: the records file.
            service: opens them.
        """
        self._records = records
        self._service = service

    def stored(self, reference: str) -> StoredClaim:
        """Return a claim; result and errors as the port says."""
        match = _LOCAL.fullmatch(reference)
        row = None if match is None or match[1] not in CLAIM_TYPES else self._records.get(match[1], match[2])
        content = b"" if row is None else self._service.open(row).content
        if row is None or not content:
            raise NotFoundError("record.unknown")
        return StoredClaim(content, row.patient)

    def beside(self, claim: ClaimFile, *, is_stored: bool) -> Beside:
        """Find what a claim refers to."""
        resource = parse(claim.content)
        found = {f"#{one.get('id')}": one for one in objects_of(resource.get("contained"))}

        def resolved(value: object) -> Iterator[Resource]:
            for one in objects_in(value):
                text = one.get("reference")
                if isinstance(text, str) and text in found:
                    yield found[text]
                elif isinstance(text, str) and is_stored and (match := _LOCAL.fullmatch(text)) is not None:
                    yield from self._read(match[1], match[2])

        hospital = next((org for one in resolved([resource.get("provider")]) if (org := _organisation(one))), "")
        covers = [one for one in resolved(resource.get("insurance")) if one.get("resourceType") == "Coverage"]
        invoices = [one for one in resolved(resource) if one.get("resourceType") == "Invoice"]
        invoices += [one for one in found.values() if one.get("resourceType") == "Invoice"]
        rows = {row for one in invoices if (row := _row(one)) is not None}
        links = [
            link.get("other") for one in resolved([resource.get("patient")]) for link in objects_of(one.get("link"))
        ]
        elsewhere = tuple(str(one.get("reference")) for one in objects_of(links))
        # Of several invoices none is the one that the claim is about.
        return Beside(hospital, _policy(covers), rows.pop() if len(rows) == 1 else None, elsewhere)

    def _read(self, type_name: str, record_id: str) -> Iterator[Resource]:
        """Read a record; nothing for one that is not here."""
        row = self._records.get(type_name, record_id)
        try:
            content = b"" if row is None else self._service.open(row).content
        except NotFoundError:
            return
        if content:
            yield parse(content)


def _organisation(resource: Mapping[str, Any]) -> str:  # Any: whatever JSON has
    """Read which member an Organization is; empty for none."""
    named = objects_of(resource.get("identifier"))
    return next((str(one.get("value")) for one in named if one.get("system") == ORGANISATION_SYSTEM), "")


def _policy(covers: list[Resource]) -> InsurancePolicy | None:
    """Read what of a policy decides; None without exactly one that says it readably."""
    if len(covers) != 1:
        return None
    [cover] = covers
    period = cover.get("period")
    told = period if isinstance(period, dict) else {}
    days = {name: str(told[name])[:_DAY_CHARS] if name in told else None for name in ("start", "end")}
    waits = [one.get("valueUnsignedInt") for one in objects_of(cover.get("extension")) if one.get("url") == WAITING]
    waiting = int(waits[0]) if waits and isinstance(waits[0], Number) else 0
    try:
        return read_policy({**days, "waiting_days": waiting})
    except InputError:
        return None


def _row(invoice: Resource) -> AskedRow | None:
    """Read what an Invoice says of itself, of its electronic form first; None for one that cannot be asked for."""
    told = {str(one.get("system")): str(one.get("value")) for one in objects_of(invoice.get("identifier"))}
    issuers = [one.get("identifier") for one in objects_of([invoice.get("issuer")])]
    issuer = next((str(one.get("value")) for one in objects_of(issuers) if one.get("system") == ISSUER), "")
    total = next((one for one in objects_of([invoice.get("totalGross"), invoice.get("totalNet")])), {})
    value = total.get("value")
    amount = value.text if isinstance(value, Number) else ""
    form = ELECTRONIC if f"{SYSTEM}{ELECTRONIC}-number" in told else PAPER
    try:
        return read_row(
            {
                "amount": amount,
                "check_code": told.get(f"{SYSTEM}{form}-check", ""),
                "code": told.get(f"{SYSTEM}{form}-code", ""),
                "currency": str(total.get("currency", CURRENCY)) if amount else "",
                "date": str(invoice.get("date", ""))[:_DAY_CHARS],
                "issuer": issuer,
                "line": 0,
                "number": told.get(f"{SYSTEM}{form}-number", ""),
                "scope": Scope.INVOICE.value,
            }
        )
    except InputError:
        return None
