"""Notices, over whole nodes: who is told what, by every holder of a body, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consent.hiding import Hidden, hiding_terms
from medchain.errors import InputError, NotFoundError, VerificationError
from medchain.ledger.kinds.subject import Contact
from medchain.node.notices import OLD_S, TOPICS, URGENT, Addressee, NoticeBook, Told, note
from tests.unit.medchain.node.desks import phone_of, running_desks
from tests.unit.medchain.node.federation import ANXIN, RENHE, TONGJI
from tests.unit.medchain.node.test_subject_changes import MAIL, STAFF, TODAY, Someone, announced, consent, delegate, one

OTHER_MAIL = [{"address": "zhang@mail.example", "channel": "email"}]


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    with running_desks(tmp_path_factory.mktemp("desks")) as running:
        yield running


def told(desks, subject: str, org_id: str = RENHE, **more: object):
    """Make an organisation's notices, and list those for a subject, the oldest first."""
    desks.nodes[org_id].notices.round()
    rows = desks.local(org_id).call("notices.list", {"subjects": [subject], **more})["notices"]
    return sorted(rows, key=lambda row: (row["time"], row["version"]))


def kinds(rows):
    return [row["kind"] for row in rows]


def test_each_change_of_a_subject_is_told_once(desks):
    patient = Someone(desks, "told")
    patient.change("change-contacts", contacts=MAIL)
    rows = told(desks, patient.key)
    assert kinds(rows) == ["subject.enrol", "subject.change-contacts"]
    assert rows == told(desks, patient.key)
    assert (rows[1]["fields"], rows[1]["about"]) == ({"by": RENHE, "signers": [patient.key]}, patient.key)


def test_a_change_of_contacts_is_told_to_those_before_too(desks):
    patient = Someone(desks, "moved", contacts=MAIL)
    patient.change("change-contacts", contacts=OTHER_MAIL)
    rows = told(desks, patient.key)
    assert sorted(row["address"] for row in rows[1]["contacts"]) == ["li@mail.example", "zhang@mail.example"]


def test_a_hospital_cannot_hide_a_recovery_since_every_holder_tells_of_it(desks):
    patient = Someone(desks, "recovered", custodians=[TONGJI], contacts=MAIL)
    key = announced(desks, patient, phone_of("new"))
    for org_id in (RENHE, TONGJI):
        (row,) = [row for row in told(desks, patient.key, org_id) if row["kind"] == "recovery.announced"]
        assert (row["object"], row["fields"]["by"], row["contacts"]) == (key, TONGJI, MAIL)
    record = desks.federation.sites[RENHE].ledger.record(bytes.fromhex(key))
    endorsers = [name for name in desks.federation.sites if name not in {RENHE, TONGJI}]
    holders = [name for name in endorsers if desks.federation.sites[name].node.shelf.at(record.key, 1) is not None]
    assert len(holders) == 1
    assert "recovery.announced" in kinds(told(desks, patient.key, holders[0]))


def test_a_cancellation_is_told(desks):
    patient = Someone(desks, "cancelled", custodians=[TONGJI])
    key = announced(desks, patient, phone_of("thief"))
    tongji = desks.local(TONGJI)
    draft = tongji.call("recovery.draft-cancel", {"recovery": key})
    tongji.call("recovery.cancel", one(draft, patient.phone))
    desks.federation.sites[TONGJI].node.driver.outbox.step()
    desks.everywhere(key, 2)
    for org_id in (RENHE, TONGJI):
        (row,) = [row for row in told(desks, patient.key, org_id) if row["kind"] == "recovery.stopped"]
        assert row["fields"] == {"by": TONGJI}


def test_a_consent_is_told_by_the_independent_organisation_as_well(desks):
    patient = Someone(desks, "consenting", contacts=MAIL)
    given = consent(desks, patient)
    (row,) = [row for row in told(desks, patient.key) if row["kind"] == "consent.given"]
    assert (row["fields"]["recipient"], row["fields"]["signed"]) == (ANXIN, "passkey")
    (other,) = [row for row in told(desks, patient.key, given["endorser"]) if row["kind"] == "consent.given"]
    assert other["contacts"] == MAIL


