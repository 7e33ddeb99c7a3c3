"""An endorser that is lied to, in every kind and every part of a request; and that promises a version once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import pytest

from consent.directive import ConsentDecision
from medchain.crypto.signing import ed25519_verify
from medchain.encoding import base64_text, canonical, unbase64
from medchain.errors import InputError, UnavailableError, VerificationError
from medchain.ledger.kinds import emergency, erasure
from medchain.ledger.kinds.consent import read as read_consent
from medchain.ledger.kinds.grant import read as read_grant
from medchain.ledger.members import ENCRYPTION_KEY
from medchain.ledger.object import Evidence, build_body, map_key, stop_hash
from medchain.ledger.transaction import Change, Draw, ObjectRow, Ref, pae, payload_bytes
from medchain.node import unaccepted
from medchain.node.bodies import BodyShelf
from medchain.node.endorse import Endorser, Judge, endorse_request, parse_endorsement
from medchain.node.sealed_body import OpenedBody, seal_body
from medchain.node.unaccepted import Unaccepted
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, RENHE, TAIPING, TONGJI, fresh, key, sign
from tests.unit.medchain.node.federation import NOW, Patient, access, grant, keys_of
from tests.unit.medchain.node.ledgers import Author, block_of, replica_on

DAY = NOW // 86400


@dataclass
class Request:
    """A request that can be bent before it is sent."""

    kind: str
    object_id: bytes
    body: object
    version: int = 1
    creator: str = RENHE
    peer: str = RENHE
    refs: tuple = ()
    stop: bytes | None = None
    expires: int | None = None
    others: tuple = ()
    body_hash: bytes | None = None
    changes: dict | None = None
    sealed_to: str | None = None
    shown: object = None


class Desk:
    """One endorser with its own ledger, and a creator's pen."""

    def __init__(self, opener) -> None:
        """Open the files."""
        self.now = NOW
        self.replica = replica_on(LedgerStore(opener(FileKind.LEDGER)), COMMISSION)
        self.author = Author(replica=self.replica)
        self.author.time = self.now
        self.number = 1
        self.org_id = self.author.drawn(RENHE, 1)
        self.shelf = BodyShelf(self.replica.store)
        self.judge = Judge(self.org_id, self.replica, self.shelf, ConsentDecision(), lambda: self.now)
        self.records = RecordStore(opener(FileKind.RECORDS))
        self.restart()
        self.patient = Patient(None)

    def restart(self, **changes: object) -> None:
        """Forget everything that is not on disk."""
        self.unaccepted = Unaccepted(self.shelf, self.records, lambda: self.now)
        given = {"patience_s": 0, "judge": self.judge} | changes
        self.endorser = Endorser(keys_of(self.org_id), given.pop("judge"), self.records, self.unaccepted, **given)

    def transaction(self, request: Request):
        """Write the payload of a request."""
        row = ObjectRow(request.object_id, request.version, request.body_hash or request.body.body_hash)
        change = Change(request.kind, "active", (row,), request.refs, request.stop, request.expires)
        values = {
            "until": self.now + 45,
            "draw": Draw(0, self.number, 0),
            "signers": [(request.creator, "creator"), (self.org_id, "independent")],
        }
        return self.author.transaction(request.creator, change, **{**values, **(request.changes or {})})

    def ask(self, request: Request):
        """Send a request; returns payload and answer."""
        payload = payload_bytes(self.transaction(request))
        target = map_key(request.kind, request.creator, request.object_id)
        rows = [OpenedBody(target, request.version, request.shown or request.body), *request.others]
        receiver = key(request.sealed_to or self.org_id, ENCRYPTION_KEY)
        sealed = [seal_body(receiver, self.replica.ledger, row) for row in rows]
        return payload, self.endorser.endorse(endorse_request(payload, sealed, 0), request.peer)

    def refusal(self, request: Request) -> str:
        """Return the code of the refusal."""
        with pytest.raises((InputError, VerificationError)) as caught:
            self.ask(request)
        return caught.value.code

    def place(self, request: Request) -> bytes:
        """Put an object on the endorser's ledger, its body on its shelf; returns its map key."""
        target = map_key(request.kind, request.creator, request.object_id)
        endorser = self.author.drawn(request.creator, self.number)
        changes = {"signers": [(request.creator, "creator"), (endorser, "independent")]}
        block_of(self.replica, sign(self.transaction(replace(request, changes=changes))), time=self.now)
        self.shelf.keep(target, request.version, request.body)
        self.number += 1
        self.org_id = self.author.drawn(RENHE, self.number)
        self.judge = replace(self.judge, org_id=self.org_id)
        self.restart()
        return target

    def enrol(self) -> None:
        """Put the patient on the ledger."""
        self.place(self.subject())

    def allow(self) -> bytes:
        """Put a consent of the patient on the ledger."""
        self.enrol()
        return self.place(self.consent())

    def subject(self, **changes: object) -> Request:
        draft = self.patient.subject(**changes)
        return Request("subject", draft.object_id, draft.body)

    def consent(self, **changes: object) -> Request:
        draft = self.patient.consent(**changes)
        read = read_consent(draft.body.content)
        return Request("consent", draft.object_id, draft.body, stop=stop_hash(read.stop), expires=read.period.last_day)

    def grant(self, consent: bytes, **changes: object) -> Request:
        draft = grant(consent, **changes)
        read = read_grant(draft.body.content)
        made = Request("grant", draft.object_id, draft.body, stop=stop_hash(read.stop), expires=read.period.last_day)
        return replace(made, refs=(Ref(consent, 1),))

    def access(self, grant_key: bytes, consent: bytes, **row: object) -> Request:
        draft = access(consent, grant_key, **row)
        return Request("access", draft.object_id, draft.body, refs=draft.refs)

    def emergency(self, **changes: object) -> Request:
        made = emergency.Emergency(
            RENHE, RENHE, "p1", "doctor-17", "unconscious", fresh(32), 1, fresh(32), fresh(32), NOW
        )
        return Request("emergency", fresh(16), build_body("emergency", {**made.to_content(), **changes}, None, fresh))

    def erasure(self, **changes: object) -> Request:
        made = erasure.Erasure(RENHE, (fresh(32),), "asked for", NOW)
        return Request("erasure", fresh(16), build_body("erasure", {**made.to_content(), **changes}, None, fresh))


