"""Transactions: the payload that members sign, and the DSSE envelope that is the leaf of the log.

Keeps true: a payload has one spelling and so one id; an envelope carries exactly the signatures that its payload names,
in that order, so that a leaf cannot be varied without a new signature. Structure only: whether the signatures, versions
and rules hold is the machine's business. Reading and writing stand in one file, so that they stay inverse. Trusts
nothing.
Source: DSSE 1.0; `docs/spec/transaction.md`.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64, unhexlify
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from operator import ge, itemgetter
from typing import Final, NamedTuple, TypeAlias, TypeVar

from medchain.encoding import Json, base64_text, canonical, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError

PAYLOAD_TYPE: Final = "application/vnd.medchain.transaction+json"
"""DSSE payload type of both transactions and stops."""

MAX_LEAF_BYTES: Final = 0xFFFF
"""Largest leaf: C2SP tlog-tiles prefixes each with its size in two bytes."""

MAX_CHANGES: Final = 16
"""Most changes of one transaction."""

MAX_OBJECTS: Final = 400
"""Most objects of one transaction, so that an anchor of as many records stays below `MAX_LEAF_BYTES`."""

MAX_REFS: Final = 8
"""Most references of one change."""

MAX_SIGNERS: Final = 64
"""Most signers of one transaction."""

ID_BYTES: Final = 16
"""Size of object ids and nonces."""

HASH_BYTES: Final = 32
"""Size of every hash, of the ledger id and of a stop's preimage."""

CREATOR: Final = "creator"
"""Role of the signer that submits and owns the objects."""

INDEPENDENT: Final = "independent"
"""Role of the drawn endorser."""

MEMBER: Final = "member"
"""Role of a signer that votes on membership, policy or protocol."""

SUBMITTER: Final = "submitter"
"""Role of the only signer of a stop."""

_Decoded = TypeVar("_Decoded")
_Row = TypeVar("_Row")
_Parts: TypeAlias = tuple[bytes, tuple[tuple[str, bytes], ...]]
_TRANSACTION_TYPE: Final = "medchain/transaction/v1"
_STOP_TYPE: Final = "medchain/stop/v1"
_SIGNATURE_BYTES: Final = 64
_SHORT: Final = 512
_key_of: Final[Callable[[tuple[str, object]], str]] = itemgetter(0)
_MAX_NAME: Final = 64


class ObjectRow(NamedTuple):
    """One object's new version.

    Attributes:
        id: 16 bytes.
        version: 1 or the head's version + 1.
        body_hash: 32 bytes; for a record anchor the record's commitment.
    """

    id: bytes
    version: int
    body_hash: bytes


class Ref(NamedTuple):
    """A reference that holds only while the object named is the active head.

    Attributes:
        key: its map key, 32 bytes.
        version: the version that must be the head.
    """

    key: bytes
    version: int


class Signer(NamedTuple):
    """Who signs, and as what.

    Attributes:
        key_id: 32 hexadecimal digits, a ledger key of an organisation.
        role: `CREATOR`, `INDEPENDENT` or `MEMBER`; in a stop `SUBMITTER`.
    """

    key_id: str
    role: str


class Draw(NamedTuple):
    """Which drawn endorser signs.

    Attributes:
        seed_height: height of the state entry whose map root seeds the draw.
        number: the creator's number of this draw.
        rank: place in the drawn order of the organisation that signs; 0 is the first.
    """

    seed_height: int
    number: int
    rank: int


# Made for every transaction by every node. A frozen dataclass takes four times as long to make; `Final` has the type
# checker see to it that nothing is assigned later.
@dataclass(slots=True, unsafe_hash=True)
class Change:
    """New versions of objects of one kind.

    Attributes:
        kind: name of the kind.
        status: status that the objects get.
        objects: sorted by id; more than one only for kinds that come in batches.
        refs: sorted, unique.
        stop_hash: 32 bytes, or None where the objects cannot be stopped.
        expires: last day (since 1970-01-01, UTC) in which the objects are in force, or None.
    """

    kind: Final[str]
    status: Final[str]
    objects: Final[tuple[ObjectRow, ...]]
    refs: Final[tuple[Ref, ...]] = ()
    stop_hash: Final[bytes | None] = None
    expires: Final[int | None] = None


