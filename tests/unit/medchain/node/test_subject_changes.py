"""Passkeys, delegates, guardians, recoveries, deaths and joinings, over whole nodes, through the local operations."""

from __future__ import annotations

import pytest

from medchain.crypto.assertion import encode_credential_key
from medchain.encoding import base64_text
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.ledger.kinds.subject import RECIPIENT_FIELDS
from medchain.node.assembly import LocalOperations
from medchain.node.subjects import LinkedPatients
from medchain.web.peer import local_routes
from medchain.web.routing import Router
from tests.unit.medchain.node.desks import phone_of, running_desks, terms
from tests.unit.medchain.node.federation import ANXIN, DAY_S, NOW, ORIGIN, RENHE, TONGJI

TODAY = NOW // DAY_S
STAFF = ["doctor", "nurse"]
MAIL = [{"address": "li@mail.example", "channel": "email"}]


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    with running_desks(tmp_path_factory.mktemp("desks")) as running:
        yield running


@pytest.fixture
def renhe(desks):
    return desks.local()


def credential(phone):
    return {
        "credential_id": base64_text(phone.credential_id),
        "public_key": base64_text(encode_credential_key(phone.credential)),
    }


def answer(phone, challenge: str, origin: str = ORIGIN):
    given = phone.sign(bytes.fromhex(challenge), origin)
    names = ("authenticator_data", "client_data_json", "credential_id", "signature")
    return {name: base64_text(getattr(given, name)) for name in names}


def answered(draft, *phones: object, **more: object):
    rows = [answer(phone, challenge) for phone, challenge in zip(phones, draft["challenges"], strict=True)]
    return {"assertions": rows, "draft": draft["draft"], **more}


def one(draft, phone, **more: object):
    return {"assertion": answer(phone, draft["challenge"]), "draft": draft["draft"], **more}


class Someone:
    """A person enrolled at Renhe."""

    def __init__(self, desks, name: str, **more: object) -> None:
        """Enrol somebody."""
        self.desks, self.phone = desks, phone_of(name)
        asked = {"credentials": [credential(self.phone)], "custodians": [], "method": "identity-card", "patient": name}
        done = desks.local().call("subject.enrol", asked | more)
        self.key = done["key"]
        desks.everywhere(self.key, 1)

    def change(self, operation: str, *phones: object, staff=None, **fields: object):
        """Draft a change, have phones sign it, and submit it."""
        local = self.desks.local()
        draft = local.call("subject.draft", {"operation": operation, "subject": self.key, **fields})
        more = {} if staff is None else {"staff": staff}
        done = local.call("subject.change", answered(draft, *(phones or (self.phone,)), **more))
        self.desks.everywhere(self.key, done["version"])
        return done

    def show(self, org_id: str = RENHE):
        return self.desks.local(org_id).call("subject.show", {"subject": self.key})


def consent(desks, signer: Someone, *phones: object, **changes: object):
    local = desks.local()
    draft = local.call("consent.draft", terms(signer.key) | changes)
    first, *others = phones or (signer.phone,)
    signed = one(draft, first)
    if others:
        signed["joined"] = [
            answer(phone, challenge) for phone, challenge in zip(others, draft["challenges"][1:], strict=True)
        ]
    return local.call("consent.give", signed)


def delegate(person: Someone, role: str, **limits: object):
    row = {"may": ["consent", "read", "stop"], "resource_types": ["*"], "role": role, "subject": person.key}
    return row | {"until": TODAY + 3650} | limits


def test_each_operation_has_a_name_by_which_the_nodes_own_workers_reach_it(renhe):
    router = Router("local", local_routes(LocalOperations(renhe.operations)), local_secret="s" * 64)
    assert "recovery.draft-cancel" in renhe.operations
    for name in renhe.operations:
        assert router.find("POST", f"/local/{name}")[1] == {"operation": name}


