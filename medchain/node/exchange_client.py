"""How web workers ask for records of other organisations: the daemon's operations as values.

Keeps true: what the daemon has opened and compared with the ledger is handed on as it is, in memory alone. Trusts this
node's daemon, which signs requests, opens answers and believes none before the ledger agrees.
Source: `docs/spec/release.md`, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from medchain.encoding import Json, as_number, members, unbase64, unhex
from medchain.errors import InputError
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.directory import MEMBER_KEYS
from medchain.node.local import MAX_LOCAL_BYTES
from medchain.node.peers import Limits

GRANTS: Final = "exchange.grants"
"""Local operation: which grants of another organisation to this one are about a record there."""

OF_PATIENT: Final = "exchange.patient"
"""Local operation: which grants of other organisations to this one are about a patient of this node."""

UNDER_MANDATE: Final = "exchange.mandate"
"""Local operation: which grants of other organisations to this one are under a mandate of the law."""

FOR_CLAIM: Final = "exchange.claim"
"""Local operation: which grants of other organisations to this one are for one claim alone."""

REQUEST: Final = "request"
"""Local operation: ask another organisation for records."""

IN_EMERGENCY: Final = "exchange.emergency"
"""Local operation: ask another organisation for records, in an emergency that somebody here has declared."""

_QUICK: Final = Limits(timeout_s=30.0)
_SLOW: Final = Limits(timeout_s=120.0, max_bytes=MAX_LOCAL_BYTES)
_RECORD: Final = {"content": str, "content_type": str, "object_id": str, "position": int, "version": int}


class Local(Protocol):
    """The way to this node's daemon; `medchain.node.local.LocalClient`."""

    def call(self, operation: str, document: Json, limits: Limits | None = None) -> Json:
        """Have the daemon do something."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go on: under which grant, or in which emergency, after which record.

    Attributes:
        custodian: org_id.
        grant: map key in hex; empty in an emergency.
        after: number that the custodian gave, 0 for the beginning.
        patient: keyed token of the patient of this node whom the grant is about; empty for nobody known here.
        emergency: object id in hex of the emergency in which somebody here may ask; empty under a grant.
    """

    custodian: str
    grant: str
    after: int = 0
    patient: str = ""
    emergency: str = ""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What is asked for under a grant, or in an emergency.

    Attributes:
        purpose: purpose-of-use code.
        resource_types: FHIR types, or ``*`` alone.
        query: search parameters of the one type; empty for all of it.
        count: most records.
        staff: in an emergency, who looks.
        patient: in an emergency, id that the patient must have at the custodian; empty where it is not known.
    """

    purpose: str
    resource_types: tuple[str, ...]
    query: str
    count: int
    staff: str = ""
    patient: str = ""


@dataclass(frozen=True, slots=True)
class ForeignRecord:
    """A record of another organisation, opened and found to be what its custodian registered.

    Attributes:
        content_type: media type.
        content: its bytes.
        version: of the record.
        position: leaf index of its anchor, which is final.
    """

    content_type: str
    content: bytes
    version: int
    position: int


@dataclass(frozen=True, slots=True)
class Given:
    """One release.

    Attributes:
        custodian: org_id of who gave it.
        request_hash: of our signed request, 32 bytes.
        access: map key of the ledger's entry in hex: an access, or an emergency.
        access_version: of the entry.
        access_position: leaf index of the entry, which is final; None in an emergency, whose entry is still to come.
        records: what was given.
        following: where to go on; None where there is no more.
        oversized: how many records no answer can hold.
    """

    custodian: str
    request_hash: bytes
    access: str
    access_version: int
    access_position: int | None
    records: tuple[ForeignRecord, ...]
    following: int | None
    oversized: int


class Others(Protocol):
    """Other organisations' records, as the FHIR floor asks for them; `ExchangeClient`."""

    def origins(self, custodian: str) -> Sequence[str]:
        """List an organisation's web origins, as the ledger has them."""
        ...

    def grants(self, custodian: str, about: str, asked: Narrowing) -> list[Place]:
        """Ask a custodian under which of its grants something of a record's patient can be asked for."""
        ...

    def of_patient(self, patient: str, asked: Narrowing) -> list[Place]:
        """List under which grants something of a patient of this node can be asked for, of any custodian."""
        ...

    def under_mandate(self, mandate: str, asked: Narrowing) -> list[Place]:
        """List under which grants something can be asked for by a mandate of the law, told by its map key in hex."""
        ...

    def request(self, place: Place, asked: Narrowing) -> Given:
        """Ask for records, under a grant or in an emergency.

        Raises:
            NotFoundError: ``release.nothing``; others of `Asker.fetch`, `EmergencyAsker.request`.
        """
        ...