@dataclass(slots=True, unsafe_hash=True)
class Transaction:
    """A payload that changes objects.

    Attributes:
        creator: org_id of the organisation that submits.
        changes: 1 to 16.
        bodies: contents of the changes of public kinds, in order; empty for others.
        signers: sorted by key id.
        draw: set exactly when a signer is `INDEPENDENT`.
        ledger: ledger id, 32 bytes.
        nonce: 16 random bytes.
        until: last second (Unix time) at which a block may accept it, or None.
        protocol: protocol version.
    """

    creator: Final[str]
    changes: Final[tuple[Change, ...]]
    bodies: Final[tuple[Json, ...]]
    signers: Final[tuple[Signer, ...]]
    draw: Final[Draw | None]
    ledger: Final[bytes]
    nonce: Final[bytes]
    until: Final[int | None]
    protocol: Final[int]


@dataclass(frozen=True, slots=True)
class Stop:
    """A payload that stops an object by revealing its preimage.

    Attributes:
        creator: org_id of the organisation that submits; any member.
        object: map key, 32 bytes.
        preimage: 32 bytes whose tagged digest is the object's stop hash.
        evidence: body hash of the stop's own body, 32 bytes, or None.
        signers: one row with role `SUBMITTER`.
        ledger: ledger id, 32 bytes.
        nonce: 16 random bytes.
        until: as in `Transaction`.
        protocol: protocol version.
    """

    creator: str
    object: bytes
    preimage: bytes
    evidence: bytes | None
    signers: tuple[Signer, ...]
    ledger: bytes
    nonce: bytes
    until: int | None
    protocol: int


Payload: TypeAlias = Transaction | Stop


@dataclass(slots=True, unsafe_hash=True)
class Envelope:
    """A signed payload, in every form in which it is needed.

    Attributes:
        payload: the canonical payload.
        transaction: the same, decoded.
        signatures: (key id, 64 bytes) for each signer, in order.
        leaf: the canonical DSSE envelope, the bytes that the log hashes.
    """

    payload: Final[bytes]
    transaction: Final[Payload]
    signatures: Final[tuple[tuple[str, bytes], ...]]
    leaf: Final[bytes]


def transaction_id(payload: bytes) -> bytes:
    """Name a payload: its plain SHA-256 (the member ``type`` is its domain tag); 32 bytes."""
    return sha256(payload).digest()


def pae(payload: bytes) -> bytes:
    """Build the bytes that are signed: DSSE 1.0 pre-authentication encoding of `PAYLOAD_TYPE` and the payload."""
    return b"%b%d %b" % (_PAE_HEAD, len(payload), payload)


_PAE_HEAD: Final = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} ".encode()


def payload_bytes(payload: Payload) -> bytes:
    """Encode a payload.

    Args:
        payload: a transaction or a stop.

    Returns:
        Its canonical bytes.

    Raises:
        InputError: ``transaction.*`` if `parse_payload` would refuse them.
    """
    document = _transaction_json(payload) if isinstance(payload, Transaction) else _stop_json(payload)
    data = canonical(document)
    parse_payload(data)
    return data


def parse_payload(data: bytes) -> Payload:
    """Decode a payload strictly.

    Args:
        data: canonical bytes.

    Returns:
        The transaction or stop.

    Raises:
        InputError: ``transaction.too_large``, ``.malformed``, ``.objects``, ``.signers``.
    """
    return _guarded(_payload, data)


def seal(payload: bytes, signatures: Sequence[tuple[str, bytes]]) -> Envelope:
    """Put a payload and its signatures into an envelope.

    Args:
        payload: canonical bytes.
        signatures: (key id, 64 bytes), in any order; exactly those of the payload's signers.

    Returns:
        The envelope, with its leaf.

    Raises:
        InputError: as `parse_envelope`.
    """
    rows: list[Json] = [{"keyid": key_id, "sig": base64_text(signature)} for key_id, signature in sorted(signatures)]
    leaf = canonical({"payload": base64_text(payload), "payloadType": PAYLOAD_TYPE, "signatures": rows})
    return parse_envelope(leaf)


