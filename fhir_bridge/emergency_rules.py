"""What an emergency of another organisation opens here: fills `medchain.node.release_ports.Emergencies`.

Keeps true: it opens what a clinician of this organisation sees who breaks the glass, and nothing that a consent denies
to that; an identifier names one patient or nobody. Trusts `fhir_bridge.enforcement` for the consents in force.
Source: `docs/spec/emergency-release.md`; `docs/spec/consent.md` C2, C3.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from consent.decision import Decision, Deny, Permit, passes
from consent.facts import facts_told
from consent.hiding import hidden_by
from fhir_bridge.enforcement import Enforcement
from fhir_bridge.search.service import SearchService
from medchain.errors import InputError
from medchain.ledger.kinds.content import Period
from medchain.node.release_ports import ConsentInForce, Ruling

_DENIED: Final = "consent.denied"
_MANY: Final = 2


@dataclass(frozen=True, slots=True)
class EmergencyRuling:
    """What was decided about a patient (`medchain.node.release_ports.Ruling`)."""

    decision: Decision

    @property
    def denial(self) -> str | None:
        """Why nothing passes; None if something may."""
        return _DENIED if isinstance(self.decision, Deny) else None

    @property
    def needs_content(self) -> bool:
        """Whether more matters of a record than its type."""
        return not isinstance(self.decision, Permit)

    def passes(
        self, resource_type: str, span: Period | None, content: bytes | None, meant: Collection[str] = ()
    ) -> bool:
        """Tell whether a record may be read; of what is no FHIR JSON nothing is known."""
        if isinstance(self.decision, Permit):
            return True
        record = facts_told(resource_type, span, content, meant)
        return record.type == resource_type and passes(self.decision, record)


class EmergencyRules:
    """Decides about emergencies of other organisations. Threads may share it."""

    __slots__ = ("_enforcement", "_searches")

    def __init__(self, searches: SearchService, enforcement: Enforcement) -> None:
        """Use a node's search and consents.

        Args:
            searches: finds patients.
            enforcement: knows what consents deny.
        """
        self._enforcement = enforcement
        self._searches = searches

    def patients(self, identifier: str) -> Sequence[str]:
        """Find whom an identifier names; arguments and result as the port says."""
        value = identifier.replace("\\", "\\\\").replace(",", "\\,").replace("$", "\\$")
        try:
            return self._searches.ids("Patient", urlencode({"identifier": value}), _MANY)
        except InputError:
            return []

    def rule(self, recipient: str, patient: str, inside: Sequence[ConsentInForce]) -> Ruling:
        """Decide; arguments and errors as the port says."""
        hidden = hidden_by(item.content for item in inside)
        return EmergencyRuling(self._enforcement.in_emergency(recipient, patient, hidden))
