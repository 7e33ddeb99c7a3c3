"""What a caller may do: its scopes, turned into an answer for one interaction with one type.

Keeps true: nothing is allowed that no scope says; what a scope says of one patient, or of resources that meet a
constraint, comes out as a clause that the resource must fulfil, and never as more; of people, auditors alone read who
looked at what. Pure.
Source: SMART App Launch 2.2 §3.0; FHIR R4 compartment-patient; `docs/spec/smart.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fhir_bridge.definitions.parameters import compartment
from fhir_bridge.smart.scopes import Action, Context, Scope, parse_granted, scopes_text
from medchain.encoding import Json, members
from medchain.errors import InputError
from medchain.store.accounts import Role

DIRECTORY_TYPES: Final = frozenset(
    {
        "Endpoint",
        "HealthcareService",
        "Location",
        "Medication",
        "Organization",
        "Practitioner",
        "PractitionerRole",
        "Substance",
    }
)
"""Types that are about no patient, and to which a patient's records refer: a scope of a patient may read them."""

SEVERAL_TYPES: Final = frozenset({"AuditEvent", "Group"})
"""Types of which one resource tells of several patients: a scope of one patient gives none of them."""

BY_CONTEXT_TYPE: Final = "Binary"
"""Type that is in no compartment itself: it is read as what its `securityContext` names (FHIR R4 Binary)."""

_EVENT: Final = "AuditEvent"
_READING: Final = frozenset({Action.READ, Action.SEARCH})
_MAX_KNOWN: Final = 1024


