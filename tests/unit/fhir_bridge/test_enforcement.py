"""Every FHIR interaction by caller by state of consent, generated: what comes out is what the decision permits.

Compared byte for byte: the bytes of each version that `consent_oracle` lets pass are in the answer, and those of no
other; numbers (totals, counts) are those of what passes; and what is refused is answered as what is absent.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from itertools import product
from unittest.mock import patch

import nacl.utils
import orjson
import pytest

from fhir_bridge.definitions.elements import members, type_names
from fhir_bridge.smart.scopes import parse_scopes
from medchain.dates import Span, span_of
from medchain.ledger.kinds.emergency import EMERGENCY_S
from medchain.node.emergency import EmergencyDesk
from medchain.node.telling import attached_in
from tests.unit.fhir_bridge.conftest import NODE
from tests.unit.fhir_bridge.consent_oracle import (
    ACT_REASON,
    CALLERS,
    CLAIMING,
    GUARDIAN,
    ITSELF,
    LEVEL,
    RULE,
    STATES,
    Caller,
    Lying,
    Oracle,
    Version,
    actor,
    consent,
    deny,
    label,
)

LOINC = "http://loinc.org"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
ACTIVE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}
OWN = {
    "resourceType": "Organization",
    "id": "own",
    "identifier": [{"system": "urn:medchain:organisation", "value": NODE}],
}


def observation(name: str, code: str, day: str, patient: str = "p1", **more: object) -> dict:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": day,
        "performer": [{"reference": "Practitioner/d3"}],
        **more,
    }


def condition(name: str, code: str, day: str, patient: str = "p1") -> dict:
    return {
        "resourceType": "Condition",
        "id": name,
        "clinicalStatus": ACTIVE,
        "code": {"coding": [{"system": ICD10, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        "onsetDateTime": day,
        "asserter": {"reference": "Practitioner/d9"},
    }


ENCOUNTER = {
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
    "status": "finished",
}
PERIOD = {"start": "2025-03-01T08:00:00Z", "end": "2025-03-01T09:00:00Z"}
RECORDS = (
    {"resourceType": "Patient", "id": "p1", "name": [{"family": "Wang"}], "birthDate": "1970-01-01"},
    {"resourceType": "Patient", "id": "p2", "name": [{"family": "Li"}], "birthDate": "1971-01-01"},
    {"resourceType": "Encounter", "id": "e1", "subject": {"reference": "Patient/p1"}, "period": PERIOD, **ENCOUNTER},
    observation("sugar", "2339-0", "2026-02-03"),
    observation("weight", "29463-7", "2025-03-01", encounter={"reference": "Encounter/e1"}),
    observation("weight", "29463-7", "2026-03-01"),
    observation("phq", "44249-1", "2026-04-05"),
    observation("of-p2", "2339-0", "2026-02-03", "p2"),
    condition("hiv", "B20", "2024-01-01"),
    condition("cold", "J06.9", "2025-12-01"),
    condition("of-p2", "B20", "2024-01-01", "p2"),
    {"resourceType": "DiagnosticReport", "id": "r1", "status": "final", "code": {"text": "x"},
     "subject": {"reference": "Patient/p2"}, "result": [{"reference": "Observation/sugar"}]},
)  # fmt: skip


def bundle(name: str, *records: dict, **more: object) -> dict:
    """Make a Bundle that is stored as such."""
    entry = [
        {"fullUrl": f"https://lab.example/fhir/{one['resourceType']}/{one['id']}", "resource": one} for one in records
    ]
    return {"resourceType": "Bundle", "id": name, "type": "collection", "entry": entry, **more}


COMPOSITION = {
    "resourceType": "Composition",
    "id": "letter",
    "status": "final",
    "type": {"text": "letter"},
    "subject": {"reference": "Patient/p1"},
    "date": "2026-02-04",
    "author": [{"reference": "Practitioner/d3"}],
    "title": "Letter",
}
DOCUMENT = {
    "type": "document",
    "identifier": {"system": "urn:letters", "value": "7"},
    "timestamp": "2026-02-04T00:00:00Z",
}
BUNDLES = (
    bundle("letter", COMPOSITION, RECORDS[0], observation("in-letter", "2339-0", "2026-02-03"), **DOCUMENT),
    bundle("labs", observation("in-labs", "29463-7", "2026-02-03"), observation("further", "718-7", "2026-03-03")),
    bundle("copies", RECORDS[3] | {"subject": {"reference": "http://renhe.example/fhir/Patient/p1"}}),
    bundle("ills", condition("in-ills", "J06.9", "2026-01-01")),
    bundle("ills", condition("in-ills", "J06.9", "2026-01-01"), condition("of-other", "B20", "2024-01-01", "p2")),
    bundle("of-p2", condition("in-of-p2", "B20", "2024-01-01", "p2"), observation("o", "2339-0", "2025-01-01", "p2")),
)
BINARY = {
    "resourceType": "Binary",
    "id": "b1",
    "contentType": "text/plain",
    "securityContext": {"reference": "Patient/p1"},
    "data": "aGVsbG8=",
}
COLLECTIONS = ("labs", "copies", "ills", "of-p2")
WHEN = ("effectiveDateTime", "onsetDateTime", "period")
MINE = frozenset({"Patient/p1", "Encounter/e1", "Binary/b1"})


@pytest.fixture
def ward(server):
    """Records of two patients, people, a team; this organisation has a name among them."""
    object.__setattr__(server.core.enforcement, "_organisation", NODE)
    team = {"resourceType": "CareTeam", "id": "t1", "participant": [{"member": {"reference": "Practitioner/d1"}}]}
    people = [{"resourceType": "Practitioner", "id": name} for name in ("d1", "d2", "d3", "d9", "k1")]
    for one in (OWN, team, *people, *RECORDS, *BUNDLES, BINARY):
        made = server.call("PUT", f"/fhir/{one['resourceType']}/{one['id']}", one)
        assert made.status_code in (200, 201), made.data
    return server


def about(resource: dict) -> str:
    """Tell whom a record is about."""
    own = f"Patient/{resource['id']}" if resource["resourceType"] == "Patient" else ""
    return own or resource.get("subject", resource.get("patient", {})).get("reference", "")


def when(resource: dict) -> Span | None:
    """Tell when what a record tells of happened."""
    value = next((resource[name] for name in WHEN if name in resource), None)
    if isinstance(value, dict):
        return span_of(value["start"])._replace(high=span_of(value["end"]).high)
    return None if value is None else span_of(value)


class Ward:
    """The ward seen by one caller under some consents."""

    def __init__(self, server, caller: Caller, consents) -> None:
        """Store the consents, and list what there is."""
        self.server, self.caller = server, caller
        self.stored = []
        for place, one in enumerate(consents):
            made = orjson.loads(server.call("PUT", f"/fhir/Consent/c{place}", one | {"id": f"c{place}"}).data)
            self.stored.append((made["id"], made))
        self.versions = [self._version(row) for row in self._rows()]
        self.oracle = Oracle(self.versions, self.stored, caller)

    def _rows(self):
        """List all record versions of the ward."""
        for type_name, record_id in dict.fromkeys((one["resourceType"], one["id"]) for one in (*RECORDS, *BUNDLES)):
            yield from reversed(self.server.store.history(type_name, record_id))
        for name, _ in self.stored:
            yield from reversed(self.server.store.history("Consent", name))

    def _version(self, row) -> Version:
        """Read one."""
        content = self.server.service.open(row).content
        resource = orjson.loads(content)
        name = f"{row.type}/{row.id}"
        if row.type == "Bundle":
            return self._bundle(name, row.version, content, resource)
        is_of_p1 = name in MINE or (about(resource) == "Patient/p1" and row.type != "Consent")
        return Version(name, row.version, content, is_of_p1, when(resource))

    def _bundle(self, name: str, number: int, content: bytes, resource: dict) -> Version:
        """Read a Bundle: all records in these have subjects or are Patients."""
        mine = [one for one in resource["entry"] if about(one["resource"]).endswith("Patient/p1")]
        labels = resource["meta"].get("security", [])
        lying = tuple(
            Lying(
                f"{one['resource']['resourceType']}/{one['resource']['id']}",
                orjson.dumps({**one["resource"], "meta": {"security": labels}}),
                when(one["resource"]),
            )
            for one in mine
        )
        with_these = orjson.dumps({**resource, "entry": [{"resource": one["resource"]} for one in mine]})
        return Version(name, number, content, bool(mine), None, lying, with_these)

    def ask(self, path: str, method: str = "GET", body=None, **headers: str):
        """Ask as the caller."""
        with patch.object(type(self.server.tokens), "check", lambda _self, _token: self.caller.access):
            return self.server.call(method, path if path.startswith("/") else f"/fhir/{path}", body, **headers)

    def newest(self, *types: str) -> list[Version]:
        """List the newest versions of some types."""
        newest = {one.name: one for one in self.versions}
        return [one for name, one in newest.items() if name.partition("/")[0] in types]

    def compared(self, path: str, among: list[Version], answer=None) -> bytes:
        """See that an answer has those of some versions that may be seen, and no other version of the ward."""
        data = (self.ask(path) if answer is None else answer).data
        for one in self.versions:
            expected = one in among and self.oracle.shows(one)
            assert (one.content in data) is expected, (path, one.name, one.number, expected)
        return data

    def shown(self, among: list[Version]) -> list[Version]:
        """Choose those that may be seen."""
        return [one for one in among if self.oracle.shows(one)]


def of_names(ward: Ward, *names: str) -> list[Version]:
    return [one for one in ward.newest(*{name.partition("/")[0] for name in names}) if one.name in names]


def by_name(ward: Ward) -> None:
    """Read, vread, history, proof, $meta, Provenance of each version."""
    absent = ward.ask("Observation/absent")
    gone = (absent.status_code, absent.data)
    for one in ward.versions:
        is_newest = one in ward.newest(one.name.partition("/")[0])
        for way in ([one.name] if is_newest else []) + [f"{one.name}/_history/{one.number}"]:
            answer = ward.ask(way)
            if ward.oracle.shows(one):
                assert (answer.status_code, answer.data) == (200, one.content), way
            else:
                assert (answer.status_code, answer.data) == gone, way
        others = [other for other in ward.versions if other.name == one.name]
        ward.compared(f"{one.name}/_history", others)
        for operation in ("$proof", "$meta"):
            answer = ward.ask(f"{one.name}/_history/{one.number}/{operation}")
            assert (answer.status_code == 200) is ward.oracle.shows(one), (one.name, operation)
            assert ward.oracle.shows(one) or answer.data == gone[1]
    for one in ward.newest("Observation", "Condition"):
        told = ward.ask(f"Provenance?target={one.name}")
        assert (len(orjson.loads(told.data).get("entry", [])) > 0) is ward.oracle.shows(one), one.name


def shows_binary(ward: Ward) -> bool:
    """Tell whether the Binary under the patient's security context may be seen."""
    head = ward.server.service.head(ward.server.store.get("Binary", "b1")).text
    version = Version("Binary/b1", 1, head, is_of_p1=True, span=None)
    return Oracle([version], ward.stored, ward.caller).shows(version)


