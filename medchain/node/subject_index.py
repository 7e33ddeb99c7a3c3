"""Which consents are a person's, which grants a consent's, all emergencies, mandates, statements: found in bodies here.

Nothing on the ledger links them; who holds the bodies can. Keeps true: what was kept since the start is found at once,
what was kept before after the first question, which reads all bodies once. Trusts nothing: callers look up what is
named here, and a body that was destroyed or never accepted is not there.
Source: `docs/spec/consent.md`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from threading import Lock
from typing import Final

from medchain.encoding import unhex
from medchain.errors import InputError
from medchain.ledger.kinds.capacity import read_delegates
from medchain.ledger.kinds.passkeys import read_passkeys
from medchain.ledger.object import Body
from medchain.ledger.one_claim import one_claim_in
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.attempts import read_attempts
from medchain.store.ledger import LedgerStore

_PAGE: Final = 500
_GRANT: Final = "grant"
_EMERGENCY: Final = "emergency"
_MANDATE: Final = "mandate"
_ATTEST: Final = "attest"
_CONSENT: Final = "consent"
_LISTED: Final = frozenset({_CONSENT, _GRANT})
_ABOVE: Final = {_CONSENT: ("acting_for", "subject"), _GRANT: ("consent",)}


class SubjectIndex:
    """Objects by what they are of. Threads may share it."""

    __slots__ = (
        "_added",
        "_attests",
        "_below",
        "_consents",
        "_credentials",
        "_emergencies",
        "_grants",
        "_is_whole",
        "_lock",
        "_mandates",
        "_of_claims",
        "_reading",
        "_recoveries",
        "_represented",
        "_store",
    )

    def __init__(self, store: LedgerStore) -> None:
        """Know nothing yet; `add` is called for each body that is kept from now on."""
        self._store = store
        self._added = 0
        self._attests: set[bytes] = set()
        self._below: defaultdict[bytes, set[bytes]] = defaultdict(set)
        self._consents: set[bytes] = set()
        self._emergencies: set[bytes] = set()
        self._grants: set[bytes] = set()
        self._mandates: set[bytes] = set()
        self._recoveries: defaultdict[bytes, set[bytes]] = defaultdict(set)
        self._credentials: defaultdict[bytes, set[bytes]] = defaultdict(set)
        self._represented: defaultdict[bytes, set[bytes]] = defaultdict(set)
        self._of_claims: defaultdict[bytes, set[bytes]] = defaultdict(set)
        self._is_whole = False
        self._lock = Lock()
        self._reading = Lock()

    def add(self, key: bytes, body: Body) -> None:
        """Note a body that is kept; what is malformed, and kept as evidence, is of nobody."""
        try:
            self._add(key, body)
        except InputError:
            return
        finally:
            with self._lock:
                self._added += 1

    def _add(self, key: bytes, body: Body) -> None:
        """Note a body."""
        if body.kind == _EMERGENCY:
            with self._lock:
                self._emergencies.add(key)
        if body.kind == _MANDATE:
            with self._lock:
                self._mandates.add(key)
        if body.kind == _ATTEST:
            with self._lock:
                self._attests.add(key)
        if body.kind == "subject":
            self._add_subject(key, body)
            return
        if body.kind == "recovery" and isinstance(subject := body.content.get("subject"), str):
            with self._lock:
                self._recoveries[unhex(subject, HASH_BYTES)].add(key)
            return
        above = _above(body)
        if above is not None:
            with self._lock:
                self._below[above].add(key)
                if body.kind in _LISTED:
                    (self._grants if body.kind == _GRANT else self._consents).add(key)
        one = one_claim_in(body.content) if body.kind == _CONSENT else None
        if one is not None:
            with self._lock:
                self._of_claims[one.digest].add(key)

    @property
    def added(self) -> int:
        """How many bodies were noted since the start: who has seen what there is looks again once it grows."""
        with self._lock:
            return self._added

    def of(self, above: bytes) -> list[bytes]:
        """Return the consents of a subject, or the grants of a consent.

        Args:
            above: map key, 32 bytes.

        Returns:
            Map keys, sorted.
        """
        self._know_all()
        with self._lock:
            return sorted(self._below.get(above, ()))

    def of_claim(self, digest: bytes) -> list[bytes]:
        """Return the consents for one claim, in force or not; map keys, sorted.

        Args:
            digest: of the claim, 32 bytes.
        """
        return self._look(self._of_claims, digest)

    def consents(self) -> list[bytes]:
        """Return all consents of which this node holds a body; map keys, sorted."""
        self._know_all()
        with self._lock:
            return sorted(self._consents)

    def grants(self) -> list[bytes]:
        """Return all grants of which this node holds a body; map keys, sorted."""
        self._know_all()
        with self._lock:
            return sorted(self._grants)

    def emergencies(self) -> list[bytes]:
        """Return all emergencies of which this node holds a body or a part of one; map keys, sorted."""
        self._know_all()
        with self._lock:
            return sorted(self._emergencies)

    def mandates(self) -> list[bytes]:
        """Return all mandates of which this node holds a body; map keys, sorted."""
        self._know_all()
        with self._lock:
            return sorted(self._mandates)

    def attests(self) -> list[bytes]:
        """Return all statements of which this node holds a body; map keys, sorted."""
        self._know_all()
        with self._lock:
            return sorted(self._attests)

    def recoveries(self, subject: bytes) -> list[bytes]:
        """Return the recoveries of a subject; map keys, sorted."""
        return self._look(self._recoveries, subject)

    def recovered(self) -> list[bytes]:
        """Return the subjects of which recoveries were announced; map keys, sorted."""
        self._know_all()
        with self._lock:
            return sorted(self._recoveries)

    def holders(self, credential_id: bytes) -> list[bytes]:
        """Return the subjects that have, or had, a passkey of an id; map keys, sorted."""
        return self._look(self._credentials, credential_id)

    def represented(self, delegate: bytes) -> list[bytes]:
        """Return the subjects of which another is, or was, a delegate; map keys, sorted."""
        return self._look(self._represented, delegate)

    def _look(self, table: Mapping[bytes, set[bytes]], name: bytes) -> list[bytes]:
        """Look up a name."""
        self._know_all()
        with self._lock:
            return sorted(table.get(name, ()))

    def _add_subject(self, key: bytes, body: Body) -> None:
        """Note passkeys and delegates of a subject."""
        try:
            passkeys, delegates = read_passkeys(body.content), read_delegates(body.content)
        except InputError:
            # A part without them, or what was never accepted.
            return
        with self._lock:
            for passkey in passkeys:
                self._credentials[passkey.credential_id].add(key)
            for delegate in delegates:
                self._represented[delegate.subject].add(key)

    def _know_all(self) -> None:
        """Read what was kept before the start, once."""
        with self._reading:
            if not self._is_whole:
                self._read()
                self._is_whole = True

    def _read(self) -> None:
        """Read all bodies that were kept before."""
        place = (b"", 0)
        while page := self._store.bodies(_PAGE, after=place):
            for key, _, data in page:
                try:
                    bodies = read_attempts(data)
                except InputError:
                    continue
                for body in bodies:
                    self.add(key, body)
            place = page[-1][0], page[-1][1]


def _above(body: Body) -> bytes | None:
    """Tell what a body's object is of; None for other kinds, and where it is not shown."""
    for name in _ABOVE.get(body.kind, ()):
        value = body.content.get(name)
        if isinstance(value, str):
            return unhex(value, HASH_BYTES)
    return None
