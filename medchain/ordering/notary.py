"""The notary: reads and writes checkpoint notes under the members' keys (`medchain.ordering.lines.Notary`).

Keeps true: what it returns as a line was verified under a key that the ledger names; a line of a known key that does
not verify condemns the whole note. Trusts `medchain.tlog` and the members' snapshot.
Source: C2SP signed-note, tlog-checkpoint, tlog-cosignature; `docs/spec/genesis.md` 6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer, key_id
from medchain.errors import VerificationError
from medchain.ledger.genesis import cosigner_name, line_key
from medchain.ledger.members import (
    ALGORITHMS,
    COSIGN_ED25519_KEY,
    COSIGN_MLDSA44_KEY,
    COSIGN_USES,
    LOG_KEY,
    Members,
    Organisation,
)
from medchain.ordering.lines import Line, LineName, Reading
from medchain.tlog.checkpoint import (
    Checkpoint,
    cosign,
    parse_checkpoint,
    sign_checkpoint,
    verify_cosignature,
    verify_log_signature,
)
from medchain.tlog.note import MAX_SIGNATURES, Note, Signature, VerifierKey, parse_note


class CosignKeys(NamedTuple):
    """The private cosigning keys of this organisation."""

    org_id: str
    ed25519: Ed25519Signer
    mldsa44: MlDsa44Signer


class _Key(NamedTuple):
    """A log or cosigning key in force."""

    name: LineName
    key: VerifierKey


_Keys = Mapping[tuple[str, bytes], _Key]
"""Name and key id of a line → the key that it is by: no ledger lists two of one id (`docs/spec/transaction.md` 2)."""


class _Directory(NamedTuple):
    """The keys of a members snapshot."""

    members: Members
    earlier: Sequence[Members]
    logs: _Keys
    cosigners: _Keys


class _Verified(NamedTuple):
    """Verifies the lines of one checkpoint; a line that was verified before, letter by letter, is only compared.

    A line's text holds its key's id, so the same text was verified under the same key.
    """

    checkpoint: Checkpoint
    before: Reading | None

    def log_line(self, log: _Key, signature: Signature) -> Line:
        """Verify a log's line."""
        text = signature.line()
        before = self.before
        if before is None or (before.log_org, before.log_line) != (log.name.org_id, text):
            verify_log_signature(self.checkpoint, log.key, signature)
        return Line(0, text)

    def line(self, cosigner: _Key, signature: Signature) -> Line:
        """Verify a cosigner's line."""
        text = signature.line()
        known = None if self.before is None else self.before.lines.get(cosigner.name)
        if known is not None and known.text == text:
            return known
        return Line(verify_cosignature(self.checkpoint, cosigner.key, signature), text)