def test_a_further_passkey_signs_and_a_lost_one_does_not_any_more(desks, renhe):
    patient, tablet = Someone(desks, "two-phones"), phone_of("tablet")
    patient.change("add-passkey", credential=credential(tablet))
    assert consent(desks, patient, tablet)["version"] == 1
    patient.change("remove-passkey", tablet, credential_id=base64_text(patient.phone.credential_id))
    with pytest.raises(VerificationError, match=r"signing\.credential"):
        consent(desks, patient)
    shown = patient.show()
    assert [row["credential_id"] for row in shown["passkeys"]] == [base64_text(tablet.credential_id)]
    found = renhe.call("subject.find", {"credential_id": base64_text(tablet.credential_id)})
    assert found == {"subjects": [patient.key]}
    lost = renhe.call("subject.find", {"credential_id": base64_text(patient.phone.credential_id)})
    assert lost == {"subjects": []}


def test_a_recipient_sees_that_the_patient_withdrew_with_a_passkey_added_later(desks, renhe):
    patient, tablet = Someone(desks, "later-phone"), phone_of("later-tablet")
    given = consent(desks, patient)
    patient.change("add-passkey", credential=credential(tablet))
    draft = renhe.call("withdrawal.draft", {"consent": given["key"]})
    renhe.call("withdrawal.give", one(draft, tablet))
    desks.federation.sites[RENHE].node.driver.outbox.step()
    desks.everywhere(given["key"], 2)
    insurer = desks.federation.sites[ANXIN].node
    assert set(insurer.shelf.head(bytes.fromhex(patient.key))[1].content) == RECIPIENT_FIELDS
    assert insurer.stops.ending(bytes.fromhex(given["key"])).how.value == "patient"


def test_a_custodian_releases_nothing_of_a_subject_that_no_person_joined_there(desks):
    invented = Someone(desks, "invented", custodians=[TONGJI])
    site = desks.federation.sites[TONGJI]
    assert site.node.shelf.head(bytes.fromhex(invented.key)) is not None
    assert LinkedPatients(site.records).token(bytes.fromhex(invented.key)) is None


def test_a_change_that_is_signed_at_a_log_in_page_is_refused(desks, renhe):
    patient = Someone(desks, "log-in")
    asked = {"contacts": MAIL, "operation": "change-contacts", "subject": patient.key}
    draft = renhe.call("subject.draft", asked)
    rows = [answer(patient.phone, draft["challenge"], "https://renhe-hospital.example")]
    with pytest.raises(VerificationError, match=r"assertion\.origin"):
        renhe.call("subject.change", {"assertions": rows, "draft": draft["draft"]})


def test_a_draft_that_another_change_overtook_is_refused(desks, renhe):
    patient = Someone(desks, "overtaken")
    draft = renhe.call("subject.draft", {"contacts": MAIL, "operation": "change-contacts", "subject": patient.key})
    patient.change("change-contacts", contacts=MAIL)
    with pytest.raises(ConflictError, match=r"transaction\.version"):
        renhe.call("subject.change", answered(draft, patient.phone))
    assert patient.show()["contacts"] == MAIL


def test_fewer_answers_than_challenges_are_refused(desks, renhe):
    patient = Someone(desks, "fewer")
    draft = renhe.call("subject.draft", {"contacts": MAIL, "operation": "change-contacts", "subject": patient.key})
    with pytest.raises(InputError, match=r"draft\.assertions"):
        renhe.call("subject.change", {"assertions": [], "draft": draft["draft"]})


def test_a_helper_signs_within_limits_until_the_person_ends_it(desks, renhe):
    patient, helper = Someone(desks, "helped"), Someone(desks, "helper")
    limits = delegate(helper, "helper", resource_types=["Observation"])
    patient.change("name-delegate", delegate=limits)
    (row,) = renhe.call("subject.represented", {"subject": helper.key})["represented"]
    assert row["delegate"] == limits | {"delegation": row["delegate"]["delegation"]}
    assert (row["named"], row["subject"]) == ({"time": desks.federation.time, "version": 2}, patient.key)
    assert consent(desks, helper, acting_for=patient.key)["version"] == 1
    with pytest.raises(VerificationError, match=r"consent\.delegate"):
        consent(desks, helper, acting_for=patient.key, resource_types=["Condition"])
    patient.change("end-delegate", represented_by=helper.key)
    with pytest.raises(VerificationError, match=r"consent\.delegate"):
        consent(desks, helper, acting_for=patient.key)
    assert renhe.call("subject.represented", {"subject": helper.key}) == {"represented": []}


