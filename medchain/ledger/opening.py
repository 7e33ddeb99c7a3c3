"""Openings: what is shown of the content that a state record commits to.

Keeps true: what is shown is what was registered, all of it, a part of it, or some fields; which of these is said, since
what hides something does not rule it out. Trusts the caller for the record, that of a proven map.
Source: `docs/spec/proof-bundle.md` 6.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final, NamedTuple

from medchain.crypto.commitment import NO_FIELDS, commitment_of, large_digest, record_commitment, record_field_root
from medchain.crypto.fields import (
    FieldProof,
    FieldsProof,
    ShownField,
    record_fields,
    verify_field,
    verify_fields,
)
from medchain.encoding import Json, canonical, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError, VerificationError
from medchain.ledger.object import Body, StateRecord
from medchain.ledger.transaction import HASH_BYTES

OPENING_FILE: Final = "opening.json"
"""Name of the file in a bundle."""

RECORD_OPENING_TYPE: Final = "medchain/opening/v1"
"""Type member of ``opening.json`` with a record."""

LARGE_OPENING_TYPE: Final = "medchain/large-opening/v1"
"""Type member of ``opening.json`` with size and hash of a record's content of more than 1 MiB."""

PART_OPENING_TYPE: Final = "medchain/part-opening/v1"
"""Type member of ``opening.json`` with one part of a segment."""

FIELD_OPENING_TYPE: Final = "medchain/field-opening/v1"
"""Type member of ``opening.json`` with some fields of a record."""

BODY_OPENING_TYPE: Final = "medchain/body-opening/v1"
"""Type member of ``opening.json`` with a body."""

MAX_OPENING_BYTES: Final = 64 * 1024 * 1024
"""Largest opening, and largest content in one."""


# A JSON pointer (RFC 6901), without what would break the line that it is shown in.
_POINTER: Final = re.compile(r"(?:/(?:[^~/\x00-\x1f\x7f-\x9f]|~[01])*)+\Z")


class Shown(NamedTuple):
    """What an opening shows: all of what was registered, a part of it, or a body of which some leaves are hidden.

    Attributes:
        content: the record's bytes, the part's, or the body's canonical JSON; None where it holds none.
        size: of what was registered, in bytes, None where it is not shown.
        sha256: of it, in hexadecimal, None likewise.
        part: name of the part shown, None where it is all.
        hidden: how many leaves of the body shown are hidden.
        fields: (JSON pointer, JSON text) of each field shown, sorted.
    """

    content: bytes | None = None
    size: int | None = None
    sha256: str | None = None
    part: str | None = None
    hidden: int = 0
    fields: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Write what is shown, without the content and the fields themselves."""
        return {
            "content_sha256": self.sha256,
            "content_size": self.size,
            "hidden": self.hidden,
            "part": self.part,
        }


NOTHING: Final = Shown()
"""Where no content is shown."""


def open_content(data: bytes, record: StateRecord) -> Shown:
    """Open a content against the body hash of its record.

    Args:
        data: ``opening.json``.
        record: of the version that is proven.

    Returns:
        What is shown.

    Raises:
        InputError: ``encoding.*``, ``commitment.*``, ``fields.*`` for what is no opening.
        VerificationError: ``bundle.opening``, ``bundle.field_root``, ``fields.proof``, ``body.*`` for another content.
    """
    value = parse_canonical(data, max_bytes=MAX_OPENING_BYTES)
    kind = value.get("type") if type(value) is dict else None
    if kind == LARGE_OPENING_TYPE:
        return _large_opening(value, record.body_hash)
    if kind == PART_OPENING_TYPE:
        return _part_opening(value, record.body_hash)
    if kind == FIELD_OPENING_TYPE:
        return _field_opening(value, record.body_hash)
    if kind == BODY_OPENING_TYPE:
        top = members(value, {"body": dict, "type": str})
        body = Body.from_json(top["body"])
        if body.kind != record.kind:
            raise VerificationError("bundle.opening")
        body.verify(record.body_hash)
        return _shown(canonical(top["body"]))._replace(hidden=len(body.hidden))
    top = members(value, dict.fromkeys(("content", "field_root", "salt", "type"), str))
    content = unbase64(top["content"], max_bytes=MAX_OPENING_BYTES)
    salt, root = unhex(top["salt"], HASH_BYTES), unhex(top["field_root"], HASH_BYTES)
    if kind != RECORD_OPENING_TYPE or record_commitment(salt, content, root) != record.body_hash:
        raise VerificationError("bundle.opening")
    _check_root(salt, content, root)
    return _shown(content)


def _check_root(salt: bytes, content: bytes, root: bytes) -> None:
    """Refuse a field root that is not the content's: other contents could be shown in part under it."""
    if root == NO_FIELDS:
        return
    try:
        is_its_own = record_field_root(salt, content) == root
    except InputError:
        is_its_own = False
    if not is_its_own:
        raise VerificationError("bundle.field_root")


