"""A running node enters who looked at a patient's records, and anybody judges the patient's list offline."""

from __future__ import annotations

import json

import pytest

from tests.e2e.running_demo import run_command
from tests.e2e.running_node import ORG_ID, running_node
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"text": "weight"},
    "subject": {"reference": "Patient/p1"},
}


def test_a_patients_list_of_looks_is_written_by_command_and_verifies_offline(tmp_path):
    with running_node(tmp_path / "node") as node:
        assert node.call("PUT", "Patient/p1", {"resourceType": "Patient", "id": "p1"}).status == 201
        assert node.call("PUT", "Observation/o1", OBSERVATION).status == 201
        assert node.call("GET", "Observation/o1").status == 200
        policy = tmp_path / "policy.txt"
        policy.write_text(run_command(["policy", "show", "--trusted", "--config", node.config]))

        def listed() -> list[dict]:
            out = tmp_path / "looks.zip"
            out.unlink(missing_ok=True)
            try:
                run_command(["record", "looks", "p1", "--out", out, "--config", node.config])
            except AssertionError:
                # No root is final yet.
                return []
            verdict = json.loads(run_command(["verify", out, "--policy", policy, "--json"]))
            assert (verdict["answer"], verdict["looks"]["custodian"]) == ("looks", ORG_ID)
            return verdict["looks"]["listed"]

        assert eventually(lambda: [row["action"] for row in listed()] == ["read"], every_s=1.0)
