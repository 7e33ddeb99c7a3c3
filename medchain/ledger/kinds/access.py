"""Kind access: releases under one grant, many a version; one chain for each grant and custodian.

Keeps true: no release is on the ledger that its grant and consent did not permit at that place in the order; each has
the asker's signed request in its evidence, so neither side can make one up or date it back alone, and stands in the one
chain of its grant. A chain is never ended: an entry that ends something stands on nothing, and one that lists releases
would pass behind the stop of its consent. Trusts the decision above this floor for what the consent's rules permit in
detail.
Source: `docs/spec/consent.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, members, unhex
from medchain.errors import InputError
from medchain.ledger.kind import CheckContext, Kind, Place, refuse
from medchain.ledger.kinds import grant as grants
from medchain.ledger.kinds.content import check_event_time, check_parties, count, fields, short_text
from medchain.ledger.kinds.permission import PERMITTING
from medchain.ledger.object import ACTIVE, Body, Evidence, StateRecord
from medchain.ledger.request import ReleaseRequest, access_id
from medchain.ledger.signed_request import REQUEST_AHEAD_S, REQUEST_LIFE_S, SignedRequest, read_request
from medchain.ledger.transaction import HASH_BYTES

MAX_ACCESSES: Final = 1000
"""Most accesses of one version."""

MAX_DELAY_S: Final = REQUEST_LIFE_S + 60
"""How long after its request an access may be dated, in seconds: the life of a request, and its wait for its turn."""

_CONSENT: Final = "consent"
_FIELDS: Final = ("accesses", "consents", "grant")
_ROW: Final = {
    "commitments_root": str,
    "count": int,
    "purpose": str,
    "request_hash": str,
    "time": int,
    "wraps_hash": str,
}


@dataclass(frozen=True, slots=True)
class Access:
    """One release.

    Attributes:
        request_hash: hash of the requester's signed request, 32 bytes.
        count: how many records were released.
        commitments_root: root over their commitments, 32 bytes.
        wraps_hash: hash of the wrapped data keys, 32 bytes.
        purpose: purpose-of-use code.
        time: Unix seconds.
    """

    request_hash: bytes
    count: int
    commitments_root: bytes
    wraps_hash: bytes
    purpose: str
    time: int

    def to_json(self) -> dict[str, Json]:
        """Write the row."""
        return {
            "commitments_root": self.commitments_root.hex(),
            "count": self.count,
            "purpose": self.purpose,
            "request_hash": self.request_hash.hex(),
            "time": self.time,
            "wraps_hash": self.wraps_hash.hex(),
        }


@dataclass(frozen=True, slots=True)
class Accesses:
    """An access object's content.

    Attributes:
        grant: map key of the grant, 32 bytes.
        consents: map keys of the consents, sorted.
        accesses: what was released since the version before.
    """

    grant: bytes
    consents: tuple[bytes, ...]
    accesses: tuple[Access, ...]

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        return {
            "accesses": [row.to_json() for row in self.accesses],
            "consents": [key.hex() for key in self.consents],
            "grant": self.grant.hex(),
        }


def read(content: Mapping[str, Json]) -> Accesses:
    """Read a whole content strictly; raises `InputError`."""
    fields(content, _FIELDS)
    rows, consents = content["accesses"], content["consents"]
    if type(rows) is not list or not 0 < len(rows) <= MAX_ACCESSES or type(consents) is not list:
        raise InputError("access.rows")
    keys = tuple(unhex(key, HASH_BYTES) for key in consents)
    if not keys or list(keys) != sorted(set(keys)):
        raise InputError("access.rows")
    return Accesses(unhex(content["grant"], HASH_BYTES), keys, tuple(_row(row) for row in rows))


def check_form(body: Body, place: Place) -> None:
    """Judge a body by itself: one chain for a grant, and each access borne by a request.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``access.id``, ``.request``, ``.repeated``.
    """
    accesses = read(body.content)
    if place.object_id != access_id(accesses.grant, place.creator):
        # One chain for a grant, where everybody looks: a second one would not be missed.
        refuse("access.id")
    check_requests(accesses, signed_requests(body), place.creator)


def check(body: Body, context: CheckContext) -> None:
    """Judge an access object's body.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``access.refs``, ``.grant``, ``.consent``, ``.organisation``, ``.role``, ``.party``,
            ``.custodian``, ``.purpose``, ``.period``, ``.time``, ``.repeated``, ``.denied``, ``.id``, ``.request``.
    """
    accesses = read(body.content)
    requests = signed_requests(body)
    if {ref.key for ref in context.change.refs} != {accesses.grant, *accesses.consents}:
        refuse("access.refs")
    grant = _grant(accesses, context)
    check_parties(context, (grant.custodian, grant.recipient), "access")
    if grant.custodian != context.creator:
        refuse("access.custodian", org_id=grant.custodian)
    check_form(body, context.place)
    _check_signatures(requests, grant, context)
    for row, signed in zip(accesses.accesses, requests, strict=True):
        asked = signed.request.claim
        _check_row(row, grant, accesses, context, None if asked is None else asked.digest)


def signed_requests(body: Body) -> tuple[SignedRequest[ReleaseRequest], ...]:
    """Read the signed requests in the evidence of an access; raises `InputError`."""
    value = body.evidence.value if isinstance(body.evidence, Evidence) else None
    rows = value.get("requests") if isinstance(value, dict) and value.keys() == {"requests"} else None
    if not isinstance(rows, list):
        raise InputError("access.requests")
    return tuple(read_request(ReleaseRequest, row) for row in rows)


def check_requests(accesses: Accesses, requests: Sequence[SignedRequest[ReleaseRequest]], custodian: str) -> None:
    """Check that each access is what one request asked for, in the order of the rows; signatures are not looked at.

    Args:
        accesses: the content.
        requests: from `signed_requests`.
        custodian: org_id of the grant's custodian.

    Raises:
        VerificationError: ``access.request`` for an access that its request does not bear, or that is dated long after
            or before it; ``access.repeated`` for a request that bears two.
    """
    if len({row.request_hash for row in accesses.accesses}) != len(accesses.accesses):
        # One signed request is one release: a second under it would be hidden behind the first.
        refuse("access.repeated")
    if len(requests) != len(accesses.accesses):
        refuse("access.request")
    for row, signed in zip(accesses.accesses, requests, strict=True):
        request = signed.request
        asked = (request.hash, request.grant, request.custodian, request.purpose, request.recipient)
        said = (row.request_hash, accesses.grant, custodian, row.purpose, requests[0].request.recipient)
        if asked != said or not -REQUEST_AHEAD_S <= row.time - request.time <= MAX_DELAY_S:
            refuse("access.request", time=row.time)


def _check_signatures(
    requests: Sequence[SignedRequest[ReleaseRequest]], grant: grants.Grant, context: CheckContext
) -> None:
    """Refuse a request that the grant's recipient has not signed for this ledger, with a key that it has now."""
    recipient = context.members.organisations[grant.recipient]
    if not all(signed.is_of(recipient, context.genesis.ledger) for signed in requests):
        refuse("access.request")


