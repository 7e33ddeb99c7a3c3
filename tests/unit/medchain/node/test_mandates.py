"""Records leave under a mandate of the law, over whole nodes: entered, granted, released, told, ended, and attacked."""

from __future__ import annotations

from itertools import count

import pytest

from medchain.encoding import Json, unhex
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.node.erasure import Eraser
from medchain.node.exchange_client import GRANTS
from medchain.node.mandates import read_terms
from medchain.node.records import NewRecord
from tests.unit.fhir_bridge.exchanging import Case, api_of, code_of
from tests.unit.medchain.ledger.world import TAIPING, fresh
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, RENHE, TONGJI
from tests.unit.medchain.node.lawful import lawful_desks, terms

LAW = "urn:medchain:mandate|"
_NUMBERS = count(1)


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    with lawful_desks(tmp_path_factory.mktemp("mandates")) as made:
        yield made


@pytest.fixture
def case(desks):
    """A patient with records and no consent."""
    made = Case(desks, f"p{next(_NUMBERS)}")
    condition = {"resourceType": "Condition", "id": f"{made.name}-c1", "subject": {"reference": f"Patient/{made.name}"}}
    made.store(made.patient(), made.observation(1), made.observation(2), condition)
    return made


def issue(desks, patient: str, by: str = COMMISSION, **changes: Json) -> str:
    """Have a mandate entered, known to all; returns its map key."""
    key = str(desks.local(by).call("mandate.issue", terms(patient, **changes))["key"])
    desks.everywhere(key, 1)
    return key


def grant(desks, mandate: str, **changes: Json) -> str:
    key = str(desks.local(RENHE).call("grant.give", {"consent": mandate} | changes)["key"])
    desks.everywhere(key, 1)
    return key


def ask(desks, key: str, by: str = ANXIN, **changes: Json) -> list[str]:
    """Ask for records under a grant; returns the ids of what came."""
    asked = {"custodian": RENHE, "grant": key, "purpose": "HLEGAL", "resource_types": ["Observation"]}
    return sorted(row["id"] for row in desks.local(by).call("request", asked | changes)["records"])


def test_what_a_regulator_enters_lets_a_custodian_release_no_more_than_it_says(desks, case):
    mandate = issue(desks, case.name)
    key = grant(desks, mandate)
    assert ask(desks, key) == [f"{case.name}-o1", f"{case.name}-o2"]
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        ask(desks, key, resource_types=["Condition"])
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        ask(desks, key, purpose="HPAYMT")


def test_its_recipient_asks_all_by_it_and_need_not_know_whose_records_it_opens(desks, case):
    mandate, other = issue(desks, case.name), issue(desks, case.name, purpose="HLEGAL", recipient=TAIPING)
    ungranted = issue(desks, case.name)
    grant(desks, mandate)
    with api_of(desks, ANXIN) as insurer:

        def found(key: str, path: str = "Observation?_custodian=*&", **more: str) -> list[str]:
            asked = {"purpose": "HLEGAL"} | more
            return sorted(row["id"] for row in insurer.found(f"{path}patient:identifier={LAW}{key}", **asked))

        assert found(mandate) == [f"{case.name}-o1", f"{case.name}-o2"]
        assert found(mandate, f"Observation?_custodian=*&_id={case.name}-o2&") == [f"{case.name}-o2"]
        # Of another type or purpose, another's, one that nobody granted, a consent, and one that is none: alike.
        assert found(mandate, "Condition?_custodian=*&") == []
        assert found(mandate, purpose="HPAYMT") == []
        assert [found(key) for key in (other, ungranted, "00" * 32)] == [[], [], []]
        permitted = case.permit("Observation", purpose="HLEGAL")
        assert permitted
        assert found(case.consent) == []
        # At one custodian, whose ids are meant, it is no way to name a patient.
        answer = insurer.get(f"Observation?_custodian={RENHE}&patient:identifier={LAW}{mandate}", purpose="HLEGAL")
        assert code_of(answer) == "exchange.patient"
        assert insurer.get(f"Observation?_custodian=*&patient:identifier={LAW}x", purpose="HLEGAL").status_code == 400
    desks.local(COMMISSION).call("mandate.stop", {"object": mandate})
    settle(desks, mandate)
    with api_of(desks, ANXIN) as insurer:
        assert insurer.found(f"Observation?_custodian=*&patient:identifier={LAW}{mandate}", purpose="HLEGAL") == []


def test_without_the_custodians_grant_it_opens_nothing(desks, case):
    mandate = issue(desks, case.name)
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        ask(desks, mandate)


