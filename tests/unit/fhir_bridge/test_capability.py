"""Each entry of the CapabilityStatement, called over HTTP: what it says is served is served (FHIR R4 §2.42)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from fhir_bridge.definitions.parameters import ParameterType, parameters_of
from fhir_bridge.definitions.profiles import PREFIX, profile_names
from fhir_bridge.search.index_job import IndexJob
from fhir_bridge.search.indexer import parts_of
from tests.unit.fhir_bridge.conftest import Server, opened
from tests.unit.fhir_bridge.examples import by_type

VALUES = {
    ParameterType.TOKEN: "urn:x|a",
    ParameterType.STRING: "a",
    ParameterType.URI: "http://example.org/a",
    ParameterType.REFERENCE: "http://example.org/a",
    ParameterType.DATE: "ge2020-01-01",
    ParameterType.NUMBER: "5",
    ParameterType.QUANTITY: "5.4",
    ParameterType.SPECIAL: "39.9|116.4|1|km",
}
AT_ONCE = 12
RULES = 30
# Of these types HL7 has no example: what their definitions ask for and no more.
LEAST: dict[str, dict] = {
    "DeviceMetric": {"type": {"text": "a"}, "category": "measurement"},
    "DeviceUseStatement": {"status": "active", "subject": {"display": "a"}, "device": {"display": "b"}},
    "EventDefinition": {"status": "draft", "trigger": [{"type": "named-event", "name": "a"}]},
    "SubstanceNucleicAcid": {},
    "SubstancePolymer": {},
    "SubstanceProtein": {},
    "SubstanceReferenceInformation": {},
    "SubstanceSourceMaterial": {},
}
PATCH = json.dumps([{"op": "test", "path": "/id", "value": "one"}]).encode()


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[Server]:
    yield from opened(tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="module")
def told(node) -> dict:
    (rest,) = json.loads(node.client.get("/fhir/metadata").data)["rest"]
    return rest


def value_of(type_name: str, code: str) -> str:
    """Write a value that the parameter can have (§3.1.1.4)."""
    known = parameters_of(type_name)
    one = known[code]
    if one.type is ParameterType.COMPOSITE:
        return "$".join(value_of(type_name, part.code) for part in parts_of(one, type_name, known))
    return "a" if code == "_id" else VALUES[one.type]


def strictly(node: Server, type_name: str, pairs: list[tuple[str, str]], size: int) -> None:
    """Search with a few parameters at a time; none may be passed over."""
    for start in range(0, len(pairs), size):
        query = urlencode(pairs[start : start + size])
        answer = node.call("GET", f"/fhir/{type_name}?{query}", Prefer="handling=strict")
        assert answer.status_code == 200, (type_name, query, answer.data)


def test_every_search_parameter_is_answered_with_a_value_of_its_type(node, told):
    """§3.1.1.4: 2,567 parameters of 145 types, composites by their parts."""
    for row in told["resource"]:
        pairs = [(one["name"], value_of(row["type"], one["name"])) for one in row["searchParam"]]
        strictly(node, row["type"], pairs, AT_ONCE)
        missing = [
            (f"{one['name']}:missing", "true")
            for one in row["searchParam"]
            if one["type"] not in ("composite", "special") and one["name"] not in ("_id", "_lastUpdated")
        ]
        strictly(node, row["type"], missing, AT_ONCE)


def test_every_include_is_answered(node, told):
    """§3.1.1.5.4: what each type may take with it, both ways."""
    for row in told["resource"]:
        pairs = [("_include", one) for one in row["searchInclude"]]
        pairs += [("_revinclude", one) for one in row["searchRevInclude"]]
        strictly(node, row["type"], pairs, RULES)


def test_every_interaction_of_every_type_is_answered(node, told):
    """§3.1.0: read, vread, update as create, update, patch, delete, histories, search, create, with HL7's examples."""
    examples = by_type() | {name: {"resourceType": name, **members} for name, members in LEAST.items()}
    asked = {row["type"]: {one["code"] for one in row["interaction"]} for row in told["resource"]}
    assert len(asked) == 145
    for name, codes in asked.items():
        body = {**examples[name], "id": "one"}
        answers = {
            "create": node.call("POST", f"/fhir/{name}", body),
            "update": node.call("PUT", f"/fhir/{name}/one", body),
            "read": node.call("GET", f"/fhir/{name}/one", Accept="application/fhir+json"),
            "vread": node.call("GET", f"/fhir/{name}/one/_history/1", Accept="application/fhir+json"),
            "history-instance": node.call("GET", f"/fhir/{name}/one/_history"),
            "history-type": node.call("GET", f"/fhir/{name}/_history"),
            "search-type": node.call("GET", f"/fhir/{name}?_id=one"),
            "patch": node.call("PATCH", f"/fhir/{name}/one", PATCH, Content_Type="application/json-patch+json"),
            "delete": node.call("DELETE", f"/fhir/{name}/one"),
        }
        # A Binary is bytes: there is no member of it that a patch could change (§2.40).
        lacked = {"patch"} if name == "Binary" else set()
        assert answers.keys() == codes | lacked
        wanted = {"create": 201, "update": 201, "delete": 204} | dict.fromkeys(lacked, 405)
        for code, answer in answers.items():
            assert answer.status_code == wanted.get(code, 200), (name, code, answer.data[:500])
        for one in ("history-type", "search-type"):
            assert json.loads(answers[one].data)["entry"], (name, one)
        assert node.call("GET", f"/fhir/{name}/one").status_code == 410
        assert node.call("POST", f"/fhir/{name}/$validate", body).status_code == 200