def test_a_stop_by_an_organisation_is_told(desks):
    patient = Someone(desks, "stopped")
    given = consent(desks, patient)
    desks.nodes[RENHE].desk.stop(bytes.fromhex(given["key"]))
    desks.settle(given["key"], 2)
    (row,) = [row for row in told(desks, patient.key) if row["kind"] == "stopped"]
    assert row["fields"] == {"by": RENHE}


def test_a_hiding_that_an_organisation_ends_is_told_as_such(desks):
    patient = Someone(desks, "unhidden")
    hides = hiding_terms(Hidden.of_record("Observation/o1"), RENHE, patient.key, desks.federation.clock())
    given = consent(desks, patient, **hides)
    desks.nodes[RENHE].desk.stop(bytes.fromhex(given["key"]))
    desks.settle(given["key"], 2)
    (row,) = [row for row in told(desks, patient.key) if row["kind"].endswith("stopped")]
    assert (row["kind"], row["fields"]) == ("hiding.stopped", {"by": RENHE})


def test_guardians_and_delegates_are_told(desks):
    mother, helper = Someone(desks, "told-mother"), Someone(desks, "told-helper")
    guardians = [delegate(mother, "guardian")]
    child = Someone(desks, "told-child", credentials=[], guardians=guardians, of_age=TODAY + 400, staff=STAFF)
    about_child = [row for row in told(desks, mother.key) if row["about"] == child.key]
    assert sorted(kinds(about_child)) == ["delegate.named", "subject.enrol"]
    patient = Someone(desks, "told-patient")
    patient.change("name-delegate", delegate=delegate(helper, "helper"))
    patient.change("end-delegate", represented_by=helper.key)
    about_patient = [row for row in told(desks, helper.key) if row["about"] == patient.key]
    assert kinds(about_patient) == ["delegate.named", "delegate.ended"]
    assert about_patient[0]["fields"] == {"by": RENHE, "role": "helper"}


def test_both_are_told_that_a_delegation_was_stopped_and_by_whom(desks):
    patient, helper = Someone(desks, "told-ending"), Someone(desks, "told-ended")
    patient.change("name-delegate", delegate=delegate(helper, "helper"))
    key = patient.show()["delegates"][0]["delegate"]["delegation"]
    desks.nodes[RENHE].desk.stop(bytes.fromhex(key))
    desks.settle(key, 2)
    for person in (patient, helper):
        (row,) = [row for row in told(desks, person.key) if row["kind"] == "delegate.ended"]
        assert (row["about"], row["object"]) == (patient.key, key)
        assert row["fields"] == {"by": RENHE, "role": "helper"}


def test_a_notice_stays_until_its_addressee_has_seen_it(desks):
    patient, stranger = Someone(desks, "seeing"), Someone(desks, "stranger")
    (row,) = told(desks, patient.key)
    local = desks.local()
    with pytest.raises(NotFoundError, match=r"notice\.unknown"):
        local.call("notices.acknowledge", {"id": row["id"], "subjects": [stranger.key]})
    assert told(desks, patient.key)[0]["acknowledged"] is None
    local.call("notices.acknowledge", {"id": row["id"], "subjects": [patient.key]})
    (seen,) = told(desks, patient.key)
    assert seen["acknowledged"] is not None
    local.call("notices.acknowledge", {"id": row["id"], "subjects": [patient.key]})
    assert told(desks, patient.key) == [seen]


def test_a_patient_without_a_subject_is_told_by_its_local_id(desks):
    site, book = desks.federation.sites[RENHE], desks.nodes[RENHE].notices
    event = Told("emergency.access", b"", b"\x05" * 32, 1, 5, {"by": RENHE})
    assert book.tell(Addressee(patient=site.service.patient_token("p-9")), event)
    assert not book.tell(Addressee(patient=site.service.patient_token("p-9")), event)
    rows = desks.local().call("notices.list", {"patient": "p-9", "subjects": []})["notices"]
    assert [(row["kind"], row["patient"]) for row in rows] == [("emergency.access", True)]
    assert desks.local().call("notices.list", {"patient": "p-8", "subjects": []})["notices"] == []


