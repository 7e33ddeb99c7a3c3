"""The paper route: who has no phone is enrolled, permits and stops at the desk; two of the staff attest; attacks."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta

import pytest

from consent.web.kinds import KINDS
from medchain.encoding import unhex
from medchain.errors import UnavailableError
from medchain.store.accounts import Role
from tests.unit.fhir_bridge.staff.test_desk import code_of as code_given
from tests.unit.fhir_bridge.staff.test_desk import enrolled, form_of, given, opened
from tests.unit.medchain.node.federation import ANXIN, RENHE

TERMS = {"recipient": ANXIN, "purpose": "HPAYMT", "kind": ["tests", "diagnoses"], "sensitive": ["hiv"], "days": "30"}


def code_of(answer) -> str:
    """Read the code of a refusal."""
    found = re.search(r'data-code="([a-z_.]+)"', answer.text)
    return "" if found is None else found[1]


def text_of(answer) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.text)))


def decided(browser, place: str, step: str = "confirm"):
    return browser.post(place, form_of(browser, place) | {"step": step})


def on_paper(world, name: str):
    """Enrol somebody without a phone; returns the subject's map key and a case of the second hand."""
    first, second, patient = world.staff(Role.DESK), world.staff(Role.DESK), world.patient(name)
    place = opened(first, patient)
    answer = first.post(f"{place}/enrolment", form_of(first, place) | {"method": "identity-card"})
    assert answer.status_code == 303, answer.text
    done = decided(second, answer.headers["Location"])
    assert done.status_code == 303, done.text
    (subject,) = world.patients.links.subjects_of(world.patients.token(patient))
    world.desks.everywhere(subject.hex(), 1)
    return subject, done.headers["Location"]


def drafted(browser, case: str, step: str = "preview", **changes: object):
    return browser.post(f"{case}/paper?lang=en", form_of(browser, f"{case}/paper") | TERMS | {"step": step} | changes)


def proposed(browser, name: str, **changes: object) -> str:
    """Propose a permission on paper; returns the address of what waits."""
    answer = drafted(browser, opened(browser, name), "propose", **changes)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


METHOD = {"method": "passport"}


def consents(world, subject: bytes) -> list[dict]:
    return world.local.call("patient.consents", {"subjects": [subject.hex()]})["consents"]


def test_who_has_no_phone_is_enrolled_by_two_of_the_staff(world):
    subject, case = on_paper(world, "paper-1")
    body = world.desks.federation.sites[RENHE].node.shelf.head(subject)[1]
    assert body.content["passkeys"] == []
    assert len(body.evidence.value["attested_by"]) == 2
    second = world.staff(Role.DESK)
    page = text_of(second.get(f"{opened(second, 'paper-1')}?lang=en"))
    assert "No passkey: enrolled on paper" in page
    assert case.startswith("/desk/")


def test_who_is_enrolled_meanwhile_is_not_enrolled_again(world):
    first, second, patient = world.staff(Role.DESK), world.staff(Role.DESK), world.patient("paper-2")
    case = opened(first, patient)
    waiting = first.post(f"{case}/enrolment", form_of(first, case) | {"method": "passport"}).headers["Location"]
    assert enrolled(world, code_given(given(first, case)), "paper-2").status_code == 200
    assert code_of(decided(second, waiting)) == "patient.enrolled"
    form = form_of(first, opened(first, world.patient("paper-2-form")))
    assert code_of(first.post(f"{case}/enrolment", form | {"method": "passport"})) == "patient.enrolled"


