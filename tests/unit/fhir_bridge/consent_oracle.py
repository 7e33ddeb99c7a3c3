"""What consents let a caller see of each record version, by asking the decision function about it alone.

Independent of `fhir_bridge.enforcement`: nothing is remembered, grouped, or told by numbers; whose a version is, and
when it happened, the ward says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from consent.custodian import OWN
from consent.decision import Permit, Request, Resource, compile_consent, decide, judge
from consent.facts import facts_of
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes
from medchain.dates import Span
from tests.unit.fhir_bridge.conftest import NODE, NOW

SYSTEM = {"coding": [{"code": "patient-privacy", "system": "http://terminology.hl7.org/CodeSystem/consentscope"}]}
CATEGORY = [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}]
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
LEVEL = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
TYPES = "http://hl7.org/fhir/resource-types"
PART = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


@dataclass(frozen=True)
class Caller:
    """Who asks, and what is known of it."""

    user: str = ""
    role: str = ""
    purpose: str = ""
    groups: frozenset[str] | None = None
    scopes: str = "user/*.cruds"
    patient: str = ""

    @property
    def access(self) -> Access:
        """As a token gives it."""
        told = {"user": self.user, "role": self.role, "asked_for": self.purpose, "patient": self.patient}
        return Access("app", parse_scopes(self.scopes), **told)

    @property
    def request(self) -> Request:
        """As the decision wants it."""
        own = f"Organization/{NODE}"
        return Request(
            now=NOW * 1_000_000,
            patient="Patient/p1",
            actor=self.user or None,
            organization=own,
            groups=self.groups,
            role=self.role or None,
            purpose=self.purpose or "TREAT",
            action="access",
            custodian=own,
            aliases=frozenset({"Organization/own"}),
        )


CALLERS = {
    "system": Caller(scopes="system/*.cruds"),
    "d1": Caller("Practitioner/d1", "clinician", groups=frozenset({"CareTeam/t1"})),
    "d2": Caller("Practitioner/d2", "clinician", groups=frozenset()),
    "d1-emergency": Caller("Practitioner/d1", "clinician", "ETREAT", frozenset({"CareTeam/t1"})),
    "d2-research": Caller("Practitioner/d2", "clinician", "HRESCH", frozenset()),
    "desk": Caller("Practitioner/k1", "desk", "PATADMIN", frozenset()),
}

ITSELF = Caller("Patient/p1", "patient", scopes="patient/*.rs", patient="p1")
GUARDIAN = Caller("Patient/g1", "patient", scopes="patient/*.rs", patient="p1")
"""Who acts for the patient; that it does is the pages' business."""
CLAIMING = {
    "staff-as-patient": Caller("Patient/p1", "clinician", groups=frozenset(), scopes="patient/*.rs", patient="p1"),
    "staffs-launch": Caller("Practitioner/d1", "clinician", scopes="patient/*.rs", patient="p1"),
    "systems-launch": Caller("Patient/p1", scopes="patient/*.rs", patient="p1"),
    "auditor": Caller("Patient/p1", "auditor", groups=frozenset(), scopes="patient/*.rs", patient="p1"),
}
"""Who only says to be the patient, or has it as a context."""


def consent(provision: Mapping[str, object] | None, **more: object) -> dict:
    """Make a consent of the patient."""
    made = {
        "resourceType": "Consent",
        "status": "active",
        "scope": SYSTEM,
        "category": CATEGORY,
        "patient": {"reference": "Patient/p1"},
        "policyRule": {"coding": [{"system": ACT_CODE, "code": "OPTIN"}]},
    }
    return made | ({} if provision is None else {"provision": provision}) | more


def actor(reference: str, role: str = "IRCP") -> list[dict]:
    return [{"role": {"coding": [{"system": PART, "code": role}]}, "reference": {"reference": reference}}]


def deny(**more: object) -> dict:
    return consent({"type": "deny", **more})


def label(code: str, system: str = ACT_CODE) -> list[dict]:
    return [{"system": system, "code": code}]


def coded(system: str, code: str) -> list[dict]:
    return [{"coding": [{"system": system, "code": code}]}]


