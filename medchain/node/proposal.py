"""Formats of what members propose and decide together.

A **proposal** is a transaction without the signatures of other members: its draft names the creator alone. A
**decision** is a member's signed word on one proposal. Once enough members have approved, the creator's node writes
their rows into the draft, and each signs that payload: it differs from what the administrators approved by the rows of
the signers and by nothing else, which each node compares byte by byte before it signs.

Keeps true: each document has one spelling and one id; a decision names ledger and proposal, so that it says nothing of
another; neither can be taken for a transaction (DSSE payload types); what people read in them is printable. Structure
and signatures only: whether a proposal holds in the current state is `medchain.node.proposal_book`'s business.
Source: DSSE 1.0; `docs/spec/proposal.md`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from typing import Final

from medchain.crypto.signing import ed25519_verify
from medchain.encoding import Json, base64_text, canonical, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError, VerificationError
from medchain.ledger.machine import POLICY, PROTOCOL
from medchain.ledger.members import ACTIVE, LEDGER_KEY, Members
from medchain.ledger.object import ORGANISATION
from medchain.ledger.transaction import (
    CREATOR,
    HASH_BYTES,
    MAX_LEAF_BYTES,
    MEMBER,
    Signer,
    Transaction,
    parse_payload,
    payload_bytes,
    seal,
)
from medchain.node.endorse import Identity
from medchain.ordering.takeover import taker_of

PROPOSAL_TYPE: Final = "medchain/proposal/v1"
"""Type member of a proposal."""

DECISION_TYPE: Final = "medchain/proposal-decision/v1"
"""Type member of a decision."""

SIGNING_TYPE: Final = "medchain/proposal-signing/v1"
"""Type member of the creator's request for a signature."""

SIGNATURE_TYPE: Final = "medchain/proposal-signature/v1"
"""Type member of the answer."""

PROPOSAL_MEDIA_TYPE: Final = "application/vnd.medchain.proposal+json"
"""DSSE payload type of proposals."""

DECISION_MEDIA_TYPE: Final = "application/vnd.medchain.proposal-decision+json"
"""DSSE payload type of decisions."""

MAX_DOCUMENT_BYTES: Final = 160 * 1024
"""Largest document: a proposal whose transaction fills a leaf, coded twice."""

MAX_REASON: Final = 500
"""Most characters of the creator's reason."""

KINDS: Final = frozenset({ORGANISATION, POLICY, PROTOCOL})
"""Kinds that members change together."""

_PROPOSAL: Final = {"reason": str, "time": int, "transaction": dict, "type": str, "way": str}
_DECISION: Final = {
    "decision": str,
    "ledger": str,
    "number": int,
    "org_id": str,
    "proposal": str,
    "time": int,
    "type": str,
}
_ENVELOPE: Final = {"payload": str, "payloadType": str, "signatures": list}
_SIGNATURE_BYTES: Final = 64


class Way(StrEnum):
    """How a proposal comes onto the ledger."""

    ORDER = "order"
    """By whoever orders."""
    TAKE_OVER = "take-over"
    """By its creator, in the place of an orderer that is lost."""


class Choice(StrEnum):
    """What a member decides."""

    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    """The creator's alone."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal, decoded.

    Attributes:
        id: SHA-256 of its payload, 32 bytes.
        transaction: the draft: its one signer is the creator.
        reason: the creator's words.
        way: how it comes onto the ledger.
        time: when it was made, Unix seconds, as its creator says.
        payload: canonical bytes that the creator signed.
        key_id: whose key it says to have signed.
        signature: 64 bytes.
        encoded: the whole envelope.
    """

    id: bytes
    transaction: Transaction
    reason: str
    way: Way
    time: int
    payload: bytes
    key_id: str
    signature: bytes
    encoded: bytes

    @property
    def creator(self) -> str:
        """Who proposes."""
        return self.transaction.creator

    @property
    def until(self) -> int:
        """Last second at which a block may accept it."""
        return self.transaction.until or 0


@dataclass(frozen=True, slots=True)
class Decision:
    """A member's word on a proposal, decoded.

    Attributes:
        proposal: its id.
        org_id: who decides.
        choice: what.
        number: from 1; a later decision of one member takes the place of an earlier one.
        ledger: ledger id, 32 bytes.
        time: Unix seconds, as the member says.
        payload: canonical bytes that it signed.
        key_id: whose key it says to have signed.
        signature: 64 bytes.
        encoded: the whole envelope.
    """

    proposal: bytes
    org_id: str
    choice: Choice
    number: int
    ledger: bytes
    time: int
    payload: bytes
    key_id: str
    signature: bytes
    encoded: bytes


