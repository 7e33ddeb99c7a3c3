"""Enrolment, consents, withdrawals and grants as a patient's page has them made, over whole nodes with real files."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from consent.release import ReleaseRules
from medchain.crypto.assertion import encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.crypto.es384 import Es384Signer
from medchain.encoding import base64_text, unbase64
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.ledger.kinds.content import Period
from medchain.ledger.kinds.subject import RECIPIENT_FIELDS
from medchain.node.drafts import Assertion, ToSign
from medchain.node.exchange_node import ExchangeNode, ExchangeSurroundings
from medchain.node.records import NewRecord
from medchain.node.releasing import Releasing
from medchain.node.subjects import Credential, Terms
from tests.unit.medchain.ledger.world import genesis, seed
from tests.unit.medchain.node.federation import ANXIN, DAY_S, NOW, ORIGIN, RENHE, TONGJI, Federation, keys_of

PATIENT = "pat-1"
FHIR = {"resourceType": "Consent", "status": "active"}
TERMS = Terms(
    custodians=(RENHE,),
    recipient=ANXIN,
    purpose="HPAYMT",
    resource_types=("Observation",),
    period=Period(NOW - 10, NOW + 30 * DAY_S),
    fhir=FHIR,
)


@dataclass
class Way:
    """The way to other nodes' custodians."""

    nodes: dict[str, ExchangeNode]
    sender: str

    def release(self, org_id: str, document: bytes) -> bytes:
        return self.nodes[org_id].custodian.release(document, self.sender)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    federation = Federation(tmp_path_factory.mktemp("federation"))
    federation.start()
    made: dict[str, ExchangeNode] = {}
    for org_id, site in federation.sites.items():
        around = ExchangeSurroundings(
            side=site.node,
            records=site.records,
            service=site.service,
            authentication=Es384Signer(seed(org_id, "authentication", 1)),
            releasing=Releasing(ReleaseRules()),
            custodians=Way(made, org_id),
            clock=federation.clock,
        )
        made[org_id] = ExchangeNode(keys_of(org_id), around)
    made["federation"] = federation
    yield made
    federation.stop()


@pytest.fixture(scope="module")
def desk(nodes):
    return nodes[RENHE].desk


@pytest.fixture(scope="module")
def phone():
    return SoftwareAuthenticator(seed("phone of the desk"), genesis().rp_id)


@pytest.fixture(scope="module")
def subject(nodes, desk, phone):
    """Enrol the patient; every node knows of it."""
    done = desk.enrol(PATIENT, [credential(phone)], "identity-card", (TONGJI,))
    for site in nodes["federation"].sites.values():
        site.node.submitter.wait_final(done.key, 1, 60)
    return done.key


def credential(phone) -> Credential:
    return Credential(phone.credential_id, encode_credential_key(phone.credential))


def answered(phone, challenge: bytes, origin: str = ORIGIN) -> Assertion:
    given = phone.sign(challenge, origin)
    return Assertion(given.credential_id, given.client_data_json, given.authenticator_data, given.signature)


def given(desk, phone, subject, terms: Terms = TERMS) -> bytes:
    draft = desk.draft_consent(subject, terms)
    return desk.give_consent(draft, answered(phone, draft.challenge)).key


def test_an_enrolled_patient_is_found_by_the_subject(nodes, subject):
    site = nodes["federation"].sites[RENHE]
    assert site.records.patient_of(subject) == site.service.patient_token(PATIENT)
    body = site.node.shelf.head(subject)[1]
    assert body.content["custodians"] == sorted((RENHE, TONGJI))


def test_a_consent_signed_by_the_patient_becomes_final_and_is_what_was_drafted(nodes, desk, phone, subject):
    draft = desk.draft_consent(subject, TERMS)
    done = desk.give_consent(draft, answered(phone, draft.challenge))
    assert (done.key, done.record.version) == (draft.object, 1)
    body = nodes["federation"].sites[RENHE].node.shelf.head(done.key)[1]
    assert body.content_root == draft.body.content_root
    assert done.endorser not in {RENHE, ANXIN, None}


def test_a_consent_that_another_passkey_signed_is_refused(desk, subject):
    thief = SoftwareAuthenticator(seed("thief of the desk"), genesis().rp_id)
    draft = desk.draft_consent(subject, TERMS)
    with pytest.raises(VerificationError, match=r"signing\.credential"):
        desk.give_consent(draft, answered(thief, draft.challenge))


