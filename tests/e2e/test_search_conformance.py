"""What R4's page on searching says, clause by clause: plain HTTP to a running node, which knows nothing of tests.

Each row names its clause: https://hl7.org/fhir/R4/search.html, and the section. What a server may choose there is said
in `docs/spec/rest.md`.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

import pytest

from tests.waiting import eventually

pytestmark = pytest.mark.e2e

LOINC, UCUM, SNOMED = "http://loinc.org", "http://unitsofmeasure.org", "http://snomed.info/sct"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
TAG = {"system": "urn:search-conformance", "code": "w"}
FORM = "application/x-www-form-urlencoded"
PREFIX = "sc-"


def made(type_name: str, name: str, /, **more: object) -> dict:
    """Make a resource of this file's world."""
    meta = {"tag": [TAG]} | dict(more.pop("meta", {}))
    return {"resourceType": type_name, "id": PREFIX + name, "meta": meta, **more}


def to(target: str, **more: object) -> dict:
    """Refer to one."""
    type_name, _, name = target.partition("/")
    return {"reference": f"{type_name}/{PREFIX}{name}", **more}


def coded(code: str, system: str = LOINC, **more: object) -> dict:
    return {"coding": [{"system": system, "code": code}], **more}


def measured(value: float, unit: str) -> dict:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


WORLD = (
    made("Organization", "o1", name="North Wing", partOf=to("Organization/o2")),
    made("Organization", "o2", name="City Hospital"),
    made("Practitioner", "d1", name=[{"family": "Joe"}]),
    made(
        "Patient",
        "p1",
        name=[{"family": "Carreño Quiñones", "given": ["Eve"]}],
        gender="female",
        birthDate="1970-03-30",
        identifier=[{"system": "urn:mrn", "value": "A1", "type": coded("MR", "urn:t")}],
        managingOrganization=to("Organization/o1"),
        generalPractitioner=[to("Practitioner/d1")],
        telecom=[{"system": "phone", "value": "010-555"}],
        meta={"tag": [TAG], "source": "urn:source#1", "profile": ["http://x.example/profile/one"]},
    ),
    made(
        "Patient",
        "p2",
        name=[{"family": "王", "given": ["小明"]}],
        gender="male",
        birthDate="1980",
        identifier=[{"value": "A1"}],
    ),
    made(
        "Patient",
        "p3",
        name=[{"family": "Müller", "given": ["Severine"]}],
        link=[{"other": to("Patient/p1"), "type": "seealso"}],
    ),
    made(
        "Encounter",
        "e1",
        status="finished",
        subject=to("Patient/p1"),
        **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}},
    ),
    made(
        "Observation",
        "b1",
        status="final",
        code=coded("85354-9", text="Blood pressure"),
        subject=to("Patient/p1"),
        effectiveDateTime="2013-01-14T10:00:00Z",
        component=[
            {"code": coded("8480-6"), "valueQuantity": measured(107, "mm[Hg]")},
            {"code": coded("8462-4"), "valueQuantity": measured(60, "mm[Hg]")},
        ],
    ),
    made(
        "Observation",
        "g1",
        status="final",
        code=coded("2339-0"),
        subject=to("Patient/p1"),
        encounter=to("Encounter/e1"),
        performer=[to("Practitioner/d1")],
        effectiveDateTime="2013-01-15T08:00:00Z",
        valueQuantity=measured(5.4, "mg/dL"),
    ),
    made(
        "Observation",
        "g2",
        status="amended",
        code=coded("2339-0"),
        subject=to("Patient/p2"),
        effectivePeriod={"start": "2013-01-21T00:00:00Z"},
        valueQuantity=measured(0.06, "g/L"),
        hasMember=[to("Observation/g1")],
        device=to("Device/dv1"),
    ),
    made(
        "Observation",
        "g3",
        status="final",
        code=coded("2339-0", "urn:other"),
        subject={"identifier": {"system": "urn:mrn", "value": "A1"}},
        performer=[to("RelatedPerson/rp1")],
        valueQuantity={"value": 7, "unit": "drops"},
    ),
    made("Device", "dv1"),
    made("RelatedPerson", "rp1", patient=to("Patient/p2")),
    made("Condition", "c1", subject=to("Patient/p1"), clinicalStatus=coded("recurrence", CLINICAL)),
    made(
        "Condition",
        "c2",
        subject=to("Patient/p1"),
        clinicalStatus=coded("active", CLINICAL),
        category=[coded("problem-list-item", "http://terminology.hl7.org/CodeSystem/condition-category")],
        evidence=[{"detail": [{"reference": "Observation/sc-g1/_history/1"}]}],
        meta={"tag": [TAG], "security": [{"system": "urn:labels", "code": "x"}]},
    ),
    made("Condition", "c3", subject=to("Patient/p1"), clinicalStatus=coded("resolved", CLINICAL)),
    made("RiskAssessment", "r1", status="final", subject=to("Patient/p1"), prediction=[{"probabilityDecimal": 0.8}]),
    made("RiskAssessment", "r2", status="final", subject=to("Patient/p1"), prediction=[{"probabilityDecimal": 100}]),
    made("ValueSet", "v1", status="active", url="http://acme.example/fhir/ValueSet/123"),
    made("ValueSet", "v2", status="active", url="http://acme.example/fhir"),
    made(
        "ValueSet",
        "v3",
        status="active",
        url="http://x.example/sc-glucose",
        compose={"include": [{"system": LOINC, "concept": [{"code": "2339-0"}]}]},
    ),
    made("List", "l1", status="current", mode="working", entry=[{"item": to("Patient/p3")}]),
    made("Group", "m1", type="person", actual=True, member=[{"entity": to("Patient/p1")}]),
    made("Location", "w1", name="Ward", position={"latitude": 39.9, "longitude": 116.4}),
    made(
        "DocumentReference",
        "x1",
        status="current",
        subject=to("Patient/p1"),
        content=[{"attachment": {"contentType": "text/xml; charset=UTF-8", "title": "a,b|c$d"}}],
        description="one, two",
        relatesTo=[{"code": "replaces", "target": to("DocumentReference/x2")}],
    ),
    made("DocumentReference", "x2", status="superseded", content=[{"attachment": {"contentType": "image/png"}}]),
    made("Questionnaire", "q1", status="active", url="http://x.example/sc-form", version="2", title="Pain"),
    made("QuestionnaireResponse", "qr1", status="completed", questionnaire="http://x.example/sc-form|2"),
    made(
        "MedicationRequest",
        "rx1",
        status="active",
        intent="order",
        subject=to("Patient/p1"),
        contained=[{"resourceType": "Medication", "id": "m", "code": coded("c-1", "urn:drugs")}],
        medicationReference={"reference": "#m"},
    ),
)


