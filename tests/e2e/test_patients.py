"""Whole patients' records go in as their systems send them, without one refused entry; `--synthea FOLDER` for others'.

Synthea's bundles are batches of organisations and practitioners and a transaction a patient, with conditional creates,
``urn:uuid`` references, conditional references and several thousand entries in the largest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

import sample_data
from tests.e2e.running_node import RunningNode, running_node

pytestmark = pytest.mark.e2e

# So many of a bundle's records are read back and compared; all are counted.
READ_BACK = 5
OURS = "renhe-hospital."


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[RunningNode]:
    with running_node(tmp_path_factory.mktemp("patients"), "web.workers=2") as running:
        yield running


@pytest.fixture(scope="module")
def bundles(request) -> list[bytes]:
    folder = request.config.getoption("--synthea")
    if folder:
        return [text for _, text in sample_data.read(Path(folder))]
    return [text for name, text in sample_data.read() if name.startswith(OURS)]


def without_references(value: object) -> object:
    """Leave out what a server may write otherwise: references, and what it says of the resource itself."""
    if isinstance(value, dict):
        left_out = {"reference", "meta", "id", "fullUrl"}
        return {name: without_references(one) for name, one in value.items() if name not in left_out}
    return [without_references(one) for one in value] if isinstance(value, list) else value


def test_every_entry_of_every_patient_is_stored_and_can_be_counted_and_read(node, bundles):
    made: dict[str, set[str]] = defaultdict(set)
    refused = []
    for text in bundles:
        bundle = orjson.loads(text)
        answer = node.call("POST", "", text)
        assert answer.status == 200, answer.body[:2000]
        told = answer.document["entry"]
        assert len(told) == len(bundle["entry"])
        stored = []
        for sent, row in zip(bundle["entry"], told, strict=True):
            status = row["response"]["status"][:3]
            if status not in ("200", "201"):
                refused.append((sent["request"], row["response"]))
                continue
            type_name, record_id = row["response"]["location"].split("/_history/")[0].split("/")[-2:]
            made[type_name].add(record_id)
            if status == "201":
                stored.append((sent["resource"], f"{type_name}/{record_id}"))
        for resource, place in stored[:: max(1, len(stored) // READ_BACK)]:
            kept = node.call("GET", place)
            assert kept.status == 200
            assert without_references(kept.document) == without_references(resource), place
    assert refused == []
    counted = {name: node.call("GET", f"{name}?_summary=count").document["total"] for name in made}
    assert counted == {name: len(ids) for name, ids in made.items()}
    assert counted["Patient"] >= 2
