"""A consent object of the ledger, or a mandate of the law, as rules of the decision. Pure.

Keeps true: what the object's own fields name bounds what its FHIR Consent says in detail, and the other way round: both
must permit. A content that cannot be read permits nothing. Trusts the caller for contents that were compared with the
ledger's body hash.
Source: `docs/spec/consent.md` 4, 10, D18.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from consent.decision import (
    PERMIT,
    Decision,
    Deny,
    Directive,
    Node,
    Request,
    Resource,
    compile_consent,
    decide,
    passes,
)
from consent.hiding import hidden_in
from consent.vocabulary import ACT_REASON
from medchain.dates import END, Span
from medchain.encoding import Json
from medchain.errors import InputError
from medchain.ledger.kinds.content import ANY_TYPE, Period
from medchain.ledger.kinds.permission import Permission, read_any
from medchain.ledger.one_claim import one_claim_in

_SECOND: Final = 1_000_000
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_SCOPE: Final = {
    "coding": [{"code": "patient-privacy", "system": "http://terminology.hl7.org/CodeSystem/consentscope"}]
}
_RULES: Final = frozenset({"policy", "policyRule", "provision"})
_LAST: Final = 253_402_300_799
"""Last second of the year 9999, which no FHIR date can pass."""

SUBJECT: Final = "Patient/subject"
"""Stands for whose data it is: the ledger knows no other name."""


def compile_content(content: Mapping[str, Json], consent_id: str, version: str, *, zone: tzinfo = UTC) -> LedgerConsent:
    """Read the content of a consent object.

    Args:
        content: of its body.
        consent_id: what it is called in decisions.
        version: of its head.
        zone: of dates without one in its FHIR Consent.

    Returns:
        It, compiled; what cannot be read denies.
    """
    try:
        permission = read_any(content)
        terms = [_terms(permission), _custodians(permission)]
    except InputError:
        return LedgerConsent((compile_consent(None, consent_id=consent_id, version=version),))
    found = [_compiled(provision, consent_id, version) for provision in terms]
    fhir = content.get("fhir")
    if isinstance(fhir, dict) and not fhir.keys().isdisjoint(_RULES):
        found.append(compile_consent(fhir, consent_id=consent_id, version=version, any_patient=True, zone=zone))
    return LedgerConsent(tuple(found))


@dataclass(frozen=True, slots=True)
class LedgerConsent:
    """A consent object as rules, all of which must permit.

    Attributes:
        rules: what its fields say, and its FHIR Consent where that says more than its status.
    """

    rules: tuple[Directive, ...]

    def decide(self, request: Request) -> LedgerDecision:
        """Decide a request, whose patient is `SUBJECT`."""
        return LedgerDecision(tuple(decide(request, [rule]) for rule in self.rules))

    def may_permit(self, request: Request) -> bool:
        """Tell whether it may permit something, for all that is not known of the request: what a ledger's check can."""
        return all(decide(request, [rule]).case.possible(None) & PERMIT for rule in self.rules)


@dataclass(frozen=True, slots=True)
class LedgerDecision:
    """What a consent object comes to.

    Attributes:
        decisions: one for each of its rules.
    """

    decisions: tuple[Decision, ...]

    @property
    def denial(self) -> Deny | None:
        """The decision that denies everything, if one does."""
        return next((found for found in self.decisions if isinstance(found, Deny)), None)

    def passes(self, resource: Resource) -> bool:
        """Tell whether a record of `SUBJECT` may be read."""
        return all(passes(found, resource) for found in self.decisions)

    def may_pass(self, resource: Resource) -> bool:
        """Tell whether a record may be read, for all that is not known of it."""
        return all(found.case.possible(resource) & PERMIT for found in self.decisions)

    @property
    def needs_content(self) -> bool:
        """Whether more matters of a record than its type."""
        nodes = [node for found in self.decisions for one in found.case.applying for node in (one.root, one.base)]
        return self.denial is None and any(node is not None and _asks_more(node) for node in nodes)


def _asks_more(node: Node) -> bool:
    """Tell whether a rule or one below it asks for more than the type."""
    terms = node.rule.terms
    return terms is None or bool(terms.keys() - {"class"}) or any(_asks_more(child) for child in node.children)


def _compiled(provision: Mapping[str, object], consent_id: str, version: str) -> Directive:
    """Read a provision that we have written ourselves."""
    consent = {
        "provision": {"type": "permit", **provision},
        "resourceType": "Consent",
        "scope": _SCOPE,
        "status": "active",
    }
    return compile_consent(consent, consent_id=consent_id, version=version, any_patient=True)


def _terms(content: Permission) -> dict[str, object]:
    """Write what the fields permit: to whom, for what, until when, which records."""
    provision: dict[str, object] = {
        "actor": [{"reference": {"reference": f"Organization/{content.recipient}"}}],
        "period": _period(content.period),
        "purpose": [{"code": content.purpose, "system": ACT_REASON}],
    }
    if ANY_TYPE not in content.resource_types:
        provision["class"] = [{"code": name} for name in content.resource_types]
    if content.data_period is not None:
        provision["dataPeriod"] = _period(content.data_period)
    return provision


def _custodians(content: Permission) -> dict[str, object]:
    """Write whose records they are."""
    role = {"coding": [{"code": "CST", "system": _PARTICIPATION}]}
    return {
        "actor": [{"reference": {"reference": f"Organization/{org_id}"}, "role": role} for org_id in content.custodians]
    }


def _period(period: Period) -> dict[str, object]:
    """Write a period of seconds, both ends included, as FHIR does."""
    written: dict[str, object] = {"start": _instant(period.start)}
    if period.end is not None and period.end <= _LAST:
        written["end"] = _instant(period.end)
    return written


def _instant(seconds: int) -> str:
    """Write a second, which an instant without fraction covers whole; raises `InputError` for one after the last."""
    if seconds > _LAST:
        raise InputError("consent.period")
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def span_of_seconds(period: Period) -> Span:
    """Return what a period of whole seconds covers, both ends included."""
    end = END if period.end is None else (period.end + 1) * _SECOND
    return Span(period.start * _SECOND, end)


class ConsentDecision:
    """Fills the port of the ledger's checks (`medchain.ledger.kind.DecisionPort`)."""

    def permits(
        self, consent: Mapping[str, Json], access: Mapping[str, Json], time: int, claim: bytes | None = None
    ) -> bool:
        """Tell whether a consent's content may permit an access's content at a time.

        Args:
            consent: content of a consent's body.
            access: row of an access object's content.
            time: Unix seconds.
            claim: digest of the claim for which its request asks for parts of records; None for records.

        Returns:
            True if its period, purpose and rules leave it possible; who acted and which records it were only the
            custodian knows. False for anything malformed, and of what is for one claim for all but that, and for
            more records than it names.
        """
        try:
            content = read_any(consent)
        except InputError:
            return False
        purpose, count, one = access.get("purpose"), access.get("count"), one_claim_in(consent)
        if one is not None and (one.digest != claim or not isinstance(count, int) or count > len(one.cited)):
            return False
        request = Request(
            now=time * _SECOND,
            patient=SUBJECT,
            organization=f"Organization/{content.recipient}",
            groups=None,
            purpose=purpose if isinstance(purpose, str) else None,
            custodian=f"Organization/{content.custodians[0]}",
            action=None if one is None else one.digest.hex(),
        )
        return isinstance(purpose, str) and compile_content(consent, "", "").may_permit(request)

    def hides(self, consent: Mapping[str, Json]) -> bool:
        """Tell whether a consent's content is a hiding (`docs/spec/consent.md` C13)."""
        return hidden_in(consent) is not None