@pytest.mark.parametrize(
    ("years", "days", "form", "is_minor"),
    [
        (18, 0, "%Y-%m-%d", False),
        (18, 1, "%Y-%m-%d", True),
        (18, 1, "%Y-%m", True),
        (18, 366, "%Y", True),
        (20, 0, "%Y", False),
    ],
)
def test_attack_a_child_is_not_enrolled_as_of_age_by_code_or_on_paper(world, years, days, form, is_minor):
    """Two of the staff could permit in its name, and no guardian be asked; a date counts as the latest it may be."""
    today = datetime.fromtimestamp(world.site.clock(), UTC)
    born = (today.replace(year=today.year - years) + timedelta(days=days)).strftime(form)
    patient, browser = world.patient(f"paper-born-{years}-{days}-{len(born)}", born), world.staff(Role.DESK)
    case = opened(browser, patient)
    page = browser.get(f"{case}?lang=en").text
    assert ("under age" in page, "/code" in page) == (is_minor, not is_minor)
    if is_minor:
        # The forms of another patient's page, sent for this one.
        given_form = form_of(browser, opened(browser, world.patient(f"{patient}-b"))) | {"method": "passport"}
        assert code_of(browser.post(f"{case}/code", given_form)) == "desk.minor"
        paper_form = form_of(browser, opened(browser, world.patient(f"{patient}-c"))) | {"method": "passport"}
        assert code_of(browser.post(f"{case}/enrolment", paper_form)) == "desk.minor"


def test_a_permission_on_paper_is_previewed_confirmed_and_marked_as_attested(world):
    subject, _ = on_paper(world, "paper-3")
    first, second = world.staff(Role.DESK, "Practitioner/p1"), world.staff(Role.DESK, "Practitioner/p2")
    case = opened(first, "paper-3")
    page = text_of(drafted(first, case))
    for said in ("anxin-insurance may see", "for payment and claims", "Tests and measurements", "Diagnoses"):
        assert said in page
    assert "That includes sensitive records: HIV." in page
    assert "Sensitive records are left out: mental health" in page
    assert consents(world, subject) == []
    # What is proposed from there is what is shown, whatever is chosen anew below it.
    kept = re.search(r"<form.*?</form>", drafted(first, case).text.partition("</dl>")[2], re.DOTALL)[0]
    values = re.findall(r'type="hidden" name="([a-z]+)" value="([^"]*)"', kept)
    assert sorted(one for one in values if one[0] not in ("csrf", "form")) == sorted(
        [("kind", one) for one in TERMS["kind"]]
        + [("sensitive", "hiv"), ("days", "30"), ("purpose", "HPAYMT"), ("recipient", ANXIN)]
    )
    waiting = proposed(first, "paper-3")
    shown = text_of(second.get(f"{waiting}?lang=en"))
    assert "anxin-insurance may see" in shown
    assert "not equal to the person's signature" in shown
    assert consents(world, subject) == []
    done = decided(second, waiting)
    assert done.status_code == 303, done.text
    (row,) = consents(world, subject)
    content = row["content"]
    assert (row["signed"], row["in_force"], bool(row["grants"])) == ("attested", True, True)
    assert (content["recipient"], content["purpose"], content["custodians"]) == (ANXIN, "HPAYMT", [RENHE])
    assert content["resource_types"] == sorted((*KINDS["diagnoses"], *KINDS["tests"]))
    (deny,) = content["fhir"]["provision"]["provision"]
    assert "HIV" not in {label["code"] for label in deny["securityLabel"]}
    assert {"MH", "SUD", "SDV"} <= {label["code"] for label in deny["securityLabel"]}
    body = world.desks.federation.sites[RENHE].node.shelf.head(unhex(row["key"], 32))[1]
    assert body.evidence.value == {"attested_by": ["Practitioner/p1", "Practitioner/p2"]}
    page = text_of(second.get(f"{done.headers['Location']}/permissions?lang=en"))
    assert "Attested by two members of the staff (paper)" in page
    assert "no records went out yet" in page


def test_a_permission_is_stopped_at_the_desk_by_one_at_once(world):
    subject, _ = on_paper(world, "paper-4")
    first, second = world.staff(Role.DESK), world.staff(Role.DESK)
    place = decided(second, proposed(first, "paper-4")).headers["Location"] + "/permissions"
    form = form_of(second, place)
    (row,) = consents(world, subject)
    answer = second.post(f"{place}/stop", form | {"key": row["key"]})
    assert (answer.status_code, answer.headers["Location"]) == (303, place)
    (row,) = consents(world, subject)
    assert (row["in_force"], row["ending"]["by"], row["ending"]["how"]) == (False, RENHE, "organisation")
    assert "Stopped by renhe-hospital" in text_of(second.get(f"{place}?lang=en"))
    assert code_of(second.post(f"{place}/stop", form | {"key": row["key"]})) == "desk.repeated"