def parse_envelope(leaf: bytes) -> Envelope:
    """Decode a leaf strictly. Does not verify the signatures.

    Args:
        leaf: canonical DSSE envelope.

    Returns:
        The envelope.

    Raises:
        InputError: ``transaction.too_large``, ``.malformed``, ``.objects``, or ``.signers`` when the signatures are
            not those of the signers, in order.
    """
    return _guarded(_envelope, leaf)


def _guarded(decode: Callable[[bytes], _Decoded], data: bytes) -> _Decoded:
    """Turn the errors of the encoding into this format's codes."""
    if len(data) > MAX_LEAF_BYTES:
        raise InputError("transaction.too_large", size=len(data), limit=MAX_LEAF_BYTES)
    try:
        return decode(data)
    except InputError as error:
        if error.code.startswith("encoding."):
            raise InputError("transaction.malformed", reason=error.code, member=error.fields.get("member")) from error
        raise


def _envelope(leaf: bytes) -> Envelope:
    """Decode an envelope."""
    plain = _plain(leaf)
    if plain is not None:
        payload, signatures = plain
        transaction = _payload(payload)
    else:
        value = members(parse_canonical(leaf, max_bytes=MAX_LEAF_BYTES), _ENVELOPE)
        if value["payloadType"] != PAYLOAD_TYPE:
            raise _malformed("payloadType")
        payload = unbase64(value["payload"])
        transaction = _payload(payload)
        signatures = tuple(_signature(row) for row in _rows(value, "signatures", MAX_SIGNERS))
    if [*map(_key_of, signatures)] != [*map(_key_of, transaction.signers)]:
        raise InputError("transaction.signers", count=len(signatures))
    return Envelope(payload, transaction, signatures, leaf)


def _plain(leaf: bytes) -> _Parts | None:
    """Take an envelope apart that is written as `seal` writes it, which all are but those to be refused; else None.

    Canonical without a parser: the base64 must be what is encoded anew, and the rest has the pattern's one form.
    """
    end = leaf.find(b'"', len(_BEFORE))
    coded = leaf[len(_BEFORE) : end]
    try:
        payload = a2b_base64(coded, strict_mode=True)
        match = _TAIL.fullmatch(leaf.decode("ascii"), end)
    except ValueError:
        return None
    if match is None or not leaf.startswith(_BEFORE) or b2a_base64(payload, newline=False) != coded:
        return None
    key_id, signature, more = match.groups()
    rows = [(key_id, a2b_base64(signature))]
    if more:
        rows += [(key_id, a2b_base64(signature)) for key_id, signature in _SIGNATURE.findall(more)]
    return (payload, tuple(rows)) if len(rows) <= MAX_SIGNERS else None


def _plain_transaction(data: bytes) -> Transaction | None:
    """Read a payload of one change without contents, which nearly all are; None for every other, right or wrong.

    Canonical without a parser: the pattern spells the only encoding of such a payload; no text that fits it needs an
    escape and no number is too large. Whatever is wrong is left to those who name it.
    """
    try:
        match = _PLAIN.fullmatch(data.decode("ascii"))
    except UnicodeDecodeError:
        return None
    if match is None:
        return None
    expires, kind, name, version, body_hash, more, *rest = match.groups()
    refs, status, stop, creator, draw, ledger, nonce, protocol, signed, until = rest
    objects: tuple[ObjectRow, ...] | None = (ObjectRow(unhexlify(name), int(version), unhexlify(body_hash)),)
    if more:
        objects = _plain_rows(_object_row, [(name, version, body_hash), *_OBJECT.findall(more)], MAX_OBJECTS)
    references = _plain_rows(_ref_row, _REF.findall(refs), MAX_REFS) if refs else ()
    signers = _short_signers(signed) if len(signed) <= _SHORT else _plain_signers(signed)
    if objects is None or references is None or signers is None:
        return None
    change = Change(
        kind,
        status,
        objects,
        references,
        None if stop is None else unhexlify(stop),
        None if expires == "null" else int(expires),
    )
    return Transaction(
        creator,
        (change,),
        (),
        signers,
        None if draw is None else Draw(*map(int, draw.split(","))),
        unhexlify(ledger),
        unhexlify(nonce),
        None if until == "null" else int(until),
        int(protocol),
    )


