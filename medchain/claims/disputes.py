"""Disputes: an insurer asks a hospital about a claim, the hospital answers by a day, and both keep every step, signed.

Keeps true: what is said is on this node's disk before it leaves, and is brought as often as it takes; a step of the
other side's is kept only if it is signed by it and follows what is here; a patient's go with an erasure. Trusts its
callers, the node's own pages, for who of the staff speaks, and the server for which organisation calls.
Source: `docs/spec/claim-dispute.md`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Lock
from typing import Final, NamedTuple, Protocol

from medchain.claims.dispute import (
    ANSWER_GIVE_UP_S,
    GIVE_UP_S,
    MAX_DISPUTE_BYTES,
    MAX_RECORDS,
    ON_END_S,
    Dispute,
    DisputeStep,
    StepKind,
    Taken,
    check_follows,
)
from medchain.claims.issuing import ASKING_ROLES
from medchain.crypto.es384 import Es384Signer
from medchain.encoding import Json, as_list, as_number, as_object, canonical, members, parse_canonical, unhex
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.members import Members, Organisation
from medchain.ledger.signed_request import REQUEST_AHEAD_S, SignedRequest, read_request, sign_request
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.clock import Clock
from medchain.node.custodian import GIVEN
from medchain.node.log import Log
from medchain.node.rounds import work_in_rounds
from medchain.store.disputes import MAX_LISTED, DisputeRow
from medchain.store.records import RecordStore

OPEN: Final = "dispute.open"
"""Local operation: ask a hospital about a claim."""

STEP: Final = "dispute.step"
"""Local operation: answer, ask again or close."""

LIST: Final = "dispute.list"
"""Local operation: all disputes, or those about a claim."""

SHOW: Final = "dispute.show"
"""Local operation: one dispute with all that was said."""

WAITING: Final = "dispute.waiting"
"""Local operation: how many wait for this organisation."""

NOT_TOLD: Final = "dispute.records"
"""Code of the refusal of a question that names what was not told to the insurer."""

HOSPITAL: Final = "hospital"
"""Role on the ledger of who is asked."""

PERIOD_S: Final = 2.0
"""How often it is looked whether something is to be brought."""

MAX_ACCESSES: Final = 10_000
"""Newest releases of a patient's records among which those are found that a question names."""

MAX_REFUSED: Final = 60
"""Most questions of one insurer, on one day (UTC), that name what was not told to it; more are not looked at."""

AGAIN_S: Final = 600
"""How soon a question that was refused for what it names is looked at again, in seconds; it is brought more often."""

_MAX_KEPT: Final = 10_000
_AT_ONCE: Final = 100
_LONGEST_REST_S: Final = 60.0
_MAX_HEARD_BYTES: Final = 256
# Codes of a way that is broken; what the other side itself refuses has others.
_WAY: Final = "peer."
_LOG: Final = Log("disputes")


class About(NamedTuple):
    """What a question is about, as the insurer's case has it.

    Attributes:
        records: of those that the hospital has told of for the claim, ``Type/id`` there.
        patient: keyed token of the patient of this node whose claim it is; empty for none.
    """

    records: tuple[str, ...]
    patient: str


class DisputeWays(Protocol):
    """The way to the other side."""

    def dispute(self, org_id: str, document: bytes) -> bytes:
        """Bring a step; raises `UnavailableError`, or the error of the refusal."""
        ...


@dataclass(frozen=True, slots=True)
class DisputeParts:
    """What the desk of disputes is made from.

    Attributes:
        org_id: this organisation.
        ledger: ledger id, 32 bytes.
        members: gives those of this moment.
        records: keeps the steps, and knows whose a record is and whom it was given to.
        about: finds what a question to a hospital is about, by the claim's digest and its org_id; raises
            `NotFoundError` ``case.unknown`` for a claim of which there is no case.
        authentication: signs steps.
        ways: to the other side.
        clock: gives Unix seconds.
        random: gives as many unpredictable bytes as it is asked for.
    """

    org_id: str
    ledger: bytes
    members: Callable[[], Members]
    records: RecordStore
    about: Callable[[bytes, str], About]
    authentication: Es384Signer
    ways: DisputeWays
    clock: Clock
    random: Callable[[int], bytes]


