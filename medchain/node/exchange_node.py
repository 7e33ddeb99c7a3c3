"""One node's exchange side, put together: custodian, asker and subjects' desk over its ledger side.

What runs in the daemon beside `medchain.node.ledger_node`, with the local operations that web workers and the command
line ask for. Keeps true: each operation reads its document strictly; records leave this process only to the node's own
workers. Trusts the local channel for who calls.
Source: `docs/spec/release.md`, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo

import orjson

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import Json, base64_text, members, unhex
from medchain.ledger.kinds.content import Period, names, period
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.asker import AskerParts, Custodians, Extent
from medchain.node.clock import Clock
from medchain.node.correspondence import Correspondence
from medchain.node.custodian import Custodian
from medchain.node.daemon import Job
from medchain.node.dispatching import Channel
from medchain.node.drafts import Assertion, ToSign
from medchain.node.emergency import EmergencyBook
from medchain.node.emergency_asking import EmergencyAsker, EmergencyReceived, EmergencyWish
from medchain.node.emergency_release import EmergencyCustodian
from medchain.node.emergency_watch import EmergencyWatch
from medchain.node.endorse import Identity
from medchain.node.erasure_job import ErasureJob
from medchain.node.exchange import Asker, Received, Wish
from medchain.node.exchange_client import FOR_CLAIM, GRANTS, IN_EMERGENCY, OF_PATIENT, REQUEST, UNDER_MANDATE
from medchain.node.grant_search import GrantDesk, GrantFinder
from medchain.node.ledger_node import LedgerNode
from medchain.node.mandates import MandateDesk
from medchain.node.notices import NoticeBook
from medchain.node.opening import ReceivedRecord
from medchain.node.own_consents import OwnConsents
from medchain.node.patient_view import PatientView
from medchain.node.records import RecordService
from medchain.node.release_ports import ClaimSide, CustodianParts, SubmittedAccess
from medchain.node.releasing import Releasing
from medchain.node.relying import Reliance
from medchain.node.statements import StatementBook
from medchain.node.subject_changes import SubjectChanges
from medchain.node.subject_operations import (
    SubjectOperations,
    contacts,
    credential,
    delegate,
    draft_json,
    placed,
    read_assertion,
    read_draft,
)
from medchain.node.subjects import Enrolment, LinkedPatients, SubjectDesk, SubjectParts, Terms
from medchain.store.records import RecordStore


@dataclass(frozen=True, slots=True)
class ExchangeSurroundings:
    """What a node's exchange side is made from.

    Attributes:
        side: the node's ledger side.
        records: the records file.
        service: opens records.
        authentication: signs requests.
        releasing: what decides requests.
        custodians: the way to other organisations' records.
        clock: gives Unix seconds.
        zone: of dates in records that name none.
        channels: ways to people.
        portal: address of this organisation's own portal; empty for the one that the ledger names.
    """

    side: LedgerNode
    records: RecordStore
    service: RecordService
    authentication: Es384Signer
    releasing: Releasing
    custodians: Custodians
    clock: Clock
    zone: tzinfo = UTC
    channels: Sequence[Channel] = ()
    portal: str = ""


class ExchangeNode:
    """The exchange side of one node.

    Attributes:
        custodian: releases records.
        asker: asks others for theirs.
        finder: finds the grants of others to this organisation.
        desk: enrols patients, and makes consents ready to be signed.
        changes: changes subjects, recovers them, joins them to patients.
        notices: what people are to be told.
        erasure: carries out what erasures leave to do.
        statements: accounts of what was released, and statements that it was erased.
        emergencies: brings what was looked at in emergencies to the ledger, and keeps their reviews.
        watch: looks for what other organisations must tell of emergencies.
    """

    def __init__(self, identity: Identity, around: ExchangeSurroundings) -> None:
        """Put the parts together.

        Args:
            identity: organisation and keys.
            around: files, clock and ways to others.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        side = around.side
        releases = _releases(identity, around)
        self.custodian = Custodian(releases)
        self._emergency_custodian = EmergencyCustodian(releases)
        self._service = around.service
        self._desk = GrantDesk(releases, side.shelf.index.of, side.shelf.index.mandates)
        self._mandates = MandateDesk(identity.org_id, side, secrets.token_bytes)
        self.finder = _finder(identity, around)
        asking = _asking(identity, around)
        self.asker, self._emergency_asker = Asker(asking), EmergencyAsker(asking)
        parts = SubjectParts(
            org_id=identity.org_id,
            ledger_id=side.replica.ledger,
            bodies=side.shelf,
            submitter=side.submitter,
            stops=side.stops,
            records=around.records,
            service=around.service,
            clock=around.clock,
            random=secrets.token_bytes,
        )
        self.desk = SubjectDesk(parts)
        self.changes = SubjectChanges(parts, side.judge)
        self._subjects = SubjectOperations(self.changes, side)
        self._view = PatientView(identity.org_id, side)
        self.statements = StatementBook(side.judge, around.records, side.submitter, side.stops, secrets.token_bytes)
        reached = [channel.name for channel in around.channels]
        self.notices = NoticeBook(side.judge, around.records, around.service, reached)
        self._letters = Correspondence(side, around.records, self.notices, around.channels, around.portal)
        self.emergencies = EmergencyBook(side.judge, around.records, side.submitter, self.notices, secrets.token_bytes)
        self.watch = EmergencyWatch(side.judge, around.records, self.emergencies)
        self.erasure = ErasureJob(
            side.judge,
            around.records,
            side.submitter,
            side.stops,
            side.deliveries,
            around.service.patient_token,
            side.driver.cosigner.is_past,
        )

    def jobs(self) -> tuple[Job, ...]:
        """Return what runs for as long as the daemon."""
        return (
            Job("erasure", self.erasure.run),
            Job("emergency", self.emergencies.run),
            Job("emergency-watch", self.watch.run),
            Job("statements", self.statements.run),
            Job("notices", self.notices.run),
            *self._letters.jobs(),
        )

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {
            "consent.attest": self._attest_consent,
            "consent.draft": self._draft_consent,
            GRANTS: self._grants,
            OF_PATIENT: self._grants_of_patient,
            UNDER_MANDATE: self._grants_of_mandate,
            FOR_CLAIM: self._grants_for_claim,
            IN_EMERGENCY: self._request_in_emergency,
            "consent.give": self._give_consent,
            "grant.give": self._give_grant,
            "patient": self._patient,
            REQUEST: self._request,
            "subject.enrol": self._enrol,
            "withdrawal.attest": self._attest_withdrawal,
            "withdrawal.draft": self._draft_withdrawal,
            "withdrawal.give": self._withdraw,
            **self._subjects.operations(),
            **self._view.operations(),
            **self.emergencies.operations(),
            **self.statements.operations(),
            **self.notices.operations(),
            **self._letters.operations(),
            **self._mandates.operations(),
        }

    def release(self, document: bytes, peer: str) -> bytes:
        """Answer another organisation's request for records; see `Custodian.release`."""
        return self.custodian.release(document, peer)

    def emergency(self, document: bytes, peer: str) -> bytes:
        """Answer another organisation's request in an emergency; see `EmergencyCustodian.release`."""
        return self._emergency_custodian.release(document, peer)

    def grants(self, document: bytes, peer: str) -> Json:
        """Answer another organisation's question about its grants; see `GrantDesk.find`."""
        return self._desk.find(document, peer)

    def _grants(self, document: Json) -> Json:
        """Ask another organisation which of its grants to this one are about a record."""
        required = {"about": str, "custodian": str, "purpose": str, "resource_types": list}
        top = members(document, required, {"claim": str})
        custodian, about, purpose = str(top["custodian"]), str(top["about"]), str(top["purpose"])
        found = self.finder.about(custodian, about, purpose, names(top["resource_types"]), _claim_of(top))
        return {"grants": [{"grant": key.hex(), "patient": self.finder.patient_of(key)} for key in found]}

    def _grants_of_patient(self, document: Json) -> Json:
        """List the grants of other organisations to this one about a patient of this node."""
        top = members(document, {"patient": str, "purpose": str, "resource_types": list}, {"claim": str})
        token, types = self._service.patient_token(str(top["patient"])), names(top["resource_types"])
        found = self.finder.of_patient(token, str(top["purpose"]), types, _claim_of(top))
        return {"grants": [{"custodian": custodian, "grant": key.hex(), "patient": token} for custodian, key in found]}

    def _grants_of_mandate(self, document: Json) -> Json:
        """List the grants of other organisations to this one under a mandate of the law."""
        top = members(document, {"mandate": str, "purpose": str, "resource_types": list})
        mandate, types = unhex(top["mandate"], HASH_BYTES), names(top["resource_types"])
        found = self.finder.of_mandate(mandate, str(top["purpose"]), types)
        return {"grants": [{"custodian": custodian, "grant": key.hex(), "patient": ""} for custodian, key in found]}

    def _grants_for_claim(self, document: Json) -> Json:
        """List the grants of other organisations to this one for one claim alone."""
        found = self.finder.for_claim(unhex(members(document, {"claim": str})["claim"], HASH_BYTES))
        return {"grants": [{"custodian": custodian, "grant": key.hex()} for custodian, key in found]}

    def _request(self, document: Json) -> Json:
        """Ask another organisation for records."""
        required = {"custodian": str, "grant": str, "purpose": str, "resource_types": list}
        top = members(document, required, {"after": int, "count": int, "period": dict, "query": str})
        wish = Wish(
            custodian=str(top["custodian"]),
            grant=unhex(top["grant"], HASH_BYTES),
            purpose=str(top["purpose"]),
            extent=_extent(top),
            period=_period(top.get("period")),
        )
        return received_json(self.asker.request_release(wish))

    def _request_in_emergency(self, document: Json) -> Json:
        """Ask another organisation for records, in an emergency that somebody here has declared."""
        required = {"after": int, "count": int, "declaration": str, "patient": str, "query": str}
        top = members(document, required | {"resource_types": list, "staff": str})
        wish = EmergencyWish(
            declaration=unhex(top["declaration"], ID_BYTES),
            staff=str(top["staff"]),
            extent=_extent(top),
            patient=str(top["patient"]),
        )
        return emergency_json(self._emergency_asker.request(wish))

    def _patient(self, document: Json) -> Json:
        """Join a subject to a patient of this node."""
        top = members(document, {"patient": str, "subject": str})
        self.desk.link(unhex(top["subject"], HASH_BYTES), str(top["patient"]))
        return {"linked": True}

    def _enrol(self, document: Json) -> Json:
        """Enrol a patient."""
        required = {"credentials": list, "custodians": list, "method": str, "patient": str}
        top = members(document, required, {"contacts": list, "guardians": list, "of_age": int, "staff": list})
        rows, guardians = top["credentials"], top.get("guardians", [])
        of_age = top.get("of_age")
        more = Enrolment(
            contacts=contacts(top.get("contacts", [])),
            of_age=of_age if isinstance(of_age, int) else None,
            guardians=[delegate(row) for row in (guardians if isinstance(guardians, list) else [])],
            staff=names(top["staff"]) if "staff" in top else (),
        )
        done = self.desk.enrol(
            str(top["patient"]),
            [credential(row) for row in (rows if isinstance(rows, list) else [])],
            str(top["method"]),
            names(top["custodians"], at_least=0),
            more,
        )
        return placed(done)

    def _draft_consent(self, document: Json) -> Json:
        """Draft a consent to be signed."""
        required = {"custodians": list, "fhir": dict, "period": dict, "purpose": str, "recipient": str}
        required |= {"resource_types": list, "subject": str}
        top = members(document, required, {"acting_for": str, "data_period": dict, "joined": list})
        joined = top.get("joined", [])
        acting_for = top.get("acting_for")
        terms = Terms(
            custodians=names(top["custodians"]),
            recipient=str(top["recipient"]),
            purpose=str(top["purpose"]),
            resource_types=names(top["resource_types"]),
            period=period(top["period"]),
            fhir=top["fhir"] if isinstance(top["fhir"], dict) else {},
            data_period=_period(top.get("data_period")),
            acting_for=None if acting_for is None else unhex(acting_for, HASH_BYTES),
            joined=[unhex(row, HASH_BYTES) for row in (joined if isinstance(joined, list) else [])],
        )
        return draft_json(self.desk.draft_consent(unhex(top["subject"], HASH_BYTES), terms))

    def _give_consent(self, document: Json) -> Json:
        """Submit a consent that was signed."""
        draft, assertions = _signed(document)
        return placed(self.desk.give_consent(draft, *assertions))

    def _attest_consent(self, document: Json) -> Json:
        """Submit a consent that the patient has signed on paper."""
        top = members(document, {"draft": str, "staff": list})
        return placed(self.desk.attest_consent(read_draft(top["draft"]), names(top["staff"])))

    def _draft_withdrawal(self, document: Json) -> Json:
        """Draft a withdrawal to be signed."""
        top = members(document, {"consent": str}, {"signer": str})
        signer = None if top.get("signer") is None else unhex(top["signer"], HASH_BYTES)
        return draft_json(self.desk.draft_withdrawal(unhex(top["consent"], HASH_BYTES), signer))

    def _withdraw(self, document: Json) -> Json:
        """Stop a consent with the patient's signature; binding when it answers."""
        draft, assertions = _signed(document)
        self.desk.withdraw(draft, assertions[0])
        return {"object": draft.object.hex(), "stopped": True}

    def _attest_withdrawal(self, document: Json) -> Json:
        """Stop a consent because the patient wishes it, as two members of staff attest; binding when it answers."""
        top = members(document, {"consent": str, "staff": list, "subject": str})
        consent, subject = unhex(top["consent"], HASH_BYTES), unhex(top["subject"], HASH_BYTES)
        self.desk.attest_withdrawal(consent, subject, names(top["staff"]))
        return {"object": consent.hex(), "stopped": True}

    def _give_grant(self, document: Json) -> Json:
        """Let a consent's recipient read what this node holds."""
        top = members(document, {"consent": str}, {"period": dict, "resource_types": list})
        types = None if top.get("resource_types") is None else names(top["resource_types"])
        return placed(self.desk.give_grant(unhex(top["consent"], HASH_BYTES), types, _period(top.get("period"))))


