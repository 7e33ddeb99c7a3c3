"""The first format of policy chains, a folder a change: written no more, verified still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.policy_chain import members_after, step_policy
from medchain.ledger.policy_steps import CHAIN_FILE, read_chain
from medchain.node.replica import Replica
from medchain.tlog.policy import Policy
from medchain.tlog.proof import format_proof


def in_folders(replica: Replica, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Write a bundle's chain as nodes did before, of changes each of which is final by a checkpoint of its own."""
    origin, before = replica.genesis.origin, replica.genesis.members
    written = {name: content for name, content in files.items() if name != CHAIN_FILE}
    entries = [change.entry for step in read_chain(files[CHAIN_FILE]) for change in step.changes]
    positions = [change.position for step in read_chain(files[CHAIN_FILE]) for change in step.changes]
    sets = [before]
    for entry in entries:
        sets.append(members_after(sets[-1], entry, replica.ledger))
    for number, (entry, position) in enumerate(zip(entries, positions, strict=True), 1):
        sides = [step_policy(side, sets, origin) for side in sets[number - 1 : number + 1]]
        proof = _proof(replica, position, sides)
        written |= {f"policies/{number:02d}/{name}.tlog-proof": proof for name in ("old", "new")}
        written[f"policies/{number:02d}/entry.bin"] = entry
        written[f"policies/{number:02d}/policy.txt"] = trusted_policy_text(sets[number], origin).encode()
    return written


def _proof(replica: Replica, position: int, policies: Sequence[Policy]) -> bytes:
    """Prove an entry under the checkpoint of its block, which both quorums have cosigned."""
    note = replica.store.checkpoint(replica.store.block_at(position).size)
    assert note is not None
    for policy in policies:
        policy.check(note.note.encode())
    return format_proof(position, replica.prove_entry(position, note.size).hashes, note.note.encode())
