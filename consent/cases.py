"""Cases: a request with its consents as one JSON document, for trying out and for comparing with others. Pure.

Keeps true: a case that cannot be read is an error, never a permission; a consent in it that cannot be read denies, as
everywhere. Trusts nothing.
Source: `docs/spec/consent.md`, "Cases".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Final

from consent.decision import (
    Deny,
    Directive,
    Permit,
    Policy,
    Request,
    Resource,
    coding_key,
    compile_consent,
    compile_history,
    decide,
    judge,
    unversioned,
)
from medchain.dates import span_of
from medchain.encoding import Json
from medchain.errors import InputError

HISTORY: Final = "ConsentHistory"
"""Type member of a consent that is given with all its versions."""


@dataclass(frozen=True, slots=True)
class Ruled:
    """What a case came to.

    Attributes:
        is_permitted: whether this record may be read; without a record, whether all may.
        basis: id of the deciding consent, or ``implicit``.
        path: the rule that decides.
        obligations: what goes with a permit.
    """

    is_permitted: bool
    basis: str
    path: str
    obligations: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Write it as a line of the answer holds it."""
        return {
            "basis": self.basis,
            "decision": "permit" if self.is_permitted else "deny",
            "obligations": list(self.obligations),
            "path": self.path,
        }


def rule_case(case: object, *, zone: tzinfo = UTC) -> Ruled:
    """Decide a case.

    Args:
        case: parsed JSON.
        zone: of dates and times without one.

    Returns:
        What it came to.

    Raises:
        InputError: ``case.malformed`` with the field ``member``: the case itself, not a consent in it.
    """
    top = _object(case, "case")
    asked = _object(top.get("request"), "request")
    request, policy = _request(asked, zone), _policy(asked)
    consents = top.get("consents")
    if not isinstance(consents, list):
        raise _malformed("consents")
    decision = decide(request, _in_force(consents, request.now, zone), policy)
    resource = asked.get("resource")
    found = decision if resource is None else judge(decision, _resource(_object(resource, "resource"), zone))
    match found:
        case Permit():
            return Ruled(is_permitted=True, basis=found.basis, path=found.path, obligations=found.obligations)
        case Deny():
            return Ruled(is_permitted=False, basis=found.basis, path=found.path)
    # Some records may be read, but nobody has said which is asked for.
    one = min(found.case.speaking, key=lambda each: each.directive.id)
    return Ruled(is_permitted=False, basis=one.directive.id, path=one.directive.root.path)


def _in_force(consents: list[object], now: int, zone: tzinfo) -> list[Directive]:
    """Compile the consents; of one with a history the version that was in force."""
    found = []
    for item in consents:
        if isinstance(item, dict) and item.get("resourceType") == HISTORY:
            version = _history(item, now, zone)
            if version is not None:
                found.append(version)
        else:
            found.append(compile_consent(item, zone=zone))
    return found


def _history(item: Mapping[str, object], now: int, zone: tzinfo) -> Directive | None:
    """Choose the version that was in force; a history that cannot be read denies."""
    name, versions = item.get("id"), item.get("versions")
    consent_id = name if isinstance(name, str) else ""
    rows: list[tuple[int, object]] = []
    for row in versions if isinstance(versions, list) else [None]:
        entry = row if isinstance(row, dict) else {}
        recorded = entry.get("recorded")
        span = span_of(recorded, zone) if isinstance(recorded, str) else None
        if span is None:
            return compile_consent(None, consent_id=consent_id)
        rows.append((span.low, entry.get("resource")))
    return compile_history(rows, consent_id, zone=zone).at(now)


def _request(asked: Mapping[str, object], zone: tzinfo) -> Request:
    """Read who asks for what, when."""
    now = span_of(_text(asked, "now") or "", zone)
    patient = _text(asked, "patient")
    if now is None or patient is None:
        raise _malformed("patient" if now else "now")
    groups, purpose = asked.get("groups"), asked.get("purpose")
    coded = purpose if isinstance(purpose, dict) else {"code": purpose}
    return Request(
        now=now.low,
        patient=unversioned(patient),
        actor=_text(asked, "actor"),
        organization=_text(asked, "organization"),
        groups=frozenset() if groups is None else frozenset(_texts(groups, "groups")),
        role=_text(asked, "role"),
        purpose=_text(coded, "code"),
        purpose_system=_text(coded, "system"),
        action=_text(asked, "action"),
        custodian=_text(asked, "custodian"),
    )


def _policy(asked: Mapping[str, object]) -> Policy:
    """Read the policy for where no consent applies; none is `Policy.DENY` (PCF 1:53.2.1)."""
    name = _text(asked, "implicitPolicy") or Policy.DENY
    if name not in set(Policy):
        raise _malformed("implicitPolicy")
    return Policy(name)


def _resource(record: Mapping[str, object], zone: tzinfo) -> Resource:
    """Read what is said of a record; lists that are absent are empty."""
    date, encounter, patient = _text(record, "date"), _text(record, "encounter"), _text(record, "patient")
    reference = _text(record, "reference")
    codes = record.get("codes")
    if codes is not None and not isinstance(codes, list):
        raise _malformed("codes")
    codings = [_object(item, "codes") for item in codes or ()]
    return Resource(
        reference=None if reference is None else unversioned(reference),
        type=_text(record, "type") or (reference.partition("/")[0] if reference else None),
        patient=None if patient is None else unversioned(patient),
        codes=frozenset(coding_key(_text(item, "system"), _text(item, "code") or "") for item in codings),
        labels=frozenset(_texts(record.get("securityLabels") or [], "securityLabels")),
        authors=frozenset(unversioned(name) for name in _texts(record.get("authors") or [], "authors")),
        span=None if date is None else span_of(date, zone),
        related=frozenset() if encounter is None else frozenset({unversioned(encounter)}),
    )


def _malformed(member: str) -> InputError:
    """Make the error of a case that cannot be read."""
    return InputError("case.malformed", member=member)


def _object(value: object, member: str) -> Mapping[str, object]:
    """Read an object."""
    if not isinstance(value, dict):
        raise _malformed(member)
    return value


def _text(record: Mapping[str, object], member: str) -> str | None:
    """Read a text that may be absent or null."""
    value = record.get(member)
    if value is not None and not isinstance(value, str):
        raise _malformed(member)
    return value or None


def _texts(value: object, member: str) -> list[str]:
    """Read an array of texts."""
    if not isinstance(value, list):
        raise _malformed(member)
    found = [item for item in value if isinstance(item, str)]
    if len(found) < len(value):
        raise _malformed(member)
    return found
