"""What goes from one organisation to another is an AuditEvent at both, before it does (docs/spec/audit.md, 9)."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack, closing
from itertools import count

import pytest

from fhir_bridge import disclosures
from fhir_bridge.audit import MAX_NUMBERS, QUESTION, RECEIVE, RELEASE, Happening, JournalAudit, frames, read_frame
from fhir_bridge.audit_events import Version
from fhir_bridge.audit_job import AuditDrain
from fhir_bridge.disclosures import KeptDisclosures
from fhir_bridge.document import parse
from fhir_bridge.looks import looks_of
from fhir_bridge.rest.ask import Ask, Trail
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.index_job import IndexJob
from fhir_bridge.smart.access import Access
from fhir_bridge.validation.check import check
from medchain.encoding import unhex
from medchain.errors import InputError, NotFoundError, UnavailableError
from medchain.ledger.citation import citation_of
from medchain.ledger.request import access_key
from medchain.node.asker import Extent
from medchain.node.exchange import ClaimWish, ReceivedDisclosure, Wish
from medchain.node.exchange_client import GRANTS
from medchain.node.records import NewRecord, RecordService
from tests.unit.fhir_bridge.exchanging import Case
from tests.unit.medchain.ledger.world import genesis, seed
from tests.unit.medchain.node.desks import running_desks
from tests.unit.medchain.node.federation import ANXIN, NOW, RENHE, Federation

_NUMBERS = count(1)
CLAIM = b"\x77" * 32
DCM = "http://dicom.nema.org/resources/ontology/DCM"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
ORGANISATION = "urn:medchain:organisation"


class Audits:
    """The audit of each node's daemon."""

    def __init__(self, stack: ExitStack) -> None:
        """Have their journals ended with a stack."""
        self._stack = stack
        self._sites: dict = {}
        self.journals: dict[str, JournalAudit] = {}

    def of(self, federation: Federation, org_id: str) -> KeptDisclosures:
        site, key = federation.sites[org_id], seed(org_id, "records")
        journal = self.journals[org_id] = self._stack.enter_context(
            closing(JournalAudit(site.folder, key, federation.clock))
        )
        service = RecordService(site.records, genesis().ledger, key, federation.clock)
        drain = AuditDrain(site.folder, key, site.records, service, federation.clock, org_id)
        self._sites[org_id] = (site, service, drain)
        return KeptDisclosures(journal, org_id, lambda: site.ledger.members, site.records)

    def events(self, org_id: str) -> list[dict]:
        """Return the AuditEvents of an organisation's node."""
        site, service, drain = self._sites[org_id]
        while drain.take():
            pass
        while drain.place():
            pass
        rows = site.records.by_patient(service.patient_token(""), ("AuditEvent",), limit=1000)
        return [json.loads(service.open(row).content) for row in rows]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with ExitStack() as stack:
        audits = Audits(stack)
        desks = stack.enter_context(running_desks(tmp_path_factory.mktemp("disclosures"), audits.of))
        desks.audits = audits
        yield desks


@pytest.fixture
def case(nodes):
    made = Case(nodes, f"p{next(_NUMBERS)}")
    made.store(made.patient(), made.observation(1), made.observation(2, code="4548-4"))
    made.permit("Observation")
    return made


def request(nodes, case, **changes: object) -> dict:
    document = {"custodian": RENHE, "grant": case.grant, "purpose": "HPAYMT", "resource_types": ["Observation"]}
    return nodes.local(ANXIN).call("request", document | changes)


def last(nodes, org_id: str) -> dict:
    return nodes.audits.events(org_id)[-1]


def identifiers(event: dict) -> dict[str, str]:
    """Return what an event names by identifiers of this project's systems."""
    rows = (row.get("what", {}).get("identifier", {}) for row in event["entity"])
    return {row["system"]: row["value"] for row in rows if "system" in row}


def references(event: dict) -> list[tuple[str, str]]:
    """Return the references of an event's entities with their type."""
    return [
        (row["type"]["code"], row["what"]["reference"]) for row in event["entity"] if "reference" in row.get("what", {})
    ]


def agents(event: dict) -> list[tuple]:
    """Return part, organisation, address and whether it asked, of each agent."""
    return [
        (
            row["type"]["coding"][0]["code"],
            row["who"]["identifier"]["value"],
            row["network"]["address"],
            row["network"]["type"],
            row["requestor"],
        )
        for row in event["agent"]
    ]