def test_notices_lie_sealed_and_a_changed_one_does_not_open(desks):
    patient = Someone(desks, "sealed", contacts=MAIL)
    told(desks, patient.key)
    records = desks.federation.sites[RENHE].records
    (row,) = records.notices_of([bytes.fromhex(patient.key)])
    assert b"li@mail.example" not in row.sealed
    assert b"subject.enrol" not in row.sealed
    other = Someone(desks, "other-sealed")
    told(desks, other.key)
    (wrong,) = records.notices_of([bytes.fromhex(other.key)])
    assert records.drop_notices([row.subject], []) == 1
    records.put_notice(replace(row, sealed=wrong.sealed))
    with pytest.raises(VerificationError, match=r"store\.corrupt"):
        told(desks, patient.key)
    records.drop_notices([row.subject], [])


def test_erased_notices_are_gone(desks):
    patient = Someone(desks, "erased")
    told(desks, patient.key)
    records = desks.federation.sites[RENHE].records
    assert records.drop_notices([bytes.fromhex(patient.key)], [""]) == 1
    assert told(desks, patient.key) == []


def test_what_the_ledger_never_took_is_forgotten_and_what_it_may_still_take_is_not(desks):
    site, book = desks.federation.sites[RENHE], desks.nodes[RENHE].notices
    note(site.records, desks.federation.clock)(b"\x09" * 32, 1, "subject")
    assert book.round() == 1
    desks.federation.time += 2000
    assert book.round() == 1
    Someone(desks, "later")
    assert book.round() == 0


# Where word of them goes

LI = Contact("email", "li@mail.example")


def book_with_mail(desks, org_id: str = RENHE) -> NoticeBook:
    site = desks.federation.sites[org_id]
    return NoticeBook(site.node.judge, site.records, site.service, ["email"])


def ways(desks, who: str, *contacts: Contact, kind: str = "consent.given", age_s: int = 0, **fields: object):
    """Tell somebody something by a book that can send mail; list where word of it goes to each contact."""
    book, addressee = book_with_mail(desks), Addressee(who.encode().ljust(32))
    event = Told(kind, b"", b"\x06" * 32, 1, desks.federation.clock() - age_s, fields, contacts)
    assert book.tell(addressee, event)
    records = desks.federation.sites[RENHE].records
    return [way for contact in contacts for way in records.dispatches_to(book.place(addressee, contact))]


def test_word_goes_to_each_contact_that_a_channel_reaches(desks):
    (way,) = ways(desks, "mailed", LI, Contact("sms", "+861012345678"))
    assert (way.channel, way.urgent, way.code) == ("email", 0, "")
    assert book_with_mail(desks).contact(way) == (Addressee(b"mailed".ljust(32)), LI)


def test_without_a_channel_word_goes_nowhere(desks):
    assert ways(desks, "unmailed", Contact("sms", "+861012345678")) == []
    (row,) = desks.local().call("notices.list", {"subjects": [b"unmailed".ljust(32).hex()]})["notices"]
    assert (row["sent"], row["undelivered"]) == (None, False)


def test_a_place_names_the_contact_of_one_person_at_one_node(desks):
    book, mine = book_with_mail(desks), Addressee(b"\x01" * 32)
    others = [
        book_with_mail(desks, TONGJI).place(mine, LI),
        book.place(Addressee(b"\x02" * 32), LI),
        book.place(mine, Contact("sms", LI.address)),
    ]
    assert book.place(mine, LI) not in others
    assert book.place(mine, LI) == book_with_mail(desks).place(mine, LI)


