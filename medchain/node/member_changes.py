"""What members change together: from a wish in an administrator's words to the contents that go onto the ledger.

Keeps true: contents are made from the members in force, and change nothing that was not asked for; where the number of
members changes, k follows in the same transaction, since neither is sound without the other; nobody gets a name that
may be taken for another member's. Functions of their arguments. Trusts nothing: what the ledger's machine refuses, it
refuses here too, when the proposal is judged.
Source: `docs/spec/genesis.md` 4 to 8, `docs/spec/proposal.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from medchain.encoding import Json, base64_text, members, unhex
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.ledger.issuers import parse_invoices
from medchain.ledger.machine import POLICY, PROTOCOL, PROTOCOLS
from medchain.ledger.members import (
    ACTIVE,
    REMOVED,
    SUSPENDED,
    Members,
    Organisation,
    ProtocolRules,
    check_new_keys,
    organisation_content,
    parse_organisation,
    protocol_content,
    quorum_floor,
)
from medchain.ledger.object import ORGANISATION
from medchain.ledger.policy import parse_policy
from medchain.ledger.transaction import HASH_BYTES, Transaction
from medchain.node.alike import look_alike

ADMISSION_TYPE: Final = "medchain/admission/v1"
"""Type member of the file by which an organisation asks to be a member, or to have new keys."""

OPERATIONS: Final = (
    "admit",
    "hand-over",
    "issuers",
    "policy",
    "protocol",
    "reinstate",
    "remove",
    "rotate",
    "suspend",
    "take-over",
)
"""What can be wished for."""

TAKE_OVER: Final = "take-over"
"""The wish to order in the place of an orderer that is lost."""

Contents: TypeAlias = tuple[tuple[str, dict[str, Json]], ...]
"""Kind and content of each public object that changes."""

_STATUSES: Final = {"reinstate": ACTIVE, "remove": REMOVED, "suspend": SUSPENDED}
_OPTIONAL: Final = {"content": dict, "orderer": str, "org_id": str, "protocol": int, "quorum": int}


@dataclass(frozen=True, slots=True)
class Wish:
    """What an administrator asks for.

    Attributes:
        operation: one of `OPERATIONS`.
        org_id: of whom, where it is about one organisation.
        content: a policy, an admission file, or the member ``invoices`` of the own content, with issuer codes that are
            to be added, and a first key with its proof, which counts for who has none.
        orderer: who orders from then on; None for who does now.
        quorum: k from then on; None for what follows from the number of members.
        protocol: version of the transaction rules from then on; None for the one in force.
    """

    operation: str
    org_id: str = ""
    content: Json = None
    orderer: str | None = None
    quorum: int | None = None
    protocol: int | None = None


def parse_wish(document: Json) -> Wish:
    """Read a wish; raises `InputError` ``encoding.*``, ``wish.operation``."""
    top = members(document, {"operation": str}, _OPTIONAL)
    if top["operation"] not in OPERATIONS:
        raise InputError("wish.operation", operation=str(top["operation"])[:32])
    orderer, quorum, protocol = top.get("orderer"), top.get("quorum"), top.get("protocol")
    return Wish(
        operation=str(top["operation"]),
        org_id=str(top.get("org_id", "")),
        content=top.get("content"),
        orderer=orderer if isinstance(orderer, str) else None,
        quorum=quorum if isinstance(quorum, int) else None,
        protocol=protocol if isinstance(protocol, int) else None,
    )


def wish_json(wish: Wish) -> dict[str, Json]:
    """Write a wish."""
    given: dict[str, Json] = {
        "content": wish.content,
        "orderer": wish.orderer,
        "org_id": wish.org_id or None,
        "protocol": wish.protocol,
        "quorum": wish.quorum,
    }
    document: dict[str, Json] = {"operation": wish.operation}
    document.update((name, value) for name, value in given.items() if value is not None)
    return document


def contents_of(wish: Wish, current: Members, ledger: bytes, own: str) -> Contents:
    """Turn a wish into what changes.

    Args:
        wish: what is asked for.
        current: the members in force.
        ledger: ledger id, 32 bytes.
        own: org_id of who asks.

    Returns:
        Kind and content of each object, one at least.

    Raises:
        InputError: malformed contents; ``wish.nothing`` where everything is so already.
        NotFoundError: ``organisation.unknown``.
        ConflictError: ``organisation.exists`` for one that is a member already; ``wish.orderer`` where who orders would
            take part no more and nobody is named in its place.
        VerificationError: ``admission.ledger``, ``organisation.proof``; ``wish.protocol`` for rules that this node's
            software does not know.
    """
    changed: list[tuple[str, dict[str, Json]]] = []
    after = current
    match wish.operation:
        case "suspend" | "reinstate" | "remove":
            after = _with_status(current, _known(current, wish.org_id), _STATUSES[wish.operation])
            if after is not current:
                changed.append((ORGANISATION, organisation_content(after.organisations[wish.org_id])))
        case "admit" | "rotate":
            organisation, proofs = _read_admission(wish, current, ledger)
            after = current.with_organisation(organisation)
            changed.append((ORGANISATION, organisation_content(organisation, proofs)))
        case "issuers":
            organisation, proofs = _with_issuers(wish, _known(current, own))
            after = current.with_organisation(organisation)
            if organisation != current.organisations[own]:
                changed.append((ORGANISATION, organisation_content(organisation, proofs)))
        case "policy":
            policy = parse_policy(wish.content)
            if dict(policy.content) != dict(current.policy.content):
                changed.append((POLICY, dict(policy.content)))
        case _:
            """The protocol object alone."""
    protocol = _protocol(wish, current, after, own)
    if protocol != current.protocol:
        changed.append((PROTOCOL, protocol_content(protocol)))
    if not changed:
        raise InputError("wish.nothing", operation=wish.operation)
    return tuple(changed)


def check_names(transaction: Transaction, current: Members) -> None:
    """See that no organisation gets a name that may be taken for another member's, nor is under a control that may.

    The ledger takes any name: who signs has to look. What an organisation is called already is not judged again.

    Args:
        transaction: of public kinds.
        current: the members in force.

    Raises:
        InputError: for a malformed content.
        ConflictError: ``organisation.name_alike``, ``organisation.control_alike``, with whose it looks like.
    """
    contents = zip(transaction.changes, transaction.bodies, strict=False)
    for after in (parse_organisation(content)[0] for change, content in contents if change.kind == ORGANISATION):
        before = current.organisations.get(after.org_id)
        others = [one for one in current.organisations.values() if one.org_id != after.org_id and one.status != REMOVED]
        for other in others:
            if (before is None or before.name != after.name) and _is_called_alike(after, other):
                raise ConflictError("organisation.name_alike", org_id=after.org_id, other=other.org_id)
            is_new = before is None or before.control != after.control
            if is_new and after.control != other.control and look_alike(after.control, other.control):
                raise ConflictError("organisation.control_alike", org_id=after.org_id, other=other.org_id)


def _is_called_alike(one: Organisation, other: Organisation) -> bool:
    """Tell whether two organisations may be taken for one another by a name, in whichever languages."""
    return any(look_alike(str(mine), str(theirs)) for mine in one.name.values() for theirs in other.name.values())


def _known(current: Members, org_id: str) -> Organisation:
    """Find an organisation."""
    found = current.organisations.get(org_id)
    if found is None:
        raise NotFoundError("organisation.unknown", org_id=org_id[:40])
    return found


def _with_status(current: Members, organisation: Organisation, status: str) -> Members:
    """Give an organisation a status."""
    return current if organisation.status == status else current.with_organisation(replace(organisation, status=status))


def _read_admission(wish: Wish, current: Members, ledger: bytes) -> tuple[Organisation, dict[str, str]]:
    """Read an admission file; of an organisation that is a member, its keys alone count."""
    top = members(wish.content, {"ledger": str, "organisation": dict, "type": str})
    if top["type"] != ADMISSION_TYPE:
        raise InputError("admission.type")
    if unhex(top["ledger"], HASH_BYTES) != ledger:
        raise VerificationError("admission.ledger")
    asked, proofs = parse_organisation(top["organisation"])
    before = current.organisations.get(asked.org_id)
    if wish.operation == "admit" and before is not None:
        raise ConflictError("organisation.exists", org_id=asked.org_id)
    if wish.operation == "rotate" and wish.org_id and wish.org_id != asked.org_id:
        raise InputError("admission.organisation", org_id=asked.org_id)
    after = replace(asked, status=ACTIVE) if before is None else replace(before, keys=asked.keys)
    if wish.operation == "rotate":
        _known(current, asked.org_id)
    if after == before:
        raise InputError("wish.nothing", operation=wish.operation)
    check_new_keys(ledger, before, after, proofs)
    known = set() if before is None else {key.id for key in before.keys}
    return after, {name: base64_text(proof) for name, proof in proofs.items() if name not in known}


def _with_issuers(wish: Wish, before: Organisation) -> tuple[Organisation, dict[str, str]]:
    """Add issuer codes to an organisation; the first ones bring the first key that makes ids of its invoices."""
    asked, proofs = parse_invoices(wish.content)
    if before.invoices is None:
        return replace(before, invoices=asked), {name: base64_text(proof) for name, proof in proofs.items()}
    issuers = sorted({*before.invoices.issuers, *asked.issuers})
    return replace(before, invoices=replace(before.invoices, issuers=tuple(issuers))), {}


def _protocol(wish: Wish, current: Members, after: Members, own: str) -> ProtocolRules:
    """Choose orderer, quorum and protocol version."""
    rules = current.protocol
    named = {"hand-over": wish.org_id, TAKE_OVER: own}.get(wish.operation, wish.orderer or rules.orderer)
    if _known(after, named).status != ACTIVE:
        raise ConflictError("wish.orderer", org_id=named)
    protocol = rules.protocol if wish.protocol is None else wish.protocol
    if protocol not in PROTOCOLS:
        # Nodes halt under rules that they do not know: whoever proposes them must know them.
        raise VerificationError("wish.protocol", protocol=protocol)
    quorum = wish.quorum if wish.quorum is not None else _quorum(rules.quorum, current.active, after.active)
    return ProtocolRules(named, quorum, protocol)


def _quorum(quorum: int, before: Sequence[Organisation], after: Sequence[Organisation]) -> int:
    """Let k follow the number of members: the least one stays the least, another changes only where it must."""
    if len(before) == len(after):
        return quorum
    least = quorum_floor(len(after))
    return quorum if quorum != quorum_floor(len(before)) and least <= quorum <= len(after) else least