def of_binary(ward: Ward) -> None:
    """The bytes of a Binary under the patient's security context."""
    may = shows_binary(ward)
    answer = ward.ask("Binary/b1")
    assert (answer.status_code, b"hello" in answer.data) == ((200, True) if may else (404, False))


def of_histories(ward: Ward) -> None:
    """Histories of a type and of all."""
    kept = [one for one in ward.versions if one.name.startswith("Observation/")]
    ward.compared("Observation/_history?_count=100", kept)
    ward.compared("_history?_count=1000", ward.versions)
    count = orjson.loads(ward.ask("Observation/_history?_count=0").data)
    assert count["total"] == len(ward.shown(kept))


def by_search(ward: Ward) -> None:
    """Searches with all that can tell of what is hidden."""
    observations, conditions = ward.newest("Observation"), ward.newest("Condition")
    p1 = [one for one in observations if one.is_of_p1]
    for path, among in (
        ("Observation?_total=accurate", observations),
        ("Observation?_sort=-date&_total=accurate", observations),
        ("Observation?code=2339-0&_total=accurate", of_names(ward, "Observation/sugar", "Observation/of-p2")),
        ("Observation?_id=sugar,weight&_total=accurate", of_names(ward, "Observation/sugar", "Observation/weight")),
        ("Observation?subject=Patient/p1&_total=accurate", p1),
        ("Condition?_security=HIV&_total=accurate", of_names(ward, "Condition/hiv", "Condition/of-p2")),
        ("Patient/p1/Observation?_total=accurate", p1),
        ("?_type=Observation,Condition&_total=accurate", observations + conditions),
        ("Bundle?_total=accurate", ward.newest("Bundle")),
        ("Bundle?type=collection&_total=accurate", of_names(ward, *(f"Bundle/{one}" for one in COLLECTIONS))),
        ("?_type=Bundle,Condition&_sort=-_lastUpdated&_total=accurate", ward.newest("Bundle") + conditions),
    ):
        told = orjson.loads(ward.compared(path, among))
        assert told["total"] == len(ward.shown(among)), path
        count = orjson.loads(ward.ask(f"{path}&_summary=count").data)
        assert count["total"] == len(ward.shown(among)), path
    # By two at a time: pages are filled with what may be seen.
    found, path = [], "/fhir/Observation?_count=2"
    while path:
        page = orjson.loads(ward.ask(path).data)
        found += [row["resource"]["id"] for row in page.get("entry", [])]
        links = [one["url"] for one in page["link"] if one["relation"] == "next"]
        path = links[0].partition("http://127.0.0.1:41000")[2] if links else ""
    assert sorted(f"Observation/{one}" for one in found) == sorted(one.name for one in ward.shown(observations))


