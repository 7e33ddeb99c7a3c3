"""What became of records that were released: whoever received them is told to erase them, and states that it did.

A custodian cannot reach what it released. Keeps true: who received records under a grant that is over is told, until
its own signed statement is on the ledger; the account of a grant says what was released, and which statement there is,
and nothing of what nobody can know. Trusts the recipient for what it states.
Source: `docs/spec/consent.md` 12; `docs/spec/release.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Final, Protocol

from medchain.encoding import Json, canonical, members, unhex
from medchain.errors import ConflictError, MedchainError, NotFoundError
from medchain.ledger.kinds import grant as grants
from medchain.ledger.kinds.access import read as read_accesses
from medchain.ledger.kinds.content import DAY_S, short_text
from medchain.ledger.kinds.erasure import STATED, Statement, read_statement, statement_id, statement_key
from medchain.ledger.object import build_body, in_force
from medchain.ledger.request import access_key
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.endorse import Judge
from medchain.node.log import Log
from medchain.node.submit import Draft, Submitted
from medchain.store.records import RecordStore

PERIOD_S: Final = 60.0
"""How often it is looked for grants that are over."""

DUE: Final = "erasure.due"
"""Alarm at a recipient: what it received under a grant is to be erased, and that is to be stated."""

_LOG: Final = Log("statements")


class Submits(Protocol):
    """Brings sealed objects to the ledger; `medchain.node.submit.Submitter`."""

    def submit(self, draft: Draft) -> Submitted:
        """Bring an object's next version to the ledger, and wait until it is final."""
        ...


