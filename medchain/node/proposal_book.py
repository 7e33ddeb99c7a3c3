"""Proposals at one node: those that its administrator makes, those that other members send, and what is decided.

Keeps true: the node signs what members change together only after its own administrator has approved that very
proposal, and only a payload that differs from it by the signers' rows; before it signs, its own machine must accept it
in the current state; of each next version of the protocol object it signs one proposal, durably, since two signed ones
could each become a takeover; a proposal, decision or request counts only from whom it speaks of, signed by an active
member's ledger key. Trusts the web floor for who calls, and the local desk for who the administrator is.
Source: `docs/spec/proposal.md`, `docs/spec/ordering.md` 5.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event, Lock
from typing import Final

from medchain.encoding import Json, parse_canonical
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.machine import PROTOCOL
from medchain.ledger.members import parse_protocol
from medchain.ledger.object import ACTIVE, map_key, public_body_hash, public_owner
from medchain.ledger.transaction import (
    CREATOR,
    ID_BYTES,
    Change,
    ObjectRow,
    Payload,
    Signer,
    Transaction,
    pae,
    parse_payload,
)
from medchain.node.endorse import Identity, Judge
from medchain.node.log import Log
from medchain.node.member_changes import TAKE_OVER, Wish, check_names, contents_of
from medchain.node.proposal import (
    DECISION_MEDIA_TYPE,
    MAX_DOCUMENT_BYTES,
    PROPOSAL_MEDIA_TYPE,
    SIGNING_TYPE,
    Choice,
    Decision,
    Proposal,
    Way,
    check_completed,
    check_signed,
    check_size,
    make_decision,
    make_proposal,
    parse_decision,
    parse_proposal,
    parse_signing_request,
    signature_json,
)
from medchain.node.proposal_view import (
    ACCEPTED,
    EXPIRED,
    OPEN,
    OVERTAKEN,
    WITHDRAWN,
    Standing,
    judged,
    refusal,
    standing,
    versions_of,
)
from medchain.ordering.takeover import taker_of
from medchain.store.faults import corrupt
from medchain.store.proposals import ProposalRow, ProposalTable

MAX_LIFE_S: Final = 31 * 86_400
"""Longest life of a proposal."""

LIFE_S: Final = 7 * 86_400
"""Life of a proposal of which its creator says nothing else."""

TAKEOVER_LIFE_S: Final = 6 * 3600
"""Life of a takeover of which its creator says nothing else."""

MAX_TAKEOVER_LIFE_S: Final = 86_400
"""Longest life of a takeover: as long, who signed it signs no other next version of the protocol object."""

PROMISE_S: Final = 120
"""How much longer a promise lasts than the proposal: clocks and block times may be 60 s apart."""

STORED_TYPE: Final = "medchain/proposal-stored/v1"
"""Type member of the answer to a proposal or decision."""

MIN_PREFIX: Final = 8
"""Fewest hexadecimal digits by which an administrator may name a proposal."""

_LOOK_S: Final = 10
_SKEW_S: Final = 60
_CLOSED: Final = {
    ACCEPTED: "proposal.accepted",
    EXPIRED: "proposal.expired",
    OVERTAKEN: "proposal.overtaken",
    WITHDRAWN: "proposal.withdrawn",
}
_LOG: Final = Log("proposals")


@dataclass(frozen=True, slots=True)
class Entry:
    """A proposal with all that this node knows of it.

    Attributes:
        proposal: decoded.
        row: how it is kept.
        decisions: the newest of each member.
        standing: how it stands now.
    """

    proposal: Proposal
    row: ProposalRow
    decisions: tuple[Decision, ...]
    standing: Standing

    def choice_of(self, org_id: str) -> Choice | None:
        """Return what a member has decided, None if nothing."""
        return next((item.choice for item in self.decisions if item.org_id == org_id), None)


class ProposalBook:
    """Proposals and decisions of one node. Threads may share it.

    Attributes:
        changed: set whenever there may be something to pass on.
    """

    def __init__(
        self,
        identity: Identity,
        judge: Judge,
        table: ProposalTable,
        check_whole: Callable[[], None] = lambda: None,
        may_order: Callable[[str], bool] = lambda _org_id: True,
        final_size: Callable[[], int] = lambda: 0,
    ) -> None:
        """Prepare.

        Args:
            identity: organisation and ledger key.
            judge: this node's own judgement.
            table: keeps everything.
            check_whole: raises `UnavailableError` while the node is restored from a backup and may lack what it has
                promised.
            may_order: tells whether a member may order under its log key (`docs/spec/ordering.md` 5).
            final_size: gives the largest size of the log that is known to be final.
        """
        self.identity = identity
        self.judge = judge
        self._table = table
        self._check_whole = check_whole
        self._may_order = may_order
        self._final_size = final_size
        self._lock = Lock()
        self._writes = 0
        self._seen: tuple[tuple[int, bytes, int], list[Entry]] | None = None
        self.changed = Event()

    # What the administrator asks for

    def propose(self, wish: Wish, reason: str = "", life_s: int | None = None) -> Entry:
        """Make a proposal of this node's own; it counts as its approval.

        Args:
            wish: what is to change.
            reason: words for the other administrators.
            life_s: for how long it may be accepted; None for `LIFE_S`, or `TAKEOVER_LIFE_S`.

        Returns:
            The proposal.

        Raises:
            MedchainError: as `contents_of`; `ConflictError` with the machine's code for what the ledger would refuse
                whoever signs; `InputError` ``proposal.life``; `UnavailableError` ``proposal.quota``.
        """
        self._check_whole()
        way = Way.TAKE_OVER if wish.operation == TAKE_OVER else Way.ORDER
        usual, longest = (TAKEOVER_LIFE_S, MAX_TAKEOVER_LIFE_S) if way is Way.TAKE_OVER else (LIFE_S, MAX_LIFE_S)
        life_s = usual if life_s is None else life_s
        if not 0 < life_s <= longest:
            raise InputError("proposal.life", limit=longest)
        now = self.judge.clock()
        draft = self._draft(wish, now + life_s)
        proposal = make_proposal(self.identity, draft, reason, way, now)
        self._check(proposal)
        self._table.put_proposal(proposal.id, proposal.creator, proposal.encoded, until=proposal.until, now=now)
        self._writes += 1
        _LOG.info("proposal.made", proposal=proposal.id.hex(), operation=wish.operation)
        self.changed.set()
        return self.entry(proposal.id)

    def decide(self, name: bytes, choice: Choice) -> Entry:
        """Approve or reject another member's proposal, or withdraw an own one: the administrator's decision.

        Args:
            name: the proposal's id, 32 bytes.
            choice: what is decided; the same again changes nothing.

        Returns:
            The proposal as it stands now.

        Raises:
            NotFoundError: ``proposal.unknown``.
            ConflictError: ``proposal.accepted``, ``.withdrawn``, ``.expired``, ``.overtaken`` for one that is not open;
                ``.own`` for approving or rejecting one's own, ``.not_own`` for withdrawing another's; ``.signed`` where
                this node has signed the transaction, which no word takes back.
            VerificationError: ``proposal.signer`` while this organisation is suspended.
        """
        self._check_whole()
        with self._lock:
            entry = self.entry(name)
            own, is_own = self.identity.org_id, entry.proposal.creator == self.identity.org_id
            if is_own != (choice is Choice.WITHDRAW):
                raise ConflictError("proposal.own" if is_own else "proposal.not_own", creator=entry.proposal.creator)
            if entry.choice_of(own) is choice:
                return entry
            self._check_open(entry, choice)
            number = 1 + self._table.decision_number(name, own)
            decision = make_decision(self.identity, entry.proposal, choice, number, self.judge.clock())
            check_signed(decision, own, self.judge.replica.members)
            self._keep(entry.proposal, decision)
        _LOG.info("proposal.decided", proposal=name.hex(), decision=choice.value)
        self.changed.set()
        return self.entry(name)

    def _check_open(self, entry: Entry, choice: Choice) -> None:
        """Refuse a decision that comes too late."""
        state = entry.standing.state
        is_open = state == OPEN or (choice is Choice.WITHDRAW and state == OVERTAKEN)
        if not is_open:
            raise ConflictError(_CLOSED[state], reason=entry.standing.code)
        is_bound = entry.row.leaf is not None and entry.proposal.way is Way.ORDER
        if is_bound or (choice is Choice.REJECT and entry.row.signed is not None):
            raise ConflictError("proposal.signed")

    # What there is

    def entries(self) -> list[Entry]:
        """Return all proposals that are kept, the newest first, as of at most `_LOOK_S` seconds ago.

        They are looked at every second, and others decide how many there are: judged anew only when something changed.
        """
        mark = (self._writes, self.judge.replica.store.head.root, self.judge.clock() // _LOOK_S)
        seen = self._seen
        if seen is None or seen[0] != mark:
            seen = self._seen = (mark, list(self._readable()))
        return seen[1]

    def entry(self, name: bytes) -> Entry:
        """Return a proposal; raises `NotFoundError` ``proposal.unknown``."""
        row = self._table.proposal(name)
        if row is None:
            raise NotFoundError("proposal.unknown", proposal=name.hex())
        return self._entry(row)

    def find(self, text: str) -> Entry:
        """Return the proposal whose id begins so.

        Raises:
            InputError: ``proposal.id`` for fewer than `MIN_PREFIX` digits, or where several begin so.
            NotFoundError: ``proposal.unknown``.
        """
        found = [row for row in self._table.proposals() if row.id.hex().startswith(text)]
        if len(text) < MIN_PREFIX or len(found) > 1:
            raise InputError("proposal.id", least=MIN_PREFIX)
        if not found:
            raise NotFoundError("proposal.unknown", proposal=text[:64])
        return self._entry(found[0])

    def settle(self, entry: Entry) -> None:
        """Note whether a proposal is over, so that it counts against its creator no more."""
        is_over = entry.standing.state != OPEN
        if is_over != (entry.row.closed is not None):
            self._table.close_proposal(entry.proposal.id, self.judge.clock() if is_over else None)
            self._writes += 1

    # What other members send

    def receive(self, document: bytes, peer: str) -> Json:
        """Take a proposal, a decision, or the creator's request for a signature.

        Args:
            document: canonical JSON.
            peer: org_id of the caller, an active member.

        Returns:
            What is answered.

        Raises:
            MedchainError: why it is not taken; nothing is kept then.
        """
        top = parse_canonical(document, max_bytes=MAX_DOCUMENT_BYTES)
        match top.get("payloadType", top.get("type")) if type(top) is dict else None:
            case value if value == PROPOSAL_MEDIA_TYPE:
                return self._receive_proposal(parse_proposal(document), peer)
            case value if value == DECISION_MEDIA_TYPE:
                return self._receive_decision(parse_decision(document), peer)
            case value if value == SIGNING_TYPE:
                return self.sign(*parse_signing_request(top), peer)
            case _:
                raise InputError("encoding.members", member="type")

    def _receive_proposal(self, proposal: Proposal, peer: str) -> Json:
        """Keep another member's proposal."""
        if peer != proposal.creator:
            raise AccessDeniedError("proposal.sender", peer=peer)
        answer: Json = {"proposal": proposal.id.hex(), "type": STORED_TYPE}
        if self._table.proposal(proposal.id) is not None:
            return answer
        check_signed(proposal, peer, self.judge.replica.members)
        now, longest = self.judge.clock(), MAX_TAKEOVER_LIFE_S if proposal.way is Way.TAKE_OVER else MAX_LIFE_S
        if not now < proposal.until <= now + longest + _SKEW_S or proposal.time > now + _SKEW_S:
            raise InputError("proposal.time", until=proposal.until)
        self._check(proposal)
        self._table.put_proposal(proposal.id, peer, proposal.encoded, until=proposal.until, now=now)
        self._writes += 1
        _LOG.info("proposal.received", proposal=proposal.id.hex(), peer=peer)
        return answer

    def _receive_decision(self, decision: Decision, peer: str) -> Json:
        """Keep another member's decision."""
        if peer != decision.org_id:
            raise AccessDeniedError("proposal.sender", peer=peer)
        check_signed(decision, peer, self.judge.replica.members)
        if decision.ledger != self.judge.replica.ledger:
            raise VerificationError("proposal.ledger")
        with self._lock:
            proposal = self.entry(decision.proposal).proposal
            if (peer == proposal.creator) != (decision.choice is Choice.WITHDRAW):
                raise VerificationError("proposal.sender", peer=peer)
            if self._keep(proposal, decision):
                _LOG.info("proposal.decision", proposal=proposal.id.hex(), peer=peer, decision=decision.choice.value)
        self.changed.set()
        return {"proposal": decision.proposal.hex(), "type": STORED_TYPE}

    def sign(self, name: bytes, payload: bytes, peer: str) -> Json:
        """Sign the transaction of a proposal that this node's administrator has approved.

        Args:
            name: the proposal's id.
            payload: its draft with the signers' rows.
            peer: who asks.

        Returns:
            The signature.

        Raises:
            AccessDeniedError: ``proposal.sender`` unless the creator asks.
            NotFoundError: ``proposal.unknown``.
            ConflictError: ``proposal.accepted``, ``.withdrawn``, ``.expired``, ``.overtaken``; the machine's code where
                it would refuse the payload here and now; ``proposal.promised`` where this node has signed another
                takeover for that version; ``proposal.log_key``, ``proposal.orderer`` for who is to order;
                ``organisation.name_alike``, ``organisation.control_alike``.
            VerificationError: ``proposal.not_approved``, ``proposal.payload``, ``proposal.key``.
            UnavailableError: ``proposal.not_final`` where the protocol version before is not final yet.
        """
        with self._lock:
            entry = self.entry(name)
            if peer != entry.proposal.creator:
                raise AccessDeniedError("proposal.sender", peer=peer)
            if entry.choice_of(self.identity.org_id) is not Choice.APPROVE:
                raise VerificationError("proposal.not_approved", proposal=name.hex())
            check_completed(entry.proposal, payload, self.identity.key_id)
            return signature_json(self.identity.key_id, self._sign(entry, payload))

    def sign_own(self, name: bytes, payload: bytes) -> bytes:
        """Sign the transaction of an own proposal; errors as in `sign`."""
        with self._lock:
            return self._sign(self.entry(name), payload)

    def keep_leaf(self, name: bytes, leaf: bytes | None) -> None:
        """Keep the transaction with all signatures, or forget one that was refused."""
        self._table.put_leaf(name, leaf)
        self._writes += 1

    def _sign(self, entry: Entry, payload: bytes) -> bytes:
        """Judge a payload once more, promise, and sign."""
        self._check_whole()
        if entry.standing.state != OPEN:
            raise ConflictError(_CLOSED[entry.standing.state], reason=entry.standing.code)
        code = judged(payload, parse_payload(payload), self.judge)
        if code is not None:
            raise ConflictError(code, proposal=entry.proposal.id.hex())
        check_names(entry.proposal.transaction, self.judge.replica.members)
        self._check_orderer(parse_payload(payload), is_complete=True)
        changed = versions_of(entry.proposal.transaction, PROTOCOL)
        if changed:
            self._check_final()
        # Of two that are to be ordered, the orderer's block decides, or the takeover that drops it. They must not keep
        # the members from replacing an orderer that withholds them.
        promised = changed if entry.proposal.way is Way.TAKE_OVER else []
        until, now = entry.proposal.until + PROMISE_S, self.judge.clock()
        self._table.promise_version(promised, entry.proposal.id, until=until, now=now)
        self._writes += 1
        _LOG.info("proposal.signed", proposal=entry.proposal.id.hex())
        return self.identity.signer.sign(pae(payload))

    def _check_final(self) -> None:
        """See that the protocol version before this one is final: what may be dropped must not be built upon."""
        head = self.judge.replica.store.record(map_key(PROTOCOL, *public_owner(PROTOCOL, {})))
        # The genesis is what every member starts from; nobody cosigns it.
        if head is not None and head.since > 0 and head.since >= self._final_size():
            raise UnavailableError("proposal.not_final", version=head.version)

    def _check_orderer(self, payload: Payload, *, is_complete: bool) -> None:
        """See that who is to order may do so under its log key, and, once the signers stand, has agreed to.

        Whether it has signed more under that key than the ledger shows, it alone knows.
        """
        members = self.judge.replica.members
        contents = zip(payload.changes, payload.bodies, strict=True) if isinstance(payload, Transaction) else ()
        named = {parse_protocol(content).orderer for change, content in contents if change.kind == PROTOCOL}
        for org_id in named - {members.protocol.orderer}:
            if not self._may_order(org_id):
                raise ConflictError("proposal.log_key", org_id=org_id)
            signers = {members.signers[row.key_id].org_id for row in payload.signers}
            if is_complete and org_id not in signers:
                raise ConflictError("proposal.orderer", org_id=org_id)

    def _check(self, proposal: Proposal) -> None:
        """Refuse what the ledger would refuse whoever signs it."""
        members = self.judge.replica.members
        check_size(proposal, members)
        if proposal.way is Way.ORDER and taker_of(proposal.transaction) not in {None, members.protocol.orderer}:
            raise ConflictError("proposal.to_itself", org_id=proposal.creator)
        code = refusal(proposal, [item.org_id for item in members.active], self.judge)
        if code is not None:
            raise ConflictError(code, proposal=proposal.id.hex())
        check_names(proposal.transaction, members)
        self._check_orderer(proposal.transaction, is_complete=False)

    def _keep(self, proposal: Proposal, decision: Decision) -> bool:
        """Keep a decision; a withdrawal closes its proposal."""
        is_new = self._table.put_decision(proposal.id, decision.org_id, decision.number, decision.encoded)
        if is_new and decision.choice is Choice.WITHDRAW:
            self._table.close_proposal(proposal.id, self.judge.clock())
        self._writes += 1
        return is_new

    def _entry(self, row: ProposalRow) -> Entry:
        """Read a row. Web workers can write the file too, so nothing of it counts that its signer's key does not say.

        Raises:
            VerificationError: ``store.corrupt`` where the row holds another proposal than the one that it names.
        """
        proposal = parse_proposal(row.envelope)
        if proposal.id != row.id:
            raise corrupt("proposal", row.id)
        given = (parse_decision(item) for item in self._table.decisions(row.id))
        decisions = tuple(item for item in given if self._counts(item, proposal))
        return Entry(proposal, row, decisions, standing(proposal, decisions, self.judge))

    def _counts(self, decision: Decision, proposal: Proposal) -> bool:
        """Tell whether a decision is on this proposal, and signed by a key that its member has now."""
        try:
            check_signed(decision, decision.org_id, self.judge.replica.members)
        except VerificationError:
            return False
        return (decision.proposal, decision.ledger) == (proposal.id, self.judge.replica.ledger)

    def _readable(self) -> Iterator[Entry]:
        """Read all rows that are what they say."""
        for row in self._table.proposals():
            try:
                yield self._entry(row)
            except (InputError, VerificationError) as error:
                _LOG.error("proposal.unreadable", error)

    def _draft(self, wish: Wish, until: int) -> Transaction:
        """Make the transaction that a wish stands for, with the creator as its only signer."""
        replica, own = self.judge.replica, self.identity.org_id
        changes: list[Change] = []
        contents = contents_of(wish, replica.members, replica.ledger, own)
        for kind, content in contents:
            owner, object_id = public_owner(kind, content)
            head = replica.store.record(map_key(kind, owner, object_id))
            version = 1 if head is None else head.version + 1
            changes.append(Change(kind, ACTIVE, (ObjectRow(object_id, version, public_body_hash(kind, content)),)))
        return Transaction(
            creator=own,
            changes=tuple(changes),
            bodies=tuple(content for _, content in contents),
            signers=(Signer(self.identity.key_id, CREATOR),),
            draw=None,
            ledger=replica.ledger,
            nonce=secrets.token_bytes(ID_BYTES),
            until=until,
            protocol=replica.members.protocol.protocol,
        )
