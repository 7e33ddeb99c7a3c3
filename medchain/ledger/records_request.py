"""What every request for another organisation's records has: whom it asks, and how much it asks for.

Keeps true: a request counts for one custodian and recipient, and what is not asked is absent, so that it has one
spelling. Pure. Trusts nothing that is parsed.
Source: `docs/spec/release.md`, `docs/spec/emergency-release.md`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, TypedDict

from medchain.encoding import Json, members, unhex
from medchain.errors import InputError
from medchain.ledger.kinds.content import ANY_TYPE, names, short_text
from medchain.ledger.signed_request import Request
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

MAX_COUNT: Final = 1000
"""Most records that a request can ask for at once."""

MAX_QUERY_CHARS: Final = 4096
"""Longest search of a request."""

_COMMON: Final = {
    "after": int,
    "custodian": str,
    "encryption_key": str,
    "ledger": str,
    "nonce": str,
    "recipient": str,
    "resource_types": list,
    "time": int,
    "type": str,
}
_EXTENT: Final = {"count": int, "query": str}


class Common(TypedDict):
    """What every request says, to make one from; members as of `RecordsRequest`."""

    ledger: bytes
    custodian: str
    recipient: str
    resource_types: tuple[str, ...]
    after: int
    encryption_key: str
    nonce: bytes
    time: int
    query: str
    count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsRequest(Request):
    """Who asks whom for which records; each kind adds why it may.

    Attributes:
        custodian: org_id of the organisation that holds the records.
        recipient: org_id of the one that asks.
        resource_types: FHIR types, sorted, or ``("*",)``.
        after: `medchain.node.release.Answer.following` of the answer before; 0 for the first.
        encryption_key: key id of the recipient's key to which data keys are wrapped.
        query: search parameters of the one type that is asked for, percent-encoded; empty for all of it.
        count: most records of the answer, 1 to `MAX_COUNT`; None for as many as an answer holds.
    """

    MALFORMED: ClassVar[str] = "release.malformed"

    custodian: str
    recipient: str
    resource_types: tuple[str, ...]
    after: int
    encryption_key: str
    query: str = ""
    count: int | None = None

    @property
    def asker(self) -> str:
        """org_id of the recipient."""
        return self.recipient

    @abstractmethod
    def own_json(self) -> dict[str, Json]:
        """Write what only this kind of request says."""

    def to_json(self) -> dict[str, Json]:
        """Write the request; what is not asked is absent, so that a request has one spelling."""
        return {
            **self.own_json(),
            **({"query": self.query} if self.query else {}),
            **({} if self.count is None else {"count": self.count}),
            "after": self.after,
            "custodian": self.custodian,
            "encryption_key": self.encryption_key,
            "ledger": self.ledger.hex(),
            "nonce": self.nonce.hex(),
            "recipient": self.recipient,
            "resource_types": [*self.resource_types],
            "time": self.time,
            "type": self.TYPE,
        }


def request_members(
    kind: type[RecordsRequest], value: Json, own: Mapping[str, type], optional: Mapping[str, type] | None = None
) -> dict[str, Json]:
    """Check that a value has exactly the members of a kind of request.

    Args:
        kind: of request.
        value: a decoded document.
        own: members of this kind alone, as of `medchain.encoding.members`.
        optional: those of them that may be absent.

    Returns:
        The object.

    Raises:
        InputError: ``encoding.members``, ``release.malformed``.
    """
    top = members(value, {**_COMMON, **own}, {**_EXTENT, **(optional or {})})
    if top["type"] != kind.TYPE:
        raise InputError("release.malformed", member="type")
    return top


def read_common(top: Mapping[str, Json]) -> Common:
    """Read what every request says, from `request_members`; raises `InputError`."""
    types = names(top["resource_types"])
    if ANY_TYPE in types and len(types) > 1:
        raise InputError("release.malformed", member="resource_types")
    return {
        "ledger": unhex(top["ledger"], HASH_BYTES),
        "custodian": short_text(top["custodian"]),
        "recipient": short_text(top["recipient"]),
        "resource_types": types,
        "after": natural(top["after"]),
        "encryption_key": unhex(top["encryption_key"], ID_BYTES).hex(),
        "nonce": unhex(top["nonce"], ID_BYTES),
        "time": natural(top["time"]),
        "query": _query(top["query"], types) if "query" in top else "",
        "count": _count(top["count"]) if "count" in top else None,
    }


def natural(value: Json) -> int:
    """Read a number that is not negative; raises `InputError` ``release.malformed``."""
    if type(value) is not int or value < 0:
        raise InputError("release.malformed", member="number")
    return value


def _query(value: Json, types: tuple[str, ...]) -> str:
    """Read a search: of one type, since a parameter means another thing for another; what it says is not read here."""
    is_one = len(types) == 1 and ANY_TYPE not in types
    if type(value) is not str or not 0 < len(value) <= MAX_QUERY_CHARS or not value.isascii() or not is_one:
        raise InputError("release.malformed", member="query")
    return value


def _count(value: Json) -> int:
    """Read how many records are asked for at most."""
    count = natural(value)
    if not 0 < count <= MAX_COUNT:
        raise InputError("release.malformed", member="count")
    return count
