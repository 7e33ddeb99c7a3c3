"""HL7's examples, and a node's records."""

from __future__ import annotations

import orjson
import pytest

from tests.unit.fhir_bridge.examples import chosen
from tests.unit.fhir_bridge.search.nodes import Node


@pytest.fixture(scope="session")
def examples(request):
    """The carried choice, or all of HL7's package: `--fhir-examples PLACE`."""
    found = [orjson.loads(content) for _, content in chosen(request.config.getoption("--fhir-examples"))]
    return [one for one in found if "resourceType" in one]


@pytest.fixture
def node(tmp_path):
    """An empty node."""
    made = Node(tmp_path)
    yield made
    made.store.close()
