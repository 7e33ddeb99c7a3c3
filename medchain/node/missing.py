"""Versions of emergencies whose bodies this node was not given: asked for, and an alarm where they stay away.

Whoever broke the glass must tell regulators and the recipient; that it did so with a later version alone, or not at
all, shows nowhere else than on the ledger. Keeps true: each version that is final and that this organisation must be
told of is either here or noted as missing, over restarts, since the watch goes through all final blocks; who does not
answer is told apart from who answers and does not give it; an answer is taken as any delivery is, so that another body
than the ledger's is refused. Gives others what it was to tell them, and nothing else. Trusts this node's ledger.
Source: `docs/spec/node-protocol.md`, "What members send each other about bodies"; `docs/spec/consent.md` 11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event
from typing import Final, Protocol

from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import AccessDeniedError, InputError, MedchainError, NotFoundError, UnavailableError
from medchain.ledger.kinds.emergency import SUPERVISED_FIELDS, SUPERVISOR
from medchain.ledger.object import Body, StateRecord
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.emergency import EMERGENCY
from medchain.node.endorse import Judge
from medchain.node.log import Log
from medchain.node.sealed_body import MAX_DOCUMENT_BYTES, OpenedBody, delivery, encryption_key, seal_body
from medchain.node.verdicts import accuse
from medchain.store.ledger import LedgerStore
from medchain.store.missing import MissingBody
from medchain.store.records import RecordStore

WANTED_TYPE: Final = "medchain/body-wanted/v1"
"""Type member of the document by which a body is asked for."""

WITHHELD: Final = "emergency.withheld"
"""Alarm: who broke the glass answers, and does not give the body of a version."""

UNREACHABLE: Final = "emergency.unreachable"
"""Alarm: the body of a version is missing, and who broke the glass cannot be asked for it."""

MISSING: Final = "emergency.missing"
"""Name of the local operation: ``{}`` → what is missing for longer than it may be."""

ABSENT: Final = "body.absent"
"""Code of a body that is not here, or that is not for who asks."""

BEHIND: Final = "body.behind"
"""Code of a version that the asked ledger does not have yet: whoever was down is not to pass for one that withholds."""

GRACE_S: Final = 3600
"""How long a body may be missing before it is an alarm, where no setting says so."""

PERIOD_S: Final = 30.0
"""How often it is looked for what is missing, and asked for."""

PER_ROUND: Final = 32
"""Most bodies asked of one organisation at a time."""

MAX_TOLD: Final = 1000
"""Most missing bodies that are told of at once."""

_NAME: Final = "emergencies"
_BLOCKS_AT_ONCE: Final = 256
_NO_ADDRESS: Final = "peer.unknown"
_LOG: Final = Log("missing")


class Receives(Protocol):
    """Takes bodies that members send; `medchain.node.body_receiver.BodyReceiver`."""

    def receive(self, document: bytes, peer: str) -> Json:
        """Open, compare and keep bodies."""
        ...


class MissingBodies:
    """Looks for what is missing and asks for it. One thread calls `run` or `round`; others may list."""

    __slots__ = ("_after", "_examined", "_fetch", "_grace_s", "_judge", "_receiver", "_records")

    def __init__(
        self,
        judge: Judge,
        records: RecordStore,
        receiver: Receives,
        fetch: Callable[[str, bytes], bytes],
        grace_s: int = GRACE_S,
    ) -> None:
        """Prepare.

        Args:
            judge: this node's ledger, bodies and clock.
            records: keeps what is missing, and alarms.
            receiver: takes what comes.
            fetch: asks an organisation's body service for a body.
            grace_s: how long one may be missing before it is an alarm.
        """
        self._judge = judge
        self._records = records
        self._receiver = receiver
        self._fetch = fetch
        self._grace_s = grace_s
        self._examined: set[bytes] = set()
        self._after: dict[str, tuple[bytes, int]] = {}

    def run(self, stop: Event) -> None:
        """Look and ask until told to stop; what fails is tried again."""
        while not stop.wait(PERIOD_S):
            try:
                self.round(stop)
            except MedchainError as error:
                _LOG.warning("missing.delayed", code=error.code)

    def round(self, stop: Event | None = None) -> None:
        """Look through what has become final, and ask once for what is missing.

        Args:
            stop: when it is set, the rest waits.
        """
        self._look(stop)
        for org_id in sorted(self._judge.replica.members.organisations):
            if stop is not None and stop.is_set():
                return
            self._ask_all(org_id)

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {MISSING: self._list}

    def _look(self, stop: Event | None) -> None:
        """Note what is missing of the blocks that have become final since the last look."""
        store = self._judge.replica.store
        final = store.final()
        if final is None:
            return
        newest = store.block_of_size(final.size).height
        # A ledger that came back from a backup may be shorter than what was looked through.
        seen = min(self._records.watched_height(_NAME), newest)
        # Who is no regulator learns that it was to be told by a body that names it, which may come at any time.
        named = set(self._judge.shelf.index.emergencies()) - self._examined
        while (named or seen < newest) and not (stop is not None and stop.is_set()):
            last = min(seen + _BLOCKS_AT_ONCE, newest)
            changed = store.changed_of(EMERGENCY, seen + 1, last) if seen < last else []
            rows = [row for key in {*named, *changed} for row in self._lacking(key, final.size)]
            self._records.put_missing(_NAME, last, rows)
            self._examined |= named
            named, seen = set(), last

    def _lacking(self, key: bytes, final_size: int) -> Iterator[MissingBody]:
        """List the versions of an emergency of another that are final, are for us, and are not here."""
        now, own = self._judge.clock(), self._judge.org_id
        for record in _versions_for(self._judge, key, own):
            if record.creator != own and record.since < final_size and not self._is_settled(record):
                yield MissingBody(record.creator, key, record.version, now)

    def _is_settled(self, record: StateRecord) -> bool:
        """Tell whether a version's body is here, whatever this node's judgement says of it, or was destroyed here."""
        held = self._judge.shelf.held_at(record.key, record.version)
        if held is not None and held.body_hash == record.body_hash:
            return True
        return record.version <= self._judge.replica.store.destroyed_upto(record.key)

    def _ask_all(self, org_id: str) -> None:
        """Ask one organisation for some of what is missing of it, and raise what is due."""
        page = self._records.missing_of(org_id, PER_ROUND, after=self._after.pop(org_id, (b"", 0)))
        if len(page) == PER_ROUND:
            # What it does not give stays behind what it may give, until all have had their turn.
            self._after[org_id] = page[-1].key, page[-1].version
        silent: MedchainError | None = None
        for row in page:
            record = self._judge.replica.store.version(row.key, row.version)
            if record is None or self._is_settled(record):
                self._records.drop_missing(row)
                continue
            error = silent or self._ask(record)
            if self._is_settled(record):
                _LOG.info("missing.came", peer=org_id)
                self._records.drop_missing(row)
                continue
            silent = error if _is_silence(error) else None
            self._records.note_answer(row, error.code, silent=silent is not None)
            if row.since + self._grace_s <= self._judge.clock():
                code = UNREACHABLE if silent else WITHHELD
                accuse(self._judge, self._records, code, record, error.code)

    def _ask(self, record: StateRecord) -> MedchainError:
        """Ask once; returns why the body is not here then, where it is not."""
        document = canonical({"object": record.key.hex(), "type": WANTED_TYPE, "version": record.version})
        try:
            answer = self._fetch(record.creator, document)
        except MedchainError as error:
            return error
        try:
            self._receiver.receive(answer, record.creator)
        except UnavailableError:
            # Of this node's own disk, not of the one that answered.
            raise
        except MedchainError as error:
            return error
        return NotFoundError(ABSENT)

    def _list(self, document: Json) -> Json:
        """Tell what has been missing for longer than it may be."""
        members(document, {})
        now = self._judge.clock()
        count, rows = self._records.missing_since(now - self._grace_s, MAX_TOLD)
        told: list[Json] = [
            {
                "answer": row.answer,
                "custodian": row.custodian,
                "key": row.key.hex(),
                "silent": bool(row.silent),
                "since": row.since,
                "version": row.version,
            }
            for row in rows
        ]
        return {"count": count, "missing": told, "time": now}


class BodyAnswers:
    """Gives the bodies of this organisation's emergencies to who must be told; part of `BodyService`."""

    __slots__ = ("_judge",)

    def __init__(self, judge: Judge) -> None:
        """Use this node's ledger, bodies and members."""
        self._judge = judge

    def receive(self, document: bytes, peer: str) -> Json:
        """Give a body, or the part of it that a regulator is shown.

        Args:
            document: ``{"object":map key,"type":…,"version":N}``.
            peer: org_id of who asks.

        Returns:
            A delivery, see `medchain.node.sealed_body.delivery`.

        Raises:
            InputError: ``encoding.*``.
            NotFoundError: `ABSENT` for what is not here, or is not for who asks.
            UnavailableError: `BEHIND` for a version that this node's ledger does not have.
        """
        top = members(
            parse_canonical(document, max_bytes=MAX_DOCUMENT_BYTES), {"object": str, "type": str, "version": int}
        )
        key, version = unhex(top["object"], HASH_BYTES), top["version"]
        if type(version) is not int:
            raise InputError("encoding.members", member="version")
        head = self._judge.replica.store.record(key)
        if head is None or head.version < version:
            raise UnavailableError(BEHIND, retry_after_s=int(PERIOD_S))
        record = next((row for row in _versions_for(self._judge, key, peer) if row.version == version), None)
        body = None if record is None else self._judge.shelf.held_at(key, record.version)
        if record is None or body is None or record.creator != self._judge.org_id:
            raise NotFoundError(ABSENT)
        part = body if _is_party(body, peer) else body.redact(SUPERVISED_FIELDS)
        receiver = encryption_key(self._judge.replica.members, peer)
        sealed = seal_body(receiver, self._judge.replica.ledger, OpenedBody(key, record.version, part))
        return delivery(None, [sealed])


