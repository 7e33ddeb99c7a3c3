"""Statements of registered types: made and led through their life by their owner, one step at a time.

Keeps true: what is entered is what the kind's check lets pass; another organisation's step is entered on its own signed
request alone, from a party or with the ticket, and who asks for it signs for the version that it holds, never blindly;
a statement that is not there, and one that is not for who asks, look alike. Trusts whoever calls for what is said.
Source: `docs/spec/attest.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, Protocol

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import Json, as_number, base64_text, canonical, members, parse_canonical, unhex
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError, VerificationError
from medchain.ledger.attest_request import StepRequest, opens, ticket_hash, ticket_of
from medchain.ledger.kinds import attest as attests
from medchain.ledger.kinds.attest import Attest, named_id, read_subjects
from medchain.ledger.kinds.content import names
from medchain.ledger.object import ACTIVE, ENDED, StateRecord, build_body, map_key
from medchain.ledger.predicates import MAKE, Predicate
from medchain.ledger.signed_request import MAX_REQUEST_BYTES, parse_request, sign_request
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.attest_view import KIND, AttestView
from medchain.node.clock import Clock
from medchain.node.ledger_node import LedgerNode
from medchain.node.peers import JSON, Limits, PeerClient
from medchain.node.sealed_body import MAX_BODIES, MAX_DOCUMENT_BYTES, OpenedBody, delivery, encryption_key, seal_body
from medchain.node.submit import FINAL_TIMEOUT_S, Draft, Submitted

WANTED_TYPE: Final = "medchain/attest-wanted/v1"
"""Type of the document by which a statement is asked for."""

TAKEN_TYPE: Final = "medchain/attest-taken/v1"
"""Type of the answer to a request for a step."""

MAX_ATTEST_BYTES: Final = MAX_REQUEST_BYTES
"""Largest document that members send about statements."""

KNOWN_S: Final = 5.0
"""How long it is waited for a statement to come to this node's own ledger."""

# How long after its time a step may be ordered: as old as it may be judged, and as far ahead as it may say.
_ORDERED_S: Final = attests.MAX_DELAY_S + 60
_MAKE: Final = {"predicate": dict, "subject": list, "type": str}
_MAKE_MORE: Final = {"parties": list, "ticket": bool, "until": int}
_STEP_S: Final = Limits(timeout_s=60.0, max_bytes=MAX_DOCUMENT_BYTES)


class AttestNetwork(Protocol):
    """The way to the owners of statements."""

    def attest(self, org_id: str, document: bytes) -> bytes:
        """Bring a request or a question; raises `UnavailableError`, or the error of the refusal."""
        ...


class HttpAttests:
    """The same over HTTP."""

    __slots__ = ("_peers",)

    def __init__(self, peers: PeerClient) -> None:
        """Use the node's calls."""
        self._peers = peers

    def attest(self, org_id: str, document: bytes) -> bytes:
        """Bring a request or a question."""
        return self._peers.post(org_id, "/attests", document, JSON, _STEP_S).body


@dataclass(frozen=True, slots=True)
class _Underway:
    """Statements of which a step is on its way to the ledger."""

    keys: set[bytes] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)

    @contextmanager
    def one(self, key: bytes) -> Iterator[None]:
        """Let one step of a statement on its way; raises `UnavailableError` ``attest.busy`` for a second one.

        The ledger's order would let one come all the same; the other one is so told at once, and not by an endorser
        that has promised the version.
        """
        with self.lock:
            if key in self.keys:
                raise UnavailableError("attest.busy", retry_after_s=2)
            self.keys.add(key)
        try:
            yield
        finally:
            with self.lock:
                self.keys.discard(key)