def test_a_delegate_gives_up_its_own_place(desks):
    patient, proxy = Someone(desks, "with-proxy"), Someone(desks, "proxy")
    patient.change("name-delegate", delegate=delegate(proxy, "proxy"))
    patient.change("end-delegate", proxy.phone, represented_by=proxy.key, signers=[proxy.key])
    assert patient.show()["delegates"] == []


def end(desks, key: str, signer: Someone, org_id: str = RENHE) -> None:
    """Have a delegation ended with a signature, at one node, and wait until all have it."""
    local = desks.local(org_id)
    draft = local.call("delegation.draft-end", {"delegation": key, "signer": signer.key})
    assert local.call("delegation.end", one(draft, signer.phone)) == {"object": key, "stopped": True}


def settled(desks, key: str, org_id: str = RENHE) -> None:
    desks.federation.sites[org_id].node.driver.outbox.step()
    desks.everywhere(key, 2)


def delegation_of(patient: Someone) -> str:
    (row,) = patient.show()["delegates"]
    return row["delegate"]["delegation"]


def test_a_delegation_ends_at_once_here_and_with_its_place_on_the_ledger_everywhere(desks, renhe):
    patient, helper = Someone(desks, "ending", custodians=[TONGJI]), Someone(desks, "ended")
    patient.change("name-delegate", delegate=delegate(helper, "helper"))
    before = consent(desks, helper, acting_for=patient.key)
    key = delegation_of(patient)
    assert patient.show(TONGJI)["delegates"][0]["in_force"]
    end(desks, key, patient)
    # Heard, and not ordered yet: this node obeys already, and so does who was told.
    assert not patient.show()["delegates"][0]["in_force"]
    assert not patient.show(TONGJI)["delegates"][0]["in_force"]
    assert renhe.call("subject.represented", {"subject": helper.key}) == {"represented": []}
    with pytest.raises(VerificationError, match=r"consent\.delegate"):
        consent(desks, helper, acting_for=patient.key)
    settled(desks, key)
    for org_id in (RENHE, TONGJI, ANXIN):
        site = desks.federation.sites[org_id]
        assert site.ledger.record(bytes.fromhex(key)).status == "stopped"
    ending = desks.federation.sites[TONGJI].node.stops.ending(bytes.fromhex(key))
    assert ending.how.value == "patient"
    # What was signed before the end stays, also for who judges it for the first time after it.
    desks.federation.crash(ANXIN)
    assert desks.federation.sites[ANXIN].node.shelf.head(bytes.fromhex(before["key"])) is not None


def test_somebody_whose_delegation_has_ended_is_named_again(desks):
    patient, helper = Someone(desks, "again"), Someone(desks, "again-helper")
    patient.change("name-delegate", delegate=delegate(helper, "helper"))
    first = delegation_of(patient)
    end(desks, first, patient)
    settled(desks, first)
    patient.change("name-delegate", delegate=delegate(helper, "helper", may=["read"]))
    (row,) = patient.show()["delegates"]
    assert (row["in_force"], row["delegate"]["may"]) == (True, ["read"])
    assert row["delegate"]["delegation"] != first


def test_who_may_only_read_resigns_at_another_custodian(desks):
    patient, helper = Someone(desks, "read-only", custodians=[TONGJI]), Someone(desks, "resigning")
    patient.change("name-delegate", delegate=delegate(helper, "helper", may=["read"]))
    key, tongji = delegation_of(patient), desks.federation.sites[TONGJI].node
    end(desks, key, helper, TONGJI)
    settled(desks, key, TONGJI)
    assert tongji.stops.ending(bytes.fromhex(key)).how.value == "patient"
    assert not patient.show()["delegates"][0]["in_force"]