def make_proposal(identity: Identity, transaction: Transaction, reason: str, way: Way, time: int) -> Proposal:
    """Write and sign a proposal.

    Args:
        identity: the creator's.
        transaction: the draft.
        reason: the creator's words.
        way: how it comes onto the ledger.
        time: Unix seconds.

    Returns:
        The proposal.

    Raises:
        InputError: what `parse_proposal` would refuse.
    """
    draft = parse_canonical(payload_bytes(transaction), max_bytes=MAX_LEAF_BYTES)
    document: Json = {
        "reason": reason,
        "time": time,
        "transaction": draft,
        "type": PROPOSAL_TYPE,
        "way": way.value,
    }
    return parse_proposal(_sealed(identity, PROPOSAL_MEDIA_TYPE, canonical(document)))


def parse_proposal(data: bytes) -> Proposal:
    """Read a proposal strictly; its signature is not verified.

    Args:
        data: canonical envelope.

    Returns:
        The proposal.

    Raises:
        InputError: ``encoding.*``, ``transaction.*``, ``proposal.form`` for one that is none of members' kinds, has no
            end, or names other signers; ``proposal.reason`` for one too long or with characters that do not print.
    """
    payload, key_id, signature = _opened(data, PROPOSAL_MEDIA_TYPE)
    top = members(parse_canonical(payload, max_bytes=MAX_DOCUMENT_BYTES), _PROPOSAL)
    transaction = parse_payload(canonical(top["transaction"]))
    if top["type"] != PROPOSAL_TYPE or top["way"] not in set(Way) or not isinstance(transaction, Transaction):
        raise _form("type")
    time, reason, way = top["time"], str(top["reason"]), Way(str(top["way"]))
    if transaction.signers != (Signer(key_id, CREATOR),):
        raise _form("signers")
    if transaction.draw is not None or transaction.until is None or not isinstance(time, int) or time < 0:
        raise _form("until")
    if any(change.kind not in KINDS for change in transaction.changes):
        raise _form("kind")
    if len(reason) > MAX_REASON or not reason.isprintable():
        # A terminal obeys what does not print: it could show another text than the one that is signed.
        raise InputError("proposal.reason", limit=MAX_REASON)
    if way is Way.TAKE_OVER and taker_of(transaction) is None:
        raise _form("way")
    return Proposal(sha256(payload).digest(), transaction, reason, way, time, payload, key_id, signature, data)


def make_decision(identity: Identity, proposal: Proposal, choice: Choice, number: int, time: int) -> Decision:
    """Write and sign a decision."""
    document: Json = {
        "decision": choice.value,
        "ledger": proposal.transaction.ledger.hex(),
        "number": number,
        "org_id": identity.org_id,
        "proposal": proposal.id.hex(),
        "time": time,
        "type": DECISION_TYPE,
    }
    return parse_decision(_sealed(identity, DECISION_MEDIA_TYPE, canonical(document)))


def parse_decision(data: bytes) -> Decision:
    """Read a decision strictly, not its signature; raises `InputError` ``encoding.*``, ``proposal.form``."""
    payload, key_id, signature = _opened(data, DECISION_MEDIA_TYPE)
    top = members(parse_canonical(payload, max_bytes=MAX_DOCUMENT_BYTES), _DECISION)
    number, time = top["number"], top["time"]
    if top["type"] != DECISION_TYPE or top["decision"] not in set(Choice):
        raise _form("type")
    if not isinstance(number, int) or number < 1 or not isinstance(time, int) or time < 0:
        raise _form("number")
    return Decision(
        unhex(top["proposal"], HASH_BYTES),
        str(top["org_id"]),
        Choice(str(top["decision"])),
        number,
        unhex(top["ledger"], HASH_BYTES),
        time,
        payload,
        key_id,
        signature,
        data,
    )


def check_signed(document: Proposal | Decision, org_id: str, current: Members) -> None:
    """Check that an active member signed a document with its ledger key.

    Args:
        document: a proposal or a decision.
        org_id: who must have signed it.
        current: the members in force.

    Raises:
        VerificationError: ``proposal.signer`` for a key that is not that member's, or of one that is suspended;
            ``proposal.signature``.
    """
    signer = current.signer(document.key_id)
    if signer is None or signer.org_id != org_id:
        raise VerificationError("proposal.signer", org_id=org_id)
    media = PROPOSAL_MEDIA_TYPE if isinstance(document, Proposal) else DECISION_MEDIA_TYPE
    message = _pae(media, document.payload)
    if not ed25519_verify(current.keys[document.key_id].public, message, document.signature):
        raise VerificationError("proposal.signature", org_id=org_id)


