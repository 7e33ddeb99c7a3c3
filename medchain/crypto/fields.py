"""Field trees: one root over salted fields, so that one field can be shown and the rest stays hidden.

The same tree serves the fields of a FHIR record and those of a ledger body. Keeps true: a shown field proves name,
value and salt under the root; a hidden one cannot be guessed, as each has its own salt; leaves are sorted by digest and
mixed with padding, so neither order nor exact number shows. Does not prove that a name occurs once: whoever holds all
fields (the endorser of a body, the opener of a record) recomputes the root and sees to that. Trusts the caller for the
salts.
Source: RFC 6962 §2.1 for the idea of the audit path; `docs/spec/record-envelope.md`, `docs/spec/body.md`.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256, shake_256
from typing import Any, Final, NamedTuple, NoReturn

import orjson

from medchain.errors import InputError, VerificationError

FIELD_SALT_BYTES: Final = 32
"""Size of a field's salt."""

MAX_RECORD_DEPTH: Final = 64
"""Deepest nesting of a record; FHIR's own examples need about twenty."""

MAX_POINTERS: Final = 256 << 20
"""Longest pointers of a record, all together, in characters; those of FHIR are a few times as long as the record."""

MAX_PROOF_DEPTH: Final = 32
"""Longest audit path that is looked at."""


def _framed(tag: str) -> bytes:
    """Frame a tag as `medchain.encoding.digest` does."""
    return len(tag).to_bytes(8, "big") + tag.encode("ascii")


_LEN_32: Final = (32).to_bytes(8, "big")
# Heads of the tagged digests, prepared: a record has dozens of leaves, and one call to SHA-256 each is what they cost.
_LEAF_HEAD: Final = _framed("medchain/field/v1") + _LEN_32
_PAD_HEAD: Final = _framed("medchain/field-pad/v1") + _LEN_32
_NODE_HEAD: Final = _framed("medchain/field-node/v1") + _LEN_32
_SALTS_HEAD: Final = _framed("medchain/record-field-salts/v1") + _LEN_32


@dataclass(frozen=True, slots=True)
class FieldProof:
    """Audit path of one leaf.

    Attributes:
        position: index of the leaf among the sorted leaves.
        siblings: 32 bytes each, the leaf's own sibling first.
    """

    position: int
    siblings: tuple[bytes, ...]


class ShownField(NamedTuple):
    """A field that is shown.

    Attributes:
        name: as in `field_leaf`.
        value: its JSON text.
        salt: its salt, 32 bytes.
    """

    name: str
    value: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class FieldsProof:
    """Joint audit path of some leaves; shorter than one each, since what they share stands there once.

    Attributes:
        height: of the tree: 2^height leaves.
        positions: index of each leaf among the sorted leaves.
        siblings: 32 bytes each: on every level, the lowest first, those of known nodes that are not known themselves,
            from left to right.
    """

    height: int
    positions: tuple[int, ...]
    siblings: tuple[bytes, ...]


def field_leaf(salt: bytes, name: str, value: bytes) -> bytes:
    """Digest one field: ``digest("medchain/field/v1", salt, name, value)``.

    Args:
        salt: 32 secret random bytes, never used for another field.
        name: member name of a body, or JSON pointer into a record.
        value: the JSON text of the value (canonical JSON; in a record a number as it was written).

    Returns:
        32 bytes.

    Raises:
        InputError: ``fields.salt`` for a salt of another size.
    """
    if len(salt) != FIELD_SALT_BYTES:
        raise InputError("fields.salt", size=len(salt))
    return _leaf(salt, name.encode(), value)


def pad_leaf(salt: bytes) -> bytes:
    """Digest one padding leaf: ``digest("medchain/field-pad/v1", salt)``; looks like any other to who lacks the salt.

    Args:
        salt: 32 secret random bytes.

    Returns:
        32 bytes.

    Raises:
        InputError: ``fields.salt`` for a salt of another size.
    """
    if len(salt) != FIELD_SALT_BYTES:
        raise InputError("fields.salt", size=len(salt))
    return sha256(_PAD_HEAD + salt).digest()


def padded_count(count: int) -> int:
    """Return the number of leaves, padding included, of a tree over ``count`` fields: the next power of two."""
    return 1 << max(count - 1, 0).bit_length()


def field_root(leaves: Sequence[bytes]) -> bytes:
    """Compute the root.

    Args:
        leaves: digests of all fields and of the padding, in any order; a power of two of them, at least one.

    Returns:
        32 bytes; of a single leaf the leaf itself.

    Raises:
        InputError: ``fields.leaves`` for another number, size, or a leaf that occurs twice.
    """
    *_, top = _levels(leaves)
    return top[0]


def prove_field(leaves: Sequence[bytes], leaf: bytes) -> FieldProof:
    """Make the audit path of one leaf.

    Args:
        leaves: as in `field_root`.
        leaf: one of them.

    Returns:
        The proof.

    Raises:
        InputError: as `prove_fields`.
    """
    proof = prove_fields(leaves, [leaf])
    return FieldProof(proof.positions[0], proof.siblings)


