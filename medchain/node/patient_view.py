"""What a patient's page shows of the ledger: consents, who was let in under them, and what was released.

All from bodies that this node holds, each compared with its own ledger. Keeps true: what is shown says how far it is
final; what lets a holder stop a consent (`stop`) is not shown; a chain of accesses that lacks an entry says so. Trusts
this node's ledger and the caller for whose subjects they are.
Source: `docs/spec/consent.md` 8, 10; `docs/spec/release.md` 10, 11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from medchain.encoding import Json, members, unhex
from medchain.errors import InputError, VerificationError
from medchain.ledger.disclosures import verify_disclosures
from medchain.ledger.kinds import access as accesses
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.object import Body, Evidence, StateRecord, in_force
from medchain.ledger.request import access_key
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.ending import Ended, Ending
from medchain.node.ledger_node import LedgerNode
from medchain.node.mandates import told_of


@dataclass(frozen=True, slots=True)
class PatientView:
    """Looks up a patient's objects. Threads may share it.

    Attributes:
        org_id: this organisation.
        side: ledger, bodies and stops of its node.
    """

    org_id: str
    side: LedgerNode

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {"grants.received": self._received, "patient.consents": self._consents}

    def _consents(self, document: Json) -> Json:
        """Tell the consents of a patient's subjects, and the mandates about a patient of this node, newest first."""
        top = members(document, {"subjects": list}, {"patient": str})
        rows, patient = top["subjects"], top.get("patient")
        subjects = [unhex(row, HASH_BYTES) for row in rows] if isinstance(rows, list) else []
        keys = {key for subject in subjects for key in self.side.shelf.index.of(subject)}
        keys |= {key for key in self.side.shelf.index.mandates() if patient and self._is_about(key, str(patient))}
        found = [row for key in keys if (row := self._consent(key)) is not None]
        found.sort(key=lambda row: (-int(str(row["since"])), str(row["key"])))
        consents: list[Json] = [*found]
        head = self.side.replica.store.head
        return {
            "consents": consents,
            "final_size": self._final_size(),
            "organisations": self._organisations(),
            "size": head.size,
            "time": head.time,
        }

    def _received(self, document: Json) -> Json:
        """Tell the grants that let this organisation read at another one, the newest first."""
        members(document, {})
        found = [row for key in self.side.shelf.index.grants() if (row := self._grant(key)) is not None]
        mine = [row for row in found if row.get("recipient") == self.org_id]
        mine.sort(key=lambda row: (-int(str(row["since"])), str(row["key"])))
        return {"grants": [*mine]}

    def _consent(self, key: bytes) -> dict[str, Json] | None:
        """Tell one consent; None for one that the ledger does not have, or whose body is not here."""
        record, body = self.side.replica.store.record(key), self.side.shelf.terms(key)
        if record is None or body is None:
            return None
        grants: list[Json] = [row for grant in self.side.shelf.index.of(key) if (row := self._grant(grant)) is not None]
        content = {name: value for name, value in body.content.items() if name != "stop"}
        ending = self.side.stops.ending(key)
        return {
            **self._state(record),
            "content": content,
            "content_root": body.content_root.hex(),
            "ending": None if ending is None else ending.to_json(),
            "grants": grants,
            "signed": _signed(body),
            "withdrawn_by": None if ending is None else self._signer_of_end(key, ending),
        }

    def _is_about(self, key: bytes, patient: str) -> bool:
        """Tell whether a mandate is about a patient of this node."""
        body = self.side.shelf.terms(key)
        told = None if body is None else told_of(body.content)
        return told is not None and (told.custodian, told.patient) == (self.org_id, patient)

    def _signer_of_end(self, key: bytes, ending: Ended) -> Json:
        """Tell the subject whose passkey ended a consent; None where none did."""
        body = self.side.shelf.at(key, ending.version) if ending.how is Ending.PATIENT else None
        return None if body is None else body.content.get("subject")

    def _grant(self, key: bytes) -> dict[str, Json] | None:
        """Tell one grant with what was released under it; None as for a consent."""
        record, body = self.side.replica.store.record(key), self.side.shelf.terms(key)
        if record is None or body is None:
            return None
        names = ("consent", "custodian", "period", "purpose", "recipient", "resource_types")
        shown = {name: body.content[name] for name in names if name in body.content}
        custodian = shown.get("custodian")
        chain = self._accesses(key, custodian) if isinstance(custodian, str) else {}
        return {**self._state(record), **shown, **chain}

    def _accesses(self, grant: bytes, custodian: str) -> dict[str, Json]:
        """Tell what was released under a grant, which versions are not here, and why the chain does not hold if so."""
        key = access_key(grant, custodian)
        head, final = self.side.replica.store.record(key), self._final_size()
        rows: list[Json] = []
        missing: list[Json] = []
        records: list[StateRecord] = []
        bodies: list[Body | None] = []
        for version in range(1, 1 if head is None else head.version + 1):
            record, body = self.side.replica.store.version(key, version), self.side.shelf.at(key, version)
            content = None if record is None or body is None or body.body_hash != record.body_hash else body.content
            if record is not None:
                records.append(record)
                bodies.append(body if body is not None and not body.hidden else None)
            if record is None or content is None:
                missing.append(version)
                continue
            in_part = _for_claims(body)
            rows += [_access_json(row, record, final, in_part=row.request_hash in in_part) for row in _rows(content)]
        broken = None
        try:
            verify_disclosures(grant, custodian, records, bodies)
        except VerificationError as error:
            broken = error.code
        return {"accesses": rows, "broken": broken, "chain": key.hex(), "missing": missing}

    def _state(self, record: StateRecord) -> dict[str, Json]:
        """Tell how an object stands."""
        day = self.side.replica.store.head.time // DAY_S
        return {
            "final": record.since < self._final_size(),
            "in_force": in_force(record, day) and not self.side.stops.is_stopped(record.key),
            "key": record.key.hex(),
            "since": record.since,
            "status": record.status,
            "version": record.version,
        }

    def _organisations(self) -> dict[str, Json]:
        """Tell the members' names and roles, those of former ones too."""
        known = self.side.replica.store.members.organisations
        return {
            org_id: {"name": dict(row.name), "role": row.role, "status": row.status} for org_id, row in known.items()
        }

    def _final_size(self) -> int:
        """How many leaves are final."""
        final = self.side.replica.store.final()
        return 0 if final is None else final.size


