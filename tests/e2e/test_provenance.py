"""Provenance of a running node: every version's, its signature verified offline by command (FHIR R4 Provenance)."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator

import pytest

from tests.e2e.running_demo import run_command
from tests.e2e.running_node import ORG_ID, RunningNode, running_node
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

OBSERVATION = {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "weight"}}


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[RunningNode]:
    with running_node(tmp_path_factory.mktemp("provenance")) as running:
        yield running


def told(node: RunningNode, query: str) -> list[dict]:
    answer = node.call("GET", f"Provenance?{query}")
    assert answer.status == 200, answer.body
    return [row["resource"] for row in answer.document["entry"]]


def is_final(provenance: dict) -> bool:
    return provenance["extension"][0]["valueString"].startswith("final; position=") and "signature" in provenance


def test_every_version_is_signed_by_the_ledger_and_verifies_offline_to_the_byte(node, tmp_path):
    for body in (OBSERVATION, OBSERVATION | {"valueInteger": 5}):
        assert node.call("PUT", "Observation/o1", body, Prefer="wait=30").status in (200, 201)
    assert node.call("DELETE", "Observation/o1").status == 204
    # The deletion is anchored before what comes after it is final.
    assert node.call("PUT", "Patient/p1", {"resourceType": "Patient", "id": "p1"}, Prefer="wait=30").status == 201
    # What was waited for may not be final yet, nor another web worker have heard that it is.
    found: list[dict] = []

    def all_are_final() -> bool:
        found[:] = told(node, "target=Observation/o1")
        return all(map(is_final, found))

    assert eventually(all_are_final)
    assert [one["activity"]["coding"][0]["code"] for one in found] == ["DELETE", "UPDATE", "CREATE"]
    policy = tmp_path / "policy.txt"
    policy.write_text(run_command(["policy", "show", "--trusted", "--config", node.config]))
    for one, version in zip(found, (3, 2, 1), strict=True):
        assert one["target"][0]["reference"] == f"Observation/o1/_history/{version}"
        agents = {(row["type"]["coding"][0]["code"], row["who"]["identifier"]["value"]) for row in one["agent"]}
        assert {("author", ORG_ID), ("custodian", ORG_ID), ("attester", ORG_ID)} <= agents
        assert one["occurredDateTime"] <= one["recorded"] <= one["signature"][0]["when"]
        bundle = tmp_path / f"{version}.zip"
        bundle.write_bytes(base64.b64decode(one["signature"][0]["data"]))
        verdict = json.loads(run_command(["verify", bundle, "--policy", policy, "--json"]))
        assert (verdict["answer"], verdict["version"]) == ("record", version)
        if version < 3:
            with zipfile.ZipFile(io.BytesIO(bundle.read_bytes())) as files:
                content = base64.b64decode(json.loads(files.read("opening.json"))["content"])
            assert content == node.call("GET", f"Observation/o1/_history/{version}").body
        assert node.call("GET", f"Provenance/{one['id']}").status == 200


def test_it_is_found_beside_its_target_and_only_by_who_may_read_that(node):
    assert node.call("PUT", "Patient/p2", {"resourceType": "Patient", "id": "p2"}, Prefer="wait=30").status == 201
    assert eventually(lambda: len(told(node, "patient=Patient/p2")) == 1)
    beside = node.call("GET", "Patient?_id=p2&_revinclude=Provenance:target").document["entry"]
    assert [row["search"]["mode"] for row in beside] == ["match", "include"]
    (alone,) = told(node, "patient=Patient/p2")
    assert alone["id"] == beside[1]["resource"]["id"]
    limited = node.token("system/Provenance.rs")
    assert node.call("GET", "Provenance?target=Patient/p2", token=limited).document["total"] == 0
    refused = node.call("GET", f"Provenance/{alone['id']}", token=limited)
    absent = node.call("GET", f"Provenance/ledger-{'0' * 32}-1", token=limited)
    assert (refused.status, refused.body) == (absent.status, absent.body)
    assert refused.status == 404