def test_a_release_is_a_privacy_disclosure_at_its_source(nodes, case):
    query = "code=http://loinc.org|718-7"
    answer = request(nodes, case, query=query)
    event, urls = last(nodes, RENHE), {one.org_id: one.url for one in members(nodes)}
    assert check(parse(json.dumps(event).encode()), warnings=False) == []
    # IHE BALP 1.1.4, IHE.BasicAudit.PrivacyDisclosure.Source.
    assert (event["type"], event["subtype"]) == (
        {"system": DCM, "code": "110106"},
        [{"system": LIFECYCLE, "code": "disclose"}],
    )
    assert (event["action"], event["outcome"]) == ("R", "0")
    assert agents(event) == [
        ("110153", RENHE, urls[RENHE], "5", False),
        ("110152", ANXIN, urls[ANXIN], "5", True),
    ]
    assert event["source"]["observer"] == event["agent"][0]["who"]
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "HPAYMT"
    assert references(event) == [("2", f"Observation/{case.name}-o1/_history/1"), ("1", f"Patient/{case.name}")]
    assert identifiers(event) == {
        "urn:medchain:grant": f"{case.grant}/1",
        "urn:medchain:consent": f"{case.consent}/1",
        "urn:medchain:access": f"{access_key(unhex(case.grant, 32), RENHE).hex()}/1",
    }
    assert event["entity"][-1]["what"]["identifier"]["value"] == answer["request_hash"]
    asked = next(base64.b64decode(row["query"]).decode() for row in event["entity"] if "query" in row)
    assert asked == f"Observation?{query}"


def test_what_came_is_a_privacy_disclosure_at_its_recipient(nodes, case):
    answer = request(nodes, case)
    event, urls = last(nodes, ANXIN), {one.org_id: one.url for one in members(nodes)}
    assert check(parse(json.dumps(event).encode()), warnings=False) == []
    # IHE BALP 1.1.4, IHE.BasicAudit.PrivacyDisclosure.Recipient.
    assert (event["type"], event["subtype"]) == (
        {"system": DCM, "code": "110107"},
        [{"system": LIFECYCLE, "code": "disclose"}],
    )
    assert (event["action"], event["outcome"]) == ("C", "0")
    assert agents(event) == [
        ("110153", RENHE, urls[RENHE], "5", False),
        ("110152", ANXIN, urls[ANXIN], "5", True),
    ]
    assert event["source"]["observer"] == event["agent"][1]["who"]
    origins = {one.org_id: one.origins for one in members(nodes)}
    base = f"{origins[RENHE][0]}/fhir"
    assert references(event) == [
        ("1", f"{base}/Patient/{case.name}"),
        ("2", f"{base}/Observation/{case.name}-o1/_history/1"),
        ("2", f"{base}/Observation/{case.name}-o2/_history/1"),
    ]
    assert identifiers(event)["urn:medchain:access"] == f"{answer['access']['key']}/1"
    assert event["entity"][-1]["what"]["identifier"]["value"] == answer["request_hash"]


def test_what_is_told_for_a_claim_is_a_privacy_disclosure_of_it_at_both(nodes, case):
    told = f"Observation/{case.name}-o1"
    received = tell(nodes, case, told)
    access = f"{received.access.key.hex()}/{received.access.version}"
    for org_id, kind in ((RENHE, "110106"), (ANXIN, "110107")):
        event = last(nodes, org_id)
        assert check(parse(json.dumps(event).encode()), warnings=False) == []
        assert event["type"]["code"] == kind
        assert identifiers(event)["urn:medchain:claim"] == CLAIM.hex()
        assert identifiers(event)["urn:medchain:access"] == access
        assert event["entity"][-1]["what"]["identifier"]["value"] == received.request.request.hash.hex()
    base = f"{next(one.origins for one in members(nodes) if one.org_id == RENHE)[0]}/fhir"
    assert references(last(nodes, RENHE)) == [("2", f"{told}/_history/1"), ("1", f"Patient/{case.name}")]
    assert references(last(nodes, ANXIN)) == [("2", f"{base}/{told}/_history/1")]


def test_a_refusal_to_tell_for_a_claim_is_a_disclosure_that_was_not_made(nodes, case):
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        tell(nodes, case, "Observation/of-nobody")
    event = last(nodes, RENHE)
    assert (event["type"]["code"], event["outcome"]) == ("110106", "4")
    assert identifiers(event) == {"urn:medchain:code": "release.no_record"}