def through_others(ward: Ward) -> None:
    """What stands at the other end of a reference: chains, `_has`, includes, both ways."""
    (patient,) = of_names(ward, "Patient/p1")
    p1 = [one for one in ward.newest("Observation") if one.is_of_p1]
    chained = p1 if ward.oracle.shows(patient) else []
    ward.compared("Observation?subject:Patient.family=Wang", chained)
    (sugar,) = of_names(ward, "Observation/sugar")
    ward.compared(
        "Patient?_has:Observation:subject:code=2339-0&family=Wang", [patient] if ward.oracle.shows(sugar) else []
    )
    ward.compared("Bundle?composition.title=Letter", of_names(ward, "Bundle/letter"))
    report = of_names(ward, "DiagnosticReport/r1")
    ward.compared("DiagnosticReport?result.code=2339-0", report if ward.oracle.shows(sugar) else [])
    ward.compared("DiagnosticReport?_include=DiagnosticReport:result", [*report, sugar])
    ward.compared("Observation?_id=weight&_include=Observation:subject", of_names(ward, "Observation/weight") + (
        [patient] if ward.oracle.shows(of_names(ward, "Observation/weight")[0]) else []
    ))  # fmt: skip
    conditions = [one for one in ward.newest("Condition") if one.is_of_p1]
    ward.compared("Patient?_id=p1&_revinclude=Condition:subject", [patient, *(conditions if chained else [])])


def of_everything(ward: Ward) -> None:
    """$everything, exports, Bundles, conditions of writes, labels in use."""
    (patient,) = of_names(ward, "Patient/p1")
    whole = [one for one in ward.newest("Patient", "Encounter", "Observation", "Condition") if one.is_of_p1]
    whole += ward.newest("Consent")
    if ward.oracle.shows(patient):
        ward.compared("Patient/p1/$everything?_count=1000", whole)
    else:
        assert ward.ask("Patient/p1/$everything").data == ward.ask("Patient/absent/$everything").data
    for path, types in (
        ("Patient/$export?_type=Patient,Observation,Condition", ("Patient", "Observation", "Condition")),
        ("$export?_type=Bundle", ("Bundle",)),
    ):
        begun = ward.ask(path, Prefer="respond-async")
        manifest = orjson.loads(ward.ask(begun.headers["Content-Location"].partition("http://127.0.0.1:41000")[2]).data)
        data = b"".join(ward.ask(row["url"].partition("http://127.0.0.1:41000")[2]).data for row in manifest["output"])
        assert sorted(data.splitlines()) == sorted(one.content for one in ward.shown(ward.newest(*types))), path
    asked = ward.newest("Observation", "Condition", "Bundle")
    rows = [{"request": {"method": "GET", "url": one.name}} for one in asked]
    for kind in ("batch", "transaction"):
        answer = ward.ask("", "POST", {"resourceType": "Bundle", "type": kind, "entry": rows})
        ward.compared(kind, asked, answer)
    labels = orjson.loads(ward.ask("Condition/$meta").data)["parameter"][0].get("valueMeta", {}).get("security", [])
    expected = {row["code"] for one in ward.shown(ward.newest("Condition"))
                for row in orjson.loads(one.content)["meta"].get("security", [])}  # fmt: skip
    assert {row["code"] for row in labels} == expected