@pytest.fixture(scope="module")
def world(node):
    """All of it, stored by one transaction."""
    rows = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}} for one in WORLD
    ]
    answer = node.call("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": rows})
    assert answer.status == 200, answer.body
    return node


def tagged(text: str) -> str:
    """Ask among this file's world alone."""
    return f"{text}{'&' if '?' in text else '?'}_tag={TAG['system']}|{TAG['code']}"


def names(answer, mode: str = "match") -> list[str]:
    """List what was found, or came with it."""
    assert answer.status == 200, answer.body
    rows = [row for row in answer.document.get("entry", []) if row["search"]["mode"] == mode]
    return [row["resource"]["id"].removeprefix(PREFIX) for row in rows]


def found(node, text: str, mode: str = "match") -> list[str]:
    return names(node.call("GET", tagged(text)), mode)


def link(answer, relation: str) -> str:
    """Return the address of a link, as a path below the base; empty for none."""
    url = next((row["url"] for row in answer.document["link"] if row["relation"] == relation), "")
    return url.partition("/fhir/")[2]


def code_of(answer) -> str:
    return answer.document["issue"][0]["details"]["coding"][0]["code"]


SEARCHES = [
    ("§3.1.1.4.10 token", "Observation?code=2339-0", "g1 g2 g3"),
    ("§3.1.1.4.10 system|code", f"Observation?code={LOINC}|2339-0", "g1 g2"),
    ("§3.1.1.4.10 system|", f"Observation?code={LOINC}|", "b1 g1 g2"),
    ("§3.1.1.4.10 |code", "Patient?identifier=|A1", "p2"),
    ("§3.1.1.4.10 ContactPoint, with its kind as HAPI has it", "Patient?telecom=phone|010555", "p1"),
    ("§3.1.1.4.10 ContactPoint, of another kind", "Patient?telecom=fax|010555", ""),
    ("§3.1.1.4.10 ContactPoint has no system", "Patient?telecom=|010-555", "p1"),
    ("§3.1.1.4.10 :text", "Observation?code:text=blood", "b1"),
    ("§3.1.1.4.10 :not", "Patient?gender:not=male", "p1 p3"),
    ("§3.1.1.4.10 :not of several", "Patient?gender:not=male,female", "p3"),
    ("§3.1.1.4.10 :of-type", "Patient?identifier:of-type=urn:t|MR|A1", "p1"),
    ("§3.1.1.4.10 :in", "Patient?gender:in=http://hl7.org/fhir/ValueSet/administrative-gender", "p1 p2"),
    ("§3.1.1.4.10 :not-in", "Patient?gender:not-in=http://hl7.org/fhir/ValueSet/administrative-gender", "p3"),
    ("§3.1.1.4.10 :in, a set stored here", "Observation?code:in=http://x.example/sc-glucose", "g1 g2"),
    ("§3.1.1.4.10 :in, by its address", "Observation?code:in=ValueSet/sc-v3", "g1 g2"),
    ("§3.1.1.4.10 :not-in", "Observation?code:not-in=http://x.example/sc-glucose", "b1 g3"),
    ("§3.1.1.4.10 :below", f"Condition?clinical-status:below={CLINICAL}|active", "c1 c2"),
    ("§3.1.1.4.10 :above", f"Condition?clinical-status:above={CLINICAL}|recurrence", "c1 c2"),
    ("§3.1.1.4.10 boolean", "Patient?deceased=false", "p1 p2 p3"),
    ("§3.1.1.4.4 :missing", "Patient?gender:missing=true", "p3"),
    ("§3.1.1.4.4 :missing=false", "Patient?gender:missing=false", "p1 p2"),
    ("§3.1.1.4.4 :missing of a reference", "Observation?encounter:missing=false", "g1"),
    ("§3.1.1.4.4 :missing of a date", "Observation?date:missing=true", "g3"),
    ("§3.1.1.4.10.1 media types", "DocumentReference?contenttype:below=text/xml", "x1"),
    ("§3.1.1.4.8 string, start and case", "Patient?given=eve", "p1"),
    ("§3.1.1.4.8 accents", "Patient?family=carreno", "p1"),
    ("§3.1.1.4.8 accents asked for", "Patient?family=MULLER", "p3"),
    ("§3.1.1.4.8 :contains", "Patient?given:contains=eve", "p1 p3"),
    ("§3.1.1.4.8 :exact", "Patient?given:exact=Eve", "p1"),
    ("§3.1.1.4.8 :exact, other case", "Patient?given:exact=eve", ""),
    ("§3.1.1.4.8 Chinese", "Patient?name=王小", "p2"),
    ("§3.1.1.4.8 full width", "Patient?family=\uff2d\uff35\uff2c\uff2c\uff25\uff32", "p3"),
    ("docs/spec/search-index.md pinyin", "Patient?name=wang xiaoming", "p2"),
    ("docs/spec/search-index.md initials", "Patient?name=wxm", "p2"),
    ("§3.1.1.4.7 eq", "Observation?date=eq2013-01-14", "b1"),
    ("§3.1.1.4.7 ne", "Observation?date=ne2013-01-14", "g1 g2"),
    ("§3.1.1.4.7 lt", "Observation?date=lt2013-01-15", "b1"),
    ("§3.1.1.4.7 gt", "Observation?date=gt2013-01-15", "g2"),
    ("§3.1.1.4.7 ge", "Observation?date=ge2013-01-15", "g1 g2"),
    ("§3.1.1.4.7 le", "Observation?date=le2013-01-15", "b1 g1"),
    ("§3.1.1.4.7 sa", "Observation?date=sa2013-01-15", "g2"),
    ("§3.1.1.4.7 eb", "Observation?date=eb2013-01-15", "b1"),
    ("§3.1.1.4.7 ap", "Observation?date=ap2013-01-14", "b1 g1 g2"),
    ("§3.1.1.4.7 a year", "Observation?date=2013", "b1 g1"),
    ("§3.1.1.4.7 a month", "Observation?date=2013-01", "b1 g1"),
    ("§3.1.1.4.7 a minute", "Observation?date=2013-01-14T10:00Z", "b1"),
    ("§3.1.1.4.7 a zone", "Observation?date=2013-01-14T18:00%2B08:00", "b1"),
    ("§3.1.1.4.7 between", "Observation?date=ge2013-01-14&date=lt2013-01-15", "b1"),
    ("§3.1.1.4.7 part of what is stored", "Patient?birthdate=1980", "p2"),
    ("§3.1.1.4.7 less than is asked", "Patient?birthdate=1980-01-01", ""),
    ("§3.1.1.4.6 number", "RiskAssessment?probability=100", "r2"),
    ("§3.1.1.4.6 digits", "RiskAssessment?probability=1e2", "r2"),
    ("§3.1.1.4.6 gt", "RiskAssessment?probability=gt0.8", "r2"),
    ("§3.1.1.4.6 ge", "RiskAssessment?probability=ge0.8", "r1 r2"),
    ("§3.1.1.4.6 lt", "RiskAssessment?probability=lt0.8", ""),
    ("§3.1.1.4.6 ne", "RiskAssessment?probability=ne100", "r1"),
    ("§3.1.1.4.6 ap", "RiskAssessment?probability=ap95", "r2"),
    ("§3.1.1.4.11 quantity", f"Observation?value-quantity=5.4|{UCUM}|mg/dL", "g1"),
    ("§3.1.1.4.11 another unit", f"Observation?value-quantity=0.054|{UCUM}|g/L", "g1"),
    ("§3.1.1.4.11 prefix", f"Observation?value-quantity=gt5.4|{UCUM}|mg/dL", "g2"),
    ("§3.1.1.4.11 ||code", "Observation?value-quantity=7||drops", "g3"),
    ("§3.1.1.4.11 any unit", "Observation?value-quantity=7", "g3"),
    ("§3.1.1.4.11 implied range", f"Observation?value-quantity=5|{UCUM}|mg/dL", "g1"),
    ("§3.1.1.4.12 reference", "Observation?subject=Patient/sc-p1", "b1 g1"),
    ("§3.1.1.4.12 type", "Observation?subject:Patient=sc-p1", "b1 g1"),
    ("§3.1.1.4.12 id", "Observation?patient=sc-p2", "g2"),
    ("§3.1.1.4.12 several", "Observation?patient=sc-p2,sc-p1", "b1 g1 g2"),
    ("§3.1.1.4.12 URL", "Observation?subject={base}/Patient/sc-p1", "b1 g1"),
    ("§3.1.1.4.12 :identifier", "Observation?subject:identifier=urn:mrn|A1", "g3"),
    ("§3.1.1.4.13 version", "Condition?evidence-detail=Observation/sc-g1/_history/1", "c2"),
    ("§3.1.1.4.13 another version", "Condition?evidence-detail=Observation/sc-g1/_history/2", ""),
    ("§3.1.1.4.13 any version", "Condition?evidence-detail=Observation/sc-g1", "c2"),
    ("§3.1.1.4.13 canonical", "QuestionnaireResponse?questionnaire=http://x.example/sc-form", "qr1"),
    ("§3.1.1.4.13 canonical, version", "QuestionnaireResponse?questionnaire=http://x.example/sc-form|2", "qr1"),
    ("§3.1.1.4.13 canonical, another", "QuestionnaireResponse?questionnaire=http://x.example/sc-form|3", ""),
    ("§3.1.1.4.9 uri", "ValueSet?url=http://acme.example/fhir/ValueSet/123", "v1"),
    ("§3.1.1.4.9 :below", "ValueSet?url:below=http://acme.example/fhir", "v1 v2"),
    ("§3.1.1.4.9 :above", "ValueSet?url:above=http://acme.example/fhir/ValueSet/123/_history/5", "v1 v2"),
    ("§3.1.1.4.15 chain", "Observation?subject:Patient.name=carreno", "b1 g1"),
    ("§3.1.1.4.15 without a type", "Observation?subject.identifier=urn:mrn|A1", "b1 g1"),
    ("§3.1.1.4.15 two links", "Observation?patient.organization.name=north", "b1 g1"),
    ("§3.1.1.4.15 three links", "Observation?patient.organization.partof.name=city", "b1 g1"),
    ("§3.1.1.4.15 a modifier at its end", "Observation?patient.gender:not=female", "g2"),
    ("§3.1.1.4.15 by URL", "QuestionnaireResponse?questionnaire.title=pain", "qr1"),
    ("§3.1.1.4.16 _has", "Patient?_has:Observation:patient:code=2339-0", "p1 p2"),
    ("§3.1.1.4.16 of two", "Patient?_has:Observation:patient:code=85354-9&_has:Observation:patient:code=2339-0", "p1"),
    ("§3.1.1.4.16 nested", "Practitioner?_has:Patient:general-practitioner:_has:Group:member:type=person", "d1"),
    ("§3.1.1.4.16 in a chain", "Encounter?patient._has:Group:member:_id=sc-m1", "e1"),
    ("§3.1.1.4.16 a chain in it", "Patient?_has:Observation:patient:performer:Practitioner.name=joe", "p1"),
    ("§3.1.1.4.17 composite", f"Observation?code-value-quantity={LOINC}|2339-0$gt5.4|{UCUM}|mg/dL", "g2"),
    ("§3.1.1.4.17 parts together", "Observation?component-code-value-quantity=8480-6$60", ""),
    ("§3.1.1.4.17 parts of one", "Observation?component-code-value-quantity=8480-6$107", "b1"),
    ("§3.1.1.4.17 of a reference", "DocumentReference?relationship=DocumentReference/sc-x2$replaces", "x1"),
    ("§3.1.1.4.2 or", "Patient?gender=male,female", "p1 p2"),
    ("§3.1.1.4.2 and", "Patient?name=eve&name=carreno", "p1"),
    ("§3.1.1.4.2 or in and", "Patient?name=eve,severine&name=muller,wang", "p3"),
    ("§3.1.1.4.19 escapes", "DocumentReference?description=one\\, two", "x1"),
    ("§3.1.1.4.19 without", "DocumentReference?description=nought, two", ""),
    ("§3.1.1.4.22 _list", "Patient?_list=sc-l1", "p3"),
    ("§3.1.1.4.22 functional lists", "Condition?patient=sc-p1&_list=$current-problems", "c2"),
    ("§3.1.1.4.24 all types", "?_type=Patient,Organization&name=north", "o1"),
    ("§3.1.1.4.24 _type", "?_type=Patient&_id=sc-p1,sc-o1", "p1"),
    ("§3.1.1.3 _id", "Patient?_id=sc-p1,sc-p3", "p1 p3"),
    ("§3.1.1.3 _lastUpdated", "Patient?_lastUpdated=lt2001", ""),
    ("§3.1.1.3 _lastUpdated ge", "Patient?_lastUpdated=ge2001", "p1 p2 p3"),
    ("§3.1.1.3 _profile", "Patient?_profile=http://x.example/profile/one", "p1"),
    ("§3.1.1.3 _profile:below", "Patient?_profile:below=http://x.example/profile", "p1"),
    ("§3.1.1.3 _source", "Patient?_source=urn:source%231", "p1"),
    ("§3.1.1.3 _security", "Condition?_security=urn:labels|x", "c2"),
    ("§3.1.1.3 _tag:not", "Condition?_tag:not=urn:none|x", "c1 c2 c3"),
    ("compartmentdefinition-patient.html", "Patient/sc-p1/Observation", "b1 g1"),
    ("compartmentdefinition-encounter.html", "Encounter/sc-e1/Observation", "g1"),
    ("compartmentdefinition-practitioner.html", "Practitioner/sc-d1/Observation", "g1"),
    ("compartmentdefinition-device.html", "Device/sc-dv1/Observation", "g2"),
    ("compartmentdefinition-relatedperson.html", "RelatedPerson/sc-rp1/Observation", "g3"),
    ("§2.45 all types", "Encounter/sc-e1/*", "e1 g1"),
    ("location.html near", "Location?near=39.95|116.4|10|km", "w1"),
    ("§3.1.1.5.5 contained", "MedicationRequest?medication.code=urn:drugs|c-1", "rx1"),
    ("§3.1.1.5.5 _contained", "Medication?code=c-1&_contained=true&_containedType=container", None),
]