def _grant(accesses: Accesses, context: CheckContext) -> grants.Grant:
    """Return the grant, which must stand on the consents named."""
    record, content = _head(accesses.grant, "grant", context)
    if {ref.key for ref in record.refs} != set(accesses.consents):
        refuse("access.refs")
    return grants.read(content)


def _check_row(
    row: Access, grant: grants.Grant, accesses: Accesses, context: CheckContext, claim: bytes | None
) -> None:
    """Judge one release, of records or of parts of them for a claim."""
    check_event_time(context, row.time, "access.time")
    if row.purpose != grant.purpose:
        refuse("access.purpose")
    if row.time < grant.period.start or (grant.period.end is not None and row.time > grant.period.end):
        refuse("access.period", time=row.time)
    for key in accesses.consents:
        _, consent = _head(key, _CONSENT, context)
        if not context.decision.permits(consent, row.to_json(), row.time, claim):
            refuse("access.denied")


def _head(key: bytes, kind: str, context: CheckContext) -> tuple[StateRecord, Mapping[str, Json]]:
    """Return record and content of what the access stands on; a missing body means deny."""
    found = context.bodies.head(key)
    if found is None or found[0].kind not in (PERMITTING if kind == _CONSENT else {kind}):
        refuse(f"access.{kind}")
    return found[0], found[1].content


def _row(value: Json) -> Access:
    """Read one release."""
    row = members(value, _ROW)
    return Access(
        unhex(row["request_hash"], HASH_BYTES),
        count(row["count"]),
        unhex(row["commitments_root"], HASH_BYTES),
        unhex(row["wraps_hash"], HASH_BYTES),
        short_text(row["purpose"]),
        count(row["time"]),
    )


KIND: Final = Kind(
    name="access",
    number=8,
    transitions={None: frozenset({ACTIVE}), ACTIVE: frozenset({ACTIVE})},
    check=check,
    form=check_form,
    stands_alone=True,
    refs=("consent", "grant"),
)
"""One version for each batch of releases."""
