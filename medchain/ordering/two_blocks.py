"""Two blocks for one height: the proof that one log key has signed two histories, also where their sizes differ.

Notes of one size contradict each other by their roots. Of different sizes, one could follow on the other; that it does
not, an entry shows that is in one log, and another one in its place in the other. Keeps true: nothing counts but what
is in a log under a note that its log key has signed. Trusts nothing but the members' keys.
Source: `docs/spec/ordering.md` 5; RFC 6962 §2.1.1; C2SP tlog-proof.
"""

from __future__ import annotations

from typing import Final

from medchain.ledger.members import Members
from medchain.ordering.block import Block
from medchain.ordering.entry import Entry
from medchain.ordering.lines import Notary, Reading, note_size
from medchain.tlog.merkle import verify_inclusion

TWO_BLOCKS: Final = "ordering.two_blocks"
"""Alarm: who orders has signed two blocks for one height."""


def parting(ours: Block, theirs: Block) -> int:
    """Return the first position at which the logs of two blocks differ that follow on the same one.

    Args:
        ours: whose end is known.
        theirs: another one.
    """
    first = note_size(ours.checkpoint) - len(ours.transactions) - 1
    pairs = zip(ours.transactions, theirs.transactions, strict=False)
    # Where the one holds no more than the other begins with, its state leaf has the place of a transaction.
    end = min(len(ours.transactions), len(theirs.transactions))
    return first + next((at for at, (mine, other) in enumerate(pairs) if mine != other), end)


def signed_both(ours: Entry, theirs: Entry, notary: Notary, members: Members) -> str | None:
    """Tell who has signed two logs of which none can follow on the other.

    Args:
        ours: an entry.
        theirs: another one.
        notary: reads notes.
        members: whose log keys count.

    Returns:
        The organisation, None where they prove nothing.

    Raises:
        InputError: what is no note.
        VerificationError: ``checkpoint.*``, ``tlog.*`` for what the notes do not say.
    """
    first, second = (_read(entry, notary, members) for entry in (ours, theirs))
    is_proof = first.log_org == second.log_org and ours.position == theirs.position and ours.leaf != theirs.leaf
    return first.log_org if is_proof else None


def evidence(ours: Entry, theirs: Entry, org_id: str) -> dict[str, int | str | None]:
    """Write down what proves that an organisation has signed two blocks, for whoever knows its log key."""
    return {
        "orderer": org_id,
        "position": ours.position,
        "ours": ours.proof.decode(),
        "our_leaf": ours.leaf.hex(),
        "theirs": theirs.proof.decode(),
        "their_leaf": theirs.leaf.hex(),
    }


def _read(entry: Entry, notary: Notary, members: Members) -> Reading:
    """Verify that an entry is in a log that a member has signed; raises as `signed_both`."""
    reading = notary.read(entry.note, members)
    verify_inclusion(entry.leaf, entry.position, reading.size, entry.hashes, reading.root)
    return reading
