"""Takeover: what lets a member order when the one that ordered is lost.

It is a next version of the protocol object by which its creator makes itself the orderer, signed as its policy asks (a
majority with a regulator). Keeps true: nobody becomes the orderer without those signatures; a block that may be final
is never dropped. Trusts the members' snapshot that it is given.
Source: `docs/spec/ordering.md` 5.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from medchain.crypto.signing import ed25519_verify
from medchain.errors import InputError, VerificationError
from medchain.ledger.machine import POLICY, PROTOCOL
from medchain.ledger.members import (
    ACTIVE,
    LEDGER_KEY,
    LOG_KEY,
    Members,
    Organisation,
    faulty,
    parse_organisation,
    parse_protocol,
)
from medchain.ledger.object import ORGANISATION
from medchain.ledger.policy import parse_policy, satisfied
from medchain.ledger.transaction import CREATOR, MEMBER, Signer, Transaction, pae, parse_envelope
from medchain.ordering.driver import Replica
from medchain.ordering.lines import Notary, complete
from medchain.tlog.note import parse_note


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
            by which its creator, an active member, makes itself the orderer in another's place, ``takeover.signer`` for
            a signer's key that no member has, ``takeover.policy``, ``takeover.signature``.
    """
    try:
        envelope = parse_envelope(leaf)
        payload = envelope.transaction
        if not isinstance(payload, Transaction) or payload.ledger != ledger or taker_of(payload) is None:
            raise VerificationError("takeover.transaction", reason="form")
        change = payload.changes[0]
        rules = parse_protocol(payload.bodies[0])
    except InputError as error:
        raise VerificationError("takeover.transaction", reason=error.code) from error
    active = {organisation.org_id for organisation in members.active}
    if rules.orderer == members.protocol.orderer or rules.orderer not in active:
        raise VerificationError("takeover.transaction", reason="orderer")
    expression = members.policy.rules.get(f"{PROTOCOL}/{change.status}")
    for row in payload.signers:
        if members.signer(row.key_id) is None:
            raise VerificationError("takeover.signer", key_id=row.key_id)
    if expression is None or not satisfied(expression, payload.signers, members, payload.creator):
        raise VerificationError("takeover.policy")
    message = pae(envelope.payload)
    for key_id, signature in envelope.signatures:
        if not ed25519_verify(members.keys[key_id].public, message, signature):
            raise VerificationError("takeover.signature", key_id=key_id)
    return rules.orderer


def taker_of(transaction: object) -> str | None:
    """Return who makes itself the orderer with a transaction that does nothing else; None for any other transaction.

    What else the members agree on, a hand-over included, names another than its creator, or does not change who orders.
    So nobody can show as a takeover what was signed for the lost orderer to order.
    """
    if not isinstance(transaction, Transaction) or len(transaction.bodies) != 1:
        return None
    body = transaction.bodies[0]
    is_alone = [change.kind for change in transaction.changes] == [PROTOCOL]
    is_own = isinstance(body, dict) and body.get("orderer") == transaction.creator
    return transaction.creator if is_alone and is_own else None


def claimed_members(members: Members, leaves: Sequence[bytes]) -> Members:
    """Tell what members there would be after a block, if all in it held: under their keys what follows is read.

    Args:
        members: before it.
        leaves: its transactions, of which nothing is verified.

    Returns:
        Good for telling what somebody claims, for nothing else.

    Raises:
        MedchainError: for what no ledger holds.
    """
    for leaf in leaves:
        payload = parse_envelope(leaf).transaction
        if not isinstance(payload, Transaction):
            continue
        kinds = [change.kind for change in payload.changes if change.kind in {ORGANISATION, POLICY, PROTOCOL}]
        for kind, body in zip(kinds, payload.bodies, strict=False):
            if kind == ORGANISATION:
                members = members.with_organisation(parse_organisation(body)[0])
            elif kind == PROTOCOL:
                members = members.with_protocol(parse_protocol(body))
            else:
                members = members.with_policy(parse_policy(body))
    return members


