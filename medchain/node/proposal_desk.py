"""The administrator's desk: proposals for the command line, through the node's own socket.

Keeps true: what commits the organisation (proposing, approving, rejecting, withdrawing) needs a proof made with a key
that only who can open the daemon's half of the root key has; a web worker holds the local secret, but not that key, so
that an attacker in one can read proposals and decide nothing. A proof counts for one operation on one document, once,
within a minute. Trusts the local channel for everything else.
Source: `docs/spec/proposal.md`.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Final

from medchain.encoding import Json, base64_text, canonical, digest, members, unhex
from medchain.errors import AccessDeniedError, InputError
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.clock import Clock
from medchain.node.member_changes import parse_wish
from medchain.node.peer_auth import MemorySingleUse
from medchain.node.proposal import Choice, Decision
from medchain.node.proposal_book import Entry, ProposalBook
from medchain.node.proposal_view import differences

LIST: Final = "proposals.list"
"""Local operation: all proposals that are kept."""

SHOW: Final = "proposals.show"
"""Local operation: one proposal, with the bytes that are signed."""

PROPOSE: Final = "proposals.propose"
"""Local operation, the administrator's: make a proposal."""

DECIDE: Final = "proposals.decide"
"""Local operation, the administrator's: approve, reject, withdraw."""

PROOF_S: Final = 60
"""How far a proof's time may be from now."""

_NONCE_BYTES: Final = 16


def with_proof(key: bytes, operation: str, document: dict[str, Json], time: int) -> dict[str, Json]:
    """Add an administrator's proof to a document.

    Args:
        key: `medchain.node.keystore.DaemonKeys.administrator`.
        operation: for which it counts.
        document: what the operation takes.
        time: Unix seconds.

    Returns:
        The document with ``administrator``.
    """
    made: dict[str, Json] = {"nonce": secrets.token_hex(_NONCE_BYTES), "time": time}
    proof = _proof(key, operation, document, made)
    return {**document, "administrator": {**made, "proof": proof.hex()}}


class ProposalDesk:
    """Local operations on proposals. Threads may share it."""

    __slots__ = ("_book", "_clock", "_key", "_used", "_waiting")

    def __init__(self, book: ProposalBook, key: bytes, clock: Clock, waiting: Callable[[bytes], str | None]) -> None:
        """Use a book.

        Args:
            book: proposals and decisions.
            key: the administrator's.
            clock: gives Unix seconds.
            waiting: proposal's id → code of what it waits for.
        """
        self._book = book
        self._key = key
        self._clock = clock
        self._used = MemorySingleUse(clock)
        self._waiting = waiting

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {LIST: self._list, SHOW: self._show, PROPOSE: self._propose, DECIDE: self._decide}

    def _list(self, document: Json) -> Json:
        """List proposals."""
        members(document, {})
        return {"proposals": [self._entry_json(entry) for entry in self._book.entries()]}

    def _show(self, document: Json) -> Json:
        """Show a proposal, whole."""
        entry = self._book.find(str(members(document, {"id": str})["id"]))
        decisions: list[Json] = [_decision_json(item) for item in entry.decisions]
        shown: dict[str, Json] = {"decisions": decisions, "payload": base64_text(entry.proposal.payload)}
        return self._entry_json(entry) | shown

    def _propose(self, document: Json) -> Json:
        """Make a proposal."""
        given = self._checked(PROPOSE, document)
        top = members(given, {"reason": str, "wish": dict}, {"life_s": int})
        life_s = top.get("life_s")
        wish = parse_wish(top["wish"])
        entry = self._book.propose(wish, str(top["reason"]), life_s if isinstance(life_s, int) else None)
        return self._entry_json(entry)

    def _decide(self, document: Json) -> Json:
        """Approve, reject or withdraw; the whole id, so that what was shown is what is decided on."""
        top = members(self._checked(DECIDE, document), {"decision": str, "id": str})
        if top["decision"] not in set(Choice):
            raise InputError("encoding.members", member="decision")
        entry = self._book.decide(unhex(top["id"], HASH_BYTES), Choice(str(top["decision"])))
        return self._entry_json(entry)

    def _checked(self, operation: str, document: Json) -> dict[str, Json]:
        """Check an administrator's proof; returns the document without it.

        Raises:
            AccessDeniedError: ``proposal.administrator``.
        """
        top = dict(document) if isinstance(document, dict) else {}
        shown = top.pop("administrator", None)
        try:
            made = members(shown, {"nonce": str, "proof": str, "time": int})
            nonce, proof = unhex(made["nonce"], _NONCE_BYTES), unhex(made["proof"], HASH_BYTES)
        except InputError:
            raise AccessDeniedError("proposal.administrator") from None
        time = made["time"] if isinstance(made["time"], int) else 0
        expected = _proof(self._key, operation, top, {"nonce": made["nonce"], "time": time})
        is_right = hmac.compare_digest(expected, proof) and abs(self._clock() - time) <= PROOF_S
        if not is_right or not self._used.use_once(nonce.hex(), time + PROOF_S):
            raise AccessDeniedError("proposal.administrator")
        return top

    def _entry_json(self, entry: Entry) -> dict[str, Json]:
        """Write a proposal with its standing and what it changes."""
        proposal, now = entry.proposal, entry.standing
        own = entry.choice_of(self._book.identity.org_id)
        final = self._book.judge.replica.store.final()
        is_final = now.position is not None and final is not None and now.position < final.size
        current = self._book.judge.replica.members
        rows, content = differences(proposal, current), current.policy.content["rules"]
        rules = content if isinstance(content, dict) else {}
        return {
            "approved": list[Json](now.approved),
            "changes": list[Json](rows),
            "code": now.code,
            "creator": proposal.creator,
            "final": is_final,
            "id": proposal.id.hex(),
            "missing": list[Json](now.missing),
            "own": None if own is None else own.value,
            "position": now.position,
            "reason": proposal.reason,
            "rejected": list[Json](now.rejected),
            "rules": [{"expression": rules.get(name), "rule": name} for name in now.rules],
            "satisfied": now.is_satisfied,
            "signed": entry.row.signed is not None,
            "state": now.state,
            "time": proposal.time,
            "until": proposal.until,
            "waiting": self._waiting(proposal.id),
            "way": proposal.way.value,
        }


def _decision_json(decision: Decision) -> Json:
    """Write a decision."""
    return {"decision": decision.choice.value, "org_id": decision.org_id, "time": decision.time}


def _proof(key: bytes, operation: str, document: dict[str, Json], made: dict[str, Json]) -> bytes:
    """Authenticate a document for one operation, with a nonce and a time."""
    message = digest("medchain/administrator/v1", operation.encode("ascii"), canonical(document), canonical(made))
    return hmac.digest(key, message, "sha256")
