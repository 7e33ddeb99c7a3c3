"""The way to another organisation's ordering, over HTTP: fills `medchain.ordering.driver.OrdererClient`.

Keeps true: sizes are bounded before anything is decoded; nothing is verified here, ordering does that. Trusts nothing
that comes back.
Source: `docs/spec/ordering.md` 2–5, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from medchain.errors import VerificationError
from medchain.node.peers import CALL_TIMEOUT_S, Limits, PeerClient
from medchain.ordering.block import MAX_ANSWER_BYTES, MAX_NOTE_BYTES, Block, parse_blocks, submission
from medchain.ordering.entry import MAX_ENTRY_BYTES, Entry, parse_entry
from medchain.ordering.receipt import MAX_OUTCOMES_BYTES, Outcome, parse_outcomes
from medchain.ordering.round import Ask, Round, parse_round

SUBMIT_TIMEOUT_S: Final = 60.0
"""Patience with a submission: it waits in a queue and for a synced write."""

# One block is always given whole, so an answer may exceed the usual bound by the base64 of one large block.
_BLOCKS: Final = 4 * MAX_ANSWER_BYTES
_ROUND: Final = _BLOCKS + 2 * MAX_NOTE_BYTES


class HttpOrdererClient:
    """One other organisation's daemon."""

    __slots__ = ("_org_id", "_peers")

    def __init__(self, peers: PeerClient, org_id: str) -> None:
        """Name it.

        Args:
            peers: makes the calls.
            org_id: whom.
        """
        self._peers = peers
        self._org_id = org_id

    def submit(self, leaves: Sequence[bytes]) -> list[Outcome]:
        """Offer envelopes, see `OrdererClient`."""
        answer = self._peers.post(
            self._org_id,
            "/ordering/submit",
            submission(leaves),
            limits=Limits(SUBMIT_TIMEOUT_S, MAX_OUTCOMES_BYTES),
        )
        return parse_outcomes(answer.body, len(leaves))

    def blocks(self, first: int, wait_s: int) -> list[Block]:
        """Ask for blocks, see `OrdererClient`."""
        limits = Limits(wait_s + CALL_TIMEOUT_S, _BLOCKS)
        return parse_blocks(self._peers.get(self._org_id, f"/ordering/blocks?from={first}&wait={wait_s}", limits).body)

    def round(self, ask: Ask) -> Round:
        """Hand in lines, ask for blocks and what is final, see `OrdererClient`."""
        query = f"final={ask.final}&from={ask.first}&met={ask.met}&wait={ask.wait_s}"
        body = (ask.note or "").encode("utf-8")
        limits = Limits(ask.wait_s + CALL_TIMEOUT_S, _ROUND)
        return parse_round(self._peers.post(self._org_id, f"/ordering/round?{query}", body, limits=limits).body)

    def checkpoint(self, final: int | None = None) -> str | None:
        """Ask for the newest note, see `OrdererClient`."""
        query = "" if final is None else f"?final={final}"
        answer = self._peers.get(self._org_id, f"/ordering/checkpoint{query}", Limits(max_bytes=MAX_NOTE_BYTES))
        return _note(answer.body, self._org_id)

    def cosign(self, note: str) -> None:
        """Give a checkpoint with one's own lines, see `OrdererClient`."""
        self._peers.post(self._org_id, "/ordering/cosign", note.encode("utf-8"))

    def entry(self, position: int, size: int) -> Entry:
        """Ask for a leaf's place in its log, see `OrdererClient`."""
        query = f"position={position}&size={size}"
        limits = Limits(max_bytes=MAX_ENTRY_BYTES)
        return parse_entry(self._peers.get(self._org_id, f"/ordering/entry?{query}", limits).body)

    def stand_down(self, leaf: bytes) -> str | None:
        """Show a takeover, see `OrdererClient`."""
        answer = self._peers.post(self._org_id, "/ordering/stand-down", leaf, limits=Limits(max_bytes=MAX_NOTE_BYTES))
        return _note(answer.body, self._org_id)


def _note(body: bytes, org_id: str) -> str | None:
    """Read a note's text, None for an empty answer."""
    try:
        return body.decode("utf-8") or None
    except UnicodeDecodeError as error:
        raise VerificationError("peer.note", peer=org_id) from error
