"""Scopes of SMART v2: how they are read, what they allow, and that nothing else is."""

from __future__ import annotations

from itertools import product

import pytest

from fhir_bridge.smart.access import (
    DIRECTORY_TYPES,
    Access,
    Clause,
    Permit,
    access_document,
    parse_access,
    permit,
)
from fhir_bridge.smart.roles import ROLE_SCOPES, within_role
from fhir_bridge.smart.scopes import (
    Action,
    Context,
    Special,
    covers,
    narrowed,
    parse_asked,
    parse_scope,
    parse_scopes,
    permits,
    scopes_text,
)
from medchain.errors import InputError
from medchain.store.accounts import STAFF, Role

LAB = "category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory"


@pytest.mark.parametrize(
    ("text", "letters"),
    [("patient/Observation.read", "rs"), ("user/*.write", "cud"), ("system/Patient.*", "cruds")],
)
def test_version_1_means_what_version_2_says_and_is_written_as_it_was_asked_for(text, letters):
    scope = parse_scope(text)
    assert "".join(action.value for action in Action if action in scope.actions) == letters
    assert str(scope) == text
    assert scope == parse_scope(text.rpartition(".")[0] + "." + letters)


@pytest.mark.parametrize(
    "text",
    [
        f"patient/Observation.rs?{LAB}",
        "user/Observation.s?category=laboratory&status=final",
        "system/*.rs?_tag=urn:x|y",
        "patient/Observation.rs?code:not=urn:x%7Cy",
    ],
)
def test_a_constraint_is_kept_as_it_was_asked_for(text):
    assert str(parse_scope(text)) == text


@pytest.mark.parametrize(
    "query",
    [
        "",
        "category",
        "category=",
        "nonsense=1",
        "patient.birthdate=1990",
        "_has:Condition:patient:code=x",
        "_list=1",
        "_include=Observation:subject",
        "_revinclude:iterate=Provenance:target",
        "_sort=date",
        "_count=1",
        "_filter=x",
        "_elements=id",
        "_summary=count",
        "date=nonsense",
        "category=a b",
        'category="',
        "category=%zz%ff",
        "category=" + "x" * 600,
        "&".join(["status=final"] * 20),
    ],
)
def test_a_constraint_that_is_no_plain_search_of_the_type_refuses_the_whole_scope(query):
    with pytest.raises(InputError, match=r"scope\.malformed"):
        parse_scope(f"patient/Observation.rs?{query}")


def test_a_constraint_of_all_types_may_only_use_what_all_types_have():
    assert parse_scope("system/*.r?_security=R").query == "_security=R"
    with pytest.raises(InputError):
        parse_scope("system/*.r?category=x")


def test_what_an_application_asks_for_is_read_and_the_rest_is_ignored():
    asked = parse_asked("launch/patient openid fhirUser patient/*.rs patient/*.sr profile patient/Observation.rs?x=1")
    assert asked.special == {Special.LAUNCH_PATIENT, Special.OPENID, Special.FHIR_USER}
    assert scopes_text(asked.resources) == "patient/*.rs"
    assert asked.ignored == ("patient/*.sr", "profile", "patient/Observation.rs?x=1")
    assert str(asked) == "openid fhirUser launch/patient patient/*.rs"


def test_too_many_scopes_are_refused():
    with pytest.raises(InputError, match=r"scope\.malformed"):
        parse_asked(" ".join(f"x{number}" for number in range(65)))


@pytest.mark.parametrize(
    ("granted", "asked", "answer"),
    [
        ("patient/*.rs", "patient/Observation.r", True),
        ("patient/*.rs", "user/Observation.r", False),
        ("user/*.rs", "patient/Observation.r", False),
        (f"patient/Observation.rs?{LAB}", "patient/Observation.rs", False),
        (f"patient/Observation.rs?{LAB}", f"patient/Observation.r?{LAB}", True),
        (f"patient/Observation.rs?{LAB}", f"patient/Observation.r?status=final&{LAB}", True),
        ("patient/Observation.rs", f"patient/Observation.r?{LAB}", True),
        ("patient/Observation.rs", "patient/*.r", False),
    ],
)
def test_what_was_granted_covers_no_more_than_it_says(granted, asked, answer):
    assert covers(parse_scopes(granted), parse_scope(asked)) is answer