@pytest.mark.parametrize(("clause", "text", "expected"), SEARCHES, ids=[row[1] for row in SEARCHES])
def test_a_search_finds_what_its_clause_says(world, clause, text, expected):
    """https://hl7.org/fhir/R4/search.html: the clause of each row."""
    asked = quote(text.replace("{base}", world.fhir), safe="?&=:|$,%/.\\+")
    if expected is None:
        # What is contained has no tag of its own: the world's tag would not find it.
        assert "rx1" in names(world.call("GET", asked)), clause
        return
    assert sorted(found(world, asked)) == expected.split(), clause


REFUSED = [
    ("Patient?birthdate=soon", "search.value"),
    ("Patient?birthdate=1980-13", "search.value"),
    ("Patient?gender:exact=male", "search.modifier"),
    ("Patient?name:not=x", "search.modifier"),
    ("Patient?gender:missing=maybe", "search.value"),
    ("Patient?general-practitioner.colour=x", "search.chain"),
    ("Patient?_has:Observation:patient:colour=x", "search.has"),
    ("Patient?_sort=colour", "search.sort"),
    ("Patient?_count=few", "search.count"),
    ("Patient?_summary=some", "search.value"),
    ("Patient?_include=Patient:colour", "search.include"),
    ("Patient?_include=Patient:organization&_summary=text", "search.summary"),
    ("RiskAssessment?probability=much", "search.value"),
    ("Observation?value-quantity=5|mg", "search.value"),
    ("Observation?code-value-quantity=x", "search.value"),
    ("Patient?name=a\\b", "search.escape"),
    (f"Observation?code:below={SNOMED}|73211009", "search.unsupported"),
    ("Observation?code:below=73211009", "search.value"),
    ("Patient?_filter=name eq x", "search.unsupported"),
    ("?_type=Patient,Nothing&_id=x", "search.type"),
]


