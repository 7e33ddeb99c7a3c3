"""Whether this organisation may rely on a grant: it and its consent must hold by this node's own judgement.

That an object is on the ledger says that its creator and a drawn organisation let it pass; were both to lie, nobody
else would have looked at the patient's signature. Keeps true: a custodian gives, and a recipient takes, only under a
consent whose signature by a passkey (or attestation by two of the staff) it has checked itself, under members, subject
and passkeys as they were at the leaf before; a body that is not here means no. Trusts this node's ledger.
Source: `docs/spec/consent.md` 6, 7; `docs/spec/release.md` 5, 16; `docs/spec/body.md` 10.
"""

from __future__ import annotations

from typing import Final

from medchain.errors import UnavailableError, VerificationError
from medchain.ledger.object import ACTIVE
from medchain.ledger.transaction import Ref
from medchain.node.endorse import Judge
from medchain.node.verdicts import NOT_HERE, Verdicts
from medchain.store.cache import BoundedCache

_CACHE_BYTES: Final = 1 << 20
_COST: Final = 256


class Reliance:
    """Judges what this organisation is about to rely on, each version once. Threads may share it."""

    __slots__ = ("_judge", "_relied", "_verdicts")

    def __init__(self, judge: Judge, verdicts: Verdicts) -> None:
        """Judge with this node's ledger and bodies."""
        self._judge = judge
        self._verdicts = verdicts
        self._relied: BoundedCache[Ref, bool] = BoundedCache(_CACHE_BYTES)

    def check(self, ref: Ref) -> None:
        """Check a version of an object with a sealed body, and what it stands on.

        Args:
            ref: a version that is final, such as a grant's.

        Raises:
            UnavailableError: `NOT_HERE` while a body that is needed is not here.
            VerificationError: ``relying.version`` for one that is not here or not active; the code of the rule that the
                object, or the consent under it, breaks: ``grant.*``, ``consent.*``, ``signing.*``, ``assertion.*``.
        """
        if self._relied.get(ref) is not None:
            return
        record = self._judge.replica.store.version(ref.key, ref.version)
        if record is None or record.status != ACTIVE:
            raise VerificationError("relying.version", version=ref.version)
        body = self._judge.shelf.held_at(ref.key, ref.version)
        if body is None or body.body_hash != record.body_hash:
            raise UnavailableError(NOT_HERE, kind=record.kind)
        # What it stands on first: the rule that is broken there says more.
        for below in record.refs:
            self.check(below)
        self._verdicts.check(record, body)
        self._relied.put(ref, value=True, size_bytes=_COST)