RULE = {"policyRule": {"coding": [{"system": ACT_CODE, "code": "OPTOUT"}]}}
STATES: Mapping[str, Sequence[dict]] = {
    "none": [],
    "deny-all": [deny()],
    "deny-d1": [deny(actor=actor("Practitioner/d1"))],
    "deny-team": [deny(actor=actor("CareTeam/t1"))],
    "deny-own-organisation": [deny(actor=actor("Organization/own"))],
    "deny-other-organisation": [deny(actor=actor("Organization/insurer"))],
    "deny-psychiatry": [deny(securityLabel=label("PSY"))],
    "deny-restricted": [deny(securityLabel=label("R", LEVEL))],
    "deny-observations": [deny(**{"class": [{"system": TYPES, "code": "Observation"}]})],
    "deny-code": [deny(code=coded("http://loinc.org", "2339-0"))],
    "deny-2025": [deny(dataPeriod={"start": "2025", "end": "2025"})],
    "deny-encounter": [deny(data=[{"meaning": "related", "reference": {"reference": "Encounter/e1"}}])],
    "deny-one": [deny(data=[{"meaning": "instance", "reference": {"reference": "Observation/sugar"}}])],
    "deny-author": [deny(data=[{"meaning": "authoredby", "reference": {"reference": "Practitioner/d9"}}])],
    "deny-research": [deny(purpose=label("HRESCH", ACT_REASON))],
    "deny-but-emergency": [
        consent({"type": "deny", "provision": [{"type": "permit", "purpose": label("ETREAT", ACT_REASON)}]})
    ],
    "normal-only": [consent({"type": "permit", "securityLabel": label("N", LEVEL)})],
    "normal-and-hiv-for-d1": [
        consent(
            {
                "type": "permit",
                "securityLabel": label("N", LEVEL),
                "provision": [
                    {"type": "permit", "actor": actor("Practitioner/d1"), "securityLabel": label("HIV")},
                ],
            }
        )
    ],
    "opt-out": [consent(None, **RULE)],
    "over": [deny(period={"end": "2026-11-30"})],
    "to-come": [deny(period={"start": "2027"})],
    "draft": [deny() | {"status": "draft"}],
    "unreadable": [deny(modifierExtension=[{"url": "urn:x", "valueBoolean": True}])],
    "two": [deny(actor=actor("Practitioner/d2")), deny(securityLabel=label("HIV"))],
}


@dataclass(frozen=True)
class Lying:
    """A record in a stored Bundle, under the Bundle's labels as well as its own."""

    name: str
    content: bytes
    span: Span | None


@dataclass(frozen=True)
class Version:
    """A record version as it is stored, and what the ward knows of it.

    Of a Bundle also which records in it are the patient's or nobody's, and itself with these alone.
    """

    name: str
    number: int
    content: bytes
    is_of_p1: bool
    span: Span | None
    lying: tuple[Lying, ...] = ()
    with_these: bytes = b""


class Oracle:
    """Says of each version whether a caller may see it."""

    def __init__(self, versions: Sequence[Version], stored: Sequence[tuple[str, dict]], caller: Caller) -> None:
        """Decide; consents as they are stored, by id."""
        directives = [compile_consent(one, consent_id=f"Consent/{name}", any_patient=True) for name, one in stored]
        self._decision = decide(caller.request, [OWN, *directives])
        newest = {one.name: one for one in versions}
        self._gone: set[str] = set()
        self._shown: dict[tuple[str, int], bool] = {}
        # What lies in a Bundle may be a record of which something is kept back.
        for part in ([one for one in versions if not one.lying], [one for one in versions if one.lying]):
            shown = {(one.name, one.number): self._passes(one) and self._passes(newest[one.name]) for one in part}
            self._gone |= {name for (name, _), is_shown in shown.items() if not is_shown}
            self._shown |= shown

    def _passes(self, version: Version) -> bool:
        """Ask the decision about a version by itself."""
        if not version.is_of_p1:
            return True
        if version.lying:
            return self._bundle_passes(version)
        return self._permits(facts_of(version.content, "Patient/p1", version.span))

    def _bundle_passes(self, version: Version) -> bool:
        """Ask it about each record in a Bundle, and about the Bundle with what they say together."""
        if any(one.name in self._gone for one in version.lying):
            return False
        inside = [facts_of(one.content, "Patient/p1", one.span) for one in version.lying]
        authors = [one.authors for one in inside]
        spans = [one.span for one in inside]
        whole = replace(
            facts_of(version.with_these, "Patient/p1", None),
            authors=None if None in authors else frozenset().union(*authors),
            span=None if None in spans else Span(min(one.low for one in spans), max(one.high for one in spans)),
        )
        return all(self._permits(one) for one in (*inside, whole))

    def _permits(self, record: Resource) -> bool:
        """Ask it about a record."""
        return isinstance(judge(self._decision, record), Permit)

    @property
    def permits_all(self) -> bool:
        """Whether nothing of the patient's may be kept back."""
        return isinstance(self._decision, Permit)

    def shows(self, version: Version) -> bool:
        """Tell whether a version may be seen."""
        return self._shown[version.name, version.number]
