"""How a proposal stands, and what it would change, as this node's own ledger tells it now.

Keeps true: what is shown follows from the bytes that are signed and from this node's own state, never from anybody's
description of them; whose approval counts is decided by the members and the policy in force, so a suspended member's
does not; a proposal that the state has overtaken says so. Trusts the judge's replica.
Source: `docs/spec/proposal.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, as_list, as_object, as_objects, canonical
from medchain.errors import InputError, MedchainError, VerificationError
from medchain.ledger.machine import POLICY, Refusal
from medchain.ledger.members import (
    LEDGER_KEY,
    Members,
    is_own_update,
    organisation_content,
    parse_organisation,
    protocol_content,
)
from medchain.ledger.object import ORGANISATION, map_key, public_owner
from medchain.ledger.transaction import MEMBER, Signer, Transaction, parse_payload
from medchain.node.endorse import Judge
from medchain.node.proposal import Choice, Decision, Proposal, completed, is_active

OPEN: Final = "open"
"""It can be approved."""

ACCEPTED: Final = "accepted"
"""The ledger holds what it proposes."""

WITHDRAWN: Final = "withdrawn"
"""Its creator has taken it back."""

EXPIRED: Final = "expired"
"""Its time is over."""

OVERTAKEN: Final = "overtaken"
"""The state has moved on: the ledger would refuse it whoever signs."""

_LISTED: Final = {"name": "name", "predicates": "predicate", "rules": "rule"}
_OWN_UPDATE: Final = f"{ORGANISATION}/update"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a proposal stands.

    Attributes:
        state: `OPEN`, `ACCEPTED`, `WITHDRAWN`, `EXPIRED` or `OVERTAKEN`.
        code: why it is overtaken, None otherwise.
        position: leaf index at which the ledger holds it, None where it does not.
        approved: org_ids of the active members whose approval counts, the creator first.
        rejected: org_ids of the active members who have rejected it.
        rules: rules of the policy that it needs, ``kind/status``.
        is_satisfied: whether those who approved are enough.
        missing: whose approval besides would be enough; one of perhaps many such sets. Empty where nobody is missing
            or where not even all are enough.
    """

    state: str
    code: str | None
    position: int | None
    approved: tuple[str, ...]
    rejected: tuple[str, ...]
    rules: tuple[str, ...]
    is_satisfied: bool
    missing: tuple[str, ...]


def standing(proposal: Proposal, decisions: Sequence[Decision], judge: Judge) -> Standing:
    """Tell how a proposal stands.

    Args:
        proposal: which.
        decisions: the newest of each member, verified when they came.
        judge: this node's own judgement.

    Returns:
        Its standing.
    """
    current = judge.replica.members
    active = [item for item in decisions if is_active(current, item.org_id)]
    approved = [item.org_id for item in active if item.choice is Choice.APPROVE and item.org_id != proposal.creator]
    rejected = tuple(item.org_id for item in active if item.choice is Choice.REJECT)
    rules = rules_of(proposal.transaction, current)
    code = refusal(proposal, [item.org_id for item in current.active], judge)
    position = _position(proposal, judge)
    state = OPEN if code is None else OVERTAKEN
    if position is not None:
        state, code = ACCEPTED, None
    elif any(item.choice is Choice.WITHDRAW for item in decisions if item.org_id == proposal.creator):
        state, code = WITHDRAWN, None
    elif judge.clock() > proposal.until:
        state, code = EXPIRED, None
    is_satisfied = is_enough(proposal, approved, current)
    missing = () if state != OPEN or is_satisfied else _missing(proposal, approved, current)
    own = (proposal.creator,) if is_active(current, proposal.creator) else ()
    return Standing(state, code, position, (*own, *approved), rejected, rules, is_satisfied, missing)


def refusal(proposal: Proposal, org_ids: Iterable[str], judge: Judge) -> str | None:
    """Run the machine on a proposal with the rows of these members, at the next place on this node's state.

    Returns:
        The code of the refusal, or None if it would be accepted; signatures are not looked at.
    """
    try:
        payload = completed(proposal, member_keys(proposal, org_ids, judge.replica.members))
        return judged(payload, parse_payload(payload), judge)
    except MedchainError as error:
        return error.code


def judged(payload: bytes, transaction: object, judge: Judge) -> str | None:
    """Run the machine on a payload; returns the code of the refusal, None if it would be accepted."""
    if not isinstance(transaction, Transaction):
        return "transaction.malformed"
    try:
        outcome = judge.execute(payload, transaction)
    except VerificationError as error:
        return error.code
    return outcome.code if isinstance(outcome, Refusal) else None


def member_keys(proposal: Proposal, org_ids: Iterable[str], current: Members) -> dict[str, str]:
    """Find the ledger keys of active members: key id → org_id; the creator, whose key the draft names, is left out."""
    found = (current.organisations.get(org_id) for org_id in org_ids)
    return {
        item.key(LEDGER_KEY).id: item.org_id
        for item in found
        if item is not None and item.org_id != proposal.creator and is_active(current, item.org_id)
    }


def is_enough(proposal: Proposal, org_ids: Iterable[str], current: Members) -> bool:
    """Tell whether the creator and these members satisfy every rule that a proposal needs."""
    keys = member_keys(proposal, org_ids, current)
    rows = tuple(sorted({*proposal.transaction.signers, *(Signer(name, MEMBER) for name in keys)}))
    creator = proposal.creator
    return all(current.satisfies(rule, creator, rows) is True for rule in rules_of(proposal.transaction, current))


