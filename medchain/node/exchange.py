"""The asker's side of a release: sign a request, open the answer, and believe none of it before our own ledger agrees.

Keeps true: what is returned was sealed to us, is exactly what the access entry on our own final ledger says was
released, and each record is the version that its custodian registered; one that is not refuses the whole answer, by
name (`medchain.node.opening`). The access is noted here as well, so neither side can hide it alone. Trusts this node's
own ledger and keys.
Source: `docs/spec/release.md`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from medchain.encoding import Json
from medchain.errors import ConflictError, InputError, MedchainError, UnavailableError, VerificationError
from medchain.ledger.citation import Citation, Posted
from medchain.ledger.evidence.disclosure import SignedDisclosure
from medchain.ledger.kinds import access as accesses
from medchain.ledger.kinds.access import Access as AccessRow
from medchain.ledger.kinds.access import check_requests, signed_requests
from medchain.ledger.kinds.content import Period
from medchain.ledger.object import ACTIVE, Body, StateRecord
from medchain.ledger.request import CitedClaim, ReleaseRequest, access_key
from medchain.ledger.signed_request import SignedRequest, sign_request
from medchain.ledger.transaction import Ref
from medchain.node.asker import RECEIVED, AskerParts, Extent, access_of, again, common_of, listed, noting_rejected
from medchain.node.disclosed import RecordOpening
from medchain.node.disclosure_opening import DisclosureOpener
from medchain.node.log import Log
from medchain.node.opening import ReceivedRecord, Wrapped, answer_to, root_of
from medchain.node.release import Answer, access_entry_id, parse_claim_answer, wraps_hash
from medchain.node.release_ports import Disclosure

_LOOK_S: Final = 0.05
_LOG: Final = Log("exchange")


@dataclass(frozen=True, slots=True)
class Received:
    """An answer that was opened and agrees with our ledger.

    Attributes:
        request_hash: of our request, 32 bytes.
        access: state record of the access entry.
        records: in the custodian's order.
        following: `ReleaseRequest.after` of a further request, None where there is no more.
        oversized: how many records the custodian left out because each alone is larger than an answer may be.
    """

    request_hash: bytes
    access: StateRecord
    records: tuple[ReceivedRecord, ...]
    following: int | None
    oversized: int = 0


@dataclass(frozen=True, slots=True)
class ClaimWish:
    """What is asked for, for a claim.

    Attributes:
        custodian: org_id of the hospital.
        grant: map key of its grant to us, 32 bytes.
        digest: of the claim, 32 bytes.
        citation: what the claim cites there, and asks.
        purpose: purpose-of-use code.
    """

    custodian: str
    grant: bytes
    digest: bytes
    citation: Citation
    purpose: str = "HPAYMT"


@dataclass(frozen=True, slots=True)
class ReceivedDisclosure:
    """A disclosure that was opened and agrees with our ledger.

    Attributes:
        signed: what the hospital says.
        openings: one for each of its records, in its order.
        access: state record of the access entry.
        request: our signed request, which the entry's body has.
    """

    signed: SignedDisclosure
    openings: tuple[RecordOpening, ...]
    access: StateRecord
    request: SignedRequest[ReleaseRequest]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        custodian: org_id of the organisation that holds the records.
        grant: map key of its grant to us, 32 bytes.
        purpose: purpose-of-use code.
        extent: how much.
        period: dates of records; None for all.
    """

    custodian: str
    grant: bytes
    purpose: str
    extent: Extent
    period: Period | None = None


