"""What honest members have promised by cosigning, seen by somebody who knows all of it and trusts no liar.

A block end may be final, now or later, where those who have cosigned it, or what follows on it, and all who lie are a
quorum: liars sign anything, whenever it suits them. Two such ends on two branches are two histories that could both be
final, whether or not any node has noticed yet. Source: `docs/spec/ordering.md` 4 and 5, "What is final stays".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from medchain.ordering.block import Block
from tests.roll import COSIGN_USES, Roll


class End(NamedTuple):
    """A block end: size of the log and its root."""

    size: int
    root: bytes


@dataclass
class _Place:
    """What is known of a block end: the one before, the members before and after it, and who cosigned it."""

    parent: End | None
    before: Roll
    roll: Roll
    signers: set[str] = field(default_factory=set)


class Promises:
    """The cosignatures of all honest members."""

    def __init__(self) -> None:
        """Know of none."""
        self._roots: dict[str, dict[int, bytes]] = {}
        self._places: dict[End, _Place] = {}
        self._keys: dict[tuple[str, End], set[bytes]] = {}

    def signed(self, org_id: str, chain: Sequence[tuple[Block, int, bytes]], size: int, root: bytes) -> None:
        """Take note that a member cosigns an end of its chain of blocks, each with its size and root.

        Raises:
            AssertionError: it has cosigned another root of that size, or what is no block end of its own.
        """
        assert self._roots.setdefault(org_id, {}).setdefault(size, root) == root, f"{org_id} signs two roots of {size}"
        parent, roll = None, None
        for block, *end in chain:
            here = End(*end)
            if here not in self._places:
                before = roll = roll or Roll.of_genesis(block.transactions[0])
                for leaf in block.transactions if parent else ():
                    roll = roll.after(leaf)
                self._places[here] = _Place(parent, before, roll)
            parent, roll = here, self._places[here].roll
        assert (size, root) in {(end, known) for _, end, known in chain}, f"{org_id} cosigns what it does not have"
        here = End(size, root)
        self._places[here].signers.add(org_id)
        self._keys.setdefault((org_id, here), set()).update(*(roll.listed(org_id, use) for use in COSIGN_USES))

    def by(self, org_id: str) -> Mapping[int, bytes]:
        """Return what a member has cosigned: size → root."""
        return self._roots.get(org_id, {})

    def keys(self, org_id: str, size: int, root: bytes) -> Collection[bytes]:
        """Return the cosigning keys of a member that its own ledger listed when it cosigned an end.

        That ledger may have had more blocks, which a takeover has dropped since, with the exchange of those keys.
        """
        return self._keys.get((org_id, End(size, root)), ())

    def judge(self, liars: Collection[str]) -> None:
        """See that all block ends that may be final are of one log; raises `AssertionError`."""
        backing = {end: set(place.signers) for end, place in self._places.items()}
        for end in sorted(self._places, reverse=True):
            parent = self._places[end].parent
            if parent is not None:
                backing[parent] |= backing[end]
        final = [end for end in sorted(self._places) if self._may_be_final(end, backing[end].union(liars))]
        for earlier, later in pairwise(final):
            assert self._leads_to(earlier, later), f"{earlier.size} and {later.size} may both be final"

    def _may_be_final(self, end: End, backing: Collection[str]) -> bool:
        """Tell whether who backs an end is a quorum; of a change of members, before and after it."""
        place = self._places[end]
        return all(len({*roll.active}.intersection(backing)) >= roll.quorum for roll in (place.before, place.roll))

    def _leads_to(self, earlier: End, later: End | None) -> bool:
        """Tell whether an end is the other, or one before it."""
        while later is not None and later.size > earlier.size:
            later = self._places[later].parent
        return later == earlier
