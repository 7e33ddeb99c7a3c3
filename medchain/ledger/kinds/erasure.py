"""Kind erasure: an organisation destroyed keys of its own, or states that it erased what it was given under a grant.

Keeps true: only the owner erases, once an object; a restored backup replays the list before it serves. The epochs are
named by hash, so nobody else learns whose they were. A statement stands where grant and organisation say, so that
everybody can find it, or have its absence proven; there is none while the grant is in force. Trusts the owner to have
destroyed what it says: a hash cannot prove that something is gone, a signature shows who said so.
Source: `docs/spec/consent.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, digest, unhex
from medchain.ledger.kind import CheckContext, Kind, Place, refuse
from medchain.ledger.kinds import grant as grants
from medchain.ledger.kinds.content import DAY_S, check_event_time, check_parties, count, fields, names, short_text
from medchain.ledger.object import ACTIVE, Body, in_force, map_key
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

_FIELDS: Final = ("epochs", "organisation", "reason", "time")


_STATEMENT: Final = ("custodian", "grant", "organisation", "reason", "time")

STATED: Final = "stated"
"""Status of a statement."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure's content.

    Attributes:
        organisation: org_id whose keys they were.
        epochs: hashes of the epoch ids, 32 bytes each, sorted.
        reason: why.
        time: Unix seconds.
    """

    organisation: str
    epochs: tuple[bytes, ...]
    reason: str
    time: int

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        return {
            "epochs": [epoch.hex() for epoch in self.epochs],
            "organisation": self.organisation,
            "reason": self.reason,
            "time": self.time,
        }


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement's content: what was released under a grant that is over, its recipient has erased.

    Attributes:
        organisation: org_id of the grant's recipient, which states it.
        custodian: org_id of who released.
        grant: map key of the grant, 32 bytes.
        reason: why, or how.
        time: Unix seconds.
    """

    organisation: str
    custodian: str
    grant: bytes
    reason: str
    time: int

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        return {
            "custodian": self.custodian,
            "grant": self.grant.hex(),
            "organisation": self.organisation,
            "reason": self.reason,
            "time": self.time,
        }


def statement_id(grant: bytes, organisation: str) -> bytes:
    """Derive the object id of an organisation's statement on a grant, 16 bytes; nobody has to be told."""
    return digest("medchain/erasure-statement-id/v1", grant, organisation.encode("ascii"))[:ID_BYTES]


def statement_key(grant: bytes, organisation: str) -> bytes:
    """Compute the map key of an organisation's statement on a grant, 32 bytes."""
    return map_key("erasure", organisation, statement_id(grant, organisation))


def read_statement(content: Mapping[str, Json]) -> Statement:
    """Read a whole content of a statement strictly; raises `InputError`."""
    fields(content, _STATEMENT)
    return Statement(
        organisation=short_text(content["organisation"]),
        custodian=short_text(content["custodian"]),
        grant=unhex(content["grant"], HASH_BYTES),
        reason=short_text(content["reason"]),
        time=count(content["time"]),
    )


def read(content: Mapping[str, Json]) -> Erasure:
    """Read a whole content strictly; raises `InputError`."""
    fields(content, _FIELDS)
    return Erasure(
        organisation=short_text(content["organisation"]),
        epochs=tuple(unhex(epoch, HASH_BYTES) for epoch in names(content["epochs"])),
        reason=short_text(content["reason"]),
        time=count(content["time"]),
    )


def check_form(body: Body, place: Place) -> None:
    """Judge a body by itself.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``erasure.owner`` for one that another than its owner tells, ``erasure.id``.
    """
    stated = read_statement(body.content) if place.status == STATED else None
    organisation = read(body.content).organisation if stated is None else stated.organisation
    if organisation != place.creator:
        refuse("erasure.owner", org_id=organisation)
    if stated is not None and place.object_id != statement_id(stated.grant, organisation):
        refuse("erasure.id")


def check(body: Body, context: CheckContext) -> None:
    """Judge an erasure's body.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``erasure.organisation``, ``.party``, ``.role``, ``.owner``, ``.time``; of a statement also
            ``.id``, ``.grant``, ``.in_force``.
    """
    if context.change.status == STATED:
        statement = read_statement(body.content)
        check_parties(context, (statement.organisation, statement.custodian), "erasure")
        check_form(body, context.place)
        _check_statement(statement, context)
        return
    erasure = read(body.content)
    check_parties(context, (erasure.organisation,), "erasure")
    check_form(body, context.place)
    check_event_time(context, erasure.time, "erasure.time")


def _check_statement(statement: Statement, context: CheckContext) -> None:
    """Judge a statement; whose grant is not known here has nothing to state."""
    check_event_time(context, statement.time, "erasure.time")
    found = context.bodies.head(statement.grant)
    if found is None or found[0].kind != "grant":
        refuse("erasure.grant")
    given = grants.read(found[1].content)
    if (given.recipient, given.custodian) != (statement.organisation, statement.custodian):
        refuse("erasure.grant")
    above = context.bodies.head(given.consent)
    day = context.time // DAY_S
    if in_force(found[0], day) and (above is None or in_force(above[0], day)):
        # What it is given from now on would be under a statement that it was erased.
        refuse("erasure.in_force")


KIND: Final = Kind(
    name="erasure", number=10, transitions={None: frozenset({ACTIVE, STATED})}, check=check, form=check_form
)
"""Once; it cannot be taken back."""
