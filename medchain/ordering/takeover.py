"""Takeover: what lets a member order when the one that ordered is lost.

It is an ordinary next version of the protocol object that names another orderer, signed as its policy asks (a majority
with a regulator). Keeps true: nobody becomes the orderer without those signatures; a block that may be final is never
dropped. Trusts the members' snapshot that it is given.
Source: `docs/spec/ordering.md` 5.
"""

from __future__ import annotations

from collections.abc import Mapping

from medchain.crypto.signing import ed25519_verify
from medchain.errors import InputError, VerificationError
from medchain.ledger.machine import PROTOCOL
from medchain.ledger.members import Members, parse_protocol
from medchain.ledger.policy import satisfied
from medchain.ledger.transaction import Transaction, pae, parse_envelope


def new_orderer(leaf: bytes, ledger: bytes, members: Members) -> str:
    """Check that an envelope is a takeover agreed upon.

    Args:
        leaf: canonical envelope.
        ledger: ledger id, 32 bytes.
        members: the members in force.

    Returns:
        org_id of the organisation that it names as orderer.

    Raises:
        VerificationError: ``takeover.transaction`` for anything but one change of the protocol object for this ledger
            that names another active orderer, ``takeover.policy``, ``takeover.signature``.
    """
    try:
        envelope = parse_envelope(leaf)
        payload = envelope.transaction
        if not isinstance(payload, Transaction) or payload.ledger != ledger or len(payload.changes) != 1:
            raise VerificationError("takeover.transaction", reason="form")
        change = payload.changes[0]
        if change.kind != PROTOCOL or len(payload.bodies) != 1:
            raise VerificationError("takeover.transaction", reason="kind")
        rules = parse_protocol(payload.bodies[0])
    except InputError as error:
        raise VerificationError("takeover.transaction", reason=error.code) from error
    active = {organisation.org_id for organisation in members.active}
    if rules.orderer == members.protocol.orderer or rules.orderer not in active:
        raise VerificationError("takeover.transaction", reason="orderer")
    expression = members.policy.rules.get(f"{PROTOCOL}/{change.status}")
    if expression is None or any(members.signer(row.key_id) is None for row in payload.signers):
        raise VerificationError("takeover.policy")
    if not satisfied(expression, payload.signers, members, payload.creator):
        raise VerificationError("takeover.policy")
    message = pae(envelope.payload)
    for key_id, signature in envelope.signatures:
        if not ed25519_verify(members.keys[key_id].public, message, signature):
            raise VerificationError("takeover.signature", key_id=key_id)
    return rules.orderer


def kept_size(cosigned: Mapping[str, int], members: Members, final_size: int) -> int:
    """Decide up to which block end the ledger is kept.

    A block may be final if those who cosigned it or a later one, and all who did not answer, make a quorum: whoever
    relied on it must not lose it.

    Args:
        cosigned: for each member that answered, this one included, the largest size that it cosigned; 0 for none. Each
            has stopped cosigning for the lost orderer.
        members: the members in force.
        final_size: the largest size known to be final.

    Returns:
        The size of the log that stays; a block ends there.

    Raises:
        VerificationError: ``takeover.quorum`` if fewer than a quorum answered.
    """
    quorum = members.protocol.quorum
    active = {organisation.org_id for organisation in members.active}
    sizes = sorted((size for org_id, size in cosigned.items() if org_id in active), reverse=True)
    if len(sizes) < quorum:
        raise VerificationError("takeover.quorum", answered=len(sizes), quorum=quorum)
    silent = len(active) - len(sizes)
    # quorum > n / 2, so that this is at least one.
    return max(final_size, sizes[quorum - silent - 1])