def _plain_rows(make: Callable[..., _Row], rows: Sequence[Sequence[str]], at_most: int) -> tuple[_Row, ...] | None:
    """Make rows, unless they are too many or not sorted by their first column without repetition."""
    if len(rows) > 1:
        names = [row[0] for row in rows]
        if len(rows) > at_most or any(map(ge, names, names[1:])):
            return None
    return tuple([make(*row) for row in rows])


def _plain_signers(signed: str) -> tuple[Signer, ...] | None:
    """Make the rows of the signers."""
    return _plain_rows(Signer, _SIGNER.findall(signed), MAX_SIGNERS)


_short_signers = lru_cache(maxsize=1024)(_plain_signers)
"""The same; the few organisations of a ledger sign in few combinations."""


def _object_row(object_id: str, version: str, body_hash: str) -> ObjectRow:
    """Make a row of texts that the pattern has checked."""
    return ObjectRow(unhexlify(object_id), int(version), unhexlify(body_hash))


def _ref_row(key: str, version: str) -> Ref:
    """Make a row of texts that the pattern has checked."""
    return Ref(unhexlify(key), int(version))


def _row(*columns: str) -> str:
    """Write the pattern of a row."""
    return rf"\[{','.join(columns)}\]"


def _bare(pattern: str) -> str:
    """Write a pattern that takes nothing out."""
    return pattern.replace("(", "(?:")


def _first(row: str) -> str:
    """Write the pattern of one row, taken apart, and of those after it, as they are."""
    return f"{row}((?:,{_bare(row)})*+)"


def _listed(row: str) -> str:
    """Write the pattern of one row or more, which never gives back what it has taken."""
    return f"{_bare(row)}(?:,{_bare(row)})*+"


_BEFORE: Final = b'{"payload":"'
_HEX16: Final = '"([0-9a-f]{32})"'
_HEX32: Final = '"([0-9a-f]{64})"'
_NAME: Final = '"([a-z0-9-]{1,64})"'
_WHOLE: Final = "(0|[1-9][0-9]{0,14})"
_POSITIVE: Final = "([1-9][0-9]{0,14})"
_OBJECT: Final = re.compile(_row(_HEX16, _POSITIVE, _HEX32))
_REF: Final = re.compile(_row(_HEX32, _POSITIVE))
_SIGNER: Final = re.compile(_row(_HEX16, _NAME))
_SIGNATURE: Final = re.compile(rf'\{{"keyid":{_HEX16},"sig":"([A-Za-z0-9+/]{{85}}[AQgw]==)"\}}')
_TAIL: Final = re.compile(
    rf'","payloadType":"{re.escape(PAYLOAD_TYPE)}","signatures":\[{_first(_SIGNATURE.pattern)}\]\}}'
)
_NULL_OR_WHOLE: Final = f"(null|{_bare(_WHOLE)})"
_PLAIN: Final = re.compile(
    rf'\{{"bodies":\[\],"changes":\[\{{"expires":{_NULL_OR_WHOLE},"kind":{_NAME},"objects":\[{_first(_OBJECT.pattern)}\],'
    rf'"refs":\[((?:{_listed(_REF.pattern)})?)\],"status":{_NAME},"stop_hash":(?:null|{_HEX32})\}}\],"creator":{_NAME},'
    rf'"draw":(?:null|\[({",".join(3 * [_bare(_WHOLE)])})\]),"ledger":{_HEX32},"nonce":{_HEX16},'
    rf'"protocol":{_WHOLE},"signers":\[({_listed(_SIGNER.pattern)})\],"type":"{_TRANSACTION_TYPE}","until":{_NULL_OR_WHOLE}\}}'
)
_ENVELOPE: Final = {"payload": str, "payloadType": str, "signatures": list}
_TRANSACTION: Final = {
    "bodies": list,
    "changes": list,
    "creator": str,
    "ledger": str,
    "nonce": str,
    "protocol": int,
    "signers": list,
    "type": str,
}
_STOP: Final = {
    "creator": str,
    "ledger": str,
    "nonce": str,
    "object": str,
    "preimage": str,
    "protocol": int,
    "signers": list,
    "type": str,
}
_CHANGE: Final = {"kind": str, "objects": list, "refs": list, "status": str}