@pytest.mark.parametrize(("text", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_meant_is_refused(world, text, code):
    """§3.1.1.3, §3.1.1.4.2: an error, never an answer to another question; also for lenient clients."""
    answer = world.call("GET", quote(text, safe="?&=:|$,%/.\\"), Prefer="handling=lenient")
    assert (answer.status, code_of(answer)) == (400, code)


def test_unknown_parameters_are_passed_over_or_refused(world):
    """§3.1.1.3 (handling): the self link tells what was used, an outcome of the rest; with `strict` it is 400."""
    lenient = world.call("GET", tagged("Patient?colour=red&gender=male"))
    assert names(lenient) == ["p2"]
    assert ("gender=male" in link(lenient, "self"), "colour" in link(lenient, "self")) == (True, False)
    (told,) = [row["resource"] for row in lenient.document["entry"] if row["search"]["mode"] == "outcome"]
    assert (told["resourceType"], told["issue"][0]["severity"]) == ("OperationOutcome", "warning")
    strict = world.call("GET", tagged("Patient?colour=red&gender=male"), Prefer="handling=strict")
    assert (strict.status, code_of(strict)) == (400, "search.parameter")


def test_a_search_by_post_has_the_parameters_of_its_address_too(world):
    """§3.1.1 with http.html §3.1.0.9: `_search` by POST, the form's parameters and the address' together."""
    form = urlencode({"gender": "male,female", "_sort": "-birthdate", "_format": "xml"}).encode()
    answer = world.call("POST", tagged("Patient/_search?name=eve,wang"), form, Content_Type=FORM)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("application/fhir+xml")
    both = urlencode({"gender": "male,female", "_sort": "-birthdate"}).encode()
    assert names(world.call("POST", tagged("Patient/_search?name=eve,wang"), both, Content_Type=FORM)) == ["p2", "p1"]
    assert names(world.call("POST", tagged("_search?_type=Patient"), b"name=eve", Content_Type=FORM)) == ["p1"]
    inside = world.call("POST", tagged("Patient/sc-p1/Observation/_search"), b"code=2339-0", Content_Type=FORM)
    assert names(inside) == ["g1"]
    wrong = world.call("POST", tagged("Patient/_search"), b"_format=turtle", Content_Type=FORM)
    assert wrong.status == 406


FROM_G1 = "Observation?_id=sc-g1&_include=Observation"
INCLUDES = [
    ("Observation?_id=sc-g1&_include=Observation:subject", "p1"),
    ("Observation?_id=sc-g1&_include=Observation:subject:Patient", "p1"),
    ("Observation?_id=sc-g1&_include=Observation:subject:Group", ""),
    ("Observation?_id=sc-g1&_include=Observation:*", "d1 e1 p1"),
    ("Observation?_id=sc-g1&_include=*", "d1 e1 p1"),
    ("Observation?_id=sc-g1&_include=Observation:subject&_include=Patient:organization", "p1"),
    ("Observation?_id=sc-g1&_include=Observation:subject&_include:iterate=Patient:organization", "o1 p1"),
    (
        f"{FROM_G1}:subject&_include:iterate=Patient:organization&_include:iterate=Organization:partof",
        "o1 o2 p1",
    ),
    ("Observation?_id=sc-g1&_include:iterate=*", "d1 e1 o1 o2 p1"),
    ("QuestionnaireResponse?_id=sc-qr1&_include=QuestionnaireResponse:questionnaire", "q1"),
    ("Practitioner?_id=sc-d1&_revinclude=Patient:general-practitioner", "p1"),
    ("Practitioner?_id=sc-d1&_revinclude=Patient:general-practitioner&_revinclude:iterate=Group:member", "m1 p1"),
    ("Encounter?_id=sc-e1&_revinclude=Observation:encounter&_include=Encounter:subject", "g1 p1"),
    ("Organization?_id=sc-o2&_revinclude=Organization:*", "o1"),
]


@pytest.mark.parametrize(("text", "expected"), INCLUDES, ids=[row[0] for row in INCLUDES])
def test_what_comes_with_matches(world, text, expected):
    """§3.1.1.5.4: `_include` and `_revinclude`, with a type, a wildcard, `:iterate`, by a canonical."""
    answer = world.call("GET", text)
    assert sorted(names(answer, "include")) == expected.split()
    # Counted are matches alone (§3.1.1.5.2).
    assert (answer.document["total"], len(names(answer))) == (1, 1)


def test_parts_of_matches_and_of_what_comes_with_them(world):
    """§3.1.1.5.8 (`_summary`), §3.1.1.5.9 (`_elements`, of matches alone), §3.1.1.5.3 (`_count=0`)."""
    asked = "Observation?_id=sc-g1&_include=Observation:subject"
    some = {
        row["resource"]["id"]: row["resource"] for row in world.call("GET", f"{asked}&_elements=code").document["entry"]
    }
    assert set(some["sc-g1"]) == {"resourceType", "id", "meta", "code", "status"}
    assert "birthDate" in some["sc-p1"]
    short = world.call("GET", f"{asked}&_summary=true").document["entry"][0]["resource"]
    assert ("valueQuantity" in short, "performer" in short, short["meta"]["tag"][-1]["code"]) == (
        *(True, True, "SUBSETTED"),
    )
    for text in ("_summary=count", "_count=0"):
        counted = world.call("GET", tagged(f"Observation?{text}")).document
        assert (counted["total"], "entry" in counted) == (4, False)
    assert set(world.call("GET", "Observation?_id=sc-g1&_summary=text").document["entry"][0]["resource"]) == {
        *("resourceType", "id", "meta", "code", "status")
    }


def test_totals(world):
    """§3.1.1.5.2: `_total` is kept, whatever the size of a page."""
    page = tagged("Observation?_count=1")
    assert world.call("GET", f"{page}&_total=accurate").document["total"] == 4
    assert world.call("GET", f"{page}&_total=estimate").document["total"] == 4
    assert "total" not in world.call("GET", f"{page}&_total=none").document


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("birthdate", "p1 p2 p3"),
        ("-birthdate", "p2 p1 p3"),
        ("gender,-birthdate", "p1 p2 p3"),
        ("-gender,family", "p2 p1 p3"),
        ("_id", "p1 p2 p3"),
        ("-_id", "p3 p2 p1"),
        ("_lastUpdated,-_id", "p3 p2 p1"),
    ],
)
def test_an_answer_is_sorted_by_several_keys(world, order, expected):
    """§3.1.1.5.1: in the order of the rules; what has no value comes last, as R4 leaves to the server."""
    assert found(world, f"Patient?_sort={order}") == expected.split()


