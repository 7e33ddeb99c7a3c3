"""The administrator's proof: what commits an organisation needs more than the secret of local calls.

Web workers hold that secret, but no key of the daemon's: an attacker in one neither decides on what members change
together nor puts keys of his own in the place of the organisation's. The proof is made with a key that only who can
open the daemon's half of the root key has. Keeps true: a proof counts for one operation on one document, once, within
a minute. Trusts the clock.
Source: `docs/spec/proposal.md` 5.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from medchain.encoding import Json, canonical, digest, members, unhex
from medchain.errors import AccessDeniedError, InputError
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.clock import Clock
from medchain.node.peer_auth import MemorySingleUse

PROOF_S: Final = 60
"""How far a proof's time may be from now."""

_MEMBER: Final = "administrator"
_NONCE_BYTES: Final = 16


def with_proof(key: bytes, operation: str, document: dict[str, Json], time: int) -> dict[str, Json]:
    """Add an administrator's proof to a document.

    Args:
        key: `medchain.node.keystore.DaemonKeys.administrator`.
        operation: for which it counts.
        document: what the operation takes.
        time: Unix seconds.

    Returns:
        The document with ``administrator``.
    """
    made: dict[str, Json] = {"nonce": secrets.token_hex(_NONCE_BYTES), "time": time}
    proof = _proof(key, operation, document, made)
    return {**document, _MEMBER: {**made, "proof": proof.hex()}}


class AdministratorDoor:
    """Lets through what an administrator asks for. Threads may share it."""

    __slots__ = ("_clock", "_code", "_key", "_used")

    def __init__(self, key: bytes, clock: Clock, code: str) -> None:
        """Prepare.

        Args:
            key: the administrator's.
            clock: gives Unix seconds.
            code: of the refusal.
        """
        self._key = key
        self._clock = clock
        self._code = code
        self._used = MemorySingleUse(clock)

    def checked(self, operation: str, document: Json) -> dict[str, Json]:
        """Check a proof, and use it up.

        Args:
            operation: what is asked for.
            document: with the proof.

        Returns:
            The document without it.

        Raises:
            AccessDeniedError: with the door's code.
        """
        top = dict(document) if isinstance(document, dict) else {}
        shown = top.pop(_MEMBER, None)
        try:
            made = members(shown, {"nonce": str, "proof": str, "time": int})
            nonce, proof = unhex(made["nonce"], _NONCE_BYTES), unhex(made["proof"], HASH_BYTES)
        except InputError:
            raise AccessDeniedError(self._code) from None
        time = made["time"] if isinstance(made["time"], int) else 0
        expected = _proof(self._key, operation, top, {"nonce": made["nonce"], "time": time})
        is_right = hmac.compare_digest(expected, proof) and abs(self._clock() - time) <= PROOF_S
        if not is_right or not self._used.use_once(nonce.hex(), time + PROOF_S):
            raise AccessDeniedError(self._code)
        return top


def _proof(key: bytes, operation: str, document: dict[str, Json], made: dict[str, Json]) -> bytes:
    """Authenticate a document for one operation, with a nonce and a time."""
    message = digest("medchain/administrator/v1", operation.encode("ascii"), canonical(document), canonical(made))
    return hmac.digest(key, message, "sha256")