def prove_fields(leaves: Sequence[bytes], shown: Sequence[bytes]) -> FieldsProof:
    """Make the joint audit path of some leaves.

    Args:
        leaves: as in `field_root`.
        shown: those of them to prove, none twice, at least one.

    Returns:
        The proof, with the positions in the order of ``shown``.

    Raises:
        InputError: ``fields.leaves`` as in `field_root`, or where one is shown twice, or none;
            ``fields.unknown_leaf`` if one is none of them.
    """
    places = {leaf: place for place, leaf in enumerate(sorted(leaves))}
    if not shown or len(set(shown)) != len(shown):
        raise InputError("fields.leaves", count=len(shown))
    if not places.keys() >= set(shown):
        raise InputError("fields.unknown_leaf")
    positions = tuple(places[leaf] for leaf in shown)
    *below, _ = _levels(leaves)
    known, siblings = set(positions), list[bytes]()
    for level in below:
        siblings += [level[place ^ 1] for place in sorted(known) if place ^ 1 not in known]
        known = {place >> 1 for place in known}
    return FieldsProof(len(below), positions, tuple(siblings))


def verify_field(root: bytes, name: str, value: bytes, salt: bytes, proof: FieldProof) -> None:
    """Check that a field is under a root.

    Args:
        root: the root, from a commitment or body hash that was itself verified.
        name: the field's name.
        value: its JSON text.
        salt: its salt, 32 bytes.
        proof: its audit path.

    Raises:
        InputError: ``fields.salt``.
        VerificationError: ``fields.proof``.
    """
    joint = FieldsProof(len(proof.siblings), (proof.position,), proof.siblings)
    verify_fields(root, [ShownField(name, value, salt)], joint)


def verify_fields(root: bytes, shown: Sequence[ShownField], proof: FieldsProof) -> None:
    """Check that some fields are under a root.

    Args:
        root: as in `verify_field`.
        shown: the fields.
        proof: their joint audit path, positions in the same order.

    Raises:
        InputError: ``fields.salt``.
        VerificationError: ``fields.proof``.
    """
    leaves = [field_leaf(one.salt, one.name, one.value) for one in shown]
    if not 0 <= proof.height <= MAX_PROOF_DEPTH or len(leaves) != len(proof.positions):
        raise VerificationError("fields.proof")
    known = dict(zip(proof.positions, leaves, strict=True))
    if len(known) != len(leaves) or not all(0 <= place < 1 << proof.height for place in known):
        raise VerificationError("fields.proof")
    siblings = iter(proof.siblings)
    for _ in range(proof.height):
        known = _above(known, siblings)
    # One node is left, and no sibling: else some of what is shown was not needed, and so not proven.
    if next(siblings, None) is not None or not hmac.compare_digest(b"".join(known.values()), root):
        raise VerificationError("fields.proof")


def _above(known: Mapping[int, bytes], siblings: Iterator[bytes]) -> dict[int, bytes]:
    """Compute the known nodes of the next level, from left to right; a sibling that is not known comes next."""
    found: dict[int, bytes] = {}
    for place in sorted(known):
        if place >> 1 in found:
            continue
        other = known.get(place ^ 1) or next(siblings, None)
        if other is None:
            raise VerificationError("fields.proof")
        found[place >> 1] = _node(other, known[place]) if place & 1 else _node(known[place], other)
    return found


def record_fields(content: bytes, max_pointers: int = MAX_POINTERS) -> list[tuple[bytes, bytes]]:
    """Take a FHIR JSON record apart.

    Args:
        content: UTF-8 JSON as received; the caller has bounded its size.
        max_pointers: how long all pointers together may be, counted as `docs/spec/record-envelope.md` 8 does.

    Returns:
        For each primitive, in document order: its JSON pointer (RFC 6901) and its JSON text, both in UTF-8: a number to
        the letter (``2255.00`` stays), a string in its canonical spelling (RFC 8785), ``true``, ``false`` or ``null``.

    Raises:
        InputError: ``fields.not_json`` (not UTF-8, not JSON, NaN, lone surrogates, too deep, pointers too long),
            ``fields.duplicate_name``, ``fields.none`` if there is no primitive in it or it is no object.
    """
    try:
        document = _DECODER.decode(content.decode())
    except (ValueError, RecursionError):
        # Without its cause: a JSON error quotes the document, which is patient data.
        raise InputError("fields.not_json") from None
    return document_fields(document if type(document) is dict else {}, str, max_pointers)


def document_fields(
    document: Mapping[str, Any], spelled: Callable[[Any], str], max_pointers: int = MAX_POINTERS
) -> list[tuple[bytes, bytes]]:
    """Take a FHIR JSON record apart that is parsed already, without a name twice.

    Args:
        document: its JSON object.
        spelled: gives a number as it was written, of whatever type the parser made it.
        max_pointers: as in `record_fields`.

    Returns:
        What `record_fields` does of the text.

    Raises:
        InputError: ``fields.not_json`` (lone surrogates, too deep, pointers too long), ``fields.none``.
    """
    taken = _Taken(spelled, left=max_pointers)
    try:
        _collect(document, "", MAX_RECORD_DEPTH, taken)
    except (ValueError, RecursionError, orjson.JSONEncodeError):
        raise InputError("fields.not_json") from None
    if not taken.found:
        raise InputError("fields.none")
    return taken.found