@pytest.fixture
def desk(store_engine):
    return Desk(store_engine)


def test_an_honest_request_is_signed_and_its_body_is_kept(desk):
    request = desk.subject()
    payload, answer = desk.ask(request)
    signature = parse_endorsement(canonical(answer), key(desk.org_id, "ledger").id)
    assert ed25519_verify(key(desk.org_id, "ledger").public, pae(payload), signature)
    kept = desk.shelf.at(desk.patient.key, 1)
    assert kept.body_hash == request.body.body_hash


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"enroller": ANXIN, "verified_by": {"method": "m", "organisation": ANXIN, "time": NOW}}, "subject.enroller"),
        ({"verified_by": {"method": "m", "organisation": RENHE, "time": NOW + 3600}}, "subject.time"),
        ({"custodians": ["nowhere-hospital"]}, "subject.organisation"),
        ({"passkeys": []}, "subject.attested"),
    ],
)
def test_a_lie_in_a_subject_is_refused_with_its_code(desk, changes, code):
    assert desk.refusal(desk.subject(**changes)) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"custodians": (RENHE, TAIPING)}, "consent.custodian"),
        ({"resource_types": ["*", "Observation"]}, "consent.resource_types"),
        ({"operation": "renew"}, "consent.operation"),
        ({"recipient": "nobody"}, "consent.organisation"),
        ({"subject": fresh(32).hex()}, "consent.subject"),
    ],
)
def test_a_lie_in_a_consent_is_refused_with_its_code(desk, changes, code):
    desk.enrol()
    assert desk.refusal(desk.consent(**changes)) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"period": {"end": NOW - 1, "start": NOW - 10}}, "consent.expired"),
        ({"fhir": {"resourceType": "Patient"}}, "body.malformed"),
        ({"stop": "short"}, "body.malformed"),
    ],
)
def test_a_consent_of_another_form_is_refused_with_its_code(desk, changes, code):
    desk.enrol()
    request = desk.consent()
    body = build_body("consent", {**request.body.content, **changes}, None, fresh)
    assert desk.refusal(replace(request, body=body, expires=DAY if "period" in changes else request.expires)) == code


def test_a_consent_that_the_patient_did_not_sign_is_refused(desk):
    desk.enrol()
    other = Patient(None, "somebody else")
    other.key = desk.patient.key
    draft = other.consent()
    read = read_consent(draft.body.content)
    request = Request("consent", draft.object_id, draft.body, stop=stop_hash(read.stop), expires=read.period.last_day)
    assert desk.refusal(request) == "signing.credential"


def test_a_consent_signed_for_another_object_is_refused(desk):
    desk.enrol()
    assert desk.refusal(replace(desk.consent(), object_id=fresh(16))) == "assertion.challenge"


