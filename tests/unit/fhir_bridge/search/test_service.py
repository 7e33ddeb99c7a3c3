"""Searches from the stored record to the page: snapshots, cursors, includes, rights; the rules of FHIR R4 §3.1.1."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from fhir_bridge.search import indexer
from fhir_bridge.search.cursor import LIFE_S, Cursors
from fhir_bridge.search.indexer import Indexer
from fhir_bridge.search.owner import owner_of
from fhir_bridge.search.tree import ByType, Either, InCompartment
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError
from medchain.node.records import RecordService
from medchain.store import indexing
from medchain.store.finding_sql import prepared_page
from medchain.store.index_rows import IndexRows
from medchain.store.tables import entry, resource
from tests.unit.fhir_bridge.search.nodes import KEY, LEDGER, NOW

LOINC = "http://loinc.org"


def patient(name, **more: object):
    return {"resourceType": "Patient", "id": name, **more}


def observation(name, about, code="2339-0", **more: object):
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": f"Patient/{about}"},
        **more,
    }


@pytest.fixture
def ward(node):
    """Two patients, who share a doctor."""
    node.put(
        {"resourceType": "Organization", "id": "o1", "name": "North"},
        {"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Joe"}]},
        patient("p1", gender="female", managingOrganization={"reference": "Organization/o1"},
                identifier=[{"system": "urn:mrn", "value": "A1"}]),
        patient("p2", gender="male", identifier=[{"system": "urn:mrn", "value": "A2"}]),
        observation("b1", "p1", performer=[{"reference": "Practitioner/d1"}]),
        observation("b2", "p1", "85354-9", hasMember=[{"reference": "Observation/b1"}]),
        observation("b3", "p2", performer=[{"reference": "Practitioner/d1"}]),
        {"resourceType": "Provenance", "id": "v1", "target": [{"reference": "Observation/b2"}]},
        {"resourceType": "List", "id": "l1", "subject": {"reference": "Patient/p2"},
         "entry": [{"item": {"reference": "Patient/p1"}}]},
        {"resourceType": "Questionnaire", "id": "q1", "url": "http://x.example/q"},
        {"resourceType": "QuestionnaireResponse", "id": "r1", "questionnaire": "http://x.example/q|1",
         "subject": {"reference": "Patient/p1"}},
    )  # fmt: skip
    return node


def test_what_is_stored_is_found_at_once(node):
    node.put(patient("p1", gender="female"), patient("p2", gender="male"))
    assert node.found("Patient?gender=female") == ["Patient/p1"]


def test_a_new_version_is_found_by_what_it_says_and_not_by_what_the_old_one_said(node):
    node.put(patient("p1", gender="female"))
    (newer,) = node.put(patient("p1", gender="male"))
    assert node.found("Patient?gender=female") == []
    assert node.search("Patient?gender=male").matches == [newer]
    assert node.search("Patient?_summary=count").total == 1


def test_what_was_deleted_is_not_found_and_may_come_back(node):
    node.put(patient("p1"))
    node.service.delete("Patient", "p1")
    assert node.found("Patient?") == []
    node.put(patient("p1"))
    assert node.found("Patient?_id=p1") == ["Patient/p1"]


def test_versions_of_one_record_stored_together_leave_the_newest(node):
    records = [node.record(patient("p1", gender="female")), node.record(patient("p1", gender="male"))]
    object.__setattr__(records[1], "version", 2)
    node.service.create_many(records)
    assert [node.found(f"Patient?gender={one}") for one in ("female", "male")] == [[], ["Patient/p1"]]


def test_a_chain_through_a_url_leads_to_the_newest_version_of_what_has_it(node):
    form = {
        "resourceType": "Questionnaire",
        "id": "f",
        "status": "active",
        "url": "http://x.example/f",
        "title": "Pain",
    }
    answer = {"resourceType": "QuestionnaireResponse", "id": "a", "status": "completed", "questionnaire": form["url"]}
    has = "Questionnaire?_has:QuestionnaireResponse:questionnaire:status="
    node.put(answer, form)
    node.put(form | {"title": "Sleep"}, answer | {"status": "amended"})
    asked = ("QuestionnaireResponse?questionnaire.title=pain", "QuestionnaireResponse?questionnaire.title=sleep")
    assert [node.found(text) for text in asked] == [[], ["QuestionnaireResponse/a"]]
    assert [node.found(f"{has}{status}") for status in ("completed", "amended")] == [[], ["Questionnaire/f"]]
    node.service.delete("Questionnaire", "f")
    assert [node.found(text) for text in (asked[1], f"{has}amended")] == [[], []]


@pytest.mark.parametrize(("one", "other"), [("1.0", "2.0"), ("1-draft", "1-FINAL")])
def test_a_url_with_a_version_means_no_other_version_of_a_form(node, one, other):
    """§2.29 (canonical): a version may be appended, and then the resource of that version is meant."""
    url = "http://x.example/f"
    form = {"resourceType": "Questionnaire", "status": "active", "url": url}
    answer = {"resourceType": "QuestionnaireResponse", "status": "completed"}
    node.put(
        form | {"id": "f1", "version": one, "title": "Pain"},
        form | {"id": "f2", "version": other, "title": "Sleep"},
        answer | {"id": "a0", "questionnaire": url},
        answer | {"id": "a1", "questionnaire": f"{url}|{one}"},
        answer | {"id": "a2", "questionnaire": f"{url}|{other}"},
        answer | {"id": "a3", "questionnaire": f"{url}|3"},
    )
    answers, forms = "QuestionnaireResponse", "Questionnaire"
    assert node.found(f"{answers}?questionnaire.title=pain") == [f"{answers}/a0", f"{answers}/a1"]
    assert node.found(f"{answers}?questionnaire.title=sleep&_id=a0,a1,a2") == [f"{answers}/a0", f"{answers}/a2"]
    assert node.found(f"{forms}?_has:{answers}:questionnaire:_id=a2") == [f"{forms}/f2"]
    assert node.found(f"{forms}?_has:{answers}:questionnaire:_id=a3") == []
    included = {
        name: node.included(f"{answers}?_id={name}&_include={answers}:questionnaire") for name in ("a0", "a1", "a3")
    }
    assert included == {"a0": [f"{forms}/f1", f"{forms}/f2"], "a1": [f"{forms}/f1"], "a3": []}
    if one.upper() == one:
        back = node.included(f"{forms}?_id=f1&_revinclude={answers}:questionnaire")
        assert back == [f"{answers}/a0", f"{answers}/a1"]


# Pages and snapshots, §3.1.1.5.3


@pytest.mark.parametrize("order", ["", "&_sort=-birthdate", "&_sort=gender,-_lastUpdated"])
def test_pages_neither_skip_nor_repeat_while_others_write(node, order):
    node.put(*(patient(f"p{at}", birthDate=f"19{50 + at}", gender="male" if at % 2 else "female") for at in range(9)))
    whole = node.found(f"Patient?_count=100{order}")
    rewritten = iter(range(9))

    def write():
        at = next(rewritten)
        node.put(patient(f"p{at}", birthDate=f"20{10 + at}", gender="other"), patient(f"new{at}", birthDate="1900"))
        node.service.delete("Patient", f"p{8 - at}")

    pages = node.pages(f"Patient?_count=2{order}", between=write)
    assert [name for page in pages for name in node.names(page.matches)] == whole
    assert len({page.snapshot for page in pages}) == 1


def test_a_page_shows_the_versions_of_its_snapshot(node):
    first, second = node.put(patient("p1"), patient("p2"))
    page = node.search("Patient?_count=1")
    node.put(patient("p2", gender="male"))
    assert (page.matches, node.search("Patient?_count=1", cursor=page.next).matches) == ([first], [second])


def test_the_last_page_has_no_next(ward):
    assert ward.search("Patient?_count=2").next is None
    assert ward.search("Patient?_count=1").next is not None
    assert len(ward.pages("Patient?_count=1")) == 2


@pytest.mark.parametrize(
    ("about", "ways"),
    [
        (range(15), ["walk"]),
        # More rows than patients: nobody is left who was not asked.
        ([19] * 25, ["walk"]),
        # None of the first fifteen has what is looked for, and more are not asked one by one.
        ([19] * 15, ["walk", "set"]),
        # Four for each of a page, and the one after it, are sooner gathered.
        (range(12), ["set"]),
    ],
)
def test_a_page_of_what_is_referred_to_costs_no_more_than_it_must(node, monkeypatch, about, ways):
    node.put(*(patient(f"p{at}") for at in range(20)))
    node.put(*(observation(f"b{at}", f"p{of}") for at, of in enumerate(about)))
    asked = []

    def page(search, dialect):
        asked.append("walk" if search.end else "set")
        return prepared_page(search, dialect)

    monkeypatch.setattr(indexing, "prepared_page", page)
    found = node.found("Patient?_has:Observation:subject:code=2339-0&_count=2")
    assert found == [f"Patient/p{of}" for of in sorted(set(about))][:2]
    assert asked == ways


def test_of_patients_who_share_a_number_as_owners_each_is_found_by_what_refers_to_that_one(node, monkeypatch):
    monkeypatch.setattr(indexer, "owner_of", lambda _key: 1)
    node.put(*(patient(f"p{at}") for at in range(8)))
    node.put(*(observation(f"b{at}", f"p{at % 4}") for at in range(16)))
    # Of another code; of two patients, and so without an owner.
    node.put(observation("other", "p6", "85354-9"), observation("both", "p4", performer=[{"reference": "Patient/p5"}]))
    pages = node.pages("Patient?_has:Observation:subject:code=2339-0&_count=2")
    assert [name for page in pages for name in node.names(page.matches)] == [f"Patient/p{at}" for at in range(5)]


def test_a_cursor_says_nothing_of_the_search(ward):
    cursor = ward.search("Observation?patient=p1&code=2339-0,85354-9&_count=1").next
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert not [word for word in (b"patient", b"2339", b"Observation", b"p1") if word in raw]
    assert ward.searches.pairs_of(cursor) == [("patient", "p1"), ("code", "2339-0,85354-9"), ("_count", "1")]


@pytest.mark.parametrize("change", [lambda text: text[:-2], lambda text: "A" + text[1:], lambda _: "ä", lambda _: "",
                                    lambda text: text * 2000, lambda text: text[:60] + "AA" + text[62:]])  # fmt: skip
def test_a_changed_cursor_is_refused(ward, change):
    cursor = ward.search("Patient?_count=1").next
    with pytest.raises(InputError, match=r"search\.cursor"):
        ward.search("Patient?_count=1", cursor=change(cursor))


def test_a_cursor_of_another_search_node_or_purpose_is_refused(ward):
    cursor = ward.search("Patient?_count=1").next
    for other in ("Patient?_count=2", "Patient?_count=1&gender=male", "Observation?_count=1"):
        with pytest.raises(InputError, match=r"search\.cursor"):
            ward.search(other, cursor=cursor)
    with pytest.raises(InputError, match=r"search\.cursor"):
        Cursors(bytes(32), LEDGER, lambda: NOW).open(cursor)


def test_a_cursor_ends_after_its_life(ward):
    cursor = ward.search("Patient?_count=1").next
    ward.time += LIFE_S
    assert ward.search("Patient?_count=1", cursor=cursor).matches
    ward.time += 1
    with pytest.raises(NotFoundError, match=r"search\.expired"):
        ward.search("Patient?_count=1", cursor=cursor)


def test_replaced_versions_leave_the_index_once_no_cursor_needs_them(node):
    for gender in ("female", "male", "other"):
        node.put(patient("p1", gender=gender))
    node.service.delete("Patient", "p1")
    node.put(patient("p2"))
    node.store.merge_rows()
    assert node.store.prune_index(NOW - 1, 100) == 0
    assert node.store.prune_index(NOW, 2) == 2
    assert node.store.prune_index(NOW, 100) == 1
    assert count(node, resource) == 1
    assert node.found("Patient?") == ["Patient/p2"]


def count(node, table):
    with node.database.read("table") as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


# Totals, §3.1.1.5.2


def test_a_total_is_told_where_it_is_asked_or_known(ward):
    assert ward.search("Observation?_count=2").total is None
    assert ward.search("Observation?_count=3").total == 3
    assert ward.search("Observation?_count=2&_total=accurate").total == 3
    assert ward.search("Observation?_count=1&_total=estimate&patient=p1").total == 2
    assert ward.search("Observation?_count=0").total == 3
    assert ward.search("Observation?_count=0").matches == []
    assert ward.search("Observation?_summary=count&patient=p2").total == 1


def test_a_total_stays_that_of_the_snapshot(ward):
    first = ward.search("Observation?_count=2&_total=accurate")
    ward.put(observation("b9", "p1"))
    assert ward.search("Observation?_count=2&_total=accurate", cursor=first.next).total == 3


# Several types, compartments


def test_all_types_are_searched_without_a_type(ward):
    """§3.1.1.4.24."""
    assert len(ward.found("?")) == 11
    assert ward.found("?_id=p1,o1") == ["Organization/o1", "Patient/p1"]
    assert ward.found("?_type=Patient,Observation&_lastUpdated=gt2000&_count=1") == ["Patient/p1"]


def test_a_compartment_is_what_its_definition_says(ward):
    """§2.45; a Provenance is in by its `patient`, which the store cannot follow through a reference."""
    query = ward.query("?")
    query.conditions.append(InCompartment("Patient", "p1"))
    found = ward.names(ward.searches.search(query).matches)
    assert found == ["Patient/p1", "Observation/b1", "Observation/b2", "QuestionnaireResponse/r1"]
    query = ward.query("Observation?code=2339-0")
    query.conditions.append(InCompartment("Practitioner", "d1"))
    assert ward.names(ward.searches.search(query).matches) == ["Observation/b1", "Observation/b3"]
    query = ward.query("Organization?")
    query.conditions.append(InCompartment("Patient", "p1"))
    assert ward.searches.search(query).matches == []


def test_what_refers_to_several_patients_is_found_within_each(ward):
    ward.put(observation("b7", "p1", "718-7", performer=[{"reference": "Patient/p2"}]))
    assert ward.found("Observation?patient=p1&code=718-7&status=final") == ["Observation/b7"]
    assert ward.found("Observation?performer=Patient/p2&code=718-7") == ["Observation/b7"]
    assert ward.found("Observation?patient=p2&code=718-7") == []
    assert ward.found("Observation?patient=p1,p2&code=2339-0,718-7") == [
        f"Observation/{one}" for one in ("b1", "b3", "b7")
    ]


def test_patients_who_share_an_owner_are_kept_apart(ward, monkeypatch):
    monkeypatch.setattr("fhir_bridge.search.indexer.owner_of", lambda _key: 5)
    monkeypatch.setattr("fhir_bridge.search.plan.owner_of", lambda _key: 5)
    ward.put(observation("c1", "p1", "718-7"), observation("c2", "p2", "718-7"))
    assert ward.found("Observation?patient=p1&code=718-7") == ["Observation/c1"]
    assert ward.found("Observation?code=718-7", within=[HER_OWN]) == ["Observation/c1"]


def test_within_one_patient_a_patient_is_found_whichever_owner_the_rows_have(ward, monkeypatch):
    """Files hold rows of before, which say whose a Patient is, beside those of today."""
    with monkeypatch.context() as before:
        before.setattr(Indexer, "_owner", lambda _self, _rows: owner_of("Patient/old"))
        ward.put({"resourceType": "Patient", "id": "old", "gender": "other"})
    ward.put({"resourceType": "Patient", "id": "new", "gender": "other"})
    for name in ("old", "new"):
        for text in ("Patient?gender=other", "?_type=Patient,Person&gender=other"):
            query = ward.query(text)
            query.conditions.append(InCompartment("Patient", name))
            assert ward.names(ward.searches.search(query).matches) == [f"Patient/{name}"]


# Includes, §3.1.1.5.4


@pytest.mark.parametrize(
    ("text", "included"),
    [
        ("Observation?_id=b1&_include=Observation:subject", ["Patient/p1"]),
        ("Observation?_include=Observation:subject", ["Patient/p1", "Patient/p2"]),
        ("Observation?_id=b1&_include=Observation:performer:Practitioner", ["Practitioner/d1"]),
        ("Observation?_id=b1&_include=Observation:performer:Organization", []),
        ("Observation?_id=b1&_include=Observation:*", ["Patient/p1", "Practitioner/d1"]),
        ("Observation?_id=b1&_include=*", ["Patient/p1", "Practitioner/d1"]),
        ("Observation?_id=b2&_include=Observation:has-member", ["Observation/b1"]),
        ("Observation?_id=b2&_include=Observation:has-member&_include=Observation:performer", ["Observation/b1"]),
        ("Observation?_id=b2&_include=Observation:has-member&_include:iterate=Observation:performer",
         ["Observation/b1", "Practitioner/d1"]),
        ("Observation?_id=b1&_include=Observation:subject&_include:iterate=Patient:organization",
         ["Organization/o1", "Patient/p1"]),
        ("Patient?_id=p1&_revinclude=Observation:subject", ["Observation/b1", "Observation/b2"]),
        ("Patient?_id=p1&_revinclude=Observation:subject&_revinclude:iterate=Provenance:target",
         ["Observation/b1", "Observation/b2", "Provenance/v1"]),
        ("Patient?_id=p1&_revinclude=*", ["List/l1", "Observation/b1", "Observation/b2", "QuestionnaireResponse/r1"]),
        ("Patient?_id=p1&_revinclude=Observation:*", ["Observation/b1", "Observation/b2"]),
        ("Practitioner?_revinclude=Observation:performer", ["Observation/b1", "Observation/b3"]),
        ("QuestionnaireResponse?_include=QuestionnaireResponse:questionnaire", ["Questionnaire/q1"]),
        ("Questionnaire?_revinclude=QuestionnaireResponse:questionnaire", ["QuestionnaireResponse/r1"]),
        ("Patient?_id=p1&_include=Observation:subject", []),
    ],
)  # fmt: skip
def test_what_is_included(ward, text, included):
    assert ward.included(text) == included


def test_an_include_shows_the_version_of_the_snapshot(ward):
    first = ward.search("Observation?_include=Observation:subject&_count=1")
    ward.put(patient("p1", gender="other"))
    second = ward.search("Observation?_include=Observation:subject&_count=1", cursor=first.next)
    assert first.included == second.included


def test_rounds_of_includes_have_an_end(node):
    node.put(*(
        {"resourceType": "Organization", "id": f"o{at}", "partOf": {"reference": f"Organization/o{(at + 1) % 15}"}}
        for at in range(15)
    ))  # fmt: skip
    found = node.search("Organization?_id=o0&_include:iterate=Organization:partof")
    assert (len(found.included), found.is_cut) == (10, True)


# What the caller may see


HER_OWN = ByType((
    ("Patient", (InCompartment("Patient", "p1"),)),
    ("Observation", (InCompartment("Patient", "p1"),)),
))  # fmt: skip


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Observation?", ["Observation/b1", "Observation/b2"]),
        ("Observation?subject=Patient/p2", []),
        ("?", ["Patient/p1", "Observation/b1", "Observation/b2"]),
        ("Practitioner?", []),
        ("Observation?subject:Patient.gender=female", ["Observation/b1", "Observation/b2"]),
        ("Observation?subject:Patient.gender=male", []),
        ("Observation?performer:Practitioner.name=joe", []),
        ("Patient?_has:Observation:subject:code=2339-0", ["Patient/p1"]),
        ("Patient?_has:List:item:_id=l1", []),
        ("Patient?_list=l1", []),
        ("Patient?organization.name=north", []),
        ("Patient?organization.name:missing=true", []),
    ],
)
def test_nothing_is_found_through_what_the_caller_may_not_see(ward, text, names):
    page = ward.search(f"{text}&_total=accurate", within=[HER_OWN])
    assert (ward.names(page.matches), page.total) == (names, len(names))


def test_nothing_is_included_that_the_caller_may_not_see(ward):
    assert ward.included("Observation?_include=*&_revinclude=*", within=[HER_OWN]) == ["Patient/p1"]
    assert ward.included("Patient?_revinclude=*&_revinclude:iterate=*", within=[HER_OWN]) == [
        "Observation/b1",
        "Observation/b2",
    ]
    assert ward.included("Practitioner?_revinclude=Observation:performer", within=[HER_OWN]) == []


def test_a_condition_that_a_type_has_not_admits_none_of_it(ward):
    codes = ward.query("Observation?code=2339-0").conditions
    assert ward.found("?", within=codes) == ["Observation/b1", "Observation/b3"]
    assert ward.included("Observation?_include=*", within=codes) == []


def test_of_several_rights_one_is_enough(ward):
    rights = Either((HER_OWN, ByType((("Practitioner", ()),))))
    assert ward.included("Observation?_include=*", within=[rights]) == ["Patient/p1", "Practitioner/d1"]
    assert ward.found("Observation?", within=[Either(())]) == []


def test_the_gate_looks_at_matches_and_at_what_comes_with_them(ward):
    hidden = set(ward.search("Observation?_id=b1").matches) | set(ward.search("Patient?_id=p2").matches)

    def gate(numbers):
        return [number not in hidden for number in numbers]

    page = ward.search("Observation?_include=*&_count=1&_total=accurate", gate=gate)
    assert (ward.names(page.matches), page.total) == (["Observation/b2"], 2)
    assert ward.names(page.included) == ["Patient/p1"]
    last = ward.search("Observation?_include=*&_count=1&_total=accurate", gate=gate, cursor=page.next)
    assert (ward.names(last.matches), ward.names(last.included)) == (["Observation/b3"], ["Practitioner/d1"])
    for text in (
        "Observation?subject:Patient.gender=male",
        "Patient?_has:Observation:subject:code=1",
        "Patient?_list=l1",
    ):
        with pytest.raises(InputError, match=r"search\.unsupported"):
            ward.search(text, gate=gate)


# Conditions of conditional interactions, §3.1.0.8.1


def test_a_condition_finds_ids(ward):
    ids = ward.searches.ids
    assert ids("Patient", "identifier=urn:mrn|A1") == ["p1"]
    assert ids("Patient", "identifier=urn%3Amrn%7CA9") == []
    assert ids("Observation", "subject=Patient/p1&code=2339-0") == ["b1"]
    assert ids("Observation", "status=final") == ["b1", "b2"]
    assert ids("Observation", "status=final", 9, within=[HER_OWN]) == ["b1", "b2"]


@pytest.mark.parametrize("text", ["", "identifier", "_sort=_id", "gender=", "%"])
def test_a_condition_that_says_nothing_is_refused(ward, text):
    with pytest.raises(InputError, match=r"search\.condition"):
        ward.searches.ids("Patient", text)


def test_an_unknown_parameter_does_not_widen_a_condition(ward):
    with pytest.raises(InputError, match=r"search\.parameter"):
        ward.searches.ids("Patient", "identifier=urn:mrn|A1&colour=red")


# The index and the records


def test_of_an_erased_patient_no_row_is_left(ward):
    names = {"name": [{"family": "Zhang"}]}
    ward.put(patient("p3") | names, observation("b8", "p3"), patient="p3")
    ward.put(patient("p3", gender="male") | names, patient="p3")
    ward.store.merge_rows()
    before = count(ward, entry)
    token = ward.service.patient_token("p3")
    ward.store.erase_patient(token, ward.store.living_epochs(token), NOW, b"{}")
    assert count(ward, entry) < before
    assert ward.found("?_id=p3,b8") == []
    with ward.database.read("entry") as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM entry WHERE key LIKE 'zhang%' OR key = 'Patient/p3'")
        assert rows.scalar_one() == 0


def test_a_search_is_refused_while_records_have_no_rows(ward):
    ward.service = RecordService(ward.store, LEDGER, KEY, lambda: NOW)
    ward.put(patient("p7"))
    assert ward.store.unindexed_count() == 1
    with pytest.raises(UnavailableError, match=r"search\.indexing"):
        ward.search("Patient?")
    with pytest.raises(UnavailableError, match=r"search\.indexing"):
        ward.searches.ids("Patient", "_id=p7")


def test_rows_of_another_state_of_the_index_are_made_again(node):
    node.put(patient("p1"))
    before = node.index.generation
    with node.database.write("index_state") as connection:
        connection.exec_driver_sql("UPDATE index_state SET generation = generation + 1")
    node.put(patient("p2", gender="male"))
    assert node.index.generation == before + 1
    assert node.found("Patient?gender=male") == ["Patient/p2"]
    stored = replace(node.store.get("Patient", "p2"), version=3)
    with pytest.raises(ConflictError, match=r"store\.conflict"):
        node.store.put_versions([stored], index=[IndexRows((), 0, before)])


def test_contained_resources_are_not_looked_for_among_rows_or_by_conditions(ward):
    with pytest.raises(InputError, match=r"search\.unsupported"):
        ward.search("Patient?_contained=true")
    # FHIR R4 §2.29: what is contained has no identity of its own that a condition could name.
    with pytest.raises(InputError, match=r"search\.unsupported"):
        ward.searches.ids("Patient", "_id=p1&_contained=true")