def record_field_salts(salt: bytes, count: int) -> bytes:
    """Draw out a record's salt to those of its fields, and to its padding.

    Args:
        salt: of the record, 32 secret bytes.
        count: how many leaves there are, padding included.

    Returns:
        32 bytes for each leaf, of SHAKE256 (FIPS 202) of the tagged salt: the salts of the fields in document order,
        each shown together with its field; then the padding leaves themselves.
    """
    return shake_256(_SALTS_HEAD + salt).digest(FIELD_SALT_BYTES * count)


def record_field_salt(salt: bytes, place: int) -> bytes:
    """Return the salt of one field, which is shown together with it.

    Args:
        salt: of the record, 32 secret bytes.
        place: of the field in document order, from 0.

    Returns:
        32 bytes.
    """
    return record_field_salts(salt, place + 1)[-FIELD_SALT_BYTES:]


def record_field_leaves(salt: bytes, fields: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Digest all fields of a record, and pad.

    Args:
        salt: of the record, 32 secret bytes.
        fields: from `record_fields`.

    Returns:
        The leaves for `field_root` and `prove_field`.
    """
    salts = record_field_salts(salt, padded_count(len(fields)))
    leaves = []
    at = 0
    # As `_leaf` does, in place: there are dozens in a record.
    for name, text in fields:
        sizes = len(name).to_bytes(8, "big"), len(text).to_bytes(8, "big")
        leaf = b"".join((_LEAF_HEAD, salts[at : at + FIELD_SALT_BYTES], sizes[0], name, sizes[1], text))
        leaves.append(sha256(leaf).digest())
        at += FIELD_SALT_BYTES
    # Nobody but who knows the salt can tell padding from digests, and whoever does computes it anew.
    return leaves + [salts[at : at + FIELD_SALT_BYTES] for at in range(at, len(salts), FIELD_SALT_BYTES)]


def _leaf(salt: bytes, name: bytes, value: bytes) -> bytes:
    """Digest one field whose salt has the right size."""
    sizes = len(name).to_bytes(8, "big"), len(value).to_bytes(8, "big")
    return sha256(b"".join((_LEAF_HEAD, salt, sizes[0], name, sizes[1], value))).digest()


def _node(left: bytes, right: bytes) -> bytes:
    """Compute ``digest("medchain/field-node/v1", left, right)``."""
    return sha256(_NODE_HEAD + left + _LEN_32 + right).digest()


def _levels(leaves: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield the tree from the sorted leaves to the level of one."""
    level = sorted(leaves)
    if len(level) != padded_count(len(level)) or len(set(level)) != len(level) or set(map(len, level)) != {32}:
        raise InputError("fields.leaves", count=len(level))
    yield level
    while len(level) > 1:
        pairs = iter(level)
        level = [sha256(_NODE_HEAD + left + _LEN_32 + right).digest() for left, right in zip(pairs, pairs, strict=True)]
        yield level


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object, refusing a name that occurs twice: readers would disagree on its value."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InputError("fields.duplicate_name")
    return members


def _constant(_name: str) -> NoReturn:
    """Refuse NaN and the infinities, which are no JSON."""
    raise ValueError


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_Number, parse_int=_Number, parse_constant=_constant
)


@dataclass(slots=True)
class _Taken:
    """What was taken out of a record.

    Attributes:
        spelled: as in `document_fields`.
        found: path and text of each primitive.
        left: how long further pointers may be.
    """

    spelled: Callable[[Any], str]
    found: list[tuple[bytes, bytes]] = field(default_factory=list)
    left: int = MAX_POINTERS


def _collect(
    value: Any,  # noqa: ANN401  # whatever JSON has; each kind is told apart below
    path: str,
    depth: int,
    into: _Taken,
) -> None:
    """Add path and text of each primitive in an object or array; by exact type: the parser makes no others."""
    # One long name stands in the pointer of everything below it.
    into.left -= len(path) * len(value)
    if (depth == 1 and value) or into.left < 0:
        raise ValueError
    found, spelled = into.found, into.spelled
    inside: Iterable[tuple[Any, Any]] = value.items() if type(value) is dict else enumerate(value)
    for name, item in inside:
        here = f"{path}/{name}" if type(name) is int or name.isalnum() else f"{path}/{_step(name)}"
        kind = type(item)
        if kind is str:
            found.append((here.encode(), orjson.dumps(item)))
        elif kind is dict or kind is list:
            _collect(item, here, depth - 1, into)
        elif item is None or kind is bool:
            found.append((here.encode(), orjson.dumps(item)))
        else:
            found.append((here.encode(), spelled(item).encode()))


def _step(name: str) -> str:
    """Write a name into a JSON pointer (RFC 6901 §3)."""
    return name.replace("~", "~0").replace("/", "~1")