class Stops(Protocol):
    """Knows stops; `medchain.node.stops.StopBook`."""

    def is_stopped(self, key: bytes) -> bool:
        """Tell whether an object is stopped, as far as was heard."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """What became of what was released under a grant.

    Attributes:
        grant: map key of the grant, 32 bytes.
        custodian: org_id of who released.
        recipient: org_id of who received.
        is_over: whether nothing more is released under it.
        releases: how many there were.
        records: how many records they had, one released twice counted twice.
        unknown: versions of the access object whose body is not here.
        statement: what the recipient states, None without.
        position: leaf index of the statement.
    """

    grant: bytes
    custodian: str
    recipient: str
    is_over: bool
    releases: int
    records: int
    unknown: tuple[int, ...]
    statement: Statement | None
    position: int | None

    @property
    def is_due(self) -> bool:
        """Whether the recipient has still to state that it erased what it received."""
        return self.is_over and self.position is None and (self.releases > 0 or bool(self.unknown))

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        statement = self.statement
        return {
            "custodian": self.custodian,
            "due": self.is_due,
            "grant": self.grant.hex(),
            "over": self.is_over,
            "position": self.position,
            "recipient": self.recipient,
            "records": self.records,
            "releases": self.releases,
            "statement": None if statement is None else {"reason": statement.reason, "time": statement.time},
            "unknown": list[Json](self.unknown),
        }


class StatementBook:
    """Accounts of grants, and this organisation's statements. Threads may share it."""

    __slots__ = ("_judge", "_random", "_records", "_stops", "_submitter")

    def __init__(
        self, judge: Judge, records: RecordStore, submitter: Submits, stops: Stops, random: Callable[[int], bytes]
    ) -> None:
        """Prepare.

        Args:
            judge: this node's ledger, bodies and clock.
            records: keeps alarms.
            submitter: brings objects to the ledger.
            stops: knows what was stopped.
            random: gives as many unpredictable bytes as it is asked for.
        """
        self._judge = judge
        self._records = records
        self._submitter = submitter
        self._stops = stops
        self._random = random

    def run(self, stop: Event) -> None:
        """Remind until told to stop."""
        while not stop.wait(PERIOD_S):
            try:
                self.remind()
            except MedchainError as error:
                _LOG.warning("statements.delayed", code=error.code)

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {"erasure.account": self._account, "erasure.due": self._due, "erasure.state": self._state}

    def account(self, grant: bytes) -> Account:
        """Tell what became of what was released under a grant.

        Args:
            grant: its map key, 32 bytes.

        Raises:
            NotFoundError: ``grant.unknown`` where the grant or its body is not here.
        """
        found = self._judge.shelf.head(grant)
        if found is None or found[0].kind != "grant":
            raise NotFoundError("grant.unknown")
        given = grants.read(found[1].content)
        releases, records, unknown = self._released(access_key(grant, given.custodian))
        key = statement_key(grant, given.recipient)
        stated, body = self._judge.replica.store.record(key), self._judge.shelf.head(key)
        return Account(
            grant=grant,
            custodian=given.custodian,
            recipient=given.recipient,
            is_over=self._is_over(grant) or self._is_over(given.consent),
            releases=releases,
            records=records,
            unknown=unknown,
            statement=None if body is None else read_statement(body[1].content),
            position=None if stated is None else stated.since,
        )

    def due(self) -> list[Account]:
        """Return the grants under which this organisation received what it has not stated to have erased."""
        found = [self.account(key) for key in self._judge.shelf.index.grants() if self._judge.shelf.head(key)]
        return [row for row in found if row.recipient == self._judge.org_id and row.is_due]

    def state(self, grant: bytes, reason: str) -> Submitted:
        """State that what this organisation was given under a grant is erased.

        Args:
            grant: its map key, 32 bytes.
            reason: why or how, 1 to 200 characters; it names nobody.

        Returns:
            What is final.

        Raises:
            InputError: ``content.text``.
            NotFoundError: ``grant.unknown``.
            ConflictError: ``erasure.stated`` for a second statement.
            VerificationError: ``erasure.in_force``, ``erasure.grant`` for a grant to somebody else.
            UnavailableError: not final yet; it may become so.
        """
        account = self.account(grant)
        if account.position is not None:
            raise ConflictError("erasure.stated")
        own = self._judge.org_id
        content = Statement(own, account.custodian, grant, short_text(reason), self._judge.clock()).to_content()
        body = build_body("erasure", content, None, self._random)
        return self._submitter.submit(Draft("erasure", statement_id(grant, own), body, STATED, version=1))

    def remind(self) -> int:
        """Raise an alarm for each grant that is due; returns how many there are."""
        rows, now = self.due(), self._judge.clock()
        for row in rows:
            fields = canonical({"custodian": row.custodian, "grant": row.grant.hex()})
            self._records.raise_alarm(DUE, row.grant.hex(), self._judge.replica.height, fields, now)
        return len(rows)

    def _is_over(self, key: bytes) -> bool:
        """Tell whether nothing more rests on an object: by a stop that was heard, its end, or its last day."""
        record = self._judge.replica.store.record(key)
        return record is None or self._stops.is_stopped(key) or not in_force(record, self._judge.clock() // DAY_S)

    def _released(self, key: bytes) -> tuple[int, int, tuple[int, ...]]:
        """Count releases and records of an access object, and name the versions whose body is not here."""
        head, releases, records = self._judge.replica.store.record(key), 0, 0
        unknown: list[int] = []
        for version in range(1, 1 if head is None else head.version + 1):
            body = self._judge.shelf.at(key, version)
            if body is None or "accesses" not in body.content:
                unknown.append(version)
                continue
            rows = read_accesses(body.content).accesses
            releases, records = releases + len(rows), records + sum(row.count for row in rows)
        return releases, records, tuple(unknown)

    def _account(self, document: Json) -> Json:
        """Tell what became of what was released under a grant."""
        return self.account(unhex(members(document, {"grant": str})["grant"], HASH_BYTES)).to_json()

    def _due(self, document: Json) -> Json:
        """Tell what this organisation has to erase."""
        members(document, {})
        return {"grants": [row.to_json() for row in self.due()]}

    def _state(self, document: Json) -> Json:
        """State an erasure."""
        top = members(document, {"grant": str, "reason": str})
        done = self.state(unhex(top["grant"], HASH_BYTES), str(top["reason"]))
        return {"key": done.key.hex(), "position": done.record.since, "version": done.record.version}