def test_pages_skip_and_repeat_nothing_while_others_write(world):
    """§3.1.1.3 (paging): ties and missing values across pages, while resources come, change and go."""
    tag = {"system": TAG["system"], "code": "pages"}

    def put(number: int, **more: object) -> None:
        body = {"resourceType": "Patient", "id": f"scp-{number}", "meta": {"tag": [tag]}, **more}
        assert world.call("PUT", f"Patient/scp-{number}", body).status in (200, 201)

    for number in range(12):
        # Three keys: the first in two ties and missing, the second missing in every other.
        gender = {} if number % 3 == 0 else {"gender": "male" if number % 3 == 1 else "female"}
        put(number, **gender, **({} if number % 2 else {"birthDate": f"19{60 + number // 4}"}))
    path = f"Patient?_tag={tag['system']}|pages&_sort=gender,-birthdate&_count=2&_total=accurate"
    whole = names(world.call("GET", path.replace("_count=2", "_count=100")))
    seen, number = [], 0
    while path:
        answer = world.call("GET", path)
        seen += names(answer)
        assert answer.document["total"] == 12
        # One that was shown moves to the end, one that was not to the beginning, one goes, one comes.
        put(number, gender="unknown")
        put(11 - number, gender="female", birthDate="1999")
        put(100 + number, gender="female")
        assert world.call("DELETE", f"Patient/scp-{6 + number % 2}").status == 204
        number += 1
        path = link(answer, "next")
    assert (seen, len(seen)) == (whole, 12)


