"""Members as a ledger lists them, over time: their keys, standing, addresses and issuer codes, and since when.

Keeps true: as `medchain.ledger.askers`; a time is believed only of the very block that holds the version. Trusts the
caller for map root and tree. Pure.
Source: `docs/spec/proof-bundle.md` 15.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from medchain.encoding import Json, as_object, as_objects, canonical, members, parse_canonical
from medchain.errors import InputError
from medchain.ledger.askers import Listing, own_keys, read_chain, row_of
from medchain.ledger.members import ACTIVE, Organisation
from medchain.ledger.registered import accepted_at
from medchain.tlog.checkpoint import Checkpoint

MEMBERS_FILE: Final = "askers.json"
"""Name of the file in a bundle."""

LISTED_TYPE: Final = "medchain/askers/v2"
"""Type member of ``askers.json`` in a bundle with a claim's evidence."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A version of a member.

    Attributes:
        since: position of the entry that made it.
        registered: when that was accepted, Unix seconds; None where it is not shown.
        organisation: what it says.
    """

    since: int
    registered: int | None
    organisation: Organisation


@dataclass(frozen=True, slots=True)
class Listed:
    """A member over time.

    Attributes:
        org_id: the member.
        versions: all, the newest first.
    """

    org_id: str
    versions: tuple[Standing, ...]

    @property
    def now(self) -> Organisation:
        """What the newest version says."""
        return self.versions[0].organisation

    @property
    def joined(self) -> int | None:
        """When its first version was accepted, Unix seconds; None where it is not shown."""
        return self.versions[-1].registered

    def listed_until(self, address: str) -> float:
        """Tell until when it listed an address.

        Args:
            address: scheme, host and port.

        Returns:
            Position of the entry with which it stopped; infinity while it lists it, 0 where it never did.
        """
        until: float = inf
        for row in self.versions:
            if address in row.organisation.addresses:
                return until
            until = row.since
        return 0

    def keys_before(self, position: int) -> Mapping[str, bytes]:
        """Return the authentication keys that it listed right before a leaf."""
        return next((own_keys(row.organisation) for row in self.versions if row.since < position), {})

    @property
    def keys_ever(self) -> Mapping[str, bytes]:
        """Return all authentication keys that it ever listed."""
        return {name: public for row in self.versions for name, public in own_keys(row.organisation).items()}

    def was_active(self, instant: int) -> bool | None:
        """Tell whether it was an active member at an instant.

        Args:
            instant: Unix seconds.

        Returns:
            Whether it was, also before it joined, when it was under no rules of the ledger; None where that is not
            shown.
        """
        if all(row.organisation.status == ACTIVE for row in self.versions):
            return True
        if any(row.registered is None for row in self.versions):
            return None
        then = next((row for row in self.versions if row.registered is not None and row.registered <= instant), None)
        return then is None or then.organisation.status == ACTIVE


def write_listed(listings: Iterable[tuple[Listing, Sequence[bytes | None]]]) -> bytes:
    """Write ``askers.json``: one row for each member, sorted by org_id.

    Args:
        listings: a member, and ``block.json`` of each of its records, in the same order; None for one not shown.
    """
    rows: list[Json] = [
        row_of(listing) | {"blocks": [None if one is None else _json(one) for one in blocks]}
        for listing, blocks in listings
    ]
    return canonical({"askers": rows, "type": LISTED_TYPE})


def open_listed(document: bytes, map_root: bytes, tree: Checkpoint) -> dict[str, Listed]:
    """Read ``askers.json`` of a bundle with a claim's evidence, and check it.

    Args:
        document: from `write_listed`, bounded.
        map_root: of the proven state, 32 bytes.
        tree: the checkpoint of which that state is the end.

    Returns:
        org_id → member.

    Raises:
        InputError: ``askers.malformed``, ``bundle.block``, ``encoding.*``, ``organisation.*``, ``tlog.map_json``.
        VerificationError: as `medchain.ledger.askers.open_askers`; ``bundle.block``.
    """
    top = members(parse_canonical(document, max_bytes=len(document)), {"askers": list, "type": str})
    rows = top["askers"]
    if top["type"] != LISTED_TYPE or type(rows) is not list:
        raise InputError("askers.malformed")
    found = [_listed(row, map_root, tree) for row in rows]
    if [one.org_id for one in found] != sorted({one.org_id for one in found}):
        raise InputError("askers.malformed")
    return {one.org_id: one for one in found}


def names_of(document: bytes) -> dict[str, dict[str, Json]]:
    """Tell how members are called now.

    Args:
        document: one that `open_listed` has checked.

    Returns:
        org_id → language → name.
    """
    rows = as_objects(as_object(_json(document))["askers"])
    newest = [as_objects(row["contents"])[0] for row in rows]
    return {str(one["org_id"]): as_object(one["name"]) for one in newest}


def _listed(row: Json, map_root: bytes, tree: Checkpoint) -> Listed:
    """Check one member."""
    top = members(row, {"blocks": list, "contents": list, "map": dict, "records": list})
    chain, blocks = read_chain(top, map_root), top["blocks"]
    if type(blocks) is not list or len(blocks) != len(chain):
        raise InputError("askers.malformed")
    versions = tuple(
        Standing(
            record.since, None if block is None else accepted_at(canonical(block), record.since, tree), organisation
        )
        for (record, organisation), block in zip(chain, blocks, strict=True)
    )
    return Listed(chain[0][0].creator, versions)


def _json(data: bytes) -> Json:
    """Read our own canonical bytes."""
    return parse_canonical(data, max_bytes=len(data))