class DisputeDesk:
    """Takes and brings steps. Threads of one daemon may share it."""

    __slots__ = ("_lock", "_looking", "_parts", "_refused")

    def __init__(self, parts: DisputeParts) -> None:
        """Use parts."""
        self._parts = parts
        # What a question names is looked for beside all other steps, for one question at a time.
        self._looking = Lock()
        # Hash of a question that was refused → when it was looked at last, Unix seconds.
        self._refused: OrderedDict[bytes, int] = OrderedDict()
        # Two steps at once are one after the other.
        self._lock = Lock()

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {
            LIST: self._list,
            OPEN: self._open,
            SHOW: self._show,
            STEP: self._step,
            WAITING: self._waiting,
        }

    def run(self, stop: Event) -> None:
        """Bring until told to stop; whom nobody reaches is tried again, later each time."""
        work_in_rounds(
            self.round,
            stop,
            period_s=PERIOD_S,
            longest_rest_s=_LONGEST_REST_S,
            delayed=lambda code: _LOG.warning("disputes.delayed", code=code),
        )

    def round(self) -> int:
        """Bring what the other side has not heard; returns how many steps are still to be brought.

        Whom one step does not reach is tried again in the next round alone: others do not wait for each of its own. Nor
        is a step brought before the one that it follows. What the other side has refused for `GIVE_UP_S` on end is
        given up, a hospital's answers after `ANSWER_GIVE_UP_S`; while one of the two is away nothing is refused.
        """
        away, stopped, left = set[str](), set[bytes](), 0
        # A node that is no member yet has said nothing.
        own = self._parts.members().organisations.get(self._parts.org_id)
        answers = own is not None and own.role == HOSPITAL
        most = ANSWER_GIVE_UP_S if answers else GIVE_UP_S
        for row in self._parts.records.unheard_steps(_AT_ONCE, given_up_s=most):
            if row.peer in away or row.dispute in stopped or not self._brought(row, away):
                stopped.add(row.dispute)
                left += 1
        return left

    def receive(self, document: bytes, peer: str) -> Json:
        """Take a step of the other side's.

        Args:
            document: from `SignedRequest.encode`.
            peer: org_id of who calls.

        Returns:
            When it was heard here; the same for one that was taken before.

        Raises:
            InputError: as `DisputeStep.read`.
            AccessDeniedError: ``dispute.sender`` where another one calls, or it is not meant for this organisation;
                ``dispute.role`` where no insurer asks, or no hospital is asked; ``dispute.signature``,
                ``dispute.time``; ``dispute.records`` where it names what was not told to the insurer.
            ConflictError: as `check_follows`.
            UnavailableError: ``dispute.quota``, for too many that were opened, or refused on one day.
        """
        signed = read_request(DisputeStep, parse_canonical(document, max_bytes=MAX_DISPUTE_BYTES))
        step, now = signed.request, self._parts.clock()
        self._check(signed, peer, now)
        is_new = step.number == 1 and not self._parts.records.dispute_steps(step.dispute)
        whose = self._looked_at(step, now) if is_new else None
        with self._lock:
            rows = self._parts.records.dispute_steps(step.dispute)
            before = [step_of(row) for row in rows]
            known = next((row for row, one in zip(rows, before, strict=True) if one.hash == step.hash), None)
            if known is not None:
                return {"heard": known.created}
            # What was said here and not heard there gives way to an answer: the hospital had given it by then.
            is_late = bool(rows) and rows[-1].heard is None and rows[-1].number == step.number
            is_crossed = is_late and step.step is StepKind.ANSWER
            check_follows(step, before[: step.number - 1] if is_crossed else before)
            if not rows and whose is None:
                # What was there is gone since, with an erasure.
                raise ConflictError("dispute.head")
            self._settle(rows[: step.number - 1], now)
            row = DisputeRow(
                dispute=step.dispute,
                number=step.number,
                peer=peer,
                claim=step.claim,
                patient=rows[0].patient if rows else whose or "",
                document=document,
                author="",
                created=now,
                heard=now,
            )
            self._parts.records.put_dispute_step(row, displaces=is_crossed)
        return {"heard": now}

    def _check(self, signed: SignedRequest[DisputeStep], peer: str, now: int) -> None:
        """See that a step is by who calls, for this organisation, and may be said at all."""
        step, known = signed.request, self._parts.members()
        active = {one.org_id: one for one in known.active}
        sender, insurer = active.get(peer), known.organisations.get(step.insurer)
        if sender is None or (step.asker, step.receiver) != (peer, self._parts.org_id):
            raise AccessDeniedError("dispute.sender")
        if not signed.is_of(sender, self._parts.ledger):
            raise AccessDeniedError("dispute.signature")
        hospital = known.organisations.get(step.hospital)
        if insurer is None or insurer.role not in ASKING_ROLES or hospital is None or hospital.role != HOSPITAL:
            raise AccessDeniedError("dispute.role")
        if step.time > now + REQUEST_AHEAD_S:
            raise AccessDeniedError("dispute.time")

    def _settle(self, rows: Sequence[DisputeRow], now: int) -> None:
        """Note that the other side has heard what it follows: the answer that said so was lost."""
        for row in rows:
            if row.heard is None:
                self._parts.records.note_heard(row, now)

    def _looked_at(self, step: DisputeStep, now: int) -> str:
        """Return whose records a question names, as `_whose`; what is refused is counted, each question once.

        Who guesses ids could otherwise ask without end, and have all that a patient's records were given for read anew
        each time.
        """
        if not step.records:
            return ""
        with self._looking:
            looked = self._refused.get(step.hash)
            if looked is not None and now - looked < AGAIN_S:
                raise AccessDeniedError(NOT_TOLD)
            if looked is None and self._refused_today(step.insurer, now) >= MAX_REFUSED:
                raise UnavailableError("dispute.quota", retry_after_s=DAY_S - now % DAY_S)
            try:
                return self._whose(step)
            except AccessDeniedError:
                if looked is None:
                    self._parts.records.count_refusal(step.insurer, NOT_TOLD, now, is_apart=True)
                self._refused[step.hash] = now
                if len(self._refused) > _MAX_KEPT:
                    self._refused.popitem(last=False)
                raise

    def _refused_today(self, insurer: str, now: int) -> int:
        """Count an insurer's questions of this day that named what was not told to it."""
        today = self._parts.records.refusals(since_day=now // DAY_S)
        return sum(row.count for row in today if (row.requester, row.reason) == (insurer, NOT_TOLD))

    def _whose(self, step: DisputeStep) -> str:
        """Return the keyed token of the patient whose records a question names.

        An insurer could otherwise put its words beside any record whose id it guesses, or learn that there is one: what
        is not there, another patient's, or was never told to it looks alike.
        """
        named = [one.partition("/") for one in step.records]
        rows = [self._parts.records.get(type_name, record_id) for type_name, _, record_id in named]
        found = [row for row in rows if row is not None]
        patients = {row.patient for row in found}
        if len(found) < len(rows) or len(patients) != 1 or "" in patients:
            raise AccessDeniedError(NOT_TOLD)
        [patient] = patients
        if not {row.object_id.hex() for row in found} <= self._told(patient, step.insurer):
            raise AccessDeniedError(NOT_TOLD)
        return patient

    def _told(self, patient: str, insurer: str) -> set[str]:
        """Tell which of a patient's records were given to an insurer, or told of: their object ids."""
        details = self._parts.records.access_details(patient, GIVEN, MAX_ACCESSES)
        # Only what can be of that insurer is parsed: canonical JSON writes a name in one way.
        named = canonical(insurer)
        given = [as_object(parse_canonical(one, max_bytes=len(one))) for one in details if named in one]
        records = [as_list(one.get("records", [])) for one in given if one.get("recipient") == insurer]
        return {str(as_list(row)[0]) for rows in records for row in rows}

    def _open(self, document: Json) -> Json:
        """Ask a hospital about a claim."""
        top = members(document, dict.fromkeys(("by", "claim", "hospital", "text"), str) | {"days": int})
        hospital, claim = str(top["hospital"]), unhex(top["claim"], HASH_BYTES)
        if self._own().role not in ASKING_ROLES:
            raise AccessDeniedError("dispute.role")
        if hospital not in {one.org_id for one in self._parts.members().active if one.role == HOSPITAL}:
            raise InputError("dispute.hospital")
        about = self._parts.about(claim, hospital)
        first = DisputeStep(
            ledger=self._parts.ledger,
            nonce=self._parts.random(ID_BYTES),
            time=self._parts.clock(),
            dispute=self._parts.random(ID_BYTES),
            number=1,
            previous=None,
            step=StepKind.QUESTION,
            hospital=hospital,
            insurer=self._parts.org_id,
            claim=claim,
            records=tuple(sorted(about.records)[:MAX_RECORDS]),
            days=as_number(top["days"]),
            text=str(top["text"]),
        )
        with self._lock:
            row = self._said(first, str(top["by"]), about.patient, [])
        self._brought(row)
        return {"id": first.dispute.hex(), "number": 1}

    def _step(self, document: Json) -> Json:
        """Answer, ask again or close."""
        shape = dict.fromkeys(("by", "id", "step", "text"), str)
        top = members(document, shape | {"days": int})
        if top["step"] not in {one.value for one in StepKind}:
            raise InputError("dispute.malformed")
        with self._lock:
            rows = self._rows(top["id"])
            before = [step_of(row) for row in rows]
            step = DisputeStep(
                ledger=self._parts.ledger,
                nonce=self._parts.random(ID_BYTES),
                time=self._parts.clock(),
                dispute=before[0].dispute,
                number=len(before) + 1,
                previous=before[-1].hash,
                step=StepKind(str(top["step"])),
                hospital=before[0].hospital,
                insurer=before[0].insurer,
                claim=before[0].claim,
                records=(),
                days=as_number(top["days"]),
                text=str(top["text"]),
            )
            row = self._said(step, str(top["by"]), rows[0].patient, before, rows[-1])
        if rows[-1].heard is not None:
            self._brought(row)
        return {"id": step.dispute.hex(), "number": step.number}

    def _said(
        self,
        step: DisputeStep,
        author: str,
        patient: str,
        before: Sequence[DisputeStep],
        newest: DisputeRow | None = None,
    ) -> DisputeRow:
        """Keep a step of this organisation's; it is brought afterwards, once the one before it is heard.

        What follows a step that the other side refuses is refused as long as that one.
        """
        if not step.is_well_formed:
            raise InputError("dispute.malformed")
        if step.asker != self._parts.org_id:
            raise AccessDeniedError("dispute.sender")
        check_follows(step, before)
        row = DisputeRow(
            dispute=step.dispute,
            number=step.number,
            peer=step.receiver,
            claim=step.claim,
            patient=patient,
            document=sign_request(self._parts.authentication, step).encode(),
            author=author,
            created=self._parts.clock(),
            heard=None,
            refusal="" if newest is None else newest.refusal,
            refused=None if newest is None else newest.refused,
            refused_last=None if newest is None else newest.refused_last,
        )
        self._parts.records.put_dispute_step(row)
        return row

    def _brought(self, row: DisputeRow, away: set[str] | None = None) -> bool:
        """Bring a step; tells whether the other side has it.

        Args:
            row: the step.
            away: gets the other side where it was not reached; None for nobody who asks.
        """
        step = step_of(row)
        # Signed anew: the key under which it was said may have been exchanged since. What is signed stays the same.
        signed = sign_request(self._parts.authentication, step)
        try:
            answer = self._parts.ways.dispute(row.peer, signed.encode())
            heard = as_number(members(parse_canonical(answer, max_bytes=_MAX_HEARD_BYTES), {"heard": int})["heard"])
        except MedchainError as error:
            _LOG.warning("disputes.delayed", code=error.code, peer=row.peer)
            if error.code.startswith(_WAY):
                if away is not None:
                    away.add(row.peer)
            elif not isinstance(error, UnavailableError):
                self._parts.records.note_refused(row, error.code, self._parts.clock(), on_end_s=ON_END_S)
            return False
        # The other side cannot have heard it before it was said, or later than now.
        self._parts.records.note_heard(row, min(max(heard, row.created), self._parts.clock()))
        return True

    def _list(self, document: Json) -> Json:
        """List disputes, those opened last at the top, and count all of them.

        Of more than can be listed those are that wait for this organisation, the longest first, then those that are
        open: whoever opens many keeps no other one's question out of sight.
        """
        top = members(document, {}, {"claim": str})
        claim, now = unhex(top["claim"], HASH_BYTES) if "claim" in top else None, self._parts.clock()
        newest = self._newest(claim)
        chosen = sorted(newest, key=self._urgency)[:MAX_LISTED]
        found = self._parts.records.disputes_named([row.dispute for row, _ in chosen])
        found.sort(key=lambda rows: (-rows[0].created, rows[0].dispute))
        overdue = sum(one.is_overdue(now) for _, one in newest)
        return {"all": len(newest), "disputes": [self._shown(rows) for rows in found], "overdue": overdue, "time": now}

    def _newest(self, claim: bytes | None = None) -> list[tuple[DisputeRow, Dispute]]:
        """Return the newest step of each dispute, as kept and as one side has it: that says for whom it waits."""
        return [(row, dispute_of([row])) for row in self._parts.records.newest_dispute_steps(claim)]

    def _urgency(self, newest: tuple[DisputeRow, Dispute]) -> tuple[int, int, bytes]:
        """Order disputes by what they ask of this organisation."""
        row, one = newest
        if one.waits_for(self._parts.org_id):
            return 0, row.created, row.dispute
        return 1 if one.is_open else 2, -row.created, row.dispute

    def _waiting(self, document: Json) -> Json:
        """Count those that wait for this organisation: a hospital's for its answer, an insurer's for what follows one.

        What the other side will not take waits for whoever said it.
        """
        members(document, {})
        now, waiting = self._parts.clock(), [one for _, one in self._newest() if one.waits_for(self._parts.org_id)]
        return {"overdue": sum(one.is_overdue(now) for one in waiting), "waiting": len(waiting)}

    def _show(self, document: Json) -> Json:
        """Show one."""
        return self._shown(self._rows(members(document, {"id": str})["id"]))

    def _rows(self, name: Json) -> list[DisputeRow]:
        """Find the steps of a dispute; raises `NotFoundError` ``dispute.unknown``."""
        rows = self._parts.records.dispute_steps(unhex(name, ID_BYTES))
        if not rows:
            raise NotFoundError("dispute.unknown")
        return rows

    def _shown(self, rows: Sequence[DisputeRow]) -> Json:
        """Write a dispute for the node's own pages."""
        dispute, first, now = dispute_of(rows), step_of(rows[0]), self._parts.clock()
        steps: list[Json] = [
            {
                "by": one.by,
                "days": one.step.days,
                "given_up": one.is_given_up,
                "hash": one.step.hash.hex(),
                "heard": one.heard,
                "number": one.step.number,
                "refusal": one.refusal,
                "sender": one.step.asker,
                "step": one.step.step.value,
                "text": one.step.text,
                "time": one.step.time,
            }
            for one in dispute.steps
        ]
        return {
            "claim": first.claim.hex(),
            "due": dispute.due,
            "hospital": first.hospital,
            "id": first.dispute.hex(),
            "insurer": first.insurer,
            "overdue": dispute.is_overdue(now),
            "records": [*first.records],
            "state": dispute.last.step.step.value,
            "steps": steps,
        }

    def _own(self) -> Organisation:
        """Return this organisation, as the ledger has it now."""
        return self._parts.members().organisations[self._parts.org_id]


def is_disputed(records: RecordStore, claim: bytes) -> bool:
    """Tell whether a dispute about a claim is open.

    Args:
        records: keeps the steps.
        claim: digest of the insurer's claim, 32 bytes.

    Raises:
        VerificationError: as `step_of`.
    """
    return any(dispute_of(rows).is_open for rows in records.disputes(claim))


def said_of(records: RecordStore, claim: bytes) -> int:
    """Count the questions and answers in all disputes about a claim; arguments and errors as `is_disputed`."""
    steps = [one.step.step for rows in records.disputes(claim) for one in dispute_of(rows).steps]
    return sum(step is not StepKind.CLOSE for step in steps)


def step_of(row: DisputeRow) -> DisputeStep:
    """Read a step that is kept; raises `VerificationError` ``dispute.kept`` for one that is damaged."""
    try:
        return read_request(DisputeStep, parse_canonical(row.document, max_bytes=MAX_DISPUTE_BYTES)).request
    except InputError as error:
        raise VerificationError("dispute.kept") from error


def dispute_of(rows: Sequence[DisputeRow]) -> Dispute:
    """Read a dispute that is kept; raises as `step_of`."""
    return Dispute(
        tuple(Taken(step_of(row), row.author, row.heard, row.refusal, row.refused, row.refused_last) for row in rows)
    )
