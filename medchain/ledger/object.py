"""Objects: the state record that the map proves, and the body that only the parties see.

Keeps true: a record's key follows from kind, creator and id; a record holds the digest of the one before it, so the
newest proves the whole chain; a body's hash covers each field under its own salt, so that some can be shown and others
not. A body that shows everything proves that no name occurs twice; one that hides leaves does not (`Body.is_full`).
Record and body stand in one file, since a version is both. Trusts the caller for the randomness of salts.
Source: `docs/spec/state-record.md`, `docs/spec/body.md`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

import orjson

from medchain.crypto.fields import FIELD_SALT_BYTES, field_leaf, field_root, pad_leaf
from medchain.encoding import Json, canonical, digest, digest_input, field_input, members, parse_canonical, unhex
from medchain.errors import InputError, VerificationError
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES, Ref

ACTIVE: Final = "active"
"""Status of an object that is in force until its last day."""

STOPPED: Final = "stopped"
"""Status of an object that a stop ended."""

ENDED: Final = "ended"
"""Status of an object that its creator ended."""

LEDGER: Final = "ledger"
"""Creator of the policy and protocol objects; no organisation may have this org_id."""

ORGANISATION: Final = "organisation"
"""Name of the kind whose objects are owned by the organisation that their content names."""

MAX_RECORD_BYTES: Final = 4096
"""Largest state record; eight refs need about 1,000 bytes."""

MAX_BODY_BYTES: Final = 512 * 1024
"""Largest body as canonical JSON."""

MIN_LEAVES: Final = 8
"""Fewest leaves of a body's tree, so that few fields look like eight."""

_RECORD_TYPE: Final = "medchain/state-record/v1"
_BODY_TYPE: Final = "medchain/body/v1"
_RECORD: Final = {
    "body_hash": str,
    "creator": str,
    "id": str,
    "kind": str,
    "refs": list,
    "since": int,
    "status": str,
    "type": str,
    "version": int,
}


@lru_cache(maxsize=16_384)
def map_key(kind: str, creator: str, object_id: bytes) -> bytes:
    """Compute the map key of an object.

    Args:
        kind: name of its kind, ASCII.
        creator: org_id of its owner, ASCII.
        object_id: 16 bytes.

    Returns:
        32 bytes.
    """
    return sha256(_owner_input(kind, creator) + field_input(object_id)).digest()


@lru_cache(maxsize=1024)
def _owner_input(kind: str, creator: str) -> bytes:
    """Return what the map keys of all objects of a kind and an owner hash first."""
    return digest_input("medchain/object/v1", kind.encode("ascii"), creator.encode("ascii"))


def organisation_id(name: str) -> bytes:
    """Derive the 16-byte object id of an organisation, of ``policy`` or of ``protocol`` from its name."""
    return digest("medchain/organisation-id/v1", name.encode("ascii"))[:ID_BYTES]


def public_owner(kind: str, content: Mapping[str, Json]) -> tuple[str, bytes]:
    """Derive owner and object id of a public object from its content.

    Args:
        kind: organisation, policy or protocol.
        content: its body; an organisation's names its ``org_id``.

    Returns:
        Creator of the map key, object id.
    """
    if kind == ORGANISATION:
        org_id = str(content["org_id"])
        return org_id, organisation_id(org_id)
    return LEDGER, organisation_id(kind)


def public_body_hash(kind: str, content: Json) -> bytes:
    """Hash the content of a public kind: ``digest("medchain/public-body/v1", kind, canonical(content))``."""
    return digest("medchain/public-body/v1", kind.encode("ascii"), canonical(content))


def stop_hash(preimage: bytes) -> bytes:
    """Hash the 32 bytes whose knowledge is the right to stop."""
    return digest("medchain/stop/v1", preimage)