def test_the_dates_that_it_names_are_the_only_ones(desks, case):
    old = case.observation(3, effectiveDateTime="2020-05-05")
    case.store(old)
    mandate = issue(desks, case.name, data_period={"end": 1_590_969_599, "start": 1_588_291_200})
    assert ask(desks, grant(desks, mandate)) == [f"{case.name}-o3"]


@pytest.mark.parametrize("org_id", [RENHE, TONGJI, ANXIN])
def test_no_hospital_and_no_insurer_enters_one(desks, case, org_id):
    custodian = TONGJI if org_id == RENHE else RENHE
    recipient = TAIPING if org_id == ANXIN else ANXIN
    with pytest.raises(VerificationError, match=r"mandate\.issuer"):
        desks.local(org_id).call("mandate.issue", terms(case.name, custodian=custodian, recipient=recipient))


def test_one_that_a_hospital_puts_past_its_own_check_is_endorsed_by_nobody(desks, case, monkeypatch):
    node = desks.federation.sites[TONGJI].node
    monkeypatch.setattr(type(node.judge), "check", checks_but(node.judge, type(node.judge).check))
    with pytest.raises(VerificationError, match=r"mandate\.issuer|transaction\.policy"):
        desks.local(TONGJI).call("mandate.issue", terms(case.name))


def checks_but(own, check):
    """Judge as all others do, and let one's own pass."""
    return lambda self, *rest, **more: None if self is own else check(self, *rest, **more)


def test_the_custodian_grants_no_more_than_the_mandate(desks, case):
    mandate = issue(desks, case.name)
    with pytest.raises(VerificationError, match=r"grant\.beyond_consent"):
        desks.local(RENHE).call("grant.give", {"consent": mandate, "resource_types": ["Condition"]})


def test_another_custodian_grants_nothing_under_it(desks, case):
    mandate = issue(desks, case.name)
    # Tongji endorsed it, and so holds the body.
    with pytest.raises(VerificationError, match=r"grant\.beyond_consent"):
        desks.local(TONGJI).call("grant.give", {"consent": mandate})


def test_a_grant_that_names_no_permission_at_all_is_none(desks):
    with pytest.raises(NotFoundError, match=r"consent\.unknown"):
        desks.local(RENHE).call("grant.give", {"consent": fresh(32).hex()})


def test_who_entered_it_ends_it_for_all_and_nobody_else_does(desks, case):
    mandate = issue(desks, case.name)
    key = grant(desks, mandate)
    assert ask(desks, key) != []
    for org_id in (RENHE, ANXIN):
        with pytest.raises(NotFoundError, match=r"mandate\.unknown"):
            desks.local(org_id).call("mandate.stop", {"object": mandate})
    desks.local(COMMISSION).call("mandate.stop", {"object": mandate})
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        ask(desks, key)
    with pytest.raises(ConflictError, match=r"stop\.repeated"):
        desks.local(COMMISSION).call("mandate.stop", {"object": mandate})
    settle(desks, mandate)
    with pytest.raises((ConflictError, VerificationError)):
        desks.local(RENHE).call("grant.give", {"consent": mandate})


def settle(desks, mandate: str) -> None:
    """Wait until its stop is on every ledger."""
    desks.federation.sites[COMMISSION].node.driver.outbox.step()
    desks.everywhere(mandate, 2)


def test_each_party_lists_it_without_what_stops_it(desks, case):
    mandate = issue(desks, case.name)
    for org_id in (COMMISSION, RENHE, ANXIN):
        rows = desks.local(org_id).call("mandate.list", {})["mandates"]
        row = next(one for one in rows if one["key"] == mandate)
        assert (row["in_force"], row["granted"], row["creator"]) == (True, False, COMMISSION)
        assert "stop" not in row["content"]
    grant(desks, mandate)
    rows = desks.local(RENHE).call("mandate.list", {})["mandates"]
    assert next(one["granted"] for one in rows if one["key"] == mandate)
    assert mandate not in {one["key"] for one in desks.local(TAIPING).call("mandate.list", {})["mandates"]}


def test_the_recipient_finds_the_grant_by_the_patient_and_for_that_purpose_alone(desks, case):
    key = grant(desks, issue(desks, case.name))
    asked = {"about": f"Patient/{case.name}", "custodian": RENHE, "purpose": "HLEGAL", "resource_types": ["*"]}
    local = desks.local(ANXIN)
    assert local.call(GRANTS, asked)["grants"] == [{"grant": key, "patient": ""}]
    assert local.call(GRANTS, asked | {"purpose": "TREAT"})["grants"] == []
    assert local.call(GRANTS, asked | {"about": "Patient/nobody"})["grants"] == []
    assert desks.local(TAIPING).call(GRANTS, asked)["grants"] == []