def test_a_permission_is_stopped_on_paper_as_the_persons_wish_once_two_attest_it(world):
    subject, _ = on_paper(world, "paper-4b")
    first, second = world.staff(Role.DESK, "Practitioner/w1"), world.staff(Role.DESK, "Practitioner/w2")
    place = decided(second, proposed(first, "paper-4b")).headers["Location"] + "/permissions"
    (row,) = consents(world, subject)
    answer = second.post(f"{place}/paper", form_of(second, place) | {"key": row["key"]})
    waiting = answer.headers["Location"]
    assert consents(world, subject)[0]["in_force"]
    shown = text_of(first.get(f"{waiting}?lang=en"))
    assert "The permission of anxin-insurance for payment and claims is stopped." in shown
    assert code_of(decided(second, waiting)) == "attesting.same"
    assert decided(first, waiting).status_code == 303
    (row,) = consents(world, subject)
    assert (row["in_force"], row["ending"]["how"], row["ending"]["by"]) == (False, "attested", RENHE)
    body = world.desks.federation.sites[RENHE].node.shelf.at(unhex(row["key"], 32), 2)
    assert body.evidence.value == {"attested_by": ["Practitioner/w1", "Practitioner/w2"]}
    page = text_of(second.get(f"{place}?lang=en"))
    assert "as two of the staff of renhe-hospital attest" in page
    # What was stopped meanwhile, by whomever, is not stopped a second time.
    other = second.post(f"{place}/paper", form_of(second, place.replace("permissions", "paper")) | {"key": row["key"]})
    assert (other.status_code, code_of(other)) == (404, "consent.unknown")


def test_attack_nobody_elses_permission_is_stopped_or_opened(world):
    subject, _ = on_paper(world, "paper-5")
    on_paper(world, "paper-5-other")
    first, second = world.staff(Role.DESK), world.staff(Role.DESK)
    decided(second, proposed(first, "paper-5"))
    (row,) = consents(world, subject)
    case = opened(first, "paper-5-other")
    for deed in ("stop", "let-in"):
        answer = first.post(f"{case}/permissions/{deed}", form_of(first, f"{case}/paper") | {"key": row["key"]})
        assert (answer.status_code, code_of(answer)) == (404, "consent.unknown")
    assert consents(world, subject)[0]["in_force"]


def test_attack_a_permission_takes_no_effect_by_who_proposed_it(world):
    subject, _ = on_paper(world, "paper-6")
    browser = world.staff(Role.DESK, "Practitioner/alone")
    waiting = proposed(browser, "paper-6")
    for who in (browser, world.staff(Role.DESK, "Practitioner/alone")):
        assert code_of(decided(who, waiting)) == "attesting.same"
    assert consents(world, subject) == []


@pytest.mark.parametrize("person", ["", "PractitionerRole/surgeon"])
def test_attack_one_person_with_two_accounts_attests_as_two(world, person):
    """Somebody may have an account that names nobody, or one for each role, beside the first."""
    patient, named, nameless = (
        world.patient(f"paper-6-{len(person)}"),
        world.staff(Role.DESK),
        world.staff(Role.DESK, person),
    )
    case = opened(nameless, patient)
    assert code_of(nameless.post(f"{case}/enrolment", form_of(nameless, case) | METHOD)) == "attesting.person"
    case = opened(named, patient)
    waiting = named.post(f"{case}/enrolment", form_of(named, case) | METHOD).headers["Location"]
    answer = decided(nameless, waiting)
    assert (answer.status_code, code_of(answer)) == (403, "attesting.person")
    assert "请联系管理员" in answer.text
    assert world.site.accounts.see_ticket("desk-proposed", waiting.rpartition("/")[2], world.site.clock()) is not None