# Not frozen, for the reason that `medchain.ledger.transaction.Change` has.
@dataclass(slots=True, unsafe_hash=True)
class StateRecord:
    """One version of an object, as all members see it.

    Attributes:
        kind: name of its kind.
        creator: org_id of its owner.
        id: 16 bytes.
        version: from 1.
        status: `ACTIVE`, `STOPPED`, `ENDED`, or one of the kind's own.
        body_hash: 32 bytes.
        stop_hash: 32 bytes or None.
        expires: last day in force, or None.
        refs: what it stood on when it was accepted.
        since: position (leaf index) of the transaction that made this version.
        previous: digest of the version before, None at version 1.
    """

    kind: Final[str]
    creator: Final[str]
    id: Final[bytes]
    version: Final[int]
    status: Final[str]
    body_hash: Final[bytes]
    stop_hash: Final[bytes | None]
    expires: Final[int | None]
    refs: Final[tuple[Ref, ...]]
    since: Final[int]
    previous: Final[bytes | None]

    @property
    def key(self) -> bytes:
        """The map key, 32 bytes."""
        return map_key(self.kind, self.creator, self.id)

    @property
    def digest(self) -> bytes:
        """The map value: SHA-256 of the canonical bytes."""
        return sha256(self.encode()).digest()

    def encode(self) -> bytes:
        """Encode as canonical JSON."""
        # Not `canonical`: every part has its type from `decode` or the machine, and an anchor makes 400 of these.
        return orjson.dumps(
            {
                "body_hash": self.body_hash.hex(),
                "creator": self.creator,
                "expires": self.expires,
                "id": self.id.hex(),
                "kind": self.kind,
                "previous": None if self.previous is None else self.previous.hex(),
                "refs": [[ref.key.hex(), ref.version] for ref in self.refs],
                "since": self.since,
                "status": self.status,
                "stop_hash": None if self.stop_hash is None else self.stop_hash.hex(),
                "type": _RECORD_TYPE,
                "version": self.version,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> StateRecord:
        """Decode canonical bytes strictly.

        Args:
            data: from `encode`.

        Returns:
            The record.

        Raises:
            InputError: ``encoding.*``, or ``record.malformed`` for a value out of range.
        """
        value = parse_canonical(data, max_bytes=MAX_RECORD_BYTES)
        nullable = {"expires": int, "previous": str, "stop_hash": str}
        if type(value) is not dict or not nullable.keys() <= value.keys():
            raise InputError("encoding.members", member="")
        top = members({name: item for name, item in value.items() if item is not None}, _RECORD, nullable)
        record = cls(
            kind=str(top["kind"]),
            creator=str(top["creator"]),
            id=unhex(top["id"], ID_BYTES),
            version=_whole(top["version"]),
            status=str(top["status"]),
            body_hash=unhex(top["body_hash"], HASH_BYTES),
            stop_hash=_hash_or_none(top.get("stop_hash")),
            expires=None if "expires" not in top else _whole(top["expires"]),
            refs=_decode_refs(top["refs"]),
            since=_whole(top["since"]),
            previous=_hash_or_none(top.get("previous")),
        )
        ascii_names = record.kind.isascii() and record.creator.isascii()
        if top["type"] != _RECORD_TYPE or (record.version == 1) != (record.previous is None) or not ascii_names:
            raise InputError("record.malformed")
        return record


def in_force(record: StateRecord, day: int) -> bool:
    """Tell whether an object is active and its last day not over.

    Args:
        record: its head.
        day: day of the block, days since 1970-01-01 (UTC).

    Returns:
        Whether it is in force.
    """
    return record.status == ACTIVE and (record.expires is None or record.expires >= day)


class Field(NamedTuple):
    """One field of a body.

    Attributes:
        name: member name.
        salt: 32 bytes.
        value: JSON value.
    """

    name: str
    salt: bytes
    value: Json


class Evidence(NamedTuple):
    """What vouches for a body: signatures, not covered by `Body.content_root`.

    Attributes:
        salt: 32 bytes.
        value: JSON value, null where there is none.
    """

    salt: bytes
    value: Json

    @property
    def digest(self) -> bytes:
        """``digest("medchain/evidence/v1", salt, canonical(value))``."""
        return digest("medchain/evidence/v1", self.salt, canonical(self.value))


@dataclass(frozen=True, slots=True)
class Body:
    """Content and evidence of a sealed object, whole or redacted.

    Attributes:
        kind: name of the object's kind.
        fields: those shown, sorted by name.
        hidden: digests of the leaves not shown, sorted.
        padding: salts of the padding leaves, sorted; where they are shown, they prove that these leaves are no fields.
        evidence: the evidence, or its 32-byte digest.
    """

    kind: str
    fields: tuple[Field, ...]
    hidden: tuple[bytes, ...]
    padding: tuple[bytes, ...]
    evidence: Evidence | bytes

    @property
    def content(self) -> dict[str, Json]:
        """The fields shown, by name."""
        return {field.name: field.value for field in self.fields}

    @property
    def is_full(self) -> bool:
        """Whether every leaf is accounted for, so that no second value of a field can hide."""
        return not self.hidden and isinstance(self.evidence, Evidence)

    @property
    def content_root(self) -> bytes:
        """Root over all leaves, 32 bytes: what passkeys and askers sign."""
        shown = [field_leaf(field.salt, field.name, canonical(field.value)) for field in self.fields]
        return field_root([*shown, *(pad_leaf(salt) for salt in self.padding), *self.hidden])

    @property
    def body_hash(self) -> bytes:
        """Hash of content and evidence, 32 bytes: what the ledger holds."""
        evidence = self.evidence.digest if isinstance(self.evidence, Evidence) else self.evidence
        return digest("medchain/body/v1", self.content_root, evidence)

    def redact(self, names: Collection[str], *, keep_evidence: bool = False) -> Body:
        """Hide fields, and all padding with them.

        Args:
            names: names of the fields that stay visible.
            keep_evidence: whether the evidence stays visible.

        Returns:
            A body with the same roots.
        """
        gone = [
            field_leaf(entry.salt, entry.name, canonical(entry.value))
            for entry in self.fields
            if entry.name not in names
        ]
        evidence = self.evidence
        if isinstance(evidence, Evidence) and not keep_evidence:
            evidence = evidence.digest
        return Body(
            self.kind,
            tuple(field for field in self.fields if field.name in names),
            tuple(sorted([*self.hidden, *gone, *(pad_leaf(salt) for salt in self.padding)])),
            (),
            evidence,
        )

    def with_evidence(self, salt: bytes, value: Json) -> Body:
        """Set the evidence, which is made after the content root is known.

        Args:
            salt: 32 fresh random bytes.
            value: JSON value.

        Returns:
            The body with it; its `content_root` is the same.
        """
        return Body(self.kind, self.fields, self.hidden, self.padding, Evidence(salt, value))

    def verify(self, body_hash: bytes) -> None:
        """Compare with the hash on the ledger; raises `VerificationError` ``body.hash`` for another."""
        if not hmac.compare_digest(self.body_hash, body_hash):
            raise VerificationError("body.hash", kind=self.kind)

    def to_json(self) -> Json:
        """Turn into JSON."""
        evidence: Json = (
            {"salt": self.evidence.salt.hex(), "value": self.evidence.value}
            if isinstance(self.evidence, Evidence)
            else {"digest": self.evidence.hex()}
        )
        return {
            "evidence": evidence,
            "fields": [[field.name, field.salt.hex(), field.value] for field in self.fields],
            "hidden": [leaf.hex() for leaf in self.hidden],
            "kind": self.kind,
            "padding": [salt.hex() for salt in self.padding],
            "type": _BODY_TYPE,
        }

    @classmethod
    def from_json(cls, value: Json) -> Body:
        """Decode strictly.

        Args:
            value: from `to_json`; its size was bounded by `MAX_BODY_BYTES` when it was parsed.

        Returns:
            The body.

        Raises:
            InputError: ``encoding.*``, ``body.malformed`` for rows out of order, names that occur twice or another
                number of leaves.
        """
        required = {"evidence": dict, "fields": list, "hidden": list, "kind": str, "padding": list, "type": str}
        top = members(value, required)
        body = cls(
            str(top["kind"]),
            tuple(_field(row) for row in _list(top["fields"])),
            tuple(unhex(leaf, HASH_BYTES) for leaf in _list(top["hidden"])),
            tuple(unhex(salt, FIELD_SALT_BYTES) for salt in _list(top["padding"])),
            _evidence(top["evidence"]),
        )
        _check_body(body, str(top["type"]))
        return body


def build_body(kind: str, content: Mapping[str, Json], evidence: Json, random: Callable[[int], bytes]) -> Body:
    """Make a whole body with fresh salts.

    Args:
        kind: name of the object's kind.
        content: its fields, at most 64.
        evidence: JSON value, null where there is none.
        random: gives as many unpredictable bytes as it is asked for.

    Returns:
        The body, padded to 8, 16, 32 or 64 leaves.

    Raises:
        InputError: ``body.malformed`` for no field or too many, ``encoding.not_representable``.
    """
    leaves = _leaves(len(content))
    body = Body(
        kind,
        tuple(Field(name, random(FIELD_SALT_BYTES), content[name]) for name in sorted(content)),
        (),
        tuple(sorted(random(FIELD_SALT_BYTES) for _ in range(leaves - len(content)))),
        Evidence(random(FIELD_SALT_BYTES), evidence),
    )
    canonical(body.to_json())
    _check_body(body, _BODY_TYPE)
    return body


def _leaves(count: int) -> int:
    """Return the number of leaves for a number of fields."""
    return max(MIN_LEAVES, 1 << (count - 1).bit_length()) if count else 0


def _check_body(body: Body, type_name: str) -> None:
    """Refuse what `build_body` and `Body.redact` never make."""
    names = [field.name for field in body.fields]
    count = len(names) + len(body.hidden) + len(body.padding)
    ordered = (
        names == sorted(set(names))
        and list(body.hidden) == sorted(set(body.hidden))
        and list(body.padding) == sorted(set(body.padding))
    )
    if type_name != _BODY_TYPE or count not in (8, 16, 32, 64) or not ordered:
        raise InputError("body.malformed", kind=body.kind, leaves=count)


def _field(row: Json) -> Field:
    """Decode [name, salt, value]."""
    if type(row) is not list or len(row) != 3 or type(row[0]) is not str:  # noqa: PLR2004  # the row's three columns
        raise InputError("encoding.members", member="fields")
    return Field(row[0], unhex(row[1], FIELD_SALT_BYTES), row[2])


def _evidence(value: Json) -> Evidence | bytes:
    """Decode the evidence or its digest."""
    if type(value) is dict and "digest" in value:
        return unhex(members(value, {"digest": str})["digest"], HASH_BYTES)
    if type(value) is not dict or value.keys() != {"salt", "value"}:
        raise InputError("encoding.members", member="evidence")
    return Evidence(unhex(value["salt"], FIELD_SALT_BYTES), value["value"])


def _list(value: Json) -> list[Json]:
    """Return a list whose type `members` has checked."""
    return value if type(value) is list else []


def _hash_or_none(value: Json) -> bytes | None:
    """Decode 32 bytes or None."""
    return None if value is None else unhex(value, HASH_BYTES)


def _decode_refs(value: Json) -> tuple[Ref, ...]:
    """Decode [[map key, version], …]."""
    refs = []
    for row in _list(value):
        if type(row) is not list or len(row) != 2:  # noqa: PLR2004  # the row's two columns
            raise InputError("encoding.members", member="refs")
        refs.append(Ref(unhex(row[0], HASH_BYTES), _whole(row[1])))
    return tuple(refs)


def _whole(value: Json) -> int:
    """Return a number that is not negative."""
    if type(value) is not int or value < 0:
        raise InputError("record.malformed")
    return value
