"""Asks: an organisation asks a patient of another one for a permission, and the patient decides later.

Keeps true: who asks is who called; an ask says nothing back, so that nobody learns who is a patient where; it gives
nothing by itself. An ask for one claim names it, and no more than the records that it cites. Trusts the server for
which organisation calls.
Source: `docs/spec/ask.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from medchain.encoding import Json, as_list, as_number, as_object, canonical, digest, members, parse_canonical, unhex
from medchain.errors import InputError, NotFoundError
from medchain.ledger.invoice import checked_minor, exponent_of
from medchain.ledger.kinds.content import ANY_TYPE, DAY_S, names, short_text
from medchain.ledger.one_claim import MAX_DAYS as MAX_CLAIM_DAYS
from medchain.ledger.one_claim import PURPOSE, read_cited, types_of
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.clock import Clock
from medchain.node.notices import ASKED, Told
from medchain.node.peers import JSON, Limits, PeerClient
from medchain.node.records import RecordService
from medchain.store.asks import AskRow, SentAsk
from medchain.store.records import RecordStore

ASK_TYPE: Final = "medchain/consent-ask/v1"
"""Type of the document."""

MAX_ASK_BYTES: Final = 64 * 1024
"""Largest document, which is one for a claim that cites many records."""

MAX_PLAIN_BYTES: Final = 16 * 1024
"""Largest document that is for no claim."""

MAX_DAYS: Final = 3650
"""Longest permission that can be asked for."""

WAITS_S: Final = 30 * DAY_S
"""How long an ask waits for an answer."""

SEND: Final = "ask.send"
"""Local operation: ask a patient of another organisation, or of this one."""

SENT: Final = "ask.sent"
"""Local operation: what this organisation has asked."""

LIST: Final = "ask.list"
"""Local operation: what a patient is asked."""

ANSWER: Final = "ask.answer"
"""Local operation: note a patient's answer."""

GIVEN: Final = "given"
"""Answer: the patient has signed a consent."""

DECLINED: Final = "declined"
"""Answer: the patient has said no."""

_LIMITS: Final = Limits(timeout_s=15.0)
_TEXTS: Final = dict.fromkeys(("id", "ledger", "patient", "person", "purpose", "reason", "type"), str)
_CLAIM: Final = {"amount": int, "cited": list, "currency": str, "digest": str, "hospital": str, "number": str}


@dataclass(frozen=True, slots=True)
class AskClaim:
    """The one claim that an ask is for, as the insurer tells of it.

    Attributes:
        digest: of the insurer's claim, 32 bytes.
        number: as the insurer names it to its customer.
        amount: that is claimed, in the smallest unit of the currency.
        currency: ISO 4217.
        hospital: org_id of the custodian whose records it cites.
        cited: those records, ``Type/id``, sorted.
    """

    digest: bytes
    number: str
    amount: int
    currency: str
    hospital: str
    cited: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "amount": self.amount,
            "cited": list(self.cited),
            "currency": self.currency,
            "digest": self.digest.hex(),
            "hospital": self.hospital,
            "number": self.number,
        }


