"""What honest members have promised by cosigning, seen by somebody who knows all of it and trusts no liar.

A block end may be final, now or later, where those who have cosigned it, or what follows on it, and all who lie are a
quorum of every set of members since the last end before it that may be final: liars sign anything, whenever it suits
them. Two such ends on two branches are two histories that could both be final, whether or not any node has noticed yet.
Source: `docs/spec/ordering.md` 4, "What is final", and 5, "What is final stays".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from medchain.ordering.block import Block
from tests.roll import Roll


class End(NamedTuple):
    """A block end: size of the log and its root."""

    size: int
    root: bytes


@dataclass
class _Place:
    """What is known of a block end: the one before, the members after it, and who cosigned it."""

    parent: End | None
    roll: Roll
    signers: set[str] = field(default_factory=set)


class Promises:
    """The cosignatures of all honest members."""

    def __init__(self) -> None:
        """Know of none."""
        self._roots: dict[str, dict[int, bytes]] = {}
        self._places: dict[End, _Place] = {}

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
                roll = roll or Roll.of_genesis(block.transactions[0])
                for leaf in block.transactions if parent else ():
                    roll = roll.after(leaf)
                self._places[here] = _Place(parent, roll)
            parent, roll = here, self._places[here].roll
        assert (size, root) in {(end, known) for _, end, known in chain}, f"{org_id} cosigns what it does not have"
        self._places[End(size, root)].signers.add(org_id)

    def by(self, org_id: str) -> Mapping[int, bytes]:
        """Return what a member has cosigned: size → root."""
        return self._roots.get(org_id, {})

    def judge(self, liars: Collection[str]) -> None:
        """See that all block ends that may be final are of one log; raises `AssertionError`."""
        backing = {end: set(place.signers) for end, place in self._places.items()}
        for end in sorted(self._places, reverse=True):
            parent = self._places[end].parent
            if parent is not None:
                backing[parent] |= backing[end]
        final, since = [], dict[End, list[Roll]]()
        for end in sorted(self._places):
            place = self._places[end]
            rolls = [*since.get(place.parent, ()), place.roll] if place.parent else [place.roll]
            is_final = all(len(backing[end].union(liars).intersection(roll.active)) >= roll.quorum for roll in rolls)
            # The genesis is final by itself.
            is_final = is_final or place.parent is None
            since[end] = [place.roll] if is_final else rolls
            final += [end] if is_final else []
        for earlier, later in pairwise(final):
            assert self._leads_to(earlier, later), f"{earlier.size} and {later.size} may both be final"

    def _leads_to(self, earlier: End, later: End | None) -> bool:
        """Tell whether an end is the other, or one before it."""
        while later is not None and later.size > earlier.size:
            later = self._places[later].parent
        return later == earlier
