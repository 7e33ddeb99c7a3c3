"""The machine: what a block does to the state. Deterministic, without I/O, the same for all kinds.

Rules, in the order in which they are judged (each refusal names the first that is broken):

1. ledger, protocol version, `until`; 2. signers are ledger keys of active organisations, in roles that they may have;
3. kind, number of objects, status, expiry, stop hash; 4. each object is its head + 1 and may pass to that status;
5. each ref is the head, and active unless the kind says otherwise; 6. public contents are what the body hashes say and
keep the members sound; 7. the draw is right; 8. the policy for kind and status is satisfied; 9. every signature is
valid.

Keeps true: the same blocks give the same records, members and draws on every node; nothing is applied twice; what is
refused changes nothing; what a stop ended cannot be used by anything ordered after it. `execute` changes nothing
itself: it reads through a view and returns effects. All rules stand in one file, so that who judges them reads them in
one place. Trusts the view to be the state after the block before.
Source: `docs/spec/transaction.md`, `docs/spec/endorsement.md`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from medchain.crypto.signing import ed25519_verify
from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import InputError, MedchainError, VerificationError
from medchain.ledger.genesis import Genesis, with_line_ids
from medchain.ledger.issuers import check_succession
from medchain.ledger.kind import Kind
from medchain.ledger.kinds.registry import KINDS
from medchain.ledger.members import (
    LEDGER_KEY,
    LOG_KEY,
    Members,
    Organisation,
    check_new_keys,
    is_own_update,
    organisation_content,
    parse_organisation,
    parse_protocol,
    protocol_content,
)
from medchain.ledger.object import (
    ACTIVE,
    ORGANISATION,
    STOPPED,
    StateRecord,
    in_force,
    map_key,
    public_body_hash,
    public_owner,
    stop_hash,
)
from medchain.ledger.policy import draw_order, parse_policy
from medchain.ledger.predicates import check_kept
from medchain.ledger.transaction import (
    CREATOR,
    HASH_BYTES,
    INDEPENDENT,
    MEMBER,
    SUBMITTER,
    Change,
    Draw,
    Envelope,
    ObjectRow,
    Stop,
    Transaction,
    pae,
    parse_envelope,
    transaction_id,
)

PROTOCOLS: Final = frozenset({1})
"""Protocol versions that this machine executes."""

SEED_INTERVAL: Final = 256
"""Every so many heights a state entry seeds draws."""

DRAW_WINDOW: Final = 64
"""How many draw numbers of a creator are open at once."""

DRAW_LAG: Final = 32
"""How far an unused number may fall behind the highest used one before it is given up."""

MAX_BLOCK_BYTES: Final = 2 * 1024 * 1024
"""Most bytes of leaves in a block, so that its frame stays below the 4 MiB of one answer."""

DAY_S: Final = 86400
"""Seconds of a day."""

STATE_TYPE: Final = "medchain/state/v2"
"""Type member of a state leaf."""

POLICY: Final = "policy"
"""Name of the kind whose one object holds the endorsement policy."""

PROTOCOL: Final = "protocol"
"""Name of the kind whose one object holds orderer, quorum and protocol version."""

_PARSED_AT_ONCE: Final = 512
_OWN_UPDATE: Final = "organisation/update"
_MAX_STATE_BYTES: Final = 256
_UNNAMED_TYPE: Final = "medchain/state/v1"


class DrawState(NamedTuple):
    """Which draw numbers of a creator are used.

    Attributes:
        number: all numbers up to this one are used or given up.
        used: bit i set means that ``number + 1 + i`` is used; below 2^32.
        given_up: how many were given up; a creator that skips many is seen to choose.
    """

    number: int = 0
    used: int = 0
    given_up: int = 0

    def is_open(self, number: int) -> bool:
        """Tell whether a number lies in the window and is unused."""
        at = number - self.number - 1
        return 0 <= at < DRAW_WINDOW and not self.used >> at & 1

    def use(self, number: int) -> DrawState:
        """Use an open number; gives up unused ones more than `DRAW_LAG` below it."""
        floor, used, given_up = self.number, self.used | 1 << (number - self.number - 1), self.given_up
        while used & 1 or number > floor + DRAW_LAG:
            given_up += 1 - (used & 1)
            used >>= 1
            floor += 1
        return DrawState(floor, used, given_up)


_NO_DRAWS: Final[Mapping[str, DrawState]] = MappingProxyType({})


class View(Protocol):
    """The state after the block before, as the machine reads it."""

    @property
    def members(self) -> Members:
        """The members in force."""
        ...

    def record(self, key: bytes) -> StateRecord | None:
        """Return the head of an object, or None."""
        ...

    def heads(self, keys: Sequence[bytes]) -> Mapping[bytes, StateRecord | None]:
        """Return the heads of many objects at once; None for each that there is not."""
        ...

    def draws(self, creator: str) -> DrawState:
        """Return the draws of a creator; `DrawState()` if there was none."""
        ...

    def seed(self, height: int) -> bytes | None:
        """Return the map root of the state entry at a height, None if there is none."""
        ...


class BlockContext(NamedTuple):
    """Where a transaction stands.

    Attributes:
        height: of its block.
        time: of its block, Unix seconds.
        position: leaf index that it gets.
        ledger: ledger id, 32 bytes.
        origin: origin line of the ledger's checkpoints.
        day: of its block, days since 1970-01-01 (UTC).
        orderer: org_id of who orders the block, where transactions before it in the block may have named another;
            empty for who orders now.
    """

    height: int
    time: int
    position: int
    ledger: bytes
    origin: str
    day: int
    orderer: str = ""


def block_context(height: int, time: int, position: int, genesis: Genesis) -> BlockContext:
    """Make the context of a block's first transaction; the day follows from the time."""
    return BlockContext(height, time, position, genesis.ledger, genesis.origin, time // DAY_S)


class Effects(NamedTuple):
    """What an accepted transaction changes.

    Attributes:
        records: map key → new head.
        members: the members after it, None if they stay.
        draws: creator → its draws after it.
    """

    records: Mapping[bytes, StateRecord]
    members: Members | None = None
    draws: Mapping[str, DrawState] = _NO_DRAWS


class Drawn(NamedTuple):
    """How a transaction came by its independent endorser.

    Attributes:
        creator: org_id of its creator.
        number: the creator's number of the draw.
        rank: place of the endorser in the drawn order; above 0 others were passed over.
        key_id: with which the endorser signed.
        kinds: of the objects that it changes.
    """

    creator: str
    number: int
    rank: int
    key_id: str
    kinds: frozenset[str]


Verify = Callable[[bytes, bytes, bytes], bool]
"""Tells of a public key, a message and a signature what `medchain.crypto.signing.ed25519_verify` tells."""

Checks = Callable[[Members, Sequence[Envelope]], Sequence[bool]]
"""Checks the signatures of many envelopes at once, as `is_signed` does; False where they do not hold or were not
checked, which says nothing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a transaction is not accepted.

    Attributes:
        code: stable code, `docs/spec/transaction.md`.
        fields: what explains it.
    """

    code: str
    fields: Mapping[str, int | str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BlockEffects:
    """What a block changes, before its state leaf.

    Attributes:
        leaves: accepted transactions, in order.
        records: map key → new head.
        members: the members after the block.
        draws: creator → draws, for those that changed.
        refusals: (index among the leaves given, refusal).
        history: every record made, in order; ``records`` holds the last of each key.
        ids: ids of the transactions accepted, in order; the genesis is none.
        drawn: how those of them that have an independent endorser came by it, in order.
    """

    leaves: tuple[bytes, ...]
    records: Mapping[bytes, StateRecord]
    members: Members
    draws: Mapping[str, DrawState]
    refusals: tuple[tuple[int, Refusal], ...]
    history: tuple[StateRecord, ...]
    ids: tuple[bytes, ...] = ()
    drawn: tuple[Drawn, ...] = ()


def execute(view: View, envelope: Envelope, context: BlockContext, *, verified: bool = False) -> Effects | Refusal:
    """Judge one transaction.

    Args:
        view: state before it.
        envelope: from `parse_envelope`.
        context: where it would stand.
        verified: whether its signatures were verified under these members before.

    Returns:
        What it changes, or why it is refused.

    Raises:
        VerificationError: ``block.protocol`` when the members are under rules that this machine does not know.
    """
    try:
        if isinstance(envelope.transaction, Stop):
            effects = _stop(view, envelope.transaction, context)
        else:
            effects = _transaction(view, envelope.transaction, context)
        if not verified:
            _check_signatures(view.members, envelope)
    except _RefusedError as refused:
        return refused.refusal
    return effects


def apply_block(
    view: View,
    context0: BlockContext,
    leaves: Sequence[bytes],
    *,
    strict: bool,
    checks: Checks | None = None,
) -> BlockEffects:
    """Execute the transactions of a block, each on the state that those before it leave.

    Args:
        view: state after the block before.
        context0: context of the first transaction.
        leaves: envelopes in order.
        strict: whether a refused transaction makes the whole block invalid (a replica) or is left out (the orderer).
        checks: checks signatures ahead of the other rules; what it does not vouch for is checked after them.

    Returns:
        The effects.

    Raises:
        VerificationError: ``block.transaction`` with position and reason, only if strict; ``block.protocol``.
    """
    overlay = _Overlay(view)
    accepted: list[bytes] = []
    ids: list[bytes] = []
    drawn: list[Drawn] = []
    refusals: list[tuple[int, Refusal]] = []
    height, time, position, ledger, origin, day, _ = context0
    orderer = view.members.protocol.orderer
    left = MAX_BLOCK_BYTES
    for index, (leaf, parsed, is_checked) in enumerate(_parsed(overlay, leaves, checks)):
        if len(leaf) > left:
            refusal = Refusal("transaction.size_left", {"size": len(leaf), "limit": left})
        elif isinstance(parsed, Refusal):
            refusal = parsed
        else:
            context = BlockContext(height, time, position, ledger, origin, day, orderer)
            outcome = execute(overlay, parsed, context, verified=is_checked)
            if isinstance(outcome, Effects):
                overlay.add(outcome)
                accepted.append(leaf)
                ids.append(transaction_id(parsed.payload))
                drawn += drawn_of(parsed.transaction)
                left -= len(leaf)
                position += 1
                continue
            refusal = outcome
        if strict:
            raise VerificationError("block.transaction", position=position, reason=refusal.code)
        refusals.append((index, refusal))
    return BlockEffects(
        tuple(accepted),
        overlay.records,
        overlay.members,
        overlay.changed_draws,
        tuple(refusals),
        tuple(overlay.history),
        tuple(ids),
        tuple(drawn),
    )


def apply_genesis(genesis: Genesis) -> BlockEffects:
    """Make height 0: the genesis as leaf 0, and organisations, policy and protocol at version 1.

    Args:
        genesis: verified by `medchain.ledger.genesis.verify_genesis`.

    Returns:
        Its effects; the state leaf of height 0 follows them.
    """
    snapshot = genesis.members
    contents: list[tuple[str, Json]] = [
        (ORGANISATION, organisation_content(o)) for o in snapshot.organisations.values()
    ]
    contents.append((POLICY, dict(snapshot.policy.content)))
    contents.append((PROTOCOL, protocol_content(snapshot.protocol)))
    records = [_first_record(kind, content) for kind, content in contents]
    return BlockEffects(
        (genesis.encoded,), {record.key: record for record in records}, snapshot, {}, (), tuple(records)
    )


def is_signed(snapshot: Members, envelope: Envelope, verify: Verify = ed25519_verify) -> bool:
    """Tell whether all signatures of an envelope hold, under keys that the members list; no other rule is judged."""
    try:
        _check_signatures(snapshot, envelope, verify)
    except (KeyError, _RefusedError):
        return False
    return True


def drawn_of(payload: Transaction | Stop) -> Sequence[Drawn]:
    """Tell how an accepted transaction came by its independent endorser; nothing of one that has none."""
    if isinstance(payload, Stop) or payload.draw is None:
        return ()
    _, number, rank = payload.draw
    kinds = frozenset([change.kind for change in payload.changes])
    signers = [row.key_id for row in payload.signers if row.role == INDEPENDENT]
    return [Drawn(payload.creator, number, rank, key_id, kinds) for key_id in signers]


def state_leaf(height: int, time: int, map_root: bytes, policy: bytes) -> bytes:
    """Write the state leaf that closes a block.

    Args:
        height: of the block.
        time: of the block, Unix seconds.
        map_root: root of the state map after it, 32 bytes.
        policy: `medchain.ledger.genesis.policy_digest` of the members after it, 32 bytes.

    Returns:
        Bare canonical JSON, which no envelope can equal.
    """
    return canonical(
        {"height": height, "map_root": map_root.hex(), "policy": policy.hex(), "time": time, "type": STATE_TYPE}
    )


@dataclass(frozen=True, slots=True)
class StateLeaf:
    """A state leaf, decoded.

    Attributes:
        height: of the block.
        time: of the block, Unix seconds.
        map_root: 32 bytes.
        policy: SHA-256 of the policy.txt in force after the block.
    """

    height: int
    time: int
    map_root: bytes
    policy: bytes


def parse_state_leaf(leaf: bytes) -> StateLeaf:
    """Decode a state leaf strictly.

    Raises:
        InputError: ``encoding.*`` or ``state.malformed``; ``policy.unnamed`` for one of the form before, which leaves
            open who had to cosign it.
    """
    value = parse_canonical(leaf, max_bytes=_MAX_STATE_BYTES)
    if type(value) is dict and value.get("type") == _UNNAMED_TYPE:
        raise InputError("policy.unnamed")
    top = members(value, {"height": int, "map_root": str, "policy": str, "time": int, "type": str})
    height, time = top["height"], top["time"]
    if top["type"] != STATE_TYPE or type(height) is not int or type(time) is not int or height < 0 or time < 0:
        raise InputError("state.malformed")
    return StateLeaf(height, time, unhex(top["map_root"], HASH_BYTES), unhex(top["policy"], HASH_BYTES))


def seed_heights(height: int) -> tuple[int, ...]:
    """Return the heights whose state entries may seed a draw accepted at a height, the newest first."""
    newest = max(height - 1, 0) // SEED_INTERVAL * SEED_INTERVAL
    return (newest,) if newest == 0 else (newest, newest - SEED_INTERVAL)


class _RefusedError(Exception):
    """Carries a refusal out of the rule that found it."""

    def __init__(self, code: str, **fields: int | str | None) -> None:
        """Keep the refusal."""
        super().__init__(code)
        self.refusal = Refusal(code, fields)


class _Overlay:
    """A view with the effects of the block so far on top."""

    def __init__(self, view: View) -> None:
        """Start with nothing on top."""
        self._view = view
        self._heads: dict[bytes, StateRecord | None] = {}
        self.members = view.members
        self.records: dict[bytes, StateRecord] = {}
        self.changed_draws: dict[str, DrawState] = {}
        self.history: list[StateRecord] = []

    def record(self, key: bytes) -> StateRecord | None:
        """Return the head of an object."""
        if key not in self._heads:
            self._heads[key] = self._view.record(key)
        return self._heads[key]

    def heads(self, keys: Sequence[bytes]) -> Mapping[bytes, StateRecord | None]:
        """Look up many objects at once, those that no effect has touched."""
        unknown = [key for key in keys if key not in self._heads]
        self._heads.update(self._view.heads(unknown))
        return self._heads

    def draws(self, creator: str) -> DrawState:
        """Return the draws of a creator."""
        return self.changed_draws.get(creator) or self._view.draws(creator)

    def seed(self, height: int) -> bytes | None:
        """Return the map root at a height; blocks before this one only."""
        return self._view.seed(height)

    def add(self, effects: Effects) -> None:
        """Put effects on top."""
        records = effects.records
        self._heads.update(records)
        self.records.update(records)
        self.history += records.values()
        if effects.draws:
            self.changed_draws.update(effects.draws)
        if effects.members is not None:
            self.members = effects.members


def _parsed(
    view: View, leaves: Sequence[bytes], checks: Checks | None
) -> Iterator[tuple[bytes, Envelope | Refusal, bool]]:
    """Decode leaves as they came, some at a time, and look up at once what they will ask for.

    Returns:
        Of each the leaf, what it is, and whether its signatures were checked and hold under the members before it.
    """
    for start in range(0, len(leaves), _PARSED_AT_ONCE):
        part = leaves[start : start + _PARSED_AT_ONCE]
        parsed = [_parse(leaf) for leaf in part]
        view.heads(
            [
                key
                for item in parsed
                if isinstance(item, Envelope) and isinstance(item.transaction, Transaction)
                for key in _changed_keys(item.transaction)
            ]
        )
        envelopes = [item for item in parsed if isinstance(item, Envelope)]
        snapshot = view.members
        signed = iter(checks(snapshot, envelopes) if checks else [False] * len(envelopes))
        for leaf, item in zip(part, parsed, strict=True):
            # Two keys of one id must not part nodes that checked ahead from those that did not.
            yield leaf, item, isinstance(item, Envelope) and next(signed) and view.members is snapshot


def named_keys(leaves: Sequence[bytes]) -> list[bytes]:
    """Return the map keys of all objects that transactions change, refer to or stop; a leaf that is none names none."""
    keys: list[bytes] = []
    for leaf in leaves:
        parsed = _parse(leaf)
        if isinstance(parsed, Refusal):
            continue
        payload = parsed.transaction
        if isinstance(payload, Transaction):
            keys += _changed_keys(payload)
            keys += [ref.key for change in payload.changes for ref in change.refs]
        else:
            keys.append(payload.object)
    return keys


def _changed_keys(transaction: Transaction) -> list[bytes]:
    """Return the map keys of the objects that a transaction changes."""
    creator = transaction.creator
    return [map_key(change.kind, creator, row.id) for change in transaction.changes for row in change.objects]


def _parse(leaf: bytes) -> Envelope | Refusal:
    """Decode a leaf, or tell why it is none."""
    try:
        return parse_envelope(leaf)
    except InputError as error:
        return Refusal(error.code, error.fields)


def _transaction(view: View, transaction: Transaction, context: BlockContext) -> Effects:
    """Judge a transaction, all but its signatures."""
    snapshot = view.members
    _check_frame(snapshot, transaction, context)
    endorser = _endorser(snapshot, transaction)
    _check_until(transaction, context)
    records: dict[bytes, StateRecord] = {}
    rules: list[str] = []
    bodies = list(transaction.bodies)
    after = snapshot
    for change in transaction.changes:
        kind = _kind(change, context)
        if change.refs or kind.refs:
            _check_refs(view, kind, change, context)
        owner, rule = transaction.creator, f"{change.kind}/{change.status}"
        if kind.public_body:
            owner, rule, after = _public(after, transaction, change, bodies.pop(0) if bodies else None, context.day)
        rules.append(rule)
        for row in change.objects:
            key = map_key(kind.name, owner, row.id)
            records[key] = _next_record(view.record(key), kind, change, row, owner, context.position)
    if bodies:
        raise _RefusedError("transaction.bodies", count=len(transaction.bodies))
    draws = _check_draw(view, transaction, endorser, context)
    for rule in rules:
        _check_rule(snapshot, rule, transaction)
    if after is snapshot:
        return Effects(records, None, draws)
    after = _sound(after, snapshot, context)
    _check_log_keys(snapshot, after, context)
    return Effects(records, after, draws)


def _stop(view: View, stop: Stop, context: BlockContext) -> Effects:
    """Judge a stop, all but its signature. A suspended organisation may stop: what narrows must not be blocked."""
    snapshot = view.members
    _check_frame(snapshot, stop, context)
    key = snapshot.keys.get(stop.signers[0].key_id)
    if key is None or key.use != LEDGER_KEY:
        raise _RefusedError("transaction.signer_unknown", key_id=stop.signers[0].key_id)
    if len(stop.signers) != 1 or stop.signers[0].role != SUBMITTER:
        raise _RefusedError("transaction.role", role=stop.signers[0].role)
    if key.org_id != stop.creator:
        raise _RefusedError("transaction.creator", creator=stop.creator)
    head = view.record(stop.object)
    if head is None:
        raise _RefusedError("stop.unknown")
    if head.status == STOPPED:
        raise _RefusedError("stop.repeated", version=head.version)
    if head.stop_hash is None or head.status != ACTIVE:
        raise _RefusedError("stop.not_stoppable", status=head.status)
    if not hmac.compare_digest(stop_hash(stop.preimage), head.stop_hash):
        raise _RefusedError("stop.preimage")
    body_hash = head.body_hash if stop.evidence is None else stop.evidence
    stopped = replace(
        head,
        version=head.version + 1,
        status=STOPPED,
        body_hash=body_hash,
        since=context.position,
        previous=head.digest,
    )
    return Effects({stop.object: stopped})


def _check_frame(snapshot: Members, payload: Transaction | Stop, context: BlockContext) -> None:
    """Check that a payload is for this ledger, these rules and this time."""
    if snapshot.protocol.protocol not in PROTOCOLS:
        # The members have moved on to rules that this software does not know: halt, a guess would be a fork.
        raise VerificationError("block.protocol", protocol=snapshot.protocol.protocol)
    if payload.ledger != context.ledger:
        raise _RefusedError("transaction.ledger")
    if payload.protocol != snapshot.protocol.protocol:
        raise _RefusedError("transaction.protocol", protocol=payload.protocol)
    if payload.until is not None and payload.until < context.time:
        raise _RefusedError("transaction.until", until=payload.until, time=context.time)


def _check_until(transaction: Transaction, context: BlockContext) -> None:
    """Check that a transaction whose kind wants it cannot be held back for long."""
    for change in transaction.changes:
        kind = KINDS.get(change.kind)
        if kind is None or kind.max_until_s is None:
            continue
        if transaction.until is None or transaction.until > context.time + kind.max_until_s:
            raise _RefusedError("transaction.until", until=transaction.until, time=context.time)


def _endorser(snapshot: Members, transaction: Transaction) -> Organisation | None:
    """Check that each signer may sign as what it signs, once for each snapshot; returns the independent endorser."""
    asked = (transaction.creator, transaction.signers)
    try:
        return snapshot.seated[asked]
    except KeyError:
        endorser = _check_signers(snapshot, transaction)
        snapshot.seat(asked, endorser)
        return endorser


def _check_signers(snapshot: Members, transaction: Transaction) -> Organisation | None:
    """Check that each signer is an active organisation in a role that it may have; returns the independent endorser."""
    roles: list[str] = []
    endorser: Organisation | None = None
    for row in transaction.signers:
        organisation = snapshot.signers.get(row.key_id)
        if organisation is None:
            known = snapshot.keys.get(row.key_id)
            suspended = known is not None and known.use == LEDGER_KEY
            code = "transaction.suspended" if suspended else "transaction.signer_unknown"
            raise _RefusedError(code, key_id=row.key_id)
        if row.role == CREATOR and organisation.org_id != transaction.creator:
            raise _RefusedError("transaction.creator", creator=transaction.creator)
        if row.role not in {CREATOR, INDEPENDENT, MEMBER}:
            raise _RefusedError("transaction.role", role=row.role)
        if row.role == INDEPENDENT:
            endorser = organisation
        roles.append(row.role)
    if roles.count(CREATOR) != 1:
        raise _RefusedError("transaction.creator", creator=transaction.creator)
    if roles.count(INDEPENDENT) > 1:
        raise _RefusedError("transaction.role", role=INDEPENDENT)
    return endorser


def _kind(change: Change, context: BlockContext) -> Kind:
    """Check what a kind allows, whatever the state."""
    kind = KINDS.get(change.kind)
    if kind is None:
        raise _RefusedError("transaction.kind", kind=change.kind)
    if len(change.objects) > 1 and not kind.batch:
        raise _RefusedError("transaction.objects", kind=change.kind, count=len(change.objects))
    if change.status not in kind.statuses:
        raise _RefusedError("transaction.status", kind=change.kind, status=change.status)
    if change.expires is not None and (kind.public_body or change.expires < context.day):
        raise _RefusedError("transaction.expired", kind=change.kind, expires=change.expires)
    if (change.stop_hash is not None) != (kind.stoppable and change.status == ACTIVE):
        raise _RefusedError("transaction.stop_hash", kind=change.kind)
    return kind


def _check_refs(view: View, kind: Kind, change: Change, context: BlockContext) -> None:
    """Check that everything a change stands on is in force: the ledger's order decides between use and stop."""
    kinds: list[str] = []
    for ref in change.refs:
        head = view.record(ref.key)
        if head is None or head.version != ref.version:
            status = None if head is None else head.status
            code = "transaction.stopped" if status == STOPPED else "transaction.ref"
            raise _RefusedError(code, kind=change.kind, version=ref.version)
        if head.status != kind.refs_status:
            code = "transaction.stopped" if head.status == STOPPED else "transaction.ref"
            raise _RefusedError(code, kind=change.kind, version=ref.version)
        if head.status == ACTIVE and not in_force(head, context.day):
            raise _RefusedError("transaction.ref_expired", kind=change.kind, expires=head.expires)
        # A grant stands on its consent: who uses the grant must stand on the consent too, or its stop would not reach.
        if head.status == ACTIVE and any(below not in change.refs for below in head.refs):
            raise _RefusedError("transaction.ref", kind=change.kind, version=ref.version)
        referred = KINDS.get(head.kind)
        kinds.append(head.kind if referred is None or not referred.counts_as else referred.counts_as)
    wanted = kind.refs if change.status in kind.refs_in else ()
    if tuple(sorted(kinds)) != wanted and (kinds or not kind.refs_optional):
        raise _RefusedError("transaction.ref", kind=change.kind, count=len(kinds))


def _next_record(
    head: StateRecord | None, kind: Kind, change: Change, row: ObjectRow, owner: str, position: int
) -> StateRecord:
    """Make an object's next version, or find out why there is none."""
    if head is not None and head.status == STOPPED:
        raise _RefusedError("transaction.stopped", kind=kind.name, version=row.version)
    if row.version != (1 if head is None else head.version + 1):
        raise _RefusedError("transaction.version", kind=kind.name, version=row.version)
    if change.status not in kind.transitions.get(None if head is None else head.status, frozenset()):
        raise _RefusedError("transaction.status", kind=kind.name, status=change.status)
    if head is not None and change.stop_hash not in {None, head.stop_hash}:
        # A stop carries no version: who could change its preimage could outrun every stop.
        raise _RefusedError("transaction.stop_hash", kind=kind.name)
    return StateRecord(
        kind.name,
        owner,
        row.id,
        row.version,
        change.status,
        row.body_hash,
        change.stop_hash,
        change.expires,
        change.refs,
        position,
        None if head is None else head.digest,
    )


def _public(
    snapshot: Members, transaction: Transaction, change: Change, content: Json, day: int
) -> tuple[str, str, Members]:
    """Judge a public content; returns the object's owner, the rule that it needs and the members after it."""
    if type(content) is not dict:
        raise _RefusedError("transaction.bodies", count=len(transaction.bodies))
    row = change.objects[0]
    if public_body_hash(change.kind, content) != row.body_hash:
        raise _RefusedError("transaction.body", kind=change.kind)
    try:
        rule, after = _members_after(snapshot, transaction, change, content, day)
    except MedchainError as error:
        raise _RefusedError("transaction.body", kind=change.kind, reason=error.code) from error
    owner, object_id = public_owner(change.kind, content)
    if row.id != object_id:
        raise _RefusedError("transaction.owner", kind=change.kind)
    return owner, rule, after


def _members_after(
    snapshot: Members, transaction: Transaction, change: Change, content: dict[str, Json], day: int
) -> tuple[str, Members]:
    """Return the rule that a public change needs and the members after it."""
    rule = f"{change.kind}/{change.status}"
    if change.kind == ORGANISATION:
        organisation, proofs = parse_organisation(content)
        before = snapshot.organisations.get(organisation.org_id)
        check_new_keys(transaction.ledger, before, organisation, proofs)
        check_succession(before.invoices if before else None, organisation.invoices, day)
        own = organisation.org_id == transaction.creator and is_own_update(before, organisation)
        return (_OWN_UPDATE if own else rule), snapshot.with_organisation(organisation)
    if change.kind == POLICY:
        policy = parse_policy(content)
        check_kept(snapshot.policy.predicates, policy.predicates)
        return rule, snapshot.with_policy(policy)
    return rule, snapshot.with_protocol(parse_protocol(content))


def _sound(after: Members, before: Members, context: BlockContext) -> Members:
    """Check the members as all changes together leave them; returns them with all key ids that there have been."""
    try:
        after.check()
        return with_line_ids(after, before.organisations, context.origin)
    except VerificationError as error:
        raise _RefusedError("transaction." + error.code.partition(".")[2], **error.fields) from error


def _check_log_keys(before: Members, after: Members, context: BlockContext) -> None:
    """Check that who orders now, and who orders this block, keep their log keys.

    What the block before the exchange was signed with would else be no key in force where the next one begins: nobody
    could cosign the end of that block, nor go over to a ledger that holds it.
    """
    for org_id in (before.protocol.orderer, context.orderer or before.protocol.orderer):
        if after.organisations[org_id].key(LOG_KEY) != before.organisations[org_id].key(LOG_KEY):
            raise _RefusedError("transaction.log_key", org_id=org_id)


def _check_draw(
    view: View, transaction: Transaction, endorser: Organisation | None, context: BlockContext
) -> Mapping[str, DrawState]:
    """Check that the independent endorser is the one drawn; returns the creator's draws after it."""
    if transaction.draw is None and endorser is None:
        return _NO_DRAWS
    draws = view.draws(transaction.creator)
    if transaction.draw is None or endorser is None or not draws.is_open(transaction.draw.number):
        raise _RefusedError("transaction.draw", number=draws.number)
    if not _is_drawn(view, transaction.creator, transaction.draw, endorser, context):
        raise _RefusedError("transaction.draw", number=transaction.draw.number, rank=transaction.draw.rank)
    return {transaction.creator: draws.use(transaction.draw.number)}


def _is_drawn(view: View, creator: str, draw: Draw, endorser: Organisation, context: BlockContext) -> bool:
    """Tell whether an organisation has the place in the drawn order that a draw says."""
    if draw.seed_height not in seed_heights(context.height):
        return False
    seed = context.ledger if draw.seed_height == 0 else view.seed(draw.seed_height)
    if seed is None:
        return False
    order = draw_order(view.members, creator, draw.number, seed)
    return draw.rank < len(order) and order[draw.rank] == endorser.org_id


def _check_rule(snapshot: Members, rule: str, transaction: Transaction) -> None:
    """Check that those who signed may make this change."""
    holds = snapshot.satisfies(rule, transaction.creator, transaction.signers)
    if not holds:
        raise _RefusedError("transaction.policy_missing" if holds is None else "transaction.policy", rule=rule)


def _check_signatures(snapshot: Members, envelope: Envelope, verify: Verify = ed25519_verify) -> None:
    """Check every signature: what was signed is the payload, not what was parsed beside it."""
    message = pae(envelope.payload)
    for key_id, signature in envelope.signatures:
        if not verify(snapshot.keys[key_id].public, message, signature):
            raise _RefusedError("transaction.signature", key_id=key_id)


def _first_record(kind: str, content: Json) -> StateRecord:
    """Make the record of a public object at height 0."""
    owner, object_id = public_owner(kind, content if type(content) is dict else {})
    body_hash = public_body_hash(kind, content)
    return StateRecord(kind, owner, object_id, 1, ACTIVE, body_hash, None, None, (), 0, None)