def parse_claim(value: Json) -> AskClaim:
    """Read for which claim something is asked.

    Raises:
        InputError: ``encoding.*``, ``content.*``, ``claim.cited``, ``invoice.amount``, ``invoice.currency``.
    """
    top = members(value, _CLAIM)
    currency = str(top["currency"])
    exponent_of(currency)
    return AskClaim(
        digest=unhex(top["digest"], HASH_BYTES),
        number=short_text(top["number"]),
        amount=checked_minor(top["amount"]),
        currency=currency,
        hospital=short_text(top["hospital"]),
        cited=read_cited(top["cited"]),
    )


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked.

    Attributes:
        id: 16 bytes.
        patient: id of the Patient at the custodian, as the asker knows it from a claim or a referral.
        person: who asks, in words; empty for nobody in particular.
        purpose: purpose-of-use code.
        reason: why, in words for the patient.
        resource_types: FHIR types, sorted, or ``*`` alone.
        days: for how long.
        claim: the one claim that it is for; None for an ask for records.
    """

    id: bytes
    patient: str
    person: str
    purpose: str
    reason: str
    resource_types: tuple[str, ...]
    days: int
    claim: AskClaim | None = None

    def encode(self, ledger: bytes) -> bytes:
        """Write the document, for one ledger."""
        return canonical({**self.to_json(), "ledger": ledger.hex(), "type": ASK_TYPE})

    def to_json(self) -> dict[str, Json]:
        """Write what is asked."""
        told: dict[str, Json] = {} if self.claim is None else {"claim": self.claim.to_json()}
        return {
            **told,
            "days": self.days,
            "id": self.id.hex(),
            "patient": self.patient,
            "person": self.person,
            "purpose": self.purpose,
            "reason": self.reason,
            "resource_types": list(self.resource_types),
        }


def parse_ask(document: bytes, ledger: bytes) -> Ask:
    """Read a document strictly.

    Raises:
        InputError: ``encoding.*``, ``content.*``, ``ask.malformed``.
    """
    required = _TEXTS | {"days": int, "resource_types": list}
    top = members(parse_canonical(document, max_bytes=MAX_ASK_BYTES), required, {"claim": dict})
    days, types = top["days"], names(top["resource_types"])
    claim = parse_claim(top["claim"]) if "claim" in top else None
    if len(document) > MAX_PLAIN_BYTES and claim is None:
        raise InputError("encoding.too_large", size=len(document), limit=MAX_PLAIN_BYTES)
    holds = (
        top["type"] == ASK_TYPE
        and top["ledger"] == ledger.hex()
        and isinstance(days, int)
        and 0 < days <= MAX_DAYS
        and (types == (ANY_TYPE,) or all(name.isascii() and name.isalpha() for name in types))
    )
    if not holds or not isinstance(days, int):
        raise InputError("ask.malformed")
    if claim is not None and (top["purpose"], days <= MAX_CLAIM_DAYS, types) != (PURPOSE, True, types_of(claim.cited)):
        # What it asks for beside the claim would be given under another consent, or none.
        raise InputError("ask.malformed")
    person = "" if top["person"] == "" else short_text(top["person"])
    return Ask(
        id=unhex(top["id"], ID_BYTES),
        patient=short_text(top["patient"]),
        person=person,
        purpose=short_text(top["purpose"]),
        reason=short_text(top["reason"]),
        resource_types=types,
        days=days,
        claim=claim,
    )


class AskNetwork(Protocol):
    """The way to other organisations' patients."""

    def ask(self, org_id: str, document: bytes) -> None:
        """Bring an ask; raises `UnavailableError`, or the error of the refusal."""
        ...


class HttpAsks:
    """The same over HTTP."""

    __slots__ = ("_peers",)

    def __init__(self, peers: PeerClient) -> None:
        """Use the node's calls."""
        self._peers = peers

    def ask(self, org_id: str, document: bytes) -> None:
        """Bring an ask."""
        self._peers.post(org_id, "/asks", document, JSON, _LIMITS)


@dataclass(frozen=True, slots=True)
class AskParts:
    """What the desk of asks is made from.

    Attributes:
        org_id: this organisation.
        ledger_id: 32 bytes.
        records: keeps the asks.
        service: knows the patients' tokens.
        network: the way to others.
        clock: gives Unix seconds.
        random: gives as many unpredictable bytes as it is asked for.
        tell: tells a patient, by keyed token, that somebody asks; who has a contact is sent word of it.
    """

    org_id: str
    ledger_id: bytes
    records: RecordStore
    service: RecordService
    network: AskNetwork
    clock: Clock
    random: Callable[[int], bytes]
    tell: Callable[[str, Told], None]


