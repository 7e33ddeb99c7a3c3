"""Keeps what goes from one organisation to another on the audit's journal, at either side: BALP's Privacy Disclosure.

Keeps true: what this node releases, or is given, is on the journal before a byte leaves, or anybody here is given it,
with who asked, for what and by which entry of the ledger; so is each invoice that an insurer has asked for. Trusts
`fhir_bridge.audit`.
Source: IHE BALP 1.1.4, Privacy Disclosure; `docs/spec/audit.md` 9, 11, `docs/spec/release.md` 13, 17.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from fhir_bridge.audit import MAX_ELSEWHERE, QUESTION, RECEIVE, RELEASE, JournalAudit
from fhir_bridge.document import Resource, parse
from fhir_bridge.elsewhere import ACCESS, EMERGENCY, base_of
from fhir_bridge.references import patient_of, pointed
from fhir_bridge.rest.ask import Ask, Trail
from fhir_bridge.smart.access import Access
from fhir_bridge.validation.wording import CODE_SYSTEM
from medchain.encoding import digest
from medchain.errors import InputError
from medchain.ledger.citation import parse_posted
from medchain.ledger.emergency_request import EmergencyRequest
from medchain.ledger.members import Members, Organisation
from medchain.ledger.request import ReleaseRequest
from medchain.ledger.signed_request import parse_request
from medchain.node.opening import ReceivedRecord
from medchain.node.release_ports import Disclosure, Refused
from medchain.store.records import FHIR_JSON, RecordStore

GRANT: Final = "urn:medchain:grant"
"""System of grants: map key in hex, a slash and the version."""

CLAIM: Final = "urn:medchain:claim"
"""System of an insurer's claims for which fields of records are disclosed: digest in hexadecimal."""

CONSENT: Final = "urn:medchain:consent"
"""System of the ledger's consents, likewise."""

OBJECT: Final = "urn:medchain:object"
"""System of records that name themselves nowhere, such as scans: id of the object on the ledger, and the version."""

PAYMENT: Final = "HPAYMT"
"""Purpose of who asks for invoices, v3-ActReason."""

_DONE: Final = 200
_REFUSED: Final = 403
_PATIENT: Final = "Patient"


