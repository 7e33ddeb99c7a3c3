"""Searches answered by the index, in plain SQLite, with the rules and examples of FHIR R4 §3.1.1."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from sqlalchemy import create_engine, event, insert, select
from sqlalchemy.pool import StaticPool

from fhir_bridge.definitions.parameters import parameters_of
from fhir_bridge.search.indexer import Indexer
from fhir_bridge.search.owner import SEVERAL, owner_of
from fhir_bridge.search.plan import Planner
from fhir_bridge.search.query import parse_query
from medchain.dates import span_of
from medchain.errors import InputError
from medchain.store import finding_sql, tables
from medchain.store.finding import NEVER

UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"
STATUS = "http://hl7.org/fhir/observation-status"
NOW = span_of("2020-06-01").low


INDEX = [tables.resource, tables.parameter, tables.detail, tables.entry]


class Shelf:
    """Resources in an index in memory."""

    def __init__(self) -> None:
        """Make the tables."""
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        tables.RECORDS.create_all(self.engine, INDEX)
        self.count = 0
        self.numbers = {}
        self.details = {"": 0}
        self.indexers = {}
        self.statements = []
        event.listen(self.engine, "before_cursor_execute", lambda *given: self.statements.append(given[2:4]))

    def number(self, type_name, code):
        return self.numbers.setdefault((type_name, code), len(self.numbers) + 1)

    def put(self, *resources: dict):
        with self.engine.begin() as connection:
            for one in resources:
                name = one["resourceType"]
                if name not in self.indexers:
                    self.indexers[name] = Indexer(name, lambda code, name=name: self.number(name, code))
                updated = span_of(one.get("meta", {}).get("lastUpdated", "2020-01-01T00:00:00Z")).low
                self.count += 1
                resource = self.count
                values = {"number": resource, "type": name, "id": one["id"], "updated": updated, "replaced": NEVER}
                connection.execute(insert(tables.resource).values(values))
                for number, place, key, detail, low, high in self.indexers[name].rows(one):
                    connection.execute(
                        insert(tables.entry).values(
                            resource=resource,
                            number=number,
                            place=place,
                            key=key,
                            detail=self.detail(connection, detail),
                            low=low or 0,
                            high=high or 0,
                        )
                    )

    def detail(self, connection, text):
        if text not in self.details:
            self.details[text] = len(self.details)
            connection.execute(insert(tables.detail).values(number=self.details[text], text=text))
        return self.details[text]

    def search(self, text, after=(), limit=100):
        type_name, _, query = text.partition("?")
        asked = parse_query(parse_qsl(query, keep_blank_values=True), type_name)
        return Planner(self.number, parameters_of, NOW).plan(asked, after, limit)

    def rows(self, text, after=(), limit=100):
        return self.run(finding_sql.prepared_page(self.search(text, after, limit), self.engine.dialect))

    def find(self, text):
        """Find ids, in the order of the answer; the number of matches must agree."""
        found = [row.id for row in self.rows(text)]
        assert self.run(finding_sql.prepared_count(self.search(text), self.engine.dialect))[0][0] == len(found)
        return found

    def run(self, query):
        with self.engine.begin() as connection:
            return list(connection.exec_driver_sql(query.sql, query.values))


def quantity(value, code="mg/dL", **more: object):
    return {"value": value, "unit": code, "system": UCUM, "code": code, **more}


def coded(code, system=LOINC, **more: object):
    return {"coding": [{"system": system, "code": code}], **more}


@pytest.fixture(scope="module")
def shelf():
    """A small hospital."""
    made = Shelf()
    made.put(
        {"resourceType": "Organization", "id": "o1", "name": "North", "partOf": {"reference": "Organization/o2"}},
        {"resourceType": "Organization", "id": "o2", "name": "City Hospital"},
        {"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Joe"}]},
        {
            "resourceType": "Patient",
            "id": "p1",
            "name": [{"family": "Carreno Quinones", "given": ["Eve"]}],
            "gender": "female",
            "birthDate": "1970-03-30",
            "identifier": [{"system": "urn:mrn", "value": "A1", "type": coded("MR", "urn:t")}],
            "managingOrganization": {"reference": "Organization/o1"},
            "generalPractitioner": [{"reference": "Practitioner/d1"}],
            "meta": {"lastUpdated": "2020-02-01T00:00:00Z", "tag": [{"system": "urn:tags", "code": "t"}]},
        },
        {
            "resourceType": "Patient",
            "id": "p2",
            "name": [{"family": "王", "given": ["小明"]}],
            "gender": "male",
            "birthDate": "1980",
            "identifier": [{"value": "A1"}],
            "telecom": [{"system": "phone", "value": "010 555"}, {"system": "fax", "value": "010-556"}],
        },
        {
            "resourceType": "Patient",
            "id": "p3",
            "name": [{"family": "Müller", "given": ["Severine"]}],
            "telecom": [{"system": "email", "value": "eve@x.example"}, {"value": "010555"}],
        },
        {
            "resourceType": "Observation",
            "id": "b1",
            "status": "final",
            "code": coded("85354-9", text="Blood pressure"),
            "subject": {"reference": "Patient/p1"},
            "effectiveDateTime": "2013-01-14T10:00:00Z",
            "component": [
                {"code": coded("8480-6"), "valueQuantity": quantity(107, "mm[Hg]")},
                {"code": coded("8462-4"), "valueQuantity": quantity(60, "mm[Hg]")},
            ],
        },
        {
            "resourceType": "Observation",
            "id": "g1",
            "status": "final",
            "code": coded("2339-0"),
            "subject": {"reference": "Patient/p1"},
            "performer": [{"reference": "Practitioner/d1"}],
            "effectiveDateTime": "2013-01-15",
            "valueQuantity": quantity(5.4),
        },
        {
            "resourceType": "Observation",
            "id": "g2",
            "status": "amended",
            "code": coded("2339-0"),
            "subject": {"reference": "Patient/p2/_history/1"},
            "effectivePeriod": {"start": "2013-01-21"},
            "valueQuantity": quantity(0.06, "g/L"),
        },
        {
            "resourceType": "Observation",
            "id": "g3",
            "status": "final",
            "code": coded("2339-0", "urn:other"),
            "subject": {"identifier": {"system": "urn:mrn", "value": "A1"}},
            "valueQuantity": {"value": 7, "unit": "drops"},
        },
        {"resourceType": "RiskAssessment", "id": "r1", "prediction": [{"probabilityDecimal": 0.8}]},
        {"resourceType": "RiskAssessment", "id": "r2", "prediction": [{"probabilityDecimal": 100}]},
        {
            "resourceType": "Composition",
            "id": "c1",
            "section": [{"code": coded("48765-2")}, {"code": coded("10164-2")}],
        },
        {"resourceType": "ValueSet", "id": "v1", "url": "http://acme.org/fhir/ValueSet/123"},
        {"resourceType": "ValueSet", "id": "v2", "url": "http://acme.org/fhir"},
        {"resourceType": "List", "id": "42", "entry": [{"item": {"reference": "Patient/p3"}}]},
        {"resourceType": "AuditEvent", "id": "a1", "entity": [{"what": {"reference": "Observation/g1"}}],
         "agent": [{"name": "MyUserId"}]},
        {"resourceType": "Location", "id": "l1", "position": {"latitude": 39.9, "longitude": 116.4}},
        {"resourceType": "DocumentReference", "id": "x1", "content": [
            {"attachment": {"contentType": "text/xml; charset=UTF-8"}}],
         "relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/x0"}},
                       {"code": "signs", "target": {"reference": "DocumentReference/x9"}}]},
        {"resourceType": "QuestionnaireResponse", "id": "q1", "questionnaire": "http://x.example/q|1.0"},
    )  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        # §3.1.1.4.10 token
        ("Observation?code=2339-0", ["g1", "g2", "g3"]),
        (f"Observation?code={LOINC}|2339-0", ["g1", "g2"]),
        (f"Observation?code={LOINC}|", ["b1", "g1", "g2"]),
        ("Observation?code=urn:unknown|2339-0", []),
        ("Patient?identifier=|A1", ["p2"]),
        ("Patient?identifier=a1", ["p1", "p2"]),
        ("Patient?identifier:of-type=urn:t|MR|A1", ["p1"]),
        # Its table of types names no system of a ContactPoint, so none means any; HAPI takes its kind for one.
        ("Patient?telecom=010555", ["p2", "p3"]),
        ("Patient?telecom=010%20555", ["p2"]),
        ("Patient?telecom=|010555", ["p2", "p3"]),
        ("Patient?telecom=phone|010555", ["p2"]),
        ("Patient?telecom=fax|010556,email|EVE@x.example", ["p2", "p3"]),
        ("Patient?telecom=email|010555", []),
        ("Patient?telecom=fax|", ["p2"]),
        ("Patient?telecom:not=phone|010555", ["p1", "p3"]),
        # Nothing of a ContactPoint is the text of a code.
        ("Patient?telecom:text=010", []),
        ("Patient?phone=phone|010555", ["p2"]),
        ("Patient?phone=010556", []),
        ("Patient?phone=fax|010556", []),
        ("Patient?email=eve@x.example", ["p3"]),
        ("Patient?email=email|eve@x.example", ["p3"]),
        ("Patient?gender=male,female", ["p1", "p2"]),
        ("Patient?gender:not=male", ["p1", "p3"]),
        ("Composition?section:not=48765-2", []),
        ("Composition?section=48765-2", ["c1"]),
        ("Observation?code:text=blood", ["b1"]),
        ("Patient?gender:in=http://hl7.org/fhir/ValueSet/administrative-gender", ["p1", "p2"]),
        ("Patient?gender:not-in=http://hl7.org/fhir/ValueSet/administrative-gender", ["p3"]),
        ("Patient?_tag=urn:tags|t", ["p1"]),
        (f"Observation?status:below={STATUS}|amended", ["g2"]),
        (f"Observation?status:above={STATUS}|corrected", ["g2"]),
        (f"Observation?status:below={STATUS}|corrected", []),
        (f"Observation?status:below={STATUS}|final,{STATUS}|AMENDED", ["b1", "g1", "g2", "g3"]),
        (f"Observation?code:below={STATUS}|final", []),
        ("DocumentReference?contenttype:below=text/xml", ["x1"]),
        ("DocumentReference?contenttype=text/xml", []),
        ("Patient?_id=p1,p3", ["p1", "p3"]),
        ("Patient?_id:not=p1", ["p2", "p3"]),
        ("Patient?_id:missing=false", ["p1", "p2", "p3"]),
        ("Patient?_id:missing=true", []),
        ("Patient?_lastUpdated:missing=false", ["p1", "p2", "p3"]),
        ("Patient?_lastUpdated:missing=true&gender=male", []),
        ("Patient?_lastUpdated:missing=false&gender=male", ["p2"]),
        # §3.1.1.4.8 string
        ("Patient?given=eve", ["p1"]),
        ("Patient?given:contains=eve", ["p1", "p3"]),
        ("Patient?given:contains=xyz,eve,evé,", ["p1", "p3"]),
        ("Patient?name:contains=iaom,quiñ", ["p1", "p2"]),
        ("Patient?given:exact=Eve", ["p1"]),
        ("Patient?given:exact=eve", []),
        ("Patient?family=quinones", ["p1"]),
        ("Patient?family=MULLER", ["p3"]),
        ("Patient?name=王小", ["p2"]),
        ("Patient?name=wang%20xiaoming", ["p2"]),
        ("Patient?name=wxm", ["p2"]),
        ("Patient?name=小", ["p2"]),
        # missing, §3.1.1.4.4
        ("Patient?gender:missing=true", ["p3"]),
        ("Patient?gender:missing=false", ["p1", "p2"]),
        ("Observation?subject:missing=true", []),
        # §3.1.1.4.7 date
        ("Observation?date=eq2013-01-14", ["b1"]),
        ("Observation?date=ne2013-01-14", ["g1", "g2"]),
        ("Observation?date=lt2013-01-15T10:00", ["b1", "g1"]),
        ("Observation?date=gt2013-01-15T10:00", ["g1", "g2"]),
        ("Observation?date=ge2013-03-14", ["g2"]),
        ("Observation?date=le2013-03-14", ["b1", "g1", "g2"]),
        ("Observation?date=sa2013-01-20", ["g2"]),
        ("Observation?date=sa2013-03-14", []),
        ("Observation?date=eb2013-01-15", ["b1"]),
        ("Observation?date=ap2013-01-14", ["b1", "g1", "g2"]),
        ("Observation?date=2013", ["b1", "g1"]),
        ("Observation?date=ge2013-01-15&date=le2013-01-15", ["g1"]),
        ("Patient?birthdate=1980", ["p2"]),
        ("Patient?birthdate=lt1975", ["p1"]),
        ("Patient?_lastUpdated=gt2020-01-15", ["p1"]),
        ("Patient?_lastUpdated=2020-01", ["p2", "p3"]),
        ("Patient?_lastUpdated=ne2020-01", ["p1"]),
        ("Patient?_lastUpdated=ge2020-02-01", ["p1"]),
        ("Patient?_lastUpdated=le2020-01-01", ["p2", "p3"]),
        ("Patient?_lastUpdated=lt2020-01-02", ["p2", "p3"]),
        ("Patient?_lastUpdated=ap2020-02-01", ["p1"]),
        # §3.1.1.4.6 number
        ("RiskAssessment?probability=gt0.8", ["r2"]),
        ("RiskAssessment?probability=ge0.8", ["r1", "r2"]),
        ("RiskAssessment?probability=lt0.8", []),
        ("RiskAssessment?probability=le0.8", ["r1"]),
        ("RiskAssessment?probability=100", ["r2"]),
        ("RiskAssessment?probability=ne100", ["r1"]),
        ("RiskAssessment?probability=ap95", ["r2"]),
        ("RiskAssessment?probability=sa1", ["r2"]),
        ("RiskAssessment?probability=eb1", ["r1"]),
        # §3.1.1.4.11 quantity
        (f"Observation?value-quantity=5.4|{UCUM}|mg/dL", ["g1"]),
        (f"Observation?value-quantity=0.054|{UCUM}|g/L", ["g1"]),
        (f"Observation?value-quantity=gt5.4|{UCUM}|mg/dL", ["g2"]),
        (f"Observation?value-quantity=ap5.4|{UCUM}|mg/dL", ["g1"]),
        ("Observation?value-quantity=5.4||mg/dL", ["g1"]),
        ("Observation?value-quantity=7||drops", ["g3"]),
        ("Observation?value-quantity=7", ["g3"]),
        ("Observation?value-quantity=7|urn:units|x", []),
        # §3.1.1.4.12 reference
        ("Observation?subject=Patient/p1", ["b1", "g1"]),
        ("Observation?subject:Patient=p1", ["b1", "g1"]),
        ("Observation?patient=p2", ["g2"]),
        ("Observation?subject=Patient/p2/_history/1", ["g2"]),
        ("Observation?subject=Patient/p2/_history/2", []),
        ("Observation?subject:identifier=urn:mrn|A1", ["g3"]),
        ("QuestionnaireResponse?questionnaire=http://x.example/q", ["q1"]),
        ("QuestionnaireResponse?questionnaire=http://x.example/q|2.0", []),
        ("QuestionnaireResponse?questionnaire:below=http://x.example/q", ["q1"]),
        # §3.1.1.4.9 uri
        ("ValueSet?url=http://acme.org/fhir/ValueSet/123", ["v1"]),
        ("ValueSet?url:below=http://acme.org/fhir", ["v1", "v2"]),
        ("ValueSet?url:above=http://acme.org/fhir/ValueSet/123/_history/5", ["v1", "v2"]),
        # §3.1.1.4.15 chains, §3.1.1.4.16 reverse chains
        ("Observation?subject:Patient.name=carreno", ["b1", "g1"]),
        ("Observation?subject.identifier=urn:mrn|A1", ["b1", "g1"]),
        ("Observation?patient.organization.name=north", ["b1", "g1"]),
        ("Observation?patient.organization.partof.name=city", ["b1", "g1"]),
        ("Observation?patient.gender=male&status=amended", ["g2"]),
        ("Observation?patient.gender:missing=true", []),
        ("Patient?general-practitioner.name=joe", ["p1"]),
        (f"Patient?_has:Observation:patient:code={LOINC}|2339-0", ["p1", "p2"]),
        ("Patient?_has:Observation:patient:code=85354-9&_has:Observation:patient:code=2339-0", ["p1"]),
        ("Patient?_has:Observation:patient:_has:AuditEvent:entity:agent-name=MyUserId", ["p1"]),
        ("Patient?_has:Observation:patient:performer:Practitioner.name=joe", ["p1"]),
        ("Patient?_has:Observation:patient:status:not=final", ["p2"]),
        ("Practitioner?_has:Patient:general-practitioner:gender=female", ["d1"]),
        # §3.1.1.4.17 composites
        (f"Observation?component-code-value-quantity=8480-6$107|{UCUM}|mm[Hg]", ["b1"]),
        (f"Observation?component-code-value-quantity=8480-6$60|{UCUM}|mm[Hg]", []),
        ("Observation?component-code-value-quantity=8480-6$lt60", []),
        ("Observation?component-code-value-quantity=8462-4$le60", ["b1"]),
        (f"Observation?code-value-quantity={LOINC}|2339-0$gt5.4|{UCUM}|mg/dL", ["g2"]),
        (f"Observation?combo-code-value-quantity=8462-4$60,2339-0$5.4|{UCUM}|mg/dL", ["b1", "g1"]),
        (f"Observation?code-value-quantity=2339-0$lt9|{UCUM}|mg/dL&subject=Patient/p1", ["g1"]),
        ("DocumentReference?relationship=DocumentReference/x0$replaces", ["x1"]),
        ("DocumentReference?relationship=DocumentReference/x0$signs", []),
        # §3.1.1.4.22 list, near, §3.1.1.4.24 several types
        ("Patient?_list=42", ["p3"]),
        ("Patient?_list=43", []),
        ("Location?near=39.95|116.4|10|km", ["l1"]),
        ("Location?near=39.95|116.4|1|km", []),
        ("?_type=Patient,Organization&name=north", ["o1"]),
        ("?_type=Patient,Organization&_id=p1,o2", ["o2", "p1"]),
        ("Patient?", ["p1", "p2", "p3"]),
    ],
)
def test_a_search_finds_what_the_specification_says(shelf, text, ids):
    assert shelf.find(text) == ids


@pytest.fixture(scope="module")
def forms():
    """Answers to forms, which they name by URL: with a version, without, of nothing here, and of a form by its id."""
    made = Shelf()
    url = "http://x.example/form"
    form = {"resourceType": "Questionnaire", "status": "active"}
    answer = {"resourceType": "QuestionnaireResponse", "status": "completed"}
    made.put(
        form | {"id": "f1", "url": url, "title": "Pain", "version": "2"},
        form | {"id": "f2", "title": "Sleep", "status": "draft"},
        form | {"id": "f3", "url": f"{url}/other", "title": "Mood"},
        answer | {"id": "a1", "questionnaire": url},
        answer | {"id": "a2", "questionnaire": f"{url}|2", "status": "amended"},
        answer | {"id": "a3", "questionnaire": f"{url}/none"},
        answer | {"id": "a4", "questionnaire": f"{url}/other", "status": "in-progress"},
        answer | {"id": "a5", "questionnaire": f"{url}|1", "status": "stopped"},
        answer | {"id": "a6", "questionnaire": f"{url}/other|7", "status": "stopped"},
    )
    return made


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("QuestionnaireResponse?questionnaire.title=pain", ["a1", "a2"]),
        ("QuestionnaireResponse?questionnaire:Questionnaire.title=pain", ["a1", "a2"]),
        # One that says no version of its own is meant by whatever version.
        ("QuestionnaireResponse?questionnaire.title=pain,mood", ["a1", "a2", "a4", "a6"]),
        ("QuestionnaireResponse?questionnaire.status:not=draft", ["a1", "a2", "a4", "a6"]),
        ("QuestionnaireResponse?questionnaire.title=pain&_id=a2,a4", ["a2"]),
        ("QuestionnaireResponse?questionnaire.title:missing=true", []),
        ("Questionnaire?_has:QuestionnaireResponse:questionnaire:status=amended", ["f1"]),
        ("Questionnaire?_has:QuestionnaireResponse:questionnaire:status:not=completed", ["f1", "f3"]),
        ("Questionnaire?_has:QuestionnaireResponse:questionnaire:status=stopped", ["f3"]),
        ("Questionnaire?_has:QuestionnaireResponse:questionnaire:status=stopped&_id=f1,f3", ["f3"]),
        ("QuestionnaireResponse?questionnaire.title=pain&_id=a2,a5", ["a2"]),
        ("Questionnaire?_has:QuestionnaireResponse:questionnaire:_id=a1,a3,a4&_id=f1,f2", ["f1"]),
    ],
)
def test_a_chain_goes_through_a_reference_by_url_as_an_include_does(forms, text, ids):
    """§3.1.1.4.15, §3.1.1.4.16 with §2.29 (canonical): both ways, as a set and as a question to each resource."""
    assert forms.find(text) == ids


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Patient?_sort=birthdate", ["p1", "p2", "p3"]),
        ("Patient?_sort=-birthdate", ["p2", "p1", "p3"]),
        ("Patient?_sort=family", ["p1", "p3", "p2"]),
        ("Patient?_sort=gender,-_lastUpdated", ["p1", "p2", "p3"]),
        ("Patient?_sort=-_lastUpdated", ["p1", "p2", "p3"]),
        ("Patient?_sort=_id", ["p1", "p2", "p3"]),
        ("Patient?_sort=-_id", ["p3", "p2", "p1"]),
        ("Observation?_sort=-date&status=final,amended", ["g2", "g1", "b1", "g3"]),
    ],
)
def test_an_answer_is_sorted_and_what_has_no_value_comes_last(shelf, text, ids):
    """§3.1.1.5.1."""
    assert shelf.find(text) == ids


@pytest.mark.parametrize(
    "text", ["Patient?", "Patient?_sort=-birthdate", "Patient?_sort=-_id", "Observation?_sort=status,-date"]
)
def test_pages_follow_each_other_and_leave_nothing_out(shelf, text):
    whole = [row.id for row in shelf.rows(text)]
    seen, after = [], ()
    while page := shelf.rows(text, after, 1):
        (row,) = page
        seen.append(row.id)
        after = (*row[3:], row.number)
    assert seen == whole


@pytest.mark.parametrize(
    ("asked", "comparators"),
    [
        # A value with a comparator is a range (§2.24.0.6): less than 5 is [.., 5), 5 at most [.., 5].
        ("lt5", {"<", "<="}),
        ("le5", {"<", "<=", ">="}),
        ("gt5", {">", ">="}),
        ("ge5", {"<=", ">", ">="}),
        ("lt4", {"<", "<="}),
        ("gt6", {">", ">="}),
        ("ge6", {">", ">="}),
        ("gt4", {"<", "<=", ">", ">="}),
        ("eb6", {"<", "<="}),
        ("sa4", {">", ">="}),
        ("eb5", {"<"}),
        ("sa5", {">"}),
        ("5", set()),
    ],
)
@pytest.mark.parametrize("unit", ["", f"|{UCUM}|g/L", f"|{UCUM}|mg/mL"])
def test_what_is_less_than_a_value_is_not_that_value(asked, comparators, unit):
    made = Shelf()
    for name, comparator in enumerate(("<", "<=", ">", ">=")):
        value = quantity(5, "g/L", comparator=comparator)
        made.put({"resourceType": "Observation", "id": f"{name}", "code": coded("x"), "valueQuantity": value})
    found = {("<", "<=", ">", ">=")[int(name)] for name in made.find(f"Observation?value-quantity={asked}{unit}")}
    assert found == comparators


def test_a_page_is_as_it_was_while_others_write():
    made = Shelf()
    made.put(*({"resourceType": "Patient", "id": f"p{place}"} for place in range(3)))
    first = made.rows("Patient?", limit=2)
    made.put({"resourceType": "Patient", "id": "new"})
    assert [row.id for row in made.rows("Patient?", (first[-1].number,), 2)] == ["p2", "new"]


ICD10 = "http://hl7.org/fhir/sid/icd-10"


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("below=@|E11", ["whole", "part", "finer"]),
        ("below=@|e11.9", ["part", "finer"]),
        ("below=@|E11.90", ["finer"]),
        ("below=@|E11.90,@|E10", ["finer", "other"]),
        ("above=@|E11.90", ["whole", "part", "finer"]),
        ("above=@|E11", ["whole"]),
    ],
)
def test_codes_of_icd_10_lie_below_those_with_which_they_begin(condition, ids):
    made = Shelf()
    codes = {"whole": "E11", "part": "E11.9", "finer": "E11.90", "other": "E10.9"}
    made.put(*({"resourceType": "Condition", "id": name, "code": coded(one, ICD10)} for name, one in codes.items()))
    made.put({"resourceType": "Condition", "id": "elsewhere", "code": coded("E11.9", "urn:other")})
    assert made.find(f"Condition?code:{condition.replace('@', ICD10)}") == ids


@pytest.mark.parametrize("text", ["Observation?status:below=amended", f"Observation?status:above={STATUS}|"])
def test_what_lies_above_or_below_is_asked_of_a_code_with_its_system(shelf, text):
    """§3.1.1.4.10: the value of `:above` and `:below` has the form system|code."""
    with pytest.raises(InputError, match=r"search\.value"):
        shelf.find(text)


@pytest.mark.parametrize(
    "text",
    [
        "Observation?code:in=http://example.org/unknown",
        # R4 §3.1.1.4.10 has it as an example; SNOMED CT is nobody's here.
        "Condition?code:in=http%3A%2F%2Fsnomed.info%2Fsct%3Ffhir_vs%3Disa%2F126851005",
        "Observation?code:below=http://snomed.info/sct|1",
        f"Condition?code:below={ICD10}|E10-E14",
        "Procedure?location:above=42",
        "Procedure?location:below=42",
        "Location?partof:below=http://other.example/fhir/Location/1",
        "Patient?_has:Procedure:subject:location:below=42",
        "QuestionnaireResponse?questionnaire:below=http://x.example/q|1",
    ],
)
def test_what_the_index_cannot_answer_is_refused(shelf, text):
    with pytest.raises(InputError, match=r"search\.unsupported"):
        shelf.find(text)


def plan_of(shelf, text):
    """Ask SQLite how it goes about a search."""
    query = finding_sql.prepared_page(shelf.search(text), shelf.engine.dialect)
    return [row[3] for row in shelf.run(finding_sql.Prepared(f"EXPLAIN QUERY PLAN {query.sql}", query.values))]


@pytest.mark.parametrize(
    "text",
    [
        f"Observation?patient=p1&code={LOINC}|2339-0&date=ge2013",
        "Patient?identifier=urn:mrn|A1",
        "Observation?subject:Patient.identifier=urn:mrn|A1",
        f"Patient?_has:Observation:patient:code={LOINC}|2339-0",
        f"Observation?code-value-quantity={LOINC}|2339-0$gt5.4|{UCUM}|mg/dL",
    ],
)
def test_no_table_is_walked_from_end_to_end(shelf, text):
    steps = plan_of(shelf, text)
    assert not [step for step in steps if step.startswith("SCAN") and "resource" in step + "entry"], steps
    assert any("entry_by_key" in step or "PRIMARY KEY" in step for step in steps)


def test_rows_of_a_patient_are_few_within_the_patient_but_those_of_patients_are_not(shelf):
    """What is looked for among the rows of one patient goes first; a Patient's own lie among those of all others."""

    def owned(text):
        return [row.alternatives[0].owners for row in shelf.search(text).conditions]

    assert owned("Observation?subject=Patient/p1&status=final") == [(), (owner_of("Patient/p1"), SEVERAL)]
    assert owned("Patient?link=Patient/p1&gender=male") == [(), ()]


