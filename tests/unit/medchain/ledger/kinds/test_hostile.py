"""Whatever a creator sends, an endorser answers with a refusal, never with a crash."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.errors import VerificationError
from medchain.ledger.kind import Place
from medchain.ledger.kinds.claim_content import on_request
from medchain.ledger.kinds.registry import check_form
from medchain.ledger.kinds.shares import Shares
from medchain.ledger.object import build_body
from medchain.ledger.transaction import Ref
from tests.unit.medchain.ledger.kinds.case import SUBJECT, ConsentCase, Person, accesses, code, delegation_of
from tests.unit.medchain.ledger.kinds.claiming import TOTAL, asked, bill
from tests.unit.medchain.ledger.kinds.test_access import EMERGENCY, ERASURE
from tests.unit.medchain.ledger.kinds.test_attest import PAPER
from tests.unit.medchain.ledger.kinds.test_mandate import MANDATE
from tests.unit.medchain.ledger.kinds.test_recovery import recovery_of
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TIME, fresh

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def contents(case):
    consent = case.kept_consent()
    grant = case.kept_grant(consent)
    made = {
        "subject": SUBJECT.to_content(),
        "consent": case.consent().to_content(),
        "grant": case.grant(consent).to_content(),
        "access": accesses(grant, consent).to_content(),
        "emergency": EMERGENCY.to_content(),
        "erasure": ERASURE.to_content(),
        "mandate": MANDATE.to_content(),
        "attest": PAPER.to_content(),
        "claim": on_request(bill(), Shares(TOTAL), asked().request, TIME).to_content(),
        "recovery": recovery_of(case).to_content(),
        "delegation": delegation_of(Person(case, "patient"), Person(case, "helper")).to_content(),
    }
    refs = {"grant": (consent,), "access": (consent, grant)}
    return made, {kind: tuple(sorted(Ref(r.key, r.version) for r in found)) for kind, found in refs.items()}


@given(
    st.sampled_from(
        [
            *("subject", "consent", "grant", "access", "emergency", "erasure"),
            *("mandate", "attest", "claim", "recovery", "delegation"),
        ]
    ),
    json_values,
    st.data(),
)
def test_a_field_that_holds_anything_else_never_crashes_a_check(kind, value, data):
    case = ConsentCase()
    made, refs = contents(case)
    content = made[kind]
    name = data.draw(st.sampled_from(sorted(content)))
    body = build_body(kind, {**content, name: value}, {"attested_by": ["a", "b"]}, fresh)
    context = case.context(kind, body, refs=refs.get(kind, ()), own=RENHE, role="creator")
    assert code(body, context) == "" or "." in code(body, context)


@given(json_values, st.booleans())
def test_evidence_that_holds_anything_never_passes_for_a_signature(value, nested):
    case = ConsentCase()
    evidence = {"assertion": value} if nested else value
    assert code(*case.attested(case.consent(), evidence)) != ""


@given(st.sampled_from(sorted(SUBJECT.to_content())), json_values)
def test_a_subject_that_holds_anything_never_crashes_the_check_of_a_consent(name, value):
    case = ConsentCase()
    record, _ = case.bodies[case.subject.key]
    spoiled = build_body("subject", {**SUBJECT.to_content(), name: value}, None, fresh)
    case.bodies[case.subject.key] = (record, spoiled)
    body, context = case.signed(case.consent())
    for own, role in ((ANXIN, "holder"), (RENHE, "creator")):
        code(body, replace(context, own=own, role=role))
    assert case.head(case.subject.key) == (record, spoiled)


def test_a_body_by_itself_is_refused_of_another_kind_and_where_none_is_sealed():
    body = build_body("record", {"x": 1}, None, fresh)
    with pytest.raises(VerificationError, match=r"body\.superfluous kind=record"):
        check_form(body, Place("record", RENHE, bytes(16), "active"))
    for kind, name in (("consent", "record"), ("unheard-of", "unheard-of")):
        with pytest.raises(VerificationError, match=rf"body\.kind kind={name}"):
            check_form(build_body(name, {"x": 1}, None, fresh), Place(kind, RENHE, bytes(16), "active"))


def test_a_body_by_itself_is_refused_with_what_is_wrong_with_its_form():
    case = ConsentCase()
    made, _ = contents(case)
    for kind, content in made.items():
        place = Place(kind, RENHE, bytes(16), "active")
        with pytest.raises(VerificationError, match=rf"^body\.malformed kind={kind} reason=content\.fields$"):
            check_form(build_body(kind, {**content, "x": 1}, None, fresh), place)
    check_form(build_body("consent", made["consent"], None, fresh), Place("consent", RENHE, bytes(16), "active"))