class KeptDisclosures:
    """Fills `medchain.node.releasing.Disclosures`. Threads may share it."""

    __slots__ = ("_audit", "_members", "_org_id", "_records")

    def __init__(self, audit: JournalAudit, org_id: str, members: Callable[[], Members], records: RecordStore) -> None:
        """Use an audit.

        Args:
            audit: where they are kept.
            org_id: this organisation.
            members: gives those of this moment.
            records: knows which Patient a token is.
        """
        self._records = records
        self._audit = audit
        self._org_id = org_id
        self._members = members

    def released(self, disclosure: Disclosure, numbers: Sequence[int]) -> None:
        """Keep a release; raises `UnavailableError` ``store.full``, ``store.io``."""
        trail = Trail(RELEASE, numbers=list(numbers), basis=_basis(disclosure))
        self._keep(disclosure.request, disclosure.peer, trail)

    def received(self, disclosure: Disclosure, records: Sequence[ReceivedRecord]) -> None:
        """Keep what came; raises as `released`."""
        base = base_of(disclosure.peer.org_id, disclosure.peer.origins)
        read = [(one, _resource(one)) for one in records]
        whose = [patient_of(str(found.get("resourceType")), str(found.get("id")), found) for _, found in read]
        patient = [f"{base}/{_PATIENT}/{one}" for one in whose if one][:1]
        size = MAX_ELSEWHERE - len(patient)
        for start in range(0, len(read), size):
            part = read[start : start + size]
            named = [
                f"{base}/{found['resourceType']}/{found['id']}/_history/{one.version}" for one, found in part if found
            ]
            unnamed = [f"{OBJECT}|{one.object_id.hex()}/{one.version}" for one, found in part if not found]
            basis = (*_basis(disclosure), *unnamed)
            self._keep(disclosure.request, disclosure.peer, Trail(RECEIVE, elsewhere=[*patient, *named], basis=basis))

    def received_in_part(self, disclosure: Disclosure, records: Sequence[tuple[str, int]]) -> None:
        """Keep what came for a claim; raises as `released`."""
        base = base_of(disclosure.peer.org_id, disclosure.peer.origins)
        named = [f"{base}/{reference}/_history/{version}" for reference, version in records]
        for start in range(0, len(named), MAX_ELSEWHERE):
            trail = Trail(RECEIVE, elsewhere=named[start : start + MAX_ELSEWHERE], basis=_basis(disclosure))
            self._keep(disclosure.request, disclosure.peer, trail)

    def refused(self, refused: Refused) -> None:
        """Keep a refusal; raises as `released`."""
        found = self._records.by_patient(refused.patient, {_PATIENT}, limit=1) if refused.patient else []
        whose, reason = [f"{_PATIENT}/{one.id}" for one in found], f"{CODE_SYSTEM}|{refused.reason}"
        trail = Trail(RELEASE, elsewhere=whose, basis=(reason,))
        peer = self._members().organisations.get(refused.peer)
        if peer is None:
            return
        request = _asked(refused.document)
        if request is None:
            # A question about grants, or what nobody can read: who asked, and of whom, is known all the same.
            digested = digest("medchain/refused-document/v1", refused.document).hex()
            self._note(trail, Access(peer.org_id, ()), peer, digested, _REFUSED)
        else:
            self._keep(request, peer, trail, _REFUSED)

    def questioned(self, peer: str, question: bytes, numbers: Sequence[int], *, is_known: bool) -> None:
        """Keep that invoices were asked for; see `medchain.claims.register.Questions`; raises as `released`."""
        trail = Trail(QUESTION, numbers=list(numbers))
        access = Access(peer, (), asked_for=PAYMENT)
        ask = Ask("POST", "", fields={}, access=access, request_id=question.hex(), trail=trail)
        self._audit.note(ask, _DONE if is_known else _REFUSED)

    def _keep(
        self, request: ReleaseRequest | EmergencyRequest, peer: Organisation, trail: Trail, status: int = _DONE
    ) -> None:
        """Keep an event of a request."""
        trail.query = f"{','.join(request.resource_types)}?{request.query}"
        self._note(trail, Access(peer.org_id, (), asked_for=request.purpose), peer, request.hash.hex(), status)

    def _note(self, trail: Trail, access: Access, peer: Organisation, request_id: str, status: int) -> None:
        """Keep an event."""
        trail.places = (self._members().organisations[self._org_id].url, peer.url)
        ask = Ask("POST", "", fields={}, access=access, request_id=request_id, trail=trail)
        self._audit.note(ask, status)


def _asked(document: bytes) -> ReleaseRequest | EmergencyRequest | None:
    """Read what was asked for; None for what is no request."""
    with suppress(InputError):
        return parse_posted(document).signed.request
    with suppress(InputError):
        return parse_request(EmergencyRequest, document).request
    return None


def _basis(disclosure: Disclosure) -> tuple[str, ...]:
    """Name grant, consent and access entry; or the emergency."""
    if isinstance(disclosure.request, EmergencyRequest):
        return (f"{EMERGENCY}|{disclosure.access.key.hex()}/{disclosure.access.version}",)
    request = disclosure.request
    named = [(GRANT if ref.key == request.grant else CONSENT, ref) for ref in disclosure.refs]
    claim = () if request.claim is None else (f"{CLAIM}|{request.claim.digest.hex()}",)
    rows = [*named, (ACCESS, disclosure.access)]
    return (*(f"{system}|{ref.key.hex()}/{ref.version}" for system, ref in rows), *claim)


def _resource(record: ReceivedRecord) -> Resource:
    """Read a record that names itself; empty for any other."""
    if record.content_type != FHIR_JSON:
        return {}
    try:
        found = parse(record.content)
    except InputError:
        # What its custodian registered is what it is; who shows it judges it.
        return {}
    is_named = pointed(f"{found.get('resourceType')}/{found.get('id')}", frozenset()) is not None
    return found if is_named else {}