class AskDesk:
    """Takes and sends asks; fills `medchain.node.services.AskService`. Threads may share it."""

    __slots__ = ("_parts",)

    def __init__(self, parts: AskParts) -> None:
        """Use parts."""
        self._parts = parts

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {SEND: self.send, SENT: self._sent, LIST: self._list, ANSWER: self._answer}

    def receive(self, document: bytes, peer: str) -> Json:
        """Take an ask.

        Args:
            document: from `Ask.encode`.
            peer: org_id of who asks.

        Returns:
            The same for a patient who is here and one who is not.

        Raises:
            InputError: as `parse_ask`.
            ConflictError: ``ask.exists`` for another ask of that id.
            UnavailableError: ``ask.quota``.
        """
        ask, now = parse_ask(document, self._parts.ledger_id), self._parts.clock()
        if ask.claim is not None and ask.claim.hospital != self._parts.org_id:
            # The patient is shown this hospital, and permits what this hospital has.
            raise InputError("ask.malformed")
        token = self._parts.service.patient_token(ask.patient)
        self._parts.records.put_ask(AskRow(ask.id, peer, token, document, now, now + WAITS_S))
        if self._parts.records.subjects_of(token):
            # Of who is no patient here, or has no subject, nobody has a contact.
            told = Told(ASKED, b"", digest("medchain/consent-ask-id/v1", ask.id, peer.encode()), 1, now, {"by": peer})
            self._parts.tell(token, told)
        return {"taken": True}

    def send(self, document: Json) -> Json:
        """Ask a patient; the operation `SEND`."""
        texts = dict.fromkeys(("custodian", "patient", "person", "purpose", "reason"), str)
        top = members(document, texts | {"days": int, "resource_types": list}, {"claim": dict})
        custodian = str(top["custodian"])
        ask = Ask(
            id=self._parts.random(ID_BYTES),
            patient=str(top["patient"]),
            person=str(top["person"]),
            purpose=str(top["purpose"]),
            reason=str(top["reason"]),
            resource_types=names(top["resource_types"]),
            days=as_number(top["days"]),
            claim=parse_claim(top["claim"]) if "claim" in top else None,
        )
        encoded = ask.encode(self._parts.ledger_id)
        parse_ask(encoded, self._parts.ledger_id)
        if ask.claim is not None and ask.claim.hospital != custodian:
            raise InputError("ask.malformed")
        now = self._parts.clock()
        is_own = custodian == self._parts.org_id
        if is_own:
            self.receive(encoded, self._parts.org_id)
        else:
            self._parts.network.ask(custodian, encoded)
        token = self._parts.service.patient_token(ask.patient) if is_own else ""
        self._parts.records.put_sent(SentAsk(ask.id, custodian, token, encoded, now, now + WAITS_S))
        return {"id": ask.id.hex()}

    def _sent(self, document: Json) -> Json:
        """List what this organisation has asked, the newest first."""
        members(document, {})
        rows: list[Json] = [
            {
                **parse_ask(row.document, self._parts.ledger_id).to_json(),
                "created": row.created,
                "custodian": row.custodian,
                "until": row.until,
            }
            for row in self._parts.records.sent_asks()
        ]
        return {"asks": rows}

    def _list(self, document: Json) -> Json:
        """List what a patient is asked."""
        patient = str(members(document, {"patient": str})["patient"])
        token = self._parts.service.patient_token(patient)
        rows = self._parts.records.asks_of(token, self._parts.clock())
        return {"asks": [self._row_json(row) for row in rows]}

    def _answer(self, document: Json) -> Json:
        """Note a patient's answer, and the subject of who answered in the patient's stead."""
        top = members(document, {"answer": str, "id": str, "patient": str}, {"by": str})
        if top["answer"] not in (GIVEN, DECLINED):
            raise InputError("ask.malformed")
        token = self._parts.service.patient_token(str(top["patient"]))
        by = unhex(top["by"], HASH_BYTES).hex() if "by" in top else None
        ask_id, answer = unhex(top["id"], ID_BYTES), str(top["answer"])
        self._parts.records.answer_ask(ask_id, token, answer, self._parts.clock(), by=by)
        return {"answered": True}

    def _row_json(self, row: AskRow) -> Json:
        """Write an ask with who asks and what has become of it."""
        ask = parse_ask(row.document, self._parts.ledger_id)
        told: dict[str, Json] = {"answer": row.answer, "answered": row.answered, "answered_by": row.answered_by}
        return {**ask.to_json(), **told, "asker": row.asker, "created": row.created, "until": row.until}


def require_waiting(rows: Json, ask_id: str) -> dict[str, Json]:
    """Find an ask that waits among what `LIST` answered; raises `NotFoundError` ``ask.unknown``."""
    for row in as_list(as_object(rows).get("asks")):
        if isinstance(row, dict) and row.get("id") == ask_id and row.get("answer") is None:
            return row
    raise NotFoundError("ask.unknown")
