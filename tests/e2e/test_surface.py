"""The surface of requests, fuzzed by schemathesis from the OpenAPI description of a running node."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.e2e.outside import BUILT, STEPS

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("clients")]

# All shapes of addresses; of those that stand once for each type, the ones that are different.
OPERATIONS = r"^/(Patient|Observation|Binary|_history|_search|metadata|\{type\}.*|\$.*|)$"
CHECKS = "answers_fhir,not_a_server_error,status_code_conformance,content_type_conformance,ignored_auth"
# (phases, requests an operation): a few that are drawn; with MEDCHAIN_SURFACE=all, all that coverage lists as well.
DEPTH = {"": ("fuzzing", "6"), "all": ("coverage,fuzzing", "40")}


def test_no_request_of_schemathesis_gets_an_answer_that_is_no_fhir(node, tmp_path):
    """`MEDCHAIN_SURFACE=all` for some 8,000 requests."""
    phases, examples = DEPTH[os.environ.get("MEDCHAIN_SURFACE", "")]
    known = f"Authorization: Bearer {node.lasting_token()}"
    words = ["run", f"{node.fhir}/openapi.json", "-H", known, "--checks", CHECKS]
    chosen = ["--include-path-regex", OPERATIONS, "--phases", phases, "-n", examples, "--seed", "1"]
    told = ["--no-color", "--warnings", "off", "--continue-on-failure", "--suppress-health-check", "all"]
    done = subprocess.run(
        [str(BUILT / "python" / "bin" / "schemathesis"), *words, *chosen, *told],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
        env={"HOME": str(tmp_path), "PYTHONPATH": str(STEPS), "SCHEMATHESIS_HOOKS": "schemathesis_checks"},
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " generated" in done.stdout