def own_exchanges(ledger: bytes, members: Members, leaves: Sequence[bytes]) -> tuple[Members, list[bytes]]:
    """Follow exchanges of keys that are in blocks of others: each bears the signature of the ledger key before it.

    Args:
        ledger: ledger id, 32 bytes.
        members: where they begin.
        leaves: transactions, of which nothing is verified.

    Returns:
        The members with the keys that organisations have given themselves, and those of the transactions that do so.

    Raises:
        MedchainError: for what no ledger holds.
    """
    found: list[bytes] = []
    for leaf in leaves:
        envelope = parse_envelope(leaf)
        payload = envelope.transaction
        if not isinstance(payload, Transaction) or [change.kind for change in payload.changes] != [ORGANISATION]:
            continue
        after = parse_organisation(payload.bodies[0])[0]
        before = members.organisations.get(after.org_id)
        if before is None or payload.ledger != ledger or payload.creator != after.org_id:
            continue
        key, message = before.key(LEDGER_KEY), pae(envelope.payload)
        signed = [signature for key_id, signature in envelope.signatures if key_id == key.id]
        if signed and ed25519_verify(key.public, message, signed[0]):
            members = members.with_organisation(replace(before, keys=after.keys))
            found.append(leaf)
    return members, found


def is_replaceable(members: Members) -> bool:
    """Tell whether the others alone could agree on a takeover from the organisation that orders, and complete it."""
    expression = members.policy.rules.get(f"{PROTOCOL}/{ACTIVE}")
    others = [item for item in members.active if item.org_id != members.protocol.orderer]

    def agrees(creator: Organisation) -> bool:
        rows = [Signer(item.key(LEDGER_KEY).id, CREATOR if item is creator else MEMBER) for item in others]
        return expression is not None and satisfied(expression, rows, members, creator.org_id)

    return len(others) >= members.protocol.quorum and any(map(agrees, others))


def ended_log_keys(replica: Replica, notary: Notary) -> frozenset[str]:
    """List the log keys under which an orderer signed that was replaced by a takeover.

    It may have signed more than the takeover kept. Were it to order again under the same key, those notes would be a
    split view with its new ones, and whoever has kept one could stop all members with it.

    Args:
        replica: the ledger; none of its blocks may be dropped meanwhile.
        notary: reads notes.

    Returns:
        Ids of keys. One that was exchanged since is among them.
    """
    ended: set[str] = set()
    before = replica.members_at(0)
    for height in replica.members_changes():
        after, lost = replica.members_at(height), before.protocol.orderer
        if after.protocol.orderer != lost:
            note = replica.blocks(height, 0)[0].checkpoint
            # Who hands over in time signs the block that says so.
            if notary.read(note, before).log_org != lost:
                ended.add(before.organisations[lost].key(LOG_KEY).id)
        before = after
    return frozenset(ended)


class LogEnd(NamedTuple):
    """A block end: size of the log, its root (32 bytes), who signed it and the id of the log key; empty if unknown."""

    size: int
    root: bytes
    log_org: str
    log_key: str


class Shown(NamedTuple):
    """A block end that somebody showed, and which members' cosignatures it bears."""

    end: LogEnd
    cosigners: frozenset[str]


def read_shown(note: str, notary: Notary, reigns: Sequence[Members]) -> Shown:
    """Read a note that may have been signed before, or after, keys were exchanged.

    Args:
        note: what a member showed.
        notary: reads notes.
        reigns: the members in force at the ends that it may be of.

    Returns:
        The end, with the cosignatures under all keys that were in force.

    Raises:
        InputError: what is no note.
        VerificationError: ``takeover.note`` for a line under a key that none of them lists. Who keeps to the rules
            passes on only lines that it has verified, so it knows members that this ledger does not, or lies; what the
            line says of is not known. Or as `medchain.ordering.lines.Notary.read`.
    """
    end, cosigners, verified = None, frozenset[str](), set[str]()
    for members in reigns:
        try:
            reading = notary.read(note, members)
        except VerificationError as error:
            if error.code != "checkpoint.log_line":
                raise
            continue
        verified |= {reading.log_line, *(line.text for line in reading.lines.values())}
        cosigners |= complete(reading.lines, members)
        log_key = members.organisations[reading.log_org].key(LOG_KEY).id
        end = LogEnd(reading.size, reading.root, reading.log_org, log_key)
    if end is None or any(line.line() not in verified for line in parse_note(note.encode()).signatures):
        raise VerificationError("takeover.note")
    return Shown(end, cosigners)


