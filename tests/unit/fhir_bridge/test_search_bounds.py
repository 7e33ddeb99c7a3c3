"""Searches that are too long, or ask for too much, by every way that a search can come in (`docs/spec/rest.md` 8)."""

from __future__ import annotations

import json
from contextlib import contextmanager
from urllib.parse import unquote

import pytest

from fhir_bridge.search.budget import MAX_CHARS
from tests.unit.fhir_bridge.conftest import opened

FORM = {"Content_Type": "application/x-www-form-urlencoded"}
PATIENT = {"resourceType": "Patient"}
OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """One node for all: nothing is stored."""
    with contextmanager(opened)(tmp_path_factory.mktemp("bounds")) as server:
        yield server


def bundle(kind: str, request: dict, resource: dict | None = None) -> dict:
    """A Bundle of one entry."""
    entry = {"request": request} | ({} if resource is None else {"resource": resource})
    return {"resourceType": "Bundle", "type": kind, "entry": [entry]}


def parameters(name: str, value: str) -> dict:
    return {"resourceType": "Parameters", "parameter": [{"name": name, "valueString": value}]}


ENTRANCES = {
    "GET": lambda text: ("GET", f"Patient?{text}", None, {}),
    "GET of all types": lambda text: ("GET", f"?_type=Patient&{text}", None, {}),
    "GET in a compartment": lambda text: ("GET", f"Patient/p1/Observation?{text}", None, {}),
    "POST": lambda text: ("POST", "Patient/_search", text.encode(), FORM),
    "POST of all types": lambda text: ("POST", "_search", text.encode(), FORM),
    "POST in a compartment": lambda text: ("POST", "Patient/p1/Observation/_search", text.encode(), FORM),
    "history": lambda text: ("GET", f"Patient/_history?{text}", None, {}),
    "conditional create": lambda text: ("POST", "Patient", PATIENT, {"If_None_Exist": text}),
    "conditional update": lambda text: ("PUT", f"Patient?{text}", PATIENT, {}),
    "conditional patch": lambda text: (
        "PATCH",
        f"Patient?{text}",
        [{"op": "add", "path": "/active", "value": True}],
        {"Content_Type": "application/json-patch+json"},
    ),
    "conditional delete": lambda text: ("DELETE", f"Patient?{text}", None, {}),
    "transaction, create": lambda text: (
        "POST",
        "",
        bundle("transaction", {"method": "POST", "url": "Patient", "ifNoneExist": text}, PATIENT),
        {},
    ),
    "transaction, update": lambda text: (
        "POST",
        "",
        bundle("transaction", {"method": "PUT", "url": f"Patient?{text}"}, PATIENT),
        {},
    ),
    "transaction, delete": lambda text: (
        "POST",
        "",
        bundle("transaction", {"method": "DELETE", "url": f"Patient?{text}"}),
        {},
    ),
    "transaction, search": lambda text: (
        "POST",
        "",
        bundle("transaction", {"method": "GET", "url": f"Patient?{text}"}),
        {},
    ),
    "batch, search": lambda text: ("POST", "", bundle("batch", {"method": "GET", "url": f"Patient?{text}"}), {}),
    "conditional reference": lambda text: (
        "POST",
        "",
        bundle(
            "transaction",
            {"method": "POST", "url": "Observation"},
            OBSERVATION | {"subject": {"reference": f"Patient?{text}"}},
        ),
        {},
    ),
    "export": lambda text: (
        "POST",
        "$export",
        parameters("_typeFilter", f"Patient?{text}"),
        {"Prefer": "respond-async"},
    ),
}


def refused_at(node, entrance: str, text: str, **headers: str) -> tuple[int, dict]:
    """Send a search by one way; returns the status and the issue, of the entry where that is refused alone."""
    method, path, body, fields = ENTRANCES[entrance](text)
    response = node.call(method, f"/fhir/{path}".removesuffix("/"), body, **fields, **headers)
    answer, status = json.loads(response.data), response.status_code
    if answer["resourceType"] == "Bundle":
        row = answer["entry"][0]["response"]
        answer, status = row["outcome"], int(row["status"][:3])
    return status, answer["issue"][0]


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_search_that_is_too_long_is_refused_wherever_it_comes_in(node, entrance):
    for language, said in (("en", "The search is too long."), ("zh", "查询过长。")):
        status, issue = refused_at(node, entrance, "name=" + "a" * MAX_CHARS, Accept_Language=language)
        assert (status, issue["code"], issue["details"]["text"]) == (400, "too-long", said)
        assert issue["details"]["coding"][0]["code"] == "search.too_long"
        named = "_typeFilter" if entrance == "export" else "name"
        assert f"parameter={named}" in issue["diagnostics"]
        assert f"limit={MAX_CHARS}" in issue["diagnostics"]
    assert node.store.newest_records("Patient") + node.store.newest_records("Observation") == []


# What stands in an address or a head has at most 8 KiB (`medchain.web.server`).
IN_BODIES = [name for name in ENTRANCES if name.startswith(("POST", "transaction", "batch"))]


@pytest.mark.parametrize("entrance", [*IN_BODIES, "conditional reference", "export"])
def test_attack_a_search_of_megabytes_is_decoded_nowhere(node, monkeypatch, entrance):
    """`urllib.parse` takes some eighty bytes for each character that it decodes: 2.5 GB for the largest body."""
    decoded = []

    def noted(text: str, *given: str, **named: str) -> str:
        decoded.append(len(text))
        return unquote(text, *given, **named)

    monkeypatch.setattr("urllib.parse.unquote", noted)
    status, _ = refused_at(node, entrance, "name=" + "%41" * (1 << 18))
    assert status == 400
    assert max(decoded, default=0) <= MAX_CHARS


@pytest.mark.parametrize("entrance", sorted(ENTRANCES.keys() - {"history"}))
def test_more_alternatives_than_a_parameter_may_have_are_refused_wherever_they_come_in(node, entrance):
    text = "_id=" + ",".join(map(str, range(1_001)))
    status, issue = refused_at(node, entrance, text)
    assert (status, issue["code"], issue["details"]["coding"][0]["code"]) == (400, "too-costly", "search.too_many")
    assert "limit=1000" in issue["diagnostics"]
    assert "parameter=_id" in issue["diagnostics"]
