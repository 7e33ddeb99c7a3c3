"""Lines on checkpoints: whose they are, what of a note holds, and when there are a quorum's.

Keeps true: only lines that a `Notary` has verified stand in a `Reading`; a member counts where both of its keys have
signed, and for a quorum of every set of members in question. Trusts the members that it is given.
Source: `docs/spec/ordering.md` 4; C2SP tlog-cosignature.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol

from medchain.crypto.signing import Ed25519Signer
from medchain.ledger.members import COSIGN_USES, Members
from medchain.tlog.checkpoint import parse_checkpoint
from medchain.tlog.note import parse_note


class LineName(NamedTuple):
    """Whose signature line it is: organisation, use of its key, and the key's id: one that is exchanged has two."""

    org_id: str
    use: str
    key_id: str


class Line(NamedTuple):
    """A verified line.

    Attributes:
        time: when it was made, Unix seconds; 0 for a log's, which does not say.
        text: it, with its end.
    """

    time: int
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A note of which only what was verified is left.

    Attributes:
        size: leaves of the log.
        root: 32 bytes.
        log_org: the organisation whose log key signed it.
        log_line: that line's text.
        lines: verified cosignature lines, and those of other members' log keys, which count for no quorum.
    """

    size: int
    root: bytes
    log_org: str
    log_line: str
    lines: Mapping[LineName, Line]


class FinalNote(NamedTuple):
    """A note with a quorum's lines: size of the log, and its text."""

    size: int
    text: str


class Notary(Protocol):
    """Reads and writes checkpoint notes under the members' keys."""

    @property
    def org_id(self) -> str:
        """Whose cosigning keys it has."""
        ...

    def read(
        self,
        note: str,
        members: Members,
        known: Mapping[int, Reading] = MappingProxyType({}),
        earlier: Sequence[Members] = (),
    ) -> Reading:
        """Verify a note.

        Args:
            note: its text.
            members: whose keys count.
            known: size → what was verified before; the same line again is not verified again.
            earlier: sets of members whose cosigning keys count besides.

        Returns:
            What holds.

        Raises:
            InputError: ``checkpoint.*`` or ``note.*`` for what is no note.
            VerificationError: ``checkpoint.*`` for another origin, no valid line of a member's log key, or a line of
                a known cosigner that does not verify. Lines of unknown keys are left out.
        """
        ...

    def cosign(self, size: int, root: bytes, time: int) -> Mapping[LineName, Line]:
        """Make this organisation's two lines."""
        ...

    def sign_log(self, size: int, root: bytes, signer: Ed25519Signer) -> Mapping[LineName, Line]:
        """Make the line of a log key of this organisation."""
        ...

    def write(self, size: int, root: bytes, log_line: str, lines: Mapping[LineName, Line]) -> str:
        """Write a note with lines."""
        ...


def merged(known: Mapping[LineName, Line], more: Mapping[LineName, Line]) -> dict[LineName, Line]:
    """Join lines; of two by one key the newer one stays, so that an old one sent again does no harm."""
    merged = dict(known)
    for name, line in more.items():
        if name not in merged or merged[name].time < line.time:
            merged[name] = line
    return merged


def complete(lines: Iterable[LineName], members: Members, *later: Members) -> frozenset[str]:
    """Return the active organisations of which there is a line of each use.

    Args:
        lines: whose lines there are.
        members: whose active organisations are asked for, and whose keys count.
        later: sets of members after them, whose keys for these organisations count as well: who exchanges a key has
            promised with the new one what it would have promised with the old one.
    """
    there = frozenset(lines)

    def is_complete(org_id: str) -> bool:
        known = [found for item in (members, *later) if (found := item.organisations.get(org_id)) is not None]
        names = [LineName(org_id, key.use, key.id) for found in known for key in found.keys if key.use in COSIGN_USES]
        return {name.use for name in names if name in there} == {*COSIGN_USES}

    return frozenset(item.org_id for item in members.active if is_complete(item.org_id))


def is_quorum(lines: Iterable[LineName], sets: Sequence[Members]) -> bool:
    """Tell whether there are a quorum's lines of every set of members, under keys that it or a later one lists."""
    there = frozenset(lines)
    return all(len(complete(there, *sets[at:])) >= item.protocol.quorum for at, item in enumerate(sets))


def note_size(note: str) -> int:
    """Return the size that a note claims; raises `InputError`."""
    return parse_checkpoint(parse_note(note.encode()).text).size
