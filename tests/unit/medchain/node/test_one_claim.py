"""A consent for one claim over whole nodes: the claim's records are told of in part, and nothing else is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from consent.directive import ConsentDecision
from medchain.errors import NotFoundError
from medchain.ledger.one_claim import OneClaim
from medchain.node.exchange import ReceivedDisclosure
from tests.unit.medchain.node.disclosing import CLAIM, Stay, disclosing, facts_of
from tests.unit.medchain.node.exchanges import RENHE, Exchange, entry_version, reasons, refused
from tests.unit.medchain.node.federation import DAY_S, NOW, TONGJI

OTHER = b"\x78" * 32
END = NOW + 20 * DAY_S
PERIOD = {"end": END, "start": NOW - 60}
CONSENTED = ["Condition", "Encounter", "Invoice", "Procedure"]


def signed(stay: Stay) -> OneClaim:
    """What the patient has signed: four of the six records of her stay."""
    return OneClaim(CLAIM, tuple(sorted(one for one in stay.cited if one.partition("/")[0] in CONSENTED)))


@pytest.fixture(scope="module")
def opened(federation) -> Exchange:
    made = Exchange(federation)
    stay = Stay(made)
    made.claims = disclosing(made)
    terms = {"resource_types": CONSENTED, "period": PERIOD}
    made.open(given=terms, fhir=signed(stay).fhir(), **terms)
    stay.store(stay.doctor(), stay.patient(), *stay.records())
    return made


@pytest.fixture
def stay(opened) -> Iterator[Stay]:
    """Give each test a grant of its own under that consent."""
    given = opened.give(resource_types=CONSENTED, period=PERIOD)
    made = replace(opened, grant=given, custodians={}, askers={}, sent=[], entries=[])
    made.forget()
    yield Stay(made)
    made.federation.time = NOW


def asked(stay: Stay, **changes: object) -> ReceivedDisclosure:
    return stay.ask(cited=[*signed(stay).cited], **changes)


def test_for_its_claim_the_records_that_were_signed_for_are_told_of(stay):
    said = asked(stay).signed.disclosure
    assert [one.reference for one in said.records] == [*signed(stay).cited]
    assert (said.claim, said.decision["rule"], said.decision["consent"]) == (
        CLAIM,
        "one-claim",
        stay.exchange.consent.hex(),
    )


def test_of_records_beside_those_only_how_many_there_are_is_told(stay):
    received = asked(stay)
    counts = {dict(one.arguments)["type"]: one.value for one in facts_of(received, "record_count")}
    assert (counts["Observation"], counts["DiagnosticReport"], counts["Procedure"]) == (1, 1, 1)


def test_attack_more_is_cited_than_the_patient_has_signed_for(stay):
    more = [one for one in stay.cited if one.startswith("Observation/")]
    said = asked(stay).signed.disclosure
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        stay.ask(cited=more)
    assert [one.reference for one in stay.ask(cited=stay.cited).signed.disclosure.records] == [
        one.reference for one in said.records
    ]


def test_attack_records_are_asked_for_whole(stay):
    wish = stay.exchange.wish(resource_types=("Encounter",))
    assert "release.nothing" in refused(stay.exchange, wish)
    assert reasons(stay.exchange) == {"consent.claim"}


def test_attack_it_is_used_for_another_claim(stay):
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        asked(stay, digest=OTHER)
    assert reasons(stay.exchange) == {"consent.claim"}


def test_attack_another_organisation_uses_it(stay):
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        stay.exchange.asker(TONGJI).request_disclosure(stay.wish(cited=[*signed(stay).cited]))


def test_attack_it_is_used_after_its_end(stay):
    stay.exchange.federation.time = END + 1
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        asked(stay)


def test_attack_it_is_used_a_second_after_it_was_withdrawn(opened):
    own = replace(opened, custodians={}, askers={}, sent=[], entries=[])
    consented = own.patient.consent(
        resource_types=CONSENTED, fhir=signed(Stay(own)).fhir(), period=PERIOD, data_period=None
    )
    own.consent = own.federation.sites[RENHE].node.submitter.submit(consented).key
    own.grant = own.give(resource_types=CONSENTED, period=PERIOD)
    stay = Stay(own)
    assert asked(stay).signed.disclosure.claim == CLAIM
    own.federation.sites[RENHE].node.stops.stop(own.consent)
    own.federation.time = NOW + 1
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        asked(stay)
    own.federation.time = NOW


class Blind:
    """A decision of a custodian that lets everything through."""

    def rule(self, question, given, inside=()):
        from consent.release import ReleaseRules  # noqa: PLC0415  # what it pretends to be

        return ReleaseRules().rule(replace(question, claim=CLAIM), given, inside)


def test_attack_a_custodian_gives_whole_records_under_it_and_no_access_is_accepted(stay, monkeypatch):
    monkeypatch.setattr("tests.unit.medchain.node.exchanges.ReleaseRules", Blind)
    refused(stay.exchange, stay.exchange.wish(resource_types=("Encounter",)))
    assert reasons(stay.exchange) == {"access.denied"}
    assert entry_version(stay.exchange) == 0


def test_the_ledgers_check_takes_an_access_for_its_claim_of_as_many_records_as_it_names_and_no_other(stay):
    content = stay.exchange.federation.sites[RENHE].node.shelf.terms(stay.exchange.consent).content
    port, row = ConsentDecision(), {"count": 4, "purpose": "HPAYMT"}
    assert port.permits(content, row, NOW, CLAIM)
    assert not port.permits(content, row, NOW, None)
    assert not port.permits(content, row, NOW, OTHER)
    assert not port.permits(content, row | {"count": 5}, NOW, CLAIM)
    assert not port.permits(content, {"purpose": "HPAYMT"}, NOW, CLAIM)
    assert not port.permits(content, row | {"purpose": "TREAT"}, NOW, CLAIM)
    assert not port.permits(content, row, END + 1, CLAIM)