def by_writing(ward: Ward) -> None:
    """What is hidden is not written over, and no condition of a write tells of it."""
    changes = {
        "Observation": {"op": "replace", "path": "/status", "value": "amended"},
        "Bundle": {"op": "add", "path": "/timestamp", "value": "2026-11-01T00:00:00Z"},
    }
    for one in ward.newest(*changes):
        type_name, _, record_id = one.name.partition("/")
        before = ward.server.store.get(type_name, record_id).version
        rows = [changes[type_name]]
        token = ward.server.tokens.issue("test", parse_scopes("system/*.cruds"))
        with patch.object(type(ward.server.tokens), "check", lambda _self, _token: ward.caller.access):
            answer = ward.server.client.patch(
                f"/fhir/{one.name}",
                data=json.dumps(rows),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json-patch+json"},
            )
        assert (answer.status_code == 200) is ward.oracle.shows(one), one.name
        row = ward.server.store.get(type_name, record_id)
        assert (row.version > before) is ward.oracle.shows(one)
        if ward.oracle.shows(one):
            continue
        resource = orjson.loads(one.content)
        entry = {"resource": resource, "request": {"method": "PUT", "url": one.name}}
        for refused in (
            ward.ask(one.name, "PUT", resource),
            ward.ask("", "POST", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}),
        ):
            assert refused.status_code == 404
            assert b"record.unknown" in refused.data
        # As of a name that nobody has: it is gone already.
        assert ward.ask(one.name, "DELETE").status_code == 204
        assert ward.server.store.get(type_name, record_id).version == before


def of_events(ward: Ward) -> None:
    """AuditEvents of what was done here: those that tell of nothing that is kept back."""
    for path in ("Observation/sugar", "Condition/hiv", "Observation?code=2339-0"):
        ward.ask(path)
    ward.ask("Observation/absent", "DELETE")
    server = ward.server
    server.drain()
    rows = server.store.by_patient(server.service.patient_token(""), ("AuditEvent",), limit=1000)
    events = {row.id: orjson.loads(server.service.open(row).content) for row in rows}
    may = {name for name, event in events.items() if not ward.caller.role and not tells(ward, event)}
    assert ward.caller.role or may
    found = ward.ask("AuditEvent?_count=1000")
    shown = {row["resource"]["id"] for row in orjson.loads(found.data).get("entry", [])}
    assert shown & events.keys() == may
    answers = {name: ward.ask(f"AuditEvent/{name}").status_code for name in events}
    assert answers == {name: 200 if name in may else 404 for name in events}


def tells(ward: Ward, event: dict) -> bool:
    """Tell whether an event is of a record of which a version is kept back, of what was refused, or of a deletion."""
    kept = {one.name for one in ward.versions if not ward.oracle.shows(one)}
    kept |= set() if shows_binary(ward) else {"Binary/b1"}
    whats = [one["what"].get("reference", "") for one in event["entity"] if "what" in one]
    is_telling = (event["outcome"] == "4" or event["action"] == "D") and not ward.oracle.permits_all
    return is_telling or any("/".join(what.split("/")[:2]) in kept for what in whats)


# What the others do here would be events, too, of which each is asked for.
WAYS = (of_events, by_name, of_binary, of_histories, by_search, through_others, of_everything, by_writing)
CASES = [(state, name) for state, name in product(STATES, CALLERS)]
# One in eleven of all at every change, each caller among them; all of them are for `make soak`.
CHOSEN = [case for place, case in enumerate(CASES) if place % 11 == zlib.crc32(b"few") % 11]


def enforced(server, state: str, name: str) -> None:
    seen = Ward(server, CALLERS[name], STATES[state])
    for way in WAYS:
        way(seen)


@pytest.mark.parametrize(("state", "name"), CHOSEN)
def test_every_interaction_gives_what_the_decision_permits_and_nothing_else(ward, state, name):
    enforced(ward, state, name)


@pytest.mark.slow
@pytest.mark.parametrize(("state", "name"), [case for case in CASES if case not in CHOSEN])
def test_every_interaction_gives_it_in_all_cases(ward, state, name):
    enforced(ward, state, name)


OF_P1_ALL = frozenset(f"{one['resourceType']}/{one['id']}" for one in RECORDS) - {
    *("Patient/p2", "Observation/of-p2", "Condition/of-p2", "DiagnosticReport/r1")
}
MOTHER = actor("RelatedPerson/mother")
BY_NUMBER = [{**MOTHER[0], "reference": {"identifier": {"system": "urn:mrn", "value": "17"}}}]
CARER = [{"role": {"coding": [{"system": "urn:roles", "code": "carer"}]}, "reference": {"reference": "Patient/g1"}}]
HIV_ALONE = frozenset({"Condition/hiv"})
NAMING = {
    "itself": ([deny(actor=actor("Patient/p1"))], OF_P1_ALL, frozenset()),
    "guardian": ([deny(actor=actor("Patient/g1"))], frozenset(), OF_P1_ALL),
    "guardian-as-carer": ([deny(actor=CARER)], frozenset(), OF_P1_ALL),
    "guardian-for-a-purpose": (
        [deny(actor=actor("Patient/g1"), purpose=label("FAMRQT", ACT_REASON))], frozenset(), OF_P1_ALL
    ),
    "relative": ([deny(actor=MOTHER)], frozenset(), OF_P1_ALL),
    "by-number": ([deny(actor=BY_NUMBER)], OF_P1_ALL, OF_P1_ALL),
    "family": ([deny(actor=actor("CareTeam/family"))], frozenset(), OF_P1_ALL),
    "custodian": ([deny(actor=actor("Organization/own", "CST"))], frozenset(), frozenset()),
    "hiv-to-guardian": (
        [consent(None, **RULE), consent({"type": "permit", "securityLabel": label("N", LEVEL), "provision": [
            {"type": "deny", "actor": actor("Patient/g1"), "securityLabel": label("HIV")}]})],
        frozenset(), HIV_ALONE,
    ),
    "inside-what-is-denied": (
        [deny(code=[{"coding": [{"system": ICD10, "code": "B20"}]}], provision=[
            {"type": "deny", "actor": actor("Patient/p1")}])],
        HIV_ALONE, frozenset(),
    ),
}  # fmt: skip
"""Consents that name somebody, and what each keeps from the patient and from the guardian."""


