"""The keys that sign tokens: made here, sealed in the records file, replaced in turn, published as a JWKS.

Keeps true: a token is signed by the newest key of its algorithm and verified under any that is published; a key is
published for at least a day after its successor came, longer than anything that it signed counts; a private key is on
disk only sealed under the node's records key. Processes share the keys through the records file. Trusts joserfc for
JWK and JWE, the store for which key is the newest.
Source: RFC 7517, RFC 7516 (dir, A256GCM), OpenID Connect Core §10.1.1 (rotation of signing keys).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, TypeAlias

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey
from orjson import dumps, loads

from medchain.crypto.keywrap import derive
from medchain.encoding import Json
from medchain.errors import VerificationError
from medchain.node.clock import Clock
from medchain.store.accounts import AccountStore
from medchain.store.authorisations import SigningKeyRow

ACCESS: Final = "ES384"
"""Algorithm of access tokens."""

IDENTITY: Final = "RS256"
"""Algorithm of id tokens (SMART App Launch 2.2 asks for it)."""

ROTATE_S: Final = 30 * 86_400
"""After how long a key gets a successor."""

KEEP_S: Final = 86_400
"""How long a key is published after its successor came, at least."""

Key: TypeAlias = "ECKey | RSAKey"
"""A key of either algorithm."""

_RSA_BITS: Final = 2048
_PURPOSE: Final = "smart-signing-keys"
_REFRESH_S: Final = 60.0
_MISS_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs tokens.

    Attributes:
        kid: its id, the RFC 7638 thumbprint.
        algorithm: JOSE algorithm.
        key: the private key.
        created: Unix seconds.
    """

    kid: str
    algorithm: str
    key: Key
    created: int


class SigningKeys:
    """The signing keys of one node. Threads and processes may share them."""

    __slots__ = ("_accounts", "_clock", "_held", "_lock", "_sealing")

    def __init__(self, accounts: AccountStore, records_key: bytes, clock: Clock) -> None:
        """Prepare; nothing is read yet.

        Args:
            accounts: keeps the keys.
            records_key: the node's records key, 32 bytes.
            clock: gives Unix seconds.
        """
        self._accounts = accounts
        self._sealing = OctKey.import_key(bytes(derive(records_key, _PURPOSE)))
        self._clock = clock
        self._held: dict[str, tuple[float, tuple[SigningKey, ...]]] = {}
        self._lock = Lock()

    def newest(self, algorithm: str) -> SigningKey:
        """Return the key that signs now; makes one where there is none or it is due.

        Raises:
            VerificationError: ``smart.signing_key`` for one that does not open.
        """
        found = self._all(algorithm, _REFRESH_S)
        if not found or self._clock() - found[0].created >= ROTATE_S:
            self.rotate(algorithm)
            found = self._all(algorithm, 0)
        return found[0]

    def find(self, algorithm: str, kid: str) -> SigningKey | None:
        """Return the key with an id, if it is published."""
        for patience in (_REFRESH_S, _MISS_S):
            for one in self._all(algorithm, patience):
                if one.kid == kid:
                    return one
        return None

    def rotate(self, algorithm: str) -> SigningKey:
        """Make a new key; the one before stays published, those that ended long ago go."""
        before = self._all(algorithm, 0)
        key: Key = ECKey.generate_key("P-384") if algorithm == ACCESS else RSAKey.generate_key(_RSA_BITS)
        now, kid = self._clock(), key.thumbprint()
        drop_before = min(before[0].created, now - KEEP_S) if before else 0
        # Newer than the one before even within its second, or that one would go on signing.
        created = max(now, before[0].created + 1) if before else now
        row = SigningKeyRow(kid, algorithm, self._sealed(kid, key), created)
        self._accounts.put_signing_key(row, before[0].kid if before else None, drop_before)
        # Where another process was faster, its key is the one.
        return self._all(algorithm, 0)[0]

    def jwks(self) -> Json:
        """Publish all keys (RFC 7517 §5)."""
        rows: list[Json] = []
        for algorithm in (ACCESS, IDENTITY):
            for one in self._all(algorithm, _REFRESH_S):
                public: dict[str, Any] = one.key.as_dict(private=False)
                rows.append({**public, "kid": one.kid, "use": "sig", "alg": algorithm})
        return {"keys": rows}

    def _all(self, algorithm: str, patience_s: float) -> tuple[SigningKey, ...]:
        """Return the keys of an algorithm, the newest first, as they were at most so long ago."""
        now = time.monotonic()
        with self._lock:
            held = self._held.get(algorithm)
        if held is not None and now - held[0] < patience_s:
            return held[1]
        known = {one.kid: one for one in held[1]} if held is not None else {}
        rows = self._accounts.signing_keys(algorithm)
        found = tuple(known.get(row.kid) or self._opened(row) for row in rows)
        with self._lock:
            self._held[algorithm] = (now, found)
        return found

    def _sealed(self, kid: str, key: Key) -> bytes:
        """Seal a private key."""
        header = {"alg": "dir", "enc": "A256GCM", "kid": kid}
        return jwe.encrypt_compact(header, dumps(key.as_dict(private=True)), self._sealing).encode("ascii")

    def _opened(self, row: SigningKeyRow) -> SigningKey:
        """Open a private key; one that was put in another's place does not."""
        try:
            opened = jwe.decrypt_compact(row.sealed, self._sealing, algorithms=["dir", "A256GCM"])
            document: Mapping[str, Any] = loads(opened.plaintext or b"")
            key = (ECKey if row.algorithm == ACCESS else RSAKey).import_key(dict(document))
        except (JoseError, ValueError) as error:
            raise VerificationError("smart.signing_key") from error
        if opened.protected.get("kid") != row.kid or key.thumbprint() != row.kid:
            raise VerificationError("smart.signing_key")
        return SigningKey(row.kid, row.algorithm, key, row.created)