def _signature(row: Json) -> tuple[str, bytes]:
    """Decode one signature row."""
    value = members(row, {"keyid": str, "sig": str})
    signature = unbase64(value["sig"])
    if len(signature) != _SIGNATURE_BYTES:
        raise _malformed("sig")
    return str(value["keyid"]), signature


def _payload(data: bytes) -> Payload:
    """Decode a payload."""
    plain = _plain_transaction(data)
    if plain is not None:
        return plain
    value = parse_canonical(data, max_bytes=MAX_LEAF_BYTES)
    if type(value) is dict and value.get("type") == _STOP_TYPE:
        return _stop(value)
    return _transaction(value)


def _nullable(value: Json, required: Mapping[str, type], nullable: tuple[str, ...]) -> dict[str, Json]:
    """Check members of which some may be null but none absent; leaves the type of those to the caller."""
    if type(value) is not dict:
        raise _malformed("")
    for name in nullable:
        if name not in value:
            raise _malformed(name)
    if len(value) != len(required) + len(nullable) or any(
        type(value.get(name)) is not kind for name, kind in required.items()
    ):
        members({name: item for name, item in value.items() if name not in nullable}, required)
    return value


def _transaction(value: Json) -> Transaction:
    """Decode a transaction."""
    top = _nullable(value, _TRANSACTION, ("draw", "until"))
    if top["type"] != _TRANSACTION_TYPE:
        raise _malformed("type")
    changes = tuple(_change(item) for item in _rows(top, "changes", MAX_CHANGES))
    _check_objects(changes)
    signers = _signers(top)
    return Transaction(
        creator=_text(top, "creator"),
        changes=changes,
        bodies=tuple(_rows(top, "bodies", MAX_CHANGES, at_least=0)),
        signers=signers,
        draw=_draw(top["draw"]),
        ledger=unhex(top["ledger"], HASH_BYTES),
        nonce=unhex(top["nonce"], ID_BYTES),
        until=_number_or_none(top, "until"),
        protocol=_number(top["protocol"], "protocol"),
    )


def _stop(value: Json) -> Stop:
    """Decode a stop."""
    top = _nullable(value, _STOP, ("evidence", "until"))
    evidence = top["evidence"]
    return Stop(
        creator=_text(top, "creator"),
        object=unhex(top["object"], HASH_BYTES),
        preimage=unhex(top["preimage"], HASH_BYTES),
        evidence=None if evidence is None else unhex(evidence, HASH_BYTES),
        signers=_signers(top),
        ledger=unhex(top["ledger"], HASH_BYTES),
        nonce=unhex(top["nonce"], ID_BYTES),
        until=_number_or_none(top, "until"),
        protocol=_number(top["protocol"], "protocol"),
    )


def _change(value: Json) -> Change:
    """Decode one change."""
    row = _nullable(value, _CHANGE, ("expires", "stop_hash"))
    objects = tuple(_object(item) for item in _rows(row, "objects", MAX_OBJECTS))
    refs = tuple(_ref(item) for item in _rows(row, "refs", MAX_REFS, at_least=0))
    if any(refs[at].key >= refs[at + 1].key for at in range(len(refs) - 1)):
        raise _malformed("refs")
    stop_hash = row["stop_hash"]
    return Change(
        kind=_text(row, "kind"),
        status=_text(row, "status"),
        objects=objects,
        refs=refs,
        stop_hash=None if stop_hash is None else unhex(stop_hash, HASH_BYTES),
        expires=_number_or_none(row, "expires"),
    )


def _check_objects(changes: tuple[Change, ...]) -> None:
    """Refuse too many objects, an id that occurs twice, or rows out of order: each payload has one spelling."""
    ids = [row.id for change in changes for row in change.objects]
    if len(ids) > MAX_OBJECTS or len(set(ids)) != len(ids):
        raise InputError("transaction.objects", count=len(ids))
    if len(ids) > len(changes) and any(list(change.objects) != sorted(change.objects) for change in changes):
        raise InputError("transaction.objects", count=len(ids))


