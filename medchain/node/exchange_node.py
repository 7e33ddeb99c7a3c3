"""One node's exchange side, put together: custodian, asker and subjects' desk over its ledger side.

What runs in the daemon beside `medchain.node.ledger_node`, with the local operations that web workers and the command
line ask for. Keeps true: each operation reads its document strictly; records leave this process only to the node's own
workers. Trusts the local channel for who calls.
Source: `docs/spec/release.md`, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import Json, base64_text, members, unbase64, unhex
from medchain.ledger.kinds.content import Period, names, period
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.clock import Clock
from medchain.node.custodian import Custodian
from medchain.node.daemon import Job
from medchain.node.endorse import Identity
from medchain.node.erasure_job import ErasureJob
from medchain.node.exchange import Asker, AskerParts, Custodians, Received, ReceivedRecord, Wish
from medchain.node.ledger_node import LedgerNode
from medchain.node.records import RecordService
from medchain.node.release_ports import CustodianParts, ReleaseDecision, SubmittedAccess
from medchain.node.subjects import (
    Assertion,
    Credential,
    LinkedPatients,
    SubjectDesk,
    SubjectParts,
    Terms,
    ToSign,
)
from medchain.node.submit import Submitted
from medchain.store.records import RecordStore


@dataclass(frozen=True, slots=True)
class ExchangeSurroundings:
    """What a node's exchange side is made from.

    Attributes:
        side: the node's ledger side.
        records: the records file.
        service: opens records.
        authentication: signs requests.
        rules: the decision on requests.
        custodians: the way to other organisations' records.
        clock: gives Unix seconds.
    """

    side: LedgerNode
    records: RecordStore
    service: RecordService
    authentication: Es384Signer
    rules: ReleaseDecision
    custodians: Custodians
    clock: Clock


class ExchangeNode:
    """The exchange side of one node.

    Attributes:
        custodian: releases records.
        asker: asks others for theirs.
        desk: enrols patients, and makes consents ready to be signed.
        erasure: carries out what erasures leave to do.
    """

    def __init__(self, identity: Identity, around: ExchangeSurroundings) -> None:
        """Put the parts together.

        Args:
            identity: organisation and keys.
            around: files, clock and ways to others.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        side, ledger = around.side, around.side.replica.store
        ledger_id = side.replica.ledger
        self.custodian = Custodian(
            CustodianParts(
                org_id=identity.org_id,
                ledger_id=ledger_id,
                ledger=ledger,
                records=around.records,
                service=around.service,
                bodies=side.shelf,
                access=SubmittedAccess(identity.org_id, ledger, side.submitter),
                decision=around.rules,
                patients=LinkedPatients(around.records),
                is_stopped=side.stops.is_stopped,
                clock=around.clock,
                random=secrets.token_bytes,
            )
        )
        self.asker = Asker(
            AskerParts(
                org_id=identity.org_id,
                ledger_id=ledger_id,
                authentication=around.authentication,
                encryption=identity.encryption,
                ledger=ledger,
                records=around.records,
                bodies=side.shelf,
                custodians=around.custodians,
                clock=around.clock,
            )
        )
        self.desk = SubjectDesk(
            SubjectParts(
                org_id=identity.org_id,
                ledger_id=ledger_id,
                bodies=side.shelf,
                submitter=side.submitter,
                stops=side.stops,
                records=around.records,
                service=around.service,
                clock=around.clock,
                random=secrets.token_bytes,
            )
        )

        self.erasure = ErasureJob(
            side.judge, around.records, side.submitter, side.stops, side.deliveries, around.service.patient_token
        )

    def jobs(self) -> tuple[Job, ...]:
        """Return what runs for as long as the daemon."""
        return (Job("erasure", self.erasure.run),)

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {
            "consent.draft": self._draft_consent,
            "consent.give": self._give_consent,
            "grant.give": self._give_grant,
            "patient": self._patient,
            "request": self._request,
            "subject.enrol": self._enrol,
            "withdrawal.draft": self._draft_withdrawal,
            "withdrawal.give": self._withdraw,
        }

    def _request(self, document: Json) -> Json:
        """Ask another organisation for records."""
        required = {"custodian": str, "grant": str, "purpose": str, "resource_types": list}
        top = members(document, required, {"after": int, "period": dict})
        after = top.get("after", 0)
        wish = Wish(
            custodian=str(top["custodian"]),
            grant=unhex(top["grant"], HASH_BYTES),
            purpose=str(top["purpose"]),
            resource_types=names(top["resource_types"]),
            period=_period(top.get("period")),
            after=after if isinstance(after, int) else 0,
        )
        return received_json(self.asker.request_release(wish))

    def _patient(self, document: Json) -> Json:
        """Join a subject to a patient of this node."""
        top = members(document, {"patient": str, "subject": str})
        self.desk.link(unhex(top["subject"], HASH_BYTES), str(top["patient"]))
        return {"linked": True}

    def _enrol(self, document: Json) -> Json:
        """Enrol a patient."""
        top = members(document, {"credentials": list, "custodians": list, "method": str, "patient": str})
        rows = top["credentials"] if isinstance(top["credentials"], list) else []
        credentials = [members(row, {"credential_id": str, "public_key": str}) for row in rows]
        done = self.desk.enrol(
            str(top["patient"]),
            [Credential(unbase64(row["credential_id"]), unbase64(row["public_key"])) for row in credentials],
            str(top["method"]),
            names(top["custodians"], at_least=0),
        )
        return _placed(done)

    def _draft_consent(self, document: Json) -> Json:
        """Draft a consent to be signed."""
        required = {"custodians": list, "fhir": dict, "period": dict, "purpose": str, "recipient": str}
        required |= {"resource_types": list, "subject": str}
        top = members(document, required, {"acting_for": str, "data_period": dict})
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
        )
        return _draft_json(self.desk.draft_consent(unhex(top["subject"], HASH_BYTES), terms))

    def _give_consent(self, document: Json) -> Json:
        """Submit a consent that was signed."""
        return _placed(self.desk.give_consent(*_signed(document)))

    def _draft_withdrawal(self, document: Json) -> Json:
        """Draft a withdrawal to be signed."""
        top = members(document, {"consent": str}, {"signer": str})
        signer = None if top.get("signer") is None else unhex(top["signer"], HASH_BYTES)
        return _draft_json(self.desk.draft_withdrawal(unhex(top["consent"], HASH_BYTES), signer))

    def _withdraw(self, document: Json) -> Json:
        """Stop a consent with the patient's signature; binding when it answers."""
        draft, assertion = _signed(document)
        self.desk.withdraw(draft, assertion)
        return {"object": draft.object.hex(), "stopped": True}

    def _give_grant(self, document: Json) -> Json:
        """Let a consent's recipient read what this node holds."""
        top = members(document, {"consent": str}, {"period": dict, "resource_types": list})
        types = None if top.get("resource_types") is None else names(top["resource_types"])
        return _placed(self.desk.give_grant(unhex(top["consent"], HASH_BYTES), types, _period(top.get("period"))))


