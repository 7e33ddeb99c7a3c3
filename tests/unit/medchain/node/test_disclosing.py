"""Disclosures for a claim, over whole nodes with real files: what is told, to whom, and what never is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from consent.hiding import Hidden, hiding_terms
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.index_job import IndexJob
from medchain.encoding import parse_canonical
from medchain.errors import AccessDeniedError, ConflictError, InputError, NotFoundError, UnavailableError
from medchain.ledger.citation import Ask, citation_of
from medchain.ledger.evidence.disclosure import As
from medchain.ledger.members import SUSPENDED
from medchain.ledger.one_claim import OneClaim
from medchain.node.records import NewRecord
from medchain.node.release_ports import ConsentInForce
from medchain.store.ledger import LedgerStore
from medchain.store.records import CONCERN
from tests.unit.medchain.ledger.world import fresh
from tests.unit.medchain.node.disclosing import (
    CLAIM,
    DAYS,
    PERMITTED,
    SECRET,
    TYPES,
    Stay,
    disclosing,
    facts_of,
    row_of,
    value_of,
)
from tests.unit.medchain.node.exchanges import ANXIN, RENHE, Exchange, reasons
from tests.unit.medchain.node.federation import NOW, TONGJI

ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


class Killed(BaseException):
    """The process ends here."""


def kill() -> None:
    raise Killed


@pytest.fixture(scope="module")
def opened(federation):
    made = Exchange(federation)
    made.open(resource_types=PERMITTED)
    stay = Stay(made)
    stay.store(stay.doctor(), stay.patient(), *stay.records())
    made.claims = disclosing(made)
    return made


@pytest.fixture
def stay(opened):
    """Give each test a grant of its own under that consent."""
    made = replace(opened, grant=opened.give(resource_types=PERMITTED), custodians={}, askers={}, sent=[], entries=[])
    made.forget()
    yield Stay(made)
    made.federation.time = NOW


def shown(received, reference: str) -> dict[str, object]:
    """Read which fields of a record are opened."""
    row = row_of(received, reference)
    opening = next(one.opening for one in received.openings if one.object_id == row.object_id)
    return {one["name"]: json.loads(one["value"]) for one in json.loads(opening)["fields"]}


# What is told


def test_what_a_claim_cites_is_disclosed_in_part_under_an_access_that_both_sides_have(stay):
    received = stay.ask()
    said = received.signed.disclosure
    assert [one.reference for one in said.records] == sorted(stay.cited)
    assert (said.claim, said.hospital, said.insurer, said.grant) == (CLAIM, RENHE, ANXIN, stay.exchange.grant)
    assert {one.reference.split("/")[0]: one.role for one in said.records}["Invoice"] is As.INVOICE
    for org_id in (RENHE, ANXIN):
        assert stay.exchange.federation.sites[org_id].ledger.record(received.access.key) == received.access


def test_of_each_type_the_fields_of_the_table_are_opened_and_no_other(stay):
    received = stay.ask()
    assert shown(received, stay.name("Encounter", "e")) == {
        "/class/code": "IMP",
        "/class/system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
        "/id": f"{stay.local}-e",
        "/period/end": "2026-11-14T10:00:00Z",
        "/period/start": "2026-11-10T09:00:00Z",
        "/resourceType": "Encounter",
        "/status": "finished",
    }
    assert shown(received, stay.name("Condition", "c")) == {
        "/clinicalStatus/coding/0/code": "active",
        "/id": f"{stay.local}-c",
        "/onsetDateTime": "2026-05",
        "/recordedDate": "2026-11-10T11:00:00Z",
        "/resourceType": "Condition",
    }
    assert shown(received, stay.name("Invoice", "i")) == {
        "/date": "2026-11-14T10:00:00Z",
        "/id": f"{stay.local}-i",
        "/identifier/0/system": "https://medchain.example/fhir/id/e-invoice-code",
        "/identifier/0/value": "99060225",
        "/identifier/1/system": "https://medchain.example/fhir/id/e-invoice-number",
        "/identifier/1/value": "2798577178",
        "/lineItem/0/priceComponent/0/amount/currency": "CNY",
        "/lineItem/0/priceComponent/0/amount/value": 4200.5,
        "/lineItem/0/priceComponent/0/type": "base",
        "/lineItem/0/sequence": 1,
        "/resourceType": "Invoice",
        "/status": "issued",
        "/totalGross/currency": "CNY",
        "/totalGross/value": 4200.5,
    }


def test_a_record_whose_fields_are_not_committed_to_is_told_of_without_an_opening(stay):
    received = stay.ask()
    row = row_of(received, stay.name("Observation", "o"))
    assert [one.opening for one in received.openings if one.object_id == row.object_id] == [None]


def test_who_wrote_a_record_and_when_it_says_it_was_written_is_told(stay):
    received = stay.ask()
    condition = row_of(received, stay.name("Condition", "c")).versions[0]
    # 2026-11-10T11:00:00Z, and the visit at which it was written down: 2026-11-10T09:00:00Z.
    assert (condition.author, condition.entered, condition.event.start) == ("Dr. Lin", 1_794_308_400, 1_794_301_200)
    procedure = row_of(received, stay.name("Procedure", "p")).versions[0]
    assert (procedure.event.start, procedure.event.end) == (1_794_384_000, 1_794_391_200)


def test_statements_are_derived_of_what_is_not_shown(stay):
    encounter, condition = stay.name("Encounter", "e"), stay.name("Condition", "c")
    asks = (
        Ask.age("2026-11-10", 55),
        Ask.stay(encounter, 3),
        Ask.code(condition, "K80-K87"),
    )
    received = stay.ask(asks=asks)
    assert value_of(received, "age_at_least") is True
    assert value_of(received, "stay_at_most") is False
    assert value_of(received, "code_in") is True
    assert value_of(received, "surgery", encounter=encounter) is True
    assert value_of(received, "category", reference=condition) == "K80"
    assert value_of(received, "alive_on") is True
    assert value_of(received, "overlapping_stays") == 0
    assert value_of(received, "emergency_accesses") == 0
    assert value_of(received, "last_emergency_access") is None
    assert value_of(received, "credential", reference=stay.name("Procedure", "p")) == "valid"
    for type_name in ("Condition", "DiagnosticReport", "Observation", "Procedure"):
        assert value_of(received, "record_count", encounter=encounter, type=type_name) == 1


def test_nothing_that_says_more_than_a_claim_needs_is_in_it(stay):
    received = stay.ask()
    openings = b"".join(one.opening or b"" for one in received.openings)
    document = (received.signed.encode() + openings).decode()
    assert [one for one in SECRET if one in document] == []


def test_of_a_patient_whose_own_record_the_consent_does_not_open_neither_age_nor_life_is_told(stay):
    stay.exchange.grant = stay.exchange.give(resource_types=TYPES)
    # The grant has not the type, the consent has it: what may be counted is the consent's to say.
    assert value_of(stay.ask(asks=(Ask.age("2026-11-10", 55),)), "age_at_least") is True
    content = hiding_terms(Hidden.of_types(["Patient"]), RENHE, "11" * 32, NOW)
    stay.exchange.inside.append(ConsentInForce(b"\x09" * 32, 1, content))
    try:
        received = stay.ask(asks=(Ask.age("2026-11-10", 55),))
    finally:
        stay.exchange.inside.clear()
    assert value_of(received, "age_at_least") is None
    assert facts_of(received, "alive_on") == []


# What is not


def test_attack_another_patients_record_is_cited(stay, opened):
    other = Stay(replace(opened, local=f"{opened.local}x"))
    other.store(*other.records())
    received = stay.ask(*other.cited)
    assert [one.reference for one in received.signed.disclosure.records] == sorted(stay.cited)
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        stay.ask(cited=other.cited)
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        stay.ask(cited=["Condition/of-nobody"])
    assert reasons(stay.exchange) == {"release.no_record"}


def test_attack_a_record_that_the_patient_hides_is_cited(stay):
    content = hiding_terms(Hidden.of_record(stay.name("Condition", "c")), RENHE, "11" * 32, NOW)
    stay.exchange.inside.append(ConsentInForce(b"\x09" * 32, 1, content))
    try:
        received = stay.ask()
        assert stay.name("Condition", "c") not in [one.reference for one in received.signed.disclosure.records]
        counted = facts_of(received, "record_count")
        assert "Condition" not in [one.arguments["type"] for one in counted]
        assert len(counted) == 3
    finally:
        stay.exchange.inside.clear()


def test_what_the_patient_hides_between_entry_and_answer_holds_the_answer_back(stay):
    content = hiding_terms(Hidden.of_record(stay.name("Condition", "c")), RENHE, "11" * 32, NOW)
    consent = ConsentInForce(b"\x09" * 32, 1, content)
    stay.exchange.after_place = lambda: stay.exchange.inside.append(consent)
    try:
        with pytest.raises(NotFoundError, match=r"release\.nothing"):
            stay.ask()
    finally:
        stay.exchange.inside.clear()
    assert reasons(stay.exchange) == {"release.no_record"}


def test_a_type_that_the_grant_does_not_have_is_left_out(stay):
    stay.exchange.grant = stay.exchange.give(resource_types=["Encounter", "Invoice"])
    received = stay.ask()
    assert [one.role for one in received.signed.disclosure.records] == [As.ENCOUNTER, As.INVOICE]


def test_attack_records_that_are_kept_for_nobody_are_cited(stay):
    """A consent of the ledger, and what a patient complains of, leave for nobody, however they are asked for."""
    site, token = stay.exchange.federation.sites[RENHE], stay.exchange.token
    kept = [NewRecord("Consent", "ab" * 32, b'{"resourceType":"Consent"}', "", token=token)]
    kept.append(NewRecord(CONCERN, "cd" * 16, b"{}", "", content_type="x/y", token=token))
    site.service.create_many(kept)
    job = IndexJob(site.records, site.service, SearchIndex(site.records), stay.exchange.federation.clock)
    while job.step():
        pass
    stay.exchange.anchor()
    received = stay.ask(f"Consent/{'ab' * 32}", f"{CONCERN}/{'cd' * 16}")
    assert [one.reference for one in received.signed.disclosure.records] == sorted(stay.cited)


@pytest.fixture
def guarded(opened):
    """Give a stay whose consent denies what is labelled psychiatric, and such a label."""
    provision = {"type": "deny", "securityLabel": [{"system": ACT_CODE, "code": "PSY"}]}
    own = Exchange(opened.federation)
    rules = {"type": "permit", "provision": [provision]}
    scope = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]}
    fhir = {"resourceType": "Consent", "status": "active", "scope": scope, "provision": rules}
    own.open(resource_types=PERMITTED, fhir=fhir)
    other = Stay(own)
    other.store(other.doctor(), other.patient(), *other.records())
    own.claims, own.grant = disclosing(own), own.give(resource_types=PERMITTED)
    return other, {"meta": {"security": [{"code": "PSY", "system": ACT_CODE}, {"code": "R"}]}}


def test_an_altered_record_whose_earlier_version_is_hidden_is_left_out(guarded):
    """The rule is of what the claim would be shown: that the newest version says it no more opens nothing."""
    other, labelled = guarded
    moved = other.record("Condition", "psy", code={"text": "x"}, recordedDate="2026-11-10")
    other.store(moved | labelled)
    other.store(moved)
    told = [one.reference for one in other.ask(f"Condition/{moved['id']}").signed.disclosure.records]
    assert told == sorted(other.cited)


def test_of_a_version_that_a_rule_keeps_back_nothing_is_told_but_that_it_was(guarded):
    """Which fields came and went with it, and which doctor wrote it, would tell what it was."""
    other, labelled = guarded
    moved = other.record("Condition", "c", code={"text": "x"}, recordedDate="2026-11-10", recorder=other.by)
    other.store(moved)
    other.store(moved | labelled | {"note": [{"text": "x"}]})
    other.store(moved)
    versions = row_of(other.ask(), f"Condition/{moved['id']}").versions
    assert [(one.author, one.entered is None, one.event is None) for one in versions[-3:]] == [
        ("Dr. Lin", False, False),
        (None, True, True),
        ("Dr. Lin", False, False),
    ]
    assert [one.changed for one in versions[-2:]] == [(), ()]


def test_a_record_that_was_deleted_looks_as_one_that_was_never_there(stay, opened):
    gone = stay.record("Condition", "gone", code={"text": "x"})
    stay.store(gone)
    stay.exchange.federation.sites[RENHE].service.delete("Condition", gone["id"])
    received = stay.ask(f"Condition/{gone['id']}")
    assert [one.reference for one in received.signed.disclosure.records] == sorted(stay.cited)
    opened.anchor()
    received = stay.ask(f"Condition/{gone['id']}")
    assert [one.reference for one in received.signed.disclosure.records] == sorted(stay.cited)


def test_a_hospital_that_discloses_nothing_for_claims_answers_as_if_nothing_were_there(stay):
    stay.exchange.claims = None
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        stay.ask()
    assert reasons(stay.exchange) == {"release.claim"}


@pytest.mark.parametrize("bound", ["MAX_SIGNED_BYTES", "MAX_DISCLOSURE_BYTES"])
def test_what_nobody_could_read_is_not_disclosed_and_has_no_entry(stay, monkeypatch, bound):
    monkeypatch.setattr(f"medchain.node.citing.{bound}", 1000)
    with pytest.raises(InputError, match=r"release\.too_large"):
        stay.ask()
    assert stay.exchange.entries == []
    monkeypatch.undo()
    assert stay.ask().access.version == 1


def test_a_request_for_a_claim_is_answered_once(stay):
    asker = stay.exchange.asker()
    posted = asker.prepare_disclosure(stay.wish())
    asker.fetch_disclosure(posted)
    with pytest.raises(ConflictError, match=r"release\.replayed"):
        asker.fetch_disclosure(posted)


def test_a_request_that_was_entered_and_not_answered_gets_the_same_document_after_a_crash(stay):
    posted = stay.exchange.asker().prepare_disclosure(stay.wish())
    stay.exchange.after_place = kill
    with pytest.raises(Killed):
        stay.exchange.custodian().release(posted.encode(), ANXIN)
    stay.exchange.after_place = lambda: None
    stay.exchange.custodians.clear()
    received = stay.exchange.asker().fetch_disclosure(posted)
    assert [one.reference for one in received.signed.disclosure.records] == sorted(stay.cited)
    assert received.access.version == 1


def test_attack_the_same_request_with_another_citation(stay):
    """What is cited is bound to what was signed: else a replay would ask for more under an old signature."""
    posted = stay.exchange.asker().prepare_disclosure(stay.wish())
    other = replace(posted, citation=stay.citation(cited=[stay.name("Encounter", "e")]))
    with pytest.raises(InputError, match=r"release\.citation"):
        stay.exchange.custodian().release(other.encode(), ANXIN)
    assert reasons(stay.exchange) == {"release.citation"}


def test_attack_who_is_no_party_of_the_grant_asks(stay):
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        stay.exchange.asker(TONGJI).request_disclosure(stay.wish())
    posted = stay.exchange.asker().prepare_disclosure(stay.wish())
    with pytest.raises(AccessDeniedError, match=r"release\.recipient"):
        stay.exchange.custodian().release(posted.encode(), TONGJI)
    assert reasons(stay.exchange) == {"release.grant", "release.recipient"}


def test_attack_who_is_no_member_asks(stay):
    posted = stay.exchange.asker().prepare_disclosure(stay.wish())
    with pytest.raises(AccessDeniedError, match=r"release\.recipient"):
        stay.exchange.custodian().release(posted.encode(), "nobody")


@pytest.mark.parametrize(
    ("change", "code"), [({"status": SUSPENDED}, "release.recipient"), ({"keys": ()}, "release.key")]
)
def test_a_member_suspended_or_a_key_withdrawn_between_entry_and_answer_is_told_nothing(
    stay, monkeypatch, change, code
):
    before = stay.exchange.federation.sites[RENHE].ledger.members
    after = before.with_organisation(replace(before.organisations[ANXIN], **change))
    stay.exchange.after_place = lambda: monkeypatch.setattr(LedgerStore, "members", property(lambda _self: after))
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        stay.ask()
    assert reasons(stay.exchange) == {code}


def test_the_audit_has_it_before_it_leaves_and_nothing_leaves_without(stay):
    def full(_disclosure, _numbers):
        raise UnavailableError("store.full")

    stay.exchange.on_released = full
    with pytest.raises(UnavailableError, match=r"store\.full"):
        stay.ask()
    seen = []
    stay.exchange.on_released = lambda disclosure, numbers: seen.append((disclosure.request.claim, len(numbers)))
    stay.exchange.custodians.clear()
    received = stay.ask()
    assert seen == [(received.request.request.claim, len(stay.cited))]


def test_both_sides_note_which_versions_were_disclosed_for_which_claim(stay):
    received = stay.ask()
    named = [[one.object_id.hex(), one.version] for one in received.openings]
    given = stay.exchange.federation.sites[RENHE].records.accesses(stay.exchange.token)[-1]
    taken = stay.exchange.federation.sites[ANXIN].records.accesses(stay.exchange.grant.hex())[-1]
    for row in (given, taken):
        detail = parse_canonical(row.detail, max_bytes=1 << 16)
        assert (detail["claim"], detail["records"]) == (CLAIM.hex(), named)


def test_an_asker_whose_audit_cannot_keep_it_is_given_nothing(stay):
    def full(_disclosure, _records):
        raise UnavailableError("store.full")

    stay.exchange.on_received_in_part = full
    with pytest.raises(UnavailableError, match=r"store\.full"):
        stay.ask()


# A consent for one claim


@pytest.fixture
def once(federation):
    """Give a test a patient with a consent for the one claim, and a grant under it."""
    made = Exchange(federation)
    stay = Stay(made)
    cited = tuple(sorted(stay.cited))
    types = sorted({one.split("/")[0] for one in cited})
    made.open(resource_types=types, fhir=OneClaim(CLAIM, cited).fhir())
    stay.store(stay.doctor(), stay.patient(), *stay.records(), stay.record("Condition", "x", code={"text": "x"}))
    made.claims = disclosing(made)
    made.grant = made.give(resource_types=types)
    return stay


def test_under_a_consent_for_one_claim_what_it_cites_is_told_and_all_of_the_encounter_is_counted(once):
    received = once.ask(once.name("Condition", "x"))
    said = received.signed.disclosure
    assert [one.reference for one in said.records] == sorted(once.cited)
    assert said.decision is not None
    assert (said.decision["rule"], said.decision["consent"]) == ("one-claim", once.exchange.consent.hex())
    assert value_of(received, "record_count", encounter=once.name("Encounter", "e"), type="Condition") == 2


def test_attack_a_consent_for_one_claim_is_used_for_another_or_for_whole_records(once):
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        once.ask(digest=b"\x78" * 32)
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        once.exchange.asker().request_release(once.exchange.wish(resource_types=("Condition",)))
    assert reasons(once.exchange) == {"consent.claim"}


def test_a_consent_that_is_withdrawn_between_entry_and_answer_holds_the_answer_back(once):
    exchange = once.exchange
    exchange.after_place = lambda: exchange.federation.sites[RENHE].node.stops.stop(exchange.consent)
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        once.ask()
    assert reasons(exchange) == {"release.consent"}


# Versions


def test_a_record_that_was_altered_after_the_claim_is_shown_as_it_was_with_the_names_of_what_changed(stay):
    first = stay.record("Condition", "v", code={"text": "x"}, recordedDate="2026-11-10", onsetDateTime="2019-05")
    stay.store(first)
    stay.store({**first, "onsetDateTime": "2024-06", "note": [{"text": "told so later"}]})
    reference = f"Condition/{first['id']}"
    received = stay.ask(reference)
    row = row_of(received, reference)
    assert [one.changed for one in row.versions] == [(), ("/note/0/text", "/onsetDateTime")]
    assert shown(received, reference)["/onsetDateTime"] == "2019-05"
    assert "told so later" not in received.signed.encode().decode()


def test_a_record_that_was_corrected_before_the_claim_is_shown_as_the_claim_found_it(stay):
    first = stay.record("Condition", "w", code={"text": "x"}, recordedDate="2026-11-10", onsetDateTime="2019-05")
    stay.store(first)
    stay.store({**first, "onsetDateTime": "2024-06"})
    reference = f"Condition/{first['id']}"
    late = citation_of([reference], NOW + 3600, DAYS, fresh(32))
    received = stay.exchange.asker().request_disclosure(stay.wish(citation=late))
    assert shown(received, reference)["/onsetDateTime"] == "2024-06"
    assert [one.version for one in received.openings] == [2]
    # The last test of this file, since the ledger's time does not go back: what comes after the claim is not shown.
    stay.exchange.federation.time += 7200
    stay.store({**first, "onsetDateTime": "2025-07"})
    grant = stay.exchange.give(resource_types=PERMITTED, period={"start": NOW, "end": NOW + 86400})
    received = stay.exchange.asker().request_disclosure(stay.wish(citation=late, grant=grant))
    assert [one.version for one in received.openings] == [2]
    assert [one.changed for one in row_of(received, reference).versions][2] == ("/onsetDateTime",)
