"""Evidence for a claim in the eyes of others' tools: each log proof, state and map proof of a bundle is accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from medchain.encoding import canonical, parse_canonical
from medchain.ledger.collection import items_of
from medchain.ledger.mapped import read_map, read_records
from medchain.ledger.object import StateRecord
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


def times(files: Mapping[str, bytes]) -> Iterator[tuple[int, bytes]]:
    """List each proof of when an entry was accepted, with its position: of items, of their newest, of members."""
    for item in items_of(files):
        records = read_records(item, read_map(item))
        for name, record in (("block.json", records[-1:]), ("newest.json", records[:1])):
            if name in item:
                yield record[0].since, item[name]
    for row in parse_canonical(files["askers.json"], max_bytes=1 << 22)["askers"]:
        for record, block in zip(row["records"], row["blocks"], strict=True):
            yield StateRecord.decode(canonical(record)).since, canonical(block)


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
        folder = tmp_path / str(number)
        folder.mkdir()
        for file in OF_STATE:
            (folder / file).write_bytes(made.files[file])
        (folder / "place.json").write_bytes(canonical({"position": position}))
        (folder / "block.json").write_bytes(block)
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
