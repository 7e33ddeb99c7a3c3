"""Evidence for a claim, checked against a proven state: what the lines of a verdict are read from.

Keeps true: nothing of a disclosure is used before its hospital's signature, its access entry and the insurer's signed
request hold, under keys that the ledger lists at that place; nothing of a record before its item of the bundle; a claim
id follows from the invoice by its issuer's own function. What is missing is missing here, too, and never assumed. Pure.
Source: `docs/spec/claim-verdict.md` 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from medchain.crypto.vrf import vrf_verify
from medchain.encoding import parse_canonical
from medchain.errors import VerificationError
from medchain.ledger.claim_question import DATE, NUMBER, Known, named_otherwise
from medchain.ledger.collection import Item
from medchain.ledger.evidence.claim_reading import Cited, ReadClaim, read_claim
from medchain.ledger.evidence.disclosure import As, Disclosure, Edition, Row, SignedDisclosure
from medchain.ledger.evidence.document import Evidence
from medchain.ledger.evidence.statements import Fact
from medchain.ledger.invoice import claim_id
from medchain.ledger.kinds import access
from medchain.ledger.listed import Listed
from medchain.ledger.object import MAX_BODY_BYTES, Body, StateRecord
from medchain.ledger.request import ReleaseRequest, access_key
from medchain.ledger.signed_request import SignedRequest

_MAX_SHOWN_BYTES: Final = 2 * MAX_BODY_BYTES


class State(NamedTuple):
    """The state that a bundle is as of.

    Attributes:
        position: of its leaf.
        time: Unix seconds.
    """

    position: int
    time: int


class Placed(NamedTuple):
    """An item of a bundle, and its number."""

    number: int
    item: Item

    @property
    def body(self) -> Body | None:
        """The body that is shown of it; None where none is. Raises `InputError` for a content that is none."""
        content = self.item.shown.content
        return None if content is None else Body.from_json(parse_canonical(content, max_bytes=_MAX_SHOWN_BYTES))


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """A record that a hospital tells of, with what the bundle shows of it.

    Attributes:
        hospital: org_id.
        row: what the hospital says.
        placed: its item; None where the bundle has none.
        fields: JSON pointer → JSON text of each field that is opened.
    """

    hospital: str
    row: Row
    placed: Placed | None
    fields: Mapping[str, str]

    @property
    def head(self) -> StateRecord | None:
        """Its newest state; None where none is shown."""
        return None if self.placed is None else self.placed.item.newest

    @property
    def proven(self) -> StateRecord | None:
        """The version of which the bundle shows when it was registered; None likewise."""
        return None if self.placed is None else self.placed.item.proven

    @property
    def registered(self) -> int | None:
        """When that version was registered, Unix seconds; None where it is not shown."""
        return None if self.placed is None else self.placed.item.registered

    @property
    def changed(self) -> int | None:
        """When its newest version was registered, likewise."""
        return None if self.placed is None else self.placed.item.changed

    @property
    def edition(self) -> Edition | None:
        """What the hospital says of the version that is proven; None where it says nothing of it."""
        proven = self.proven
        if proven is None or proven.version > len(self.row.versions):
            return None
        return self.row.versions[proven.version - 1]

    @property
    def items(self) -> tuple[int, ...]:
        """Number of its item."""
        return () if self.placed is None else (self.placed.number,)

    @property
    def name(self) -> dict[str, str | int]:
        """How findings name it."""
        return {"hospital": self.hospital, "reference": self.row.reference}


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """The access entry of a disclosure.

    Attributes:
        placed: its item.
        record: the version that lists the request.
        consents: map keys of the consents that it stood on.
        purpose: purpose of use for which the insurer asked.
    """

    placed: Placed
    record: StateRecord
    consents: tuple[bytes, ...]
    purpose: str


@dataclass(frozen=True, slots=True)
class Given:
    """A disclosure whose signatures hold.

    Attributes:
        disclosure: what the hospital says.
        member: the hospital.
        access: its access entry; None where the bundle does not show it.
        records: each row with what is shown of it.
    """

    disclosure: Disclosure
    member: Listed
    access: AccessEntry | None
    records: tuple[ShownRecord, ...]

    @property
    def hospital(self) -> str:
        """org_id of who says it."""
        return self.disclosure.hospital

    @property
    def time(self) -> int:
        """When the records were given, Unix seconds: the later of what the hospital and the ledger say."""
        entered = None if self.access is None else self.access.placed.item.registered
        return max(self.disclosure.time, entered or 0)

    @property
    def heard(self) -> int:
        """When the hospital had the claim's digest at the latest, Unix seconds: the earlier of the two."""
        entered = None if self.access is None else self.access.placed.item.registered
        return self.disclosure.time if entered is None else min(self.disclosure.time, entered)

    def of(self, role: As) -> list[ShownRecord]:
        """List the records of a role."""
        return [one for one in self.records if one.row.role is role]

    def facts(self, name: str) -> list[Fact]:
        """List the statements of a name."""
        return [one for one in self.disclosure.facts if one.name == name]


