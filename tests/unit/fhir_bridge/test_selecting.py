"""What another organisation's search finds at the custodian, and what no search may decide by."""

from __future__ import annotations

import json

import pytest

from fhir_bridge.selecting import SearchSelection
from medchain.errors import InputError


@pytest.fixture
def selection(server):
    """A custodian with a patient whose name an observation's search must not tell."""
    server.call("PUT", "/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1", "name": [{"family": "Wang"}]})
    return SearchSelection(server.core.search, server.core.judge)


def observation(name: str = "o1", **more: object) -> bytes:
    made = {"resourceType": "Observation", "id": name, "subject": {"reference": "Patient/p1"}, "status": "final"}
    return json.dumps(made | more).encode()


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("status=final", True),
        ("status=amended", False),
        ("status:not=final", False),
        ("patient=p1", True),
        ("patient=Patient/p2", False),
        ("status=final&patient=p1", True),
        ("status=final&patient=p2", False),
        ("_id=o1,o2", True),
        ("_id=o2", False),
    ],
)
def test_a_record_is_found_by_what_it_says_itself(selection, query, is_found):
    assert selection.of("Observation", query).finds(observation()) == is_found


@pytest.mark.parametrize(
    ("query", "ids"), [("_id=o1,o2", {"o1", "o2"}), ("status=final&_id=o1", {"o1"}), ("status=final", None)]
)
def test_only_records_that_are_named_are_opened(selection, query, ids):
    assert selection.of("Observation", query).ids == (None if ids is None else frozenset(ids))


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{"])
def test_what_is_no_resource_is_not_found(selection, content):
    assert not selection.of("Observation", "status=final").finds(content)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subject:Patient.name=Wang", "release.query"),
        ("patient.family=Wang", "release.query"),
        ("_has:Provenance:target:_id=x", "release.query"),
        ("_list=l1", "release.query"),
        ("colour=red", "search.parameter"),
        ("_contained=true&status=final", "search.unsupported"),
        ("_count=5", "search.condition"),
        ("status", "search.condition"),
    ],
)
def test_attack_a_search_asks_for_what_other_records_say(selection, query, code):
    """A grant to observations would otherwise tell, by what is found, what the patient's record says."""
    with pytest.raises(InputError) as caught:
        selection.of("Observation", query)
    assert caught.value.code == code
