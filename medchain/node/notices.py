"""Notices: what people are to be told of their subjects, recoveries and consents, whoever would rather they were not.

Keeps true: each node that holds a body tells of it by itself, from its own ledger, once it is final; an event that was
noted is not forgotten over a crash; contents lie sealed. Where word of them goes is kept with them, and sent by
`medchain.node.dispatching`. Trusts the ledger for what is final.
Source: `docs/spec/notice.md`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from threading import Event
from typing import Final, NamedTuple

from medchain.crypto.frames import open_frame, seal_frame
from medchain.crypto.keywrap import derive
from medchain.encoding import Json, canonical, digest, members, parse_canonical, unhex
from medchain.errors import InputError, MedchainError, VerificationError
from medchain.ledger.kinds import capacity, signing
from medchain.ledger.kinds import consent as consents
from medchain.ledger.kinds import delegation as delegations
from medchain.ledger.kinds import mandate as mandates
from medchain.ledger.kinds import recovery as recoveries
from medchain.ledger.kinds import subject as subjects
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.kinds.subject import Contact, read_contacts
from medchain.ledger.object import ACTIVE, STOPPED, Body, StateRecord
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES, Stop, parse_envelope
from medchain.node.clock import Clock
from medchain.node.endorse import Judge
from medchain.node.log import Log
from medchain.node.records import RecordService
from medchain.store.notices import Dispatch, NoticeRow
from medchain.store.outbox import Intent
from medchain.store.records import RecordStore

DUE: Final = "notice"
"""Kind of the outbox intents: a version of an object of which somebody may have to be told."""

NOTICE_TYPE: Final = "medchain/notice/v1"
"""Type of what is told."""

PERIOD_S: Final = 1.0
"""How often it is looked whether something has become final."""

GIVEN_UP_S: Final = 900
"""After how long a version that the ledger never took is forgotten."""

URGENT: Final = frozenset({"emergency.declared", "recovery.announced"})
"""Kinds of which people are sent word at once, however much they were sent before."""

ASKED: Final = "ask.came"
"""Kind of the notice that an organisation asks the person for a permission; pages show the ask itself."""

TOPICS: Final[Mapping[str, frozenset[str]]] = {
    "asks": frozenset({ASKED}),
    "concerns": frozenset({"concern.answered"}),
    "law": frozenset({"mandate.given", "mandate.stopped"}),
    "permissions": frozenset({"consent.given", "stopped"}),
}
"""What people may choose to be sent no word of → kinds. Of every other kind they are: emergencies, recoveries, and what
is done to passkeys, contacts and who acts for whom may be the work of who would rather not have it noticed."""

CHOICE: Final = "notices.choice"
"""Local operation: of which topics a person wants no word sent."""

CHOOSE: Final = "notices.choose"
"""Local operation: the person chooses them."""

OLD_S: Final = 3 * DAY_S
"""Of what happened longer ago nobody is sent word."""

_TOLD: Final = frozenset({"consent", "delegation", "mandate", "recovery", "subject"})
_PAGE: Final = 200
_MAX_BYTES: Final = 64 * 1024
_CONTEXT: Final = NOTICE_TYPE.encode()
_LOG: Final = Log("notices")


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody is told.

    Attributes:
        kind: stable code, such as ``recovery.announced``.
        about: map key of the subject that it is about, 32 bytes; empty where there is none.
        object: map key of what happened, 32 bytes.
        version: its version.
        time: of the event, Unix seconds.
        fields: what explains it.
        contacts: where it is sent.
    """

    kind: str
    about: bytes
    object: bytes
    version: int
    time: int
    fields: Mapping[str, Json]
    contacts: tuple[Contact, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "about": self.about.hex(),
            "contacts": [row.to_json() for row in self.contacts],
            "fields": dict(self.fields),
            "kind": self.kind,
            "object": self.object.hex(),
            "time": self.time,
            "type": NOTICE_TYPE,
            "version": self.version,
        }


