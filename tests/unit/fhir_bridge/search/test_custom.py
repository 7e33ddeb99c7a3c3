"""Search parameters that SearchParameter resources define: used once every record has their rows."""

from __future__ import annotations

import pytest

from fhir_bridge.search import index_job
from fhir_bridge.search.custom import check_parameter, read_custom
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.index_job import IndexJob
from medchain.errors import ConflictError, InputError


def parameter(record_id="eye", **more: object):
    return {
        "resourceType": "SearchParameter",
        "id": record_id,
        "url": f"http://x.example/{record_id}",
        "status": "active",
        "code": record_id,
        "base": ["Patient"],
        "type": "token",
        "expression": "Patient.extension('http://x.example/eye').value.ofType(code)",
        **more,
    }


def simple(record_id="nick", **more: object):
    return parameter(record_id, expression="Patient.name.text", type="string") | more


def patient(record_id, text, **more: object):
    return {"resourceType": "Patient", "id": record_id, "name": [{"text": text}], **more}


@pytest.fixture
def job(node):
    return IndexJob(node.store, node.service, node.index, lambda: node.time)


def finish(job):
    for _ in range(100):
        if not job.step():
            return


def found(node, text, **more: object):
    node.index.refresh()
    return node.found(text, **more)


def test_a_new_parameter_finds_older_and_newer_records(node, job):
    node.put(patient("a", "Tom"), patient("b", "Ann"))
    node.put(simple())
    finish(job)
    node.put(patient("c", "Tommy"))
    assert found(node, "Patient?nick=tom") == ["Patient/a", "Patient/c"]
    assert found(node, "Patient?nick:missing=true") == []


def test_a_parameter_is_not_used_before_every_record_has_its_rows(node, job, monkeypatch):
    monkeypatch.setattr(index_job, "BATCH", 1)
    node.put(patient("a", "Tom"), patient("b", "Tommy"))
    node.put(simple())
    job.step()
    (row,) = node.store.custom_parameters()
    assert (row.is_active, row.position) == (False, 1)
    assert len(found(node, "Patient?nick=tom")) == 2
    assert [one.parameter for one in node.query("Patient?nick=tom").problems] == ["nick"]
    # Another process goes on where this one ended; what is stored meanwhile has its rows already.
    node.put(patient("c", "Tom"))
    finish(IndexJob(node.store, node.service, node.index, lambda: node.time))
    assert found(node, "Patient?nick=tommy") == ["Patient/b"]
    assert found(node, "Patient?nick=tom") == ["Patient/a", "Patient/b", "Patient/c"]


def test_a_process_that_knows_nothing_of_it_yet_stores_its_rows_all_the_same(node):
    node.put(simple())
    job_of_other = IndexJob(node.store, node.service, SearchIndex(node.store), lambda: node.time)
    finish(job_of_other)
    node.put(patient("a", "Tom"))
    assert found(node, "Patient?nick=tom") == ["Patient/a"]


def test_a_changed_parameter_finds_by_what_it_says_now(node, job):
    node.put(patient("a", "Tom", gender="male"), simple())
    finish(job)
    node.put(simple(expression="Patient.gender", type="token"))
    finish(job)
    assert found(node, "Patient?nick=male") == ["Patient/a"]
    assert found(node, "Patient?nick=tom") == []


@pytest.mark.parametrize("steps", [1, 2, 4, 9])
def test_a_search_by_a_parameter_that_another_process_is_changing_is_never_answered_in_part(node, monkeypatch, steps):
    """The rows of what the parameter was go at once, those of what it is come step by step."""
    monkeypatch.setattr(index_job, "BATCH", 1)
    node.put(*(patient(name, "Tom", gender="male") for name in "abc"), patient("d", "Ann"), simple())
    other = IndexJob(node.store, node.service, SearchIndex(node.store), lambda: node.time)
    finish(other)
    node.index.refresh()
    query = node.query("Patient?nick=tom&_total=accurate")
    node.put(simple(expression="Patient.name.text | Patient.gender"))
    for _ in range(steps):
        other.step()
    with pytest.raises(ConflictError) as caught:
        node.searches.search(query)
    assert caught.value.fields == {"table": "index_state"}
    found = node.searches.anew(lambda: node.search("Patient?nick=tom"))
    # Unknown until every record has its rows, and told so.
    unknown = [one.parameter for one in node.query("Patient?nick=tom").problems]
    assert (found.total, unknown) == ((3, []) if steps == 9 else (4, ["nick"]))


