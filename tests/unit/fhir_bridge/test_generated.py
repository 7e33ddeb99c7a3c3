"""Resources of every type, made of HL7's definitions: right to others too, back as sent, found by what they hold."""

from __future__ import annotations

import json
from contextlib import contextmanager
from decimal import Decimal
from urllib.parse import urlencode

import pytest

from fhir_bridge.definitions.elements import children, type_names
from fhir_bridge.definitions.parameters import parameters_of
from fhir_bridge.document import parse, write
from fhir_bridge.search.indexer import IN_COLUMNS, UNINDEXED
from fhir_bridge.second_opinion import second_opinion
from fhir_bridge.validation.check import check
from fhir_bridge.xml import parse_xml, write_xml
from tests.unit.fhir_bridge.conftest import opened
from tests.unit.fhir_bridge.generated import generate
from tests.unit.fhir_bridge.search.asking import question
from tests.unit.fhir_bridge.search.interpreted import found_by_others
from tests.unit.fhir_bridge.test_xml import spelled

TYPES = sorted(type_names("resource"))
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))]

# Parameters have no address of their own (R4 §2.4.5.1).
STORED = [name for name in TYPES if name != "Parameters"]

every_type = pytest.mark.parametrize("name", TYPES)
every_stored_type = pytest.mark.parametrize("name", STORED)
some_seeds = pytest.mark.parametrize("seed", SEEDS)


# A Binary comes as what it holds unless FHIR is asked for.
JSON = {"Accept": "application/fhir+json"}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """One node for Consents, for which AuditEvents are kept back (`docs/spec/consent.md` C14), and one for all else."""
    folders = tmp_path_factory.mktemp("consents"), tmp_path_factory.mktemp("others")
    with contextmanager(opened)(folders[0]) as consents, contextmanager(opened)(folders[1]) as others:
        yield {True: consents, False: others}


@pytest.fixture
def node(nodes, name):
    """The one for resources of a type."""
    return nodes[name == "Consent"]


def read(body: bytes):
    """Read JSON with another reader: members in order, numbers by their digits."""
    number = {kind: lambda text: ("number", text) for kind in ("parse_float", "parse_int")}
    return json.loads(body, object_pairs_hook=list, **number)


def as_sent(pairs: list) -> list:
    """Leave out what the server sets: the id, in meta the version and its time, and a Bundle's labels.

    These are of what lies in it (`docs/spec/labels.md` 12).
    """
    kept = [(name, value) for name, value in pairs if name != "id"]
    meta = [pair for name, value in kept if name == "meta" for pair in value]
    rest = [one for one in kept if one[0] != "meta"]
    labelled = {"security"} if ("resourceType", "Bundle") in kept else set()
    return [*rest, [one for one in meta if one[0] not in {"versionId", "lastUpdated"} | labelled]]


def created(node, resource: dict) -> str:
    """Store by POST; returns where it is."""
    response = node.call("POST", f"/fhir/{resource['resourceType']}", write(resource))
    assert response.status_code == 201, response.data
    return response.headers["Location"].partition("/_history/")[0].removeprefix("http://127.0.0.1:41000")


@every_type
@some_seeds
def test_what_is_made_is_right_to_us_and_to_others(name, seed):
    resource = generate(name, seed)
    assert check(resource) == []
    assert second_opinion(resource) is None


@every_stored_type
@some_seeds
def test_it_comes_back_as_it_was_sent(node, name, seed):
    resource = generate(name, seed)
    body = node.call("GET", created(node, resource), **JSON).data
    assert as_sent(read(body)) == as_sent(read(write(resource)))
    assert spelled(parse(body)) | {"id": "", "meta": ""} == spelled(resource) | {"id": "", "meta": ""}


@every_stored_type
@some_seeds
def test_it_comes_and_goes_in_xml_as_in_json(node, name, seed):
    resource = generate(name, seed)
    path = created(node, resource)
    stored = spelled(parse(node.call("GET", path, **JSON).data))
    answer = node.call("GET", path, Accept="application/fhir+xml")
    assert spelled(parse_xml(answer.data)) == stored
    kind = {"Content_Type": "application/fhir+xml"}
    response = node.call("POST", f"/fhir/{name}", write_xml(resource), **kind)
    assert response.status_code == 201, response.data
    body = node.call("GET", response.headers["Location"].removeprefix("http://127.0.0.1:41000"), **JSON).data
    assert {**spelled(parse(body)), "id": "", "meta": ""} == {**stored, "id": "", "meta": ""}


def loose(resource: dict) -> dict:
    """Read a resource as most programs do."""
    return json.loads(write(resource), parse_float=Decimal)


def matches(node, name: str, record_id: str, asked: list[tuple[str, str]]) -> bool:
    """Search by POST, whose form takes texts of any length."""
    form = urlencode([("_id", record_id), *asked]).encode()
    kind = {"Content_Type": "application/x-www-form-urlencoded", "Prefer": "handling=strict"}
    response = node.call("POST", f"/fhir/{name}/_search", form, **kind)
    assert response.status_code == 200, response.data
    return [row["resource"]["id"] for row in json.loads(response.data).get("entry", ())] == [record_id]


@every_stored_type
@some_seeds
def test_it_is_found_by_each_value_that_others_see_in_it(node, name, seed):
    resource = generate(name, seed)
    record_id = created(node, resource).rpartition("/")[2]
    known = parameters_of(name)
    asked = []
    for code, values in found_by_others(loose(resource)).items():
        texts = [question(value, known[code].type) for value in values] if code not in IN_COLUMNS | UNINDEXED else []
        asked += [(code, text) for text in texts if text]
        asked += [(f"{code}:missing", "false")] * any(texts)
    # All at once find it if and only if each alone does; which one does not is asked only then.
    if not matches(node, name, record_id, asked):
        assert [one for one in asked if not matches(node, name, record_id, [one])] == []


def spoiled(resource: dict) -> dict[str, dict]:
    """Spoil a resource in each way that its type can be, by what R4 says of it."""
    name = resource["resourceType"]
    bad_date = {"url": "http://example.org/x", "valueDateTime": "2023-02-29T24:00:00Z"}
    bad_code = {"url": "http://example.org/x", "valueIdentifier": {"use": "no-such-code"}}
    wrong = {
        "unknown_element": {**resource, "generatedUnknown": True},
        "value": {**resource, "_implicitRules": {"extension": [bad_date]}},
        "code": {**resource, "_implicitRules": {"extension": [bad_code]}},
    }
    needed = next((one for one in children(name) if one.min == 1 and not one.choice), None)
    if needed is not None:
        gone = (needed.name, f"_{needed.name}")
        wrong["required"] = {key: value for key, value in resource.items() if key not in gone}
    return wrong


@every_stored_type
def test_one_spoiled_is_refused_for_what_is_wrong(node, name):
    twice = {**generate(name, 0), "language": ["zh-CN", "en"]}
    for rule, resource in [*spoiled(generate(name, 0)).items(), ("single", twice)]:
        response = node.call("POST", f"/fhir/{name}", write(resource))
        assert response.status_code in (400, 422), rule
        outcome = json.loads(response.data)
        codes = [issue["details"]["coding"][0]["code"] for issue in outcome["issue"]]
        assert codes[0] == f"resource.{rule}", outcome
        assert outcome["issue"][0]["expression"][0].startswith(name)