def test_a_custodian_that_was_linked_later_can_stop_a_delegation(desks):
    patient, helper = Someone(desks, "linked-later"), Someone(desks, "linked-helper")
    patient.change("name-delegate", delegate=delegate(helper, "proxy"))
    key = delegation_of(patient)
    patient.change("link", custodians=[RENHE, TONGJI])
    end(desks, key, patient, TONGJI)
    settled(desks, key, TONGJI)
    assert not patient.show()["delegates"][0]["in_force"]
    assert desks.federation.sites[RENHE].node.stops.ending(bytes.fromhex(key)).by == TONGJI


def test_a_holder_stops_a_delegation_without_a_signature_and_is_named(desks):
    patient, helper = Someone(desks, "unsigned", custodians=[TONGJI]), Someone(desks, "unsigned-helper")
    patient.change("name-delegate", delegate=delegate(helper, "helper"))
    key = delegation_of(patient)
    desks.federation.sites[TONGJI].node.stops.stop(bytes.fromhex(key))
    settled(desks, key, TONGJI)
    ending = desks.federation.sites[RENHE].node.stops.ending(bytes.fromhex(key))
    assert (ending.how.value, ending.by) == ("organisation", TONGJI)
    assert not patient.show()["delegates"][0]["in_force"]


def test_a_naming_whose_delegation_is_there_already_goes_on(desks, renhe):
    patient, helper = Someone(desks, "tried-again"), Someone(desks, "tried-helper")
    asked = {"delegate": delegate(helper, "helper"), "operation": "name-delegate", "subject": patient.key}
    draft = renhe.call("subject.draft", asked)
    with pytest.raises(VerificationError, match=r"signing\.credential"):
        renhe.call("subject.change", answered(draft, helper.phone))
    assert patient.show()["delegates"] == []
    assert renhe.call("subject.represented", {"subject": helper.key}) == {"represented": []}
    renhe.call("subject.change", answered(draft, patient.phone))
    assert patient.show()["delegates"][0]["in_force"]


def test_an_end_of_what_is_not_here_or_over_is_not_drafted(desks, renhe):
    patient, helper = Someone(desks, "nothing-left"), Someone(desks, "nothing-helper")
    asked = {"delegation": "00" * 32, "signer": patient.key}
    with pytest.raises(NotFoundError, match=r"delegation\.unknown"):
        renhe.call("delegation.draft-end", asked)
    patient.change("name-delegate", delegate=delegate(helper, "helper"))
    key = delegation_of(patient)
    end(desks, key, patient)
    settled(desks, key)
    with pytest.raises(ConflictError, match=r"stop\.not_stoppable"):
        renhe.call("delegation.draft-end", asked | {"delegation": key})


def test_guardians_who_disagree_permit_together_only(desks):
    mother, father = Someone(desks, "mother"), Someone(desks, "father")
    guardians = [delegate(mother, "guardian"), delegate(father, "guardian")]
    child = Someone(desks, "child", credentials=[], guardians=guardians, of_age=TODAY + 400, staff=STAFF)
    assert child.show()["minor"]
    assert consent(desks, mother, acting_for=child.key)["version"] == 1
    child.change("dispute", father.phone, signers=[father.key])
    with pytest.raises(VerificationError, match=r"consent\.guardians"):
        consent(desks, mother, acting_for=child.key)
    given = consent(desks, mother, mother.phone, father.phone, acting_for=child.key, joined=[father.key])
    draft = desks.local().call("withdrawal.draft", {"consent": given["key"], "signer": father.key})
    assert desks.local().call("withdrawal.give", one(draft, father.phone))["stopped"]
    pens = [person.phone for person in sorted((mother, father), key=lambda person: person.key)]
    child.change("settle", *pens)
    assert not child.show()["disputed"]