def test_what_a_type_lacks_is_not_told_and_not_there(node, told):
    """§2.40: a Binary is changed as a whole. Neither an address nor its methods say otherwise."""
    row = next(row for row in told["resource"] if row["type"] == "Binary")
    assert {one["name"] for one in row["operation"]} == {"meta", "validate"}
    assert node.call("PUT", "/fhir/Binary/whole", b"x", Content_Type="text/plain").status_code == 201
    for path in ("/fhir/Binary/whole", "/fhir/Binary?_id=whole"):
        refused = node.call("PATCH", path, PATCH, Content_Type="application/json-patch+json")
        assert (refused.status_code, "PATCH" in refused.headers["Allow"]) == (405, False)
    tagged = {"parameter": [{"name": "meta", "valueMeta": {"tag": [{"system": "urn:x", "code": "a"}]}}]}
    for name in ("$meta-add", "$meta-delete"):
        answer = node.call("POST", f"/fhir/Binary/whole/{name}", {"resourceType": "Parameters"} | tagged)
        assert answer.status_code == 404


def test_every_interaction_with_the_system_and_every_operation_is_named_as_hl7_does(told):
    assert {one["code"] for one in told["interaction"]} == {"transaction", "batch", "search-system", "history-system"}
    for row in told["resource"]:
        for one in row["operation"]:
            assert one["definition"].startswith(("http://hl7.org/fhir/OperationDefinition/", "http://hl7.org/fhir/uv/"))


def test_it_says_how_records_of_other_organisations_are_asked_for(told):
    parameter = told["searchParam"][-1]
    assert (parameter["name"], parameter["type"]) == ("_custodian", "string")


def test_what_all_types_are_searched_by_is_told_and_answered(node, told):
    """R4 CapabilityStatement.rest.searchParam; HL7 has no definitions of `_has` and `_list`."""
    values = {"_has": ("_has:Observation:patient:code", "a"), "_list": ("_list", "a")}
    names = [one["name"] for one in told["searchParam"][:-1]]
    assert names == ["_id", "_lastUpdated", "_profile", "_security", "_source", "_tag", "_has", "_list"]
    pairs = [values.get(name) or (name, value_of("Resource", name)) for name in names]
    strictly(node, "Patient", pairs, len(pairs))
    strictly(node, "", [("_type", "Patient,Observation"), *pairs[:6]], 7)


def test_what_searches_are_refused_is_told(node, told):
    """R4 CapabilityStatement.rest.documentation: what a search parameter's own entry has no place for."""
    refused = ("_text=a", "_content=a", "_query=a", "_filter=a eq b", "organization:above=a", "organization:below=a")
    for query in (*refused, "language:below=urn:x|a", "language:in=urn:x"):
        name, _, modifier = query.partition("=")[0].partition(":")
        assert f"`{':' * bool(modifier)}{modifier or name}`" in told["documentation"]
        answer = node.call("GET", f"/fhir/Patient?{query}", Prefer="handling=lenient")
        assert answer.status_code == 400
        assert json.loads(answer.data)["issue"][0]["details"]["coding"][0]["code"] == "search.unsupported"


def test_each_supported_profile_is_one_that_resources_are_judged_by(node, told):
    """R4 CapabilityStatement.rest.resource.supportedProfile: `$validate` with one that is not known is an error."""
    listed = {row["type"]: row["supportedProfile"] for row in told["resource"] if "supportedProfile" in row}
    assert sum(map(len, listed.values())) == len(profile_names())
    assert PREFIX + "bp" in listed["Observation"]
    for type_name, urls in listed.items():
        for url in urls:
            judged = node.call("POST", f"/fhir/{type_name}/$validate?profile={url}", {"resourceType": type_name})
            codes = [one["details"]["coding"][0]["code"] for one in json.loads(judged.data)["issue"]]
            assert (judged.status_code, "resource.profile" in codes) == (200, False)


def test_search_parameters_of_the_nodes_own_are_told_once_searches_use_them(server):
    """§2.42, rest.resource.searchParam: what is served, and nothing that is not."""
    maiden = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
    own = {
        "resourceType": "SearchParameter",
        "url": "http://x.example/SearchParameter/maiden",
        "name": "maiden",
        "status": "active",
        "description": "maiden name of the mother",
        "code": "mothers-maiden-name",
        "base": ["Patient"],
        "type": "string",
        "expression": f"Patient.extension.where(url='{maiden}').value",
    }
    referring = own | {
        "url": "http://x.example/SearchParameter/flagged",
        "code": "flagged-by",
        "base": ["Basic"],
        "type": "reference",
        "expression": "Basic.extension.where(url='http://x.example/by').value",
        "target": ["Practitioner"],
    }

    def listed() -> tuple[list, bool, bool]:
        (rest,) = json.loads(server.client.get("/fhir/metadata").data)["rest"]
        rows = {row["type"]: row for row in rest["resource"]}
        written = json.loads(server.client.get("/fhir/openapi.json").data)["paths"]["/Patient"]["get"]["parameters"]
        return (
            [one for one in rows["Patient"]["searchParam"] if one["name"] == own["code"]],
            "Basic:flagged-by" in rows["Practitioner"]["searchRevInclude"]
            and "Basic:flagged-by" in rows["Basic"]["searchInclude"],
            own["code"] in [one.get("name") for one in written],
        )

    for body in (own, referring):
        assert server.call("POST", "/fhir/SearchParameter", body).status_code == 201
    # Older records have no rows of it yet: a search passes it over, so it is not told.
    assert listed() == ([], False, False)
    job = IndexJob(server.store, server.service, server.core.search.index, server.core.clock)
    while job.step():
        pass
    told = {"name": own["code"], "definition": own["url"], "type": "string"}
    assert listed() == ([told], True, True)
    strictly(server, "Patient", [(own["code"], "a")], 1)
    strictly(server, "Practitioner", [("_revinclude", "Basic:flagged-by")], 1)