def _releases(identity: Identity, around: ExchangeSurroundings) -> CustodianParts:
    """Put together what a custodian is made from."""
    side, ledger, signer = around.side, around.side.replica.store, around.authentication
    return CustodianParts(
        org_id=identity.org_id,
        ledger_id=side.replica.ledger,
        ledger=ledger,
        records=around.records,
        service=around.service,
        bodies=side.shelf,
        access=SubmittedAccess(identity.org_id, ledger, side.submitter),
        decision=around.releasing.rules,
        patients=LinkedPatients(around.records),
        inside=OwnConsents(identity.org_id, side, around.records, around.clock).inside,
        is_stopped=side.stops.is_stopped,
        relies=Reliance(side.judge, side.verdicts).check,
        released=around.releasing.disclosures.released,
        refused=around.releasing.disclosures.refused,
        clock=around.clock,
        random=secrets.token_bytes,
        zone=around.zone,
        selection=around.releasing.selection,
        emergencies=around.releasing.emergencies,
        claims=None if around.releasing.claim_facts is None else ClaimSide(around.releasing.claim_facts, signer),
    )


def _asking(identity: Identity, around: ExchangeSurroundings) -> AskerParts:
    """Put together what asks others for records."""
    return AskerParts(
        org_id=identity.org_id,
        ledger_id=around.side.replica.ledger,
        authentication=around.authentication,
        encryption=identity.encryption,
        ledger=around.side.replica.store,
        records=around.records,
        bodies=around.side.shelf,
        custodians=around.custodians,
        relies=Reliance(around.side.judge, around.side.verdicts).check,
        received=around.releasing.disclosures.received,
        received_in_part=around.releasing.disclosures.received_in_part,
        clock=around.clock,
    )