@dataclass(frozen=True, slots=True)
class Checked:
    """Evidence whose signatures hold, as of a state.

    Attributes:
        evidence: as it was read.
        claim: what the claim says.
        members: org_id → member, of those that the bundle lists.
        items: map key → item.
        given: what hospitals say.
        known: the answer to the question for the claim id; None where there is none.
        state: as of which all is.
    """

    evidence: Evidence
    claim: ReadClaim
    members: Mapping[str, Listed]
    items: Mapping[bytes, Placed]
    given: tuple[Given, ...]
    known: Known | None
    state: State

    @property
    def records(self) -> list[ShownRecord]:
        """List all records that hospitals tell of."""
        return [one for given in self.given for one in given.records]

    def hospital_of(self, cited: Cited) -> str | None:
        """Tell of which member a record is that the claim names; None where it is of none that is listed."""
        if cited.base:
            # One that another has taken over is of who has it now: there the record would be looked for.
            until = {name: one.listed_until(cited.address) for name, one in sorted(self.members.items())}
            found = max(until, key=until.__getitem__)
            return found if until[found] else None
        if self.claim.provider is not None:
            return self.claim.provider if self.claim.provider in self.members else None
        return self.given[0].hospital if len(self.given) == 1 else None


def check_evidence(evidence: Evidence, members: Mapping[str, Listed], items: Sequence[Item], state: State) -> Checked:
    """Check what is signed in evidence, and put it beside what the bundle shows.

    Args:
        evidence: from `medchain.ledger.evidence.document.parse_evidence`.
        members: from `medchain.ledger.listed.open_listed`.
        items: judged, in the order of the bundle.
        state: as of which they are.

    Returns:
        What lines are read from.

    Raises:
        InputError: ``evidence.claim``, ``fields.*``, ``content.*``, ``access.*`` for what cannot be read.
        VerificationError: ``evidence.member``, ``.claim``, ``.access``, ``.request``, ``.signature``, ``.question``,
            ``claim.invoice``, ``.key``, ``.id``, ``vrf.*``, ``access.*``.
    """
    placed = {item.key: Placed(number, item) for number, item in enumerate(items)}
    asked = evidence.question.hospital
    needed = {evidence.insurer, *(one.disclosure.hospital for one in evidence.disclosures), *([asked] if asked else [])}
    for org_id in sorted(needed - members.keys()):
        raise VerificationError("evidence.member", org_id=org_id)
    return Checked(
        evidence=evidence,
        claim=read_claim(evidence.content),
        members=members,
        items=placed,
        given=tuple(_given(signed, evidence, members, placed) for signed in evidence.disclosures),
        known=_known(evidence, members),
        state=state,
    )


