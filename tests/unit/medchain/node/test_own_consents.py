"""Consents of the ledger about the custodian itself, signed by a patient, over whole nodes."""

from __future__ import annotations

import pytest

from medchain.node.own_consents import OwnConsents
from tests.unit.medchain.node.desks import Desks, phone_of, running_desks
from tests.unit.medchain.node.federation import RENHE

PHONE = phone_of("phone of who denies")
DENIAL = {"resourceType": "Consent", "status": "active", "provision": {"type": "deny"}}


@pytest.fixture(scope="module")
def desks(tmp_path_factory) -> Desks:
    with running_desks(tmp_path_factory.mktemp("own")) as made:
        yield made


@pytest.fixture(scope="module")
def subject(desks) -> str:
    return desks.enrol(PHONE, "pat-1")


def listed(desks) -> list:
    site = desks.federation.sites[RENHE]
    return OwnConsents(RENHE, site.node, site.records, desks.federation.clock).listed()


def test_a_permission_for_another_organisation_is_none_of_them(desks, subject):
    key = desks.consent(PHONE, subject)
    assert key not in {one.key.hex() for one in listed(desks)}


def test_what_a_patient_signs_about_the_custodian_is_told_until_it_is_withdrawn(desks, subject):
    site = desks.federation.sites[RENHE]
    key = desks.consent(PHONE, subject, recipient=RENHE, fhir=DENIAL, purpose="TREAT")
    (one,) = listed(desks)
    assert (one.key.hex(), one.fhir, one.is_in_force) == (key, DENIAL, True)
    assert one.patient == site.service.patient_token("pat-1")
    desks.withdraw(PHONE, key)
    # It binds when it is heard, and stays known as ended when it is ordered.
    assert [one.is_in_force for one in listed(desks)] == [False]
    desks.settle(key, 2)
    assert [(one.key.hex(), one.is_in_force) for one in listed(desks)] == [(key, False)]