def test_what_fails_can_be_confirmed_again_and_once(world):
    subject, _ = on_paper(world, "paper-7")
    waiting, second = proposed(world.staff(Role.DESK), "paper-7"), world.staff(Role.DESK)
    attest = world.local.operations["consent.attest"]

    def away(_document):
        raise UnavailableError("submit.no_endorser")

    world.local.operations["consent.attest"] = away
    try:
        assert decided(second, waiting).status_code == 503
    finally:
        world.local.operations["consent.attest"] = attest
    assert decided(second, waiting).status_code == 303
    assert second.get(waiting).status_code == 404
    assert len(consents(world, subject)) == 1


def test_where_the_recipient_could_not_be_let_in_the_page_says_so_and_does_it(world):
    subject, _ = on_paper(world, "paper-8")
    second = world.staff(Role.DESK)
    give = world.local.operations["grant.give"]

    def away(_document):
        raise UnavailableError("submit.no_endorser")

    world.local.operations["grant.give"] = away
    try:
        place = decided(second, proposed(world.staff(Role.DESK), "paper-8")).headers["Location"] + "/permissions"
    finally:
        world.local.operations["grant.give"] = give
    assert "has not let the recipient in yet" in text_of(second.get(f"{place}?lang=en"))
    (row,) = consents(world, subject)
    assert second.post(f"{place}/let-in", form_of(second, place) | {"key": row["key"]}).status_code == 303
    assert "has not let the recipient in yet" not in text_of(second.get(f"{place}?lang=en"))
    assert consents(world, subject)[0]["grants"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipient": RENHE}, "Choose who may see"),
        ({"recipient": "nobody"}, "Choose who may see"),
        ({"purpose": "MARKT"}, "Choose what it is for"),
        ({"kind": []}, "Choose at least one kind"),
        ({"kind": ["tests", "everything"]}, "Choose at least one kind"),
        ({"kind": ["other"]}, "Choose at least one kind"),
        ({"sensitive": ["all"]}, "Choose at least one kind"),
        ({"days": "366"}, "Choose at least one kind"),
    ],
)
@pytest.mark.parametrize("step", ["preview", "propose"])
def test_attack_nothing_is_permitted_on_paper_that_is_not_offered(world, changes, said, step):
    if not world.patients.links.subjects_of(world.patients.token("paper-9")):
        on_paper(world, "paper-9")
    browser = world.staff(Role.DESK)
    answer = drafted(browser, opened(browser, "paper-9"), step, **changes)
    assert answer.status_code == 400
    assert said in text_of(answer)


def test_who_is_not_enrolled_permits_nothing_on_paper(world):
    browser = world.staff(Role.DESK)
    case = opened(browser, world.patient("paper-10"))
    assert browser.get(f"{case}/paper").status_code == 404
    form = form_of(browser, case) | TERMS | {"step": "propose"}
    assert browser.post(f"{case}/paper", form).status_code == 404
    assert "There is no permission" in text_of(browser.get(f"{case}/permissions?lang=en"))


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.AUDITOR, Role.ADMINISTRATOR, Role.PATIENT])
def test_attack_no_other_role_uses_the_paper_route(world, role):
    desk, browser = world.staff(Role.DESK), world.staff(role)
    case = opened(desk, world.patient(f"paper-{role}"))
    form = form_of(desk, case) | TERMS | {"method": "passport", "key": "0" * 64}
    # A clinician sees permissions by a case of the own; this one is the desk's.
    expected = [403, 404 if role is Role.CLINICIAN else 403]
    assert [browser.get(f"{case}/{page}").status_code for page in ("paper", "permissions")] == expected
    for page in ("enrolment", "paper", "permissions/stop", "permissions/let-in"):
        assert browser.post(f"{case}/{page}", form).status_code == 403


def test_a_stop_is_on_the_audit(world):
    subject, _ = on_paper(world, "paper-11")
    second = world.staff(Role.DESK, "Practitioner/stops")
    place = decided(second, proposed(world.staff(Role.DESK), "paper-11")).headers["Location"] + "/permissions"
    (row,) = consents(world, subject)
    second.post(f"{place}/stop", form_of(second, place) | {"key": row["key"]})
    world.core.catch_up()
    texts = [
        world.core.service.read("AuditEvent", one).content.decode()
        for one in world.core.search.ids("AuditEvent", "agent=Practitioner/stops", 50)
    ]
    assert [one for one in texts if "permission-stopped" in one and row["key"] in one]
