"""Who must hold a body, how much of it, and what somebody who is to judge it is shown of others.

Keeps true: nobody is shown more of another object than the check of the kind needs, and no insurer another's part.
Trusts the content of a body for whom it names.
Source: `docs/spec/body.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from medchain.encoding import Json
from medchain.errors import VerificationError
from medchain.ledger.kind import BodySource
from medchain.ledger.kinds import (
    access,
    attest,
    capacity,
    claim_content,
    consent,
    delegation,
    emergency,
    erasure,
    grant,
    mandate,
    recovery,
    subject,
)
from medchain.ledger.object import Body

ENDORSER_SUBJECT_FIELDS: Final = frozenset({"contacts", "custodians", "enroller", "passkeys", *capacity.FIELDS})
"""What the endorser of a consent is shown of its subject: what the check needs, and where it tells the person of it."""


def parties(kind: str, content: Mapping[str, Json], source: BodySource) -> frozenset[str]:
    """Tell which organisations must hold a body, its creator included where the content names it.

    Args:
        kind: name of the object's kind.
        content: its whole content.
        source: bodies of other objects: the parties of an access are those of its grant.

    Returns:
        org_ids.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``access.grant`` for an access whose grant's body is not here.
    """
    match kind:
        case "subject" | "recovery":
            read = subject.read(content) if kind == "subject" else recovery.read(content)
            return frozenset({*read.custodians, read.enroller})
        case "delegation":
            named = delegation.read(content)
            return frozenset({*named.custodians, named.enroller})
        case "consent":
            allowed = consent.read(content)
            return frozenset({*allowed.custodians, allowed.recipient})
        case "grant" | "mandate":
            given = grant.read(content) if kind == "grant" else mandate.read(content)
            return frozenset({given.custodian, given.recipient})
        case "access":
            found = source.head(access.read(content).grant)
            if found is None:
                raise VerificationError("access.grant")
            return parties("grant", found[1].content, source)
        case _:
            return _told(kind, content)


def part_of(kind: str, body: Body, org_id: str) -> Body | None:
    """Return what a party is given of a body.

    Args:
        kind: name of the object's kind.
        body: whole.
        org_id: of the party.

    Returns:
        All of it, but of a claim what the insurer's own part shows; None for a version that does not concern it.
    """
    if kind != "claim":
        return body
    names = claim_content.shown_to(body.content, org_id)
    return body.redact(names, keep_evidence=True) if names else None


def _told(kind: str, content: Mapping[str, Json]) -> frozenset[str]:
    """Tell who must hold the body of what rests on no other object."""
    if kind == "claim":
        return claim_content.insurers(content)
    if kind == "emergency":
        case = emergency.read(content)
        return frozenset({case.custodian, case.recipient})
    if kind == "attest":
        return frozenset(attest.read(content).parties)
    if kind == "erasure" and "grant" in content:
        stated = erasure.read_statement(content)
        return frozenset({stated.custodian, stated.organisation})
    return frozenset()


def shares(kind: str, content: Mapping[str, Json], shelf: BodySource) -> list[tuple[bytes, Callable[[Body], Body]]]:
    """Tell which other objects' bodies somebody needs to judge an object, and how much of each.

    Args:
        kind: name of the object's kind.
        content: its whole content.
        shelf: bodies of other objects.

    Returns:
        (map key, what an endorser is shown of its body): a consent needs its subjects, a subject those of delegates who
        sign, the recovery that it carries out and the delegation of whom it names, a recovery and a delegation their
        subject, a grant its consent, an access its grant and consents.

    Raises:
        InputError: for a malformed content.
    """
    match kind:
        case "consent":
            read = consent.read(content)
            keys = {*read.signers, read.patient}
            return [(key, _subject_part) for key in sorted(keys)]
        case "subject":
            changed = subject.read(content)
            found: list[tuple[bytes, Callable[[Body], Body]]] = [(key, _signer_part) for key in changed.signers]
            return [*found, *((key, _whole) for key in _rests_on(changed))]
        case "recovery" | "delegation":
            of = recovery.read(content) if kind == "recovery" else delegation.read(content)
            return [(of.subject, _subject_part)]
        case "grant":
            return [(grant.read(content).consent, _whole)]
        case "access":
            rows = access.read(content)
            return [(key, _whole) for key in (rows.grant, *rows.consents) if shelf.head(key) is not None]
        case _:
            return []


def _rests_on(changed: subject.Subject) -> Iterator[bytes]:
    """Name the recovery that a version of a subject carries out, and the delegation of whom it names."""
    if changed.recovery is not None:
        yield changed.recovery
    if changed.operation is subject.Operation.NAME_DELEGATE:
        yield from (row.delegation for row in changed.capacity.delegates[-1:] if row.delegation is not None)


def _subject_part(body: Body) -> Body:
    """Show what the check of a consent needs of its subject."""
    return body.redact(ENDORSER_SUBJECT_FIELDS)


def _signer_part(body: Body) -> Body:
    """Show what a signature is checked with."""
    return body.redact(subject.RECIPIENT_FIELDS)


def _whole(body: Body) -> Body:
    """Show all."""
    return body
