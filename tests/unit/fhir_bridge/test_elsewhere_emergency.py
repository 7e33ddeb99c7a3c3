"""A clinician reads at another hospital by an application, in an emergency that is declared (`_custodian`, BTG)."""

from __future__ import annotations

import json
from contextlib import ExitStack
from itertools import count
from urllib.parse import parse_qsl, urlsplit

import pytest

from consent.hiding import Hidden, hiding_terms
from fhir_bridge.audit import JournalAudit
from fhir_bridge.disclosures import KeptDisclosures
from fhir_bridge.rest.ask import Ask
from fhir_bridge.rest.routes import answer
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes
from tests.unit.fhir_bridge.exchanging import api_of
from tests.unit.medchain.ledger.world import seed
from tests.unit.medchain.node.desks import phone_of, running_desks, signed
from tests.unit.medchain.node.federation import RENHE, TONGJI
from tests.unit.medchain.node.glass import Glass, given_key

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two hospitals with their audits, and the API of the one that asks."""
    with ExitStack() as stack:

        def kept(federation, org_id):
            site, key = federation.sites[org_id], seed(org_id, "records")
            audit = JournalAudit(site.folder, key, federation.clock)
            stack.callback(audit.close)
            return KeptDisclosures(audit, org_id, lambda: site.ledger.members, site.records)

        desks = stack.enter_context(running_desks(tmp_path_factory.mktemp("abroad"), kept))
        yield stack.enter_context(api_of(desks, TONGJI)), stack.enter_context(api_of(desks, RENHE))


@pytest.fixture(scope="module")
def known(world):
    made = Glass(world[0].desks)
    made.store()
    return made


@pytest.fixture
def glass(known):
    """A clinician of a test's own."""
    return Glass(known.desks, local=known.local)


def asked(world, glass: Glass, path: str, *, scope: str = "user/*.rs", purpose: str = "BTG", user: str | None = None):
    """Ask as the application of a clinician does."""
    who = Access("ehr", parse_scopes(scope), user=glass.staff if user is None else user, role="clinician")
    place, _, query = path.partition("?")
    access = Access(who.client, who.scopes, user=who.user, role=who.role, asked_for=purpose)
    return answer(world[0].core, Ask("GET", place, query, fields={}, access=access, request_id="0123456789abcdef"))


def told(reply) -> dict:
    return json.loads(reply.body if isinstance(reply.body, bytes) else b"".join(reply.body))


def matches(reply) -> list[dict]:
    return [one["resource"] for one in told(reply).get("entry", []) if one["search"]["mode"] == "match"]


def test_the_patient_is_found_by_the_identifier_and_the_records_by_the_patient(world, glass):
    glass.declare()
    found = matches(asked(world, glass, f"Patient?_custodian={RENHE}&identifier=urn:mrn|{glass.local}"))
    assert [one["id"] for one in found] == [glass.local]
    reply = asked(world, glass, f"Observation?_custodian={RENHE}&patient={glass.local}")
    assert {one["id"] for one in matches(reply)} == {f"{glass.local}-o1", f"{glass.local}-o2"}
    reply = asked(world, glass, f"Patient/{glass.local}/$everything?_custodian={RENHE}")
    assert {one["resourceType"] for one in matches(reply)} == {"Observation", "Patient"}


def test_a_record_is_read_and_names_the_emergency_that_is_still_to_come(world, glass):
    glass.declare()
    reply = asked(world, glass, f"Observation/{glass.local}-o1?_custodian={RENHE}")
    assert told(reply) == glass.observation(1)
    assert reply.headers["Medchain-Access"] == f"{given_key(glass.desks.asked[-1]).hex()}/1"
    bundle = told(asked(world, glass, f"Observation?_custodian={RENHE}&patient={glass.local}"))
    (provenance,) = [one["resource"] for one in bundle["entry"] if one["search"]["mode"] == "include"]
    what = provenance["entity"][0]["what"]["identifier"]
    assert (what["system"], what["value"]) == ("urn:medchain:emergency", f"{given_key(glass.desks.asked[-1]).hex()}/1")
    assert provenance["extension"][0]["valueString"] == "pending"
    assert provenance["reason"][0]["coding"][0]["code"] == "BTG"


