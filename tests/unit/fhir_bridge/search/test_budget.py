"""What one search may come to, and that what is within it is answered (sqlite.org/limits.html)."""

from __future__ import annotations

import time

import pytest

from fhir_bridge.search.budget import MAX_CHARS, check_length
from medchain.errors import InputError
from medchain.store.finding import AnyOf, Ids, Match, OfType, Row, Search, Updated


def joined(form: str, count: int) -> str:
    return ",".join(form.format(number) for number in range(count))


def found(node, text: str) -> list[int]:
    return node.searches.search(node.query(text)).matches


@pytest.fixture
def kept(node):
    node.put({"resourceType": "Patient", "id": "p999", "name": [{"family": "Smith", "given": ["Ann"]}]})
    weight = {"value": 5, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"}
    code = {"coding": [{"system": "http://loinc.org", "code": "c999"}]}
    subject = {"reference": "Patient/p999"}
    body = {"resourceType": "Observation", "id": "o1", "status": "final", "code": code, "subject": subject}
    node.put(body | {"valueQuantity": weight, "effectiveDateTime": "2020-01-01"})
    return node


@pytest.mark.parametrize(
    "text",
    [
        "Patient?_id=" + joined("p{}", 1_000),
        "Observation?code=" + joined("c{}", 1_000),
        "Observation?code=" + joined("http://loinc.org|c{}", 1_000),
        "Observation?subject=" + joined("p{}", 1_000),
        "?_id=" + joined("p{}", 1_000),
    ],
)
def test_a_thousand_ids_or_codes_are_looked_up(kept, text):
    assert len(found(kept, text)) == 1


@pytest.mark.parametrize(
    ("form", "most"),
    [
        ("Observation?value-quantity={}", 123),
        ("Observation?value-quantity={}|http://unitsofmeasure.org|kg", 123),
        ("Observation?value-quantity=ne{}", 82),
        ("Observation?date={}", 244),
        ("Patient?_lastUpdated={}", 244),
        ("Patient?name=ann x{}", 244),
        ("Patient?name:contains=mith{}", 32),
        ("Patient?name:text=mith{}", 32),
        ("Observation?code:text=mith{}", 476),
        ("Observation?code=urn:s{0}|c{0}", 476),
        ("Observation?code-value-quantity=c{0}${0}", 99),
    ],
)
def test_what_is_compared_is_answered_up_to_the_limit_and_refused_beyond_it(kept, form, most):
    """By docs/spec/rest.md: 5 + n + 20 (an - 1) parts for n values of a alternatives each, 10,000 in all.

    A text that may stand anywhere is 290 more.
    """
    name, _, value = form.partition("=")
    values = [value.format(number + 1_000) for number in range(most + 1)]
    found(kept, f"{name}={','.join(values[:most])}")
    with pytest.raises(InputError, match=r"search\.too_many") as refused:
        found(kept, f"{name}={','.join(values)}")
    assert refused.value.fields["limit"] == 10_000


def test_a_search_is_refused_before_it_costs_anything(kept):
    began = time.thread_time()
    for text in (
        "Observation?" + "&".join(["code=" + joined("c{}", 1_000)] * 30),
        "Observation?code-value-quantity=" + joined("c{0}${0}", 1_000),
        "?" + "&".join(["_tag:missing=false"] * 250),
        "Provenance?target=" + joined("p{}", 1_000),
        "&".join(["Patient?name:contains=a", *(f"family:contains=a{number}" for number in range(33))]),
        # Each address above it has all of these characters.
        f"ValueSet?url:above=http://{'x' * 100_000}{'/' * 100}",
    ):
        with pytest.raises(InputError, match=r"search\.too_many"):
            found(kept, text)
    assert time.thread_time() - began < 5


def test_the_largest_search_of_all_types_costs_by_its_size(kept):
    """Half a second; when each bound value cost as much as all of them, 134 s."""
    began = time.thread_time()
    assert found(kept, "?" + "&".join(f"_source=urn:s{number}" for number in range(250))) == []
    assert time.thread_time() - began < 10


def test_a_list_that_is_named_a_thousand_times_is_planned_once(kept):
    """§3.1.1.4.22; a thousand plans took minutes."""
    once = kept.query("AllergyIntolerance?_list=$current-allergies")
    assert kept.query("AllergyIntolerance?_list=" + joined("$current-allergies", 1_000)).conditions == once.conditions


@pytest.mark.parametrize(
    "condition",
    [
        Row(tuple(Match(number, keys=("x",)) for number in range(600))),
        AnyOf(tuple(OfType((str(number),)) for number in range(1_200))),
        Updated(tuple(((">=", number),) for number in range(1_200))),
        Ids(tuple(map(str, range(250_001)))),
    ],
)
def test_a_question_beyond_the_limits_of_sql_is_no_fault_of_the_disk(node, condition):
    with pytest.raises(InputError, match=r"search\.too_many"):
        node.store.find_page(Search(("Patient",), (condition,)))


def test_a_search_of_all_characters_that_it_may_have_is_answered(kept):
    name = "Patient?name:exact="
    assert found(kept, name + "a" * (MAX_CHARS - len(name))) == []
    with pytest.raises(InputError, match=r"search\.too_long"):
        found(kept, "Patient?" + "&".join(["name:exact=" + "a" * (MAX_CHARS // 2)] * 2))


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("a=1&name=" + "x" * MAX_CHARS, "name"),
        ("a=1&" + "%6E" * 64 + "=" + "x" * MAX_CHARS, "n" * 64),
        ("x" * MAX_CHARS + "=1", ""),
        # What a client calls a parameter is not repeated where it is no name.
        ("%3Cb%3E=" + "x" * MAX_CHARS, ""),
        ("a=1&" * (MAX_CHARS // 4) + "b=1", "b"),
    ],
)
def test_a_search_that_is_too_long_says_by_which_parameter(query, name):
    with pytest.raises(InputError) as refused:
        check_length(query)
    assert refused.value.fields == {"parameter": name, "limit": MAX_CHARS}
