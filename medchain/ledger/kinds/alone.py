"""What one person signs alone: that a consent or a recovery ends, that a custodian's patient is this subject.

Keeps true: the signer is the person, or a delegate within its limits; one signature counts for one operation on one
version of one object. Consents, recoveries and subjects ask here, so that they cannot differ.
Source: `docs/spec/consent.md`, `docs/spec/subject.md` 8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from medchain.encoding import Json, members, unhex
from medchain.ledger.kind import CheckContext, refuse
from medchain.ledger.kinds import capacity, signing
from medchain.ledger.kinds.capacity import STOP, Capacity, Deed
from medchain.ledger.object import Body
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

NARROWING: Final = Deed(STOP, widens=False)
"""What a stop is: each who may narrow can bring it, whoever signed before."""


def check_stop(
    body: Body,
    context: CheckContext,
    operation: str,
    code: str,
    person_of: Callable[[Mapping[str, Json]], bytes],
    deed_of: Callable[[Mapping[str, Json]], Deed] = lambda _: NARROWING,
    *,
    may_be_attested: bool = False,
) -> None:
    """Judge the body of a stop that a person signed, or wished on paper.

    Args:
        body: content ``{"nonce","object","operation","subject"}`` with an assertion as evidence; ``subject`` signs.
        context: as for the object's next version: its creator, ``previous`` its head.
        operation: kind and operation, such as ``consent/withdraw``.
        code: of what is not this stop of this object.
        person_of: reads from the head's content whose object it is: the map key of the subject.
        deed_of: tells from the head's content what its end is.
        may_be_attested: whether two members of staff may attest it in place of a signature.

    Raises:
        InputError: for a malformed content.
        VerificationError: the code; ``KIND.subject``, and as `check_signer`.
    """
    content = members(body.content, {"nonce": str, "object": str, "operation": str, "subject": str})
    kind, _, verb = operation.partition("/")
    if context.previous is None or content["operation"] != verb:
        refuse(code)
    record, before = context.previous
    if unhex(content["object"], HASH_BYTES) != record.key:
        refuse(code)
    person = person_of(before.content)
    able = capacity.read(capacity.shown(person, context, kind))
    deed = deed_of(before.content)
    if may_be_attested and not signing.has_assertion(body):
        capacity.check_signers(context, kind, (person, able), (unhex(content["subject"], HASH_BYTES),), deed)
        signing.check_attested(body, code)
    else:
        check_signer(body, context, operation, (person, able), deed)


def check_signer(body: Body, context: CheckContext, operation: str, person: tuple[bytes, Capacity], deed: Deed) -> None:
    """Check the one signature of a body.

    Args:
        body: with its evidence; the caller has checked that its content has ``subject``, who signs, and ``nonce``.
        context: names object, version and head.
        operation: kind and operation.
        person: map key of its subject object, and who may sign for it.
        deed: what is signed.

    Raises:
        InputError: for a malformed content.
        VerificationError: as `medchain.ledger.kinds.capacity.check_signers` and `.signing.check_signatures`.
    """
    kind = operation.partition("/")[0]
    content = body.content
    signer = unhex(content["subject"], HASH_BYTES)
    capacity.check_signers(context, kind, person, (signer,), deed)
    acting_for = None if signer == person[0] else person[0]
    signed = signing.Signed(operation, signer, acting_for, unhex(content["nonce"], ID_BYTES))
    keys = capacity.signing_keys(context, kind, person[0], (signer,))
    signing.check_signatures(body, context, (signed,), keys)
