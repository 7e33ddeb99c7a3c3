"""The kinds of objects, one file each, and the registry by which the machine and the endorsers know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.errors import InputError, VerificationError
from medchain.ledger.kind import CheckContext, Kind, Place
from medchain.ledger.kinds import (
    access,
    attest,
    claim,
    consent,
    delegation,
    emergency,
    erasure,
    grant,
    mandate,
    organisation,
    policy,
    protocol,
    record,
    recovery,
    state,
    subject,
)
from medchain.ledger.object import Body

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        organisation.KIND,
        policy.KIND,
        protocol.KIND,
        record.KIND,
        subject.KIND,
        consent.KIND,
        grant.KIND,
        access.KIND,
        emergency.KIND,
        erasure.KIND,
        claim.KIND,
        recovery.KIND,
        delegation.KIND,
        mandate.KIND,
        attest.KIND,
        state.KIND,
    )
}
"""Name → kind."""


def check_body(body: Body, context: CheckContext) -> None:
    """Check a sealed body as an endorser or a party does: its hash first, then what its kind says.

    Args:
        body: opened by the checker.
        context: the checker's own state.

    Raises:
        VerificationError: ``body.kind``, ``body.hash``, ``body.malformed`` or a code of the kind.
    """
    if body.kind != context.change.kind or body.kind not in KINDS:
        raise VerificationError("body.kind", kind=body.kind[:64])
    body.verify(context.change.objects[context.row].body_hash)
    try:
        KINDS[body.kind].check(body, context)
    except InputError as error:
        raise VerificationError("body.malformed", kind=body.kind, reason=error.code) from error


def check_form(body: Body, place: Place) -> None:
    """Check a sealed body, whole or a part, by itself: what no state can make right is refused on receipt.

    Args:
        body: opened, its hash compared.
        place: what the ledger or the payload says of its version.

    Raises:
        VerificationError: ``body.kind``, ``body.malformed`` or a code of the kind.
    """
    if body.kind != place.kind or body.kind not in KINDS:
        raise VerificationError("body.kind", kind=body.kind[:64])
    try:
        KINDS[body.kind].form(body, place)
    except InputError as error:
        raise VerificationError("body.malformed", kind=body.kind, reason=error.code) from error