def test_many_records_that_are_told_of_are_several_events_at_the_recipient(nodes, case, monkeypatch):
    monkeypatch.setattr(disclosures, "MAX_ELSEWHERE", 1)
    before = len(nodes.audits.events(ANXIN))
    tell(nodes, case, *(f"Observation/{case.name}-o{at}" for at in (1, 2)))
    found = nodes.audits.events(ANXIN)[before:]
    assert [len(references(one)) for one in found] == [1, 1]
    assert {identifiers(one)["urn:medchain:claim"] for one in found} == {CLAIM.hex()}


def test_the_patient_is_shown_that_parts_were_told_and_no_record_left(nodes, case):
    request(nodes, case)
    tell(nodes, case, f"Observation/{case.name}-o1")
    (row,) = nodes.local(RENHE).call("patient.consents", {"subjects": [case.subject]})["consents"]
    assert [(one["count"], one["in_part"]) for one in row["grants"][0]["accesses"]] == [(2, False), (1, True)]


def tell(nodes, case, *cited: str) -> ReceivedDisclosure:
    """Have the hospital tell what a claim needs of records."""
    site, clock = nodes.federation.sites[RENHE], nodes.federation.clock
    job = IndexJob(site.records, site.service, SearchIndex(site.records), clock)
    while job.step():
        pass
    citation = citation_of(cited, NOW, ("2026-11-20", "2026-11-20"), b"\x66" * 32)
    wish = ClaimWish(RENHE, unhex(case.grant, 32), CLAIM, citation)
    return nodes.nodes[ANXIN].asker.request_disclosure(wish)


def members(nodes) -> list:
    return list(nodes.federation.sites[RENHE].ledger.members.active)


def test_a_record_that_names_itself_nowhere_is_named_by_its_object(nodes):
    case = Case(nodes, f"p{next(_NUMBERS)}")
    site = nodes.federation.sites[RENHE]
    site.service.create_many(
        [NewRecord("Binary", f"{case.name}-scan", b"\x89PNG", case.name, content_type="image/png")]
    )
    case.store(case.patient())
    case.permit("Binary", "Patient")
    answer = request(nodes, case, resource_types=["Binary"])
    (row,) = answer["records"]
    assert identifiers(last(nodes, ANXIN))["urn:medchain:object"] == f"{row['object_id']}/1"


def test_many_records_are_several_events_and_each_names_patient_and_access(nodes, case, monkeypatch):
    monkeypatch.setattr(disclosures, "MAX_ELSEWHERE", 2)
    before = len(nodes.audits.events(ANXIN))
    request(nodes, case)
    found = nodes.audits.events(ANXIN)[before:]
    assert [[kind for kind, _ in references(one)] for one in found] == [["1", "2"], ["1", "2"]]
    assert len({identifiers(one)["urn:medchain:access"] for one in found}) == 1
    trail = Trail(RELEASE, numbers=list(range(MAX_NUMBERS + 1)), basis=("a|b",), places=("here", "there"))
    ask = Ask("POST", "", fields={}, access=Access("x", ()), request_id="r", trail=trail)
    read = [read_frame(frame) for frame in frames(ask, 200, 7)]
    assert [(len(one.numbers), one.basis, one.place, one.peer) for one in read] == [
        (MAX_NUMBERS, ("a|b",), "here", "there"),
        (1, ("a|b",), "here", "there"),
    ]


def test_a_refusal_is_a_disclosure_that_was_not_made_with_its_reason(nodes, case):
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        request(nodes, case, purpose="TREAT")
    event = last(nodes, RENHE)
    assert check(parse(json.dumps(event).encode()), warnings=False) == []
    assert (event["type"]["code"], event["action"], event["outcome"]) == ("110106", "R", "4")
    assert [row[1] for row in agents(event)] == [RENHE, ANXIN]
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "TREAT"
    assert references(event) == [("1", f"Patient/{case.name}")]
    assert identifiers(event) == {"urn:medchain:code": "release.grant"}


