"""What the node's own parts do for its servers: the ports behind the routes.

Each is small and named for what it gives; `medchain/web` turns requests into calls of these, `medchain/web/daemon.py`
puts implementations behind them. Keeps true: a service is told who calls, and checks for itself whether that
organisation may; it raises our errors, which the web floor words. Trusts the web floor for the caller's identity.
Source: `docs/spec/ordering.md`, `docs/spec/endorsement.md`, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from medchain.encoding import Json
from medchain.ordering.receipt import Outcome
from medchain.ordering.round import Ask


class OrderingService(Protocol):
    """Ordering and checkpoints, for members; the other side of `medchain.ordering.driver.OrdererClient`."""

    def order(self, leaves: Sequence[bytes]) -> list[Outcome]:
        """Order envelopes here; they are never passed on.

        Args:
            leaves: as submitted, not looked at; each speaks for itself, whoever brought it.

        Returns:
            An outcome for each, in order, after it is committed.

        Raises:
            UnavailableError: ``ordering.full``, ``ordering.not_orderer`` and others.
        """
        ...

    def frames(self, first: int, wait_s: float = 0) -> bytes:
        """Give frames of blocks from a height on, waiting so long for the first one; none if none came in time."""
        ...

    def round(self, ask: Ask) -> bytes:
        """Take a member's lines, give blocks and what has become final, at the first news of either."""
        ...

    def checkpoint(self, final: int | None = None) -> str | None:
        """Give the newest note with the signature lines known, None before the first.

        Args:
            final: size up to which the ledger is final to who asks; where the members have changed since, the note that
                made the next change final is given.
        """
        ...

    def cosign(self, note: str) -> None:
        """Take a note with a member's lines; raises `VerificationError` for lines that do not verify."""
        ...

    def entry(self, position: int, size: int) -> bytes:
        """Prove that the log, at the end of a block of a size, holds a leaf at a position; raises `NotFoundError`."""
        ...

    def stand_down(self, leaf: bytes) -> str | None:
        """Stop cosigning for a lost orderer, on a takeover agreed upon; gives the newest note."""
        ...


class EndorsementService(Protocol):
    """Endorsing what other members submit."""

    def endorse(self, document: bytes, peer: str) -> Json:
        """Answer an endorsement request (`docs/spec/endorsement.md` 4) with a signature, or raise the rule broken."""
        ...


class BodyService(Protocol):
    """Sealed bodies that other members send."""

    def receive(self, document: bytes, peer: str) -> Json:
        """Open, check and store a body (`docs/spec/body.md` 6); answers what was stored, once it is durable."""
        ...


class ProposalService(Protocol):
    """What members propose to each other."""

    def receive(self, document: bytes, peer: str) -> Json:
        """Take a proposal, a decision or a request for a signature (`docs/spec/proposal.md`); raises why not."""
        ...


class AskService(Protocol):
    """What other members ask this organisation's patients."""

    def receive(self, document: bytes, peer: str) -> Json:
        """Take an ask (`docs/spec/ask.md`); says the same whoever the patient is, or raises what is wrong with it."""
        ...


class ConcernService(Protocol):
    """What custodians tell a regulator of concerns of their patients."""

    def receive(self, document: bytes, peer: str) -> Json:
        """Take a report (`docs/spec/concern.md` 8), or raise what is wrong with it."""
        ...


class AttestService(Protocol):
    """Statements of this organisation, for who takes a step of them."""

    def receive(self, document: bytes, peer: str) -> Json:
        """Take a step, or show a statement (`docs/spec/attest.md` 6); raises why not."""
        ...


class ClaimService(Protocol):
    """What members ask each other about claims on invoices, and have each other do."""

    def question(self, document: bytes, peer: str) -> bytes:
        """Answer which of some invoices are this organisation's, with their claim ids, or raise why not."""
        ...

    def deed(self, document: bytes, peer: str) -> Json:
        """Do what an insurer asks for with its part of an invoice, and tell the version, final; or raise why not."""
        ...

    def dispute(self, document: bytes, peer: str) -> Json:
        """Take what the other side says about a claim, and tell when it was heard; or raise why not."""
        ...

    def fishing(self, document: bytes, peer: str) -> Json:
        """Take a hospital's word, as a regulator, that an insurer asked for too many invoices that are not there."""
        ...


class ReleaseService(Protocol):
    """Records released to other members."""

    def release(self, document: bytes, peer: str) -> bytes:
        """Answer a request for records, after its access entry is final, or raise why not."""
        ...

    def emergency(self, document: bytes, peer: str) -> bytes:
        """Answer a request for records in an emergency, once it is on disk that they were given, or raise why not."""
        ...

    def grants(self, document: bytes, peer: str) -> Json:
        """Tell which grants to a member are about a record; the same for what is absent and what is forbidden."""
        ...


class SessionService(Protocol):
    """Sessions that other members open."""

    def open_session(self, issuer: str, key_name: str, document: bytes) -> bytes:
        """Open a session for a member that signed this very request with a key of its own, or raise why not."""
        ...


class LogService(Protocol):
    """The transparency log, for members and mirrors."""

    def checkpoint(self) -> bytes:
        """Give the newest note with a quorum's lines; raises `NotFoundError` before the first."""
        ...

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Give a tile; raises `NotFoundError` for one beyond the log."""
        ...

    def entry_bundle(self, index: int, width: int) -> bytes:
        """Give an entry bundle; raises `NotFoundError` for one beyond the log."""
        ...


@dataclass(frozen=True, slots=True)
class Health:
    """How a node is.

    Attributes:
        ready: whether it serves its users now.
        reasons: stable codes of what is amiss, such as ``replica.behind``; some do not make it unready.
        height: newest block applied.
        size: leaves of the log.
        final_size: leaves that a quorum has cosigned, or that are the genesis.
    """

    ready: bool
    reasons: tuple[str, ...]
    height: int
    size: int
    final_size: int


def health_document(health: Health) -> Json:
    """Write how a node is, for `/readyz` and the command line."""
    return {
        "final_size": health.final_size,
        "height": health.height,
        "ready": health.ready,
        "reasons": list[Json](health.reasons),
        "size": health.size,
    }


class HealthService(Protocol):
    """How the daemon is."""

    def health(self) -> Health:
        """Look, without waiting for anything."""
        ...


class LocalService(Protocol):
    """What web workers and the command line ask of the daemon."""

    def operations(self) -> Sequence[str]:
        """Name the operations."""
        ...

    def call(self, operation: str, document: Json) -> Json:
        """Do one.

        Args:
            operation: its name.
            document: what the operation takes.

        Returns:
            What the operation gives.

        Raises:
            NotFoundError: ``local.operation``.
        """
        ...