def test_a_contact_that_a_notice_does_not_name_is_sent_nothing(desks):
    (way,) = ways(desks, "exchanged", LI)
    with pytest.raises(VerificationError, match=r"store\.corrupt"):
        book_with_mail(desks).contact(way._replace(place=b"\x01" * 16))


def test_what_happened_long_ago_is_no_news(desks):
    assert ways(desks, "old", LI, age_s=OLD_S + 1) == []
    assert len(ways(desks, "not-so-old", LI, age_s=OLD_S)) == 1


@pytest.mark.parametrize(
    ("kind", "urgent"), [("emergency.declared", 1), ("recovery.announced", 1), ("emergency.reviewed", 0)]
)
def test_an_emergency_and_a_recovery_are_urgent(desks, kind, urgent):
    (way,) = ways(desks, kind, LI, kind=kind)
    assert way.urgent == urgent


def test_what_did_not_arrive_is_listed_so(desks):
    desks.federation.sites[RENHE].records.put_off(ways(desks, "undelivered", LI), None, "dispatch.refused")
    (row,) = desks.local().call("notices.list", {"subjects": [b"undelivered".ljust(32).hex()]})["notices"]
    assert row["undelivered"]


# Of what no word is sent


def choose(desks, who: str, *quiet: str):
    subject = who.encode().ljust(32).hex()
    return desks.local().call("notices.choose", {"quiet": list(quiet), "subject": subject})


@pytest.mark.parametrize(
    ("topic", "kind"), [(topic, kind) for topic, kinds in sorted(TOPICS.items()) for kind in sorted(kinds)]
)
def test_of_what_a_person_has_switched_off_no_word_is_sent_and_the_notice_is_there(desks, topic, kind):
    quiet, other = f"quiet {kind}", f"other {kind}"
    choose(desks, quiet, topic)
    choose(desks, other, *sorted(TOPICS.keys() - {topic}))
    for who, count in ((quiet, 0), (other, 1)):
        subject = who.encode().ljust(32).hex()
        assert len(ways(desks, who, LI, kind=kind, signed="passkey", signers=[subject])) == count
        (row,) = desks.local().call("notices.list", {"subjects": [subject]})["notices"]
        assert row["kind"] == kind


@pytest.mark.parametrize(
    "kind",
    [
        *sorted(URGENT),
        "emergency.reviewed",
        "recovery.stopped",
        "hiding.stopped",
        "delegate.named",
        "delegate.ended",
        "subject.add-passkey",
        "subject.change-contacts",
        "subject.dispute",
        "a.kind.of.later",
    ],
)
def test_attack_word_of_emergencies_and_of_what_may_be_a_thiefs_work_cannot_be_switched_off(desks, kind):
    choose(desks, f"all {kind}"[:32], *TOPICS)
    assert len(ways(desks, f"all {kind}"[:32], LI, kind=kind)) == 1


@pytest.mark.parametrize("signers", [None, [], ["22" * 32], "both"])
def test_attack_word_of_what_others_signed_in_a_persons_name_cannot_be_switched_off(desks, signers):
    who = f"named {signers}"[:32]
    choose(desks, who, *TOPICS)
    own = who.encode().ljust(32).hex()
    fields = {} if signers is None else {"signers": [own, "22" * 32] if signers == "both" else signers}
    assert len(ways(desks, who, LI, signed="passkey", **fields)) == 1


def test_attack_word_of_what_staff_attest_in_a_persons_name_cannot_be_switched_off(desks):
    choose(desks, "on paper", *TOPICS)
    own = b"on paper".ljust(32).hex()
    assert len(ways(desks, "on paper", LI, signed="staff", signers=[own])) == 1


def test_what_is_no_topic_is_not_chosen_and_nothing_changes(desks):
    choose(desks, "chooses", "law")
    for wrong in ("emergencies", "emergency.declared", ""):
        with pytest.raises(InputError, match=r"notice\.topic"):
            choose(desks, "chooses", "permissions", wrong)
    asked = {"subject": b"chooses".ljust(32).hex()}
    assert desks.local().call("notices.choice", asked) == {"quiet": ["law"]}
