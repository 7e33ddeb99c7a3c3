"""The OpenAPI description: judged by a validator that others keep, and called line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from fhir_bridge.capability import served_types
from fhir_bridge.openapi import description
from fhir_bridge.openapi_texts import ABOUT
from fhir_bridge.rest.routes import INTERACTIONS
from tests.unit.fhir_bridge.conftest import BASE_URL, TOKEN_URL
from tests.unit.fhir_bridge.test_operations import CALLS, PATIENT, begun

CALLED = "Patient"


def documented(language: str = "en") -> dict:
    return description(BASE_URL, TOKEN_URL, INTERACTIONS, language=language)


def operations(document: dict) -> Iterator[tuple[str, str, dict]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def shape_of(path: str) -> str:
    """Turn an address of the description into the registry's shape of it."""
    first, *rest = path.strip("/").split("/")
    if first == "{type}" or first in served_types():
        first = "Type"
    named = {"{id}": "id", "{vid}": "vid", "{other}": "Type"}
    return "/".join([first, *(named.get(part, part) for part in rest)])


@pytest.fixture(scope="module")
def document() -> dict:
    return documented()


def test_a_validator_of_others_finds_it_valid():
    # All types are written by one function: one of them, and Binary, which is unlike the others, stand for all.
    whole = documented()
    left_out = {f"/{name}" for name in served_types()} - {"/Patient", "/Binary"}
    whole["paths"] = {path: item for path, item in whole["paths"].items() if path not in left_out}
    assert [error.message for error in OpenAPIV31SpecValidator(whole).iter_errors()] == []


def test_it_lists_what_the_registry_serves_and_nothing_else(document):
    listed = {f"{method} {shape_of(path)}" for path, method, _ in operations(document)}
    assert listed == {f"{one.method} {one.shape}" for one in INTERACTIONS}
    assert set(ABOUT) == {f"{one.method} {one.name}" for one in INTERACTIONS}


def test_what_a_type_lacks_is_not_listed(document):
    """A Binary is bytes, and no patch changes a part of it: neither at its own address, nor unsaid at that of any."""
    assert set(document["paths"]["/Binary"]) == {"delete", "get", "post", "put"}
    assert "405" in document["paths"]["/{type}/{id}"]["patch"]["responses"]


def test_every_name_of_an_operation_stands_once(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_every_reference_leads_somewhere_and_every_component_is_used(document):
    text = json.dumps(document)
    referred = set(re.findall(r'"#/components/([a-z]+/[^"]+)"', text))
    rooms = {room: document["components"][room] for room in ("parameters", "responses", "schemas")}
    assert referred == {f"{room}/{name}" for room, found in rooms.items() for name in found}


def test_a_custodian_can_be_named_where_the_registry_says_so(document):
    named = {
        (method.upper(), shape_of(path))
        for path, method, operation in operations(document)
        if {"$ref": "#/components/parameters/_custodian"} in operation["parameters"]
    }
    assert named == {(one.method, one.shape) for one in INTERACTIONS if one.goes_elsewhere}
    assert "502" in document["paths"]["/Observation"]["get"]["responses"]


def test_what_is_public_is_what_anybody_may_call(document):
    public = {shape_of(path) for path, _, operation in operations(document) if operation["security"] == []}
    assert public == {"metadata", "openapi.json"}


def test_every_type_lists_the_search_parameters_of_the_capability_statement(server):
    document = json.loads(server.client.get("/fhir/openapi.json").data)
    statement = json.loads(server.client.get("/fhir/metadata").data)
    for row in statement["rest"][0]["resource"]:
        listed = document["paths"][f"/{row['type']}"]["get"]["parameters"]
        codes = sorted(one["name"] for one in listed if "name" in one)
        assert codes == sorted(one["name"] for one in row["searchParam"])


def test_it_is_served_to_anybody_in_the_readers_language(server):
    answers = {
        language: server.client.get("/fhir/openapi.json", headers={"Accept-Language": language})
        for language in ("zh", "en")
    }
    assert {one.content_type for one in answers.values()} == {"application/json"}
    titles = {language: json.loads(one.data)["info"]["title"] for language, one in answers.items()}
    assert titles == {"zh": "MedChain 节点的 FHIR R4 接口", "en": "FHIR R4 interface of a MedChain node"}
    assert json.loads(answers["en"].data)["servers"] == [{"url": BASE_URL}]


def _called() -> list[tuple[str, str]]:
    """Choose one address of each shape, that of patients where each type has one."""
    chosen: dict[tuple[str, str], str] = {}
    for path, method, _ in operations(documented()):
        key = (method, shape_of(path))
        if key not in chosen or path.startswith(f"/{CALLED}"):
            chosen[key] = path
    return [(method, path) for (method, _), path in chosen.items()]


@pytest.mark.parametrize(("method", "path"), _called())
def test_what_it_lists_is_answered_as_it_says(server, document, method, path):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    server.call("PUT", "/fhir/Group/g1", {"resourceType": "Group", "id": "g1", "type": "person", "actual": True})
    operation = document["paths"][path][method.lower()]
    place, body, headers = CALLS[f"{method} {shape_of(path)}"]
    if place in ("STATUS", "FILE"):
        place = begun(server, place)
    answer = server.call(method, f"/fhir/{place}", body, **headers)
    told = operation["responses"][str(answer.status_code)]
    answered = document["components"]["responses"][told["$ref"].rsplit("/", 1)[1]]
    if answer.data:
        assert answer.content_type.split(";")[0] in answered["content"]
    if body is not None:
        sent = headers.get("Content_Type", "application/fhir+json")
        assert sent in operation["requestBody"]["content"]
    refused = server.client.open(f"/fhir/{place}", method=method)
    assert str(refused.status_code) in operation["responses"]


BAD_BODIES = {
    "no JSON": (b"{", "application/fhir+json"),
    "nothing": (b"", "application/fhir+json"),
    "an unknown element": (b'{"resourceType":"Parameters","colour":1}', "application/fhir+json"),
    "a resource of another type": (b'{"resourceType":"Basic","code":{"text":"x"}}', "application/fhir+json"),
    "no XML": (b"<", "application/fhir+xml"),
    "a plain text": (b"x", "text/plain"),
}


@pytest.mark.parametrize("bad", BAD_BODIES)
@pytest.mark.parametrize(("method", "path"), [one for one in _called() if one[0] in ("POST", "PUT", "PATCH")])
def test_what_is_refused_for_its_body_is_refused_as_it_says(server, document, method, path, bad):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    body, kind = BAD_BODIES[bad]
    place, _, headers = CALLS[f"{method} {shape_of(path)}"]
    answer = server.call(method, f"/fhir/{place}", body, **(headers | {"Content_Type": kind}))
    told = document["paths"][path][method.lower()]["responses"]
    assert str(answer.status_code) in told, answer.data


def test_every_type_that_it_lists_can_be_searched(server, document):
    for name in served_types():
        assert f"/{name}" in document["paths"]
        answer = server.call("GET", f"/fhir/{name}?_count=1", Prefer="handling=strict")
        assert (answer.status_code, json.loads(answer.data)["type"]) == (200, "searchset"), name
