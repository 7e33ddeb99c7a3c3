"""Evidence for a claim in the eyes of others' tools: each log proof, state and map proof of a bundle is accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from medchain.encoding import canonical, parse_canonical
from medchain.ledger.collection import items_of
from tests.deck import CASES
from tests.evidence_ledger import invoicing, ledger_in
from tests.interop.tools import accepted, refused

pytestmark = pytest.mark.engine

OF_STATE = ("answer.json", "entry.bin", "entry.tlog-proof", "policy.txt", "state.bin", "state.tlog-proof")
OF_MAP = ("absence.json", "map.json", "record.json")


def proofs(files: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Take each map proof out of a bundle: those of its items, and those of its members."""
    for item in items_of(files):
        yield {name: item[name] for name in OF_MAP if name in item}
    for row in parse_canonical(files["askers.json"], max_bytes=1 << 22)["askers"]:
        yield {"map.json": canonical(row["map"]), "record.json": canonical(row["records"][0])}


@pytest.mark.parametrize("name", ["genuine_claim", "altered_after_the_claim", "part_that_others_followed"])
def test_each_proof_of_a_bundle_of_evidence_is_accepted(tmp_path: Path, name: str) -> None:
    with invoicing(), ledger_in(tmp_path / "ledger") as ledger:
        made = CASES[name](ledger)
    policy = tmp_path / "trusted.txt"
    policy.write_text(made.policy)
    own, found = {name: made.files[name] for name in OF_STATE}, []
    for number, proof in enumerate(proofs(made.files)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for file, content in (own | proof).items():
            (folder / file).write_bytes(content)
        found.append(accepted("bundle", policy, folder)["map"])
        document = json.loads(proof["map.json"])
        document["proof"][-1]["hash"] = f"{int(document['proof'][-1]['hash'], 16) ^ 1:064x}"
        (folder / "map.json").write_bytes(canonical(document))
        refused("bundle", policy, folder)
    # Records, permissions, access and claims; the last item of a claim that nobody has is an absence; two members.
    assert len(found) == len(items_of(made.files)) + 2
    assert ("member" in found, found.count("member") + (name != "part_that_others_followed")) == (True, len(found))