@pytest.mark.parametrize(
    ("asked", "allowed", "answer"),
    [
        ("patient/*.cruds", "user/*.rs", "patient/*.rs"),
        ("user/*.rs", "user/Patient.cr user/Slot.s user/Claim.c", "user/Patient.r user/Slot.s"),
        ("user/Patient.read", "user/*.cruds", "user/Patient.read"),
        ("user/Patient.read", "user/*.r", "user/Patient.r"),
        ("user/Patient.rs", "user/Patient.r user/*.rs", "user/Patient.rs"),
        ("user/*.rs", "user/*.rs user/Patient.r", "user/*.rs"),
        ("user/Observation.rs?status=final", f"user/Observation.r?{LAB}", f"user/Observation.r?status=final&{LAB}"),
        ("user/Patient.rs", "user/Claim.rs", ""),
    ],
)
def test_a_scope_is_narrowed_to_what_both_allow(asked, allowed, answer):
    assert scopes_text(narrowed(parse_scope(asked), parse_scopes(allowed))) == answer


# The generated matrix: each scope by itself, and two together, against each type and interaction.
TYPES = ("Patient", "Observation", "Practitioner", "StructureDefinition")
SUFFIXES = ("c", "r", "u", "d", "s", "rs", "cud", "cruds", "read", "write", "*")
LETTERS = {"read": "rs", "write": "cud", "*": "cruds"}
CONSTRAINTS = ("", "_tag=urn:x|y")
SCOPES = [
    f"{context}/{type_name}.{suffix}" + (f"?{query}" if query else "")
    for context, type_name, suffix, query in product(
        ("patient", "user", "system"), ("*", *TYPES), SUFFIXES, CONSTRAINTS
    )
]


def expected(scope: str, type_name: str, letter: str, patient: str) -> Clause | None:
    """Say again what the specification says, from the text of the scope alone."""
    head, _, query = scope.partition("?")
    context, _, rest = head.partition("/")
    named, _, suffix = rest.partition(".")
    if letter not in LETTERS.get(suffix, suffix) or named not in ("*", type_name):
        return None
    if context != "patient":
        return Clause("", query)
    if type_name == "Practitioner":
        return Clause("", query) if letter in "rs" else None
    return Clause(patient, query) if patient and type_name in ("Patient", "Observation") else None


@pytest.mark.parametrize("patient", ["", "p1"], ids=["without a patient", "with a patient"])
@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_allows_what_it_says_and_nothing_else(scope, patient):
    access = Access("app", parse_scopes(scope), patient=patient)
    for type_name, action in product(TYPES, Action):
        clause = expected(scope, type_name, action.value, patient)
        found = permit(access, type_name, action)
        assert found == (None if clause is None else Permit((clause,))), (type_name, action)
        whole = clause == Clause() and not scope.startswith("patient/")
        assert permits(access.scopes, type_name, action) is whole
        for is_of, meets in product((True, False), repeat=2):
            admitted = clause is not None and (is_of or not clause.patient) and (meets or not clause.query)
            judged = found is not None and found.admits(
                lambda one, is_of=is_of: is_of and one == "p1", lambda query, meets=meets: meets and bool(query)
            )
            assert judged is admitted, (type_name, action, is_of, meets)


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize("action", list(Action))
def test_without_a_scope_nothing_is_allowed(type_name, action):
    assert permit(Access("app", ()), type_name, action) is None
    assert not permits((), type_name, action)


def test_what_a_caller_may_do_is_remembered_for_it_alone_and_not_without_end():
    access, other = (Access("app", parse_scopes(f"system/{name}.r")) for name in ("Observation", "Patient"))
    for _ in range(2):
        assert permit(access, "Observation", Action.READ) == Permit((Clause(),))
        assert permit(access, "Observation", Action.SEARCH) is None
        assert permit(other, "Observation", Action.READ) is None
    # The types are what clients write into addresses.
    for number in range(5000):
        assert permit(access, f"Invented{number}", Action.READ) is None
    assert len(access.permits) <= 1024
    assert permit(access, "Observation", Action.READ) == Permit((Clause(),))
    assert access == Access("app", access.scopes)