@dataclass(frozen=True, slots=True)
class Access:
    """Who calls, and what it may do.

    Attributes:
        client: id of the client.
        scopes: of its token.
        user: reference of the person who signed in (``Practitioner/17``), or the account's id; empty without one.
        role: of that person; empty without one.
        patient: id of the patient of the launch; empty without one.
        encounter: id of the encounter of the launch; empty without one.
        grant: id of the authorisation; empty for a client that acts for itself.
        member: org_id of another organisation whose system this is; empty for this one's own.
        asked_for: purpose of use that the request names, a code of v3-ActReason; empty for none.
        permits: what `permit` has made of its scopes, which cannot change: each request asks twice.
    """

    client: str
    scopes: tuple[Scope, ...]
    user: str = ""
    role: str = ""
    patient: str = ""
    encounter: str = ""
    grant: str = ""
    member: str = ""
    asked_for: str = ""
    permits: dict[tuple[str, Action], Permit | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def purpose(self) -> str:
        """Purpose of use: the one that is named, else that of the role; a system without a person treats."""
        return self.asked_for or _PURPOSES.get(self.role, "TREAT")

    @property
    def own(self) -> str:
        """Id of the patient whose own records these are to who calls, or for whom it acts; empty for anybody else.

        The role is that of the session, which only a passkey of the patient's subject opens: that an account or an
        identity provider names a Patient as the person of one of the staff makes nobody the patient.
        """
        return self.patient if self.role == Role.PATIENT else ""


_PURPOSES: Final = {"administrator": "HSYSADMIN", "auditor": "HCOMPL", "desk": "PATADMIN", "patient": "PATRQT"}
"""Role → what somebody in it does unless the request says otherwise, v3-ActReason."""


@dataclass(frozen=True, slots=True)
class Clause:
    """What a resource must fulfil.

    Attributes:
        patient: id of the patient in whose compartment it must be, of a Binary what its security context names; empty
            for any or none.
        query: search conditions of its type that it must meet, all of them; empty for none.
    """

    patient: str = ""
    query: str = ""


_WHOLE: Final = Clause()


@dataclass(frozen=True, slots=True)
class Permit:
    """What is allowed: every resource that fulfils one of the clauses.

    Attributes:
        clauses: at least one.
    """

    clauses: tuple[Clause, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every resource of the type is allowed."""
        return _WHOLE in self.clauses

    def admits(self, is_of: Callable[[str], bool], meets: Callable[[str], bool]) -> bool:
        """Judge one resource.

        Args:
            is_of: tells whether it is in the compartment of the patient with an id.
            meets: tells whether it meets search conditions.
        """
        return any(
            (not clause.patient or is_of(clause.patient)) and (not clause.query or meets(clause.query))
            for clause in self.clauses
        )


def permit(access: Access, type_name: str, action: Action) -> Permit | None:
    """Tell what a caller may do to resources of a type.

    Args:
        access: who calls.
        type_name: resource type.
        action: what it wants.

    Returns:
        What is allowed; None for nothing. For a search: the union of what the clauses find. For a write, old and new
        content must both be admitted.
    """
    asked, known = (type_name, action), access.permits
    try:
        return known[asked]
    except KeyError:
        if len(known) >= _MAX_KNOWN:
            # Who asks names the types.
            known.clear()
        found = known[asked] = _permit(access, type_name, action)
        return found


def _permit(access: Access, type_name: str, action: Action) -> Permit | None:
    """Work out what `permit` tells."""
    if _is_closed(access, type_name, action):
        return None
    clauses: dict[Clause, None] = {}
    for scope in access.scopes:
        if action not in scope.actions or scope.type not in ("*", type_name):
            continue
        if scope.context is not Context.PATIENT:
            clauses[Clause("", scope.query)] = None
        elif type_name in DIRECTORY_TYPES:
            if action in _READING:
                clauses[Clause("", scope.query)] = None
        elif type_name in SEVERAL_TYPES:
            continue
        elif access.patient and _is_of_patients(type_name, action):
            clauses[Clause(access.patient, scope.query)] = None
    if not clauses:
        return None
    return Permit((_WHOLE,) if _WHOLE in clauses else _merged(list(clauses)))


def _is_closed(access: Access, type_name: str, action: Action) -> bool:
    """Tell whether no scope opens a type to somebody: another member, or of AuditEvents people who are no auditors."""
    if access.member and type_name not in DIRECTORY_TYPES:
        # What is of patients goes to another organisation with an entry on the ledger, and in no other way.
        return True
    # Events are of no patient: they would name what consents keep from who asks, and what others searched for.
    return type_name == _EVENT and action in _READING and access.role not in ("", Role.AUDITOR)


def _is_of_patients(type_name: str, action: Action) -> bool:
    """Tell whether something can be done to a type's resources as those of one patient."""
    if type_name == BY_CONTEXT_TYPE:
        return action is Action.READ
    return type_name == "Patient" or type_name in compartment("Patient")


def access_document(access: Access) -> Json:
    """Write who calls, for another process of this node; the inverse of `parse_access`."""
    return {
        "asked_for": access.asked_for,
        "client": access.client,
        "encounter": access.encounter,
        "grant": access.grant,
        "member": access.member,
        "patient": access.patient,
        "role": access.role,
        "scopes": scopes_text(access.scopes),
        "user": access.user,
    }


def parse_access(document: Json) -> Access:
    """Read what `access_document` wrote; raises `InputError`."""
    names = ("asked_for", "client", "encounter", "grant", "member", "patient", "role", "scopes", "user")
    found = {name: str(value) for name, value in members(document, dict.fromkeys(names, str)).items()}
    if not found["client"]:
        raise InputError("access.client")
    return Access(
        found["client"],
        parse_granted(found["scopes"]).resources,
        found["user"],
        found["role"],
        found["patient"],
        found["encounter"],
        found["grant"],
        found["member"],
        found["asked_for"],
    )


def _merged(clauses: list[Clause]) -> tuple[Clause, ...]:
    """Drop clauses that others contain, and join those that differ in the value of one condition only.

    Alternatives of one condition are a list of values (FHIR R4 §3.1.1.4.7), which costs one search, not several.
    """
    whole = {clause.patient for clause in clauses if not clause.query}
    kept = [one for one in clauses if not (one.query and (one.patient in whole or "" in whole))]
    joined: dict[tuple[str, str], Clause] = {}
    for clause in kept:
        name, equals, value = clause.query.partition("=")
        if not equals or "&" in value or ":" in name:
            joined[clause.patient, clause.query] = clause
            continue
        before = joined.get((clause.patient, f"{name}="))
        query = clause.query if before is None else f"{before.query},{value}"
        joined[clause.patient, f"{name}="] = Clause(clause.patient, query)
    return tuple(joined.values())
