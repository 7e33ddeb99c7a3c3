"""Whether a signed request is one that this node may answer at all: by whom, for whom, with which keys, of when.

Keeps true: what is refused here says what is wrong with the request, and depends on nothing about a patient. Trusts the
members as this node's ledger has them, and the server for which organisation calls.
Source: `docs/spec/release.md` 3.
"""

from __future__ import annotations

from medchain.errors import AccessDeniedError
from medchain.ledger.members import AUTHENTICATION_KEY, ENCRYPTION_KEY, Key, Members
from medchain.ledger.records_request import RecordsRequest
from medchain.ledger.signed_request import REQUEST_AHEAD_S, REQUEST_LIFE_S, SignedRequest
from medchain.node.release_ports import CustodianParts


def verified(signed: SignedRequest[RecordsRequest], peer: str, parts: CustodianParts) -> Key:
    """Check that a request is by who calls, for this node and of now.

    Args:
        signed: as it came.
        peer: org_id of who calls.
        parts: of the custodian.

    Returns:
        The key to wrap to.

    Raises:
        AccessDeniedError: ``release.recipient``, ``.custodian``, ``.ledger``, ``.key``, ``.signature``, ``.time``.
    """
    request, now = signed.request, parts.clock()
    if request.recipient != peer:
        raise AccessDeniedError("release.recipient")
    if request.custodian != parts.org_id:
        raise AccessDeniedError("release.custodian")
    if request.ledger != parts.ledger_id:
        raise AccessDeniedError("release.ledger")
    own, target = listed_keys(signed, parts.ledger.members)
    if not signed.is_signed_by(own.public):
        raise AccessDeniedError("release.signature")
    if not now - REQUEST_LIFE_S <= request.time <= now + REQUEST_AHEAD_S:
        raise AccessDeniedError("release.time")
    return target


def listed_keys(signed: SignedRequest[RecordsRequest], members: Members) -> tuple[Key, Key]:
    """Return the keys that sign a request and that its answer is wrapped to, as members list them now.

    Raises:
        AccessDeniedError: ``release.recipient`` for who is no active member, ``release.key``.
    """
    request = signed.request
    member = {item.org_id: item for item in members.active}.get(request.recipient)
    if member is None:
        raise AccessDeniedError("release.recipient")
    keys = {key.id: key for key in member.keys}
    own, target = keys.get(signed.key_id), keys.get(request.encryption_key)
    if own is None or own.use != AUTHENTICATION_KEY or target is None or target.use != ENCRYPTION_KEY:
        raise AccessDeniedError("release.key")
    return own, target