def test_a_consent_signed_at_a_log_in_page_is_refused(desk, phone, subject):
    draft = desk.draft_consent(subject, TERMS)
    with pytest.raises(VerificationError, match=r"assertion\."):
        desk.give_consent(draft, answered(phone, draft.challenge, "https://login.renhe.example"))


def test_a_signature_for_one_draft_is_none_for_another(desk, phone, subject):
    signed, other = desk.draft_consent(subject, TERMS), desk.draft_consent(subject, TERMS)
    with pytest.raises(VerificationError, match=r"assertion\."):
        desk.give_consent(other, answered(phone, signed.challenge))


def test_a_draft_survives_being_kept_until_the_patient_has_signed(desk, subject):
    draft = desk.draft_consent(subject, TERMS)
    assert ToSign.decode(draft.encode()) == draft


def test_a_redacted_draft_is_not_submitted(desk, phone, subject):
    draft = desk.draft_consent(subject, TERMS)
    redacted = ToSign(
        draft.kind, draft.object_id, draft.object, 1, draft.body.redact({"stop"}, keep_evidence=True), draft.documents
    )
    with pytest.raises(InputError, match=r"body\.malformed"):
        desk.give_consent(redacted, answered(phone, draft.challenge))


def test_malformed_terms_are_refused_before_anybody_signs(desk, subject):
    with pytest.raises(InputError):
        desk.draft_consent(subject, Terms((), ANXIN, "HPAYMT", ("*",), TERMS.period, FHIR))


def test_nothing_is_drafted_for_an_unknown_subject(desk):
    with pytest.raises(NotFoundError, match=r"subject\.unknown"):
        desk.draft_consent(bytes(32), TERMS)


def test_a_withdrawal_binds_at_once_and_names_the_patients_signature(nodes, desk, phone, subject):
    consent = given(desk, phone, subject)
    nodes["federation"].sites[ANXIN].node.submitter.wait_final(consent, 1, 60)
    draft = desk.draft_withdrawal(consent)
    desk.withdraw(draft, answered(phone, draft.challenge))
    site = nodes["federation"].sites[RENHE]
    assert site.node.stops.is_stopped(consent)
    assert nodes["federation"].sites[ANXIN].node.stops.is_stopped(consent)
    site.node.driver.outbox.step()
    record, _ = site.node.submitter.wait_final(consent, 2, 60)
    body = site.node.shelf.head(consent)[1]
    assert record.status == "stopped"
    assert body.content["operation"] == "withdraw"
    assert body.body_hash == record.body_hash


def test_a_withdrawal_by_another_passkey_is_refused_and_the_plain_stop_remains(nodes, desk, phone, subject):
    consent = given(desk, phone, subject)
    draft = desk.draft_withdrawal(consent)
    thief = SoftwareAuthenticator(seed("thief of the desk"), genesis().rp_id)
    with pytest.raises(VerificationError, match=r"signing\.credential"):
        desk.withdraw(draft, answered(thief, draft.challenge))
    stops = nodes["federation"].sites[RENHE].node.stops
    assert not stops.is_stopped(consent)
    desk.stop(consent)
    assert stops.is_stopped(consent)


def test_a_withdrawn_consent_cannot_be_withdrawn_again(nodes, desk, phone, subject):
    consent = given(desk, phone, subject)
    desk.stop(consent)
    site = nodes["federation"].sites[RENHE]
    site.node.driver.outbox.step()
    site.node.submitter.wait_final(consent, 2, 60)
    with pytest.raises(ConflictError, match=r"stop\.not_stoppable"):
        desk.draft_withdrawal(consent)


def test_a_grant_follows_its_consent_unless_it_is_narrower(nodes, desk, phone, subject):
    consent = given(desk, phone, subject)
    shelf = nodes["federation"].sites[RENHE].node.shelf
    whole = shelf.head(desk.give_grant(consent).key)[1].content
    assert whole["resource_types"] == ["Observation"]
    assert whole["period"] == {"start": NOW, "end": NOW + 30 * DAY_S}
    short = shelf.head(desk.give_grant(consent, ("Observation",), Period(NOW, NOW + 5)).key)[1].content
    assert short["period"] == {"start": NOW, "end": NOW + 5}


def test_a_grant_beyond_its_consent_is_refused(desk, phone, subject):
    consent = given(desk, phone, subject)
    with pytest.raises(VerificationError, match=r"grant\.beyond_consent"):
        desk.give_grant(consent, ("Condition", "Observation"))


