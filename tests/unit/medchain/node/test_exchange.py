"""Releases between organisations, over whole nodes with real files: what leaves, when, to whom, and what never does."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from consent.hiding import Hidden, hiding_terms
from medchain.errors import (
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.kinds import access as accesses
from medchain.ledger.kinds.content import Period
from medchain.ledger.members import REMOVED, SUSPENDED
from medchain.ledger.object import build_body, map_key
from medchain.ledger.request import access_id, access_key
from medchain.node import custodian, refusing, standing
from medchain.node.exchange import Asker
from medchain.node.pending import PendingReleases
from medchain.node.records import NewRecord, NewStream
from medchain.node.release import parse_answer
from medchain.node.release_ports import ConsentInForce
from medchain.node.submit import Draft, Submitter
from medchain.store.ledger import LedgerStore
from medchain.store.records import CONCERN
from tests.unit.medchain.ledger.world import fresh
from tests.unit.medchain.node.exchanges import (
    ANXIN,
    RENHE,
    Exchange,
    entry_version,
    observation,
    reasons,
    refused,
    together,
)
from tests.unit.medchain.node.federation import COMMISSION, NOW, TONGJI, grant
from tests.waiting import eventually

DAY_S = 86400
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
NO_PSYCHIATRY = {"type": "deny", "securityLabel": [{"system": ACT_CODE, "code": "PSY"}]}


def said(provision: dict) -> dict:
    """Write what a patient rules, as FHIR."""
    scope = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]}
    return {"resourceType": "Consent", "status": "active", "scope": scope, "provision": provision}


class Killed(BaseException):
    """The process ends here."""


def kill() -> None:
    raise Killed


@pytest.fixture(scope="module")
def opened(federation):
    """Open one consent for the tests that leave patient, consent and records as they are."""
    made = Exchange(federation)
    made.open()
    made.store(observation(1), observation(2))
    return made


@pytest.fixture
def granted(opened):
    """Give each test a grant of its own under that consent."""
    made = replace(opened, grant=opened.give(), custodians={}, askers={}, sent=[], entries=[])
    yield made
    calm(made)


@pytest.fixture
def exchange(opened):
    """Give each test records of its own too."""
    made = opened.another()
    made.store(observation(1), observation(2))
    yield made
    calm(made)


@pytest.fixture
def own(federation):
    """Give each test a patient, a consent and a grant of its own."""
    made = Exchange(federation)
    made.open()
    made.store(observation(1), observation(2))
    yield made
    calm(made)


def calm(exchange) -> None:
    """Undo what a test did to the network and to time."""
    exchange.federation.tamper = lambda *arguments: arguments[-1]
    exchange.federation.time = NOW
    exchange.federation.down.clear()


# What is released, and what both sides keep of it


def test_granted_records_arrive_whole_and_the_access_is_final_on_both_ledgers(granted):
    received = granted.asker().request_release(granted.wish())
    assert [row.content for row in received.records] == [observation(1), observation(2)]
    assert all(row.is_newest and row.creator == RENHE for row in received.records)
    assert received.following is None
    for org_id in (RENHE, ANXIN):
        store = granted.federation.sites[org_id].ledger
        assert store.record(received.access.key) == received.access
        assert received.access.since < store.final().size


def test_both_sides_keep_the_access_entry_with_the_signed_request_in_it(granted):
    signed = granted.asker().prepare(granted.wish())
    received = granted.asker().fetch(signed)
    for org_id in (RENHE, ANXIN):
        body = granted.federation.sites[org_id].node.shelf.at(received.access.key, 1)
        rows = accesses.read(body.content).accesses
        assert [(row.request_hash, row.count, row.purpose) for row in rows] == [(signed.request.hash, 2, "HPAYMT")]
        assert body.evidence.value == {"requests": [signed.to_json()]}
        assert body.body_hash == received.access.body_hash


def test_both_sides_note_the_access_with_its_place_on_the_ledger(granted):
    received = granted.asker().request_release(granted.wish())
    custodian, asker = granted.federation.sites[RENHE], granted.federation.sites[ANXIN]
    given = custodian.records.accesses(granted.token)
    taken = asker.records.accesses(granted.grant.hex())
    assert (given[-1].direction, given[-1].position) == ("given", received.access.since)
    assert [(row.direction, row.position) for row in taken] == [("received", received.access.since)]


def test_no_wrapped_key_is_kept_once_the_answer_is_given(granted):
    granted.asker().request_release(granted.wish())
    assert granted.federation.sites[RENHE].records.pending(10, kind="release") == []


def test_a_second_request_is_a_second_version_of_the_same_chain(granted):
    first = granted.asker().request_release(granted.wish())
    second = granted.asker().request_release(granted.wish())
    assert (first.access.key, first.access.version) == (access_key(granted.grant, RENHE), 1)
    assert (second.access.key, second.access.version) == (first.access.key, 2)


def test_that_nothing_was_released_under_a_grant_can_be_proven(granted):
    unused = granted.give()
    granted.asker().request_release(granted.wish())
    replica = granted.federation.sites[COMMISSION].replica
    assert replica.prove_record(access_key(unused, RENHE)).record is None
    assert replica.prove_record(access_key(granted.grant, RENHE)).record.version == 1


# Minimum necessary


def test_only_types_that_are_asked_for_and_granted_leave(exchange):
    exchange.store(b'{"resourceType":"Condition","id":"c1"}', type_name="Condition")
    received = exchange.asker().request_release(exchange.wish(resource_types=("*",)))
    assert [row.content for row in received.records] == [observation(1), observation(2)]
    nothing = refused(exchange, exchange.wish(resource_types=("Condition",)))
    assert nothing == "NotFoundError release.nothing"


def test_only_records_of_the_period_asked_for_leave(exchange):
    exchange.store(observation(3, "2020-05-05"), b'{"resourceType":"Observation","id":"o4"}')
    period = Period(1_588_291_200, 1_590_969_599)  # May 2020 in UTC
    received = exchange.asker().request_release(exchange.wish(period=period))
    assert [row.content for row in received.records] == [observation(3, "2020-05-05")]


def test_only_records_within_the_dates_of_the_consent_leave(own):
    span = {"start": NOW - 30 * DAY_S, "end": NOW}
    own.open(data_period=span)
    own.store(observation(3, "2020-05-05"), b'{"resourceType":"Observation","id":"o4"}')
    received = own.asker().request_release(own.wish())
    assert [row.content for row in received.records] == [observation(1), observation(2)]


def test_what_the_rules_of_the_consent_keep_back_does_not_leave(own):
    own.open(fhir=said({"type": "permit", "provision": [NO_PSYCHIATRY]}))
    labelled = b'{"resourceType":"Observation","id":"o3","meta":{"security":[{"code":"PSY"},{"code":"R"}]}}'
    own.store(labelled, b'{"resourceType":"Observation","id":"o4","meta":{"security":[{"code":"R"}]}}')
    contents = [row.content for row in own.asker().request_release(own.wish()).records]
    assert len(contents) == 3
    assert labelled not in contents


def test_attack_the_scan_of_a_record_that_the_rules_keep_back_leaves_as_a_binary(own):
    """A Binary leaves where the record of its security context would; of one that is gone nothing is known."""
    own.open(fhir=said({"type": "permit", "provision": [NO_PSYCHIATRY]}), resource_types=["Binary", "Observation"])
    own.store(b'{"resourceType":"Observation","id":"o3","meta":{"security":[{"code":"PSY"},{"code":"R"}]}}')
    newest = own.federation.sites[RENHE].records.by_patient(own.token, ("Observation",))
    plain, labelled = newest[0].id, newest[-1].id
    own.scan(f"Observation/{labelled}", "image/jpeg")
    own.scan(f"Observation/{plain}", "image/png")
    own.scan("Observation/gone", "image/tiff")
    own.scan("Condition/of-no-type-that-is-permitted", "image/bmp")
    own.grant = own.give(resource_types=["Binary"])
    received = own.asker().request_release(own.wish(resource_types=("Binary",)))
    assert [row.content_type for row in received.records] == ["image/png"]


def test_attack_a_provenance_tells_another_organisation_of_a_record_that_the_rules_keep_back(own):
    """It leaves where all that it is of would."""
    types = ["Binary", "Observation", "Provenance"]
    own.open(fhir=said({"type": "permit", "provision": [NO_PSYCHIATRY]}), resource_types=types)
    own.store(b'{"resourceType":"Observation","id":"o3","meta":{"security":[{"code":"PSY"},{"code":"R"}]}}')
    newest = own.federation.sites[RENHE].records.by_patient(own.token, ("Observation",))
    plain, labelled = f"Observation/{newest[0].id}", f"Observation/{newest[-1].id}"
    of_plain = provenance(plain)
    own.store(
        *(of_plain, provenance(labelled), provenance(f"{labelled}/_history/1"), provenance(plain, labelled)),
        *(provenance("Observation/gone"), provenance("Condition/of-no-type-that-is-permitted")),
        type_name="Provenance",
    )
    own.grant = own.give(resource_types=["Provenance"])
    received = own.asker().request_release(own.wish(resource_types=("Provenance",)))
    assert [row.content for row in received.records] == [of_plain]


def provenance(*targets: str) -> bytes:
    target = [{"reference": one} for one in targets]
    return json.dumps({"resourceType": "Provenance", "target": target, "recorded": "2020-05-05T00:00:00Z"}).encode()


def test_a_scan_leaves_by_the_types_of_a_consent_without_rules(own):
    own.open(resource_types=["Binary", "Observation"])
    own.store()
    own.scan("Observation/gone", "image/tiff")
    own.scan("Condition/of-no-type-that-is-permitted", "image/bmp")
    own.grant = own.give(resource_types=["Binary"])
    received = own.asker().request_release(own.wish(resource_types=("Binary",)))
    assert [row.content_type for row in received.records] == ["image/tiff"]


def test_a_record_leaves_only_once_it_is_final(exchange):
    site = exchange.federation.sites[RENHE]
    site.service.create(NewRecord("Observation", exchange.local, observation(9), exchange.local))
    assert len(exchange.asker().request_release(exchange.wish()).records) == 2
    exchange.anchor()
    assert len(exchange.asker().request_release(exchange.wish()).records) == 3


def test_a_consent_of_the_ledger_is_released_to_nobody(exchange):
    site, token = exchange.federation.sites[RENHE], exchange.token
    consent = b'{"resourceType":"Consent","id":"%s"}'
    kept, own = fresh(32).hex(), f"own-{exchange.local}"
    made = [NewRecord("Consent", name, consent % name.encode(), "", token=token) for name in (kept, own)]
    site.service.create_many(made)
    exchange.anchor()
    types = ("Consent", "Observation")
    request = replace(exchange.asker().prepare(exchange.wish()).request, resource_types=types)
    holdings = standing.Holdings(exchange.parts())
    found = holdings.standing(exchange.grant)
    content = {**found.content, "resource_types": list(types)}
    wide = replace(found, grant=replace(found.grant, resource_types=types), content=content)
    chosen = {row.stored.id for row in holdings.choose(request, wide, token).records}
    assert (kept in chosen, own in chosen, len(chosen)) == (False, True, 3)


def test_what_a_patient_complains_of_is_released_to_nobody_whom_all_is_permitted(exchange):
    site, token = exchange.federation.sites[RENHE], exchange.token
    site.service.create(NewRecord(CONCERN, fresh(16).hex(), b"{}", "", content_type="x/y", token=token))
    exchange.anchor()
    request = replace(exchange.asker().prepare(exchange.wish()).request, resource_types=("*",))
    holdings = standing.Holdings(exchange.parts())
    found = holdings.standing(exchange.grant)
    content = {**found.content, "resource_types": ["*"]}
    wide = replace(found, grant=replace(found.grant, resource_types=("*",)), content=content)
    assert {row.stored.type for row in holdings.choose(request, wide, token).records} == {"Observation"}


def test_of_a_record_that_changed_the_final_version_leaves(exchange):
    site = exchange.federation.sites[RENHE]
    first = site.records.by_patient(exchange.token)[0].id
    site.service.update(NewRecord("Observation", first, observation(7), exchange.local))
    before = exchange.asker().request_release(exchange.wish())
    assert {row.content for row in before.records} == {observation(1), observation(2)}
    exchange.anchor()
    after = exchange.asker().request_release(exchange.wish())
    assert {row.content for row in after.records} == {observation(7), observation(2)}


def test_a_deleted_record_does_not_leave_whether_the_ledger_knows_yet_or_not(exchange):
    site = exchange.federation.sites[RENHE]
    site.service.delete("Observation", site.records.by_patient(exchange.token)[0].id)
    before = exchange.asker().request_release(exchange.wish())
    exchange.anchor()
    after = exchange.asker().request_release(exchange.wish())
    assert [[row.content for row in found.records] for found in (before, after)] == [[observation(2)]] * 2


def test_a_record_entered_in_error_does_not_leave(exchange):
    site = exchange.federation.sites[RENHE]
    first = site.records.by_patient(exchange.token)[0].id
    site.service.update(NewRecord("Observation", first, observation(1), exchange.local, status="entered-in-error"))
    before = exchange.asker().request_release(exchange.wish())
    exchange.anchor()
    after = exchange.asker().request_release(exchange.wish())
    assert [[row.content for row in found.records] for found in (before, after)] == [[observation(2)]] * 2


def test_a_record_deleted_between_entry_and_answer_holds_the_answer_back(exchange):
    site = exchange.federation.sites[RENHE]

    def delete():
        site.service.delete("Observation", site.records.by_patient(exchange.token)[0].id)
        exchange.anchor()

    exchange.after_place = delete
    assert refused(exchange) == "NotFoundError release.nothing"
    assert reasons(exchange) == {"release.no_record"}


def test_a_record_deleted_between_entry_and_answer_holds_it_back_before_the_ledger_knows(exchange):
    site = exchange.federation.sites[RENHE]
    first = site.records.by_patient(exchange.token)[0].id
    exchange.after_place = lambda: site.service.delete("Observation", first)
    assert refused(exchange) == "NotFoundError release.nothing"


def test_records_of_another_patient_never_leave(exchange):
    exchange.store(observation(8), patient="somebody-else")
    received = exchange.asker().request_release(exchange.wish())
    assert observation(8) not in {row.content for row in received.records}


def test_a_large_record_and_one_with_a_field_root_arrive_as_well(exchange):
    exchange.grant = exchange.give(resource_types=["Condition"])
    condition = b'{"resourceType":"Condition","id":"c1","note":[{"text":"' + b"a" * (1 << 20) + b'"}]}'
    exchange.store(condition, type_name="Condition")
    received = exchange.asker().request_release(exchange.wish(resource_types=("Condition",)))
    assert [row.content for row in received.records] == [condition]


def test_a_binary_arrives_under_its_own_type(exchange):
    content = b"\xff\xd8 scan" * 200_000
    site = exchange.federation.sites[RENHE]
    site.service.create_stream(NewStream("Condition", "scan", "image/jpeg", b"{}", exchange.token), [content])
    exchange.anchor()
    exchange.grant = exchange.give(resource_types=["Condition"])
    (received,) = exchange.asker().request_release(exchange.wish(resource_types=("Condition",))).records
    assert (received.content_type, received.content) == ("image/jpeg", content)


def test_a_record_that_no_answer_holds_is_counted_and_said_to_be_too_large(exchange, monkeypatch):
    monkeypatch.setattr(standing, "MAX_ANSWER_BYTES", (1 << 20) + (1 << 19))
    site = exchange.federation.sites[RENHE]
    site.service.create_stream(
        NewStream("Condition", "scan-2", "image/jpeg", b"{}", exchange.token), [bytes(1 << 20), b"x"]
    )
    exchange.anchor()
    exchange.grant = exchange.give(resource_types=["Condition", "Observation"])
    received = exchange.asker().request_release(exchange.wish(resource_types=("Condition", "Observation")))
    assert ([row.content for row in received.records], received.oversized) == ([observation(1), observation(2)], 1)
    with pytest.raises(MedchainError) as caught:
        exchange.asker().request_release(exchange.wish(resource_types=("Condition",)))
    assert caught.value.code == "release.too_large"


def test_what_does_not_fit_is_for_a_further_request(exchange, monkeypatch):
    monkeypatch.setattr(standing, "MAX_RECORDS", 2)
    exchange.store(observation(3))
    first = exchange.asker().request_release(exchange.wish())
    second = exchange.asker().request_release(exchange.wish(after=first.following))
    assert [row.content for row in first.records] == [observation(1), observation(2)]
    assert [row.content for row in second.records] == [observation(3)]
    assert second.following is None


def test_at_most_so_many_as_are_asked_for_leave_at_once(exchange):
    exchange.store(observation(3))
    first = exchange.asker().request_release(exchange.wish(count=2))
    second = exchange.asker().request_release(exchange.wish(count=2, after=first.following))
    assert [row.content for row in first.records] == [observation(1), observation(2)]
    assert ([row.content for row in second.records], second.following) == ([observation(3)], None)


def test_a_search_that_the_custodian_does_not_understand_gives_nothing(granted):
    """A custodian without a search, as here: what it cannot select by must not widen what leaves."""
    assert refused(granted, granted.wish(query="code=718-7")) == "NotFoundError release.nothing"
    assert (reasons(granted), entry_version(granted)) == ({"release.query"}, 0)


# Refusals


def test_absent_and_forbidden_get_the_same_answer_and_the_reason_stays_at_the_custodian(granted):
    consent, allowed = granted.consent, granted.grant
    stopped = granted.give()
    granted.federation.sites[RENHE].node.stops.stop(stopped)
    answers = {
        refused(granted, granted.wish(grant=fresh(32))),
        refused(granted, granted.wish(grant=consent)),
        refused(granted, granted.wish(grant=stopped)),
        refused(granted, granted.wish(purpose="TREAT")),
        refused(granted, granted.wish(resource_types=("Condition",))),
        refused(granted, granted.wish(period=Period(0, 1))),
    }
    assert answers == {"NotFoundError release.nothing"}
    assert entry_version(granted) == 0
    assert allowed == granted.grant
    assert len(granted.refusals()) == 6
    assert {"release.grant", "release.types", "release.no_record"} <= reasons(granted)


def test_a_member_that_is_refused_without_end_fills_no_disk(granted, monkeypatch):
    site = granted.federation.sites[RENHE]
    before = sum(row.count for row in site.records.refusals() if row.requester == ANXIN)
    monkeypatch.setattr(refusing, "MAX_NOTED", before + 5)
    noted = len(granted.refusals())
    for number in range(20):
        with pytest.raises(InputError):
            granted.custodian().release(b"no request %d" % number, ANXIN)
    assert len(granted.refusals()) - noted == 5
    after = [row for row in site.records.refusals() if row.requester == ANXIN]
    assert sum(row.count for row in after) == before + 20
    # Others are noted as before.
    with pytest.raises(InputError):
        granted.custodian().release(b"no request of theirs", COMMISSION)
    assert len(granted.refusals()) - noted == 6


def test_attack_a_request_is_replayed(granted):
    signed = granted.asker().prepare(granted.wish())
    granted.asker().fetch(signed)
    with pytest.raises(ConflictError, match=r"release\.replayed"):
        granted.asker().fetch(signed)
    assert entry_version(granted) == 1


def test_a_custodian_releases_nothing_under_anothers_grant(own):
    own.open(custodians=(RENHE, TONGJI))
    site = own.federation.sites[TONGJI]
    site.node.submitter.wait_final(own.consent, 1, 60)
    body = grant(own.consent, custodian=TONGJI)
    theirs = site.node.submitter.submit(body).key
    own.federation.sites[RENHE].node.submitter.wait_final(theirs, 1, 60)
    # Even if this node holds the body, as one that endorsed it does.
    own.federation.sites[RENHE].node.shelf.keep(theirs, 1, body.body)
    assert refused(own, own.wish(grant=theirs)) == "NotFoundError release.nothing"
    assert reasons(own) == {"release.grant"}


def test_a_grant_that_has_expired_releases_nothing(granted):
    granted.federation.time += 8 * DAY_S
    assert refused(granted) == "NotFoundError release.nothing"


def test_a_grant_whose_body_is_gone_releases_nothing(granted):
    granted.federation.sites[RENHE].ledger.delete_body(granted.grant)
    assert refused(granted) == "NotFoundError release.nothing"
    assert reasons(granted) == {"release.body"}


def test_records_whose_key_was_destroyed_do_not_leave(exchange):
    site = exchange.federation.sites[RENHE]
    site.records.erase(site.records.newest_epoch(exchange.token).id, exchange.federation.time)
    assert refused(exchange) == "NotFoundError release.nothing"
    exchange.store(observation(5))
    received = exchange.asker().request_release(exchange.wish())
    assert [row.content for row in received.records] == [observation(5)]


def test_records_erased_between_entry_and_answer_do_not_leave(exchange):
    site = exchange.federation.sites[RENHE]

    def erase():
        site.records.erase(site.records.newest_epoch(exchange.token).id, exchange.federation.time)

    exchange.after_place = erase
    assert refused(exchange) == "NotFoundError release.nothing"
    assert reasons(exchange) == {"record.erased"}


# Stops


def test_a_stop_binds_when_it_is_heard_and_not_when_it_is_ordered(own):
    own.federation.down.add(COMMISSION)  # it orders
    own.federation.sites[RENHE].node.stops.stop(own.consent)
    assert own.federation.sites[RENHE].ledger.record(own.consent).status == "active"
    assert refused(own) == "NotFoundError release.nothing"
    assert reasons(own) == {"release.consent"}
    own.federation.down.clear()


def test_a_stop_that_is_ordered_first_refuses_the_entry(own):
    site = own.federation.sites[ANXIN]

    def stop_first():
        # Another member stops; the custodian does not hear of it but from the ledger.
        own.federation.tamper = lambda what, *_: kill_push() if what == "push" else _[-1]
        site.node.stops.stop(own.consent)
        site.node.driver.outbox.step()
        own.federation.tamper = lambda *arguments: arguments[-1]

    def kill_push():
        raise UnavailableError("peer.unreachable")

    own.before_place = stop_first
    assert refused(own) == "NotFoundError release.nothing"
    assert entry_version(own) == 0
    assert len(reasons(own)) == 1
    assert own.federation.sites[RENHE].records.pending(10, kind="release") == []


def hiding(reference: str) -> ConsentInForce:
    """Write a hiding of a record that is in force."""
    return ConsentInForce(bytes(32), 1, hiding_terms(Hidden.of_record(reference), RENHE, "22" * 32, NOW))


def test_what_is_hidden_is_left_out_of_what_leaves(exchange):
    exchange.inside.append(hiding("Observation/o1"))
    received = exchange.asker().request_release(exchange.wish())
    assert [row.content for row in received.records] == [observation(2)]


def test_attack_a_record_that_was_hidden_between_entry_and_answer_leaves(exchange):
    """The request could be sent again for as long as it is young, and its answer fetched once the hiding counted."""
    exchange.after_place = lambda: exchange.inside.append(hiding("Observation/o1"))
    assert refused(exchange) == "NotFoundError release.nothing"
    assert entry_version(exchange) == 1
    assert reasons(exchange) == {"release.no_record"}


@pytest.mark.parametrize(
    ("holder", "member"),
    [
        ("DocumentReference", '"content":[{"attachment":%s}]'),
        ("Communication", '"payload":[{"contentAttachment":%s}]'),
        ("QuestionnaireResponse", '"item":[{"linkId":"1","answer":[{"valueAttachment":%s}]}]'),
        ("Immunization", '"extension":[{"url":"http://example.org/card","valueAttachment":%s}]'),
    ],
)
def test_attack_the_file_of_a_hidden_record_leaves_as_a_binary(own, holder, member):
    types = ["Binary", holder]
    own.open(resource_types=sorted([*types, "Observation"]))
    own.scan("Patient/p1", "image/png")
    url = f"Binary/{own.federation.sites[RENHE].records.by_patient(own.token, ('Binary',))[0].id}"
    attachment = member % f'{{"url":"{url}"}}'
    own.store(f'{{"resourceType":"{holder}","id":"d1",{attachment}}}'.encode(), type_name=holder)
    own.grant = own.give(resource_types=types)
    wish = own.wish(resource_types=tuple(types))
    assert len(own.asker().request_release(wish).records) == 2
    own.inside.append(hiding(f"{holder}/d1"))
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        own.asker().request_release(wish)


def test_what_is_hidden_between_entry_and_answer_holds_nothing_else_back(exchange):
    chosen = exchange.wish(count=1)
    exchange.after_place = lambda: exchange.inside.append(hiding("Observation/o2"))
    assert len(exchange.asker().request_release(chosen).records) == 1


def test_a_stop_between_entry_and_answer_holds_the_records_back(granted):
    granted.after_place = lambda: granted.federation.sites[RENHE].node.stops.stop(granted.grant)
    assert refused(granted) == "NotFoundError release.nothing"
    # The entry says more than what left, never less.
    assert entry_version(granted) == 1
    assert reasons(granted) == {"release.grant"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"status": SUSPENDED}, "release.recipient"),
        ({"status": REMOVED}, "release.recipient"),
        ({"keys": ()}, "release.key"),
    ],
)
def test_a_member_suspended_or_a_key_withdrawn_between_entry_and_answer_gets_nothing(
    granted, monkeypatch, change, code
):
    before = granted.federation.sites[RENHE].ledger.members
    after = before.with_organisation(replace(before.organisations[ANXIN], **change))
    granted.after_place = lambda: monkeypatch.setattr(LedgerStore, "members", property(lambda _self: after))
    assert refused(granted) == "NotFoundError release.nothing"
    assert entry_version(granted) == 1
    assert reasons(granted) == {code}


# Faults on the way


def test_a_node_killed_between_entry_and_answer_gives_the_same_release_when_asked_again(granted):
    signed = granted.asker().prepare(granted.wish())
    granted.after_place = kill
    with pytest.raises(Killed):
        granted.asker().fetch(signed)
    granted.after_place = lambda: None
    granted.crash()
    received = granted.asker().fetch(signed)
    assert (received.access.version, entry_version(granted)) == (1, 1)
    assert [row.content for row in received.records] == [observation(1), observation(2)]
    with pytest.raises(ConflictError, match=r"release\.replayed"):
        granted.asker().fetch(signed)


def test_a_node_killed_before_its_entry_was_ordered_brings_the_same_entry_when_asked_again(granted):
    signed = granted.asker().prepare(granted.wish())
    granted.before_place = kill
    with pytest.raises(Killed):
        granted.asker().fetch(signed)
    granted.before_place = lambda: None
    granted.crash()
    assert entry_version(granted) == 0
    received = granted.asker().fetch(signed)
    assert (received.access.version, received.access.body_hash) == (1, granted.entries[0].body.body_hash)


def test_a_node_killed_before_it_kept_what_it_was_to_release_has_not_used_the_request_up(granted):
    signed = granted.asker().prepare(granted.wish())
    granted.before_keep = kill
    with pytest.raises(Killed):
        granted.asker().fetch(signed)
    granted.before_keep = lambda: None
    granted.crash()
    assert [row.content for row in granted.asker().fetch(signed).records] == [observation(1), observation(2)]
    assert (len(granted.entries), entry_version(granted)) == (2, 1)
    with pytest.raises(ConflictError, match=r"release\.replayed"):
        granted.asker().fetch(signed)


def test_what_cannot_be_kept_is_not_ordered_and_may_be_asked_for_again(granted, monkeypatch):
    signed = granted.asker().prepare(granted.wish())

    def full(*_: object):
        raise UnavailableError("store.full")

    with monkeypatch.context() as patch:
        patch.setattr(PendingReleases, "keep", full)
        with pytest.raises(UnavailableError, match=r"store\.full"):
            granted.asker().fetch(signed)
    assert entry_version(granted) == 0
    assert granted.asker().fetch(signed).access.version == 1


def test_a_refused_request_is_used_up_too(granted):
    signed = granted.asker().prepare(granted.wish(purpose="TREAT"))
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        granted.asker().fetch(signed)
    granted.crash()
    with pytest.raises(ConflictError, match=r"release\.replayed"):
        granted.asker().fetch(signed)


def test_what_was_withdrawn_while_a_node_was_down_does_not_leave_afterwards(own):
    signed = own.asker().prepare(own.wish())
    own.after_place = kill
    with pytest.raises(Killed):
        own.asker().fetch(signed)
    own.after_place = lambda: None
    own.crash()
    own.federation.sites[RENHE].node.stops.stop(own.consent)
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        own.asker().fetch(signed)


def test_an_entry_that_lands_while_its_retry_is_made_stands_once_on_the_ledger(granted, monkeypatch):
    # The first attempt is not known to have been ordered; the retry looks at the ledger a moment before it is there.
    before = entry_version(granted)
    original, landed = Submitter._change, []  # noqa: SLF001  # the step in which the fault happens

    def change(self, draft):
        if draft.kind == "access" and not landed:
            landed.append(draft)
            self.submit(draft)
        return original(self, draft)

    monkeypatch.setattr(Submitter, "_change", change)
    received = granted.asker().request_release(granted.wish())
    assert (received.access.version, entry_version(granted)) == (before + 1, before + 1)
    assert len(landed) == 1


def test_an_entry_that_was_stopped_before_it_was_ordered_is_given_up(granted):
    signed = granted.asker().prepare(granted.wish())
    granted.before_place = kill
    with pytest.raises(Killed):
        granted.asker().fetch(signed)
    granted.before_place = lambda: None
    granted.crash()
    site = granted.federation.sites[RENHE]
    site.node.stops.stop(granted.grant)
    site.node.driver.outbox.step()
    site.node.submitter.wait_final(granted.grant, 2, 60)
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        granted.asker().fetch(signed)
    assert entry_version(granted) == 0
    assert site.records.pending(10, kind="release") == []


def test_a_request_that_waits_too_long_for_its_turn_is_told_to_come_again(granted, monkeypatch):
    monkeypatch.setattr(custodian, "WAIT_S", 0.05)
    entered, go_on = threading.Event(), threading.Event()

    def hold():
        entered.set()
        assert go_on.wait(60)

    granted.before_place = hold
    node, asker = granted.custodian(), granted.asker()

    def second():
        assert entered.wait(60)
        try:
            return node.release(asker.prepare(granted.wish()).encode(), ANXIN)
        finally:
            go_on.set()

    first, late = together(lambda: asker.request_release(granted.wish()), second)
    assert (first.access.version, late.code) == (1, "release.busy")


def test_an_answer_that_nobody_fetches_is_forgotten_once_its_request_is_too_old(granted):
    signed = granted.asker().prepare(granted.wish())
    granted.after_place = kill
    with pytest.raises(Killed):
        granted.asker().fetch(signed)
    granted.after_place = lambda: None
    granted.federation.time += 121
    granted.crash()
    granted.custodian()
    assert granted.federation.sites[RENHE].records.pending(10, kind="release") == []
    assert entry_version(granted) == 1


def test_without_a_quorum_nothing_leaves_and_with_it_the_same_request_is_answered(granted):
    granted.timeout_s = 0.3
    granted.federation.down |= {TONGJI, "taiping-insurance"}
    signed = granted.asker().prepare(granted.wish())
    with pytest.raises(UnavailableError):
        granted.custodian().release(signed.encode(), ANXIN)
    granted.federation.down.clear()
    granted.timeout_s = Exchange.timeout_s
    assert granted.asker().fetch(signed).access.version == 1
    assert entry_version(granted) == 1


def test_a_lost_answer_is_asked_for_again_and_never_given_twice(granted):
    def lose(_data):
        raise UnavailableError("peer.broken")

    granted.on_answer = lose
    with pytest.raises(ConflictError, match=r"release\.replayed"):
        granted.asker().request_release(granted.wish())
    assert entry_version(granted) == 1


# Many at once


def test_requests_that_come_while_an_entry_is_under_way_go_into_the_next_one_together(granted):
    entered, go_on = threading.Event(), threading.Event()

    def hold():
        entered.set()
        assert go_on.wait(60)

    granted.before_place = hold
    asker, chains = granted.asker(), granted.custodian()._chains  # noqa: SLF001  # to see who waits

    def release_the_first():
        assert entered.wait(60)
        granted.before_place = lambda: None
        try:
            assert eventually(lambda: (chain := chains.get(granted.grant)) is not None and len(chain.waiting) == 5)
        finally:
            go_on.set()

    def later():
        assert entered.wait(60)
        return asker.request_release(granted.wish())

    first, *others = together(lambda: asker.request_release(granted.wish()), *([later] * 5), release_the_first)[:-1]
    assert first.access.version == 1
    assert [other.access.version for other in others] == [2] * 5
    body = granted.federation.sites[ANXIN].node.shelf.at(first.access.key, 2)
    assert len({row.request_hash for row in accesses.read(body.content).accesses}) == 5


def test_one_bad_request_does_not_hold_up_the_others_of_its_entry(granted):
    good, bad = granted.wish(), granted.wish(resource_types=("Condition",))
    asker, _ = granted.asker(), granted.custodian()
    found = together(*(lambda wish=wish: asker.request_release(wish) for wish in (good, bad, good)))
    assert [type(item).__name__ for item in found] == ["Received", "NotFoundError", "Received"]


def test_an_entry_whose_body_was_not_given_to_us_is_refused(granted):
    answers: list[bytes] = []
    granted.on_answer = lambda data: answers.append(data) or data
    signed = granted.asker().prepare(granted.wish())
    received = granted.asker().fetch(signed)
    granted.federation.sites[ANXIN].ledger.delete_body(received.access.key)
    with pytest.raises(VerificationError, match=r"exchange\.access"):
        granted.asker().open(signed, answers[0])


def test_an_entry_made_up_by_the_custodian_alone_is_refused(granted, monkeypatch):
    # The custodian enters an access under a hash that we never signed, and so without our signed request.
    signed = granted.asker().prepare(granted.wish())
    row = accesses.Access(signed.request.hash, 1, fresh(32), fresh(32), "HPAYMT", NOW)
    content = accesses.Accesses(granted.grant, (granted.consent,), (row,)).to_content()
    site = granted.federation.sites[RENHE]
    key = access_key(granted.grant, RENHE)
    object_id = access_id(granted.grant, RENHE)
    forged = Draft("access", object_id, build_body("access", content, None, fresh))
    with pytest.raises(VerificationError, match=r"body\.malformed"):
        site.node.submitter.submit(forged)
    # Its own software refuses that: it has another.
    with monkeypatch.context() as changed:
        changed.setattr("medchain.node.endorse.check_body", lambda *_: None)
        site.node.submitter.submit(forged)
    assert map_key("access", RENHE, object_id) == key
    granted.federation.sites[ANXIN].node.submitter.wait_final(key, 1, 60)
    answers: list[bytes] = []
    granted.on_answer = lambda data: answers.append(data) or data
    granted.asker().request_release(granted.wish())
    forged = replace(parse_answer(answers[0]), request_hash=signed.request.hash, access_version=1)
    with pytest.raises(VerificationError, match=r"exchange\.access"):
        granted.asker().open(signed, forged.encode())


def test_attack_a_hospital_dates_a_disclosure_back_alone(granted, monkeypatch):
    # The request is ours, what was released may be right: only when it was is a lie.
    answers: list[bytes] = []
    granted.on_answer = lambda data: answers.append(data) or data
    signed = granted.asker().prepare(granted.wish())
    whole = accesses.Accesses.to_content

    def dated_back(self):
        rows = tuple(replace(row, time=row.time - 600) for row in self.accesses)
        return whole(replace(self, accesses=rows))

    with monkeypatch.context() as changed:
        changed.setattr(accesses.Accesses, "to_content", dated_back)
        assert refused_fetch(granted, signed) == "release.nothing"
        # Its own software refuses that: it has another.
        changed.setattr("medchain.node.endorse.check_body", lambda *_: None)
        again = granted.asker().prepare(granted.wish())
        assert refused_fetch(granted, again) == "exchange.access"
    assert len(answers) == 1


def test_attack_a_hospital_releases_without_an_entry(granted):
    # The answer names an entry that is on no ledger, and everything else in it is right.
    answers: list[bytes] = []
    granted.on_answer = lambda data: answers.append(data) or data
    signed = granted.asker().prepare(granted.wish())
    received = granted.asker().fetch(signed)
    forged = replace(parse_answer(answers[0]), access_version=received.access.version + 7)
    impatient = Asker(replace(granted.asker()._parts, wait_s=0.1))  # noqa: SLF001  # the same asker with less patience
    with pytest.raises(VerificationError, match=r"exchange\.access"):
        impatient.open(signed, forged.encode())


def refused_fetch(exchange, signed) -> str:
    """Send a request; returns the code with which it, or its answer, was refused."""
    with pytest.raises(MedchainError) as caught:
        exchange.asker().fetch(signed)
    return caught.value.code