def test_a_consent_whose_ledger_side_promises_more_is_refused(desk):
    desk.enrol()
    assert desk.refusal(replace(desk.consent(), expires=DAY + 9999)) == "consent.expires"
    assert desk.refusal(replace(desk.consent(), stop=fresh(32))) == "consent.stop"


def test_a_consent_without_signature_or_staff_is_refused(desk):
    desk.enrol()
    request = desk.consent()
    unsigned = request.body.with_evidence(fresh(32), None)
    assert desk.refusal(replace(request, body=unsigned)) == "consent.attested"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"resource_types": ["MedicationRequest"]}, "grant.beyond_consent"),
        ({"purpose": "TREAT"}, "grant.beyond_consent"),
        ({"recipient": TAIPING}, "grant.beyond_consent"),
        ({"custodian": ANXIN}, "grant.custodian"),
    ],
)
def test_a_grant_that_gives_more_than_its_consent_is_refused(desk, changes, code):
    consent = desk.allow()
    assert desk.refusal(desk.grant(consent, **changes)) == code


def test_a_grant_on_a_consent_that_is_not_there_is_refused(desk):
    desk.allow()
    assert desk.refusal(desk.grant(fresh(32))) == "transaction.ref"


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"purpose": "TREAT"}, "access.purpose"),
        ({"time": NOW - 86400}, "access.period"),
        ({"time": NOW + 600}, "access.time"),
    ],
)
def test_a_lie_in_an_access_is_refused_with_its_code(desk, row, code):
    consent = desk.allow()
    granted = desk.place(desk.grant(consent))
    assert desk.refusal(desk.access(granted, consent, **row)) == code


def test_a_lie_in_an_emergency_is_refused_with_its_code(desk):
    assert desk.refusal(desk.emergency(custodian=ANXIN)) == "emergency.custodian"
    assert desk.refusal(desk.emergency(time=NOW + 3600)) == "emergency.time"
    review = {"by": "x", "finding": "justified", "time": NOW}
    assert desk.refusal(desk.emergency(review=review)) == "emergency.review"


def test_a_lie_in_an_erasure_is_refused_with_its_code(desk):
    assert desk.refusal(desk.erasure(organisation=ANXIN)) == "erasure.owner"
    assert desk.refusal(desk.erasure(time=NOW + 3600)) == "erasure.time"


def test_a_request_brought_by_another_organisation_is_refused(desk):
    assert desk.refusal(replace(desk.subject(), peer=ANXIN)) == "endorse.creator"


def test_a_request_that_names_another_endorser_is_refused(desk):
    other = next(org for org in (TONGJI, COMMISSION) if org != desk.org_id)
    changes = {"signers": [(RENHE, "creator"), (other, "independent")]}
    assert desk.refusal(replace(desk.subject(), changes=changes)) == "endorse.role"


def test_an_endorser_that_was_not_drawn_refuses(desk):
    changes = {"draw": Draw(0, desk.number, 1)}
    assert desk.refusal(replace(desk.subject(), changes=changes)) == "transaction.draw"


def test_a_draw_from_a_seed_of_the_creators_choice_is_refused(desk):
    changes = {"draw": Draw(256, desk.number, 0)}
    assert desk.refusal(replace(desk.subject(), changes=changes)) == "transaction.draw"


def test_a_version_that_is_not_the_next_is_refused(desk):
    assert desk.refusal(replace(desk.subject(), version=2)) == "transaction.version"


def test_another_body_than_the_payload_names_is_refused(desk):
    request = desk.subject()
    assert desk.refusal(replace(request, shown=desk.patient.subject().body)) == "body.hash"
    assert desk.shelf.at(desk.patient.key, 1) is None


def test_a_redacted_body_is_refused_since_a_second_value_could_hide(desk):
    request = desk.subject()
    shown = request.body.redact(request.body.content.keys(), keep_evidence=True)
    assert desk.refusal(replace(request, shown=shown)) == "subject.not_full"


def test_a_request_without_its_body_is_refused(desk):
    payload = payload_bytes(desk.transaction(desk.subject()))
    with pytest.raises(VerificationError) as caught:
        desk.endorser.endorse(endorse_request(payload, [], 0), RENHE)
    assert caught.value.code == "endorse.bodies"


def test_a_body_sealed_to_somebody_else_is_refused(desk):
    assert desk.refusal(replace(desk.subject(), sealed_to=ANXIN)) == "body.key"


