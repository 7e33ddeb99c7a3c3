"""The administrator's desk: proposals for the command line, through the node's own socket.

Keeps true: what commits the organisation (proposing, approving, rejecting, withdrawing) needs the administrator's proof
(`medchain.node.administrator`), so that an attacker in a web worker can read proposals and decide nothing. Trusts the
local channel for everything else.
Source: `docs/spec/proposal.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from medchain.encoding import Json, as_object, base64_text, members, unhex
from medchain.errors import InputError
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.administrator import AdministratorDoor
from medchain.node.member_changes import parse_wish
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

ADMINISTRATOR: Final = "proposal.administrator"
"""Refusal: without the administrator's proof."""


class ProposalDesk:
    """Local operations on proposals. Threads may share it."""

    __slots__ = ("_administrator", "_book", "_waiting")

    def __init__(
        self, book: ProposalBook, administrator: AdministratorDoor, waiting: Callable[[bytes], str | None]
    ) -> None:
        """Use a book.

        Args:
            book: proposals and decisions.
            administrator: lets his wishes and decisions through.
            waiting: proposal's id → code of what it waits for.
        """
        self._book = book
        self._administrator = administrator
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
        given = self._administrator.checked(PROPOSE, document)
        top = members(given, {"reason": str, "wish": dict}, {"life_s": int})
        life_s = top.get("life_s")
        wish = parse_wish(top["wish"])
        entry = self._book.propose(wish, str(top["reason"]), life_s if isinstance(life_s, int) else None)
        return self._entry_json(entry)

    def _decide(self, document: Json) -> Json:
        """Approve, reject or withdraw; the whole id, so that what was shown is what is decided on."""
        top = members(self._administrator.checked(DECIDE, document), {"decision": str, "id": str})
        if top["decision"] not in set(Choice):
            raise InputError("encoding.members", member="decision")
        entry = self._book.decide(unhex(top["id"], HASH_BYTES), Choice(str(top["decision"])))
        return self._entry_json(entry)

    def _entry_json(self, entry: Entry) -> dict[str, Json]:
        """Write a proposal with its standing and what it changes."""
        proposal, now = entry.proposal, entry.standing
        own = entry.choice_of(self._book.identity.org_id)
        final = self._book.judge.replica.store.final()
        is_final = now.position is not None and final is not None and now.position < final.size
        current = self._book.judge.replica.members
        rows, content = differences(proposal, current), current.policy.content["rules"]
        rules = as_object(content)
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