def _claim_of(top: Mapping[str, Json]) -> bytes | None:
    """Read for which claim grants are looked for; None for records."""
    return unhex(top["claim"], HASH_BYTES) if "claim" in top else None


def _finder(identity: Identity, around: ExchangeSurroundings) -> GrantFinder:
    """Put together what finds the grants of others."""
    shelf = around.side.shelf
    return GrantFinder(
        org_id=identity.org_id,
        ledger_id=around.side.replica.ledger,
        ledger=around.side.replica.store,
        records=around.records,
        bodies=shelf,
        below=shelf.index.of,
        ways=around.custodians,
        clock=around.clock,
        mandates=shelf.index.mandates,
        of_claim=shelf.index.of_claim,
        added=lambda: shelf.index.added,
    )


def received_json(received: Received) -> Json:
    """Write what was received, for the node's own workers."""
    access = received.access
    return _received_json(received, {"key": access.key.hex(), "position": access.since, "version": access.version})


def emergency_json(received: EmergencyReceived) -> Json:
    """Write the same of what was received in an emergency, whose entry is still to come."""
    return _received_json(received, {"key": received.entry.hex(), "position": None, "version": 1})


def _received_json(received: Received | EmergencyReceived, access: Json) -> Json:
    """Write what was received, with the entry of the ledger that tells of it."""
    return {
        "access": access,
        "following": received.following,
        "oversized": received.oversized,
        "records": [_record_json(record) for record in received.records],
        "request_hash": received.request_hash.hex(),
    }


