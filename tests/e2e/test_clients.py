"""FHIR clients that we did not write do with a node what their users do: HAPI's, fhir-kit-client, fhirpy, fhirclient.

What each does, and what it must find, stands in `tests/clients`; `tests/clients/build.sh` installs them.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.e2e.outside import BUILT, STEPS

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("clients")]

JAVA_OPTIONS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def run(*words: object) -> list[str]:
    """Run a client's program, which must succeed; returns what it says that it did."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=900, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_fhirpy(node):
    told = run(BUILT / "python" / "bin" / "python", STEPS / "fhirpy_steps.py", node.fhir, node.lasting_token())
    done = ["create", "read", "update", "no merge patch", "search", "conditional create", "transaction", "history"]
    assert told == [*done, "a late update is refused", "outcomes", "delete"]


def test_fhirclient_for_python_gets_its_token_itself(node):
    words = (STEPS / "fhirclient_steps.py", node.fhir, "ehr", node.assertion("ehr"))
    told = run(BUILT / "python" / "bin" / "python", *words)
    done = ["token", "create and read", "update", "search", "history", "transaction", "outcomes", "delete"]
    assert told == done


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm for fhir-kit-client (`make clients`)")
def test_fhir_kit_client(node):
    told = run("node", BUILT / "node" / "kit_steps.mjs", node.fhir, node.lasting_token())
    done = ["metadata", "create and read", "update and patch", "history", "transaction and batch", "search", "resolve"]
    assert told == [*done, "outcomes", "delete"]


@pytest.mark.skipif(
    shutil.which("javac") is None or shutil.which("mvn") is None,
    reason="needs a JDK and Maven for HAPI (`make clients`)",
)
def test_hapi_fhirs_client_in_json_and_in_xml(node):
    words = (*JAVA_OPTIONS, "-cp", f"{BUILT}/java:{BUILT}/java/*", "HapiSteps")
    assert run("java", *words, node.fhir, node.lasting_token()) == ["json", "xml"]
