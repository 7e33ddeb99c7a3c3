"""The notary: reads and writes checkpoint notes under the members' keys (`medchain.ordering.cosign.Notary`).

Keeps true: what it returns as a line was verified under a key that the ledger names; a line of a known key that does
not verify condemns the whole note. Trusts `medchain.tlog` and the members' snapshot.
Source: C2SP signed-note, tlog-checkpoint, tlog-cosignature; `docs/spec/genesis.md` 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.errors import VerificationError
from medchain.ledger.genesis import cosigner_name
from medchain.ledger.members import COSIGN_ED25519_KEY, COSIGN_MLDSA44_KEY, LOG_KEY, Members
from medchain.ordering.cosign import Line, LineName, Reading
from medchain.tlog.checkpoint import (
    Checkpoint,
    cosign,
    parse_checkpoint,
    sign_checkpoint,
    verify_cosignature,
    verify_log_signature,
)
from medchain.tlog.note import MAX_SIGNATURES, KeyType, Note, Signature, VerifierKey, parse_note

_TYPES: Final = {
    COSIGN_ED25519_KEY: KeyType.COSIGNATURE_ED25519,
    COSIGN_MLDSA44_KEY: KeyType.COSIGNATURE_MLDSA44,
}


class CosignKeys(NamedTuple):
    """The private cosigning keys of this organisation."""

    org_id: str
    ed25519: Ed25519Signer
    mldsa44: MlDsa44Signer


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

    def read(self, note: str, members: Members) -> Reading:
        """Verify a note; see `medchain.ordering.cosign.Notary.read`."""
        parsed = parse_note(note.encode())
        checkpoint = parse_checkpoint(parsed.text)
        if checkpoint.origin != self._origin:
            raise VerificationError("checkpoint.origin")
        log = [found for signature in parsed.signatures for found in self._log_lines(checkpoint, signature, members)]
        if not log:
            raise VerificationError("checkpoint.log_line", size=checkpoint.size)
        known = dict(self._cosigners(members))
        lines: dict[LineName, Line] = {}
        for signature in parsed.signatures:
            found = known.get((signature.name, signature.key_id))
            if found is not None:
                name, key = found
                lines[name] = Line(verify_cosignature(checkpoint, key, signature), signature.line())
        return Reading(checkpoint.size, checkpoint.root, log[0][0], log[0][1], lines)

    def cosign(self, size: int, root: bytes, time: int) -> Mapping[LineName, Line]:
        """Make this organisation's two lines."""
        checkpoint = Checkpoint(self._origin, size, root)
        org_id = self._keys.org_id
        lines: dict[LineName, Line] = {}
        for use, signer in ((COSIGN_ED25519_KEY, self._keys.ed25519), (COSIGN_MLDSA44_KEY, self._keys.mldsa44)):
            signature = cosign(checkpoint, cosigner_name(org_id, self._origin, use), signer, time)
            lines[LineName(org_id, use)] = Line(time, signature.line())
        return lines

    def write(self, size: int, root: bytes, log_line: str, lines: Mapping[LineName, Line]) -> str:
        """Write a note; of more lines than a note may have, those of the first organisations."""
        text = Checkpoint(self._origin, size, root).text()
        ordered = [lines[name].text for name in sorted(lines)][: (MAX_SIGNATURES - 1) // 2 * 2]
        return f"{text}\n{log_line}{''.join(ordered)}"

    def _log_lines(self, checkpoint: Checkpoint, signature: Signature, members: Members) -> Iterator[tuple[str, str]]:
        """Find whose log key made a line; the orderer in force is not the only one whose lines are out there."""
        if signature.name != self._origin:
            return
        for organisation in members.active:
            key = VerifierKey(self._origin, KeyType.ED25519, organisation.key(LOG_KEY).public)
            if key.key_id == signature.key_id:
                verify_log_signature(checkpoint, key, signature)
                yield organisation.org_id, signature.line()

    def _cosigners(self, members: Members) -> Iterator[tuple[tuple[str, bytes], tuple[LineName, VerifierKey]]]:
        """List the cosigning keys in force, by name and key id."""
        for organisation in members.active:
            for use, kind in _TYPES.items():
                name = cosigner_name(organisation.org_id, self._origin, use)
                key = VerifierKey(name, kind, organisation.key(use).public)
                yield (key.name, key.key_id), (LineName(organisation.org_id, use), key)


def log_pen(signer: Ed25519Signer, origin: str, size: int, root: bytes) -> str:
    """Sign a checkpoint with a log key; returns the note with that one line."""
    note: Note = sign_checkpoint(Checkpoint(origin, size, root), signer)
    return note.to_bytes().decode()
