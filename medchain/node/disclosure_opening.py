"""Opens a disclosure for a claim: what the hospital says, compared with this node's own ledger; or none of it.

Keeps true: what is believed is signed by the hospital, for this request, claim, grant and insurer; each record is one
that was cited, in the version that a claim of that time means, as the hospital registered it, with no version of its
history untold; what is opened of it is of that version and names it. Trusts this node's own ledger and keys.
Source: `docs/spec/claim-disclosure.md` 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

import orjson

from medchain.crypto.sealing import SealingPrivateKey, open_disclosure
from medchain.errors import InputError, VerificationError
from medchain.ledger.citation import Posted
from medchain.ledger.evidence.disclosure import Disclosure, Row
from medchain.ledger.kinds.access import Access as AccessRow
from medchain.ledger.members import AUTHENTICATION_KEY
from medchain.ledger.object import ACTIVE, StateRecord
from medchain.ledger.opening import open_content
from medchain.node.disclosed import Disclosed, RecordOpening, parse_disclosed
from medchain.node.opening import Wrapped, root_of
from medchain.store.ledger import LedgerStore

MAX_APART_S: Final = 60
"""How far a disclosure may be dated from its access, and how late it may be told of a version, in seconds."""

_ABOUT: Final = ("encounter", "reference")


@dataclass(frozen=True, slots=True)
class DisclosureOpener:
    """Opens what comes to one organisation. Threads may share it.

    Attributes:
        ledger: this node's ledger file.
        encryption: this organisation's keys, by id.
    """

    ledger: LedgerStore
    encryption: Mapping[str, SealingPrivateKey]

    def open(self, posted: Posted, sealed: bytes, wrapped: Wrapped, row: AccessRow) -> Disclosed:
        """Open what came, and compare it.

        Args:
            posted: what was asked.
            sealed: as it came; its hash is that of the access.
            wrapped: what it must be bound to.
            row: what our own ledger's access entry says of it.

        Returns:
            What was disclosed.

        Raises:
            VerificationError: ``exchange.wraps``, ``.format``, ``.disclosure``, ``.record``, ``.records``.
        """
        disclosed = self._unsealed(sealed, wrapped)
        self._check_said(posted, disclosed, row)
        final = self.ledger.final()
        size = 0 if final is None else final.size
        said, states = disclosed.signed.disclosure, list[StateRecord]()
        for told, opening in zip(said.records, disclosed.openings, strict=True):
            states.append(self._state(posted, said, told, opening, size))
        if (len(states), root_of(states)) != (row.count, row.commitments_root):
            raise VerificationError("exchange.records", count=len(states))
        return disclosed

    def _unsealed(self, sealed: bytes, wrapped: Wrapped) -> Disclosed:
        """Open and read it."""
        private = self.encryption.get(wrapped.key_id)
        if private is None:
            raise VerificationError("exchange.wraps")
        try:
            document = open_disclosure(private, wrapped.request_hash, wrapped.entry_id, private.key_id, sealed)
            return parse_disclosed(document)
        except VerificationError as error:
            raise VerificationError("exchange.wraps", reason=error.code) from error
        except InputError as error:
            raise VerificationError("exchange.format", reason=error.code) from error

    def _check_said(self, posted: Posted, disclosed: Disclosed, row: AccessRow) -> None:
        """Check what is said but for the records: for whom and what, when, and who signs it."""
        said, request = disclosed.signed.disclosure, posted.signed.request
        claim = b"" if request.claim is None else request.claim.digest
        asked = (claim, request.grant, request.custodian, request.recipient, request.ledger, request.hash)
        if asked != (said.claim, said.grant, said.hospital, said.insurer, said.ledger, said.request):
            _refuse("request")
        if abs(said.time - row.time) > MAX_APART_S:
            _refuse("time")
        keys = self.ledger.members.organisations[request.custodian].keys
        own = [key.public for key in keys if (key.use, key.id) == (AUTHENTICATION_KEY, disclosed.signed.key_id)]
        if not any(disclosed.signed.is_signed_by(public) for public in own):
            _refuse("signature")
        references = {one.reference for one in said.records}
        about = {str(fact.arguments[name]) for fact in said.facts for name in _ABOUT if name in fact.arguments}
        if not about <= references:
            _refuse("fact")

    def _state(self, posted: Posted, said: Disclosure, told: Row, opening: RecordOpening, final: int) -> StateRecord:
        """Find a record's version on our own final ledger, and compare what is told and opened of it."""
        key = said.key(told)
        history = [one for one in reversed(self.ledger.history(key)) if one.since < final]
        citation = posted.citation
        if citation is None or told.reference not in citation.cited:
            _refuse_record(opening, "reference")
        if len(told.versions) > len(history):
            _refuse_record(opening, "unknown")
        if len(history) > len(told.versions) and self._time(history[len(told.versions)]) < said.time - MAX_APART_S:
            # It was final when the hospital answered: an alteration that is not told of.
            _refuse_record(opening, "untold")
        active = [one for one in history[: len(told.versions)] if one.status == ACTIVE]
        before = [one for one in active if len(active) > 1 and self._time(one) <= citation.created]
        meant = before[-1] if before else next(iter(active), None)
        if meant is None or meant.version != opening.version:
            _refuse_record(opening, "version")
        if opening.opening is not None:
            _check_opening(told, opening, opening.opening, meant)
        return meant

    def _time(self, state: StateRecord) -> int:
        """Tell when a version was put on the ledger."""
        return self.ledger.block_at(state.since).time


def _check_opening(told: Row, opening: RecordOpening, document: bytes, state: StateRecord) -> None:
    """Check that fields are those that were registered, of the record that is named, and not all of it."""
    try:
        shown = open_content(document, state)
    except (InputError, VerificationError) as error:
        raise _of_record(opening, error.code) from error
    fields = dict(shown.fields)
    type_name, _, record_id = told.reference.partition("/")
    named = (orjson.dumps(type_name).decode(), orjson.dumps(record_id).decode())
    if shown.content is not None or (fields.get("/resourceType"), fields.get("/id")) != named:
        _refuse_record(opening, "fields")


def _refuse(reason: str) -> NoReturn:
    """Refuse a disclosure for what it says of itself."""
    raise VerificationError("exchange.disclosure", reason=reason)


def _of_record(opening: RecordOpening, reason: str) -> VerificationError:
    """Word that a record is not what it should be."""
    return VerificationError(
        "exchange.record", object_id=opening.object_id.hex(), version=opening.version, reason=reason
    )


def _refuse_record(opening: RecordOpening, reason: str) -> NoReturn:
    """Refuse a disclosure for one record."""
    raise _of_record(opening, reason)
