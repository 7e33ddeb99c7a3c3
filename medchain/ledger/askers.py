"""Who signed the requests of disclosures, for a reader who has nothing but a cosigned map.

Keeps true: a request counts only with the signature of an authentication key that its recipient listed right before
the access stands on the ledger; the recipient's record is in the same map as the accesses, its earlier versions hang
on it by their digests, and each version's public content by its hash: a custodian can neither make up a request nor
put another key, or one that came or went at another time, in the recipient's place. Trusts the caller for map root,
ledger id and the chain of accesses. Pure.
Source: `docs/spec/proof-bundle.md` 11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import InputError, VerificationError
from medchain.ledger.kinds.access import signed_requests
from medchain.ledger.members import AUTHENTICATION_KEY, Organisation, parse_organisation
from medchain.ledger.object import ORGANISATION, Body, StateRecord, map_key, organisation_id, public_body_hash
from medchain.tlog.statemap import MapProof, verify_map

ASKERS_TYPE: Final = "medchain/askers/v1"
"""Type member of ``askers.json``."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A member as the ledger lists it.

    Attributes:
        proof: that the map has its newest record.
        records: its state records, the newest first, down to version 1.
        contents: the public content of each, in the same order.
    """

    proof: MapProof
    records: Sequence[StateRecord]
    contents: Sequence[Json]


@dataclass(frozen=True, slots=True)
class Asker:
    """A member's authentication keys over time.

    Attributes:
        org_id: the member.
        keys: (position since which they are listed, key id → public key of 97 bytes), the newest first.
    """

    org_id: str
    keys: tuple[tuple[int, Mapping[str, bytes]], ...]

    def before(self, position: int) -> Mapping[str, bytes]:
        """Return the keys that it listed right before a leaf."""
        return next((keys for since, keys in self.keys if since < position), {})


def organisation_key(org_id: str) -> bytes:
    """Compute the map key of a member's own object, 32 bytes."""
    return map_key(ORGANISATION, org_id, organisation_id(org_id))


def asked_by(bodies: Iterable[Body | None]) -> list[str]:
    """Name those whose requests stand in accesses, sorted; of a malformed body nobody is named."""
    found: set[str] = set()
    for body in bodies:
        try:
            found |= set() if body is None else {signed.request.recipient for signed in signed_requests(body)}
        except InputError:
            continue
    return sorted(found)


def write_askers(listings: Sequence[Listing]) -> bytes:
    """Write ``askers.json`` of a bundle: one row for each who asked, sorted by org_id."""
    rows: list[Json] = [row_of(listing) for listing in listings]
    return canonical({"askers": rows, "type": ASKERS_TYPE})


def row_of(listing: Listing) -> dict[str, Json]:
    """Write a member as a row of ``askers.json``."""
    return {
        "contents": list(listing.contents),
        "map": _json(listing.proof.to_json()),
        "records": [_json(record.encode()) for record in listing.records],
    }


def open_askers(document: bytes, map_root: bytes) -> Mapping[str, Asker]:
    """Read ``askers.json``, and check it against a map.

    Args:
        document: from `write_askers`, bounded.
        map_root: of the proven state, 32 bytes.

    Returns:
        org_id → keys.

    Raises:
        InputError: ``askers.malformed``, ``encoding.*``, ``organisation.*``, ``tlog.map_json``.
        VerificationError: ``tlog.*`` for what the map does not hold, ``askers.history`` for records that are not the
            whole chain of one member, ``askers.content`` for a content that its record does not name.
    """
    top = members(parse_canonical(document, max_bytes=len(document)), {"askers": list, "type": str})
    rows = top["askers"]
    if top["type"] != ASKERS_TYPE or type(rows) is not list:
        raise InputError("askers.malformed")
    found = [_asker(row, map_root) for row in rows]
    if [asker.org_id for asker in found] != sorted({asker.org_id for asker in found}):
        raise InputError("askers.malformed")
    return {asker.org_id: asker for asker in found}


def check_askers(
    askers: Mapping[str, Asker], ledger: bytes | None, records: Sequence[StateRecord], bodies: Sequence[Body | None]
) -> None:
    """Check the signature of each request that bears an access.

    Args:
        askers: from `open_askers`.
        ledger: ledger id that the requests must name, 32 bytes.
        records: state records of the accesses, version 1 first.
        bodies: one for each record, None for what is not shown; already compared with it.

    Raises:
        VerificationError: ``disclosures.signature`` for a request of another ledger, or that no authentication key
            signed which the recipient had listed before the access; with the field ``version``.
    """
    for record, body in zip(records, bodies, strict=True):
        for signed in () if body is None else signed_requests(body):
            asker = askers.get(signed.request.recipient)
            public = None if asker is None else asker.before(record.since).get(signed.key_id)
            if public is None or signed.request.ledger != ledger or not signed.is_signed_by(public):
                raise VerificationError("disclosures.signature", version=record.version)


def read_chain(top: Mapping[str, Json], map_root: bytes) -> list[tuple[StateRecord, Organisation]]:
    """Check a member's own object: that a map has it, and all its versions with what each says.

    Args:
        top: ``contents``, ``map`` and ``records`` of a row.
        map_root: of the proven state, 32 bytes.

    Returns:
        Record and content of each version, the newest first.

    Raises:
        InputError, VerificationError: as `open_askers`.
    """
    contents, listed = top["contents"], top["records"]
    if type(contents) is not list or type(listed) is not list or not listed or len(contents) != len(listed):
        raise InputError("askers.malformed")
    proof = MapProof.from_json(canonical(top["map"]))
    verify_map(map_root, proof)
    records = [StateRecord.decode(canonical(item)) for item in listed]
    # The map holds the digest of the newest; each names that of the one before, and the first none.
    chain = [proof.value, *(record.previous for record in records)]
    if [record.digest for record in records] != chain[:-1] or chain[-1] is not None:
        raise VerificationError("askers.history")
    if any(record.key != proof.key for record in records):
        raise VerificationError("askers.history")
    return [(record, _organisation(record, content)) for record, content in zip(records, contents, strict=True)]


def own_keys(organisation: Organisation) -> Mapping[str, bytes]:
    """Return a member's authentication keys: key id → public key, 97 bytes."""
    return {key.id: key.public for key in organisation.keys if key.use == AUTHENTICATION_KEY}


def _asker(row: Json, map_root: bytes) -> Asker:
    """Check one member."""
    chain = read_chain(members(row, {"contents": list, "map": dict, "records": list}), map_root)
    return Asker(chain[0][0].creator, tuple((record.since, own_keys(said)) for record, said in chain))


def _organisation(record: StateRecord, content: Json) -> Organisation:
    """Read what a version of a member says, which its record must name."""
    if record.kind != ORGANISATION or public_body_hash(ORGANISATION, content) != record.body_hash:
        raise VerificationError("askers.content", version=record.version)
    organisation, _ = parse_organisation(content)
    if organisation_key(organisation.org_id) != record.key:
        raise VerificationError("askers.content", version=record.version)
    return organisation


def _json(data: bytes) -> Json:
    """Read our own canonical bytes."""
    return parse_canonical(data, max_bytes=len(data))