def rules_of(transaction: Transaction, current: Members) -> tuple[str, ...]:
    """List the rules that a transaction of public kinds needs, each once."""
    rules: dict[str, None] = {}
    for change, body in zip(transaction.changes, transaction.bodies, strict=False):
        rule = f"{change.kind}/{change.status}"
        if change.kind == ORGANISATION and _is_own(transaction, body, current):
            rule = _OWN_UPDATE
        rules[rule] = None
    return tuple(rules)


def differences(proposal: Proposal, current: Members) -> list[dict[str, Json]]:
    """Compare what a proposal writes with what is in force.

    Args:
        proposal: which.
        current: the members in force.

    Returns:
        Rows ``{"after","before","field","subject"}``: the subject is an org_id, ``policy`` or ``protocol``; before and
        after are text, null where there is none. Only what differs, field by field.
    """
    rows: list[dict[str, Json]] = []
    for change, body in zip(proposal.transaction.changes, proposal.transaction.bodies, strict=False):
        after = as_object(body)
        subject = str(after.get("org_id", "")) if change.kind == ORGANISATION else change.kind
        before = _flat(change.kind, _in_force(change.kind, subject, current))
        changed = _flat(change.kind, after)
        for field in sorted({*before, *changed}):
            if before.get(field) != changed.get(field):
                old, new = before.get(field), changed.get(field)
                rows.append({"after": new, "before": old, "field": field, "subject": subject})
    return rows


def _position(proposal: Proposal, judge: Judge) -> int | None:
    """Find where the ledger holds all that a proposal writes, whoever brought it there."""
    store, since = judge.replica.store, -1
    for change, body in zip(proposal.transaction.changes, proposal.transaction.bodies, strict=False):
        row = change.objects[0]
        key = _key(change.kind, body)
        head = None if key is None else store.record(key)
        if key is None or head is None or head.version < row.version:
            return None
        same = (item for item in store.history(key) if item.version == row.version)
        found = next(same, None)
        if found is None or found.body_hash != row.body_hash:
            return None
        since = max(since, found.since)
    return since if since >= 0 else None


def versions_of(transaction: Transaction, kind: str) -> list[tuple[bytes, int]]:
    """List map key and version of the objects of a kind that a transaction writes."""
    pairs = zip(transaction.changes, transaction.bodies, strict=False)
    found = [(_key(change.kind, body), change.objects[0].version) for change, body in pairs if change.kind == kind]
    return [(key, version) for key, version in found if key is not None]


def _key(kind: str, body: Json) -> bytes | None:
    """Name the object that a content is of."""
    try:
        owner, object_id = public_owner(kind, as_object(body))
    except (KeyError, ValueError):
        return None
    return map_key(kind, owner, object_id)


def _is_own(transaction: Transaction, body: Json, current: Members) -> bool:
    """Tell whether an organisation changes no more of itself than it may alone."""
    try:
        after, _ = parse_organisation(body)
    except InputError:
        return False
    before = current.organisations.get(after.org_id)
    return after.org_id == transaction.creator and is_own_update(before, after)


def _missing(proposal: Proposal, approved: Sequence[str], current: Members) -> tuple[str, ...]:
    """Choose members whose approval would be enough: all of them, less each one without whom the rest still is."""
    have = {*approved, proposal.creator}
    needed = [item.org_id for item in current.active if item.org_id not in have]
    if not is_enough(proposal, [*approved, *needed], current):
        return ()
    for org_id in list(needed):
        rest = [name for name in needed if name != org_id]
        if is_enough(proposal, [*approved, *rest], current):
            needed = rest
    return tuple(needed)


def _in_force(kind: str, subject: str, current: Members) -> Mapping[str, Json]:
    """Return the content that an object has now; empty where there is none."""
    if kind == ORGANISATION:
        organisation = current.organisations.get(subject)
        return {} if organisation is None else organisation_content(organisation)
    return current.policy.content if kind == POLICY else protocol_content(current.protocol)


def _flat(kind: str, content: Mapping[str, Json]) -> dict[str, str]:
    """Write a content field by field, as text: a rule, or a type of statements, a field of a policy, and so on."""
    flat: dict[str, str] = {}
    for name, value in content.items():
        if kind == ORGANISATION and name == "keys" and isinstance(value, list):
            flat |= {f"key.{row['use']}.{row['id']}": str(row["id"]) for row in value if isinstance(row, dict)}
        elif kind == ORGANISATION and name == "invoices":
            flat |= _flat_invoices(as_object(value))
        elif name in _LISTED and isinstance(value, dict):
            prefix = _LISTED[name]
            flat |= {f"{prefix}.{key}": _text(item) for key, item in value.items()}
        elif name != "type":
            flat[name] = _text(value)
    return flat


def _flat_invoices(invoices: Mapping[str, Json]) -> dict[str, str]:
    """Write which invoices an organisation issues: an issuer code a field, and a key with the day from which it is."""
    codes = {f"issuer.{code}": str(code) for code in as_list(invoices.get("issuers"))}
    keys = {f"invoice_key.{row.get('public')}": _text(row.get("from")) for row in as_objects(invoices.get("vrf"))}
    return codes | keys


def _text(value: Json) -> str:
    """Write a value: a text as it is, all else as canonical JSON."""
    return value if isinstance(value, str) else canonical(value).decode("utf-8")
