"""Passing proposals and decisions on, and bringing what enough members have approved onto the ledger.

Each member gets, from each other one, that one's own proposals and decisions; who does not answer gets them later.
Keeps true: what is sent was made by this node's administrator; the creator submits only what every signer has signed
and its own machine accepts; a member that does not answer is left out where the others are enough. What was delivered
is remembered in memory alone: after a restart all of it is sent once more, which changes nothing. Trusts the book.
Source: `docs/spec/proposal.md`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from threading import Event
from typing import Final, Protocol

from medchain.crypto.signing import ed25519_verify
from medchain.errors import MedchainError, UnavailableError, VerificationError
from medchain.ledger.transaction import pae, seal
from medchain.node.log import Log
from medchain.node.peers import JSON, Limits, PeerClient
from medchain.node.proposal import Choice, Way, completed, parse_signature, signing_request
from medchain.node.proposal_book import Entry, ProposalBook
from medchain.node.proposal_view import ACCEPTED, OPEN, is_enough, member_keys
from medchain.ordering.outbox import Outbox
from medchain.ordering.receipt import Refused

TURN_S: Final = 1.0
"""How often what is open is looked at."""

MAX_REST_S: Final = 60.0
"""Longest rest of a member that does not answer."""

REFUSED_S: Final = 20.0
"""After how long what was refused is tried again."""

_ORDERED_S: Final = 2.0
_LIMITS: Final = Limits(timeout_s=5.0, max_bytes=4096)
_LOG: Final = Log("proposals")


class ProposalNetwork(Protocol):
    """The way to other members' proposals."""

    def propose(self, org_id: str, document: bytes) -> bytes:
        """Send a document; raises `UnavailableError`, or the error of the refusal."""
        ...


class HttpProposals:
    """The same over HTTP."""

    __slots__ = ("_peers",)

    def __init__(self, peers: PeerClient) -> None:
        """Use the node's calls."""
        self._peers = peers

    def propose(self, org_id: str, document: bytes) -> bytes:
        """Send a document."""
        return self._peers.post(org_id, "/proposals", document, JSON, _LIMITS).body