def test_two_scopes_allow_what_either_does_and_values_of_one_condition_become_a_list():
    scopes = "patient/Observation.rs?category=laboratory patient/Observation.rs?category=vital-signs"
    access = Access("app", parse_scopes(scopes), patient="p1")
    assert permit(access, "Observation", Action.READ) == Permit((Clause("p1", "category=laboratory,vital-signs"),))
    wide = Access("app", parse_scopes(f"{scopes} patient/*.r"), patient="p1")
    assert permit(wide, "Observation", Action.READ) == Permit((Clause("p1"),))
    assert permit(wide, "Observation", Action.SEARCH) == Permit((Clause("p1", "category=laboratory,vital-signs"),))
    both = Access("app", parse_scopes("patient/Observation.r user/Observation.r?status=final"), patient="p1")
    assert permit(both, "Observation", Action.READ) == Permit((Clause("p1"), Clause("", "status=final")))
    several = "user/Observation.r?category=a&status=final user/Observation.r?category=b user/Observation.r?code:not=c"
    found = permit(Access("app", parse_scopes(several)), "Observation", Action.READ)
    assert found is not None
    assert [one.query for one in found.clauses] == ["category=a&status=final", "category=b", "code:not=c"]
    everything = Access("app", parse_scopes("user/Observation.r user/Observation.r?status=final"))
    whole = permit(everything, "Observation", Action.READ)
    assert whole is not None
    assert whole.is_whole


def test_the_directory_is_about_no_patient():
    patient_only = {"Patient", "Observation", "Encounter", "Claim", "DocumentReference", "Binary", "Group", "List"}
    assert not DIRECTORY_TYPES & patient_only


def test_who_calls_is_handed_on_whole_to_another_process():
    access = Access("app", parse_scopes("patient/*.read"), "Practitioner/1", "clinician", "p1", "e1", "g1")
    assert parse_access(access_document(access)) == access
    with pytest.raises(InputError):
        parse_access({"client": "app", "scopes": "patient/*.rs"})
    with pytest.raises(InputError, match=r"access\.client"):
        parse_access({**access_document(access), "client": ""})  # type: ignore[dict-item]  # a document is an object


@pytest.mark.parametrize("role", list(Role))
def test_no_role_hands_on_the_rights_of_a_system(role):
    assert within_role(parse_scope("system/*.cruds"), role) == []


def test_roles_are_separated():
    def may(role: Role, type_name: str, action: Action) -> bool:
        access = Access("app", tuple(within_role(parse_scope("user/*.cruds"), role)), role=role.value)
        return permit(access, type_name, action) is not None

    assert set(ROLE_SCOPES) == STAFF
    assert may(Role.CLINICIAN, "Observation", Action.CREATE)
    assert not any(may(Role.CLINICIAN, "AuditEvent", action) for action in (Action.READ, Action.SEARCH))
    assert not may(Role.DESK, "Observation", Action.READ)
    assert may(Role.DESK, "Claim", Action.CREATE)
    assert not may(Role.DESK, "Claim", Action.DELETE)
    assert may(Role.AUDITOR, "AuditEvent", Action.SEARCH)
    assert not any(may(Role.AUDITOR, one, Action.READ) for one in ("Patient", "Observation", "Claim"))
    assert not any(may(Role.AUDITOR, "AuditEvent", action) for action in (Action.UPDATE, Action.DELETE, Action.CREATE))
    assert not any(may(Role.ADMINISTRATOR, one, Action.READ) for one in ("Patient", "Observation", "AuditEvent"))
    assert may(Role.ADMINISTRATOR, "Practitioner", Action.UPDATE)


def test_a_scope_of_one_patient_within_a_role_stays_one():
    (scope,) = within_role(parse_scope("patient/Claim.cruds"), Role.DESK)
    assert str(scope) == "patient/Claim.crus"
    assert scope.context is Context.PATIENT
