"""Whether this organisation may rely on a grant: it and its consent are judged anew, as a party to both.

That an object is on the ledger says that its creator and a drawn organisation let it pass; were both to lie, nobody
else would have looked at the patient's signature. Keeps true: a custodian gives, and a recipient takes, only under a
consent whose signature by a passkey (or attestation by two of the staff) it has checked itself, under members, subject
and passkeys as they were at the leaf before; a body that is not here means no. Trusts this node's ledger.
Source: `docs/spec/consent.md` 6, 7; `docs/spec/release.md` 5, 16.
"""

from __future__ import annotations

from typing import Final

from medchain.errors import UnavailableError, VerificationError
from medchain.ledger.kind import CheckContext
from medchain.ledger.kinds.registry import check_body
from medchain.ledger.object import ACTIVE, Body, StateRecord, map_key
from medchain.ledger.transaction import Change, Ref, Transaction, parse_envelope
from medchain.node.ending import PastBodies, body_of
from medchain.node.endorse import Judge
from medchain.store.cache import BoundedCache

NOT_HERE: Final = "relying.body"
"""Code of a body that is not here, or not yet: it may still come."""

_PARTY: Final = "party"
_CACHE_BYTES: Final = 1 << 20
_COST: Final = 256


class Reliance:
    """Judges what this organisation is about to rely on, each version once. Threads may share it."""

    __slots__ = ("_judge", "_relied")

    def __init__(self, judge: Judge) -> None:
        """Judge with this node's ledger and bodies."""
        self._judge = judge
        self._relied: BoundedCache[Ref, bool] = BoundedCache(_CACHE_BYTES)

    def check(self, ref: Ref) -> None:
        """Check a version of an object with a sealed body, and what it stands on.

        Args:
            ref: a version that is final, such as a grant's.

        Raises:
            UnavailableError: `NOT_HERE` while a body that is needed is not here.
            VerificationError: ``relying.version`` for one that is not here or not active; the code of the rule that the
                object, or the consent under it, breaks: ``grant.*``, ``consent.*``, ``signing.*``, ``assertion.*``.
            InputError: for a malformed content.
        """
        if self._relied.get(ref) is not None:
            return
        record = self._judge.replica.store.version(ref.key, ref.version)
        if record is None or record.status != ACTIVE:
            raise VerificationError("relying.version", version=ref.version)
        body = body_of(self._judge.shelf, record)
        if body is None:
            raise UnavailableError(NOT_HERE, kind=record.kind)
        check_body(body, self._context(record))
        for below in record.refs:
            self.check(below)
        self._relied.put(ref, value=True, size_bytes=_COST)

    def _context(self, record: StateRecord) -> CheckContext:
        """Look back to where a version was accepted."""
        judge, position = self._judge, record.since
        store = judge.replica.store
        block, bodies = store.block_at(position), _Held(judge, position - 1)
        transaction = parse_envelope(store.leaf(position)).transaction
        if not isinstance(transaction, Transaction):
            raise VerificationError("relying.version", version=record.version)
        change, row = _place(transaction, record)
        return CheckContext(
            genesis=judge.replica.genesis,
            members=store.members_at(block.height),
            time=block.time,
            own=judge.org_id,
            role=_PARTY,
            creator=transaction.creator,
            signers=transaction.signers,
            change=change,
            row=row,
            previous=bodies.head(record.key),
            bodies=bodies,
            decision=judge.decision,
        )


class _Held(PastBodies):
    """Bodies as they were, those that are missing told from objects that were not there."""

    __slots__ = ()

    def head(self, key: bytes) -> tuple[StateRecord, Body] | None:
        """Return an object's head of that time; raises `UnavailableError` `NOT_HERE` where its body is not here."""
        found = super().head(key)
        if found is None and self._judge.replica.store.record_at(key, self._position) is not None:
            raise UnavailableError(NOT_HERE)
        return found


def _place(transaction: Transaction, record: StateRecord) -> tuple[Change, int]:
    """Find an object in the transaction that made its version."""
    for change in transaction.changes:
        for row, entry in enumerate(change.objects):
            if map_key(change.kind, transaction.creator, entry.id) == record.key:
                return change, row
    raise VerificationError("relying.version", version=record.version)