@pytest.mark.parametrize("count", [1, 2, 30])
def test_attack_rows_are_read_once_however_many_texts_they_may_contain(shelf, count):
    """They were read once for each."""
    shelf.statements.clear()
    shelf.find("Patient?name:contains=" + ",".join(f"nobody{number}" for number in range(count)))
    asked = [text for text, _ in shelf.statements if "instr(" in text]
    assert asked
    assert [(text.count("FROM entry"), text.count("instr(")) for text in asked] == [(1, count)] * len(asked)


def test_values_are_bound_and_never_part_of_the_sql(shelf):
    shelf.statements.clear()
    shelf.find("Patient?name=x';drop%20table%20entry;--&identifier=y'%22|z")
    assert not [text for text, _ in shelf.statements if "drop" in text or "y'" in text]
    with shelf.engine.begin() as connection:
        assert connection.execute(select(tables.entry.c.number)).first() is not None


@pytest.fixture(scope="module")
def digits():
    """Numbers that doubles tell apart, and some that they do not."""
    made = Shelf()
    values = {"n99": "99.49", "n995": "99.5", "n100": "100", "n1004": "100.4999", "n1005": "100.5"}
    values |= {"s1": "0.100000000000000000001", "s0": "0.1", "s2": "0.100000000000000000002"}
    values |= {"b2": "123456789.123456789", "b1": "123456789.123456788", "e": "0.0054"}
    for name, value in values.items():
        row = {"id": name, "prediction": [{"probabilityDecimal": Decimal(value)}], "resourceType": "RiskAssessment"}
        made.put(row, {"resourceType": "Observation", "id": name, "valueQuantity": quantity(Decimal(value), "m")})
    return made


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        # R4 search.html#number, its own table: values in the range of [99.5 ... 100.5), then [99.995 ... 100.005),
        # then [95 ... 105), equal, unequal, and the comparisons with the exact value.
        ("100", "n100 n1004 n995"),
        ("100.00", "n100"),
        ("1e2", "n100 n1004 n1005 n99 n995"),
        ("lt100", "e n99 n995 s0 s1 s2"),
        ("le100", "e n100 n99 n995 s0 s1 s2"),
        ("gt100", "b1 b2 n1004 n1005"),
        ("ge100", "b1 b2 n100 n1004 n1005"),
        ("ne100", "b1 b2 e n1005 n99 s0 s1 s2"),
        # R4 search.html#quantity: 5.40e-3 is 0.0054 with three significant digits.
        ("5.4e-3", "e"),
        ("5.40e-3", "e"),
        # R4 §2.24.0.1: the precision of a decimal is part of it; doubles would make one of these.
        ("0.1", "s0 s1 s2"),
        ("0.100000000000000000001", "s1"),
        ("0.1000000000000000000015", ""),
        ("gt0.100000000000000000001", "b1 b2 n100 n1004 n1005 n99 n995 s2"),
        ("ge0.100000000000000000001", "b1 b2 n100 n1004 n1005 n99 n995 s1 s2"),
        ("lt0.100000000000000000001", "e s0"),
        ("le0.100000000000000000001", "e s0 s1"),
        ("sa0.100000000000000000001", "b1 b2 n100 n1004 n1005 n99 n995 s2"),
        ("eb0.100000000000000000001", "e s0"),
        ("ne0.100000000000000000001", "b1 b2 e n100 n1004 n1005 n99 n995 s0 s2"),
        ("123456789.123456789", "b2"),
        ("123456789.123456788", "b1"),
        ("ap123456789.123456789", "b1 b2"),
        ("123456789", "b1 b2"),
    ],
)
def test_numbers_and_quantities_are_found_to_their_last_digit(digits, asked, names):
    expected = names.split()
    assert sorted(digits.find(f"RiskAssessment?probability={asked}")) == expected
    assert sorted(digits.find(f"Observation?value-quantity={asked}||m")) == expected
    assert sorted(digits.find(f"Observation?value-quantity={asked}|{UCUM}|m")) == expected


def test_a_quantity_is_found_to_its_last_digit_in_another_unit(digits):
    assert digits.find(f"Observation?value-quantity=100.000000000000000001|{UCUM}|mm") == ["s1"]


def test_numbers_that_no_double_says_are_sorted_among_the_others(digits):
    up = digits.find("RiskAssessment?_sort=probability")
    assert (up[0], set(up[1:4]), up[4:9], set(up[9:])) == (
        "e",
        {"s0", "s1", "s2"},
        ["n99", "n995", "n100", "n1004", "n1005"],
        {"b1", "b2"},
    )
    down = digits.find("RiskAssessment?_sort=-probability")
    assert (set(down[:2]), down[2:7], set(down[7:10]), down[10]) == (
        {"b1", "b2"},
        ["n1005", "n1004", "n100", "n995", "n99"],
        {"s0", "s1", "s2"},
        "e",
    )