@pytest.mark.parametrize(
    "path", ["Patient?_count=1", "Patient/_history?_count=1&_elements=id", "Patient/sc-p1/$everything?_count=1"]
)
def test_the_form_that_a_client_chose_is_that_of_all_pages(world, path):
    """http.html §3.1.0.1.11 with §3.1.1.3: who follows a link as it is gets the format that was asked for."""
    first = world.call("GET", f"{path}&_format=xml&_pretty=true").body.decode()
    url = re.search(r'<relation value="next"/>\s*<url value="([^"]*)"', first)[1].replace("&amp;", "&")
    path = url.partition("/fhir/")[2]
    second = world.call("GET", path)
    assert second.headers["content-type"].startswith("application/fhir+xml")
    assert b"\n  <" in second.body
    # Another one may be asked for on each page.
    third = world.call("GET", path.partition("&_format")[0] + "&_format=json")
    assert (third.status, third.headers["content-type"].partition(";")[0]) == (200, "application/fhir+json")
    if "_elements" in first:
        assert set(third.document["entry"][0]["resource"]) <= {"resourceType", "id", "meta"}


def test_a_parameter_of_the_nodes_own_is_used_once_all_is_indexed(world):
    """R4 searchparameter.html (§2.44): a custom SearchParameter finds what was stored before it, and is told of."""
    maiden = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
    body = made("Patient", "own", extension=[{"url": maiden, "valueString": "Ouyang"}])
    assert world.call("PUT", "Patient/sc-own", body | {"meta": {}}).status == 201
    definition = {
        "resourceType": "SearchParameter",
        "url": "http://x.example/SearchParameter/sc-maiden",
        "name": "maiden",
        "status": "active",
        "description": "maiden name of the mother",
        "code": "sc-maiden",
        "base": ["Patient"],
        "type": "string",
        "expression": f"Patient.extension.where(url='{maiden}').value",
    }
    kept = world.call("POST", "SearchParameter", definition).document["id"]

    def found_by() -> list[str] | None:
        answer = world.call("GET", "Patient?sc-maiden=ouy", Prefer="handling=strict")
        return names(answer) if answer.status == 200 else None

    def told() -> bool:
        rows = world.ask("GET", "/fhir/metadata").document["rest"][0]["resource"]
        row = next(row for row in rows if row["type"] == "Patient")
        return "sc-maiden" in {one["name"] for one in row["searchParam"]}

    assert eventually(lambda: found_by() == ["own"])
    assert eventually(told)
    assert world.call("DELETE", f"SearchParameter/{kept}").status == 204
    assert eventually(lambda: found_by() is None)


def test_everything_of_a_patient(world):
    """R4 operation-patient-everything.html: all of it page by page, `_since`, `_type`, `start` and `end`."""
    seen, path = [], "Patient/sc-p1/$everything?_count=3"
    while path:
        answer = world.call("GET", path)
        seen += names(answer)
        path = link(answer, "next")
    assert len(seen) == len(set(seen))
    mine = {"p1", "p3", "b1", "g1", "e1", "c1", "c2", "c3", "r1", "r2", "m1", "rx1", "x1"}
    assert {*mine} <= {*seen}
    assert "g2" not in seen
    assert names(world.call("GET", "Patient/sc-p1/$everything?_since=2999-01-01T00:00:00Z")) == []
    assert sorted(names(world.call("GET", "Patient/sc-p1/$everything?_type=Observation"))) == ["b1", "g1"]
    dated = world.call("GET", "Patient/sc-p1/$everything?_type=Observation&start=2013-01-15&end=2013-01-16")
    assert names(dated) == ["g1"]