def test_a_refused_question_about_grants_and_what_nobody_can_read_are_events_too(nodes, case):
    asked = {"about": f"Patient/{case.name}", "custodian": RENHE, "purpose": "TREAT", "resource_types": ["*"]}
    assert nodes.local(ANXIN).call(GRANTS, asked) == {"grants": []}
    event = last(nodes, RENHE)
    assert (identifiers(event), references(event)) == (
        {"urn:medchain:code": "release.no_grant"},
        [("1", f"Patient/{case.name}")],
    )
    before = len(nodes.audits.events(RENHE))
    with pytest.raises(InputError):
        nodes.nodes[RENHE].custodian.release(b"{" + case.name.encode(), ANXIN)
    event = last(nodes, RENHE)
    assert (len(nodes.audits.events(RENHE)), event["outcome"], references(event)) == (before + 1, "4", [])


def test_a_request_is_not_refused_where_the_audit_cannot_keep_that(nodes, case):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nodes.audits.journals[RENHE], "note", full)
        with pytest.raises(UnavailableError, match=r"store\.full"):
            request(nodes, case, purpose="TREAT")


def full(_ask: Ask, _status: int) -> None:
    raise UnavailableError("store.full", table="journal")


def test_nothing_leaves_that_the_audit_cannot_keep_and_it_does_once_it_can(nodes, case):
    asker, custodian = nodes.nodes[ANXIN].asker, nodes.nodes[RENHE].custodian
    signed = asker.prepare(Wish(RENHE, unhex(case.grant, 32), "HPAYMT", Extent(("Observation",))))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nodes.audits.journals[RENHE], "note", full)
        with pytest.raises(UnavailableError, match=r"store\.full"):
            custodian.release(signed.encode(), ANXIN)
    assert len(asker.fetch(signed).records) == 2


def test_nobody_is_given_what_came_while_the_audit_cannot_keep_it(nodes, case):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nodes.audits.journals[ANXIN], "note", full)
        with pytest.raises(UnavailableError, match=r"store\.full"):
            request(nodes, case)


@pytest.mark.parametrize("interaction", [RELEASE, RECEIVE])
def test_a_release_is_in_no_list_of_local_looks(interaction):
    happening = Happening(7, 200, "r", interaction, ANXIN, "", "", "", "", "", "", "", (1,))
    assert list(looks_of("ab.7", happening, [Version("Observation", "o1", 1, "p1")])) == []


def invoices(nodes, case, *names: str) -> list[int]:
    """Store invoices of the patient's; returns the numbers of their versions."""
    subject = {"reference": f"Patient/{case.name}"}
    rows = [{"resourceType": "Invoice", "id": name, "status": "issued", "subject": subject} for name in names]
    case.store(*rows)
    return [nodes.federation.sites[RENHE].records.get("Invoice", name).seq for name in names]


def disclosures_of(nodes) -> KeptDisclosures:
    site = nodes.federation.sites[RENHE]
    return KeptDisclosures(nodes.audits.journals[RENHE], RENHE, lambda: site.ledger.members, site.records)


@pytest.mark.parametrize(("is_known", "outcome"), [(True, "0"), (False, "4")])
def test_an_invoice_that_an_insurer_asks_for_is_an_event_with_the_insurer_and_a_look(nodes, case, is_known, outcome):
    first, second = f"{case.name}-i1", f"{case.name}-i2"
    numbers = invoices(nodes, case, first, second)
    disclosures_of(nodes).questioned(ANXIN, b"\x07" * 32, numbers, is_known=is_known)
    event = last(nodes, RENHE)
    assert check(parse(json.dumps(event).encode()), warnings=False) == []
    assert (event["type"]["code"], event["outcome"]) == ("rest", outcome)
    assert event["agent"][0]["who"] == {"identifier": {"system": ORGANISATION, "value": ANXIN}}
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "HPAYMT"
    assert references(event) == [
        ("2", f"Invoice/{first}/_history/1"),
        ("2", f"Invoice/{second}/_history/1"),
        ("1", f"Patient/{case.name}"),
    ]
    assert event["entity"][-1]["what"]["identifier"]["value"] == "07" * 32


def test_a_question_for_an_invoice_is_in_the_list_of_looks():
    happening = Happening(7, 403, "r", QUESTION, ANXIN, "", "", "", "", "", "", "", (1,), purpose="HPAYMT")
    [(patient, look)] = looks_of("ab.7", happening, [Version("Invoice", "i1", 1, "p1")])
    assert (patient, look.action, look.client, look.types) == ("p1", "claim-question", ANXIN, ("Invoice",))
    assert (look.purpose, look.is_refused, look.who) == ("HPAYMT", True, "")