def told(desks, case) -> list[Json]:
    """Return the notices of the patient at the custodian."""
    for _ in range(3):
        desks.nodes[RENHE].notices.round()
    asked = {"patient": case.name, "subjects": [case.subject]}
    rows = desks.local(RENHE).call("notices.list", asked)["notices"]
    return [row for row in rows if str(row["kind"]).startswith("mandate.")]


def test_the_patient_is_told_of_it_and_of_its_end_and_sees_it_with_its_basis(desks, case):
    mandate = issue(desks, case.name)
    key = grant(desks, mandate)
    ask(desks, key)
    (notice,) = told(desks, case)
    assert (notice["kind"], notice["fields"]["reference"], notice["fields"]["by"]) == (
        "mandate.given",
        "2026/123",
        COMMISSION,
    )
    asked = {"patient": case.name, "subjects": [case.subject]}
    rows = desks.local(RENHE).call("patient.consents", asked)["consents"]
    (row,) = [one for one in rows if one["key"] == mandate]
    assert (row["signed"], row["in_force"], row["content"]["basis"]["authority"]) == ("law", True, "District Court")
    assert [one["count"] for one in row["grants"][0]["accesses"]] == [2]
    assert "stop" not in row["content"]
    other = desks.local(RENHE).call("patient.consents", {"patient": "somebody", "subjects": []})["consents"]
    assert mandate not in {one["key"] for one in other}
    desks.local(COMMISSION).call("mandate.stop", {"object": mandate})
    settle(desks, mandate)
    assert {one["kind"] for one in told(desks, case)} == {"mandate.given", "mandate.stopped"}


def test_who_is_a_patient_here_and_was_never_enrolled_is_told_too(desks):
    site = desks.federation.sites[RENHE]
    site.service.create(
        NewRecord("Patient", "unenrolled", b'{"resourceType":"Patient","id":"unenrolled"}', "unenrolled")
    )
    issue(desks, "unenrolled")
    for _ in range(3):
        desks.nodes[RENHE].notices.round()
    rows = desks.local(RENHE).call("notices.list", {"patient": "unenrolled", "subjects": []})["notices"]
    assert [row["kind"] for row in rows] == ["mandate.given"]


def erase(desks, org_id: str, patient: str) -> None:
    """Erase a patient, and let the node do what that leaves to do."""
    site = desks.federation.sites[org_id]
    Eraser(org_id, site.records, site.service, desks.federation.clock, fresh).erase(patient, "asked for")
    for _ in range(6000):
        if not desks.nodes[org_id].erasure.round():
            return
        desks.federation.wait()
    raise AssertionError("never done")


def test_with_the_patient_goes_the_mandates_body_at_the_custodian(desks, case):
    mandate = issue(desks, case.name)
    key = grant(desks, mandate)
    shelf = desks.federation.sites[RENHE].node.shelf
    assert shelf.held(unhex(mandate, 32)) is not None
    erase(desks, RENHE, case.name)
    assert (shelf.held(unhex(mandate, 32)), shelf.held(unhex(key, 32))) == (None, None)
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        ask(desks, key)


def test_a_patient_of_the_same_id_elsewhere_takes_no_mandate_along(desks, case):
    mandate = issue(desks, case.name)
    site = desks.federation.sites[TONGJI]
    site.service.create(NewRecord("Patient", case.name, b'{"resourceType":"Patient","id":"x"}', case.name))
    assert site.node.shelf.held(unhex(mandate, 32)) is not None
    erase(desks, TONGJI, case.name)
    assert site.node.shelf.held(unhex(mandate, 32)) is not None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"purpose": "HPAYMT"}, "mandate.purpose"),
        ({"resource_types": ["*"]}, "mandate.resource_types"),
        ({"period": {"end": None, "start": 0}}, "mandate.period"),
        ({"period": {"end": 1, "start": 2}}, "content.period"),
    ],
)
def test_terms_that_no_mandate_has_are_refused_before_anybody_is_asked(desks, case, changes, code):
    with pytest.raises(InputError, match=code.replace(".", r"\.")):
        desks.local(COMMISSION).call("mandate.issue", terms(case.name, **changes))
    assert read_terms(terms(case.name)).custodian == RENHE