class NoOthers:
    """Knows no other organisation: for parts that ask nobody."""

    def origins(self, custodian: str) -> Sequence[str]:
        """Refuse; raises `InputError` ``exchange.custodian``, as the others."""
        raise InputError("exchange.custodian", size=len(custodian))

    def grants(self, custodian: str, about: str, asked: Narrowing) -> list[Place]:
        """Refuse."""
        raise InputError("exchange.custodian", size=len(custodian + about + asked.query))

    def of_patient(self, patient: str, asked: Narrowing) -> list[Place]:
        """Refuse."""
        raise InputError("exchange.custodian", size=len(patient + asked.query))

    def under_mandate(self, mandate: str, asked: Narrowing) -> list[Place]:
        """Refuse."""
        raise InputError("exchange.custodian", size=len(mandate + asked.query))

    def request(self, place: Place, asked: Narrowing) -> Given:
        """Refuse."""
        raise InputError("exchange.custodian", size=len(place.custodian + asked.query))


class ExchangeClient:
    """Asks the daemon. Threads may share it."""

    __slots__ = ("_local",)

    def __init__(self, local: Local) -> None:
        """Use the way to the daemon."""
        self._local = local

    def origins(self, custodian: str) -> Sequence[str]:
        """List an organisation's web origins; none of an unknown one."""
        answer = members(self._local.call(MEMBER_KEYS, {"org_id": custodian}, _QUICK), {"keys": list, "origins": list})
        rows = answer["origins"]
        return [str(row) for row in rows] if isinstance(rows, list) else []

    def grants(self, custodian: str, about: str, asked: Narrowing) -> list[Place]:
        """Ask a custodian; arguments as the port says, errors as in `GrantFinder.about`."""
        document: Json = {
            "about": about,
            "custodian": custodian,
            "purpose": asked.purpose,
            "resource_types": list(asked.resource_types),
        }
        rows = members(self._local.call(GRANTS, document, _QUICK), {"grants": list})["grants"]
        found = [members(row, {"grant": str, "patient": str}) for row in rows] if isinstance(rows, list) else []
        return [Place(custodian, str(row["grant"]), 0, str(row["patient"])) for row in found]

    def of_patient(self, patient: str, asked: Narrowing) -> list[Place]:
        """List what this node holds; arguments as the port says."""
        return self._held(OF_PATIENT, {"patient": patient}, asked)

    def under_mandate(self, mandate: str, asked: Narrowing) -> list[Place]:
        """List what this node holds; arguments as the port says."""
        return self._held(UNDER_MANDATE, {"mandate": mandate}, asked)

    def _held(self, operation: str, about: dict[str, Json], asked: Narrowing) -> list[Place]:
        """List grants by what this node holds."""
        document: Json = {**about, "purpose": asked.purpose, "resource_types": list(asked.resource_types)}
        rows = members(self._local.call(operation, document, _QUICK), {"grants": list})["grants"]
        named = {"custodian": str, "grant": str, "patient": str}
        found = [members(row, named) for row in rows] if isinstance(rows, list) else []
        return [Place(str(row["custodian"]), str(row["grant"]), 0, str(row["patient"])) for row in found]

    def request(self, place: Place, asked: Narrowing) -> Given:
        """Ask for records; arguments and errors as the port says."""
        if place.emergency:
            return _given(place.custodian, self._local.call(IN_EMERGENCY, _in_emergency(place, asked), _SLOW))
        document: dict[str, Json] = {
            "after": place.after,
            "count": asked.count,
            "custodian": place.custodian,
            "grant": place.grant,
            "purpose": asked.purpose,
            "resource_types": list(asked.resource_types),
        }
        if asked.query:
            document["query"] = asked.query
        return _given(place.custodian, self._local.call(REQUEST, document, _SLOW))


def _in_emergency(place: Place, asked: Narrowing) -> Json:
    """Write what is asked for in an emergency."""
    return {
        "after": place.after,
        "count": asked.count,
        "declaration": place.emergency,
        "patient": asked.patient,
        "query": asked.query,
        "resource_types": list(asked.resource_types),
        "staff": asked.staff,
    }


def _given(custodian: str, answer: Json) -> Given:
    """Read what `medchain.node.exchange_node.received_json` wrote."""
    if not isinstance(answer, dict):
        raise InputError("encoding.members", member="")
    access = answer["access"]
    if not isinstance(access, dict):
        raise InputError("encoding.members", member="access")
    position = access["position"]
    rows, following = answer["records"], answer["following"]
    return Given(
        custodian=custodian,
        request_hash=unhex(answer["request_hash"], HASH_BYTES),
        access=str(access["key"]),
        access_version=as_number(access["version"]),
        access_position=position if isinstance(position, int) else None,
        records=tuple(_record(row) for row in rows if isinstance(row, dict)) if isinstance(rows, list) else (),
        following=following if isinstance(following, int) else None,
        oversized=as_number(answer["oversized"]),
    )


def _record(row: Mapping[str, Json]) -> ForeignRecord:
    """Read one record."""
    top = members({name: row.get(name) for name in _RECORD}, _RECORD)
    return ForeignRecord(
        content_type=str(top["content_type"]),
        content=unbase64(top["content"], max_bytes=MAX_LOCAL_BYTES),
        version=as_number(top["version"]),
        position=as_number(top["position"]),
    )
