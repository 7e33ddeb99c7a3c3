"""The disclosures under one grant: that a list of them is whole, in order, and each is what the asker signed for.

Keeps true: the accesses under a grant are one object whose key follows from grant and custodian, and each of its state
records names the digest of the one before; so its head, in a map that a quorum cosigned, says how many versions there
are and what each holds: none can be left out, put in, or moved. Trusts the caller for the head, that of a proven map;
a body that was destroyed leaves its version in the list, and what it held unknown. Who signed the requests an
offline reader is shown by the bundle (`medchain.ledger.askers`), and a node by the check of each body that it holds.
Source: `docs/spec/proof-bundle.md` 11, `docs/spec/release.md` 10 to 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import InputError, MedchainError, VerificationError
from medchain.ledger.kinds import access as accesses
from medchain.ledger.kinds.access import Access, check_requests, signed_requests
from medchain.ledger.object import Body, StateRecord
from medchain.ledger.request import access_key
from medchain.ledger.transaction import HASH_BYTES

DISCLOSURES_TYPE: Final = "medchain/disclosures/v1"
"""Type member of ``disclosures.json``."""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One release that the ledger has.

    Attributes:
        version: of the access object that lists it.
        position: leaf index of that version.
        recipient: org_id of who asked, signed in the request.
        access: what was released.
    """

    version: int
    position: int
    recipient: str
    access: Access

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            **self.access.to_json(),
            "position": self.position,
            "recipient": self.recipient,
            "version": self.version,
        }


@dataclass(frozen=True, slots=True)
class Disclosures:
    """All releases under one grant, up to a state of the ledger.

    Attributes:
        grant: map key of the grant, 32 bytes.
        custodian: org_id of who released.
        listed: all whose version's body is shown, in the ledger's order.
        destroyed: versions whose body is not shown: that something was released is known, and not what.
    """

    grant: bytes
    custodian: str
    listed: tuple[Disclosure, ...]
    destroyed: tuple[int, ...]

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "custodian": self.custodian,
            "destroyed": list[Json](self.destroyed),
            "grant": self.grant.hex(),
            "listed": [one.to_json() for one in self.listed],
        }


def verify_disclosures(
    grant: bytes, custodian: str, records: Sequence[StateRecord], bodies: Sequence[Body | None]
) -> Disclosures:
    """Check that a list of disclosures is all that the ledger has under a grant.

    Args:
        grant: map key of the grant, 32 bytes.
        custodian: org_id of the grant's custodian.
        records: state records of the access object, version 1 first, the proven head last; none where the object is
            proven absent.
        bodies: one for each record; None for one that was destroyed.

    Returns:
        What was disclosed.

    Raises:
        VerificationError: ``disclosures.history`` for records that are not the whole chain in its order,
            ``disclosures.bodies`` for another number of bodies, ``disclosures.body`` for one that its record does not
            name or that hides something, ``disclosures.grant`` for an entry under another grant,
            ``disclosures.request`` for one that the asker's signed request does not bear, ``disclosures.repeated`` for
            a request that was used twice. Each has the field ``version``.
    """
    _check_history(grant, custodian, records)
    if len(bodies) != len(records):
        raise VerificationError("disclosures.bodies", count=len(bodies), version=len(records))
    listed: list[Disclosure] = []
    used: set[bytes] = set()
    for record, body in zip(records, bodies, strict=True):
        for one in [] if body is None else _listed(grant, custodian, record, body):
            if one.access.request_hash in used:
                raise VerificationError("disclosures.repeated", version=record.version)
            used.add(one.access.request_hash)
            listed.append(one)
    destroyed = tuple(record.version for record, body in zip(records, bodies, strict=True) if body is None)
    return Disclosures(grant, custodian, tuple(listed), destroyed)


def write_disclosures(grant: bytes, custodian: str, bodies: Sequence[Body | None]) -> bytes:
    """Write ``disclosures.json`` of a bundle.

    Args:
        grant: map key of the grant, 32 bytes.
        custodian: org_id of the grant's custodian.
        bodies: of each version of the access object, the first version's first; None for one that was destroyed.

    Returns:
        Canonical JSON.
    """
    return canonical(
        {
            "bodies": [None if body is None else body.to_json() for body in bodies],
            "custodian": custodian,
            "grant": grant.hex(),
            "type": DISCLOSURES_TYPE,
        }
    )


def open_disclosures(
    document: bytes, key: bytes, records: Sequence[StateRecord]
) -> tuple[Disclosures, list[Body | None]]:
    """Read ``disclosures.json``, and check it against what a map proves.

    Args:
        document: from `write_disclosures`, bounded.
        key: map key that the proof is of, 32 bytes.
        records: as for `verify_disclosures`.

    Returns:
        What was disclosed, and the body of each version.

    Raises:
        InputError: ``encoding.*``, ``body.malformed``, ``disclosures.malformed``.
        VerificationError: as `verify_disclosures`.
    """
    top = members(
        parse_canonical(document, max_bytes=len(document)),
        {"bodies": list, "custodian": str, "grant": str, "type": str},
    )
    rows, custodian, grant = top["bodies"], str(top["custodian"]), unhex(top["grant"], HASH_BYTES)
    if top["type"] != DISCLOSURES_TYPE or type(rows) is not list or not custodian.isascii():
        raise InputError("disclosures.malformed")
    if access_key(grant, custodian) != key:
        # Where nothing was released no record tells it: the absence must be of that very object.
        raise VerificationError("disclosures.history", version=0)
    bodies = [None if row is None else Body.from_json(row) for row in rows]
    return verify_disclosures(grant, custodian, records, bodies), bodies


def _check_history(grant: bytes, custodian: str, records: Sequence[StateRecord]) -> None:
    """Refuse records that are not the chain of the object from its first version on."""
    key, before = access_key(grant, custodian), None
    for number, record in enumerate(records, 1):
        follows = record.previous == (None if before is None else before.digest)
        if not follows or record.key != key or record.version != number:
            raise VerificationError("disclosures.history", version=number)
        before = record


def _listed(grant: bytes, custodian: str, record: StateRecord, body: Body) -> list[Disclosure]:
    """Read what one version lists, and compare it with what the asker signed."""
    version = record.version
    # One that hides a leaf could hide a second list.
    if body.kind != record.kind or body.hidden or body.body_hash != record.body_hash:
        raise VerificationError("disclosures.body", version=version)
    try:
        content = accesses.read(body.content)
        requests = signed_requests(body)
    except InputError as error:
        raise VerificationError("disclosures.body", version=version, reason=error.code) from error
    stands_on = {ref.key for ref in record.refs}
    if content.grant != grant or stands_on != {grant, *content.consents}:
        raise VerificationError("disclosures.grant", version=version)
    try:
        check_requests(content, requests, custodian)
    except MedchainError as error:
        raise VerificationError("disclosures.request", version=version) from error
    return [
        Disclosure(version, record.since, one.request.recipient, row)
        for one, row in zip(requests, content.accesses, strict=True)
    ]