def test_a_condition_on_a_parameter_that_becomes_another_is_asked_of_what_it_is_now(node, job):
    node.put(patient("a", "Tom", gender="male"), simple())
    finish(job)
    other = SearchIndex(node.store)
    node.index.refresh()
    node.put(simple(expression="Patient.gender"))
    finish(IndexJob(node.store, node.service, other, lambda: node.time))
    assert node.searches.ids("Patient", "nick=male") == ["a"]


def test_what_is_included_by_a_parameter_that_goes_meanwhile_is_asked_for_again(node, job, monkeypatch):
    seen = simple("seen", base=["Observation"], type="reference", expression="Observation.performer")
    node.put(patient("a", "Tom"), seen, {"resourceType": "Practitioner", "id": "d"})
    performed = {"performer": [{"reference": "Practitioner/d"}], "code": {"text": "x"}, "status": "final"}
    node.put({"resourceType": "Observation", "id": "o", **performed})
    finish(job)
    node.index.refresh()
    text = "Observation?_include=Observation:seen"
    assert node.included(text) == ["Practitioner/d"]
    linked = node.store.linked

    def first_dropped(*given: object):
        node.store.drop_custom(seen["url"], [("Observation", "seen")])
        monkeypatch.undo()
        return [*linked(*given), ("Practitioner/d", "")]

    monkeypatch.setattr(type(node.store), "linked", lambda _store, *given: first_dropped(*given))
    with pytest.raises(ConflictError, match=r"store\.conflict"):
        node.search(text)


def test_a_parameter_that_is_retired_or_deleted_is_unknown_again(node, job):
    node.put(patient("a", "Tom"), simple(), simple("other"))
    finish(job)
    node.put(simple(status="retired"))
    node.service.delete("SearchParameter", "other")
    finish(job)
    assert node.store.custom_parameters() == []
    node.index.refresh()
    for code in ("nick", "other"):
        with pytest.raises(InputError, match=r"search\.parameter"):
            node.searches.ids("Patient", f"{code}=tom")


def test_a_parameter_of_all_types_is_one_of_each(node, job):
    node.put({"resourceType": "Group", "id": "g", "implicitRules": "http://x.example/r"})
    node.put(parameter("rules", base=["Resource"], type="uri", expression="Resource.implicitRules"))
    finish(job)
    assert found(node, "Group?rules=http://x.example/r") == ["Group/g"]
    assert len(node.store.custom_parameters()) == 1


def test_new_rows_are_not_lost_when_all_is_indexed_anew(node, job):
    node.put(patient("a", "Tom"), simple())
    finish(job)
    with node.database.write("index_state") as connection:
        connection.exec_driver_sql("UPDATE index_state SET format = 0")
    node.open()
    finish(IndexJob(node.store, node.service, node.index, lambda: node.time))
    assert found(node, "Patient?nick=tom") == ["Patient/a"]


def test_of_two_with_one_name_the_first_counts(node, job):
    node.put(patient("a", "Tom", gender="male"), simple())
    node.put(simple("again", code="nick", expression="Patient.gender", type="token"))
    finish(job)
    assert found(node, "Patient?nick=tom") == ["Patient/a"]
    assert [row.url for row in node.store.custom_parameters()] == ["http://x.example/nick"]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "draft"},
        {"url": ""},
        {"code": "gender"},
        {"code": "_id"},
        {"code": "a b"},
        {"type": "composite"},
        {"type": "magic"},
        {"expression": ""},
        {"expression": "Patient.name.text +"},
        {"expression": "Patient.colour"},
        {"expression": "Observation.status"},
        {"expression": "Patient." + "name." * 1000},
        {"base": ["Elsewhere"]},
        {"base": "Patient"},
    ],
)
def test_what_is_no_parameter_is_passed_over(node, job, change):
    assert read_custom(simple(**change)) is None
    node.put(simple(**change))
    finish(job)
    assert node.store.custom_parameters() == []