@dataclass(frozen=True, slots=True)
class AttestDesk:
    """Makes, leads and shows statements; fills `medchain.node.services.AttestService`. Threads may share it.

    Attributes:
        org_id: this organisation.
        side: ledger and bodies of its node.
        authentication: signs requests to others.
        network: the way to others.
        clock: gives Unix seconds.
        random: gives as many unpredictable bytes as it is asked for.
    """

    org_id: str
    side: LedgerNode
    authentication: Es384Signer
    network: AttestNetwork
    clock: Clock
    random: Callable[[int], bytes]
    _underway: _Underway = field(default_factory=_Underway)

    @property
    def _view(self) -> AttestView:
        """What is here of statements."""
        return AttestView(self.side)

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {
            "attest.list": self._list,
            "attest.make": self._make,
            "attest.prove": self._prove,
            "attest.show": self._show,
            "attest.step": self._step,
            "attest.types": self._types,
        }

    def make(self, said: Attest) -> Submitted:
        """Make a statement.

        Args:
            said: its first version.

        Returns:
            The object, final.

        Raises:
            InputError: ``content.*``, ``attest.subject``; ``attest.type`` for a type that nobody has registered.
            VerificationError: ``attest.*`` of the check, ``transaction.policy_missing`` where the policy knows none.
            ConflictError: ``transaction.version`` for a second one of a name.
            UnavailableError: no endorser, no quorum.
        """
        predicate = self._type(said.predicate_type)
        name = said.subject[0].name
        object_id = named_id(said.predicate_type, name) if predicate.is_named else self.random(ID_BYTES)
        return self._submit(object_id, said, predicate, None, 1)

    def step(self, key: bytes, step: str, values: Mapping[str, Json], ticket: bytes) -> StateRecord:
        """Take a step: of a statement of one's own, or of another's by a request to its owner.

        Args:
            key: map key of the statement, 32 bytes.
            step: its name.
            values: field → what the step says.
            ticket: 16 bytes; empty for the owner and parties.

        Returns:
            The version that the step made, final.

        Raises:
            NotFoundError: ``attest.unknown`` for a statement that is not there, or not for this organisation.
            VerificationError: ``attest.*`` of the check.
            ConflictError: ``transaction.version`` where another step came first, ``attest.superseded``.
            UnavailableError: ``attest.busy``, no endorser, no quorum; it may become final later.
        """
        record, _ = self._held(key, ticket)
        asked = StepRequest(
            ledger=self.side.replica.ledger,
            owner=record.creator,
            by=self.org_id,
            statement=key,
            version=record.version,
            step=step,
            values=values,
            ticket=ticket,
            nonce=self.random(ID_BYTES),
            time=self.clock(),
        )
        if record.creator == self.org_id:
            return self._advance(asked, None).record
        signed = sign_request(self.authentication, asked)
        self.network.attest(record.creator, signed.encode())
        return self._arrived(asked)

    def receive(self, document: bytes, peer: str) -> Json:
        """Take another organisation's step, or show it a statement.

        Args:
            document: a signed request, or ``{"object":HEX,"ticket":HEX,"type":…}``.
            peer: org_id of who sends it.

        Returns:
            That the step is final, with its version; or a delivery of bodies.

        Raises:
            InputError: ``encoding.*``, ``content.*``, ``attest.malformed``.
            NotFoundError: ``attest.unknown``: not there, not this organisation's, or not for that one; not told apart.
            VerificationError: ``attest.request`` for a request of another than who sends it; those of `step`.
            ConflictError: as `step`.
            UnavailableError: as `step`.
        """
        top = parse_canonical(document, max_bytes=MAX_ATTEST_BYTES)
        if isinstance(top, dict) and top.get("type") == WANTED_TYPE:
            return self._give(top, peer)
        signed = parse_request(StepRequest, document)
        asked = signed.request
        if asked.by != peer:
            raise VerificationError("attest.request")
        self._own(asked.statement, peer, asked.ticket)
        done = self._advance(asked, {"request": signed.to_json()})
        return {"type": TAKEN_TYPE, "version": done.record.version}

    def _advance(self, asked: StepRequest, evidence: Json) -> Submitted:
        """Enter a step of a statement of one's own."""
        with self._underway.one(asked.statement):
            record, before = self._held(asked.statement, b"")
            predicate = self._type(before.predicate_type)
            step = predicate.steps.get(asked.step)
            if step is None:
                raise VerificationError("attest.step", step=asked.step)
            return self._submit(record.id, before.after(step, asked), predicate, evidence, asked.version + 1)

    def _submit(self, object_id: bytes, said: Attest, predicate: Predicate, evidence: Json, version: int) -> Submitted:
        """Bring a version to the ledger.

        Raises:
            UnavailableError: ``submit.promised`` while another attempt at it may still be ordered.
        """
        body = build_body(KIND, said.to_content(), evidence, self.random)
        attests.read(body.content)
        key = map_key(KIND, self.org_id, object_id)
        if self.side.attempt(key, version, lambda one: attests.read(one.content).time + _ORDERED_S) is not None:
            # Two steps would be announced for one version: whoever is handed something goes by what is ordered.
            raise UnavailableError("submit.promised", retry_after_s=_ORDERED_S)
        status = ENDED if predicate.is_last(said.state) else ACTIVE
        return self.side.submitter.submit(Draft(KIND, object_id, body, status, version))

    def _arrived(self, asked: StepRequest) -> StateRecord:
        """Wait until the step that was asked for is final here, and see that it is the very one."""
        record, _ = self.side.submitter.wait_final(asked.statement, asked.version + 1, FINAL_TIMEOUT_S)
        if self.side.shelf.ordered(record) is None:
            self._fetch(asked.statement, asked.ticket)
        # Of the version that the ledger has: another one may have been announced for it, with this very request.
        body = self.side.shelf.ordered(record)
        if body is None or attests.read(body.content).request != asked.hash:
            raise ConflictError("attest.superseded", version=record.version)
        return record

    def _type(self, name: str) -> Predicate:
        """Return a registered type."""
        found = self.side.replica.members.policy.predicates.get(name)
        if found is None:
            raise InputError("attest.type", type=name[:64])
        return found

    def _held(self, key: bytes, ticket: bytes) -> tuple[StateRecord, Attest]:
        """Return the head of a statement, which is fetched from its owner where its body is not here."""
        found = self._view.head(key)
        if found is None:
            self._fetch(key, ticket)
            found = self._view.head(key)
        if found is None:
            raise NotFoundError("attest.unknown")
        return found[0], attests.read(found[1].content)

    def _own(self, key: bytes, peer: str, ticket: bytes) -> None:
        """Refuse what is not this organisation's, and what is not for who asks; raises `NotFoundError`."""
        found = self._view.head(key)
        if found is None or found[0].creator != self.org_id:
            raise NotFoundError("attest.unknown")
        held = attests.read(found[1].content)
        if peer not in held.parties and not opens(ticket, held.ticket):
            raise NotFoundError("attest.unknown")

    def _fetch(self, key: bytes, ticket: bytes) -> None:
        """Ask the owner for a statement, and keep what comes as any delivery."""
        store = self.side.replica.store
        # Who was handed the ticket just now may be a block ahead of us.
        record = store.until(lambda: store.record(key), KNOWN_S)
        if record is None or record.kind != KIND or record.creator == self.org_id:
            raise NotFoundError("attest.unknown")
        wanted = canonical({"object": key.hex(), "ticket": ticket.hex(), "type": WANTED_TYPE})
        self.side.bodies.receive(self.network.attest(record.creator, wanted), record.creator)

    def _give(self, document: Json, peer: str) -> Json:
        """Show a statement, its newest versions, to who may take a step of it: each is judged by the one before."""
        top = members(document, {"object": str, "ticket": str, "type": str})
        key = unhex(top["object"], HASH_BYTES)
        self._own(key, peer, ticket_of(top["ticket"]))
        receiver, ledger = encryption_key(self.side.replica.members, peer), self.side.replica.ledger
        opened = [OpenedBody(key, version, body) for version, body in self._view.versions(key)][-MAX_BODIES:]
        return delivery(None, [seal_body(receiver, ledger, item) for item in opened])

    def _make(self, document: Json) -> Json:
        """Make one; the ticket is told this once."""
        top = members(document, _MAKE, _MAKE_MORE)
        values, until = top["predicate"], top.get("until")
        ticket = self.random(ID_BYTES) if top.get("ticket") else b""
        predicate = self._type(str(top["type"]))
        said = Attest(
            predicate_type=str(top["type"]),
            subject=read_subjects(top["subject"]),
            predicate={**dict.fromkeys(predicate.fields), **(values if isinstance(values, dict) else {})},
            state=predicate.state,
            step=MAKE,
            by=self.org_id,
            request=None,
            parties=names(top.get("parties", []), at_least=0),
            ticket=ticket_hash(ticket) if ticket else None,
            time=self.clock(),
            until=None if until is None else as_number(until),
        )
        done = self.make(said)
        told: dict[str, Json] = {"endorser": done.endorser, "key": done.key.hex(), "position": done.record.since}
        return {**told, "ticket": ticket.hex()}

    def _step(self, document: Json) -> Json:
        """Take a step."""
        top = members(document, {"object": str, "step": str, "values": dict}, {"ticket": str})
        values = top["values"] if isinstance(top["values"], dict) else {}
        key, ticket = unhex(top["object"], HASH_BYTES), ticket_of(top.get("ticket", ""))
        record = self.step(key, str(top["step"]), values, ticket)
        return {"key": key.hex(), "position": record.since, "version": record.version}

    def _show(self, document: Json) -> Json:
        """Tell one, with its steps; with a ticket it is fetched."""
        top = members(document, {"object": str}, {"ticket": str})
        key = unhex(top["object"], HASH_BYTES)
        self._held(key, ticket_of(top.get("ticket", "")))
        return {**(self._view.told(key) or {}), "steps": [*self._view.steps(key)]}

    def _list(self, document: Json) -> Json:
        """List them, the newest first."""
        members(document, {})
        return {"attests": [*self._view.listed()]}

    def _types(self, document: Json) -> Json:
        """Tell the registered types, as the policy has them."""
        members(document, {})
        return {"types": self.side.replica.members.policy.content.get("predicates", {})}

    def _prove(self, document: Json) -> Json:
        """Prove a statement's head; of its body the fields that are named, or all with the signed request."""
        top = members(document, {"object": str}, {"fields": list})
        key = unhex(top["object"], HASH_BYTES)
        files = self._view.proven(key, names(top["fields"]) if "fields" in top else None)
        return {"files": {name: base64_text(content) for name, content in files.items()}}