def test_the_patient_links_a_hospital_and_joins_it_there(desks):
    patient = Someone(desks, "moving")
    tongji = desks.local(TONGJI)
    with pytest.raises(NotFoundError, match=r"subject\.unknown"):
        desks.local(ANXIN).call("subject.draft-join", {"patient": "t-1", "subject": patient.key})
    patient.change("link", custodians=[RENHE, TONGJI])
    draft = tongji.call("subject.draft-join", {"patient": "t-1", "subject": patient.key})
    with pytest.raises(VerificationError, match=r"signing\.credential"):
        tongji.call("subject.join", one(draft, phone_of("thief"), patient="t-1"))
    with pytest.raises(VerificationError, match=r"subject\.joining"):
        tongji.call("subject.join", one(draft, patient.phone, patient="t-2"))
    assert tongji.call("subject.join", one(draft, patient.phone, patient="t-1")) == {"linked": True}
    site = desks.federation.sites[TONGJI]
    assert site.records.patient_of(bytes.fromhex(patient.key)) == site.service.patient_token("t-1")
    patient.change("unlink", custodians=[RENHE])
    assert patient.show()["custodians"] == [RENHE]


def test_a_subject_is_changed_where_it_was_enrolled(desks):
    patient = Someone(desks, "elsewhere", custodians=[TONGJI])
    asked = {"contacts": MAIL, "operation": "change-contacts", "subject": patient.key}
    with pytest.raises(ConflictError, match=r"subject\.elsewhere") as caught:
        desks.local(TONGJI).call("subject.draft", asked)
    assert caught.value.fields["org_id"] == RENHE


def test_after_a_death_nothing_new_is_permitted_until_it_is_found_to_be_a_mistake(desks, renhe):
    patient = Someone(desks, "mourned")
    before = consent(desks, patient)
    renhe.call("subject.declare-death", {"method": "certificate", "staff": STAFF, "subject": patient.key})
    desks.everywhere(patient.key, 2)
    assert patient.show()["standing"]["state"] == "dead"
    with pytest.raises(VerificationError, match=r"consent\.dead"):
        consent(desks, patient)
    draft = renhe.call("withdrawal.draft", {"consent": before["key"]})
    with pytest.raises(VerificationError, match=r"consent\.dead"):
        renhe.call("withdrawal.give", one(draft, patient.phone))
    with pytest.raises(VerificationError, match=r"subject\.attested"):
        patient.change("restore")
    patient.change("restore", staff=STAFF)
    assert consent(desks, patient)["version"] == 1


def announced(desks, patient, phone, org_id: str = TONGJI):
    asked = {"credentials": [credential(phone)], "method": "identity-card", "staff": STAFF, "subject": patient.key}
    done = desks.local(org_id).call("recovery.announce", asked)
    desks.everywhere(done["key"], 1)
    return done["key"]


def test_lost_passkeys_are_replaced_after_the_wait_and_not_before(desks, renhe):
    patient, new = Someone(desks, "lost", custodians=[TONGJI]), phone_of("new")
    key = announced(desks, patient, new)
    (row,) = patient.show()["recoveries"]
    assert (row["by"], row["key"], row["carry_out_from"] - row["announced"]) == (TONGJI, key, 7 * DAY_S)
    with pytest.raises(VerificationError, match=r"subject\.waiting"):
        renhe.call("recovery.carry-out", {"recovery": key})
    desks.federation.time += 7 * DAY_S
    done = renhe.call("recovery.carry-out", {"recovery": key})
    desks.everywhere(patient.key, done["version"])
    period = {"end": desks.federation.time + DAY_S, "start": desks.federation.time}
    assert consent(desks, patient, new, period=period)["version"] == 1
    with pytest.raises(VerificationError, match=r"signing\.credential"):
        consent(desks, patient, period=period)
    assert patient.show()["recoveries"] == []
    with pytest.raises(VerificationError, match=r"subject\.recovery"):
        renhe.call("recovery.carry-out", {"recovery": key})