def _given(
    signed: SignedDisclosure, evidence: Evidence, members: Mapping[str, Listed], items: Mapping[bytes, Placed]
) -> Given:
    """Check a disclosure: for which claim it is, its access entry, who signed it."""
    said = signed.disclosure
    if (said.ledger, said.claim, said.insurer) != (evidence.ledger, evidence.claim, evidence.insurer):
        raise VerificationError("evidence.claim", org_id=said.hospital)
    entry = _access(said, members[evidence.insurer], items)
    member = members[said.hospital]
    keys = member.keys_ever if entry is None else member.keys_before(entry.record.since)
    if signed.key_id not in keys or not signed.is_signed_by(keys[signed.key_id]):
        raise VerificationError("evidence.signature", org_id=said.hospital)
    return Given(said, member, entry, tuple(_shown(said, row, items) for row in said.records))


def _access(said: Disclosure, insurer: Listed, items: Mapping[bytes, Placed]) -> AccessEntry | None:
    """Check the access entry of a disclosure; None where the bundle does not show it."""
    placed = items.get(access_key(said.grant, said.hospital))
    record = None if placed is None else placed.item.proven
    body = None if placed is None or record is None else placed.body
    if placed is None or record is None or body is None:
        return None
    entry, requests = access.read(body.content), access.signed_requests(body)
    access.check_requests(entry, requests, said.hospital)
    signed = next((one for one in requests if one.request.hash == said.request), None)
    if signed is None or body.hidden:
        # A body that hides a leaf could hide another list.
        raise VerificationError("evidence.access", org_id=said.hospital)
    _check_request(signed, said, insurer, record.since)
    return AccessEntry(placed, record, entry.consents, signed.request.purpose)


def _check_request(signed: SignedRequest[ReleaseRequest], said: Disclosure, insurer: Listed, position: int) -> None:
    """Check that the insurer asked for this claim, under this grant, with a key that it had then."""
    asked, public = signed.request, insurer.keys_before(position).get(signed.key_id)
    named = (asked.ledger, asked.grant, asked.custodian, asked.recipient)
    is_for = named == (said.ledger, said.grant, said.hospital, said.insurer)
    is_claim = asked.claim is not None and asked.claim.digest == said.claim
    if not (is_for and is_claim) or public is None or not signed.is_signed_by(public):
        raise VerificationError("evidence.request", org_id=said.hospital)


def _shown(said: Disclosure, row: Row, items: Mapping[bytes, Placed]) -> ShownRecord:
    """Put what a hospital says of a record beside its item."""
    placed = items.get(said.key(row))
    if placed is None or placed.item.newest is None:
        return ShownRecord(said.hospital, row, placed, {})
    return ShownRecord(said.hospital, row, placed, dict(placed.item.shown.fields))


def _known(evidence: Evidence, members: Mapping[str, Listed]) -> Known | None:
    """Check the question and its answer; None where the hospital knows no id."""
    question = evidence.question
    signed, insurer = question.signed, members[evidence.insurer]
    if signed is None:
        return None
    asked, public = signed.request, insurer.keys_ever.get(signed.key_id)
    named = (asked.ledger, asked.insurer, asked.hospital)
    is_for = named == (evidence.ledger, evidence.insurer, question.hospital)
    if not is_for or evidence.row not in asked.rows or public is None or not signed.is_signed_by(public):
        raise VerificationError("evidence.question")
    if not isinstance(question.answer, Known) or evidence.row is None:
        return None
    _check_known(question.answer, evidence, members[asked.hospital])
    return question.answer


def _check_known(known: Known, evidence: Evidence, hospital: Listed) -> None:
    """Check that an id is that of the insurer's invoice, and of no other (`docs/spec/claim-question.md` 12)."""
    row, invoice, own = evidence.row, known.invoice, hospital.now.invoices
    if row is None or own is None or invoice.issuer not in own.issuers:
        raise VerificationError("claim.invoice")
    asked = (row.fields.issuer, row.scope, row.line)
    if (invoice.issuer, invoice.scope, invoice.line) != asked:
        raise VerificationError("claim.invoice")
    if named_otherwise(row, invoice) != {DATE, NUMBER} & set(known.differs):
        raise VerificationError("claim.invoice")
    generation = own.generation(invoice.day)
    if generation is None or generation.public != known.key:
        raise VerificationError("claim.key")
    if claim_id(vrf_verify(known.key, invoice.alpha, known.proof)) != known.claim_id:
        raise VerificationError("claim.id")