def received_json(received: Received) -> Json:
    """Write what was received, for the node's own workers."""
    return {
        "access": {
            "key": received.access.key.hex(),
            "position": received.access.since,
            "version": received.access.version,
        },
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


def _placed(done: Submitted) -> Json:
    """Write what is final."""
    return {
        "endorser": done.endorser,
        "final_size": done.final_size,
        "key": done.key.hex(),
        "position": done.record.since,
        "rank": done.rank,
        "version": done.record.version,
    }


def _draft_json(draft: ToSign) -> Json:
    """Write a draft: what the passkey signs, what it is of, and the draft to come back with the answer."""
    return {
        "challenge": draft.challenge.hex(),
        "draft": base64_text(draft.encode()),
        "object": draft.object.hex(),
        "version": draft.version,
    }


def _signed(document: Json) -> tuple[ToSign, Assertion]:
    """Read a draft with the passkey's answer."""
    top = members(document, {"assertion": dict, "draft": str})
    text = dict.fromkeys(("authenticator_data", "client_data_json", "credential_id", "signature"), str)
    answer = members(top["assertion"], text)
    assertion = Assertion(
        unbase64(answer["credential_id"]),
        unbase64(answer["client_data_json"]),
        unbase64(answer["authenticator_data"]),
        unbase64(answer["signature"]),
    )
    return ToSign.decode(unbase64(top["draft"])), assertion


def _period(value: Json) -> Period | None:
    """Read a period that may be absent; raises `InputError` ``content.period``."""
    return None if value is None else period(value)