def _versions_for(judge: Judge, key: bytes, org_id: str) -> list[StateRecord]:
    """Return the versions of an emergency of which an organisation must be told, as far as this node can know.

    All, where a body that is here names it; else those that were accepted while it was a regulator.
    """
    rows = [row for row in judge.replica.store.history(key) if row.kind == EMERGENCY]
    if any(_names(judge, row, org_id) for row in rows):
        return rows
    return [row for row in rows if _supervised(judge.replica.store, row, org_id)]


def _names(judge: Judge, record: StateRecord, org_id: str) -> bool:
    """Tell whether what is here of a version's body names an organisation as a party."""
    body = judge.shelf.at(record.key, record.version)
    return body is not None and body.body_hash == record.body_hash and _is_party(body, org_id)


def _is_party(body: Body, org_id: str) -> bool:
    """Tell whether an emergency is of an organisation: who looked, or whose records they are."""
    return org_id in (body.content.get("custodian"), body.content.get("recipient"))


def _supervised(store: LedgerStore, record: StateRecord, org_id: str) -> bool:
    """Tell whether an organisation was an active regulator right before a version was accepted."""
    before = store.members_at(max(store.block_at(record.since).height - 1, 0))
    return any(item.org_id == org_id and item.role == SUPERVISOR for item in before.active)


def _is_silence(error: MedchainError) -> bool:
    """Tell whether somebody could not be asked: down, suspended, without an address, or one that does not let us in.

    Whoever is suspended itself, or has a wrong clock, is refused by those who withhold nothing.
    """
    return isinstance(error, UnavailableError | AccessDeniedError) or error.code == _NO_ADDRESS