def test_a_subject_enrolled_elsewhere_is_joined_to_a_patient_here_once(nodes, subject):
    desk, site = nodes[TONGJI].desk, nodes["federation"].sites[TONGJI]
    desk.link(subject, "tongji-7")
    assert site.records.patient_of(subject) == site.service.patient_token("tongji-7")
    with pytest.raises(ConflictError, match=r"store\.conflict"):
        desk.link(subject, "tongji-8")
    with pytest.raises(NotFoundError, match=r"subject\.unknown"):
        desk.link(bytes(32), "tongji-9")


def test_the_whole_way_goes_through_the_local_operations(nodes):
    phone = SoftwareAuthenticator(seed("phone of the operations"), genesis().rp_id)
    site, ours, theirs = nodes["federation"].sites[RENHE], nodes[RENHE].operations(), nodes[ANXIN].operations()
    content = b'{"resourceType":"Observation","id":"op1","status":"final"}'
    site.service.create(NewRecord("Observation", "op1", content, "pat-2"))
    while site.records.pending(1, kind="anchor"):
        site.node.anchor.round()

    def sign(draft: dict) -> dict:
        given = phone.sign(bytes.fromhex(draft["challenge"]), ORIGIN)
        names = ("authenticator_data", "client_data_json", "credential_id", "signature")
        answer = {name: base64_text(getattr(given, name)) for name in names}
        return {"assertion": answer, "draft": draft["draft"]}

    passkey = credential(phone)
    enrolled = ours["subject.enrol"](
        {
            "credentials": [
                {"credential_id": base64_text(passkey.credential_id), "public_key": base64_text(passkey.public_key)}
            ],
            "custodians": [],
            "method": "identity-card",
            "patient": "pat-2",
        }
    )
    for other in nodes["federation"].sites.values():
        other.node.submitter.wait_final(bytes.fromhex(enrolled["key"]), 1, 60)
    draft = ours["consent.draft"](
        {
            "custodians": [RENHE],
            "fhir": FHIR,
            "period": {"start": NOW - 10, "end": NOW + 30 * DAY_S},
            "purpose": "HPAYMT",
            "recipient": ANXIN,
            "resource_types": ["Observation"],
            "subject": enrolled["key"],
        }
    )
    consent = ours["consent.give"](sign(draft))
    grant = ours["grant.give"]({"consent": consent["key"]})
    wish = {"custodian": RENHE, "grant": grant["key"], "purpose": "HPAYMT", "resource_types": ["Observation"]}
    answer = theirs["request"](wish)
    assert [(row["type"], row["id"], unbase64(row["content"])) for row in answer["records"]] == [
        ("Observation", "op1", content)
    ]
    assert (answer["access"]["version"], answer["following"]) == (1, None)
    withdrawal = ours["withdrawal.draft"]({"consent": consent["key"]})
    assert ours["withdrawal.give"](sign(withdrawal)) == {"object": consent["key"], "stopped": True}
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        theirs["request"](wish)


def test_the_local_operation_joins_a_subject_to_a_patient(nodes, subject):
    assert nodes[RENHE].operations()["patient"]({"patient": PATIENT, "subject": subject.hex()}) == {"linked": True}


def test_a_recipient_that_is_behind_gets_its_part_once_it_has_followed(nodes, desk, phone, monkeypatch):
    federation = nodes["federation"]
    insurer, hospital = federation.sites[ANXIN], federation.sites[RENHE]
    # Signatures under withdrawals whose stops nobody has brought into a block here.
    waiting = hospital.node.deliveries.round()
    with monkeypatch.context() as held:
        held.setattr(type(insurer.node.driver), "follow_once", _holding_back(insurer.node.driver))
        subject = desk.enrol("pat-3", [credential(phone)], "identity-card").key
        consent = given(desk, phone, subject)
        assert insurer.ledger.record(subject) is None
    insurer.node.submitter.wait_final(consent, 1, 60)
    assert hospital.node.deliveries.round() == waiting
    assert set(insurer.node.shelf.head(subject)[1].content) == RECIPIENT_FIELDS
    assert insurer.node.shelf.head(consent)[1].is_full


def _holding_back(driver):
    """Let one driver follow nothing."""
    follow = type(driver).follow_once
    return lambda self, *arguments: 0 if self is driver else follow(self, *arguments)