class LedgerNotary:
    """Notes of one ledger."""

    def __init__(self, origin: str, keys: CosignKeys) -> None:
        """Prepare.

        Args:
            origin: origin line of the ledger's checkpoints.
            keys: with which to cosign.
        """
        self._origin = origin
        self._keys = keys
        self._directory: _Directory | None = None

    @property
    def org_id(self) -> str:
        """Whose cosigning keys it has."""
        return self._keys.org_id

    def read(
        self,
        note: str,
        members: Members,
        known: Mapping[int, Reading] = MappingProxyType({}),
        earlier: Sequence[Members] = (),
    ) -> Reading:
        """Verify a note; see `medchain.ordering.lines.Notary.read`."""
        parsed = parse_note(note.encode())
        checkpoint = parse_checkpoint(parsed.text)
        if checkpoint.origin != self._origin:
            raise VerificationError("checkpoint.origin")
        directory = self._directory_of(members, earlier)
        before = known.get(checkpoint.size)
        verified = _Verified(checkpoint, before if before is not None and before.root == checkpoint.root else None)
        logs: list[tuple[LineName, Line]] = []
        lines: dict[LineName, Line] = {}
        for signature in parsed.signatures:
            name = signature.name, signature.key_id
            if (log := directory.logs.get(name)) is not None:
                logs.append((log.name, verified.log_line(log, signature)))
            elif (cosigner := directory.cosigners.get(name)) is not None:
                lines[cosigner.name] = verified.line(cosigner, signature)
        if not logs:
            raise VerificationError("checkpoint.log_line", size=checkpoint.size)
        (first, log_line), *others = logs
        lines.update((by, line) for by, line in others if by != first)
        return Reading(checkpoint.size, checkpoint.root, first.org_id, log_line.text, lines)

    def cosign(self, size: int, root: bytes, time: int) -> Mapping[LineName, Line]:
        """Make this organisation's two lines."""
        checkpoint = Checkpoint(self._origin, size, root)
        org_id = self._keys.org_id
        lines: dict[LineName, Line] = {}
        for use, signer in ((COSIGN_ED25519_KEY, self._keys.ed25519), (COSIGN_MLDSA44_KEY, self._keys.mldsa44)):
            signature = cosign(checkpoint, cosigner_name(org_id, self._origin, use), signer, time)
            lines[LineName(org_id, use, key_id(ALGORITHMS[use], signer.public))] = Line(time, signature.line())
        return lines

    def sign_log(self, size: int, root: bytes, signer: Ed25519Signer) -> Mapping[LineName, Line]:
        """Make the line of a log key of this organisation."""
        (signature,) = sign_checkpoint(Checkpoint(self._origin, size, root), signer).signatures
        name = LineName(self.org_id, LOG_KEY, key_id(ALGORITHMS[LOG_KEY], signer.public))
        return {name: Line(0, signature.line())}

    def write(self, size: int, root: bytes, log_line: str, lines: Mapping[LineName, Line]) -> str:
        """Write a note; of more lines than a note may have, each organisation's newest go first.

        Who exchanges its keys again and again, and signs with all of them, leaves out lines of its own alone.
        """
        text = Checkpoint(self._origin, size, root).text()
        logs = [log_line, *(line.text for name, line in lines.items() if name.use == LOG_KEY)]
        cosigners = [name for name in lines if name.use != LOG_KEY]
        ranks: Counter[tuple[str, str]] = Counter()
        ranked: list[tuple[int, LineName]] = []
        for name in sorted(cosigners, key=lambda item: (-lines[item].time, item)):
            ranked.append((ranks[name[:2]], name))
            ranks[name[:2]] += 1
        chosen = sorted(name for _, name in sorted(ranked)[: (MAX_SIGNATURES - len(logs)) // 2 * 2])
        return f"{text}\n{''.join([*logs, *(lines[name].text for name in chosen)])}"

    def _directory_of(self, members: Members, earlier: Sequence[Members]) -> _Directory:
        """Return the keys that count, gathered anew only when the members change."""
        found = self._directory
        if found is None or found.members is not members or [*map(id, found.earlier)] != [*map(id, earlier)]:
            logs, cosigners = self._listed(_logs(members)), self._listed(_cosigners((*earlier, members)))
            found = self._directory = _Directory(members, tuple(earlier), logs, cosigners)
        return found

    def _listed(self, keys: Iterator[tuple[Organisation, str]]) -> _Keys:
        """List organisations' keys of a use as a note's lines name them."""
        found = {}
        for organisation, use in keys:
            key = line_key(organisation, self._origin, use)
            found[key.name, key.key_id] = _Key(LineName(organisation.org_id, use, organisation.key(use).id), key)
        return found


def _logs(members: Members) -> Iterator[tuple[Organisation, str]]:
    """List the log keys: the orderer's is not the only one whose lines are out there.

    Whoever orders a block by which it hands over and takes part no more has signed the end of that block, which all
    others have to cosign.
    """
    for organisation in members.organisations.values():
        yield organisation, LOG_KEY


def _cosigners(sets: Sequence[Members]) -> Iterator[tuple[Organisation, str]]:
    """List the cosigning keys of all who take part, or did so in one of the sets."""
    for organisation in (item for members in sets for item in members.active):
        for use in COSIGN_USES:
            yield organisation, use


def log_pen(signer: Ed25519Signer, origin: str, size: int, root: bytes) -> str:
    """Sign a checkpoint with a log key; returns the note with that one line."""
    note: Note = sign_checkpoint(Checkpoint(origin, size, root), signer)
    return note.to_bytes().decode()