def _record_json(record: ReceivedRecord) -> Json:
    """Write one record; type and id are what its own content says."""
    try:
        content = orjson.loads(record.content) if record.content_type.endswith("json") else {}
    except orjson.JSONDecodeError:
        # What its custodian registered is what it is, and must not keep the other records from being shown.
        content = {}
    shown = content if isinstance(content, dict) else {}
    return {
        "commitment": record.commitment.hex(),
        "content": base64_text(record.content),
        "content_type": record.content_type,
        "creator": record.creator,
        "id": str(shown.get("id", "")),
        "newest": record.is_newest,
        "object_id": record.object_id.hex(),
        "position": record.position,
        "salt": record.salt.hex(),
        "type": str(shown.get("resourceType", "")),
        "version": record.version,
    }


def _signed(document: Json) -> tuple[ToSign, list[Assertion]]:
    """Read a draft with the passkeys' answers: ``assertion``, and ``joined`` where several sign."""
    top = members(document, {"assertion": dict, "draft": str}, {"joined": list})
    joined = top.get("joined", [])
    rows = [top["assertion"], *(joined if isinstance(joined, list) else [])]
    return read_draft(top["draft"]), [read_assertion(row) for row in rows]


def _extent(top: Mapping[str, Json]) -> Extent:
    """Read how much is asked for."""
    after, count = top.get("after"), top.get("count")
    return Extent(
        resource_types=names(top["resource_types"]),
        after=after if isinstance(after, int) else 0,
        query=str(top.get("query", "")),
        count=count if isinstance(count, int) else None,
    )


def _period(value: Json) -> Period | None:
    """Read a period that may be absent; raises `InputError` ``content.period``."""
    return None if value is None else period(value)
