"""Evidence for a claim in the eyes of others' tools: each log proof, state and map proof of a bundle is accepted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medchain.encoding import canonical
from medchain.ledger.collection import items_of
from tests.deck import CASES
from tests.evidence_ledger import invoicing, ledger_in
from tests.interop.evidence import proofs, put_proof, put_time, times
from tests.interop.tools import accepted, refused

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("name", ["genuine_claim", "altered_after_the_claim"])
def test_each_time_in_a_bundle_of_evidence_is_of_ends_that_the_log_holds(tmp_path: Path, name: str) -> None:
    with invoicing(), ledger_in(tmp_path / "ledger") as ledger:
        made = CASES[name](ledger)
    policy = tmp_path / "trusted.txt"
    policy.write_text(made.policy)
    found = list(times(made.files))
    told = json.loads(made.files["state.bin"])["time"]
    # An item each but the absence, the newest of what was altered, and at least one version of both members.
    newest = sum("newest.json" in one for one in items_of(made.files))
    assert (newest > 0) == (name != "genuine_claim")
    assert len(found) >= len(items_of(made.files)) - 1 + newest + 2
    for number, (position, block) in enumerate(found):
        folder = put_time(tmp_path / str(number), made.files, position, block)
        report = accepted("bundle", policy, folder)["block"]
        assert (report["end"] > position, report["time"] <= told) == (True, True)
        document = json.loads(block)
        document["after"]["position"] += 1
        (folder / "block.json").write_bytes(canonical(document))
        assert "block.json" in refused("bundle", policy, folder)


@pytest.mark.parametrize("name", ["genuine_claim", "altered_after_the_claim", "part_that_others_followed"])
def test_each_proof_of_a_bundle_of_evidence_is_accepted(tmp_path: Path, name: str) -> None:
    with invoicing(), ledger_in(tmp_path / "ledger") as ledger:
        made = CASES[name](ledger)
    policy = tmp_path / "trusted.txt"
    policy.write_text(made.policy)
    found = []
    for number, proof in enumerate(proofs(made.files)):
        folder = put_proof(tmp_path / str(number), made.files, proof)
        found.append(accepted("bundle", policy, folder)["map"])
        document = json.loads(proof["map.json"])
        document["proof"][-1]["hash"] = f"{int(document['proof'][-1]['hash'], 16) ^ 1:064x}"
        (folder / "map.json").write_bytes(canonical(document))
        refused("bundle", policy, folder)
    # Records, permissions, access and claims; the last item of a claim that nobody has is an absence; two members.
    assert len(found) == len(items_of(made.files)) + 2
    assert ("member" in found, found.count("member") + (name != "part_that_others_followed")) == (True, len(found))