def test_a_changed_byte_of_a_sealed_body_is_refused(desk):
    request = desk.subject()
    payload = payload_bytes(desk.transaction(request))
    row = seal_body(
        key(desk.org_id, ENCRYPTION_KEY), desk.replica.ledger, OpenedBody(desk.patient.key, 1, request.body)
    )
    sealed = bytearray(unbase64(row["sealed"]))
    sealed[-1] ^= 1
    row["sealed"] = base64_text(bytes(sealed))
    with pytest.raises(VerificationError) as caught:
        desk.endorser.endorse(endorse_request(payload, [row], 0), RENHE)
    assert caught.value.code == "sealing.authentication"


def test_a_body_sealed_for_another_version_is_refused(desk):
    request = desk.subject()
    payload = payload_bytes(desk.transaction(request))
    row = seal_body(
        key(desk.org_id, ENCRYPTION_KEY), desk.replica.ledger, OpenedBody(desk.patient.key, 2, request.body)
    )
    row["version"] = 1
    with pytest.raises(VerificationError) as caught:
        desk.endorser.endorse(endorse_request(payload, [row], 0), RENHE)
    assert caught.value.code == "sealing.authentication"


def test_an_invented_body_of_another_object_is_refused(desk):
    desk.enrol()
    invented = Patient(None, "somebody else").subject().body
    request = replace(desk.consent(), others=(OpenedBody(desk.patient.key, 1, invented),))
    assert desk.refusal(request) == "body.hash"


def test_an_outdated_body_of_another_object_is_refused(desk):
    desk.enrol()
    body = desk.shelf.at(desk.patient.key, 1)
    request = replace(desk.consent(), others=(OpenedBody(desk.patient.key, 2, body),))
    assert desk.refusal(request) == "endorse.bodies"


def test_what_never_ends_is_not_promised(desk):
    assert desk.refusal(replace(desk.erasure(), changes={"until": None})) == "endorse.until"
    assert desk.refusal(replace(desk.erasure(), changes={"until": NOW + 121})) == "endorse.until"


def test_an_anchor_is_not_endorsed(desk):
    change = Change("record", "active", (ObjectRow(fresh(16), 1, fresh(32)),))
    signers = [(RENHE, "creator"), (desk.org_id, "independent")]
    transaction = desk.author.transaction(RENHE, change, signers=signers, draw=Draw(0, 1, 0))
    with pytest.raises(VerificationError) as caught:
        desk.endorser.endorse(endorse_request(payload_bytes(transaction), [], 0), RENHE)
    assert caught.value.code == "endorse.kind"


def test_an_endorser_that_is_a_block_behind_waits_for_it(desk):
    desk.place(desk.subject())
    blocks = []
    store_record = desk.replica.store.record

    class Behind:
        """A ledger that learns of the subject only while it judges."""

        def __getattr__(self, name) -> object:
            return getattr(desk.replica.store, name)

        def record(self, key):
            if key == desk.patient.key and not blocks:
                blocks.append(block_of(desk.replica, desk.author.anchor(1), time=NOW))
                return None
            return store_record(key)

    class Lagging:
        """The replica over it."""

        store = Behind()

        def __getattr__(self, name) -> object:
            return getattr(desk.replica, name)

    judge = replace(desk.judge, replica=Lagging())
    desk.restart(judge=judge, patience_s=60)
    payload, answer = desk.ask(desk.consent())
    assert answer["key"] == key(desk.org_id, "ledger").id
    assert payload
    assert len(blocks) == 1


def test_the_same_request_again_gets_the_same_signature(desk):
    request = desk.subject()
    transaction = desk.transaction(request)
    payload = payload_bytes(transaction)
    row = seal_body(
        key(desk.org_id, ENCRYPTION_KEY), desk.replica.ledger, OpenedBody(desk.patient.key, 1, request.body)
    )
    document = endorse_request(payload, [row], 0)
    assert desk.endorser.endorse(document, RENHE) == desk.endorser.endorse(document, RENHE)


def test_a_second_transaction_for_the_same_version_is_refused_while_the_first_lives(desk):
    desk.ask(desk.subject())
    other = desk.subject()
    assert desk.refusal(other) == "endorse.double"
    assert desk.shelf.at(desk.patient.key, 1).body_hash != other.body.body_hash


def test_a_promise_outlives_a_restart(desk):
    desk.ask(desk.subject())
    desk.restart()
    assert desk.refusal(desk.subject()) == "endorse.double"


def test_a_second_transaction_is_endorsed_once_the_first_can_no_longer_be_accepted(desk):
    desk.ask(desk.subject())
    desk.now += 45 + 60 + 32
    desk.author.time = desk.now
    desk.restart()
    second = desk.subject()
    desk.ask(second)
    assert desk.shelf.at(desk.patient.key, 1).body_hash == second.body.body_hash


