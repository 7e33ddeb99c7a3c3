"""What people in each role may hand on to an application at most, whatever it asks for.

Keeps true: a role that is not listed allows nothing; who administers a node sees no patient's data, who audits changes
nothing. Pure.
Source: SMART App Launch 2.2 §3.0.1 (rights are limited by those of the user); `docs/spec/smart.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir_bridge.smart.scopes import Context, Scope, narrowed, parse_scopes
from medchain.store.accounts import Role

_DESK: Final = (
    "user/Account.rs user/Appointment.cruds user/AppointmentResponse.rs user/ChargeItem.rs user/Claim.crus "
    "user/ClaimResponse.rs user/Coverage.crus user/CoverageEligibilityRequest.crs user/CoverageEligibilityResponse.rs "
    "user/Encounter.rs user/ExplanationOfBenefit.rs user/HealthcareService.rs user/Invoice.rs user/Location.rs "
    "user/Organization.rs user/Patient.crus user/PaymentNotice.rs user/PaymentReconciliation.rs user/Practitioner.rs "
    "user/PractitionerRole.rs user/RelatedPerson.crus user/Schedule.rs user/Slot.rs"
)
_AUDITOR: Final = "user/AuditEvent.rs user/Consent.rs user/Provenance.rs user/Organization.rs user/Practitioner.rs"
_ADMINISTRATOR: Final = (
    "user/Endpoint.crus user/HealthcareService.crus user/Location.crus user/Organization.crus "
    "user/Practitioner.crus user/PractitionerRole.crus"
)

ROLE_SCOPES: Final[Mapping[Role, tuple[Scope, ...]]] = {
    Role.CLINICIAN: parse_scopes("user/*.cruds"),
    Role.DESK: parse_scopes(_DESK),
    Role.AUDITOR: parse_scopes(_AUDITOR),
    Role.ADMINISTRATOR: parse_scopes(_ADMINISTRATOR),
}
"""The most that each role allows."""

CHOOSING: Final = frozenset({Role.CLINICIAN, Role.DESK})
"""Roles that may choose the patient of a launch."""


def within_role(scope: Scope, role: Role) -> list[Scope]:
    """Give what of a scope a role allows; nothing of a scope for systems."""
    if scope.context is Context.SYSTEM:
        return []
    return narrowed(scope, ROLE_SCOPES.get(role, ()))