def _object(item: Json) -> ObjectRow:
    """Decode [id, version, body hash]."""
    if type(item) is not list or len(item) != 3:  # noqa: PLR2004  # the row's three columns
        raise _malformed("objects")
    return ObjectRow(unhex(item[0], ID_BYTES), _version(item[1]), unhex(item[2], HASH_BYTES))


def _ref(item: Json) -> Ref:
    """Decode [map key, version]."""
    if type(item) is not list or len(item) != 2:  # noqa: PLR2004  # the row's two columns
        raise _malformed("refs")
    return Ref(unhex(item[0], HASH_BYTES), _version(item[1]))


def _signers(top: dict[str, Json]) -> tuple[Signer, ...]:
    """Decode the signers, sorted by key id and unique."""
    signers = []
    for item in _rows(top, "signers", MAX_SIGNERS):
        if type(item) is not list or len(item) != 2 or type(item[1]) is not str:  # noqa: PLR2004  # two columns
            raise _malformed("signers")
        signers.append(Signer(unhex(item[0], ID_BYTES).hex(), item[1]))
    if any(signers[at].key_id >= signers[at + 1].key_id for at in range(len(signers) - 1)):
        raise InputError("transaction.signers", count=len(signers))
    return tuple(signers)


def _draw(item: Json) -> Draw | None:
    """Decode [seed height, number, rank] or null."""
    if item is None:
        return None
    if type(item) is not list or len(item) != 3:  # noqa: PLR2004  # the row's three columns
        raise _malformed("draw")
    return Draw(*(_number(entry, "draw") for entry in item))


def _rows(top: dict[str, Json], name: str, at_most: int, *, at_least: int = 1) -> list[Json]:
    """Return an array of bounded length."""
    rows = top[name]
    if type(rows) is not list or not at_least <= len(rows) <= at_most:
        raise _malformed(name)
    return rows


def _text(top: dict[str, Json], name: str) -> str:
    """Return a short ASCII name; anything else could not enter a map key."""
    text = top[name]
    if type(text) is not str or not 0 < len(text) <= _MAX_NAME or not text.isascii():
        raise _malformed(name)
    return text


def _number(value: Json, name: str) -> int:
    """Return a number that is not negative."""
    if type(value) is not int or value < 0:
        raise _malformed(name)
    return value


def _number_or_none(top: dict[str, Json], name: str) -> int | None:
    """Return a number that is not negative, or None."""
    return None if top[name] is None else _number(top[name], name)


def _version(value: Json) -> int:
    """Return a version, which starts at 1."""
    if type(value) is not int or value < 1:
        raise _malformed("version")
    return value


def _malformed(member: str) -> InputError:
    """Name the member that is wrong."""
    return InputError("transaction.malformed", reason="encoding.members", member=member)


def _transaction_json(transaction: Transaction) -> Json:
    """Turn a transaction into JSON."""
    return {
        "bodies": list(transaction.bodies),
        "changes": [_change_json(change) for change in transaction.changes],
        "creator": transaction.creator,
        "draw": None if transaction.draw is None else list(transaction.draw),
        "ledger": transaction.ledger.hex(),
        "nonce": transaction.nonce.hex(),
        "protocol": transaction.protocol,
        "signers": [list(signer) for signer in transaction.signers],
        "type": _TRANSACTION_TYPE,
        "until": transaction.until,
    }


def _change_json(change: Change) -> Json:
    """Turn a change into JSON."""
    return {
        "expires": change.expires,
        "kind": change.kind,
        "objects": [[row.id.hex(), row.version, row.body_hash.hex()] for row in change.objects],
        "refs": [[ref.key.hex(), ref.version] for ref in change.refs],
        "status": change.status,
        "stop_hash": None if change.stop_hash is None else change.stop_hash.hex(),
    }


def _stop_json(stop: Stop) -> Json:
    """Turn a stop into JSON."""
    return {
        "creator": stop.creator,
        "evidence": None if stop.evidence is None else stop.evidence.hex(),
        "ledger": stop.ledger.hex(),
        "nonce": stop.nonce.hex(),
        "object": stop.object.hex(),
        "preimage": stop.preimage.hex(),
        "protocol": stop.protocol,
        "signers": [list(signer) for signer in stop.signers],
        "type": _STOP_TYPE,
        "until": stop.until,
    }
