"""Legal bases on pages: entered by a regulator's desk, granted by the custodian's, ended by who entered; attacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from medchain.errors import NotFoundError
from medchain.node.exchange_client import GRANTS
from medchain.store.accounts import Role
from tests.unit.fhir_bridge.staff.conftest import World
from tests.unit.fhir_bridge.staff.conftest import opened as put_up
from tests.unit.fhir_bridge.staff.test_desk import form_of
from tests.unit.fhir_bridge.staff.test_paper import code_of, text_of
from tests.unit.medchain.ledger.world import TAIPING
from tests.unit.medchain.node.desks import Desks
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, RENHE
from tests.unit.medchain.node.lawful import lawful_desks
from tests.waiting import eventually

PAGE = "/mandates"
TERMS = {
    "authority": "<i>District Court</i>",
    "basis": "court/HLEGAL",
    "custodian": RENHE,
    "days": "30",
    "kind": ["tests"],
    "recipient": ANXIN,
    "reference": "2026/123",
    "scope": "stay of March 2026",
}


@pytest.fixture(scope="module")
def desks(tmp_path_factory) -> Iterator[Desks]:
    with lawful_desks(tmp_path_factory.mktemp("lawful")) as made:
        yield made


@pytest.fixture(scope="module")
def regulator(desks) -> Iterator[World]:
    with ExitStack() as stack:
        yield put_up(desks, COMMISSION, stack)


def entered(browser, patient: str, **changes: object):
    return browser.post(f"{PAGE}?lang=en", form_of(browser, PAGE) | TERMS | {"patient": patient} | changes)


def mandates(world, patient: str) -> list[dict]:
    rows = world.local.call("mandate.list", {})["mandates"]
    return [row for row in rows if row["content"]["patient"] == patient]


def enter(regulator, world, patient: str, **changes: object) -> str:
    """Have the regulator's desk enter one, known to all; returns its map key."""
    before = {row["key"] for row in mandates(regulator, patient)}
    answer = entered(regulator.staff(Role.DESK), patient, **changes)
    assert answer.status_code == 303, answer.text
    (key,) = {row["key"] for row in mandates(regulator, patient)} - before
    world.desks.everywhere(key, 1)
    return key


def act(browser, key: str, deed: str):
    # The page of asks has a form for every desk.
    return browser.post(f"{PAGE}/{key}/{deed}", form_of(browser, "/asks"))


def read(world, grant: str) -> int:
    asked = {"custodian": RENHE, "grant": grant, "purpose": "HLEGAL", "resource_types": ["Observation"]}
    return len(world.desks.local(ANXIN).call("request", asked)["records"])


def grants(world, patient: str) -> list[str]:
    asked = {"about": f"Patient/{patient}", "custodian": RENHE, "purpose": "HLEGAL", "resource_types": ["*"]}
    return [row["grant"] for row in world.desks.local(ANXIN).call(GRANTS, asked)["grants"]]


def anchored(world) -> None:
    """Wait until the records of the hospital are final: others are released to nobody."""
    site = world.desks.federation.sites[RENHE]

    def is_done() -> bool:
        site.node.anchor.round()
        return not site.records.pending(1, kind="anchor")

    assert eventually(is_done)


def test_a_regulator_enters_the_custodian_grants_and_who_entered_ends_it(world, regulator):
    patient, key = world.patient("law-1"), enter(regulator, world, "law-1")
    anchored(world)
    desk = world.staff(Role.DESK)
    page = desk.get(f"{PAGE}?lang=en")
    assert "&lt;i&gt;District Court&lt;/i&gt;" in page.text
    assert "anxin-insurance may see records of renhe-hospital, for legal proceedings" in text_of(page)
    assert "patient law-1" in text_of(page)
    assert f"{PAGE}/{key}/stop" not in page.text
    assert grants(world, patient) == []
    assert act(desk, key, "grant").status_code == 303
    (grant,) = grants(world, patient)
    world.desks.everywhere(grant, 1)
    assert read(world, grant) == 1
    assert mandates(world, patient)[0]["releases"] == 1
    assert "entries of releases: 1" in text_of(desk.get(f"{PAGE}?lang=en"))
    officer = regulator.staff(Role.DESK)
    assert act(officer, key, "stop").status_code == 303
    with pytest.raises(NotFoundError):
        read(world, grant)
    assert "over" in text_of(officer.get(f"{PAGE}?lang=en"))