def seen_by(server, caller: Caller) -> frozenset[str]:
    """List which of the patient's records are seen, on all ways alike."""

    def ask(path: str):
        with patch.object(type(server.tokens), "check", lambda _self, _token: caller.access):
            return server.call("GET", f"/fhir/{path}")

    gone = ask("Observation/absent").data
    answers = {name: ask(name) for name in OF_P1_ALL}
    shown = frozenset(name for name, answer in answers.items() if answer.status_code == 200)
    assert all(answer.data == gone for name, answer in answers.items() if name not in shown)
    whole = orjson.loads(ask("Patient/p1/*?_count=1000").data)
    found = {f"{row['resource']['resourceType']}/{row['resource']['id']}" for row in whole.get("entry", [])}
    assert found & OF_P1_ALL == shown
    counted = orjson.loads(ask("Observation?subject=Patient/p1&_summary=count").data)["total"]
    assert counted == len([name for name in shown if name.startswith("Observation/")])
    assert (ask("Observation/weight/_history/1").status_code == 200) is ("Observation/weight" in shown)
    return shown


def seen_under(server, caller: Caller, consents) -> frozenset[str]:
    """List which are seen under some consents, and take these back."""
    for place, one in enumerate(consents):
        assert server.call("PUT", f"/fhir/Consent/c{place}", one | {"id": f"c{place}"}).status_code in (200, 201)
    seen = seen_by(server, caller)
    for place, _ in enumerate(consents):
        server.core.service.delete("Consent", f"c{place}")
    return seen


@pytest.mark.parametrize("caller", [ITSELF, GUARDIAN], ids=["itself", "guardian"])
def test_what_consents_deny_to_others_the_patient_and_who_acts_for_it_see(ward, caller):
    """C2: whoever is denied, by whatever data, for whatever purpose; but what nobody can read may name them."""
    for state, consents in STATES.items():
        expected = frozenset() if state == "unreadable" else OF_P1_ALL
        assert seen_under(ward, caller, consents) == expected, state


@pytest.mark.parametrize("name", NAMING)
def test_what_a_consent_denies_to_the_patient_or_who_acts_for_it_by_name_is_kept_from_them(ward, name):
    for record_id, members_ in (("family", ["Patient/p1", "Patient/g1"]), ("t1", ["Patient/p1", "Practitioner/d1"])):
        participants = [{"member": {"reference": one}} for one in members_]
        team = {"resourceType": "CareTeam", "id": record_id, "participant": participants}
        assert ward.call("PUT", f"/fhir/CareTeam/{record_id}", team).status_code in (200, 201)
    consents, *kept = NAMING[name]
    found = [OF_P1_ALL - seen_under(ward, caller, consents) for caller in (ITSELF, GUARDIAN)]
    assert found == kept


@pytest.mark.parametrize("name", CLAIMING)
def test_attack_who_says_to_be_the_patient_or_has_it_as_a_context_is_none(ward, name):
    """A Patient as the account's person, an application's launch, the pages' own reading of the audit."""
    assert seen_under(ward, CLAIMING[name], []) == OF_P1_ALL
    assert seen_under(ward, CLAIMING[name], [deny()]) == frozenset()
    assert seen_under(ward, CLAIMING[name], [consent(None, **RULE)]) == frozenset()


def test_a_patient_is_another_ones_caller_where_it_does_not_act(ward):
    """What is not its own is kept back as from anybody, beside the scopes that name one patient."""
    other = Caller("Patient/p2", "patient", scopes="user/*.rs", patient="p2")
    assert seen_under(ward, other, [deny()]) == frozenset()


def scanned(ward, name: str, about: str) -> None:
    """Store a scan about a record."""
    made = ward.call("PUT", f"/fhir/Binary/{name}", b"%PDF", Content_Type="application/pdf", X_Security_Context=about)
    assert made.status_code == 201


def test_a_binary_is_kept_back_with_the_record_that_stands_for_it(ward):
    """R4 Binary.securityContext: a proxy of the security sensitivity to use when deciding about the Binary."""
    scanned(ward, "of-hiv", "Condition/hiv")
    scanned(ward, "of-cold", "Condition/cold")
    scanned(ward, "of-whom", "Patient/p1")
    seen = Ward(ward, CALLERS["d1"], [deny(securityLabel=label("HIV"))])
    absent = seen.ask("Binary/absent")
    assert seen.ask("Condition/hiv").status_code == 404
    for path in ("Binary/of-hiv", "Binary/of-hiv/_history/1", "Binary/of-hiv?_format=json"):
        assert (seen.ask(path).status_code, seen.ask(path).data) == (absent.status_code, absent.data)
    assert [seen.ask(f"Binary/{name}").status_code for name in ("of-cold", "of-whom")] == [200, 200]
    found = orjson.loads(seen.ask("Binary?_total=accurate").data)
    assert (found["total"], b"of-hiv" in orjson.dumps(found)) == (3, False)
    # What the record becomes, the Binary is with it: here what nobody knew before.
    ward.call("PUT", "/fhir/Condition/cold", condition("cold", "B20", "2025-12-01"))
    assert [seen.ask(f"Binary/{name}").status_code for name in ("of-cold", "of-whom")] == [404, 200]
    unlabelled = Ward(ward, Caller("Practitioner/d2", "clinician", groups=frozenset()), [])
    assert unlabelled.ask("Binary/of-hiv").status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "Binary/scan",
        "Binary/scan/_history/1",
        "http://localhost:8080/fhir/Binary/scan",
        "Binary/scan?_format=application/pdf",
        "http://localhost:8080/fhir/Binary/scan#page=2",
        "Binary/s%63an",
        "Binary/scan/",
    ],
)
def test_attack_the_scan_of_a_document_that_is_kept_back_is_read_since_it_stands_beside_the_patient(ward, url):
    """Most systems name the Patient alone as what a Binary is about: what it is the scan of, the document says."""
    scanned(ward, "scan", "Patient/p1")
    scanned(ward, "other", "Patient/p1")
    seen = Ward(ward, CALLERS["d1"], [deny(securityLabel=label("HIV"))])
    assert seen.ask("Binary/scan").status_code == 200
    document = {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "subject": {"reference": "Patient/p1"},
        "type": condition("hiv", "B20", "2024-01-01")["code"],
        "content": [{"attachment": {"contentType": "application/pdf", "url": url}}],
    }
    assert ward.call("PUT", "/fhir/DocumentReference/d", document).status_code == 201
    assert seen.ask("DocumentReference/d").status_code == 404
    assert [seen.ask(f"Binary/{name}").status_code for name in ("scan", "other")] == [404, 200]


