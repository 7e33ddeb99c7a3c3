"""Opens an answer of another organisation: keys unwrapped, each record compared with its anchor on our own ledger.

Keeps true: a record is the version that its custodian registered, final here, and no other; one that is not refuses the
whole answer, by name. Trusts this node's own ledger and keys.
Source: `docs/spec/release.md` 16.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

from medchain.crypto.aead import RecordContext, open_record, open_stream
from medchain.crypto.commitment import NO_FIELDS, record_commitment, record_field_root
from medchain.crypto.keywrap import SecretBytes
from medchain.crypto.sealing import SealingPrivateKey, open_release
from medchain.errors import InputError, UnavailableError, VerificationError
from medchain.ledger.members import ENCRYPTION_KEY
from medchain.ledger.object import ACTIVE, StateRecord, map_key
from medchain.node.release import Answer, ReleasedRecord, commitments_root, parse_answer
from medchain.store.ledger import LedgerStore

_STREAM: Final = b"\1"
_FORM_AT: Final = 4


@dataclass(frozen=True, slots=True)
class ReceivedRecord:
    """A record that is what its custodian registered.

    Attributes:
        creator: org_id of the custodian, which registered it.
        object_id: id of its object on the ledger, 16 bytes.
        version: of the record.
        content_type: media type.
        content: its bytes.
        salt: of the commitment, 32 secret bytes.
        commitment: what the ledger holds.
        position: leaf index of its anchor.
        is_newest: whether our ledger knew no later version when it was opened.
    """

    creator: str
    object_id: bytes
    version: int
    content_type: str
    content: bytes
    salt: bytes
    commitment: bytes
    position: int
    is_newest: bool


class Wrapped(NamedTuple):
    """What the data keys of an answer are bound to.

    Attributes:
        request_hash: of our request, 32 bytes.
        entry_id: of the ledger's entry of the release (`medchain.node.release.access_entry_id`), 32 bytes.
        key_id: of our key to which they are wrapped.
    """

    request_hash: bytes
    entry_id: bytes
    key_id: str


class Opener:
    """Opens what comes to one organisation. Threads may share it."""

    __slots__ = ("_encryption", "_ledger", "_ledger_id")

    def __init__(self, ledger_id: bytes, ledger: LedgerStore, encryption: Mapping[str, SealingPrivateKey]) -> None:
        """Use keys and ledger.

        Args:
            ledger_id: 32 bytes.
            ledger: this node's ledger file.
            encryption: this organisation's keys, by id.
        """
        self._encryption = encryption
        self._ledger = ledger
        self._ledger_id = ledger_id

    def key_of(self, org_id: str) -> str:
        """Return the id of a key that the ledger lists for this organisation and that is here.

        Raises:
            UnavailableError: ``exchange.key`` without one.
        """
        listed = self._ledger.members.organisations[org_id].keys
        usable = [key.id for key in listed if key.use == ENCRYPTION_KEY and key.id in self._encryption]
        if not usable:
            raise UnavailableError("exchange.key")
        return usable[0]

    def anchors(self, custodian: str, answer: Answer) -> list[StateRecord]:
        """Find the records of an answer on our own final ledger.

        Args:
            custodian: org_id of who answered.
            answer: as it came.

        Returns:
            The state record of each, in order.

        Raises:
            VerificationError: ``exchange.record`` for one that is not there so; ``exchange.records`` for one twice.
        """
        final = self._ledger.final()
        size = 0 if final is None else final.size
        found = [self._anchor(custodian, record, size) for record in answer.records]
        if len({anchor.key for anchor in found}) != len(found):
            raise VerificationError("exchange.records", count=len(found))
        return found

    def records(self, answer: Answer, anchors: Sequence[StateRecord], wrapped: Wrapped) -> tuple[ReceivedRecord, ...]:
        """Open the records of an answer.

        Args:
            answer: as it came.
            anchors: from `anchors`.
            wrapped: what the data keys must be bound to.

        Returns:
            The records, in order.

        Raises:
            VerificationError: ``exchange.wraps``, ``exchange.record``.
        """
        rows = zip(answer.records, anchors, self._data_keys(answer, wrapped), strict=True)
        return tuple(self._opened(record, anchor, dek) for record, anchor, dek in rows)

    def _anchor(self, custodian: str, record: ReleasedRecord, final: int) -> StateRecord:
        """Find a record's version on our own final ledger."""
        key = map_key("record", custodian, record.object_id)
        found = self._ledger.record(key)
        if found is None or found.version != record.version:
            found = self._ledger.version(key, record.version)
        if found is None or found.since >= final or found.since != record.position:
            _refuse(record, "unknown")
        if found.status != ACTIVE:
            _refuse(record, found.status)
        return found

    def _data_keys(self, answer: Answer, wrapped: Wrapped) -> list[SecretBytes]:
        """Open the data keys."""
        private = self._encryption.get(wrapped.key_id)
        if private is None:
            raise VerificationError("exchange.wraps")
        try:
            deks = open_release(private, wrapped.request_hash, wrapped.entry_id, private.key_id, answer.wraps)
        except VerificationError as error:
            raise VerificationError("exchange.wraps", reason=error.code) from error
        if len(deks) != len(answer.records):
            raise VerificationError("exchange.wraps")
        return deks

    def _opened(self, record: ReleasedRecord, anchor: StateRecord, dek: bytes) -> ReceivedRecord:
        """Open one record and compare it with its commitment on our own ledger."""
        context = RecordContext(self._ledger_id, record.object_id, record.version, record.content_type)
        try:
            salt, content = _open_envelope(dek, context, record.envelope)
        except VerificationError as error:
            _refuse(record, error.code)
        if not _is_committed(salt, content, anchor.body_hash):
            _refuse(record, "commitment")
        head = self._ledger.record(anchor.key)
        return ReceivedRecord(
            anchor.creator,
            record.object_id,
            record.version,
            record.content_type,
            content,
            salt,
            anchor.body_hash,
            anchor.since,
            head is not None and head.version == record.version,
        )


