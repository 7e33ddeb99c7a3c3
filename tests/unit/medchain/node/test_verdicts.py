"""Every holder judges the bodies that it is given: members that lie about their own objects, on whole nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.encoding import parse_canonical, unbase64
from medchain.errors import ConflictError, NotFoundError, VerificationError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.kinds import consent as consents
from medchain.ledger.kinds import signing
from medchain.ledger.kinds.capacity import Delegate
from medchain.ledger.kinds.delegation import Delegation
from medchain.ledger.kinds.emergency import Emergency, Objection, Review
from medchain.ledger.kinds.subject import RECIPIENT_FIELDS
from medchain.ledger.machine import seed_heights
from medchain.ledger.object import Body, StateRecord, build_body, map_key, stop_hash
from medchain.ledger.policy import draw_order
from medchain.ledger.request import access_key
from medchain.ledger.transaction import (
    Change,
    Draw,
    ObjectRow,
)
from medchain.node import verdicts
from medchain.node.bodies import Verdict
from medchain.node.emergency import EMERGENCY, EmergencyBook
from medchain.node.endorse import endorse_request
from medchain.node.notices import NoticeBook
from medchain.node.proofs import prove_disclosures
from medchain.node.sealed_body import OpenedBody, seal_body
from medchain.node.submit import Draft
from medchain.node.verdicts import REFUSED, Verdicts
from medchain.store import watching
from tests.unit.medchain.ledger.world import TAIPING, fresh, genesis, key
from tests.unit.medchain.node.exchanges import ANXIN, RENHE, Exchange, Federation, observation
from tests.unit.medchain.node.federation import COMMISSION, TONGJI, Patient, grant
from tests.unit.medchain.node.liar import Liar, invented

NOTHING = bytes(32)


@pytest.fixture(scope="module")
def exchange(federation):
    """A patient with one record, her consent and a grant."""
    made = Exchange(federation)
    made.open()
    made.store(observation(1))
    return made


def happened(federation: Federation, **changes: object) -> Emergency:
    made = Emergency(
        RENHE, RENHE, "p", "Dr Li", "curiosity", NOTHING, 400, NOTHING, NOTHING, federation.time - 3 * 86400
    )
    return replace(made, **changes)


def listed(federation: Federation, org_id: str = COMMISSION) -> dict[str, dict]:
    site = federation.sites[org_id]
    judge = site.node.judge
    book = EmergencyBook(judge, site.records, site.node.submitter, NoticeBook(judge, site.records, site.service), fresh)
    rows = book.operations()["emergency.list"]({})["emergencies"]
    return {row["key"]: row for row in rows}


def alarms(federation: Federation, org_id: str, object_key: bytes) -> list[tuple]:
    """Return who is named for an object, of which version and why."""
    site = federation.sites[org_id]
    site.node.verdicts.settle()
    told = [parse_canonical(row.fields, max_bytes=4096) for row in site.records.alarms(code=REFUSED)]
    assert all(row.keys() == {"creator", "kind", "object", "reason", "version"} for row in told)
    return [(row["creator"], row["version"], row["reason"]) for row in told if row["object"] == object_key.hex()]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({"x": 1}, "body.malformed"),
        ({"custodian": RENHE, "recipient": RENHE}, "body.malformed"),
        (None, "emergency.custodian"),
    ],
)
def test_attack_a_member_tells_junk_or_an_emergency_of_a_hospital_and_no_list_has_it(federation, content, code):
    before = listed(federation)
    liar, object_id = Liar(federation, ANXIN), fresh(16)
    body = build_body(EMERGENCY, content or happened(federation).to_content(), None, fresh)
    item = OpenedBody(map_key(EMERGENCY, ANXIN, object_id), 1, body)
    payload = liar.payload(Change(EMERGENCY, "active", (ObjectRow(object_id, 1, body.body_hash),)))
    with pytest.raises(VerificationError, match=code.replace(".", r"\.")):
        liar.push(COMMISSION, payload, item)
    liar.order(payload, item)
    with pytest.raises(VerificationError, match=code.replace(".", r"\.")):
        liar.push(COMMISSION, payload, item)
    assert listed(federation) == before
    assert alarms(federation, COMMISSION, item.object) == [(ANXIN, 1, code)]


def test_what_was_taken_unread_before_hides_no_other_row_and_raises_an_alarm(federation):
    liar, object_id = Liar(federation, ANXIN), fresh(16)
    honest = Liar(federation, RENHE).emergency(fresh(16), 1, happened(federation).to_content())
    body = build_body(EMERGENCY, {"x": 1}, None, fresh)
    item = OpenedBody(map_key(EMERGENCY, ANXIN, object_id), 1, body)
    payload = liar.payload(Change(EMERGENCY, "active", (ObjectRow(object_id, 1, body.body_hash),)))
    federation.sites[COMMISSION].node.shelf.keep(item.object, 1, body)
    assert honest.hex() in listed(federation)
    assert item.object.hex() not in listed(federation)
    liar.order(payload, item)
    assert honest.hex() in listed(federation)
    assert item.object.hex() not in listed(federation)
    assert alarms(federation, COMMISSION, item.object) == [(ANXIN, 1, "body.malformed")]


@pytest.mark.parametrize("status", ["active", "ended"])
def test_attack_a_custodian_rewrites_an_emergency(federation, status):
    liar, object_id, now = Liar(federation, RENHE), fresh(16), federation.time
    first = happened(federation)
    where = liar.emergency(object_id, 1, first.to_content())
    assert alarms(federation, COMMISSION, where) == []
    told = listed(federation)[where.hex()]
    other = (
        {"review": Review("Dr Li", "justified", now)}
        if status == "ended"
        else {"objection": Objection("patient", "no", now)}
    )
    second = replace(first, staff="Dr Wang", reason="unconscious", count=1, time=now, **other)
    liar.emergency(object_id, 2, second.to_content(), status)
    shown = listed(federation)[where.hex()]
    assert (shown["staff"], shown["reason"], shown["due"]) == ("Dr Li", "curiosity", told["due"])
    assert (shown["objection"], shown["review"]) == (None, None)
    assert alarms(federation, COMMISSION, where) == [(RENHE, 2, "emergency.changed")]
    # What follows it stands on it: the chain does not become good again.
    if status == "active":
        closed = replace(second, review=Review("Dr Li", "justified", now))
        liar.emergency(object_id, 3, closed.to_content(), "ended")
        shown = listed(federation)[where.hex()]
        assert (shown["staff"], shown["review"]) == ("Dr Li", None)
    # An acknowledged alarm does not come back with a restart, which judges anew.
    records = federation.sites[COMMISSION].records
    for row in records.alarms(code=REFUSED):
        records.acknowledge(row.id, "asked", now)
    federation.crash(COMMISSION)
    assert listed(federation)[where.hex()]["staff"] == "Dr Li"
    assert alarms(federation, COMMISSION, where) == []


def test_attack_a_member_tells_so_much_that_is_false_that_anothers_lie_would_raise_no_alarm(federation, monkeypatch):
    """Beside 1,000 open alarms of a code no other is kept."""
    before = len(federation.sites[COMMISSION].records.alarms(code=REFUSED))
    monkeypatch.setattr(watching, "MAX_OPEN_ALARMS", before + 4)
    monkeypatch.setattr(verdicts, "MAX_ALARMS_EACH", 2)
    named = []
    for org_id in (TONGJI, TONGJI, TONGJI, TAIPING):
        liar, object_id = Liar(federation, org_id), fresh(16)
        body = build_body(EMERGENCY, {"x": 1}, None, fresh)
        item = OpenedBody(map_key(EMERGENCY, org_id, object_id), 1, body)
        federation.sites[COMMISSION].node.shelf.keep(item.object, 1, body)
        federation.sites[COMMISSION].node.verdicts.note(item.object, 1)
        liar.order(liar.payload(Change(EMERGENCY, "active", (ObjectRow(object_id, 1, body.body_hash),))), item)
        named.append(alarms(federation, COMMISSION, item.object))
    assert named == [[(TONGJI, 1, "body.malformed")]] * 2 + [[], [(TAIPING, 1, "body.malformed")]]


def test_an_emergency_is_told_reviewed_and_objected_to_and_passes(federation):
    honest, object_id, now = Liar(federation, RENHE), fresh(16), federation.time
    first = happened(federation)
    objected = replace(first, objection=Objection("patient", "no", now))
    reviewed = replace(objected, review=Review("officer", "justified", now))
    where = honest.emergency(object_id, 1, first.to_content())
    honest.emergency(object_id, 2, objected.to_content())
    honest.emergency(object_id, 3, reviewed.to_content(), "ended")
    assert listed(federation)[where.hex()]["review"]["by"] == "officer"
    assert alarms(federation, COMMISSION, where) == []


def test_a_version_whose_predecessor_was_withheld_breaks_no_rule_and_the_first_one_is_judged_when_it_comes(federation):
    liar, object_id, now = Liar(federation, RENHE), fresh(16), federation.time
    first = happened(federation)
    where = liar.emergency(object_id, 1, first.to_content(), told=False)
    liar.emergency(object_id, 2, replace(first, staff="Dr Wang", objection=Objection("p", "no", now)).to_content())
    site = federation.sites[COMMISSION]
    record, body = site.ledger.record(where), site.node.shelf.held_at(where, 2)
    assert site.node.verdicts.verdict(record, body) is Verdict.OPEN
    assert alarms(federation, COMMISSION, where) == []


def test_attack_a_custodian_invents_a_disclosure_and_the_one_it_names_proves_and_shows_none(exchange):
    federation = exchange.federation
    body, change, given = invented(exchange, bytes(96))
    liar, where = Liar(federation, RENHE), access_key(given, RENHE)
    payload = liar.payload(change)
    item = OpenedBody(where, 1, body)
    federation.sites[ANXIN].node.submitter.wait_final(given, 1, 60)
    federation.sites[RENHE].node.shelf.keep(where, 1, body)
    liar.push(ANXIN, payload, item)
    liar.order(payload, item)
    insurer = federation.sites[ANXIN]
    # Nobody has asked for it here, and the node ended before it judged.
    federation.crash(ANXIN)
    assert alarms(federation, ANXIN, where) == [(RENHE, 1, "access.request")]
    assert insurer.node.shelf.head(where) is None
    # The evidence stays.
    assert insurer.node.shelf.held(where)[1].body_hash == body.body_hash
    answer = prove_disclosures(insurer.replica, insurer.node.shelf, {"custodian": RENHE, "grant": given.hex()})
    shown = verify_bundle(
        {name: unbase64(text, max_bytes=1 << 26) for name, text in answer["files"].items()},
        trusted_policy_text(genesis().members, genesis().origin),
        now=federation.time,
    )
    assert (shown.disclosures.listed, shown.disclosures.destroyed) == ((), (1,))
    # What comes after it in the chain, and is true, is not hidden by it.
    used = replace(exchange, grant=given, custodians={}, askers={})
    used.asker().request_release(used.wish())
    assert insurer.node.shelf.head(where)[0].version == 2


def test_what_was_asked_for_passes_at_the_asker(exchange):
    used = replace(exchange, grant=exchange.give(), custodians={}, askers={})
    assert len(used.asker().request_release(used.wish()).records) == 1
    where = access_key(used.grant, RENHE)
    assert exchange.federation.sites[ANXIN].node.shelf.head(where) is not None
    assert alarms(exchange.federation, ANXIN, where) == []


def forged_consent(exchange: Exchange) -> tuple[bytes, bytes]:
    """Have an insurer and an endorser put a consent on the ledger that another passkey signed; its key and stop."""
    crook = Patient(exchange.federation, "crook", home=ANXIN)
    crook.key = exchange.patient.key
    return forced(exchange.federation, crook.consent(recipient=ANXIN))


def drawn(federation: Federation, draft: Draft, creator: str, endorser: str) -> tuple[bytes, OpenedBody]:
    """Make the payload of a consent with the draw that has an organisation endorse it."""
    content, replica = consents.read(draft.body.content), federation.sites[creator].replica
    number = replica.store.draws(creator).number + 1
    height = seed_heights(replica.height + 1)[0]
    seed = replica.store.seed(height) if height else genesis().ledger
    draw = Draw(height, number, draw_order(replica.members, creator, number, seed).index(endorser))
    row = ObjectRow(draft.object_id, 1, draft.body.body_hash)
    change = Change("consent", "active", (row,), (), stop_hash(content.stop), content.period.last_day)
    item = OpenedBody(map_key("consent", creator, draft.object_id), 1, draft.body)
    return Liar(federation, creator).payload(change, (endorser,), draw), item


def forced(federation: Federation, draft: Draft) -> tuple[bytes, bytes]:
    """Have an insurer and an endorser put a consent on the ledger that neither has checked; its key and stop."""
    liar = Liar(federation, ANXIN)
    payload, item = drawn(federation, draft, ANXIN, TONGJI)
    for org_id in (RENHE, ANXIN):
        liar.push(org_id, payload, item)
    liar.order(payload, item, (TONGJI,))
    return item.object, consents.read(draft.body.content).stop


def test_attack_an_insurer_and_an_endorser_forge_a_consent_and_the_custodian_neither_grants_nor_releases(exchange):
    federation = exchange.federation
    where, _ = forged_consent(exchange)
    site = federation.sites[RENHE]
    with pytest.raises(VerificationError, match=r"grant\.consent"):
        site.node.submitter.submit(grant(where))
    assert alarms(federation, RENHE, where) == [(ANXIN, 1, "signing.credential")]
    # A grant that was given under it before this custodian judged it releases nothing either.
    refused, site.node.shelf._bench = site.node.shelf._bench, None  # noqa: SLF001  # as an earlier release
    given = site.node.submitter.submit(grant(where)).key
    site.node.shelf.judged_by(refused)
    used = replace(exchange, grant=given, custodians={}, askers={})
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        used.asker().request_release(used.wish())
    # What narrows still binds: whoever holds the body stops it.
    site.node.stops.stop(where)
    with pytest.raises(ConflictError, match=r"stop\.repeated"):
        site.node.stops.stop(where)


def acted(federation: Federation, custodians: tuple[str, ...] = (RENHE,)) -> tuple[Patient, Patient, bytes]:
    """Enrol a patient for whom a helper acts; returns both, and the delegation."""
    home = federation.sites[RENHE].node.submitter
    helper, patient = Patient(federation, "acting"), Patient(federation, "acted-for")
    for one in (helper, patient):
        # Who is given a part of a subject with what rests on it must know the subject.
        federation.settled(home.submit(one.subject(custodians)).key)
    day = federation.time // 86400
    told = Delegation(patient.key, helper.key, "helper", day + 100, RENHE, custodians, fresh(32))
    where = home.submit(Draft("delegation", fresh(16), build_body("delegation", told.to_content(), None, fresh))).key
    row = Delegate(helper.key, "helper", day + 100, ("consent",), ("*",), where)
    record, body = federation.sites[RENHE].node.shelf.head(patient.key)
    nonce = fresh(16)
    change = {
        "delegates": [row.to_json()],
        "nonce": nonce.hex(),
        "operation": "name-delegate",
        "signers": [patient.key.hex()],
    }
    made = build_body("subject", body.content | change, None, fresh)
    what = signing.Signed("subject/name-delegate", patient.key, None, nonce)
    home.submit(Draft("subject", patient.object_id, patient.sign(made, patient.key, 2, record.digest, what)))
    for site in federation.sites.values():
        site.node.submitter.wait_final(patient.key, 2, 60)
    return patient, helper, where


def by_helper(patient: Patient, helper: Patient, home: str) -> Draft:
    """Draft a consent that a helper signs for a patient."""
    draft = patient.consent(subject=helper.key.hex(), acting_for=patient.key.hex())
    what = consents.read(draft.body.content).signed()[0]
    where = map_key("consent", home, draft.object_id)
    return replace(draft, body=helper.sign(draft.body, where, 1, None, what))


def test_attack_after_a_delegations_end_a_consent_of_the_delegate_counts_with_no_custodian_nor_recipient(federation):
    patient, helper, where = acted(federation)
    home, insurer = federation.sites[RENHE].node, federation.sites[ANXIN].node
    before = home.submitter.submit(by_helper(patient, helper, RENHE)).key
    home.stops.stop(where)
    home.driver.outbox.step()
    for site in federation.sites.values():
        site.node.submitter.wait_final(where, 2, 60)
    late = by_helper(patient, helper, RENHE)
    with pytest.raises(VerificationError, match=r"consent\.delegate"):
        home.submitter.submit(late)
    # Its creator and the endorser lie; everybody else judges by the place.
    forged, _ = forced(federation, by_helper(patient, helper, ANXIN))
    with pytest.raises(VerificationError, match=r"grant\.consent"):
        home.submitter.submit(grant(forged))
    assert alarms(federation, RENHE, forged) == [(ANXIN, 1, "consent.delegate")]
    record, body = insurer.shelf.held(forged)
    with pytest.raises(VerificationError, match=r"consent\.delegate"):
        insurer.verdicts.check(record, body)
    # What was signed before it holds, also where it is judged only now.
    federation.crash(ANXIN)
    assert federation.sites[ANXIN].node.shelf.head(before) is not None
    assert alarms(federation, ANXIN, before) == []
    assert home.submitter.submit(grant(before)).record.version == 1


def told_by_helper(federation: Federation, patient: Patient, helper: Patient) -> None:
    """Order a version of a subject that a helper signs and that nobody checks any more: its endorsement is older."""
    replica, liar = federation.sites[RENHE].replica, Liar(federation, RENHE)
    record, body = federation.sites[RENHE].node.shelf.head(patient.key)
    nonce = fresh(16)
    contacts = [{"address": f"{nonce.hex()}@mail.example", "channel": "email"}]
    change = {"contacts": contacts, "operation": "change-contacts", "nonce": nonce.hex(), "signers": [helper.key.hex()]}
    made = build_body("subject", body.content | change, None, fresh)
    what = signing.Signed("subject/change-contacts", helper.key, patient.key, nonce)
    signed = helper.sign(made, patient.key, record.version + 1, record.digest, what)
    number = replica.store.draws(RENHE).number + 1
    height = seed_heights(replica.height + 1)[0]
    seed = replica.store.seed(height) if height else genesis().ledger
    draw = Draw(height, number, draw_order(replica.members, RENHE, number, seed).index(COMMISSION))
    row = ObjectRow(patient.object_id, record.version + 1, signed.body_hash)
    payload = liar.payload(Change("subject", "active", (row,), (), None, None), (COMMISSION,), draw)
    item = OpenedBody(patient.key, record.version + 1, signed)
    for org_id in (RENHE, TONGJI):
        liar.push(org_id, payload, item)
    liar.order(payload, item, (COMMISSION,))


def test_attack_a_stop_that_overtakes_a_subjects_version_takes_the_subject_from_no_custodian(federation):
    patient, helper, where = acted(federation, (RENHE, TONGJI))
    home, other = federation.sites[RENHE].node, federation.sites[TONGJI].node
    home.stops.stop(where)
    home.driver.outbox.step()
    for site in federation.sites.values():
        site.node.submitter.wait_final(where, 2, 60)
    told_by_helper(federation, patient, helper)
    assert other.shelf.head(patient.key)[0].version == 3
    assert alarms(federation, TONGJI, patient.key) == []
    # So late after the stop nobody can have endorsed it before.
    federation.time += 300
    told_by_helper(federation, patient, helper)
    assert other.shelf.head(patient.key) is None
    assert alarms(federation, TONGJI, patient.key) == [(RENHE, 4, "subject.delegate")]


def asked(federation: Federation, draft: Draft, *subjects: Patient) -> bytes:
    """Ask the regulator to endorse a consent that its creator has not checked."""
    home, receiver = federation.sites[RENHE].node, key(COMMISSION, "encryption")
    payload, item = drawn(federation, draft, RENHE, COMMISSION)
    known = [(one.key, home.shelf.head(one.key)) for one in subjects]
    rows = [item, *(OpenedBody(where, record.version, body) for where, (record, body) in known)]
    sealed = [seal_body(receiver, genesis().ledger, row) for row in rows]
    return endorse_request(payload, sealed, home.replica.height)


def test_attack_an_endorser_is_asked_for_a_consent_of_a_delegate_whose_delegation_has_ended(federation):
    patient, helper, where = acted(federation)
    home, endorser = federation.sites[RENHE].node, federation.sites[COMMISSION].node.endorser
    draft = by_helper(patient, helper, RENHE)
    assert endorser.endorse(asked(federation, draft, patient, helper), RENHE)["key"] == key(COMMISSION, "ledger").id
    home.stops.stop(where)
    home.driver.outbox.step()
    for site in federation.sites.values():
        site.node.submitter.wait_final(where, 2, 60)
    late = by_helper(patient, helper, RENHE)
    with pytest.raises(VerificationError, match=r"consent\.delegate"):
        endorser.endorse(asked(federation, late, patient, helper), RENHE)


def test_a_custodian_that_lacks_the_subject_permits_nothing_and_accuses_nobody(exchange):
    federation = exchange.federation
    site = federation.sites[RENHE]
    patient = Patient(federation, "at-two", home=TONGJI)
    home = federation.sites[TONGJI].node.submitter
    site.node.submitter.wait_final(home.submit(patient.subject((RENHE, TONGJI))).key, 1, 60)
    given = home.submit(patient.consent(custodians=(RENHE, TONGJI))).key
    site.node.submitter.wait_final(given, 1, 60)
    assert site.node.shelf.head(given) is not None
    whole = site.node.shelf.held_at(patient.key, 1)
    site.ledger.delete_body(patient.key)
    federation.crash(RENHE)
    assert site.node.shelf.head(given) is None
    with pytest.raises(VerificationError, match=r"grant\.consent"):
        site.node.submitter.submit(grant(given))
    assert alarms(federation, RENHE, given) == []
    # It comes back, and is judged anew.
    site.node.shelf.keep(patient.key, 1, whole)
    assert site.node.shelf.head(given) is not None


def enrolled_without(federation: Federation, name: str, org_id: str) -> Patient:
    """Enrol somebody whom an organisation has not endorsed: it would hold the whole of the subject."""
    patient = Patient(federation, name)
    while federation.sites[RENHE].node.submitter.submit(patient.subject()).endorser == org_id:
        patient = Patient(federation, name)
    federation.settled(patient.key)
    return patient


def test_a_custodian_is_given_what_a_delegates_signature_is_checked_with(exchange):
    federation, submitter = exchange.federation, exchange.federation.sites[RENHE].node.submitter
    mother, child = enrolled_without(federation, "mother", TONGJI), Patient(federation, "child")
    day = federation.time // 86400
    guardian = {
        "delegation": None,
        "may": ["consent"],
        "resource_types": ["*"],
        "role": "guardian",
        "subject": mother.key.hex(),
        "until": day + 100,
    }
    submitter.submit(child.subject((RENHE, TONGJI), delegates=[guardian], of_age=day + 300))
    draft = child.consent(custodians=(RENHE, TONGJI), subject=mother.key.hex(), acting_for=child.key.hex())
    signed = consents.read(draft.body.content).signed()[0]
    where = map_key("consent", RENHE, draft.object_id)
    submitter.submit(replace(draft, body=mother.sign(draft.body, where, 1, None, signed)))
    other = federation.sites[TONGJI]
    other.node.submitter.wait_final(where, 1, 60)
    assert other.node.shelf.head(where) is not None
    assert other.node.shelf.head(mother.key)[1].content.keys() == RECIPIENT_FIELDS


@pytest.mark.parametrize(("ahead", "holds"), [(110, True), (130, False)])
def test_clocks_and_blocks_may_differ_by_what_endorsing_and_ordering_allow_and_no_more(federation, ahead, holds):
    honest = Liar(federation, RENHE)
    where = honest.emergency(fresh(16), 1, happened(federation, time=federation.time + ahead).to_content())
    assert (where.hex() in listed(federation)) == holds
    assert alarms(federation, COMMISSION, where) == ([] if holds else [(RENHE, 1, "emergency.time")])


def unlinked(patient: Patient, record: StateRecord, body: Body) -> Draft:
    """Draft the version of a subject that leaves all custodians but one."""
    nonce = fresh(16)
    change = {"custodians": [RENHE], "nonce": nonce.hex(), "operation": "unlink", "signers": [patient.key.hex()]}
    made = build_body("subject", body.content | change, None, fresh)
    what = signing.Signed("subject/unlink", patient.key, None, nonce)
    signed = patient.sign(made, patient.key, record.version + 1, record.digest, what)
    return Draft("subject", patient.object_id, signed)


def test_a_consent_counts_under_the_passkeys_of_its_place_and_not_of_today(exchange):
    federation = exchange.federation
    site = federation.sites[RENHE]
    record, body = site.node.shelf.head(exchange.patient.key)
    site.node.submitter.submit(exchange.patient.linked((RENHE, TONGJI), record, body))
    given = site.node.submitter.submit(exchange.patient.consent(custodians=(RENHE, TONGJI))).key
    site.node.submitter.submit(unlinked(exchange.patient, *site.node.shelf.head(exchange.patient.key)))
    federation.sites[TONGJI].node.submitter.wait_final(exchange.patient.key, 3, 60)
    for org_id, key_of in ((TONGJI, given), (ANXIN, given), (ANXIN, exchange.consent)):
        federation.crash(org_id)
        assert federation.sites[org_id].node.shelf.head(key_of) is not None
        assert alarms(federation, org_id, key_of) == []
    # Years later, when it has long expired, it was still a good one.
    later = replace(federation.sites[ANXIN].node.judge, clock=lambda: federation.time + 10**8)
    bench = Verdicts(later, federation.sites[ANXIN].records)
    assert bench.verdict(*federation.sites[ANXIN].node.shelf.held(exchange.consent)) is Verdict.HOLDS


def test_a_recipient_that_becomes_a_custodian_judges_the_whole_subject_by_the_part_that_it_had(exchange):
    federation, home = exchange.federation, exchange.federation.sites[RENHE].node
    other, patient = federation.sites[TONGJI].node, enrolled_without(federation, "told", TONGJI)
    other.submitter.wait_final(patient.key, 1, 60)
    given = home.submitter.submit(patient.consent(recipient=TONGJI)).key
    other.submitter.wait_final(given, 1, 60)
    assert not other.shelf.head(patient.key)[1].is_full
    home.submitter.submit(patient.linked((RENHE, TONGJI), *home.shelf.head(patient.key)))
    other.submitter.wait_final(patient.key, 2, 60)
    federation.crash(TONGJI)
    record, body = federation.sites[TONGJI].node.shelf.head(patient.key)
    assert (record.version, body.is_full) == (2, True)
    assert alarms(federation, TONGJI, patient.key) == []