HIV = condition("hiv", "B20", "2024-01-01")["code"]
SCAN = {"contentType": "application/pdf", "url": "Binary/scan"}
OF_P1 = {"reference": "Patient/p1"}
HOLDERS = [
    {
        "resourceType": "Communication",
        "status": "completed",
        "subject": OF_P1,
        "reasonCode": [HIV],
        "payload": [{"contentAttachment": SCAN}],
    },
    {
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "subject": OF_P1,
        "item": [{"linkId": "1", "answer": [{"valueCoding": HIV["coding"][0]}, {"valueAttachment": SCAN}]}],
    },
    {
        "resourceType": "Task",
        "status": "completed",
        "intent": "order",
        "for": OF_P1,
        "code": HIV,
        "output": [{"type": {"text": "scan"}, "valueAttachment": SCAN}],
    },
    {
        "resourceType": "Observation",
        "status": "final",
        "subject": OF_P1,
        "code": HIV,
        "extension": [{"url": "http://example.org/picture", "valueAttachment": SCAN}],
    },
    {
        "resourceType": "Observation",
        "status": "final",
        "subject": OF_P1,
        "code": HIV,
        "contained": [{"resourceType": "Media", "id": "m", "status": "completed", "content": SCAN}],
        "derivedFrom": [{"reference": "#m"}],
    },
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda one: f"{one['resourceType']}-{len(one)}-{sorted(one)[1]}")
def test_attack_the_attachment_of_any_record_that_is_kept_back_is_read_as_a_binary(ward, holder):
    """Wherever an Attachment stands: three types of documents were looked at, and no other had its files kept back."""
    scanned(ward, "scan", "Patient/p1")
    scanned(ward, "other", "Patient/p1")
    seen = Ward(ward, CALLERS["d1"], [deny(securityLabel=label("HIV"))])
    path = f"{holder['resourceType']}/h"
    assert ward.call("PUT", f"/fhir/{path}", holder | {"id": "h"}).status_code == 201
    assert [seen.ask(one).status_code for one in (path, "Binary/scan", "Binary/other")] == [404, 404, 200]


def test_a_binary_is_as_the_record_that_has_it_as_an_attachment_now(ward):
    for name in ("scan", "other"):
        scanned(ward, name, "Patient/p1")
    seen = Ward(ward, CALLERS["d1"], [deny(securityLabel=label("HIV"))])
    sent = {"resourceType": "Communication", "id": "h", "status": "completed", "subject": OF_P1}
    assert (
        ward.call("PUT", "/fhir/Communication/h", sent | {"payload": [{"contentAttachment": SCAN}]}).status_code == 201
    )
    assert [seen.ask(f"Binary/{name}").status_code for name in ("scan", "other")] == [200, 200]
    payload = [{"contentAttachment": {**SCAN, "url": "Binary/other"}}]
    changed = ward.call("PUT", "/fhir/Communication/h", sent | {"reasonCode": [HIV], "payload": payload})
    assert changed.status_code == 200
    assert [seen.ask(f"Binary/{name}").status_code for name in ("scan", "other")] == [200, 404]


def attachment_places(type_name: str) -> Iterator[tuple[tuple[str, bool], ...]]:
    """List ways through HL7's definitions to an Attachment: names, and whether each is an array."""
    waiting: list[tuple[tuple[tuple[str, bool], ...], str]] = [((), type_name)]
    entered = {type_name}
    while waiting:
        way, content = waiting.pop()
        for name, (element, type_code, inside) in members(content).items():
            step = (*way, (name, element.is_array))
            if type_code == "Attachment":
                yield step
            elif inside not in entered and ("." in inside or inside in type_names("complex-type")):
                entered.add(inside)
                waiting.append((step, inside))


def test_every_attachment_of_r4_is_found_where_hl7_has_it():
    own = {name: list(attachment_places(name)) for name in type_names("resource")}
    assert (("payload", True), ("contentAttachment", False)) in own["Communication"]
    assert (("sourceAttachment", False),) in own["Consent"]
    for name, place in [(name, place) for name, places in own.items() for place in places]:
        value: object = {"contentType": "application/pdf", "url": "http://renhe.example/fhir/Binary/b-1"}
        for step, is_array in reversed(place):
            value = {step: [value] if is_array else value}
        assert attached_in({"resourceType": name} | value) == {"b-1"}, (name, place)


def test_a_binary_whose_record_is_gone_is_known_to_be_nothing(ward):
    scanned(ward, "of-cold", "Condition/cold")
    seen = Ward(ward, CALLERS["d1"], [deny(securityLabel=label("HIV"))])
    assert seen.ask("Binary/of-cold").status_code == 200
    assert ward.call("DELETE", "/fhir/Condition/cold").status_code == 204
    assert seen.ask("Binary/of-cold").status_code == 404
    assert ward.call("GET", "/fhir/Binary/of-cold", scope="system/*.r").status_code == 404


