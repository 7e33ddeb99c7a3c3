"""The members of this moment: whose keys count, for which calls, and where each is reached.

Keeps true: an organisation that is not active may call nothing but what a route opens to its standing. Trusts the
ledger's members.
Source: `docs/spec/node-protocol.md`, Assertions 5 and "Suspended members".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from typing import Final

from medchain.encoding import Json, base64_text, members
from medchain.errors import NotFoundError
from medchain.ledger.members import ACTIVE, AUTHENTICATION_KEY, SUSPENDED, Members

MEMBER_KEYS: Final = "member.keys"
"""Local operation: which keys a member authenticates with now, and at which web origins it is."""


class Standing(StrEnum):
    """As what an organisation may call."""

    ACTIVE = "active"
    """A member by the newest block."""
    LEAVING = "leaving"
    """Active in a set of members since the last final block: lines of its own may be what its suspension waits for."""
    SUSPENDED = "suspended"
    """Suspended by the newest block, final or not."""


MEMBERS: Final = frozenset({Standing.ACTIVE})
"""Who may call what is open to members alone."""

ANY: Final = frozenset(Standing)
"""Everybody who may call anything."""


class MembersDirectory:
    """The members snapshot of this moment, as `medchain.node.peer_auth.Directory` and as an address book."""

    __slots__ = ("_members", "_since_final")

    def __init__(self, snapshot: Callable[[], Members], since_final: Callable[[], Sequence[Members]] = tuple) -> None:
        """Say where the snapshot comes from.

        Args:
            snapshot: gives the members as of the newest block applied.
            since_final: gives each set of members since the newest final block, the one after it included.
        """
        self._members = snapshot
        self._since_final = since_final

    def standings(self, org_id: str) -> frozenset[Standing]:
        """Tell as what an organisation may call; nothing for one that is unknown, or was removed for good."""
        organisation = self._members().organisations.get(org_id)
        if organisation is None:
            return frozenset()
        if organisation.status == ACTIVE:
            return MEMBERS
        found = {Standing.SUSPENDED} if organisation.status == SUSPENDED else set()
        if any(item.org_id == org_id for past in self._since_final() for item in past.active):
            found.add(Standing.LEAVING)
        return frozenset(found)

    def authentication_key(self, org_id: str, name: str, allowed: Collection[Standing] = MEMBERS) -> bytes | None:
        """Find an organisation's authentication key, see `medchain.node.peer_auth.Directory`."""
        organisation = self._members().organisations.get(org_id)
        if organisation is None or self.standings(org_id).isdisjoint(allowed):
            return None
        keys = (key.public for key in organisation.keys if key.use == AUTHENTICATION_KEY and key.id == name)
        return next(keys, None)

    def member_keys(self, document: Json) -> Json:
        """List an active organisation's authentication keys, and its origins, for the node's own web workers.

        Args:
            document: ``{"org_id":…}``.

        Returns:
            ``{"keys":[B64,…],"origins":[URL,…]}``; no keys of one that is not active.

        Raises:
            InputError: for another document.
        """
        org_id = str(members(document, {"org_id": str})["org_id"])
        organisation = self._members().organisations.get(org_id)
        origins: list[Json] = [] if organisation is None else [*organisation.origins]
        if organisation is None or organisation.status != ACTIVE:
            return {"keys": [], "origins": origins}
        keys = [base64_text(key.public) for key in organisation.keys if key.use == AUTHENTICATION_KEY]
        return {"keys": list[Json](keys), "origins": origins}

    def address(self, org_id: str) -> str:
        """Return an active organisation's url; raises `NotFoundError` ``peer.unknown``."""
        return self._url(org_id, {ACTIVE})

    def ordering_address(self, org_id: str) -> str:
        """Return the url of an active or suspended organisation; raises `NotFoundError` ``peer.unknown``."""
        return self._url(org_id, {ACTIVE, SUSPENDED})

    def _url(self, org_id: str, statuses: Collection[str]) -> str:
        """Return the url of an organisation of some statuses."""
        organisation = self._members().organisations.get(org_id)
        if organisation is None or organisation.status not in statuses:
            raise NotFoundError("peer.unknown", org_id=org_id)
        return organisation.url
