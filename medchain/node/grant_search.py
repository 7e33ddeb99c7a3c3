"""Which grants of an organisation are about a patient whom it can name, asked of the custodian that gave them.

A grant does not say whose records it opens by any name that its recipient knows. The custodian answers with those of
its grants to who asks that are in force and about that patient, and with nothing else. Keeps true: what is absent and
what is forbidden get the same answer, an empty list, which is noted as a refusal; no record is opened to who could not
have it released; the asker believes only grants whose bodies it holds itself. Trusts the server for which organisation
calls.
Source: `docs/spec/release.md` 18 to 21.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import InputError, MedchainError
from medchain.ledger.kinds import consent as consents
from medchain.ledger.kinds import grant as grants
from medchain.ledger.kinds.content import ANY_TYPE, DAY_S, names, short_text
from medchain.ledger.object import ACTIVE, Body, StateRecord, in_force
from medchain.ledger.one_claim import PURPOSE, OneClaim, one_claim_in
from medchain.ledger.request import ReleaseRequest
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.clock import Clock
from medchain.node.mandates import told_of
from medchain.node.refusing import note_refusal
from medchain.node.release_ports import CustodianParts, Refused
from medchain.node.standing import Holdings, Standing, types_of_both
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore

QUESTION_TYPE: Final = "medchain/grant-question/v1"
"""Type of the document."""

ANSWER_TYPE: Final = "medchain/grant-answer/v1"
"""Type of what answers it."""

MAX_QUESTION_BYTES: Final = 16 * 1024
"""Largest question."""

MAX_GRANTS: Final = 100
"""Most grants of one answer."""

NO_GRANT: Final = "release.no_grant"
"""Reason that is noted where no grant is about what was named."""

_MAX_ANSWER_BYTES: Final = 64 * 1024
_PATIENT: Final = "Patient"
_ABOUT: Final = re.compile(r"([A-Z][A-Za-z]{0,63})/([A-Za-z0-9\-.]{1,64})")
_TEXTS: Final = dict.fromkeys(("about", "id", "ledger", "purpose", "type"), str)


@dataclass(frozen=True, slots=True)
class GrantQuestion:
    """What is asked.

    Attributes:
        about: a record of the custodian, ``Type/id``: a Patient, or one that is to be read.
        purpose: purpose-of-use code.
        resource_types: FHIR types that are wanted, sorted, or ``*`` alone.
        id: 16 random bytes, so that each question is one of its own.
    """

    about: str
    purpose: str
    resource_types: tuple[str, ...]
    id: bytes

    def encode(self, ledger: bytes) -> bytes:
        """Write the document, for one ledger."""
        return canonical(
            {
                "about": self.about,
                "id": self.id.hex(),
                "ledger": ledger.hex(),
                "purpose": self.purpose,
                "resource_types": list(self.resource_types),
                "type": QUESTION_TYPE,
            }
        )


def parse_question(document: bytes, ledger: bytes) -> GrantQuestion:
    """Read a question strictly; raises `InputError` ``encoding.*``, ``content.*``, ``release.malformed``."""
    top = members(parse_canonical(document, max_bytes=MAX_QUESTION_BYTES), _TEXTS | {"resource_types": list})
    types = names(top["resource_types"])
    about = _ABOUT.fullmatch(str(top["about"]))
    is_ours = top["type"] == QUESTION_TYPE and top["ledger"] == ledger.hex()
    is_one = about is not None and (about[1] == _PATIENT or types == (about[1],))
    if not is_ours or not is_one or (ANY_TYPE in types and len(types) > 1):
        raise InputError("release.malformed")
    return GrantQuestion(str(top["about"]), short_text(top["purpose"]), types, unhex(top["id"], ID_BYTES))


class GrantDesk:
    """The custodian's side. Threads may share it."""

    __slots__ = ("_below", "_holdings", "_mandates", "_parts")

    def __init__(
        self,
        parts: CustodianParts,
        below: Callable[[bytes], Sequence[bytes]],
        mandates: Callable[[], Sequence[bytes]] = tuple,
    ) -> None:
        """Use parts.

        Args:
            parts: of the custodian.
            below: gives the consents of a subject, and the grants of a consent or mandate, by map keys.
            mandates: gives all mandates.
        """
        self._mandates = mandates
        self._parts = parts
        self._below = below
        self._holdings = Holdings(parts)

    def find(self, document: bytes, peer: str) -> Json:
        """Answer a question.

        Args:
            document: from `GrantQuestion.encode`.
            peer: org_id of who calls.

        Returns:
            Map keys of grants; none for what is not there and for what may not be known, alike.

        Raises:
            InputError: as `parse_question`.
        """
        try:
            question = parse_question(document, self._parts.ledger_id)
        except InputError as error:
            note_refusal(self._parts, Refused(document, peer, "", error.code))
            raise
        token = self._token(question.about)
        subjects = [] if token is None else self._parts.records.subjects_of(token)
        permitting = [consent for one in subjects for consent in self._below(one)]
        permitting += [] if token is None else [key for key in self._mandates() if self._is_of(key, token)]
        keys = [grant for one in permitting for grant in self._below(one)]
        found = [key for key in sorted(set(keys)) if self._counts(key, question, peer, token or "")][:MAX_GRANTS]
        if not found:
            whose, types = (token or "") if subjects else "", question.resource_types
            note_refusal(self._parts, Refused(document, peer, whose, NO_GRANT, question.purpose, types))
        return {"grants": [key.hex() for key in found], "type": ANSWER_TYPE}

    def _token(self, about: str) -> str | None:
        """Tell whose a record is; None for one that is not here."""
        type_name, _, record_id = about.partition("/")
        if type_name == _PATIENT:
            return self._parts.service.patient_token(record_id)
        stored = self._parts.records.get(type_name, record_id)
        return None if stored is None else stored.patient

    def _is_of(self, key: bytes, token: str) -> bool:
        """Tell whether a mandate is about a patient of this node."""
        body = self._parts.bodies.terms(key)
        told = None if body is None else told_of(body.content)
        return told is not None and told.custodian == self._parts.org_id and self._holdings.patient_of(told) == token

    def _counts(self, key: bytes, question: GrantQuestion, peer: str, token: str) -> bool:
        """Tell whether a grant lets who asks have something of what it asks about."""
        try:
            standing = self._holdings.standing(key)
            if (standing.grant.recipient, standing.grant.purpose) != (peer, question.purpose):
                return False
            if not types_of_both(question.resource_types, standing.grant.resource_types):
                return False
            return question.about.startswith(f"{_PATIENT}/") or self._is_released(key, question, standing, token)
        except MedchainError:
            return False

    def _is_released(self, key: bytes, question: GrantQuestion, standing: Standing, token: str) -> bool:
        """Tell whether a request for the record would be given it: or its being there would be told to anybody."""
        type_name, _, record_id = question.about.partition("/")
        asked = ReleaseRequest(
            ledger=self._parts.ledger_id,
            custodian=self._parts.org_id,
            recipient=standing.grant.recipient,
            grant=key,
            purpose=question.purpose,
            resource_types=(type_name,),
            period=None,
            after=0,
            # Nothing is wrapped or signed for this look.
            encryption_key="",
            nonce=question.id,
            time=self._parts.clock(),
            query=f"_id={record_id}",
            count=1,
        )
        return bool(self._holdings.choose(asked, standing, token).records)


