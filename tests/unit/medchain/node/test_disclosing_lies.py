"""Disclosures that lie, by a hospital or on the way: what the asker refuses, over whole nodes with real files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.crypto.sealing import open_disclosure, seal_disclosure
from medchain.encoding import canonical, parse_canonical
from medchain.errors import NotFoundError, VerificationError
from medchain.ledger.evidence.disclosure import As, sign_disclosure
from medchain.ledger.evidence.statements import Fact
from medchain.node import citing
from medchain.node.disclosed import Disclosed
from medchain.node.proofs import opening_of, opening_of_fields
from medchain.node.release import access_entry_id, parse_claim_answer, wraps_hash
from medchain.node.release_ports import ClaimCase, ClaimFacts, ClaimSaid
from tests.unit.medchain.ledger.world import fresh, seed
from tests.unit.medchain.node.disclosing import TYPES, Stay, disclosing, row_of
from tests.unit.medchain.node.exchanges import ANXIN, RENHE, Exchange
from tests.unit.medchain.node.federation import TONGJI, keys_of


@pytest.fixture(scope="module")
def opened(federation):
    made = Exchange(federation)
    made.open(resource_types=TYPES)
    stay = Stay(made)
    stay.store(stay.doctor(), stay.patient(), *stay.records())
    changed = next(one for one in stay.records() if one["resourceType"] == "Condition")
    stay.store({**changed, "onsetDateTime": "2024-06"})
    made.claims = disclosing(made)
    return made


@pytest.fixture
def stay(opened):
    return Stay(replace(opened, grant=opened.give(resource_types=TYPES), custodians={}, askers={}))


@dataclass
class Lying:
    """Tells of records what a change makes of it."""

    facts: ClaimFacts
    change: Callable[[ClaimSaid], ClaimSaid]

    def tell(self, case: ClaimCase) -> ClaimSaid:
        return self.change(self.facts.tell(case))


def lies(stay: Stay, change: Callable[[ClaimSaid], ClaimSaid]) -> VerificationError:
    """Have the hospital lie about records; returns how the asker refuses it."""
    side = stay.exchange.claims
    stay.exchange.claims = replace(side, facts=Lying(side.facts, change))
    return refusal(stay)


def refusal(stay: Stay) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        stay.ask()
    rows = stay.exchange.federation.sites[ANXIN].records.accesses(stay.exchange.grant.hex())
    assert rows[-1].direction == "rejected"
    return caught.value


def said(error: VerificationError) -> tuple[str, object]:
    return error.code, error.fields.get("reason")


def on_row(tail: str, **changes: object) -> Callable[[ClaimSaid], ClaimSaid]:
    """Change what is told of one record."""

    def change(told: ClaimSaid) -> ClaimSaid:
        rows = [replace(row, **changes) if row.reference.endswith(tail) else row for row in told.rows]
        return replace(told, rows=tuple(rows))

    return change


# On the way


def changed_on_the_way(stay: Stay, change) -> VerificationError:
    stay.exchange.on_answer = lambda data: change(parse_claim_answer(data)).encode()
    return refusal(stay)


def test_attack_what_is_sealed_is_changed_on_the_way(stay):
    error = changed_on_the_way(stay, lambda answer: replace(answer, sealed=answer.sealed[:-1] + b"\0"))
    assert error.code == "exchange.wraps"


def test_attack_the_answer_to_another_request_is_given(stay):
    assert changed_on_the_way(stay, lambda answer: replace(answer, request_hash=fresh(32))).code == "exchange.request"


def test_attack_the_answer_names_an_entry_that_is_not_there(stay):
    assert changed_on_the_way(stay, lambda answer: replace(answer, access_version=9)).code == "exchange.access"


def test_attack_records_are_given_where_fields_were_asked_for(stay):
    stay.exchange.on_answer = lambda data: data + b"\0"
    assert said(refusal(stay)) == ("exchange.format", "release.malformed")


def test_only_the_asker_opens_what_is_sealed_and_for_its_request_and_entry_alone(stay):
    seen = []
    stay.exchange.on_answer = lambda data: seen.append(parse_claim_answer(data)) or data
    received = stay.ask()
    request, sealed = received.request.request, seen[0].sealed
    private = keys_of(ANXIN).encryption[request.encryption_key]
    entry = access_entry_id(received.access.key, received.access.version)
    document = open_disclosure(private, request.hash, entry, private.key_id, sealed)
    assert Disclosed(received.signed, received.openings).encode() == document
    other = next(iter(keys_of(TONGJI).encryption.values()))
    for key, hashed, at in (
        (other, request.hash, entry),
        (private, fresh(32), entry),
        (private, request.hash, access_entry_id(received.access.key, 2)),
    ):
        with pytest.raises(VerificationError, match=r"sealing\.authentication"):
            open_disclosure(key, hashed, at, key.key_id, sealed)


# By the hospital: of itself


@pytest.mark.parametrize(
    "change",
    [
        lambda one: replace(one, claim=fresh(32)),
        lambda one: replace(one, grant=fresh(32)),
        lambda one: replace(one, hospital=TONGJI),
        lambda one: replace(one, insurer=TONGJI),
        lambda one: replace(one, ledger=fresh(32)),
        lambda one: replace(one, request=fresh(32)),
    ],
)
def test_attack_a_disclosure_is_for_something_else_than_was_asked(stay, monkeypatch, change):
    monkeypatch.setattr(citing, "sign_disclosure", lambda signer, one: sign_disclosure(signer, change(one)))
    assert said(refusal(stay)) == ("exchange.disclosure", "request")


def test_attack_a_disclosure_is_dated_otherwise_than_its_access(stay, monkeypatch):
    later = lambda signer, one: sign_disclosure(signer, replace(one, time=one.time - 61))  # noqa: E731  # one use
    monkeypatch.setattr(citing, "sign_disclosure", later)
    assert said(refusal(stay)) == ("exchange.disclosure", "time")


@pytest.mark.parametrize("org_id", [TONGJI, ANXIN])
def test_attack_another_signs_for_the_hospital(stay, org_id):
    stay.exchange.claims = replace(stay.exchange.claims, signer=Es384Signer(seed(org_id, "authentication", 1)))
    assert said(refusal(stay)) == ("exchange.disclosure", "signature")


def test_attack_a_signature_is_of_another_disclosure(stay, monkeypatch):
    def sign(signer, one):
        return replace(sign_disclosure(signer, one), disclosure=replace(one, facts=()))

    monkeypatch.setattr(citing, "sign_disclosure", sign)
    assert said(refusal(stay)) == ("exchange.disclosure", "signature")


# By the hospital: of records


def test_attack_a_record_that_was_not_cited_is_told_of(stay):
    error = lies(stay, on_row("-o", reference="Observation/another"))
    assert said(error) == ("exchange.record", "reference")


def test_attack_a_record_is_called_what_it_is_not(stay):
    assert said(lies(stay, on_row("-i", role=As.CITED))) == ("exchange.format", "disclosure.malformed")


def test_attack_an_object_that_the_ledger_does_not_have_is_named(stay):
    def change(told: ClaimSaid) -> ClaimSaid:
        rows = [replace(row, object_id=b"\x01" * 16) if row.reference.endswith("-o") else row for row in told.rows]
        return replace(told, rows=tuple(rows))

    # The openings are those of the records that were chosen, so the two do not fit.
    assert said(lies(stay, change)) == ("exchange.format", "release.malformed")


def test_attack_two_records_change_places(stay):
    """Each has its own opening and place on the ledger: the reference is what the opening shows."""

    def change(told: ClaimSaid) -> ClaimSaid:
        names = {row.reference: row for row in told.rows}
        one, other = stay.name("Procedure", "p"), stay.name("DiagnosticReport", "r")
        swapped = {one: names[other], other: names[one]}
        rows = [replace(swapped.get(row.reference, row), reference=row.reference) for row in told.rows]
        return replace(told, rows=tuple(rows))

    assert lies(stay, change).code in {"exchange.format", "exchange.record"}


def test_attack_a_later_version_is_not_told_of(stay):
    def change(told: ClaimSaid) -> ClaimSaid:
        rows = [replace(row, versions=row.versions[:1]) for row in told.rows]
        return replace(told, rows=tuple(rows))

    # Clocks stand still in these tests: now the second version was there for longer than a minute.
    stay.exchange.federation.time += 61
    assert said(lies(stay, change)) == ("exchange.record", "untold")


def test_attack_a_version_is_told_of_that_there_is_not(stay):
    def change(told: ClaimSaid) -> ClaimSaid:
        rows = [
            replace(row, versions=(*row.versions, replace(row.versions[-1], number=len(row.versions) + 1)))
            for row in told.rows
        ]
        return replace(told, rows=tuple(rows))

    assert said(lies(stay, change)) == ("exchange.record", "unknown")


def test_attack_another_version_is_opened_than_the_claim_was_made_on(stay, monkeypatch):
    """The hospital shows the altered one as if it had always been so."""
    monkeypatch.setattr(citing.Citing, "_made_by", lambda _self, states, _created: states[-1])
    assert said(refusal(stay)) == ("exchange.record", "version")


def test_attack_a_statement_is_made_of_a_record_that_is_not_told_of(stay):
    def change(told: ClaimSaid) -> ClaimSaid:
        added = Fact("category", {"reference": "Condition/another"}, "E11")
        return replace(told, facts=tuple(sorted((*told.facts, added), key=lambda one: one.order)))

    assert said(lies(stay, change)) == ("exchange.disclosure", "fact")


def on_opening(tail: str, make: Callable[[bytes], bytes | None]) -> Callable[[ClaimSaid], ClaimSaid]:
    """Change what is opened of one record."""

    def change(told: ClaimSaid) -> ClaimSaid:
        pairs = zip(told.rows, told.openings, strict=True)
        made = [make(one) if row.reference.endswith(tail) and one is not None else one for row, one in pairs]
        return replace(told, openings=tuple(made))

    return change


def test_attack_an_opened_field_is_changed(stay):
    def change(opening: bytes) -> bytes:
        document = parse_canonical(opening, max_bytes=1 << 20)
        row = next(one for one in document["fields"] if one["name"] == "/totalGross/value")
        row["value"] = "9200.5"
        return canonical(document)

    assert said(lies(stay, on_opening("-i", change))) == ("exchange.record", "fields.proof")


def test_attack_another_records_fields_are_opened(stay):
    record = stay.exchange.federation.sites[RENHE].records.get("Procedure", f"{stay.local}-p")
    other = opening_of_fields(stay.exchange.federation.sites[RENHE].service, record, ["/resourceType", "/id"])
    assert said(lies(stay, on_opening("-r", lambda _one: other))) == ("exchange.record", "bundle.opening")


def test_attack_a_record_is_shown_whole_where_fields_were_asked_for(stay):
    """What an insurer must not have it must not be given either, by whatever mistake."""
    site = stay.exchange.federation.sites[RENHE]
    whole = opening_of(site.service, site.records.get("Procedure", f"{stay.local}-p"))
    assert said(lies(stay, on_opening("-p", lambda _one: whole))) == ("exchange.record", "fields")


def test_attack_fields_are_opened_that_do_not_say_whose_they_are(stay):
    site = stay.exchange.federation.sites[RENHE]
    record = site.records.get("Procedure", f"{stay.local}-p")
    for shown in (["/id", "/status"], ["/resourceType", "/status"]):
        nameless = opening_of_fields(site.service, record, shown)
        assert said(lies(stay, on_opening("-p", lambda _one, nameless=nameless: nameless))) == (
            "exchange.record",
            "fields",
        )


def test_attack_the_entry_lists_other_records_than_are_disclosed(stay, monkeypatch):
    def fewer(self, request, citation, standing, patient, to):
        made = plain(self, request, citation, standing, patient, to)
        return replace(made, records=made.records[:-1])

    plain = citing.Citing.sealed
    monkeypatch.setattr(citing.Citing, "sealed", fewer)
    assert refusal(stay).code == "exchange.records"


def test_attack_something_else_is_sealed_than_the_entry_says(stay):
    """Its hash is in the entry, which the hospital cannot change once it has answered."""

    def change(answer):
        sealed = seal_disclosure(keys_of(ANXIN).encryption[key].public, fresh(32), fresh(32), key, b"{}")
        assert wraps_hash(sealed) != wraps_hash(answer.sealed)
        return replace(answer, sealed=sealed)

    key = next(iter(keys_of(ANXIN).encryption))
    assert changed_on_the_way(stay, change).code == "exchange.wraps"


def test_a_row_that_is_believed_is_the_record_that_was_registered(stay):
    row = row_of(stay.ask(), stay.name("Condition", "c"))
    assert [one.changed for one in row.versions] == [(), ("/onsetDateTime",)]


def test_nothing_is_asked_of_a_hospital_for_a_grant_that_is_another_insurers(stay):
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        stay.ask(grant=fresh(32))
