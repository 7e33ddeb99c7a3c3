"""Kind delegation: that a helper or proxy may act for a person, as an object that can be stopped.

A subject's row names it, and counts only while it is in force: so a delegation ends at one place of the ledger, for
every node at once, without a version of the subject, which the enroller alone makes. Keeps true: it is made by the
enroller, names everybody who holds the subject, so that each of them can stop it, and gives nobody anything by itself;
nothing on the ledger says whose it is. Trusts the person's signature under the row for who acts, and within what.
Source: `docs/spec/subject.md` 13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, digest, members, unhex
from medchain.errors import InputError
from medchain.ledger.kind import HOLDER, CheckContext, Kind, Place, refuse
from medchain.ledger.kinds import alone, capacity, signing
from medchain.ledger.kinds.capacity import CONSENT, GUARDIAN, Deed
from medchain.ledger.kinds.content import (
    DAY_S,
    check_full,
    check_parties,
    count,
    fields,
    names,
    short_text,
)
from medchain.ledger.object import ACTIVE, ENDED, Body, stop_hash
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

END: Final = "end"
"""Operation of the body of a stop that the person signed, or who acts for it."""

_FIELDS: Final = ("custodians", "delegate", "enroller", "last_day", "role", "stop", "subject")


@dataclass(frozen=True, slots=True)
class Delegation:
    """A delegation's content.

    Attributes:
        subject: map key of the subject object of the person, 32 bytes.
        delegate: map key of the subject object of who acts, 32 bytes.
        role: `medchain.ledger.kinds.capacity.HELPER` or ``PROXY``.
        last_day: day after which it is over, days since 1970-01-01 (UTC).
        enroller: org_id of who makes versions of the subject, and this.
        custodians: org_ids of those who hold the subject, sorted.
        stop: 32 random bytes; who knows them can stop it.
    """

    subject: bytes
    delegate: bytes
    role: str
    last_day: int
    enroller: str
    custodians: tuple[str, ...]
    stop: bytes

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        return {
            "custodians": list(self.custodians),
            "delegate": self.delegate.hex(),
            "enroller": self.enroller,
            "last_day": self.last_day,
            "role": self.role,
            "stop": self.stop.hex(),
            "subject": self.subject.hex(),
        }


def delegation_id(nonce: bytes) -> bytes:
    """Derive the 16-byte object id of a delegation from the nonce of the version of the subject that names it."""
    return digest("medchain/delegation-id/v1", nonce)[:ID_BYTES]


def read(content: Mapping[str, Json]) -> Delegation:
    """Read a whole content strictly; raises `InputError`."""
    fields(content, _FIELDS)
    made = Delegation(
        subject=unhex(content["subject"], HASH_BYTES),
        delegate=unhex(content["delegate"], HASH_BYTES),
        role=short_text(content["role"]),
        last_day=count(content["last_day"]),
        enroller=short_text(content["enroller"]),
        custodians=names(content["custodians"]),
        stop=unhex(content["stop"], HASH_BYTES),
    )
    # Whom others must protect keeps its guardians: no holder of a body ends them.
    if made.role not in capacity.ROLES - {GUARDIAN} or made.subject == made.delegate:
        raise InputError("delegation.who")
    return made


def check_form(body: Body, place: Place) -> None:
    """Judge a body by itself.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``delegation.enroller`` for one that another than its owner tells.
    """
    delegation = read(body.content)
    if delegation.enroller != place.creator:
        refuse("delegation.enroller", org_id=delegation.enroller)


def check(body: Body, context: CheckContext) -> None:
    """Judge a delegation's body.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``delegation.not_full``, ``.organisation``, ``.party``, ``.role``, ``.enroller``,
            ``.last_day``, ``.stop``, ``.evidence``, ``.subject``.
    """
    check_full(context, is_full=body.is_full, kind="delegation")
    delegation = read(body.content)
    check_parties(context, (*delegation.custodians, delegation.enroller), "delegation")
    check_form(body, context.place)
    if context.change.status != ACTIVE:
        return
    if delegation.last_day < context.time // DAY_S or context.change.expires != delegation.last_day:
        refuse("delegation.last_day")
    if context.change.stop_hash != stop_hash(delegation.stop):
        refuse("delegation.stop")
    if signing.shown_evidence(body):
        # The signature stands under the subject's row; one that nobody has checked must not be found here.
        refuse("delegation.evidence")
    _check_subject(delegation, context)


def check_ending(body: Body, context: CheckContext) -> None:
    """Judge the body of a stop: whether the person, or who acts for it, signed it (else it is the organisation's own).

    Nobody else ends a delegation by a signature: no delegate does so for another.

    Args:
        body: content ``{"nonce","object","operation":"end","subject"}`` with an assertion as evidence.
        context: as for the delegation's next version: its creator, ``previous`` its head.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``delegation.ending``, ``.subject``, ``.dead``, ``.incapable``, ``.minor``, ``.delegate``,
            ``signing.*``, ``assertion.*``.
    """
    content = members(body.content, dict.fromkeys(("nonce", "object", "operation", "subject"), str))
    if context.previous is None or content["operation"] != END:
        refuse("delegation.ending")
    record, before = context.previous
    delegation, signer = read(before.content), unhex(content["subject"], HASH_BYTES)
    if unhex(content["object"], HASH_BYTES) != record.key or signer not in (delegation.subject, delegation.delegate):
        refuse("delegation.ending")
    operation, person = f"delegation/{END}", delegation.subject
    if signer == person:
        able = capacity.read(capacity.shown(person, context, "delegation"))
        # As for the subject's version that ends it: who can decide.
        alone.check_signer(body, context, operation, (person, able), Deed(CONSENT, widens=True))
        return
    # Whoever acts for somebody may give that up, whatever else it may do.
    signed = signing.Signed(operation, signer, person, unhex(content["nonce"], ID_BYTES))
    signing.check_signatures(body, context, (signed,), capacity.signing_keys(context, "delegation", person, (signer,)))


def _check_subject(delegation: Delegation, context: CheckContext) -> None:
    """Check that everybody who holds the subject is named, so that each can stop it."""
    content = capacity.shown(delegation.subject, context, "delegation")
    if context.role == HOLDER and "custodians" not in content:
        # A custodian of today was shown less of the subject then.
        return
    if (list(delegation.custodians), delegation.enroller) != (content.get("custodians"), content.get("enroller")):
        refuse("delegation.subject")


KIND: Final = Kind(
    name="delegation",
    number=15,
    transitions={None: frozenset({ACTIVE}), ACTIVE: frozenset({ENDED})},
    check=check,
    form=check_form,
    max_until_s=60,
    stoppable=True,
)
"""One version; stopped by whoever holds its body."""
