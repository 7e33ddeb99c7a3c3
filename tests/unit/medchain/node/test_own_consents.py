"""Consents of the ledger to which an organisation is a party, signed by a patient, over whole nodes."""

from __future__ import annotations

import pytest

from medchain.encoding import unhex
from medchain.node.ending import Ending
from medchain.node.own_consents import OwnConsents
from tests.unit.medchain.node.desks import Desks, phone_of, running_desks
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, DAY_S, RENHE

PHONE = phone_of("phone of who denies")
DENIAL = {"resourceType": "Consent", "status": "active", "provision": {"type": "deny"}}


@pytest.fixture(scope="module")
def desks(tmp_path_factory) -> Desks:
    with running_desks(tmp_path_factory.mktemp("own")) as made:
        yield made


@pytest.fixture(scope="module")
def subject(desks) -> str:
    return desks.enrol(PHONE, "pat-1")


def listed(desks, org_id: str = RENHE) -> list:
    site = desks.federation.sites[org_id]
    return OwnConsents(org_id, site.node, site.records, desks.federation.clock).listed()


def test_both_parties_know_of_a_permission_for_another_organisation_and_nobody_else(desks, subject):
    key = desks.consent(PHONE, subject)
    desks.everywhere(key, 1)
    (one,) = [one for one in listed(desks) if one.key.hex() == key]
    assert (one.content.recipient, one.version, one.is_inside, one.is_in_force) == (ANXIN, 1, False, True)
    # As long as nobody there says who of its own patients that is, the recipient knows the subject alone.
    (theirs,) = listed(desks, ANXIN)
    assert (theirs.key, theirs.content, theirs.patient) == (one.key, one.content, "")
    for org_id in (ANXIN, COMMISSION):
        desks.local(org_id).call("patient", {"patient": "ours", "subject": subject})
    (theirs,) = listed(desks, ANXIN)
    assert (theirs.key, theirs.content, theirs.is_inside) == (one.key, one.content, False)
    assert theirs.patient == desks.federation.sites[ANXIN].service.patient_token("ours")
    # Whoever endorsed it holds the body as well.
    assert listed(desks, COMMISSION) == []


def test_what_a_patient_signs_about_the_custodian_is_told_until_it_is_withdrawn(desks, subject):
    site = desks.federation.sites[RENHE]
    key = desks.consent(PHONE, subject, recipient=RENHE, fhir=DENIAL, purpose="TREAT")

    def told() -> list[tuple]:
        return [(one.is_inside, one.is_in_force) for one in listed(desks) if one.key.hex() == key]

    (one,) = [one for one in listed(desks) if one.key.hex() == key]
    assert (one.content.fhir, one.is_inside, one.is_in_force) == (DENIAL, True, True)
    assert one.patient == site.service.patient_token("pat-1")
    desks.withdraw(PHONE, key)
    # It binds when it is heard, and stays known as ended when it is ordered.
    assert told() == [(True, False)]
    desks.settle(key, 2)
    assert told() == [(True, False)]


def test_what_a_patient_denies_here_is_told_by_patient_and_ended_by_no_other_organisation(desks, subject):
    site, sites = desks.federation.sites[RENHE], desks.federation.sites
    consents = OwnConsents(RENHE, site.node, site.records, desks.federation.clock)
    token = site.service.patient_token("pat-1")
    permitted = desks.consent(PHONE, subject)
    key = desks.consent(PHONE, subject, recipient=RENHE, fhir=DENIAL, purpose="TREAT")
    ended = desks.consent(PHONE, subject, recipient=RENHE, fhir=DENIAL, purpose="HRESCH")

    def told() -> set[str]:
        assert consents.inside(site.service.patient_token("pat-2")) == []
        return {one.key.hex() for one in consents.inside(token)}

    assert {key, ended} <= told()
    assert permitted not in told()
    desks.everywhere(key, 1)
    holder = next(name for name, one in sites.items() if name != RENHE and one.node.shelf.terms(unhex(key, 32)))
    desks.local(holder).call("stop", {"object": key})
    sites[holder].node.driver.outbox.step()
    desks.everywhere(key, 2)
    desks.local().call("stop", {"object": ended})
    assert (key in told(), ended in told()) == (True, False)
    # Nor by one whose staff attest that the patient wishes it; this organisation's own may.
    for who, counts in ((None, True), (RENHE, False)):
        wished = desks.consent(PHONE, subject, recipient=RENHE, fhir=DENIAL, purpose="HPAYMT" if who else "PATRQT")
        desks.everywhere(wished, 1)
        by = who or next(
            name for name, one in sites.items() if name != RENHE and one.node.shelf.terms(unhex(wished, 32))
        )
        desks.local(by).call("withdrawal.attest", {"consent": wished, "staff": ["a", "b"], "subject": subject})
        sites[by].node.driver.outbox.step()
        desks.everywhere(wished, 2)
        assert site.node.stops.ending(unhex(wished, 32)).how is Ending.ATTESTED
        assert (wished in told()) is counts
    desks.federation.time += 31 * DAY_S
    try:
        assert key not in told()
    finally:
        desks.federation.time -= 31 * DAY_S