def answer_to(request_hash: bytes, data: bytes) -> Answer:
    """Read what came; raises `VerificationError` ``exchange.format``, ``.request`` for what answers another request."""
    try:
        answer = parse_answer(data)
    except InputError as error:
        raise VerificationError("exchange.format", reason=error.code) from error
    if answer.request_hash != request_hash:
        raise VerificationError("exchange.request")
    return answer


def root_of(anchors: Sequence[StateRecord]) -> bytes:
    """Compute the root over what was released (`medchain.node.release.commitments_root`), 32 bytes."""
    return commitments_root([(anchor.key, anchor.version, anchor.body_hash) for anchor in anchors])


def _open_envelope(dek: bytes, context: RecordContext, envelope: bytes) -> tuple[bytes, bytes]:
    """Open an envelope of either form; returns salt and content."""
    if envelope[_FORM_AT : _FORM_AT + 1] == _STREAM:
        salt, pieces = open_stream(dek, context, [envelope])
        return salt, b"".join(pieces)
    return open_record(dek, context, envelope)


def _is_committed(salt: bytes, content: bytes, commitment: bytes) -> bool:
    """Tell whether salt and content are what a commitment says, with a field root or without."""
    if hmac.compare_digest(record_commitment(salt, content, NO_FIELDS), commitment):
        return True
    try:
        root = record_field_root(salt, content)
    except InputError:
        return False
    return hmac.compare_digest(record_commitment(salt, content, root), commitment)


def _refuse(record: ReleasedRecord, reason: str) -> NoReturn:
    """Refuse an answer for one record."""
    raise VerificationError("exchange.record", object_id=record.object_id.hex(), version=record.version, reason=reason)