def test_what_the_patient_hides_is_not_given_from_its_place_on_the_ledger_on(world):
    """Before it is kept as a record, by which this hospital's own people are judged."""
    desks, phone = world[0].desks, phone_of("hides-abroad")
    subject, hospital = desks.enrol(phone, "hides-abroad"), desks.local(RENHE)
    glass = Glass(desks, local="hides-abroad")
    glass.store()
    glass.declare()
    path = f"Observation?_custodian={RENHE}&patient={glass.local}"
    assert len(matches(asked(world, glass, path))) == 2
    hidden = Hidden.of_record(f"Observation/{glass.local}-o1")
    draft = hospital.call("consent.draft", hiding_terms(hidden, RENHE, subject, desks.federation.time))
    given = hospital.call("consent.give", signed(phone, draft))
    assert [one["id"] for one in matches(asked(world, glass, path))] == [f"{glass.local}-o2"]
    assert desks.federation.sites[RENHE].records.get("Consent", given["key"]) is None


def test_pages_go_on_in_the_same_emergency(world, glass):
    glass.declare()
    reply = asked(world, glass, f"Observation?_custodian={RENHE}&patient={glass.local}&_count=1")
    links = {one["relation"]: one["url"] for one in told(reply)["link"]}
    query = "&".join(f"{name}={value}" for name, value in parse_qsl(urlsplit(links["next"]).query))
    following = asked(world, glass, f"Observation?{query}")
    assert [one["id"] for one in matches(reply) + matches(following)] == [f"{glass.local}-o1", f"{glass.local}-o2"]


@pytest.mark.parametrize("changes", [{"purpose": "TREAT"}, {"purpose": "ETREAT"}, {"user": "Practitioner/other"}])
def test_attack_another_purpose_or_person_uses_the_emergency(world, glass, changes):
    glass.declare()
    sent = len(glass.desks.asked)
    reply = asked(world, glass, f"Observation?_custodian={RENHE}&patient={glass.local}", **changes)
    assert matches(reply) == []
    assert len(glass.desks.asked) == sent


def test_without_an_emergency_a_patient_is_not_found_by_an_identifier(world, glass):
    reply = asked(world, glass, f"Patient?_custodian={RENHE}&identifier=urn:mrn|{glass.local}")
    assert reply.status == 400
    assert told(reply)["issue"][0]["details"]["coding"][0]["code"] == "exchange.patient"


def test_attack_another_patient_of_that_hospital_is_read_in_the_emergency(world, glass):
    other = Glass(glass.desks)
    other.store()
    glass.declare()
    before = len(other.noted())
    for path in (f"Patient/{other.local}/$everything", f"Patient/{other.local}", f"Observation/{other.local}-o1"):
        assert matches(asked(world, glass, f"{path}?_custodian={RENHE}")) == []
    assert matches(asked(world, glass, f"Observation?_custodian={RENHE}&patient={other.local}")) == []
    assert len(other.noted()) == before


def test_what_the_scopes_do_not_allow_is_not_asked_for(world, glass):
    glass.declare()
    sent = len(glass.desks.asked)
    reply = asked(world, glass, f"Observation?_custodian={RENHE}&patient={glass.local}", scope="user/Condition.rs")
    assert reply.status == 403
    assert len(glass.desks.asked) == sent


def test_both_audits_have_it_for_breaking_the_glass_with_the_emergency(world, glass):
    glass.declare()
    assert asked(world, glass, f"Observation/{glass.local}-o1?_custodian={RENHE}").status == 200
    key = given_key(glass.desks.asked[-1]).hex()
    for api in world:
        found = [one for one in api.events() if key in json.dumps(one)]
        assert found
        assert any('"BTG"' in json.dumps(one) for one in found)


def test_a_refused_emergency_is_an_event_of_the_custodian(world, glass):
    glass.declare(identifier="urn:mrn|nobody-at-all")
    reply = asked(world, glass, f"Patient?_custodian={RENHE}&identifier=urn:mrn|nobody-at-all")
    assert matches(reply) == []
    assert any("emergency.patient" in json.dumps(one) for one in world[1].events())