def _signed(body: Body) -> str:
    """Tell how it was given: ``passkey``, ``attested`` by staff, ``unknown`` where that is not shown, or ``law``."""
    if body.kind == "mandate":
        return "law"
    evidence = body.evidence.value if isinstance(body.evidence, Evidence) else None
    if not isinstance(evidence, Mapping):
        return "unknown"
    return "passkey" if "assertion" in evidence else "attested"


def _rows(content: Mapping[str, Json]) -> tuple[accesses.Access, ...]:
    """Read the releases that a body lists; none of what cannot be read."""
    try:
        return accesses.read(content).accesses
    except InputError:
        return ()


def _for_claims(body: Body | None) -> frozenset[bytes]:
    """List the requests (hashes) of a body for a claim: of their records fields were told, and none left whole."""
    try:
        requests = () if body is None else accesses.signed_requests(body)
    except InputError:
        return frozenset()
    return frozenset(signed.request.hash for signed in requests if signed.request.claim is not None)


def _access_json(row: accesses.Access, record: StateRecord, final: int, *, in_part: bool) -> Json:
    """Write a release."""
    return {
        "count": row.count,
        "final": record.since < final,
        "in_part": in_part,
        "position": record.since,
        "purpose": row.purpose,
        "request_hash": row.request_hash.hex(),
        "time": row.time,
        "version": record.version,
    }
