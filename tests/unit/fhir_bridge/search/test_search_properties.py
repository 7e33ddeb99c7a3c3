"""SQL answers what looking at every resource answers; HL7's examples are found by every one of their values."""

from __future__ import annotations

from contextlib import closing, contextmanager, nullcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_bridge.definitions.elements import is_resource_type
from fhir_bridge.definitions.parameters import ParameterType, parameters_of
from fhir_bridge.search import indexer
from fhir_bridge.search.indexer import CONTAINED, IN_COLUMNS, UNINDEXED, VARIANTS
from fhir_bridge.search.judge import Judge
from fhir_bridge.search.query import parse_query
from fhir_bridge.search.tree import ByType, Either, InCompartment
from medchain.dates import span_of
from medchain.store import indexing, placing
from medchain.store.engine import FileKind, open_database
from tests.tries import tries
from tests.unit.fhir_bridge.search.naive import Naive
from tests.unit.fhir_bridge.search.nodes import FILE_KEY

IDS = ["a", "b", "c"]
CODES = ["2339-0", "718-7", "8480-6"]
SYSTEMS = ["http://loinc.org", "urn:other", ""]
DATES = ["2019", "2020-02", "2020-02-03", "2020-02-03T10:00:00Z", "2021-01-01"]
NAMES = ["Zhang", "zhāng", "Müller", "Muller-Lee", "王"]
VALUES = ["5", "5.4", "7.25"]

ids, codes, dates, names = (st.sampled_from(one) for one in (IDS, CODES, DATES, NAMES))


def optional(**members: st.SearchStrategy):
    """Make objects some of whose members are absent."""
    return st.fixed_dictionaries({}, optional=members)


