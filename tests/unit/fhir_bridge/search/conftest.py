"""HL7's examples, and resources of them by name."""

from __future__ import annotations

import lzma
from pathlib import Path

import orjson
import pytest

from tests.unit.fhir_bridge.search.nodes import Node

VECTORS = Path(__file__).parents[3] / "vectors" / "fhir-r4"


@pytest.fixture(scope="session")
def examples(request):
    """The carried examples, or all of a folder: `--fhir-examples FOLDER`."""
    folder = request.config.getoption("--fhir-examples")
    if folder:
        found = [orjson.loads(path.read_bytes()) for path in sorted(Path(folder).rglob("*.json"))]
    else:
        found = [
            orjson.loads(line) for line in lzma.decompress((VECTORS / "examples.ndjson.xz").read_bytes()).splitlines()
        ]
    return [one for one in found if "resourceType" in one]


@pytest.fixture
def node(tmp_path):
    """An empty node."""
    made = Node(tmp_path)
    yield made
    made.store.close()