class Asker:
    """Asks other organisations for records. Threads may share it."""

    __slots__ = ("_opener", "_parts")

    def __init__(self, parts: AskerParts) -> None:
        """Use parts.

        Args:
            parts: what it is made from.
        """
        self._parts = parts
        self._opener = parts.opener()

    def request_release(self, wish: Wish) -> Received:
        """Ask for records, and open what comes; arguments and errors as in `prepare` and `fetch`."""
        return self.fetch(self.prepare(wish))

    def prepare(self, wish: Wish) -> SignedRequest[ReleaseRequest]:
        """Sign a request; who keeps it can send it again while it is young, also after a crash.

        Args:
            wish: what is asked for.

        Returns:
            The signed request.

        Raises:
            UnavailableError: ``exchange.key`` while the ledger lists no encryption key that we hold.
        """
        parts = self._parts
        request = ReleaseRequest(
            **common_of(parts, wish.custodian, self._opener.key_of(parts.org_id), wish.extent),
            grant=wish.grant,
            purpose=wish.purpose,
            period=wish.period,
        )
        return sign_request(parts.authentication, request)

    def fetch(self, signed: SignedRequest[ReleaseRequest]) -> Received:
        """Send a request, open the answer and compare it with our own ledger.

        Args:
            signed: from `prepare`.

        Returns:
            The records.

        Raises:
            NotFoundError: ``release.nothing``: not permitted or not there, which is not told apart.
            ConflictError: ``release.replayed`` for a request that was answered before.
            AccessDeniedError: what is wrong with the request itself.
            VerificationError: ``exchange.*``: the answer is not what the ledger says; ``exchange.record`` names the
                record. Nothing of it is returned, and it is noted.
            UnavailableError: the way, our own ledger is behind, or the audit cannot keep it.
        """
        request, custodian = signed.request, signed.request.custodian
        data = again(lambda: self._parts.custodians.release(custodian, signed.encode()), custodian)
        with noting_rejected(custodian, partial(self._note, request, None)):
            received = self.open(signed, data)
        self._note(request, received.access, RECEIVED, listed(received.records))
        access, peer = received.access, self._parts.ledger.members.organisations[custodian]
        disclosure = Disclosure(request, Ref(access.key, access.version), access.refs, peer)
        self._parts.received(disclosure, received.records)
        return received

    def open(self, signed: SignedRequest[ReleaseRequest], data: bytes) -> Received:
        """Open an answer, however it came; arguments and errors as in `fetch`."""
        request = signed.request
        answer = answer_to(request.hash, data)
        entry, row, wrapped = self._entered(signed, answer.access_version)
        anchors = self._opener.anchors(request.custodian, answer)
        self._compare(answer, row, anchors)
        records = self._opener.records(answer, anchors, wrapped)
        return Received(request.hash, entry, records, answer.following, answer.oversized)

    def request_disclosure(self, wish: ClaimWish) -> ReceivedDisclosure:
        """Ask for what a claim needs of records; arguments and errors as in the next two."""
        return self.fetch_disclosure(self.prepare_disclosure(wish))

    def prepare_disclosure(self, wish: ClaimWish) -> Posted:
        """Sign a request for a claim, as `prepare` does.

        Args:
            wish: what is asked for.

        Returns:
            What is to be posted.

        Raises:
            UnavailableError: as `prepare`.
        """
        parts = self._parts
        extent = Extent(wish.citation.resource_types)
        request = ReleaseRequest(
            **common_of(parts, wish.custodian, self._opener.key_of(parts.org_id), extent),
            grant=wish.grant,
            purpose=wish.purpose,
            period=None,
            claim=CitedClaim(wish.digest, wish.citation.hash),
        )
        return Posted(sign_request(parts.authentication, request), wish.citation)

    def fetch_disclosure(self, posted: Posted) -> ReceivedDisclosure:
        """Send a request for a claim, open the answer and compare it with our own ledger.

        Args:
            posted: from `prepare_disclosure`.

        Returns:
            What was disclosed.

        Raises:
            VerificationError: as `fetch`, and ``exchange.disclosure`` with the ``reason`` for what is said of another
                claim or request, or is not signed as it should be.
            MedchainError: as `fetch`.
        """
        signed = posted.signed
        request, custodian = signed.request, signed.request.custodian
        data = again(lambda: self._parts.custodians.release(custodian, posted.encode()), custodian)
        with noting_rejected(custodian, partial(self._note, request, None)):
            received = self.open_disclosure(posted, data)
        shown: list[Json] = [[one.object_id.hex(), one.version] for one in received.openings]
        claim = "" if request.claim is None else request.claim.digest.hex()
        self._note(request, received.access, RECEIVED, {"claim": claim, "records": shown})
        access, peer = received.access, self._parts.ledger.members.organisations[custodian]
        disclosure = Disclosure(request, Ref(access.key, access.version), access.refs, peer)
        rows = zip(received.signed.disclosure.records, received.openings, strict=True)
        self._parts.received_in_part(disclosure, [(row.reference, one.version) for row, one in rows])
        return received

    def open_disclosure(self, posted: Posted, data: bytes) -> ReceivedDisclosure:
        """Open an answer to a request for a claim, however it came; arguments and errors as in `fetch_disclosure`."""
        signed = posted.signed
        try:
            answer = parse_claim_answer(data)
        except InputError as error:
            raise VerificationError("exchange.format", reason=error.code) from error
        if answer.request_hash != signed.request.hash:
            raise VerificationError("exchange.request")
        entry, row, wrapped = self._entered(signed, answer.access_version)
        if wraps_hash(answer.sealed) != row.wraps_hash:
            raise VerificationError("exchange.wraps")
        opener = DisclosureOpener(self._parts.ledger, self._parts.encryption)
        disclosed = opener.open(posted, answer.sealed, wrapped, row)
        return ReceivedDisclosure(disclosed.signed, disclosed.openings, entry, signed)

    def _entered(self, signed: SignedRequest[ReleaseRequest], version: int) -> tuple[StateRecord, AccessRow, Wrapped]:
        """Find our request in an access entry that our own ledger has, under a grant that holds; waits for both."""
        request = signed.request
        key = access_key(request.grant, request.custodian)
        entry = self._entry(key, version)
        grant = next((ref for ref in entry.refs if ref.key == request.grant), None)
        if grant is None:
            raise VerificationError("exchange.access", reason="grant")
        self._rely(grant)
        row = self._row(signed, entry)
        return entry, row, Wrapped(request.hash, access_entry_id(key, entry.version), request.encryption_key)

    def _entry(self, key: bytes, version: int) -> StateRecord:
        """Wait until our own final ledger has the access entry."""
        found = self._awaited(key, version)
        if found is None:
            raise VerificationError("exchange.access", version=version)
        return found

    def _awaited(self, key: bytes, version: int) -> StateRecord | None:
        """Wait until a version of an object is final here; None if it does not come."""
        ledger = self._parts.ledger

        def look() -> StateRecord | None:
            head, final = ledger.record(key), ledger.final()
            if head is None or head.version < version or final is None:
                return None
            found = head if head.version == version else ledger.version(key, version)
            return found if found is not None and found.since < final.size else None

        return ledger.until(look, self._parts.wait_s)

    def _delivered(self, entry: StateRecord) -> Body | None:
        """Wait for an entry's body, which may come after it: who did not take it is offered it again."""
        deadline = time.monotonic() + self._parts.wait_s
        while (body := self._parts.bodies.at(entry.key, entry.version)) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return body

    def _row(self, signed: SignedRequest[ReleaseRequest], entry: StateRecord) -> AccessRow:
        """Find our request in the access entry's body, which must be here: both sides hold the log of accesses."""
        body = self._delivered(entry)
        if body is None or body.body_hash != entry.body_hash or entry.status != ACTIVE:
            raise VerificationError("exchange.access", version=entry.version)
        try:
            listed, requests = accesses.read(body.content), signed_requests(body)
            check_requests(listed, requests, signed.request.custodian)
        except (InputError, VerificationError) as error:
            # Made up, used twice, or dated back: an entry that others would be shown is refused by who has signed.
            raise VerificationError("exchange.access", reason=error.code) from error
        if listed.grant != signed.request.grant:
            raise VerificationError("exchange.access", reason="grant")
        rows = [row for row in listed.accesses if row.request_hash == signed.request.hash]
        if len(rows) != 1 or signed not in requests:
            raise VerificationError("exchange.access", reason="request")
        return rows[0]

    def _rely(self, grant: Ref) -> None:
        """Check the grant, and the patient's signature under its consent, ourselves; their bodies may still come."""
        deadline = time.monotonic() + self._parts.wait_s
        while True:
            try:
                return self._parts.relies(grant)
            except UnavailableError as error:
                if time.monotonic() >= deadline:
                    raise VerificationError("exchange.consent", reason=error.code) from error
                time.sleep(_LOOK_S)
            except MedchainError as error:
                _LOG.warning("exchange.not_relied", reason=error.code)
                raise VerificationError("exchange.consent", reason=error.code) from error

    def _compare(self, answer: Answer, row: AccessRow, anchors: Sequence[StateRecord]) -> None:
        """Compare what came with what the access entry says was released."""
        if wraps_hash(answer.wraps) != row.wraps_hash:
            raise VerificationError("exchange.wraps")
        if (len(anchors), root_of(anchors)) != (row.count, row.commitments_root):
            raise VerificationError("exchange.records", count=len(anchors))

    def _note(
        self, request: ReleaseRequest, entry: StateRecord | None, direction: str, more: Mapping[str, Json]
    ) -> None:
        """Note what came; the same request is noted once in each direction."""
        access: Json = None if entry is None else [entry.key.hex(), entry.version]
        grant = request.grant.hex()
        detail: dict[str, Json] = {"access": access, "grant": grant, **more}
        row = access_of(request, direction, grant, self._parts.clock(), detail)
        try:
            self._parts.records.put_accesses([replace(row, position=None if entry is None else entry.since)])
        except ConflictError:
            return