def completed(proposal: Proposal, keys: Iterable[str]) -> bytes:
    """Write members' rows into a draft.

    Args:
        proposal: whose draft.
        keys: ids of the members' ledger keys.

    Returns:
        The payload that all of them sign. Raises `InputError` ``transaction.*`` where it would not fit a leaf.
    """
    rows = {*proposal.transaction.signers, *(Signer(name, MEMBER) for name in keys)}
    return payload_bytes(replace(proposal.transaction, signers=tuple(sorted(rows))))


def check_completed(proposal: Proposal, payload: bytes, own_key: str) -> Transaction:
    """Compare a payload with the draft that was approved: the rows of the signers alone may differ.

    Args:
        proposal: what was approved.
        payload: what is to be signed.
        own_key: id of the key that is to sign.

    Returns:
        The payload, decoded.

    Raises:
        InputError: ``transaction.*``.
        VerificationError: ``proposal.payload`` for any other difference; ``proposal.key`` where this key is not among
            the members who sign.
    """
    transaction = parse_payload(payload)
    signers = transaction.signers
    others = [row.role for row in signers if row not in proposal.transaction.signers]
    is_same = payload == payload_bytes(replace(proposal.transaction, signers=signers))
    if not is_same or len(others) != len(signers) - 1 or set(others) > {MEMBER}:
        raise VerificationError("proposal.payload", proposal=proposal.id.hex())
    if Signer(own_key, MEMBER) not in signers or not isinstance(transaction, Transaction):
        raise VerificationError("proposal.key", key_id=own_key)
    return transaction


def check_size(proposal: Proposal, current: Members) -> None:
    """Check that a proposal fits a leaf whoever signs it; raises `InputError` ``transaction.too_large``."""
    keys = [item.key(LEDGER_KEY).id for item in current.active if item.org_id != proposal.creator]
    payload = completed(proposal, keys)
    rows = [proposal.key_id, *keys]
    seal(payload, [(row, bytes(_SIGNATURE_BYTES)) for row in rows])


def signing_request(proposal: bytes, payload: bytes) -> bytes:
    """Write the request for a signature over a payload."""
    return canonical({"payload": base64_text(payload), "proposal": proposal.hex(), "type": SIGNING_TYPE})


def parse_signing_request(document: Json) -> tuple[bytes, bytes]:
    """Read a request for a signature: proposal's id, payload; raises `InputError` ``encoding.*``."""
    top = members(document, {"payload": str, "proposal": str, "type": str})
    return unhex(top["proposal"], HASH_BYTES), unbase64(top["payload"])


def signature_json(key_id: str, signature: bytes) -> Json:
    """Write a signature as answer."""
    return {"key": key_id, "signature": base64_text(signature), "type": SIGNATURE_TYPE}


def parse_signature(answer: bytes, key_id: str) -> bytes:
    """Read an answer; raises `InputError` ``encoding.*``, `VerificationError` ``proposal.key``."""
    top = members(parse_canonical(answer, max_bytes=4096), {"key": str, "signature": str, "type": str})
    if top["type"] != SIGNATURE_TYPE or top["key"] != key_id:
        raise VerificationError("proposal.key", key_id=key_id)
    return unbase64(top["signature"])


def is_active(current: Members, org_id: str) -> bool:
    """Tell whether an organisation takes part now."""
    found = current.organisations.get(org_id)
    return found is not None and found.status == ACTIVE


def _form(member: str) -> InputError:
    """Name what is wrong."""
    return InputError("proposal.form", member=member)


def _pae(media: str, payload: bytes) -> bytes:
    """Build the bytes that are signed: DSSE 1.0 pre-authentication encoding."""
    return b"DSSEv1 %d %b %d %b" % (len(media), media.encode("ascii"), len(payload), payload)


def _sealed(identity: Identity, media: str, payload: bytes) -> bytes:
    """Sign a payload and put it into an envelope."""
    signature = base64_text(identity.signer.sign(_pae(media, payload)))
    rows: list[Json] = [{"keyid": identity.key_id, "sig": signature}]
    return canonical({"payload": base64_text(payload), "payloadType": media, "signatures": rows})


def _opened(data: bytes, media: str) -> tuple[bytes, str, bytes]:
    """Take an envelope with one signature apart: payload, key id, signature."""
    top = members(parse_canonical(data, max_bytes=MAX_DOCUMENT_BYTES), _ENVELOPE)
    rows = top["signatures"]
    if top["payloadType"] != media or not isinstance(rows, list) or len(rows) != 1:
        raise _form("payloadType")
    row = members(rows[0], {"keyid": str, "sig": str})
    signature = unbase64(row["sig"])
    if len(signature) != _SIGNATURE_BYTES:
        raise _form("sig")
    return unbase64(top["payload"]), str(row["keyid"]), signature