class Addressee(NamedTuple):
    """Who is told.

    Attributes:
        subject: map key of its subject object, 32 bytes; empty for a patient without one.
        patient: keyed token of a patient of this node; empty for others.
    """

    subject: bytes = b""
    patient: str = ""


def note(records: RecordStore, clock: Clock) -> Callable[[bytes, int, str], None]:
    """Return what notes, durably, that a version of an object may have to be told of.

    Args:
        records: keeps it until it was looked at.
        clock: gives Unix seconds.

    Returns:
        A function of map key, version and kind; other kinds than those that are told of are ignored.
    """

    def noted(key: bytes, version: int, kind: str) -> None:
        if kind in _TOLD:
            records.put_intent(DUE, canonical({"object": key.hex(), "version": version}), clock())

    return noted


class NoticeBook:
    """The notices of one node. Threads may share it."""

    __slots__ = ("_channels", "_judge", "_key", "_records", "_service")

    def __init__(
        self,
        judge: Judge,
        records: RecordStore,
        service: RecordService,
        channels: Collection[str] = (),
    ) -> None:
        """Prepare.

        Args:
            judge: this node's ledger, bodies and clock.
            records: keeps the notices.
            service: knows the patients' tokens, and the key of notices.
            channels: of contacts that can be reached; without one, people see notices when they sign in.
        """
        self._judge = judge
        self._records = records
        self._service = service
        self._key = service.notice_key
        self._channels = frozenset(channels)

    def run(self, stop: Event) -> None:
        """Look until told to stop."""
        while not stop.wait(PERIOD_S):
            try:
                self.round()
            except MedchainError as error:
                _LOG.warning("notices.delayed", code=error.code)

    def tell(self, addressee: Addressee, told: Told) -> bool:
        """Keep a notice; what was told before is not told again.

        Args:
            addressee: who is told.
            told: what.

        Returns:
            Whether it is new.
        """
        name = told.version.to_bytes(8, "big"), told.kind.encode(), addressee.subject + addressee.patient.encode()
        notice_id = digest(NOTICE_TYPE, told.object, *name)[:ID_BYTES]
        sealed = seal_frame(derive(self._key, notice_id.hex()), 0, _CONTEXT, canonical(told.to_json()))
        return self._records.put_notice(
            NoticeRow(notice_id, *addressee, told.time, sealed), self._dispatches(notice_id, addressee, told)
        )

    def tell_patient(self, patient: str, told: Told) -> None:
        """Keep a notice of what this node did itself: for a patient, and the patient's guardians.

        Args:
            patient: keyed token of a patient of this node.
            told: what; whom it is about is filled in.

        Raises:
            UnavailableError: the disk.
        """
        subjects_of = self._records.subjects_of(patient)
        for subject in subjects_of:
            for addressee, one in self._people(replace(told, about=subject)):
                self.tell(addressee, one)
        if not subjects_of:
            self.tell(Addressee(patient=patient), told)

    def round(self) -> int:
        """Make notices of what has become final; returns how many versions still wait."""
        left = after = 0
        while page := self._records.pending(_PAGE, after=after, kind=DUE):
            after = page[-1].id
            done = [intent.id for intent in page if self._is_done(intent)]
            self._records.drop_intents(done)
            left += len(page) - len(done)
        return left

    def contact(self, dispatch: Dispatch) -> tuple[Addressee, Contact]:
        """Tell whom a dispatch goes to.

        Args:
            dispatch: from the records file.

        Returns:
            Who is told, and where.

        Raises:
            NotFoundError: ``notice.unknown`` for one that was destroyed.
            VerificationError: ``store.corrupt``.
        """
        row = self._records.notice(dispatch.notice)
        addressee = Addressee(row.subject, row.patient)
        for contact in self._opened(row).contacts:
            if self.place(addressee, contact) == dispatch.place:
                return addressee, contact
        raise VerificationError("store.corrupt", table="dispatch")

    def place(self, addressee: Addressee, contact: Contact) -> bytes:
        """Name a person's contact for this node alone, 16 bytes: without its key nobody tells which it is."""
        named = canonical([addressee.subject.hex(), addressee.patient, contact.channel, contact.address])
        return hmac.digest(derive(self._key, "place"), named, "sha256")[:ID_BYTES]

    def _dispatches(self, notice_id: bytes, addressee: Addressee, told: Told) -> list[Dispatch]:
        """List where word of a notice goes; what happened long ago, as a node that catches up learns it, is no news."""
        now = self._judge.clock()
        if told.time < now - OLD_S or self._is_quiet(addressee, told):
            return []
        urgent = int(told.kind in URGENT)
        return [
            Dispatch(notice_id, self.place(addressee, contact), contact.channel, urgent, now, now)
            for contact in told.contacts
            if contact.channel in self._channels
        ]

    def _is_quiet(self, addressee: Addressee, told: Told) -> bool:
        """Tell whether somebody wants no word sent of a notice, which is made all the same."""
        if told.kind == "consent.given":
            # What others signed, or two of the staff attest, in somebody's name may be what that person must hear of.
            is_own = told.fields.get("signers") == [addressee.subject.hex()]
            if not is_own or told.fields.get("signed") != "passkey":
                return False
        quiet = self._records.quiet_topics(addressee.subject) if addressee.subject else set()
        return any(told.kind in TOPICS.get(topic, ()) for topic in quiet)

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {
            CHOICE: self._choice,
            CHOOSE: self._choose,
            "notices.acknowledge": self._acknowledge,
            "notices.list": self._list,
        }

    def _choice(self, document: Json) -> Json:
        """Tell of which topics a ``subject`` wants no word sent."""
        subject = unhex(members(document, {"subject": str})["subject"], HASH_BYTES)
        return {"quiet": [*sorted(self._records.quiet_topics(subject))]}

    def _choose(self, document: Json) -> Json:
        """Keep of which topics a ``subject`` wants no word sent; raises `InputError` ``notice.topic`` for others."""
        top = members(document, {"quiet": list, "subject": str})
        rows = top["quiet"] if isinstance(top["quiet"], list) else []
        quiet = {row for row in rows if isinstance(row, str) and row in TOPICS}
        if len(quiet) != len(rows):
            raise InputError("notice.topic")
        self._records.choose_topics(unhex(top["subject"], HASH_BYTES), quiet)
        return {"quiet": [*sorted(quiet)]}

    def _list(self, document: Json) -> Json:
        """List the notices for ``subjects``, and for a ``patient`` of this node, the newest first."""
        top = members(document, {"subjects": list}, {"patient": str})
        rows = self._records.notices_of(*self._addressees(top))
        undelivered = self._records.undelivered([row.id for row in rows])
        return {
            "notices": [
                {**self._opened(row).to_json(), **_state(row), "undelivered": row.id in undelivered} for row in rows
            ]
        }

    def _acknowledge(self, document: Json) -> Json:
        """Note that a person has seen a notice."""
        top = members(document, {"id": str, "subjects": list}, {"patient": str})
        subjects_, patients = self._addressees(top)
        self._records.acknowledge_notice(unhex(top["id"], ID_BYTES), subjects_, patients, self._judge.clock())
        return {"acknowledged": True}

    def _addressees(self, top: Mapping[str, Json]) -> tuple[list[bytes], list[str]]:
        """Read for whom notices are asked."""
        rows, patient = top["subjects"], top.get("patient")
        keys = [unhex(row, HASH_BYTES) for row in rows] if isinstance(rows, list) else []
        return keys, [self._service.patient_token(patient)] if isinstance(patient, str) else []

    def _opened(self, row: NoticeRow) -> Told:
        """Open a notice; raises `VerificationError` ``store.corrupt``."""
        plain = open_frame(derive(self._key, row.id.hex()), 0, _CONTEXT, row.sealed)
        if plain is None:
            raise VerificationError("store.corrupt", table="notice")
        top = parse_canonical(plain, max_bytes=_MAX_BYTES)
        if not isinstance(top, dict) or not isinstance(fields := top["fields"], dict):
            raise VerificationError("store.corrupt", table="notice")
        return Told(
            kind=str(top["kind"]),
            about=bytes.fromhex(str(top["about"])),
            object=bytes.fromhex(str(top["object"])),
            version=int(str(top["version"])),
            time=row.time,
            fields=fields,
            contacts=read_contacts(top),
        )

    def _is_done(self, intent: Intent) -> bool:
        """Make the notices of a version; tells whether there is nothing more to wait for."""
        top = members(parse_canonical(intent.payload, max_bytes=_MAX_BYTES), {"object": str, "version": int})
        key, version = unhex(top["object"], HASH_BYTES), top["version"]
        store = self._judge.replica.store
        record, final = store.version(key, version if isinstance(version, int) else 0), store.final()
        if record is None or final is None or record.since >= final.size:
            # By the ledger's time: a node that is behind forgets nothing.
            return record is None and store.head.time > intent.created + GIVEN_UP_S
        try:
            for addressee, told in self._of(record):
                self.tell(addressee, told)
        except InputError as error:
            # A part that shows too little, or what another member made up: nobody can be told of it.
            _LOG.info("notice.unreadable", code=error.code)
        return True

    def _of(self, record: StateRecord) -> Iterator[tuple[Addressee, Told]]:
        """Derive the notices of a version from the bodies that are here."""
        shelf = self._judge.shelf
        body, before = shelf.at(record.key, record.version), shelf.at(record.key, record.version - 1)
        if record.status == STOPPED:
            yield from self._stopped(record, before)
        elif body is not None and body.body_hash == record.body_hash and record.status == ACTIVE:
            match record.kind:
                case "subject":
                    yield from self._changed(record, body, before)
                case "recovery":
                    yield from self._announced(record, body)
                case "consent":
                    yield from self._given(record, body)
                case "mandate":
                    yield from self._mandated(record, body, "mandate.given")

    def _changed(self, record: StateRecord, body: Body, before: Body | None) -> Iterator[tuple[Addressee, Told]]:
        """Tell of a version of a subject; a part that shows no more than what a signature needs tells nothing."""
        if "operation" not in body.content:
            return
        subject = subjects.read(body.content)
        signers: list[Json] = [key.hex() for key in subject.signers]
        fields: dict[str, Json] = {"by": record.creator, "signers": signers}
        yield from self._told(record.key, f"subject.{subject.operation}", record, fields, (body, before))
        known = {} if before is None else {row.subject: row for row in capacity.read_delegates(before.content)}
        rows = {row.subject: row for row in subject.capacity.delegates}
        for kind, changed, other in (("delegate.named", rows, known), ("delegate.ended", known, rows)):
            for key in changed.keys() - other.keys():
                told = self._event(kind, record.key, record, {"by": record.creator, "role": changed[key].role})
                yield Addressee(key), self._with_contacts(told, key)

    def _announced(self, record: StateRecord, body: Body) -> Iterator[tuple[Addressee, Told]]:
        """Tell of a recovery."""
        planned = recoveries.read(body.content)
        fields: dict[str, Json] = {
            "by": record.creator,
            "carry_out_from": self._judge.shelf.accepted(record) + planned.wait_days * DAY_S,
            "last_day": planned.last_day,
            "method": planned.method,
            "operation": planned.operation,
        }
        yield from self._told(planned.subject, "recovery.announced", record, fields)

    def _given(self, record: StateRecord, body: Body) -> Iterator[tuple[Addressee, Told]]:
        """Tell of a consent that was given."""
        given = consents.read(body.content)
        signers: list[Json] = [key.hex() for key in given.signers]
        fields: dict[str, Json] = {
            "by": record.creator,
            "purpose": given.purpose,
            "recipient": given.recipient,
            "signed": "passkey" if signing.has_assertion(body) else "staff",
            "signers": signers,
        }
        yield from self._told(given.patient, "consent.given", record, fields)

    def _mandated(self, record: StateRecord, body: Body, kind: str) -> Iterator[tuple[Addressee, Told]]:
        """Tell the patient at the custodian that the law opens records, or does so no more."""
        mandate = mandates.read(body.content)
        if mandate.custodian != self._judge.org_id:
            return
        basis = mandate.basis
        fields: dict[str, Json] = {
            "authority": basis.authority,
            "by": record.creator,
            "purpose": mandate.purpose,
            "recipient": mandate.recipient,
            "reference": basis.reference,
            "scope": basis.scope,
        }
        told, token = self._event(kind, b"", record, fields), self._service.patient_token(mandate.patient)
        subjects_of = self._records.subjects_of(token)
        for subject in subjects_of:
            yield from self._people(replace(told, about=subject))
        if not subjects_of:
            yield Addressee(patient=token), told

    def _stopped(self, record: StateRecord, before: Body | None) -> Iterator[tuple[Addressee, Told]]:
        """Tell that a consent, recovery or delegation was stopped; of a delegation also who acted under it."""
        if before is None:
            return
        stop = parse_envelope(self._judge.replica.store.leaf(record.since)).transaction
        by = stop.creator if isinstance(stop, Stop) else ""
        if record.kind == "mandate":
            yield from self._mandated(record, before, "mandate.stopped")
            return
        if record.kind == "delegation":
            ended = delegations.read(before.content)
            told = self._event("delegate.ended", ended.subject, record, {"by": by, "role": ended.role})
            yield from self._people(told)
            yield Addressee(ended.delegate), self._with_contacts(told, ended.delegate)
            return
        if record.kind == "recovery":
            yield from self._told(recoveries.read(before.content).subject, "recovery.stopped", record, {"by": by})
            return
        # The end of a hiding opens: of that people are always sent word.
        kind = "hiding.stopped" if self._judge.decision.hides(before.content) else "stopped"
        yield from self._told(consents.read(before.content).patient, kind, record, {"by": by})

    def _told(
        self,
        about: bytes,
        kind: str,
        record: StateRecord,
        fields: Mapping[str, Json],
        shown: Iterable[Body | None] = (),
    ) -> Iterator[tuple[Addressee, Told]]:
        """Tell the person, and the guardians."""
        yield from self._people(self._event(kind, about, record, fields), shown)

    def _people(self, told: Told, shown: Iterable[Body | None] = ()) -> Iterator[tuple[Addressee, Told]]:
        """Find the person whom a notice is about, and the guardians."""
        about = told.about
        yield Addressee(about), self._with_contacts(told, about, shown)
        found = self._judge.shelf.head(about)
        if found is not None and found[1].content.keys() >= capacity.FIELDS:
            for guardian in sorted(capacity.read(found[1].content).guardians(told.time // DAY_S)):
                yield Addressee(guardian), self._with_contacts(told, guardian)

    def _event(self, kind: str, about: bytes, record: StateRecord, fields: Mapping[str, Json]) -> Told:
        """Begin a notice."""
        time = self._judge.shelf.accepted(record)
        return Told(kind, about, record.key, record.version, time, fields)

    def _with_contacts(self, told: Told, subject: bytes, shown: Iterable[Body | None] = ()) -> Told:
        """Add the contacts of a subject, of its head and of other versions of it that are shown here."""
        found = self._judge.shelf.head(subject)
        bodies = [*shown, None if found is None else found[1]]
        rows = [
            row
            for body in bodies
            if body is not None and "contacts" in body.content
            for row in read_contacts(body.content)
        ]
        contacts = tuple(dict.fromkeys(rows))
        return Told(told.kind, told.about, told.object, told.version, told.time, told.fields, contacts)


def _state(row: NoticeRow) -> dict[str, Json]:
    """Write what has become of a notice."""
    return {
        "acknowledged": row.acknowledged,
        "id": row.id.hex(),
        "patient": bool(row.patient),
        "sent": row.sent,
        "subject": row.subject.hex(),
    }