def test_a_patient_has_as_many_as_there_are_papers(world, regulator):
    patient = world.patient("law-2")
    keys = [enter(regulator, world, patient), enter(regulator, world, patient, reference="2026/456")]
    desk = world.staff(Role.DESK)
    assert [act(desk, key, "grant").status_code for key in keys] == [303, 303]
    assert len(grants(world, patient)) == 2
    assert act(regulator.staff(Role.DESK), keys[0], "stop").status_code == 303
    assert [row["in_force"] for row in mandates(regulator, patient)].count(True) == 1


def test_attack_no_hospital_enters_one_and_nobody_ends_anothers(world, regulator):
    desk = world.staff(Role.DESK)
    assert 'name="authority"' not in desk.get(PAGE).text
    form = form_of(desk, "/asks") | TERMS | {"patient": "law-3", "custodian": TAIPING}
    answer = desk.post(PAGE, form)
    assert (answer.status_code, code_of(answer)) == (403, "mandate.issuer")
    key = enter(regulator, world, world.patient("law-3"))
    answer = desk.post(f"{PAGE}/{key}/stop", form_of(desk, "/asks"))
    assert (answer.status_code, code_of(answer)) == (404, "mandate.unknown")
    assert mandates(world, "law-3")[0]["in_force"]
    assert desk.post(f"{PAGE}/zz/grant", form_of(desk, "/asks")).status_code == 400


def test_attack_a_regulator_grants_nothing_in_the_custodians_place(world, regulator):
    key, officer = enter(regulator, world, world.patient("law-4")), regulator.staff(Role.DESK)
    assert f"{PAGE}/{key}/grant" not in officer.get(PAGE).text
    assert act(officer, key, "grant").status_code == 422
    assert grants(world, "law-4") == []


def test_an_auditor_sees_them_without_whose_they_are_and_changes_nothing(world, regulator):
    key = enter(regulator, world, world.patient("law-5"))
    auditor = regulator.staff(Role.AUDITOR)
    page = auditor.get(f"{PAGE}?lang=en")
    assert "2026/123" in page.text
    assert "law-5" not in page.text
    form = form_of(regulator.staff(Role.DESK), PAGE) | {"csrf": auditor.csrf(PAGE)}
    for path in (PAGE, f"{PAGE}/{key}/grant", f"{PAGE}/{key}/stop"):
        assert auditor.post(path, form | TERMS | {"patient": "law-5"}).status_code == 403


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.ADMINISTRATOR, Role.PATIENT])
def test_attack_no_other_role_sees_or_does_anything(regulator, role):
    form = form_of(regulator.staff(Role.DESK), PAGE) | TERMS | {"patient": "law-6"}
    browser = regulator.staff(role)
    assert browser.get(PAGE).status_code == 403
    for path in (PAGE, f"{PAGE}/{'0' * 64}/grant", f"{PAGE}/{'0' * 64}/stop"):
        assert browser.post(path, form).status_code == 403
    assert mandates(regulator, "law-6") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"custodian": COMMISSION}, "Choose the custodian"),
        ({"recipient": RENHE}, "Choose the custodian"),
        ({"recipient": "nobody"}, "Choose the custodian"),
        ({"basis": "court/TREAT"}, "Choose basis"),
        ({"basis": ""}, "Choose basis"),
        ({"kind": []}, "Choose at least one kind"),
        ({"days": "366"}, "Choose for how long"),
        ({"scope": " "}, "Write 1 to 200 characters"),
    ],
)
def test_what_no_paper_says_is_not_entered(regulator, changes, said):
    answer = entered(regulator.staff(Role.DESK), "law-7", **changes)
    assert (answer.status_code, said in text_of(answer)) == (400, True)
    assert mandates(regulator, "law-7") == []


def test_attack_a_form_that_is_sent_again_enters_nothing_twice(world, regulator):
    officer = regulator.staff(Role.DESK)
    form = form_of(officer, PAGE) | TERMS | {"patient": world.patient("law-8")}
    assert officer.post(PAGE, form).status_code == 303
    assert code_of(officer.post(PAGE, form)) == "desk.repeated"
    assert len(mandates(regulator, "law-8")) == 1


def test_each_step_is_on_the_audit_without_the_patient(world, regulator):
    key = enter(regulator, world, world.patient("law-9"))
    act(world.staff(Role.DESK, "Practitioner/grants"), key, "grant")
    world.core.catch_up()
    ids = world.core.search.ids("AuditEvent", "agent=Practitioner/grants", 50)
    texts = [world.core.service.read("AuditEvent", one).content.decode() for one in ids]
    (found,) = [one for one in texts if "mandate-granted" in one]
    assert key in found
    assert "law-9" not in found