def test_a_forged_answer_is_refused():
    answer = canonical({"key": "0" * 32, "signature": "", "type": "medchain/endorsement/v1"})
    with pytest.raises(VerificationError) as caught:
        parse_endorsement(answer, "1" * 32)
    assert caught.value.code == "endorse.key"


def test_a_request_of_another_form_is_refused(desk):
    honest = {"bodies": [], "height": 0, "payload": "", "type": "medchain/endorse/v1"}
    for change in ({"type": "medchain/other/v1"}, {"height": -1}, {"height": True}, {"height": "0"}, {"more": 1}):
        with pytest.raises(InputError) as caught:
            desk.endorser.endorse(canonical(honest | change), RENHE)
        assert caught.value.code == "encoding.members"


def test_a_creator_that_has_endorsed_and_never_orders_fills_no_disk(desk, monkeypatch):
    monkeypatch.setattr(unaccepted, "MAX_BODIES_EACH", 3)
    asked = [replace(desk.subject(), object_id=fresh(16)) for _ in range(4)]
    targets = [map_key("subject", RENHE, request.object_id) for request in asked]
    for request in asked[:3]:
        desk.ask(request)
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"body\.quota"):
            desk.ask(asked[3])
        desk.restart()
    assert [desk.shelf.held_at(target, 1) is not None for target in targets] == [True, True, True, False]
    # Nothing was promised of it, and what nobody can order any more goes.
    desk.unaccepted.expire(desk.now + 45 + unaccepted.GRACE_S + 1)
    desk.ask(asked[3])
    assert [desk.shelf.held_at(target, 1) is not None for target in targets] == [False, False, False, True]


def test_an_endorser_that_stays_behind_the_creator_says_so_instead_of_refusing(desk):
    request = desk.consent()
    payload = payload_bytes(desk.transaction(request))
    desk.restart(catch_up_s=0.05)
    with pytest.raises(UnavailableError) as caught:
        desk.endorser.endorse(endorse_request(payload, [], desk.replica.height + 1), RENHE)
    assert (caught.value.code, caught.value.fields) == ("endorse.behind", {"height": desk.replica.height})
    # On the same state as the creator it judges, and then it is no.
    with pytest.raises(VerificationError):
        desk.endorser.endorse(endorse_request(payload, [], desk.replica.height), RENHE)


def test_an_endorser_waits_for_the_height_on_which_the_transaction_was_made(desk):
    request = desk.subject()
    payload = payload_bytes(desk.transaction(request))
    row = seal_body(
        key(desk.org_id, ENCRYPTION_KEY), desk.replica.ledger, OpenedBody(desk.patient.key, 1, request.body)
    )
    document = endorse_request(payload, [row], desk.replica.height + 1)
    desk.restart(catch_up_s=60)
    timer = threading.Timer(0.1, lambda: block_of(desk.replica, desk.author.anchor(1), time=NOW))
    timer.start()
    assert desk.endorser.endorse(document, RENHE)["key"] == key(desk.org_id, "ledger").id
    timer.join()


def test_evidence_is_part_of_what_is_endorsed(desk):
    desk.enrol()
    request = desk.consent()
    evidence = request.body.evidence
    assert isinstance(evidence, Evidence)
    swapped = request.body.with_evidence(fresh(32), evidence.value)
    assert desk.refusal(replace(request, shown=swapped)) == "body.hash"


def test_a_body_that_was_destroyed_is_nowhere_any_more(desk):
    body = build_body("subject", {"name": "a secret"}, None, fresh)
    shelf, target = desk.shelf, b"\1" * 32
    shelf.keep(target, 1, body)
    assert shelf.at(target, 1) == shelf.at(target, 1) == body
    shelf.destroy_unaccepted(target, 1)
    assert shelf.at(target, 1) is None
    assert shelf._cache.size_bytes == 0  # noqa: SLF001  # nor in memory


def test_a_body_that_is_destroyed_while_it_is_read_does_not_stay_in_memory(desk, monkeypatch):
    body = build_body("subject", {"name": "a secret"}, None, fresh)
    shelf, target = desk.shelf, b"\1" * 32
    shelf.keep(target, 1, body)
    read = desk.replica.store.body

    def meanwhile(key: bytes, version: int) -> bytes | None:
        data = read(key, version)
        monkeypatch.undo()
        shelf.destroy(target)
        return data

    monkeypatch.setattr(desk.replica.store, "body", meanwhile)
    assert shelf.at(target, 1) == body
    assert shelf._cache.size_bytes == 0  # noqa: SLF001  # nothing was kept of it