class ProposalRound:
    """Sends, completes and submits. One thread calls `step`.

    Attributes:
        waiting: proposal's id → what it waits for now, a code; for the administrator's eyes.
    """

    def __init__(
        self,
        book: ProposalBook,
        network: ProposalNetwork,
        outbox: Outbox,
        take_over: Callable[[bytes], object],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            book: proposals and decisions.
            network: the way to other members.
            outbox: submits.
            take_over: `medchain.ordering.embedded.EmbeddedDriver.takeover`.
            now: gives seconds that only grow.
        """
        self._book = book
        self._network = network
        self._outbox = outbox
        self._take_over = take_over
        self._now = now
        self._delivered: set[tuple[str, bytes]] = set()
        self._due: dict[tuple[str, bytes], float] = {}
        self._failures: dict[str, int] = {}
        self.waiting: dict[bytes, str] = {}

    def run(self, stop: Event) -> None:
        """Take turns until told to stop."""
        while not stop.is_set():
            self._book.changed.wait(TURN_S)
            self._book.changed.clear()
            try:
                self.step()
            except MedchainError as error:
                _LOG.warning("proposals.delayed", code=error.code)

    def step(self) -> None:
        """Settle what is over, bring own proposals further, and send what others lack."""
        entries = self._book.entries()
        for entry in entries:
            self._book.settle(entry)
            if entry.standing.state != OPEN:
                self.waiting.pop(entry.proposal.id, None)
            elif entry.proposal.creator == self._book.identity.org_id and self._is_due("", entry.proposal.id):
                self._advance(entry)
        self._send(entries)

    def _advance(self, entry: Entry) -> None:
        """Complete an own proposal, and submit it."""
        name, leaf = entry.proposal.id, entry.row.leaf
        try:
            if leaf is None and entry.standing.is_satisfied:
                leaf = self._complete(entry)
            if leaf is not None:
                self._submit(entry, leaf)
        except MedchainError as error:
            _LOG.warning("proposal.waits", **{**error.fields, "proposal": name.hex(), "code": error.code})
            self.waiting[name] = error.code
            self._due["", name] = self._now() + REFUSED_S / 4

    def _complete(self, entry: Entry) -> bytes | None:
        """Collect the signatures of those who have approved; None while too few of them answer."""
        proposal, members = entry.proposal, self._book.judge.replica.members
        keys = member_keys(proposal, entry.standing.approved, members)
        while is_enough(proposal, keys.values(), members):
            payload = completed(proposal, keys)
            # First our own: what we would not sign, nobody else needs to.
            signatures = {proposal.key_id: self._book.sign_own(proposal.id, payload)}
            failed = dict(self._ask_all(entry, keys, payload, signatures))
            if not failed:
                leaf = seal(payload, list(signatures.items())).leaf
                self._book.keep_leaf(proposal.id, leaf)
                return leaf
            self.waiting[proposal.id] = next(iter(failed.values()))
            keys = {name: org_id for name, org_id in keys.items() if name not in failed}
        self._due["", proposal.id] = self._now() + REFUSED_S / 4
        return None

    def _ask_all(
        self, entry: Entry, keys: dict[str, str], payload: bytes, signatures: dict[str, bytes]
    ) -> Iterator[tuple[str, str]]:
        """Ask each for its signature, and keep those that hold; yields the key and the code of who gave none."""
        members, request = self._book.judge.replica.members, signing_request(entry.proposal.id, payload)
        for key_id, org_id in keys.items():
            try:
                signature = parse_signature(self._network.propose(org_id, request), key_id)
                if not ed25519_verify(members.keys[key_id].public, pae(payload), signature):
                    raise VerificationError("proposal.signature", org_id=org_id)
                signatures[key_id] = signature
            except MedchainError as error:
                _LOG.warning("proposal.not_signed", peer=org_id, code=error.code)
                yield key_id, error.code

    def _submit(self, entry: Entry, leaf: bytes) -> None:
        """Bring a transaction with all signatures onto the ledger."""
        name = entry.proposal.id
        if entry.proposal.way is Way.TAKE_OVER:
            self._take_over(leaf)
            self._book.changed.set()
            return
        fate = self._outbox.wait(self._outbox.add(leaf), _ORDERED_S)
        if isinstance(fate, Refused):
            # The state moved on between; what is still wanted is signed anew.
            self._book.keep_leaf(name, None)
            raise VerificationError(fate.code, proposal=name.hex())
        self.waiting[name] = "proposal.ordering"
        if fate is None:
            raise UnavailableError("proposal.ordering", proposal=name.hex())

    def _send(self, entries: list[Entry]) -> None:
        """Send every other member what it may lack of ours."""
        own = self._book.identity.org_id
        documents = [document for entry in entries for document in self._documents(entry, own)]
        names = {name for name, _ in documents}
        self._delivered = {pair for pair in self._delivered if pair[1] in names}
        self._due = {pair: due for pair, due in self._due.items() if due > self._now()}
        for organisation in self._book.judge.replica.members.active:
            if organisation.org_id != own:
                self._send_to(organisation.org_id, documents)

    def _documents(self, entry: Entry, own: str) -> Iterator[tuple[bytes, bytes]]:
        """List what this node has made of a proposal that is not long over: digest and bytes."""
        is_withdrawn = entry.choice_of(entry.proposal.creator) is Choice.WITHDRAW
        if self._book.judge.clock() > entry.proposal.until or entry.standing.state == ACCEPTED:
            return
        if entry.proposal.creator == own and not is_withdrawn and entry.standing.state == OPEN:
            yield sha256(entry.row.envelope).digest(), entry.row.envelope
        for decision in entry.decisions:
            if decision.org_id == own:
                yield sha256(decision.encoded).digest(), decision.encoded

    def _send_to(self, org_id: str, documents: list[tuple[bytes, bytes]]) -> None:
        """Send a member what it has not taken yet, until it does not answer."""
        for name, document in documents:
            if (org_id, name) in self._delivered or not self._is_due(org_id, b"") or not self._is_due(org_id, name):
                continue
            try:
                self._network.propose(org_id, document)
            except UnavailableError as error:
                self._failures[org_id] = self._failures.get(org_id, 0) + 1
                rest = min(MAX_REST_S, 2.0 ** self._failures[org_id])
                self._due[org_id, b""] = self._now() + max(rest, error.retry_after_s)
            except MedchainError as error:
                # It may be behind, or know more than we do.
                _LOG.info("proposal.not_taken", peer=org_id, code=error.code)
                self._due[org_id, name] = self._now() + REFUSED_S
            else:
                self._failures.pop(org_id, None)
                self._delivered.add((org_id, name))

    def _is_due(self, org_id: str, name: bytes) -> bool:
        """Tell whether it is time to try something again."""
        return self._due.get((org_id, name), 0.0) <= self._now()
