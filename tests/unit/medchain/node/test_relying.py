"""Custodian and recipient check a patient's signature themselves, whoever has let it pass before; over whole nodes."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from medchain.errors import MedchainError, UnavailableError, VerificationError
from medchain.ledger.transaction import Ref
from medchain.node import endorse
from medchain.node import exchange as exchanging
from medchain.node.relying import Reliance
from medchain.node.verdicts import NOT_HERE
from tests.unit.medchain.ledger.world import fresh
from tests.unit.medchain.node import federation as federations
from tests.unit.medchain.node.exchanges import ANXIN, RENHE, Exchange, observation, reasons, refused
from tests.unit.medchain.node.federation import COMMISSION, TONGJI

PORTAL = "https://renhe.consent.example"


@pytest.fixture
def careless(monkeypatch):
    """Have creators and endorsers check no body: an organisation and the one that was drawn for it lie together."""
    monkeypatch.setattr(endorse.Judge, "check", lambda *_arguments: None)


def opened(federation, monkeypatch, origin: str = federations.ORIGIN, custodians=(RENHE,)) -> Exchange:
    """Bring a consent that was signed at an address, and a grant under it, to the ledger."""
    monkeypatch.setattr(federations, "ORIGIN", origin)
    made = Exchange(federation)
    made.open(custodians)
    made.store(observation(1))
    return made


def grant_of(exchange) -> Ref:
    return Ref(exchange.grant, 1)


def reliance_of(federation, org_id: str) -> Reliance:
    node = federation.sites[org_id].node
    return Reliance(node.judge, node.verdicts)


class Looks:
    """A clock that goes on by a second with each look, so that who waits looks as often however busy the machine is."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += 1
        time.sleep(seconds)


def verdict(exchange, org_id: str) -> str:
    try:
        reliance_of(exchange.federation, org_id).check(grant_of(exchange))
    except MedchainError as error:
        return error.code
    return ""


def test_a_grant_under_a_consent_that_the_patient_signed_is_relied_on_by_both_parties(federation, monkeypatch):
    exchange = opened(federation, monkeypatch)
    assert [verdict(exchange, org_id) for org_id in (RENHE, ANXIN)] == ["", ""]
    assert len(exchange.asker().request_release(exchange.wish()).records) == 1


@pytest.mark.usefixtures("careless")
def test_attack_a_custodian_releases_nothing_under_a_log_in_that_others_took_for_a_consent(federation, monkeypatch):
    exchange = opened(federation, monkeypatch, PORTAL)
    assert refused(exchange).startswith("NotFoundError release.nothing")
    assert reasons(exchange) == {"assertion.origin"}


@pytest.mark.usefixtures("careless")
def test_attack_a_recipient_takes_nothing_under_a_log_in_that_custodian_and_endorser_took_for_a_consent(
    federation, monkeypatch
):
    exchange = opened(federation, monkeypatch, PORTAL)
    own = exchange.parts()
    monkeypatch.setattr(exchange, "parts", lambda _org_id: replace(own, relies=lambda _ref: None))
    assert "exchange.consent" in (said := refused(exchange))
    assert "assertion.origin" in said


@pytest.mark.usefixtures("careless")
def test_attack_another_custodian_does_not_rely_on_the_one_that_brought_the_consent(federation, monkeypatch):
    exchange = opened(federation, monkeypatch, PORTAL, (RENHE, TONGJI))
    submitter = federation.sites[TONGJI].node.submitter
    own = submitter.submit(federations.grant(exchange.consent, custodian=TONGJI)).key
    with pytest.raises(VerificationError) as caught:
        reliance_of(federation, TONGJI).check(Ref(own, 1))
    assert caught.value.code == "assertion.origin"


@pytest.mark.usefixtures("careless")
def test_attack_a_grant_that_gives_more_than_its_consent_is_relied_on_by_nobody(federation, monkeypatch):
    exchange = opened(federation, monkeypatch)
    wider = replace(exchange, grant=exchange.give(resource_types=["Claim"]), custodians={}, askers={})
    assert [verdict(wider, org_id) for org_id in (RENHE, ANXIN)] == ["grant.beyond_consent"] * 2


def test_what_is_judged_is_the_passkey_of_then_not_of_now(federation, monkeypatch):
    exchange = opened(federation, monkeypatch)
    site = federation.sites[RENHE]
    head = site.node.shelf.head(exchange.patient.key)
    linked = exchange.patient.linked((RENHE, TONGJI), *head)
    site.node.submitter.submit(linked)
    federation.sites[ANXIN].node.submitter.wait_final(exchange.patient.key, 2, 60)
    assert verdict(exchange, ANXIN) == ""


def test_a_body_that_is_not_here_means_no(federation, monkeypatch):
    exchange = opened(federation, monkeypatch)
    # Nobody brings the commission the bodies of what it did not endorse: one of the two others did.
    silent = next(one for one in (COMMISSION, TONGJI) if federation.sites[one].node.shelf.at(exchange.grant, 1) is None)
    with pytest.raises(UnavailableError) as caught:
        reliance_of(federation, silent).check(grant_of(exchange))
    assert caught.value.code == NOT_HERE


def test_a_recipient_without_the_subjects_passkeys_takes_nothing(federation, monkeypatch):
    exchange = opened(federation, monkeypatch)
    federation.sites[ANXIN].node.shelf.destroy(exchange.patient.key)
    monkeypatch.setattr(exchanging, "time", Looks())
    said = refused(exchange)
    assert "exchange.consent" in said
    assert NOT_HERE in said


def test_what_the_ledger_does_not_have_is_not_relied_on(federation):
    reliance = reliance_of(federation, RENHE)
    with pytest.raises(VerificationError) as caught:
        reliance.check(Ref(fresh(32), 1))
    assert caught.value.code == "relying.version"


def test_each_version_is_judged_once(federation, monkeypatch):
    exchange = opened(federation, monkeypatch)
    reliance = reliance_of(federation, ANXIN)
    reliance.check(grant_of(exchange))
    federation.sites[ANXIN].node.shelf.destroy(exchange.patient.key)
    reliance.check(grant_of(exchange))