def of_targets(name: str, *targets: str) -> dict:
    """Make the Provenance of some records."""
    agent = {"who": {"reference": "Practitioner/d9"}}
    target = [{"reference": one} for one in targets]
    return {
        "resourceType": "Provenance",
        "id": name,
        "target": target,
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [agent],
    }


def test_attack_a_provenance_tells_of_a_record_that_is_kept_back(ward):
    scanned(ward, "of-hiv", "Condition/hiv")
    told = {
        "hiv": ["Condition/hiv"],
        "version": ["Condition/hiv/_history/1"],
        "both": ["Condition/cold", "Condition/hiv"],
        "scan": ["Binary/of-hiv"],
        "cold": ["Condition/cold"],
    }
    for name, targets in told.items():
        made = ward.call("PUT", f"/fhir/Provenance/{name}", of_targets(name, *targets))
        assert made.status_code == 201, made.data
    seen = Ward(ward, CALLERS["d1"], [deny(securityLabel=label("HIV"))])
    absent = seen.ask("Provenance/absent")
    for name in told:
        answers = {path: seen.ask(path) for path in (f"Provenance/{name}", f"Provenance/{name}/_history/1")}
        for answer in answers.values():
            if name == "cold":
                assert answer.status_code == 200
            else:
                assert (answer.status_code, answer.data) == (absent.status_code, absent.data), name
    for path in ("Provenance?agent=Practitioner/d9", "Provenance?target:Condition.code=B20", "Patient/p1/Provenance"):
        ids = {row["resource"]["id"] for row in orjson.loads(seen.ask(path).data).get("entry", [])}
        assert ids.isdisjoint({"hiv", "version", "both", "scan"}), path
    # What the record becomes, the Provenance is with it.
    ward.call("PUT", "/fhir/Condition/cold", condition("cold", "B20", "2025-12-01"))
    assert seen.ask("Provenance/cold").status_code == 404


def test_attack_a_provenance_of_several_patients_tells_of_a_record_that_is_kept_back(ward):
    """It is no one patient's, so that no consent would look at it (`docs/spec/keys.md` 10)."""
    told = {
        "team": ["Condition/hiv", "Organization/own"],
        "both": ["Observation/of-p2", "Condition/hiv"],
        "further": ["Provenance/both", "Organization/own"],
        "elsewhere": ["Condition/hiv", "https://elsewhere.example/fhir/Condition/1"],
        "cold": ["Condition/cold", "Organization/own"],
    }
    for targets in (told["team"], ["Observation/weight", "Organization/own"]):
        made = ward.call("PUT", "/fhir/Provenance/changed", of_targets("changed", *targets))
        assert made.status_code in (200, 201), made.data
    made = ward.call("PUT", "/fhir/Provenance/early", of_targets("early", *told["team"]))
    assert made.status_code == 201
    seen = Ward(ward, CALLERS["d1"], [deny(securityLabel=label("HIV"))])
    absent = seen.ask("Provenance/absent")
    assert seen.ask("Provenance/early").data == absent.data
    assert [seen.ask(f"Provenance/changed{path}").status_code for path in ("", "/_history/1")] == [200, 404]
    for name, targets in told.items():
        made = ward.call("PUT", f"/fhir/Provenance/{name}", of_targets(name, *targets))
        assert made.status_code == 201, made.data
    for name in told:
        for path in (f"Provenance/{name}", f"Provenance/{name}/_history/1"):
            answer = seen.ask(path)
            if name == "cold":
                assert answer.status_code == 200
            else:
                assert (answer.status_code, answer.data) == (absent.status_code, absent.data), name
    for path in ("Provenance?agent=Practitioner/d9", "Provenance/_history", "Condition?_revinclude=Provenance:target"):
        assert b"Condition/hiv" not in seen.ask(path).data, path
        assert b"Provenance/further" not in seen.ask(path).data, path
    # What the record becomes, the Provenance is with it.
    ward.call("PUT", "/fhir/Condition/cold", condition("cold", "B20", "2025-12-01"))
    assert seen.ask("Provenance/cold").status_code == 404


def test_provenances_of_each_other_have_an_end(ward):
    """And of what they are of, nothing is known: a denial that asks for it keeps them back."""
    for name, target in (("a", "Provenance/b"), ("b", "Provenance/a")):
        made = ward.call("PUT", f"/fhir/Provenance/{name}", of_targets(name, target, "Condition/cold"))
        assert made.status_code == 201, made.data
    seen = Ward(ward, CALLERS["d1"], [deny(securityLabel=label("HIV"))])
    assert {seen.ask(f"Provenance/{name}").status_code for name in "ab"} <= {200, 404}


@pytest.mark.parametrize(
    "way", ["AuditEvent?entity=Condition/hiv", "AuditEvent?patient=Patient/p1", "AuditEvent/_history"]
)
def test_attack_the_audit_tells_staff_of_a_record_that_is_kept_back_from_them(ward, way):
    assert ward.call("GET", "/fhir/Condition/hiv").status_code == 200
    ward.drain()
    told = ward.call("GET", "/fhir/AuditEvent?entity=Condition/hiv").data
    (event,) = {row["resource"]["id"] for row in orjson.loads(told)["entry"][:1]}
    seen = Ward(ward, CALLERS["d1"], [deny(securityLabel=label("HIV"))])
    answers = [
        seen.ask(path)
        for path in (way, f"AuditEvent/{event}", f"AuditEvent/{event}/_history/1", f"AuditEvent/{event}/$proof")
    ]
    assert {answer.status_code for answer in answers} <= {403, 404}
    for path in (
        "Condition?_revinclude=AuditEvent:entity",
        "_history?_count=1000",
        "?_type=AuditEvent,Condition",
        "Patient/p1/*",
    ):
        assert b'"resourceType":"AuditEvent"' not in seen.ask(path).data, path
    assert orjson.loads(seen.ask("Condition?_has:AuditEvent:entity:action=R&_total=accurate").data)["total"] == 0
    auditor = Ward(ward, Caller("Practitioner/a1", "auditor", "HCOMPL", frozenset(), "user/AuditEvent.rs"), [])
    assert auditor.ask(f"AuditEvent/{event}").status_code == 200


