"""From the policy that a verifier trusts to the one in force: each change of members under both quorums.

Keeps true: a later policy is believed only if the entry that made it is in a log that a quorum of the policy before
cosigned and a quorum of the policy after as well, and if it is the very text that follows from the change. Trusts the
policy that the verifier brought, nothing else in the bundle.
Source: `docs/spec/proof-bundle.md` 7; `docs/spec/genesis.md` 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from medchain.errors import InputError, VerificationError
from medchain.ledger.genesis import parse_genesis, trusted_policy_text
from medchain.ledger.members import Members, parse_organisation, parse_protocol
from medchain.ledger.object import ORGANISATION
from medchain.ledger.transaction import Stop, parse_envelope
from medchain.tlog.policy import Policy
from medchain.tlog.proof import verify_tlog_proof

_PROTOCOL: Final = "protocol"
_PUBLIC: Final = frozenset({ORGANISATION, "policy", _PROTOCOL})


def policy_in_force(files: Mapping[str, bytes], policy_text: str) -> Policy:
    """Walk a bundle's policy chain.

    Args:
        files: relative name → content; ``policies/NN/…`` and ``genesis.json`` where there is a chain.
        policy_text: the trusted policy.

    Returns:
        The policy under which the bundle's own proofs must verify: the trusted one if there is no chain.

    Raises:
        InputError: ``bundle.files`` for a chain with holes, or the code of a format.
        VerificationError: ``bundle.policy_chain`` when it does not begin at the trusted policy or a step does not
            follow, ``tlog.*`` when a step is not final under both quorums.
    """
    steps = sorted({name.split("/")[1] for name in files if name.startswith("policies/")})
    trusted = Policy.parse(policy_text.encode())
    if not steps:
        return trusted
    if steps != [f"{number:02d}" for number in range(1, len(steps) + 1)] or "genesis.json" not in files:
        raise InputError("bundle.files", name="policies")
    genesis = parse_genesis(files["genesis.json"])
    sets, folders = [genesis.members], list[Mapping[str, bytes]]()
    for step in steps:
        names = ("entry.bin", "old.tlog-proof", "new.tlog-proof")
        folders.append({name: _file(files, f"policies/{step}/{name}") for name in names})
        sets.append(members_after(sets[-1], folders[-1]["entry.bin"], genesis.ledger))
    position, in_force = 0, trusted if _same(genesis.members, genesis.origin, trusted) else None
    for folder, before, after in zip(folders, sets, sets[1:], strict=False):
        if in_force is not None:
            in_force = step_policy(after, sets, genesis.origin)
            position = _check_step(folder, step_policy(before, sets, genesis.origin), in_force, position)
        elif _same(after, genesis.origin, trusted):
            in_force = trusted
    if in_force is None:
        raise VerificationError("bundle.policy_chain")
    return in_force


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    """Return a file that a step must have."""
    if name not in files:
        raise InputError("bundle.files", name=name)
    return files[name]


def members_after(snapshot: Members, leaf: bytes, ledger: bytes) -> Members:
    """Return the members after a change, as the machine makes them; raises as `members_changed` and `Members.check`."""
    after = members_changed(snapshot, leaf, ledger)
    after.check()
    return after


def members_changed(snapshot: Members, leaf: bytes, ledger: bytes) -> Members:
    """Return members with what an entry changes; `Members.check` says whether they may be so.

    Args:
        snapshot: the members before.
        leaf: the envelope of the change.
        ledger: ledger id, 32 bytes.

    Returns:
        The members after it.

    Raises:
        InputError: as `parse_envelope` and the contents' own codes.
        VerificationError: ``bundle.policy_chain`` for a stop or another ledger's envelope.
    """
    transaction = parse_envelope(leaf).transaction
    if isinstance(transaction, Stop) or transaction.ledger != ledger:
        raise VerificationError("bundle.policy_chain")
    after = snapshot
    # Only public changes have a content here; a transaction may change other objects beside them.
    public = [change for change in transaction.changes if change.kind in _PUBLIC]
    for change, content in zip(public, transaction.bodies, strict=False):
        if change.kind == ORGANISATION:
            after = after.with_organisation(parse_organisation(content)[0])
        elif change.kind == _PROTOCOL:
            after = after.with_protocol(parse_protocol(content))
    return after


def _check_step(folder: Mapping[str, bytes], old: Policy, new: Policy, position: int) -> int:
    """Check that a change is final under both quorums and comes after the change before; returns its position.

    Both have to have cosigned one checkpoint: a liar can put one change at one place of two histories, and have one of
    them cosigned by members before it, and the other one by members after it.
    """
    leaf = folder["entry.bin"]
    index, before = verify_tlog_proof(folder["old.tlog-proof"], leaf, old)
    again, after = verify_tlog_proof(folder["new.tlog-proof"], leaf, new)
    if index != again or index <= position or before.checkpoint != after.checkpoint:
        raise VerificationError("bundle.policy_chain")
    return index


def _policy(snapshot: Members, origin: str) -> Policy:
    """Return the policy that follows from members."""
    return Policy.parse(trusted_policy_text(snapshot, origin).encode())


def step_policy(quorum: Members, sets: Iterable[Members], origin: str) -> Policy:
    """Return the policy of one side of a change, with the log lines of all who order in the chain.

    The block of a hand-over is signed by the old orderer, that of a takeover by the new one, since a lost orderer signs
    nothing more; and several changes may be final by one checkpoint only, of the last one's orderer. What counts is the
    quorum.

    Args:
        quorum: members whose quorum must have cosigned.
        sets: all sets of members of the chain.
        origin: origin line of the ledger.

    Returns:
        The policy under which the change's entry must be final.
    """
    logs = dict.fromkeys(log for members in (quorum, *sets) for log in _policy(members, origin).logs)
    return replace(_policy(quorum, origin), logs=tuple(logs))


def _same(snapshot: Members, origin: str, trusted: Policy) -> bool:
    """Tell whether members give the trusted policy."""
    return _policy(snapshot, origin) == trusted