def kept_end(
    answers: Mapping[str, Sequence[Shown]],
    own: Sequence[LogEnd],
    reigns: Sequence[Members],
    caught: frozenset[str] = frozenset(),
) -> LogEnd:
    """Decide up to which of our block ends the ledger is kept: whoever relied on one as final must not lose it.

    At most f = ⌊(n − 1) / 3⌋ members lie, the lost orderer perhaps among them; who is silent need not be one of them. A
    block may be final if those who have shown that they cosigned it or what follows on it, those who are silent, and f
    others make a quorum; who has signed two roots is known to be one of the f. Of blocks that exclude each other one at
    most is in our ledger: where another may be final, nothing is decided. All that holds for the members at each end:
    a block after it that has other members could else end what made it final.

    For another than ours who answered counts by its own word alone. An honest member that had cosigned it would show it
    or what follows on it; that it once did, and a takeover has dropped it since, anyone can show for ever.

    Args:
        answers: who answered, this node included, and what each has shown; each that is honest has stopped cosigning
            for the lost orderer, and has shown the largest block end that it cosigned.
        own: our block ends from the one known to be final on, in order.
        reigns: the members in force from the first of these ends to the last.
        caught: who is known to have signed two blocks for one height.

    Returns:
        The end of the last block that stays.

    Raises:
        VerificationError: ``takeover.quorum`` if fewer than a quorum answered, ``takeover.undecided`` if a block that
            is not in our ledger may be final.
    """
    answered, shown = frozenset(answers), [item for items in answers.values() for item in items]
    for members in reigns:
        quorum, answering = members.protocol.quorum, _active(members) & answered
        if len(answering) < quorum:
            raise VerificationError("takeover.quorum", answered=len(answering), quorum=quorum)
    liars = _liars(shown, own) | caught
    ours, final = {(end.size, end.root) for end in own}, own[0].size

    def may_be_final(cosigners: frozenset[str]) -> bool:
        return any(_may_be_quorum(cosigners, answered, liars, members) for members in reigns)

    beside = {
        org_id: item.end.size
        for org_id, items in answers.items()
        for item in items
        if item.end.size > final and item.end[:2] not in ours and org_id in item.cosigners
    }
    if beside and may_be_final(frozenset(beside)):
        raise VerificationError("takeover.undecided", size=max(beside.values()))
    for end in reversed(own[1:]):
        # One that is not in our ledger may branch off after this one, as far as we know.
        later = [item.cosigners for item in shown if item.end.size > end.size or item.end[:2] == end[:2]]
        if may_be_final(frozenset().union(*later)):
            return end
    return own[0]


def _active(members: Members) -> frozenset[str]:
    """Return the ids of the active organisations."""
    return frozenset(organisation.org_id for organisation in members.active)


def _may_be_quorum(
    cosigners: frozenset[str], answered: frozenset[str], liars: frozenset[str], members: Members
) -> bool:
    """Tell whether cosigners, those who are silent, and as many as may lie could be a quorum of some members."""
    active = _active(members)
    hidden = max(0, faulty(len(active)) - len(active & liars))
    return len(active & ((active - answered) | liars | cosigners)) + hidden >= members.protocol.quorum


def _liars(shown: Collection[Shown], own: Sequence[LogEnd]) -> frozenset[str]:
    """List who has signed what excludes each other, under one log key or as a cosigner."""
    roots: dict[tuple[str, str, int], bytes] = {}
    last = {end.log_key: end.size for end in own}
    ours, liars = {(end.size, end.root) for end in own}, set()
    for end, cosigners in (*shown, *(Shown(end, frozenset()) for end in own)):
        signed = [(end.log_org, end.log_key), *((org_id, "cosigned") for org_id in cosigners)]
        liars |= {row[0] for row in signed if roots.setdefault((*row, end.size), end.root) != end.root}
        if own[0].size < end.size < last.get(end.log_key, 0) and end[:2] not in ours:
            # It has signed a larger log, which we have executed, and of which this is no block end.
            liars.add(end.log_org)
    return frozenset(liars)