def test_a_recovery_is_cancelled_through_any_holder_and_then_not_carried_out(desks, renhe):
    patient = Someone(desks, "found-it", custodians=[TONGJI])
    key = announced(desks, patient, phone_of("thief"))
    tongji = desks.local(TONGJI)
    draft = tongji.call("recovery.draft-cancel", {"recovery": key})
    with pytest.raises(VerificationError, match=r"signing\.credential"):
        tongji.call("recovery.cancel", one(draft, phone_of("thief")))
    assert tongji.call("recovery.cancel", one(draft, patient.phone))["stopped"]
    assert patient.show(TONGJI)["recoveries"] == []
    desks.federation.sites[TONGJI].node.driver.outbox.step()
    desks.everywhere(key, 2)
    ending = desks.federation.sites[RENHE].node.stops.ending(bytes.fromhex(key))
    assert (ending.how.value, ending.by) == ("patient", TONGJI)
    desks.federation.time += 7 * DAY_S
    with pytest.raises(ConflictError, match=r"transaction\.stopped"):
        renhe.call("recovery.carry-out", {"recovery": key})
    with pytest.raises(ConflictError, match=r"stop\.not_stoppable"):
        tongji.call("recovery.draft-cancel", {"recovery": key})


def test_any_other_change_by_the_patient_makes_a_recovery_void(desks, renhe):
    patient = Someone(desks, "still-there", custodians=[TONGJI])
    key = announced(desks, patient, phone_of("thief"))
    patient.change("change-contacts", contacts=MAIL)
    assert patient.show()["recoveries"] == []
    desks.federation.time += 7 * DAY_S
    with pytest.raises(VerificationError, match=r"subject\.recovery"):
        renhe.call("recovery.carry-out", {"recovery": key})


def test_an_enroller_does_not_recover_alone(desks):
    patient = Someone(desks, "taken-over")
    with pytest.raises(VerificationError, match=r"recovery\.second"):
        announced(desks, patient, phone_of("thief"), RENHE)


def test_who_holds_nothing_of_a_person_announces_no_recovery(desks):
    patient = Someone(desks, "unknown-there")
    with pytest.raises(NotFoundError, match=r"subject\.unknown"):
        announced(desks, patient, phone_of("thief"), ANXIN)


def test_a_guardian_is_put_in_for_who_cannot_decide(desks, renhe):
    patient, guardian = Someone(desks, "weak", custodians=[TONGJI]), Someone(desks, "guardian")
    asked = {
        "guardians": [delegate(guardian, "guardian")],
        "incapable": True,
        "method": "court-order",
        "staff": STAFF,
        "subject": patient.key,
    }
    key = desks.local(TONGJI).call("recovery.announce", asked)["key"]
    desks.everywhere(key, 1)
    desks.federation.time += 7 * DAY_S
    done = renhe.call("recovery.carry-out", {"recovery": key})
    desks.everywhere(patient.key, done["version"])
    shown = patient.show()
    assert (shown["standing"]["state"], shown["delegates"][0]["in_force"]) == ("incapable", True)
    period = {"end": desks.federation.time + DAY_S, "start": desks.federation.time}
    with pytest.raises(VerificationError, match=r"consent\.incapable"):
        consent(desks, patient, period=period)
    assert consent(desks, guardian, acting_for=patient.key, period=period)["version"] == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"operation": "enrol"},
        {"operation": "add-passkey"},
        {"operation": "dispute", "signers": []},
        {"operation": "settle"},
    ],
)
def test_a_change_that_lacks_something_is_refused(desks, renhe, asked):
    patient = Someone(desks, "incomplete-" + asked["operation"])
    with pytest.raises(InputError):
        renhe.call("subject.draft", {"subject": patient.key, **asked})


def test_a_recovery_of_both_or_nothing_is_refused(desks):
    patient = Someone(desks, "both", custodians=[TONGJI])
    asked = {"method": "identity-card", "staff": STAFF, "subject": patient.key}
    for more in ({}, {"credentials": [], "guardians": []}):
        with pytest.raises(InputError, match=r"recovery\.operation"):
            desks.local(TONGJI).call("recovery.announce", asked | more)


def test_an_unknown_subject_is_not_shown(renhe):
    with pytest.raises(NotFoundError, match=r"subject\.unknown"):
        renhe.call("subject.show", {"subject": "00" * 32})