coding = st.builds(
    lambda code, system: {"code": code} | ({"system": system} if system else {}), codes, st.sampled_from(SYSTEMS)
)
concept = optional(coding=st.lists(coding, min_size=1, max_size=2), text=st.sampled_from(["glucose", "Glucose, blood"]))
amount = st.builds(
    lambda value, unit: {"value": float(value), "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
    st.sampled_from(VALUES),
    st.sampled_from(["mg/dL", "g/L"]),
)


def reference(*types: str):
    """Make references."""
    return st.builds(lambda name, one: {"reference": f"{name}/{one}"}, st.sampled_from(types), ids)


patients = optional(
    gender=st.sampled_from(["male", "female"]),
    birthDate=st.sampled_from(["1970-01-01", "1980", "2020-02-03"]),
    name=st.lists(st.builds(lambda family: {"family": family}, names), min_size=1, max_size=2),
    generalPractitioner=st.lists(reference("Practitioner", "Organization"), max_size=2),
    link=st.lists(st.builds(lambda one: {"other": one}, reference("Patient")), max_size=1),
)
practitioners = optional(name=st.lists(st.builds(lambda family: {"family": family}, names), min_size=1, max_size=1))
observations = optional(
    status=st.sampled_from(["final", "amended"]),
    code=concept,
    subject=reference("Patient", "Group"),
    performer=st.lists(reference("Practitioner", "Patient"), max_size=2),
    effectiveDateTime=dates,
    valueQuantity=amount,
    component=st.lists(optional(code=concept, valueQuantity=amount), max_size=2),
    hasMember=st.lists(reference("Observation"), max_size=1),
)
lists = optional(entry=st.lists(st.builds(lambda one: {"item": one}, reference("Patient", "Observation")), max_size=2))
resources = st.lists(
    st.one_of(
        st.tuples(st.just(name), ids, made)
        for name, made in (
            ("Patient", patients),
            ("Practitioner", practitioners),
            ("Observation", observations),
            ("Observation", observations),
            ("List", lists),
        )
    ),
    min_size=1,
    max_size=14,
)

tokens = st.builds(lambda system, code: f"{system}|{code}", st.sampled_from(SYSTEMS), codes) | codes
prefixed = st.builds("{}{}".format, st.sampled_from(["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]), dates)
quantities = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "ne", "gt", "lt", "ge", "le", "sa", "eb"]),
    st.sampled_from(VALUES),
    st.sampled_from(["", "||mg/dL", "|http://unitsofmeasure.org|mg/dL", "|http://unitsofmeasure.org|g/L"]),
)
words = st.sampled_from([*NAMES, "zh", "lee", "wang"])
booleans = st.sampled_from(["true", "false"])
of_patient = st.one_of(
    st.tuples(st.just("gender"), st.sampled_from(["male", "female", "male,female"])),
    st.tuples(st.sampled_from(["gender:not", "gender"]), st.sampled_from(["male", "female"])),
    st.tuples(st.sampled_from(["gender:missing", "birthdate:missing", "name:missing"]), booleans),
    st.tuples(st.just("birthdate"), prefixed),
    st.tuples(st.sampled_from(["name", "family", "family:contains", "family:exact"]), words),
    st.tuples(st.sampled_from(["_id", "_id:not"]), ids),
    st.tuples(st.just("general-practitioner"), st.builds("Practitioner/{}".format, ids)),
    st.tuples(st.just("general-practitioner:Practitioner.name"), words),
    st.tuples(st.just("link:Patient.gender"), st.sampled_from(["male", "female"])),
    st.tuples(st.just("_has:Observation:subject:code"), tokens),
    st.tuples(st.just("_has:Observation:patient:date"), prefixed),
    st.tuples(st.just("_has:Observation:performer:status:not"), st.just("final")),
    st.tuples(st.just("_has:Observation:subject:_has:List:item:_id"), ids),
    st.tuples(st.just("_list"), ids),
)
of_observation = st.one_of(
    st.tuples(st.sampled_from(["code", "combo-code", "component-code", "code:not"]), tokens),
    st.tuples(st.just("code:text"), st.sampled_from(["glu", "glucose b", "blood"])),
    st.tuples(st.just("status"), st.sampled_from(["final", "amended", "final,amended"])),
    st.tuples(st.sampled_from(["patient", "subject:Patient", "performer:Patient"]), ids),
    st.tuples(st.just("patient"), st.just("a,b")),
    st.tuples(st.just("subject"), st.builds("{}/{}".format, st.sampled_from(["Patient", "Group"]), ids)),
    st.tuples(st.just("subject"), ids),
    st.tuples(st.just("date"), prefixed),
    st.tuples(st.sampled_from(["value-quantity", "combo-value-quantity"]), quantities),
    st.tuples(
        st.sampled_from(["code-value-quantity", "component-code-value-quantity", "combo-code-value-quantity"]),
        st.builds("{}${}".format, codes, quantities),
    ),
    st.tuples(st.sampled_from(["subject:missing", "date:missing", "value-quantity:missing"]), booleans),
    st.tuples(st.just("subject:Patient.gender"), st.sampled_from(["male", "female"])),
    st.tuples(st.just("subject:Patient.general-practitioner:Practitioner.name"), words),
    st.tuples(st.just("patient.birthdate:missing"), booleans),
    st.tuples(st.just("has-member:Observation.code"), tokens),
    st.tuples(st.just("_has:List:item:_id"), ids),
)
asked = st.one_of(
    st.tuples(st.just("Patient"), st.lists(of_patient, min_size=1, max_size=3)),
    st.tuples(st.just("Observation"), st.lists(of_observation, min_size=1, max_size=3)),
)
own = st.builds(lambda one: (InCompartment("Patient", one),), ids)
rights = st.one_of(
    st.just(()),
    own,
    st.builds(lambda one: (ByType((("Patient", one), ("Observation", one), ("Practitioner", ()))),), own),
    st.builds(lambda one: (Either((*one, ByType((("Observation", ()), ("List", ()))))),), own),
)


@settings(max_examples=tries(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(resources, st.lists(st.tuples(asked, rights), min_size=1, max_size=12), booleans)
def test_sql_answers_what_looking_at_every_resource_answers(node, stored, questions, others_write):
    node.wipe()
    naive = Naive(node.index)
    judge = Judge(node.index, node.store.find_page, lambda: node.time)
    newest = {}
    for name, record_id, members in stored:
        made = newest[name, record_id] = {"resourceType": name, "id": record_id, **members}
        node.put(made)
        naive.put(made)
    with other_writer(node) if others_write else nullcontext():
        compare(node, naive, judge, newest, questions)


@contextmanager
def other_writer(node):
    """Have somebody else at the turn at writing, so that what waits is laid over the index for each search."""
    other = open_database(node.database.path, FILE_KEY, kind=FileKind.RECORDS)
    with closing(other), pytest.MonkeyPatch.context() as patch, other.attempt("record"):
        patch.setattr(placing, "PATIENCE_S", 0)
        yield


def compare(node, naive, judge, newest, questions):
    """Compare searches with what looking at every resource answers."""
    for (name, conditions), within in questions:
        query = node.query(f"{name}?")
        for code, value in conditions:
            query.conditions += parsed(node, name, code, value)
        query.used = [(code, value) for code, value in conditions]
        found = node.searches.search(query, within=within)
        expected = naive.search(query, within)
        assert sorted(node.names(found.matches)) == sorted(expected), (conditions, within)
        judged = [
            f"{kind}/{record_id}"
            for (kind, record_id), resource in newest.items()
            if kind == name
            and judge.fulfils(name, resource, query.conditions, within=within)
            and judge.fulfils(name, resource, within)
        ]
        assert sorted(judged) == sorted(expected), (conditions, within)
        query.count = 0
        query.summary = query.summary.__class__("count")
        assert node.searches.search(query, within=within).total == len(expected)


def parsed(node, name, code, value):
    """Understand one condition."""
    return parse_query([(code, value)], name, node.searches.context()).conditions


# Pages that are walked for


CODES_OF_MANY = ["c1", "c2", "c3"]
PEOPLE = [f"p{place}" for place in range(12)]
notes = st.builds(
    lambda record_id, subject, performer, code, system: {
        "resourceType": "Observation",
        "id": record_id,
        "code": {"coding": [{"code": code, "system": system}]},
        "subject": {"reference": f"Patient/{subject}"},
        "performer": [{"reference": f"Patient/{one}"} for one in performer],
        "status": "final",
    },
    st.sampled_from([f"o{place}" for place in range(30)]),
    st.sampled_from(PEOPLE),
    st.lists(st.sampled_from(PEOPLE), max_size=1),
    st.sampled_from(CODES_OF_MANY),
    st.sampled_from(SYSTEMS[:2]),
)
people = st.builds(
    lambda name, gender: {"resourceType": "Patient", "id": name, "gender": gender},
    st.sampled_from(PEOPLE),
    st.sampled_from(["male", "female"]),
)
asked_of_many = st.builds(
    lambda code, value, more: [(f"_has:Observation:{code}", value), *more],
    st.sampled_from(["subject:code", "patient:code", "performer:code"]),
    st.one_of(
        st.sampled_from([*CODES_OF_MANY, "c1,c2"]),
        st.builds("{}|{}".format, st.sampled_from(SYSTEMS[:2]), st.sampled_from(CODES_OF_MANY)),
    ),
    st.lists(
        st.sampled_from([("gender", "male"), ("_has:Observation:patient:status", "final"), ("_id:not", "p3")]),
        max_size=1,
    ),
)
who = st.sampled_from(PEOPLE)
rights_of_many = st.one_of(
    st.just(()),
    st.builds(lambda one: (InCompartment("Patient", one),), who),
    st.just((ByType((("Patient", ()), ("Observation", ()))),)),
    st.builds(lambda one: (ByType((("Patient", ()), ("Observation", (InCompartment("Patient", one),)))),), who),
)
of_one_page = st.integers(min_value=1, max_value=4)


@settings(max_examples=tries(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.one_of(notes, people), min_size=20, max_size=60),
    st.lists(st.tuples(asked_of_many, of_one_page, rights_of_many), min_size=1, max_size=4),
    st.integers(min_value=1, max_value=3),
    st.booleans(),
)
def test_pages_of_what_is_referred_to_are_those_of_all_that_there_are(node, stored, questions, owners, others_write):
    """However many refer to them, and whoever else has their number as owner (`docs/spec/search-index.md`)."""
    node.wipe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexer, "owner_of", lambda key: 1 + len(key) % owners)
        naive, newest = Naive(node.index), {}
        for one in [{"resourceType": "Patient", "id": name} for name in PEOPLE] + stored:
            newest[one["resourceType"], one["id"]] = node.put(one)[0]
            naive.put(one)
    with other_writer(node) if others_write else nullcontext(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexing, "_GATHERED", 0)
        for pairs, count, within in questions:
            query = node.query("Patient?")
            for pair in pairs:
                query.conditions += parsed(node, "Patient", *pair)
            query.used, query.count = pairs, count
            found, cursor = list[int](), None
            while cursor is not None or not found:
                page = node.searches.search(query, within=within, cursor=cursor)
                assert len(page.matches) == count or page.next is None
                found += page.matches
                if (cursor := page.next) is None:
                    break
            expected = sorted(newest[tuple(one.split("/"))] for one in naive.search(query, within))
            assert found == expected, (pairs, count, within)


def text_of(kind, variant, row):  # noqa: PLR0911  # one for each type
    """Write a search by a row of the index; empty where a row does not tell enough."""
    _, key, detail, low, high = row

    def escaped(text):
        for sign in "\\,|$":
            text = text.replace(sign, f"\\{sign}")
        return text

    match kind, variant:
        case ParameterType.TOKEN, 0:
            return f"{escaped(detail)}|{escaped(key)}" if key or detail else ""
        case ParameterType.STRING, 0:
            return escaped(key.partition("\x01")[2] or key)
        case ParameterType.URI, 0:
            return escaped(key)
        case ParameterType.REFERENCE, 0:
            name, slash, record_id = key.partition("/")
            local = slash and is_resource_type(name) and "/" not in record_id
            return escaped(key) if ":" in key or local else ""
        case ParameterType.NUMBER, 0:
            return f"ge{low}" if low == high and "e" not in repr(low) and "inf" not in repr(low) else ""
        case ParameterType.QUANTITY, 0:
            known = low == high and "e" not in repr(low) and "inf" not in repr(low)
            return f"ge{low}|{escaped(detail)}|{escaped(key)}" if known and detail and key else ""
        case ParameterType.DATE, 0:
            return "ge1000" if high > span_of("1000").low else ""
    return ""


def test_every_example_is_found_by_each_of_its_values(node, examples):
    """§3.1.1.4; every parameter of every type, from the definitions."""
    known = {}
    for one in examples:
        if is_resource_type(one["resourceType"]) and "id" in one:
            known[one["resourceType"], one["id"]] = one
    node.put(*known.values())
    failed, codes_seen = [], set()

    def is_found(name, record_id, texts):
        query = node.query(f"{name}?_id={record_id}")
        for code, text in texts:
            query.conditions += parsed(node, name, code, text)
        return node.names(node.searches.search(query).matches) == [f"{name}/{record_id}"]

    for (name, record_id), resource in known.items():
        numbers = {node.index.number(name, code): (code, one.type) for code, one in parameters_of(name).items()}
        texts = {}
        for number, *row in node.index.rows(name, resource).rows:
            if number == node.index.number(*CONTAINED) * VARIANTS:
                continue
            code, kind = numbers[number // VARIANTS]
            text = text_of(kind, number % VARIANTS, row)
            if text:
                texts.setdefault(code, text)
        codes_seen.update((name, code) for code in texts)
        # All at once finds it if and only if each alone does; which one does not is asked only then.
        if not is_found(name, record_id, texts.items()):
            failed += [
                (name, record_id, code) for code in texts if not is_found(name, record_id, [(code, texts[code])])
            ]
            failed.append((name, record_id))
    assert failed == []
    assert len(codes_seen) > 500 or len(known) < 200
    assert not {code for _, code in codes_seen} & (IN_COLUMNS | UNINDEXED)


@pytest.mark.parametrize("code", ["_id", "_lastUpdated"])
def test_columns_are_searched_like_parameters(node, code):
    node.put({"resourceType": "Patient", "id": "a", "meta": {"lastUpdated": "2020-01-01T00:00:00Z"}})
    assert node.found(f"Patient?{code}={'a' if code == '_id' else '2020-01-01'}") == ["Patient/a"]
    assert node.found(f"Patient?{code}={'b' if code == '_id' else '2021'}") == []