def test_attack_the_audit_tells_a_system_of_a_record_that_is_kept_back_from_it(ward):
    """By its scopes it reads all AuditEvents; whether a record is there is not to be learnt from them either."""
    for path in ("Condition/hiv", "Condition/cold", "Condition?code=B20,J06.9"):
        assert ward.call("GET", f"/fhir/{path}").status_code == 200
    seen = Ward(ward, CALLERS["system"], [deny(securityLabel=label("HIV"))])
    assert seen.ask("Condition/hiv").status_code == 404
    for path in ("AuditEvent?entity=Condition/hiv", "AuditEvent?outcome=4"):
        assert orjson.loads(seen.ask(f"{path}&_total=accurate").data)["total"] == 0, path
    cold = seen.ask("AuditEvent?entity=Condition/cold&action=R&_total=accurate")
    assert orjson.loads(cold.data)["total"] == 1
    for path in ("AuditEvent?_count=500", "AuditEvent/_history?_count=500", "Condition?_revinclude=AuditEvent:entity"):
        data = seen.ask(path).data
        assert b"AuditEvent" in data, path
        assert b"Condition/hiv" not in data, path
    told = ward.core.store.by_patient(ward.service.patient_token(""), ("AuditEvent",), limit=1000)
    of_hiv = [row for row in told if b"Condition/hiv/" in ward.service.open(row).content]
    # A PUT, a read, a search, and the read that was refused.
    assert len(of_hiv) == 4
    for row in of_hiv:
        for path in ("", "/_history", "/_history/1", "/$proof"):
            assert seen.ask(f"AuditEvent/{row.id}{path}").status_code == 404, path
    auditor = Ward(ward, Caller("Practitioner/a1", "auditor", "HCOMPL", frozenset(), "user/AuditEvent.rs"), [])
    assert orjson.loads(auditor.ask("AuditEvent?entity=Condition/hiv&_total=accurate").data)["total"] == 4
    for row in of_hiv:
        assert auditor.ask(f"AuditEvent/{row.id}").status_code == 200


def test_attack_an_event_that_a_client_stores_changes_and_deletes_tells_a_system_of_what_is_kept_back(ward):
    def event(*places: str) -> dict:
        made = orjson.loads(ward.call("GET", "/fhir/AuditEvent?_count=1").data)["entry"][0]["resource"]
        entity = [{"what": {"reference": place}} for place in places]
        return {**made, "id": "own", "source": {"observer": {"display": "x"}}, "entity": entity, "meta": {}}

    address = "http://127.0.0.1:41000/fhir/Condition/hiv"
    for place in (address, "Condition/hiv/_history/1", "Condition/cold"):
        assert ward.call("PUT", "/fhir/AuditEvent/own", event(place)).status_code in (200, 201)
    assert (
        ward.call(
            "PUT", "/fhir/AuditEvent/far", event("https://other.example/fhir/Condition/x") | {"id": "far"}
        ).status_code
        == 201
    )
    seen = Ward(ward, CALLERS["system"], [deny(securityLabel=label("HIV"))])
    for path in ("own", "own/_history/1", "own/_history/2", "own/_history/3", "far"):
        assert seen.ask(f"AuditEvent/{path}").status_code == 404, path
    assert seen.ask("AuditEvent/own", "PUT", event("Condition/cold")).status_code == 404
    ward.call("DELETE", "/fhir/AuditEvent/own")
    assert seen.ask("AuditEvent/own").data == seen.ask("AuditEvent/absent").data


def test_what_happens_after_a_search_has_begun_is_not_told_before_it_is_known_what_it_names(ward):
    """Attack: a record that is stored, and read, between what is known of the patient and the search itself."""
    ward.call("PUT", "/fhir/Consent/c0", deny(securityLabel=label("HIV")) | {"id": "c0"})
    within = ward.core.gate.within(CALLERS["system"].access)
    ward.call("PUT", "/fhir/Condition/new", condition("new", "B20", "2026-01-01"))
    ward.drain()
    assert ward.core.search.ids("AuditEvent", "entity=Condition/new", 10, within=within) == []
    assert ward.core.search.ids("AuditEvent", "entity=Condition/new", 10) != []


def test_a_purpose_alone_breaks_no_glass(ward):
    """It is a word of the application; what counts is an emergency of that person that is noted, told and reviewed."""
    breaking = {"type": "permit", "purpose": label("BTG", ACT_REASON), "actor": actor("Practitioner/d1")}
    given = consent({"type": "deny", "provision": [breaking]})
    seen = Ward(ward, Caller("Practitioner/d1", "clinician", "BTG"), [given])
    assert seen.ask("Observation/sugar").status_code == 404
    desk = EmergencyDesk(NODE, ward.store, ward.service, ward.core.clock, nacl.utils.random)
    desk.declare("p1", "Practitioner/d2", "somebody else's")
    assert seen.ask("Observation/sugar").status_code == 404
    desk.declare("p1", "Practitioner/d1", "found unconscious")
    assert seen.ask("Observation/sugar").status_code == 200
    assert Ward(ward, Caller("Practitioner/d1", "clinician"), []).ask("Observation/sugar").status_code == 404
    later = ward.core.clock() + EMERGENCY_S
    with patch.object(ward.core.enforcement, "_clock", lambda: later):
        assert seen.ask("Observation/sugar").status_code == 404