def _shown(content: bytes) -> Shown:
    """Say what is shown by a content itself."""
    return Shown(content, len(content), sha256(content).hexdigest())


def _large_opening(value: Json, commitment: bytes) -> Shown:
    """Open size and hash of a content that is too large to be in a bundle; who has the file compares it."""
    text = dict.fromkeys(("content_sha256", "field_root", "salt", "type"), str)
    top = members(value, text | {"size": int})
    size = top["size"] if type(top["size"]) is int else 0
    content_sha256 = unhex(top["content_sha256"], HASH_BYTES)
    whole = large_digest(unhex(top["salt"], HASH_BYTES), size, content_sha256)
    if commitment_of(whole, unhex(top["field_root"], HASH_BYTES)) != commitment:
        raise VerificationError("bundle.opening")
    return Shown(None, size, content_sha256.hex())


def _part_opening(value: Json, commitment: bytes) -> Shown:
    """Open one part of a segment; of the others nothing is shown, nor that there is but one of its name."""
    text = dict.fromkeys(("content", "field_root", "name", "salt", "type", "whole"), str)
    top = members(value, text | {"position": int, "siblings": list})
    content, root = unbase64(top["content"], max_bytes=MAX_OPENING_BYTES), unhex(top["field_root"], HASH_BYTES)
    name, position, siblings = top["name"], top["position"], top["siblings"]
    is_whole = commitment_of(unhex(top["whole"], HASH_BYTES), root) == commitment
    if not (is_whole and type(name) is str and type(position) is int and type(siblings) is list):
        raise VerificationError("bundle.opening")
    proof = FieldProof(position, tuple(unhex(one, HASH_BYTES) for one in siblings))
    verify_field(root, name, content, unhex(top["salt"], HASH_BYTES), proof)
    return _shown(content)._replace(part=name)


def _field_opening(value: Json, commitment: bytes) -> Shown:
    """Open some fields of a record; of the others nothing is shown, nor that none of them has the name of one shown."""
    text = dict.fromkeys(("field_root", "type", "whole"), str)
    top = members(value, text | {"fields": list, "height": int, "siblings": list})
    root, rows, siblings, height = unhex(top["field_root"], HASH_BYTES), top["fields"], top["siblings"], top["height"]
    is_whole = commitment_of(unhex(top["whole"], HASH_BYTES), root) == commitment
    if not (is_whole and isinstance(rows, list) and isinstance(siblings, list) and isinstance(height, int)):
        raise VerificationError("bundle.opening")
    fields = [_field_row(row) for row in rows]
    if not all(_is_field(field) for field, _ in fields):
        raise VerificationError("bundle.opening")
    proof = FieldsProof(height, tuple(place for _, place in fields), tuple(unhex(one, HASH_BYTES) for one in siblings))
    verify_fields(root, [field for field, _ in fields], proof)
    shown = [(field.name, field.value.decode()) for field, _ in fields]
    if [name for name, _ in shown] != sorted({name for name, _ in shown}):
        # Of two values of one name a reader would see either.
        raise VerificationError("bundle.opening")
    return Shown(fields=tuple(shown))


def _is_field(shown: ShownField) -> bool:
    """Tell whether something is one field of a record; who registers may commit to any text under any name."""
    try:
        return _POINTER.match(shown.name) is not None and record_fields(b'{"a":%s}' % shown.value) == [
            (b"/a", shown.value)
        ]
    except InputError:
        return False


def _field_row(value: Json) -> tuple[ShownField, int]:
    """Read a field that is shown, and its position in the tree."""
    row = members(value, dict.fromkeys(("name", "salt", "value"), str) | {"position": int})
    position = row["position"] if isinstance(row["position"], int) else -1
    return ShownField(str(row["name"]), str(row["value"]).encode(), unhex(row["salt"], HASH_BYTES)), position
