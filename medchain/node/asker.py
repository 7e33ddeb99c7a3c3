"""What the askers of other organisations' records share: what they are made from, their requests' frame, what is noted.

Keeps true: a request is of this organisation, for a key that the ledger lists and that is here; what answers one is
noted under the request's own name, once in each direction. Trusts this node's own ledger, keys and clock.
Source: `docs/spec/release.md`, `docs/spec/emergency-release.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from medchain.crypto.es384 import Es384Signer
from medchain.crypto.sealing import SealingPrivateKey
from medchain.encoding import Json, canonical
from medchain.errors import UnavailableError, VerificationError
from medchain.ledger.records_request import Common, RecordsRequest
from medchain.ledger.transaction import ID_BYTES, Ref
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.node.opening import Opener, ReceivedRecord
from medchain.node.peers import JSON, Limits, PeerClient
from medchain.node.release import MAX_ANSWER_BYTES
from medchain.node.release_ports import Disclosure
from medchain.node.trace import BodyVersions
from medchain.store.accesses import Access
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore

RECEIVED: Final = "received"
"""Direction of a noted access: records that another organisation released to this node."""

REJECTED: Final = "rejected"
"""Direction of a noted answer that was not what the ledger says."""

WAIT_S: Final = 30.0
"""How long to wait until our own ledger has the access entry and the records, and this node the entry's body."""

ATTEMPTS: Final = 3
"""How often it is asked where the way was lost."""

_LIMITS: Final = Limits(timeout_s=75.0, max_bytes=MAX_ANSWER_BYTES)
_QUESTION_LIMITS: Final = Limits(timeout_s=15.0)
_LOG: Final = Log("exchange")
_Answer = TypeVar("_Answer")


class Custodians(Protocol):
    """The way to other organisations' records."""

    def release(self, org_id: str, document: bytes) -> bytes:
        """Ask for records; raises `UnavailableError`, or the error of the refusal."""
        ...

    def grants(self, org_id: str, document: bytes) -> bytes:
        """Ask which grants are about a record (`medchain.node.grant_search`); raises likewise."""
        ...

    def emergency(self, org_id: str, document: bytes) -> bytes:
        """Ask for records in an emergency (`medchain.node.emergency_release`); raises likewise."""
        ...


class HttpCustodians:
    """The same over HTTP."""

    __slots__ = ("_peers",)

    def __init__(self, peers: PeerClient) -> None:
        """Use the node's calls."""
        self._peers = peers

    def release(self, org_id: str, document: bytes) -> bytes:
        """Ask for records."""
        return self._peers.post(org_id, "/release", document, JSON, _LIMITS).body

    def grants(self, org_id: str, document: bytes) -> bytes:
        """Ask which grants are about a record."""
        return self._peers.post(org_id, "/grants", document, JSON, _QUESTION_LIMITS).body

    def emergency(self, org_id: str, document: bytes) -> bytes:
        """Ask for records in an emergency."""
        return self._peers.post(org_id, "/emergencies", document, JSON, _LIMITS).body


@dataclass(frozen=True, slots=True)
class AskerParts:
    """What an asker is made from.

    Attributes:
        org_id: this organisation.
        ledger_id: 32 bytes.
        authentication: signs requests.
        encryption: this organisation's encryption keys by id.
        ledger: the ledger file.
        records: the records file.
        bodies: bodies that were sent to this organisation.
        custodians: the way to others.
        relies: checks a grant and its consent as a party; `medchain.node.relying.Reliance.check`.
        received: has the audit keep what was released to this node; raises `UnavailableError` where that cannot be
            done, and nobody may be given it then.
        received_in_part: has the audit keep what was disclosed to it for a claim, by reference and version at the
            custodian; raises likewise.
        clock: gives Unix seconds.
        wait_s: how long to wait until our own ledger has what an answer names.
    """

    org_id: str
    ledger_id: bytes
    authentication: Es384Signer
    encryption: Mapping[str, SealingPrivateKey]
    ledger: LedgerStore
    records: RecordStore
    bodies: BodyVersions
    custodians: Custodians
    relies: Callable[[Ref], None]
    received: Callable[[Disclosure, Sequence[ReceivedRecord]], None]
    received_in_part: Callable[[Disclosure, Sequence[tuple[str, int]]], None]
    clock: Clock
    wait_s: float = WAIT_S

    def opener(self) -> Opener:
        """Make what opens answers."""
        return Opener(self.ledger_id, self.ledger, self.encryption)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is asked for.

    Attributes:
        resource_types: FHIR types, or ``*`` alone.
        after: where to go on, the ``following`` of what was received before; 0 for the first request.
        query: search parameters of the one type that is asked for; empty for all of it.
        count: most records; None for as many as an answer holds.
    """

    resource_types: tuple[str, ...]
    after: int = 0
    query: str = ""
    count: int | None = None


def common_of(parts: AskerParts, custodian: str, encryption_key: str, extent: Extent) -> Common:
    """Say what every request of this organisation's says, with a fresh nonce and of now.

    Args:
        parts: of the asker.
        custodian: org_id of who is asked.
        encryption_key: id of the key to wrap to; `Opener.key_of`.
        extent: how much is asked for.

    Returns:
        What a request is made from.
    """
    return {
        "ledger": parts.ledger_id,
        "custodian": custodian,
        "recipient": parts.org_id,
        "resource_types": tuple(sorted(set(extent.resource_types))),
        "after": extent.after,
        "encryption_key": encryption_key,
        "nonce": secrets.token_bytes(ID_BYTES),
        "time": parts.clock(),
        "query": extent.query,
        "count": extent.count,
    }


def again(ask: Callable[[], _Answer], custodian: str, final: str = "") -> _Answer:
    """Ask, and again where the way was lost; raises what the last attempt does.

    Args:
        ask: asks once.
        custodian: org_id of who is asked.
        final: code of what is no lost way, and is raised at once.

    Returns:
        What `ask` does.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return ask()
        except UnavailableError as error:
            if error.code == final:
                raise
            _LOG.info("exchange.again", code=error.code, peer=custodian)
    return ask()


@contextmanager
def noting_rejected(custodian: str, note: Callable[[str, Mapping[str, Json]], None]) -> Iterator[None]:
    """Have an answer that is not what the ledger says noted, and logged; what is raised within stays raised.

    Args:
        custodian: org_id of who answered.
        note: notes it, by direction and detail.
    """
    try:
        yield
    except VerificationError as error:
        _LOG.warning("exchange.rejected", code=error.code, peer=custodian)
        note(REJECTED, {"reason": error.code})
        raise


def listed(records: Sequence[ReceivedRecord]) -> dict[str, Json]:
    """Write which records came, to note it."""
    return {"records": [[row.object_id.hex(), row.version] for row in records]}


def access_of(request: RecordsRequest, direction: str, patient: str, time: int, detail: Mapping[str, Json]) -> Access:
    """Write a note of an answer; its name follows from request and direction, so the same is noted once in each.

    Args:
        request: that was answered.
        direction: `RECEIVED` or `REJECTED`.
        patient: what the request stands on, which names the patient here; hexadecimal.
        time: Unix seconds.
        detail: what else is noted.

    Returns:
        The row.
    """
    name = request.hash[:ID_BYTES] if direction == RECEIVED else request.hash[ID_BYTES:]
    named: dict[str, Json] = {"custodian": request.custodian, "request_hash": request.hash.hex()}
    return Access(name, patient, direction, time, canonical({**named, **detail}))
