"""What may be released now: grant and consent in force, and the records that pass. Reads, decides, changes nothing.

Keeps true: an object counts only if its head is the same on final and on newest state, active, not expired by clock or
ledger, and not stopped as far as this node has heard; a missing or redacted body means no; only record versions whose
anchor is final are chosen, and only those that request, grant and decision all let pass. Trusts the decision.
Source: `docs/spec/release.md`, `docs/spec/consent.md` 9, 10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.crypto.sealing import wrap_release
from medchain.encoding import Json
from medchain.errors import AccessDeniedError, InputError, NotFoundError, UnavailableError
from medchain.ledger.emergency_request import EmergencyRequest
from medchain.ledger.kinds import grant as grants
from medchain.ledger.kinds.content import ANY_TYPE, DAY_S, Period
from medchain.ledger.kinds.mandate import Mandate
from medchain.ledger.kinds.permission import PERMITTING, Permission, read_any
from medchain.ledger.members import Key
from medchain.ledger.object import ACTIVE, StateRecord, in_force, map_key
from medchain.ledger.request import ReleaseRequest
from medchain.ledger.transaction import Ref
from medchain.node.own_consents import is_kept
from medchain.node.release import MAX_ANSWER_BYTES, MAX_RECORDS, ReleasedRecord, commitments_root
from medchain.node.release_ports import (
    ConsentInForce,
    ConsentRuling,
    CustodianParts,
    Question,
    Ruling,
    Selected,
)
from medchain.node.sieve import Sieve
from medchain.node.telling import Telling
from medchain.store.records import NO_RESOURCES, RecordVersion

TOO_LARGE: Final = "release.too_large"
"""Code of an answer that would hold nothing, since each record is above what one may be."""

_MARGIN_BYTES: Final = 1 << 20
_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Standing:
    """A grant and its consent, in force.

    Attributes:
        grant: what its body says.
        permission: what the body of the consent, or mandate, says.
        refs: both at their heads, sorted.
        content: of the consent's body, for the decision.
    """

    grant: grants.Grant
    permission: Permission
    refs: tuple[Ref, ...]
    content: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A record version that is to be released.

    Attributes:
        stored: as it is stored.
        anchor: its place on the final ledger.
    """

    stored: RecordVersion
    anchor: StateRecord


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be released at once.

    Attributes:
        records: in the order in which they were stored.
        following: where a further request goes on, None where there is no more.
        oversized: how many were passed over because no answer can hold them.
    """

    records: list[Chosen]
    following: int | None
    oversized: int


class Holdings:
    """This node's records and permissions, as a release sees them. Threads may share it."""

    __slots__ = ("_parts", "_telling")

    def __init__(self, parts: CustodianParts) -> None:
        """Use parts.

        Args:
            parts: what a custodian is made from.
        """
        self._parts = parts
        self._telling = Telling(parts.records, parts.service)

    def standing(self, grant_key: bytes) -> Standing:
        """Find a grant and its consent in force.

        Args:
            grant_key: map key, 32 bytes.

        Returns:
            Both.

        Raises:
            AccessDeniedError: ``release.grant``, ``release.consent``, ``release.body``; every doubt is a no.
            MedchainError: a body that cannot be read, or a rule that one of them breaks (`relies`).
        """
        refs = [self._in_force(grant_key, "grant")]
        grant = grants.read(self._content(grant_key, refs[0].version))
        if grant.custodian != self._parts.org_id:
            raise AccessDeniedError("release.grant")
        refs.append(self._in_force(grant.consent, "consent", PERMITTING))
        content = self._content(grant.consent, refs[1].version)
        record = self._parts.ledger.record(grant_key)
        if record is None or record.refs != (refs[1],):
            raise AccessDeniedError("release.grant")
        try:
            self._parts.relies(refs[0])
        except UnavailableError as error:
            raise AccessDeniedError("release.body") from error
        permission = read_any(content)
        return Standing(grant, permission, tuple(sorted(refs)), content)

    def patient_of(self, permission: Permission) -> str | None:
        """Return the keyed token of the patient whose records a permission opens, None for nobody known here."""
        if isinstance(permission, Mandate):
            return self._parts.service.patient_token(permission.patient)
        return self._parts.patients.token(permission.patient)

    def _in_force(self, key: bytes, kind: str, kinds: frozenset[str] = frozenset()) -> Ref:
        """Return an object's head if it is in force; every doubt is a no."""
        newest, final = self._parts.ledger.record(key), self._final_head(key, self.final_size())
        holds = (
            newest is not None
            and newest == final
            and newest.kind in (kinds or {kind})
            and in_force(newest, self._now() // DAY_S)
            and not self._parts.is_stopped(key)
        )
        if newest is None or not holds:
            code = f"release.{kind}"
            raise AccessDeniedError(code)
        return Ref(key, newest.version)

    def _content(self, key: bytes, version: int) -> dict[str, Json]:
        """Return the content of a head's body, which must be whole; a missing one means deny."""
        found = self._parts.bodies.head(key)
        if found is None or found[0].version != version or not found[1].is_full:
            raise AccessDeniedError("release.body")
        return found[1].content

    def choose(self, request: ReleaseRequest, standing: Standing, patient: str) -> Choice:
        """Choose the records that were asked for, are granted and pass the decision.

        Args:
            request: verified.
            standing: grant and consent in force.
            patient: keyed token of the patient whose consent it is.

        Returns:
            At most as many as an answer holds; of those that no answer holds, how many there were.

        Raises:
            AccessDeniedError: the decision's reason, ``release.types`` or ``release.period``.
            InputError: what is wrong with the request's search.
        """
        types, ruling = self.ruled(request, standing, patient)
        return self.pick(request, types, patient, ruling)

    def check_passing(
        self, request: ReleaseRequest, standing: Standing, patient: str, versions: Sequence[tuple[bytes, int]]
    ) -> None:
        """See that what was chosen passes still: the patient may have hidden some of it since.

        Args:
            request: verified.
            standing: grant and consent in force.
            patient: keyed token of the patient whose consent it is.
            versions: (id of the record's object, version).

        Raises:
            AccessDeniedError: ``release.no_record``, and as `choose`.
        """
        if not self._hidings(standing, patient):
            return
        _, ruling = self.ruled(request, standing, patient)
        sieve, rows = self.sieve(ruling), self._parts.records.by_objects(versions)
        if request.claim is not None:
            # What is shown in part may be an earlier version: what the newest one says can hide it as well.
            rows += [self._parts.records.by_object(object_id) for object_id, _ in versions]
        if ruling.denial is not None or not all(row is not None and sieve.passes(row) for row in rows):
            raise AccessDeniedError("release.no_record")

    def sieve(self, ruling: Ruling) -> Sieve:
        """Make what judges records by a decision alone."""
        return Sieve(self._parts, self._telling, None, ruling, None)

    def ruled(self, request: ReleaseRequest, standing: Standing, patient: str) -> tuple[tuple[str, ...], ConsentRuling]:
        """Ask the decision; returns the types that may leave as well. Arguments and errors as of `choose`."""
        types = types_of_both(request.resource_types, standing.grant.resource_types)
        now = self._now()
        if not types or not standing.grant.period.contains(Period(now, now)):
            raise AccessDeniedError("release.period" if types else "release.types")
        claim = None if request.claim is None else request.claim.digest
        question = Question(request.custodian, request.recipient, request.purpose, now, types, claim)
        given = ConsentInForce(standing.grant.consent, _version_of(standing), standing.content)
        return types, self._parts.decision.rule(question, [given], self._hidings(standing, patient))

    def _hidings(self, standing: Standing, patient: str) -> Sequence[ConsentInForce]:
        """List by what the patient may hide records; a mandate of the law asks no patient."""
        return () if isinstance(standing.permission, Mandate) else self._parts.inside(patient)

    def pick(
        self, request: ReleaseRequest | EmergencyRequest, types: tuple[str, ...], patient: str, ruling: Ruling
    ) -> Choice:
        """Pick a patient's records that were asked for and pass a decision.

        Args:
            request: verified.
            types: FHIR types that may leave, or ``("*",)``.
            patient: keyed token.
            ruling: what was decided.

        Returns:
            As `choose`.

        Raises:
            AccessDeniedError: the decision's reason.
            InputError: what is wrong with the request's search.
        """
        if ruling.denial is not None:
            raise AccessDeniedError(ruling.denial)
        wanted = self._parts.selection.of(types[0], request.query) if request.query else None
        sieve = Sieve(self._parts, self._telling, request.period, ruling, wanted)
        most = MAX_RECORDS if request.count is None else min(MAX_RECORDS, request.count)
        final = self.final_size()
        chosen: list[Chosen] = []
        alive: dict[bytes, bool] = {}
        size = oversized = 0
        after = last = request.after
        while True:
            page = self._parts.records.by_patient(
                patient, None if types == (ANY_TYPE,) else types, after=after, limit=_PAGE
            )
            for newest in page:
                if not _may_be(newest, wanted):
                    continue
                found = self.anchored(newest, final) if self.is_alive(newest.epoch_id, alive) else None
                if found is None or not sieve.passes(found.stored):
                    continue
                if found.stored.sealed_size > MAX_ANSWER_BYTES - _MARGIN_BYTES:
                    oversized += 1
                    continue
                size += found.stored.sealed_size
                if len(chosen) == most or size > MAX_ANSWER_BYTES - _MARGIN_BYTES:
                    return Choice(chosen, last, oversized)
                chosen.append(found)
                last = newest.seq
            if len(page) < _PAGE:
                return Choice(chosen, None, oversized)
            after = page[-1].seq

    def wrapped(self, choice: Choice, request_hash: bytes, entry_id: bytes, key: Key) -> bytes:
        """Wrap the data keys of what was chosen for who asks.

        Args:
            choice: what is to be released.
            request_hash: of the request, 32 bytes.
            entry_id: of the ledger's entry of it, 32 bytes.
            key: of who asks.

        Returns:
            The wraps.

        Raises:
            AccessDeniedError: ``release.no_record`` where nothing was chosen.
            InputError: `TOO_LARGE` where nothing was because of its size.
        """
        if not choice.records and choice.oversized:
            raise InputError(TOO_LARGE, records=choice.oversized)
        if not choice.records:
            raise AccessDeniedError("release.no_record")
        deks = self._parts.service.data_keys([row.stored for row in choice.records])
        return wrap_release(key.public, request_hash, entry_id, key.id, deks)

    def is_alive(self, epoch_id: bytes, known: dict[bytes, bool]) -> bool:
        """Tell whether a key still exists; what was sealed under a destroyed one is no record any more."""
        if epoch_id not in known:
            epoch = self._parts.records.epoch(epoch_id)
            known[epoch_id] = epoch is not None and epoch.wrapped_key is not None
        return known[epoch_id]

    def anchored(self, newest: RecordVersion, final: int) -> Chosen | None:
        """Find the newest final version of a record, if it is one to show and was not taken back since."""
        anchor = self._final_head(map_key("record", self._parts.org_id, newest.object_id), final)
        if anchor is None or anchor.status != ACTIVE:
            return None
        stored = newest
        if newest.version != anchor.version:
            if self._narrows(newest.seq, anchor.key):
                return None
            older = self._parts.records.by_object(newest.object_id, anchor.version)
            if older is None:
                return None
            stored = older
        return Chosen(stored, anchor) if stored.commitment == anchor.body_hash else None

    def _narrows(self, seq: int, key: bytes) -> bool:
        """Tell whether a version that is not final yet takes the record back: that binds before the ledger says it."""
        head = self._parts.ledger.record(key)
        waiting = self._parts.records.waiting_status(seq) or ACTIVE
        return waiting != ACTIVE or head is None or head.status != ACTIVE

    def sealed(self, versions: Sequence[tuple[bytes, int]]) -> tuple[ReleasedRecord, ...]:
        """Read records as they are kept.

        Args:
            versions: (id of the record's object, version).

        Returns:
            The records with their envelopes.

        Raises:
            AccessDeniedError: ``release.no_record`` for one that was deleted meanwhile.
            NotFoundError: ``record.erased`` for one whose key was destroyed meanwhile.
        """
        return tuple(self._released(row, anchor) for row, anchor in self.there(versions))

    def there(self, versions: Sequence[tuple[bytes, int]]) -> list[tuple[RecordVersion, StateRecord]]:
        """See that versions of records may be shown still; returns each with its record's final head. As `sealed`."""
        final = self.final_size()
        rows = [row for row in self._parts.records.by_objects(versions) if row is not None]
        if len(rows) != len(versions):
            raise AccessDeniedError("release.no_record")
        alive: dict[bytes, bool] = {}
        if not all(self.is_alive(row.epoch_id, alive) for row in rows):
            raise NotFoundError("record.erased")
        newest = self._parts.records.newest_of([row.object_id for row in rows])
        return [(row, self._standing_head(row, final, newest[row.object_id])) for row in rows]

    def numbers(self, versions: Sequence[tuple[bytes, int]]) -> list[int]:
        """Return by which numbers the records file knows versions; arguments as in `sealed`."""
        return [row.seq for row in self._parts.records.by_objects(versions) if row is not None]

    def _standing_head(self, stored: RecordVersion, final: int, newest: tuple[int, int]) -> StateRecord:
        """Return a record's final head, if it is one to show and was not taken back since."""
        key = map_key("record", self._parts.org_id, stored.object_id)
        anchor = self._final_head(key, final)
        if anchor is None or anchor.status != ACTIVE:
            raise AccessDeniedError("release.no_record")
        if newest[0] != anchor.version and self._narrows(newest[1], key):
            raise AccessDeniedError("release.no_record")
        return anchor

    def _released(self, stored: RecordVersion, anchor: StateRecord) -> ReleasedRecord:
        """Write one record with its place on the ledger."""
        position = anchor.since if anchor.version == stored.version else self._since(anchor.key, stored.version)
        envelope = self._parts.service.envelope(stored)
        return ReleasedRecord(stored.object_id, stored.version, stored.content_type, position, envelope)

    def _since(self, key: bytes, version: int) -> int:
        """Return the position of an earlier version."""
        row = self._parts.ledger.version(key, version)
        if row is None:
            raise AccessDeniedError("release.no_record")
        return row.since

    def _now(self) -> int:
        """The later of clock and ledger, so that neither can hold an end of validity back."""
        return max(self._parts.clock(), self._parts.ledger.head.time)

    def final_size(self) -> int:
        """How many leaves are final."""
        final = self._parts.ledger.final()
        return 0 if final is None else final.size

    def _final_head(self, key: bytes, final: int) -> StateRecord | None:
        """Return an object's head on the state after so many leaves."""
        head = self._parts.ledger.record(key)
        if head is None or head.since < final:
            return head
        return self._parts.ledger.record_at(key, final - 1)


def root_of(chosen: Sequence[Chosen]) -> bytes:
    """Compute the root over what is released (`medchain.node.release.commitments_root`), 32 bytes."""
    return commitments_root([(row.anchor.key, row.stored.version, row.stored.commitment) for row in chosen])


def versions_of(chosen: Sequence[Chosen]) -> tuple[tuple[bytes, int], ...]:
    """Name what is released: id of each record's object, and the version."""
    return tuple((row.stored.object_id, row.stored.version) for row in chosen)


def _may_be(newest: RecordVersion, wanted: Selected | None) -> bool:
    """Tell by its name whether a record may be one that is to be released."""
    is_named = wanted is None or wanted.ids is None or newest.id in wanted.ids
    return is_named and may_leave(newest)


def may_leave(newest: RecordVersion) -> bool:
    """Tell by its name whether a record is one that may be released to anybody."""
    # Whom else the patient permits what is told to the parties, by the ledger; what a patient complains of to nobody.
    return newest.type not in NO_RESOURCES and not is_kept(newest.type, newest.id)


def types_of_both(asked: tuple[str, ...], granted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the types that were asked for and are granted; each is a list of types, or ``*`` alone."""
    if granted == (ANY_TYPE,):
        return asked
    return granted if asked == (ANY_TYPE,) else tuple(sorted(set(asked) & set(granted)))


def _version_of(standing: Standing) -> int:
    """Return the consent's version."""
    return next(ref.version for ref in standing.refs if ref.key == standing.grant.consent)