@dataclass(frozen=True, slots=True)
class Permission:
    """What a patient has permitted for one claim, as this node's own ledger has it.

    Attributes:
        custodian: org_id of who lets this organisation ask.
        position: of the entry by which it does.
        time: when that was accepted, Unix seconds.
        ended: since when it does no more; None while it does.
    """

    custodian: str
    position: int
    time: int
    ended: int | None

    def to_json(self) -> dict[str, Json]:
        """Write it, for the node's own processes."""
        return {"custodian": self.custodian, "ended": self.ended, "position": self.position, "time": self.time}


class Heads(Protocol):
    """Bodies that this organisation holds; `medchain.node.bodies.BodyShelf`."""

    def head(self, key: bytes) -> tuple[StateRecord, Body] | None:
        """Return an object's head with its body, None where one of both is not here."""
        ...

    def terms(self, key: bytes) -> Body | None:
        """Return the body by which an object was last in force, None if it is not here."""
        ...


class GrantWays(Protocol):
    """The way to other organisations' grant desks."""

    def grants(self, org_id: str, document: bytes) -> bytes:
        """Ask for grants; raises `UnavailableError`, or the error of the refusal."""
        ...


@dataclass(frozen=True, slots=True)
class GrantFinder:
    """The asker's side. Threads may share it.

    Attributes:
        org_id: this organisation.
        ledger_id: 32 bytes.
        ledger: the ledger file.
        records: the records file.
        bodies: bodies that this organisation holds.
        below: as for `GrantDesk`.
        ways: the way to others.
        clock: gives Unix seconds.
        mandates: as for `GrantDesk`.
        of_claim: lists the consents for one claim (digest), in force or not.
        added: tells how many bodies have come to this organisation since the start.
    """

    org_id: str
    ledger_id: bytes
    ledger: LedgerStore
    records: RecordStore
    bodies: Heads
    below: Callable[[bytes], Sequence[bytes]]
    ways: GrantWays
    clock: Clock
    mandates: Callable[[], Sequence[bytes]] = tuple
    of_claim: Callable[[bytes], Sequence[bytes]] = lambda _digest: ()
    added: Callable[[], int] = lambda: 0

    def about(
        self, custodian: str, about: str, purpose: str, resource_types: Sequence[str], claim: bytes | None = None
    ) -> list[bytes]:
        """Ask a custodian which of our grants are about a record of its own.

        Args:
            custodian: org_id.
            about: ``Type/id`` there.
            purpose: purpose-of-use code.
            resource_types: FHIR types, or ``*`` alone.
            claim: digest of the claim for which parts of records are asked for; None for records.

        Returns:
            Map keys of grants that this organisation holds; none for nothing, for whatever reason. What is for one
            claim alone is among them for that claim only, and then comes first.

        Raises:
            InputError: ``exchange.custodian`` for who is no other active member; a malformed question.
            UnavailableError: the way.
        """
        if custodian == self.org_id or custodian not in {one.org_id for one in self.ledger.members.active}:
            raise InputError("exchange.custodian")
        types = tuple(sorted(set(resource_types)))
        document = GrantQuestion(about, purpose, types, secrets.token_bytes(ID_BYTES)).encode(self.ledger_id)
        # What is wrong with it is told here, not by the custodian.
        parse_question(document, self.ledger_id)
        answer = parse_canonical(self.ways.grants(custodian, document), max_bytes=_MAX_ANSWER_BYTES)
        rows = members(answer, {"grants": list, "type": str})["grants"]
        keys = [unhex(row, HASH_BYTES) for row in rows] if isinstance(rows, list) else []
        found = [key for key in dict.fromkeys(keys) if self._custodian_of(key, purpose, types, claim) == custodian]
        return sorted(found, key=lambda key: self._one_claim_of(key) is None)[:MAX_GRANTS]

    def patient_of(self, grant: bytes) -> str:
        """Return the keyed token of the patient of this node whom a grant is about; empty for nobody known here."""
        try:
            found = self.bodies.head(grant)
            given = None if found is None else self.bodies.terms(grants.read(found[1].content).consent)
            patient = None if given is None else consents.read(given.content).patient
        except InputError:
            return ""
        return "" if patient is None else self.records.patient_of(patient) or ""

    def of_patient(
        self, patient: str, purpose: str, resource_types: Sequence[str], claim: bytes | None = None
    ) -> list[tuple[str, bytes]]:
        """List the grants about a patient of this node, by what this node holds alone.

        Args:
            patient: keyed token.
            purpose: purpose-of-use code.
            resource_types: FHIR types, or ``*`` alone.
            claim: as for `about`.

        Returns:
            org_id of the custodian and map key of each, sorted.
        """
        subjects = self.records.subjects_of(patient)
        permitting = {consent for one in subjects for consent in self.below(one)}
        return self._under(permitting, purpose, resource_types, claim)

    def of_mandate(self, mandate: bytes, purpose: str, resource_types: Sequence[str]) -> list[tuple[str, bytes]]:
        """List the grants under a mandate of the law, which names a patient whom this node need not know.

        Args:
            mandate: its map key, 32 bytes.
            purpose: purpose-of-use code.
            resource_types: FHIR types, or ``*`` alone.

        Returns:
            As `of_patient`.
        """
        return self._under({mandate} & set(self.mandates()), purpose, resource_types)

    def for_claim(self, claim: bytes) -> list[tuple[str, bytes]]:
        """List the grants for one claim alone whose consent is in force, by what this node holds.

        Args:
            claim: its digest, 32 bytes.

        Returns:
            As `of_patient`.
        """
        heads = ((key, self.ledger.record(key)) for key in self.of_claim(claim))
        living = {key for key, head in heads if head is not None and in_force(head, self.clock() // DAY_S)}
        return self._under(living, PURPOSE, (ANY_TYPE,), claim)

    def moment(self) -> tuple[int, int, int]:
        """Tell by what it is decided which grants are in force: while it is the same, `for_claim` finds the same.

        Returns:
            Height of the ledger, -1 before the first block; bodies that have come since the start; day (UTC).
        """
        return self.ledger.head.height, self.added(), self.clock() // DAY_S

    def permissions(self, claim: bytes) -> list[Permission]:
        """List what was permitted to this organisation for one claim alone, in force or not, the oldest first.

        Args:
            claim: its digest, 32 bytes.
        """
        pairs = [(consent, grant) for consent in self.of_claim(claim) for grant in self.below(consent)]
        found = (self._permission(consent, grant) for consent, grant in pairs)
        return sorted((one for one in found if one is not None), key=lambda one: (one.position, one.custodian))

    def _permission(self, consent: bytes, key: bytes) -> Permission | None:
        """Tell how a grant of another organisation to this one stands; None for what is no such grant."""
        body, history = self.bodies.terms(key), self.ledger.history(key)
        if body is None or not history:
            return None
        try:
            grant = grants.read(body.content)
        except InputError:
            return None
        if grant.recipient != self.org_id or grant.custodian == self.org_id:
            return None
        began = history[-1].since
        ends = [end for one in (consent, key) if (end := self._ended(one)) is not None]
        return Permission(grant.custodian, began, self.ledger.block_at(began).time, min(ends, default=None))

    def _ended(self, key: bytes) -> int | None:
        """Tell since when an object is not in force; None while it is, Unix seconds."""
        head = self.ledger.record(key)
        if head is None or in_force(head, self.clock() // DAY_S):
            return None
        if head.status == ACTIVE and head.expires is not None:
            return (head.expires + 1) * DAY_S
        return self.ledger.block_at(head.since).time

    def _under(
        self, permitting: Collection[bytes], purpose: str, resource_types: Sequence[str], claim: bytes | None = None
    ) -> list[tuple[str, bytes]]:
        """List the grants of others to this organisation under some consents, or mandates."""
        types = tuple(sorted(set(resource_types)))
        keys = {grant for one in permitting for grant in self.below(one)}
        found = [(self._custodian_of(key, purpose, types, claim), key) for key in keys]
        return sorted((custodian, key) for custodian, key in found if custodian)

    def _one_claim_of(self, key: bytes) -> OneClaim | None:
        """Tell for which one claim a grant is; None for one of records, and where that is not known here."""
        found = self.bodies.head(key)
        terms = None if found is None else self.bodies.terms(grants.read(found[1].content).consent)
        return None if terms is None else one_claim_in(terms.content)

    def _custodian_of(self, key: bytes, purpose: str, types: tuple[str, ...], claim: bytes | None) -> str:
        """Tell which other organisation lets us read some types for a purpose; empty for no grant of ours to that."""
        found = self.bodies.head(key)
        if found is None or found[0].kind != "grant" or not in_force(found[0], self.clock() // DAY_S):
            return ""
        try:
            grant = grants.read(found[1].content)
        except InputError:
            return ""
        is_ours = (grant.recipient, grant.purpose) == (self.org_id, purpose) and grant.custodian != self.org_id
        if not is_ours or not types_of_both(types, grant.resource_types):
            return ""
        one = self._one_claim_of(key)
        # Who asked for a record under what is for a claim would be refused, and the patient be told of it.
        return grant.custodian if one is None or one.digest == claim else ""