def test_what_hl7_defines_stays_as_it_is(node, job):
    node.put(patient("a", "Tom", gender="male"))
    node.put(parameter("gender", expression="Patient.name.text", type="token", base=["Patient", "Group"]))
    finish(job)
    assert found(node, "Patient?gender=male") == ["Patient/a"]


@pytest.mark.parametrize(
    ("expression", "severity", "rule", "expected"),
    [
        # FHIRPath 2.0.0 §2, grammar: told from which character on it is none.
        ("Patient.name.where(", "error", "expression", "20"),
        ("Patient..name", "error", "expression", "9"),
        ("Patient.name.text) | Patient.id", "error", "expression", "18"),
        ("(" * 300, "error", "expression", "1"),
        # FHIRPath that leads to nothing: an element that R4 has not, a value of another kind.
        ("Patient.nmae.text", "error", "nowhere", "Patient"),
        ("Patient.active.value.ofType(Quantity)", "error", "nowhere", "Patient"),
        # FHIRPath that searches here do not use is a parameter that others may use.
        ("Patient.name.where(use.hasValue()).text", "warning", "unused", ""),
    ],
)
def test_who_sends_an_expression_that_finds_nothing_is_told(expression, severity, rule, expected):
    (issue,) = check_parameter(simple(expression=expression))
    assert (issue.severity, issue.rule, issue.expected) == (severity, rule, expected)
    assert issue.expression == "SearchParameter.expression"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"expression": "Patient.nmae", "status": "draft"},
        # HL7's own say what HL7 says.
        {"expression": "Patient.nmae", "code": "name"},
        {"expression": "Patient.nmae", "type": "special"},
        {"expression": None},
    ],
)
def test_an_expression_that_is_used_or_none_of_ours_is_right(more):
    assert check_parameter(simple(**more)) == []


def test_the_expressions_of_a_composite_are_read_too():
    (issue,) = check_parameter(composite(given="given", family="family as"))
    assert (issue.severity, issue.expression) == ("error", "SearchParameter.component[1].expression")


HL7 = "http://hl7.org/fhir/SearchParameter/individual-"


def composite(record_id="full", expression="Patient.name", **parts: str):
    """Define one of HL7's parameters of people, each by where its value lies."""
    rows = [{"definition": HL7 + name, "expression": where} for name, where in parts.items()]
    return parameter(record_id, type="composite", expression=expression, component=rows)


def test_a_composite_finds_what_belongs_together(node, job):
    """R4 §2.44 (component), §3.1.1.4.17: by the rows of HL7's parameters, as a composite of HL7's."""
    both = [{"given": ["Eve"], "family": "Adams"}, {"given": ["Ada"], "family": "Bell"}]
    node.put({"resourceType": "Patient", "id": "a", "name": both, "gender": "female"})
    node.put(
        composite(given="given", family="family"), composite("kind", "Patient", given="name.given", gender="gender")
    )
    finish(job)
    assert found(node, "Patient?full=eve$adams") == ["Patient/a"]
    assert found(node, "Patient?full=eve$bell,ada$bell") == ["Patient/a"]
    assert found(node, "Patient?full=eve$bell") == []
    assert found(node, "Patient?kind=ada$female") == ["Patient/a"]
    assert found(node, "Patient?kind=ada$male") == []
    assert check_parameter(composite(given="given", family="family")) == []


@pytest.mark.parametrize(
    "parts",
    [
        {"given": "given"},
        # Compared as text, which a date is not; nothing of HL7's lies there; nothing is called so.
        {"given": "given", "family": "period"},
        {"given": "given", "gender": "family"},
        {"given": "given", "none": "family"},
        dict.fromkeys(("given", "family", "gender", "address", "email", "phone", "telecom", "phonetic", "x"), "given"),
    ],
)
def test_a_composite_that_nothing_answers_for_is_stored_with_a_warning(parts):
    made = composite(**parts)
    assert read_custom(made) is None
    (issue,) = check_parameter(made)
    assert (issue.severity, issue.rule) == ("warning", "unused")


def test_a_draft_that_is_no_fhirpath_is_stored_with_a_warning():
    """R4 §2.44: `expression` is a string to its rules, and only an active parameter is used."""
    (issue,) = check_parameter(simple(expression="Patient..name", status="draft"))
    assert (issue.severity, issue.rule, issue.expected) == ("warning", "expression", "9")
