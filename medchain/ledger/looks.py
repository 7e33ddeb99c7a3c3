"""The list of who looked at a patient's records at one custodian: that it is whole up to a root on the ledger.

Keeps true: the roots of a custodian are one object whose key follows from its org_id, so that nobody is shown another
map; the entries of a patient are chained, and stand in the map at places that only the patient's chain gives: the last
one is shown to be there, and the next one to be absent, so none can be left out, put in, changed or moved. Trusts the
caller for the root's record, that of a proven state. What was never entered no list shows.
Source: `docs/spec/looks.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, canonical, digest, members, parse_canonical, unhex
from medchain.errors import InputError, VerificationError
from medchain.ledger.object import ACTIVE, StateRecord, map_key
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.tlog.statemap import MapProof, verify_map

LOOKS_TYPE: Final = "medchain/looks/v1"
"""Type member of ``looks.json``."""

ROOT_TYPE: Final = "medchain/looks-root/v1"
"""Type member of a root."""

CHAIN_BYTES: Final = 32
"""Size of the secret of a patient's list."""

MAX_LOOKS: Final = 1000
"""Most looks of one entry."""

MAX_TEXT: Final = 200
"""Most characters of a text of a look."""

AHEAD_S: Final = 60
"""How far a root's time may be ahead of the ledger's, in seconds."""

_RECORD: Final = "record"
_MAX_ROOT_BYTES: Final = 1 << 16
_TEXTS: Final = ("action", "client", "event", "purpose", "role", "who")


@dataclass(frozen=True, slots=True)
class LookRow:
    """Somebody looked at records of a patient, or was refused.

    Attributes:
        time: Unix seconds.
        action: interaction of the FHIR server, or ``release``.
        client: application or organisation that asked.
        who: reference of the person, or empty.
        role: of that person, or empty.
        purpose: purpose of use, or empty.
        types: FHIR types of what was seen, of a refused release of what was asked for, sorted.
        is_refused: whether it was refused.
        event: id of the AuditEvent, or of the refusal, that tells more.
    """

    time: int
    action: str
    client: str
    who: str
    role: str
    purpose: str
    types: tuple[str, ...]
    is_refused: bool
    event: str

    def to_json(self) -> dict[str, Json]:
        """Write it, texts cut at `MAX_TEXT` characters."""
        texts: dict[str, Json] = {name: str(getattr(self, name))[:MAX_TEXT] for name in _TEXTS}
        return {**texts, "refused": self.is_refused, "time": self.time, "types": list[Json](self.types)}

    @classmethod
    def from_json(cls, value: Json) -> LookRow:
        """Read it; raises `InputError` ``encoding.members``, ``looks.malformed``."""
        top = members(value, {**dict.fromkeys(_TEXTS, str), "refused": bool, "time": int, "types": list})
        rows = top["types"]
        types = tuple(str(one) for one in rows) if isinstance(rows, list) else ()
        texts = {name: str(top[name]) for name in _TEXTS}
        made = cls(time=_number(top["time"]), types=types, is_refused=top["refused"] is True, **texts)
        if made.to_json() != value or sorted(set(types)) != list(types):
            raise InputError("looks.malformed")
        return made


@dataclass(frozen=True, slots=True)
class LookEntry:
    """What was entered of one patient at one time.

    Attributes:
        number: from 1 in the patient's list.
        time: when it was entered, Unix seconds.
        previous: value of the entry before, None for the first.
        looks: 1 to `MAX_LOOKS`.
    """

    number: int
    time: int
    previous: bytes | None
    looks: tuple[LookRow, ...]

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "looks": [one.to_json() for one in self.looks],
            "number": self.number,
            "previous": None if self.previous is None else self.previous.hex(),
            "time": self.time,
        }

    @classmethod
    def from_json(cls, value: Json) -> LookEntry:
        """Read it; raises `InputError` ``encoding.*``, ``looks.malformed``."""
        is_first = isinstance(value, dict) and value.get("previous") is None
        previous = type(None) if is_first else str
        top = members(value, {"looks": list, "number": int, "previous": previous, "time": int})
        rows = top["looks"]
        if not isinstance(rows, list) or not 0 < len(rows) <= MAX_LOOKS:
            raise InputError("looks.malformed")
        before = None if is_first else unhex(top["previous"], HASH_BYTES)
        looks = tuple(LookRow.from_json(row) for row in rows)
        return cls(_number(top["number"]), _number(top["time"]), before, looks)

    def value(self, chain: bytes, patient: str) -> bytes:
        """Return what the map holds of it, 32 bytes."""
        return digest("medchain/look-entry/v1", chain, patient.encode(), canonical(self.to_json()))


@dataclass(frozen=True, slots=True)
class LooksRoot:
    """The map of a custodian at one moment.

    Attributes:
        root: root hash of the map, 32 bytes.
        time: up to when looks are entered, Unix seconds.
        lost: first and last versions of roots that an older copy of the custodian's files does not know, sorted.
    """

    root: bytes
    time: int
    lost: tuple[tuple[int, int], ...] = ()

    def encode(self) -> bytes:
        """Write it as canonical JSON."""
        lost: list[Json] = [[first, last] for first, last in self.lost]
        return canonical({"lost": lost, "root": self.root.hex(), "time": self.time, "type": ROOT_TYPE})

    @classmethod
    def decode(cls, data: bytes) -> LooksRoot:
        """Read it; raises `InputError` ``encoding.*``, ``looks.malformed``."""
        top = members(
            parse_canonical(data, max_bytes=_MAX_ROOT_BYTES), {"lost": list, "root": str, "time": int, "type": str}
        )
        if top["type"] != ROOT_TYPE:
            raise InputError("looks.malformed")
        return cls(unhex(top["root"], HASH_BYTES), _number(top["time"]), read_spans(top["lost"]))


@dataclass(frozen=True, slots=True)
class Looks:
    """All that is entered of a patient at a custodian, up to a root.

    Attributes:
        custodian: org_id.
        patient: reference of the Patient there.
        chain: secret of the list, 32 bytes.
        version: of the root.
        root: what the ledger vouches for.
        entries: all of them, the first one first.
    """

    custodian: str
    patient: str
    chain: bytes
    version: int
    root: LooksRoot
    entries: tuple[LookEntry, ...]

    def to_json(self) -> dict[str, Json]:
        """Write it as a verdict tells it: without the secret, each look with the time at which it was entered."""
        return {
            "custodian": self.custodian,
            "listed": [{**look.to_json(), "entered": entry.time} for entry in self.entries for look in entry.looks],
            "lost": [[first, last] for first, last in self.root.lost],
            "patient": self.patient,
            "until": self.root.time,
            "version": self.version,
        }


def roots_id(custodian: str) -> bytes:
    """Return the id of the object of a custodian's roots, 16 bytes."""
    return digest("medchain/looks-id/v1", custodian.encode("ascii"))[:ID_BYTES]


def roots_key(custodian: str) -> bytes:
    """Return the map key of the object of a custodian's roots, 32 bytes."""
    return map_key(_RECORD, custodian, roots_id(custodian))


def place_of(chain: bytes, patient: str, number: int) -> bytes:
    """Return the key in the custodian's map of an entry, 32 bytes."""
    return digest("medchain/look-place/v1", chain, patient.encode(), number.to_bytes(8, "big"))


def write_looks(
    chain: bytes, patient: str, entries: Sequence[LookEntry], head: MapProof | None, following: MapProof
) -> bytes:
    """Write ``looks.json`` of a bundle.

    Args:
        chain: secret of the list, 32 bytes.
        patient: reference of the Patient.
        entries: all of them.
        head: that the map has the last entry; None for an empty list.
        following: that it has no next one.

    Returns:
        Canonical JSON.
    """
    return canonical(
        {
            "chain": chain.hex(),
            "entries": [one.to_json() for one in entries],
            "head": [] if head is None else [_parsed(head)],
            "next": _parsed(following),
            "patient": patient,
            "type": LOOKS_TYPE,
        }
    )


def open_looks(document: bytes, record: StateRecord, newest: int, opened: bytes, time: int) -> Looks:
    """Read ``looks.json``, and check it against what a state proves.

    Args:
        document: from `write_looks`, bounded.
        record: state record of the root, proven.
        newest: newest version of its object in the state proven.
        opened: the root's bytes, compared with its commitment.
        time: of the state proven, Unix seconds.

    Returns:
        What is entered.

    Raises:
        InputError: ``encoding.*``, ``tlog.map_json``, ``looks.malformed``.
        VerificationError: ``looks.object`` for another object than that of a custodian's roots, ``looks.version`` for
            one that is not the newest, ``looks.time``, ``looks.chain`` for entries that do not follow on each other,
            ``looks.proof`` for a list that the map does not hold so.
    """
    if record.key != roots_key(record.creator) or record.status != ACTIVE:
        raise VerificationError("looks.object")
    if record.version != newest:
        raise VerificationError("looks.version", version=record.version, newest=newest)
    root = LooksRoot.decode(opened)
    if root.time > time + AHEAD_S:
        raise VerificationError("looks.time", number=0)
    top = members(
        parse_canonical(document, max_bytes=len(document)),
        {"chain": str, "entries": list, "head": list, "next": dict, "patient": str, "type": str},
    )
    rows, heads, patient = top["entries"], top["head"], str(top["patient"])
    chain = unhex(top["chain"], CHAIN_BYTES)
    if top["type"] != LOOKS_TYPE or not isinstance(rows, list) or not isinstance(heads, list):
        raise InputError("looks.malformed")
    entries = tuple(LookEntry.from_json(row) for row in rows)
    last = _check_chain(entries, chain, patient, root.time)
    if len(heads) != min(len(entries), 1):
        raise VerificationError("looks.proof")
    for head in heads:
        _check_place(root.root, head, place_of(chain, patient, len(entries)), last)
    _check_place(root.root, top["next"], place_of(chain, patient, len(entries) + 1), None)
    return Looks(record.creator, patient, chain, record.version, root, entries)


def check_growth(earlier: Looks, later: Looks) -> None:
    """Check that a list only grew since an earlier proof of it.

    Raises:
        VerificationError: ``looks.other`` for another list, ``looks.older`` where it is the older one,
            ``looks.rewritten`` for entries or losses that are not what they were, ``looks.backdated`` for entries from
            before the earlier root that it did not have.
    """
    names = [(one.custodian, one.patient, one.chain) for one in (earlier, later)]
    if names[0] != names[1]:
        raise VerificationError("looks.other")
    if later.version < earlier.version:
        raise VerificationError("looks.older", version=later.version, newest=earlier.version)
    kept = len(earlier.entries)
    if later.entries[:kept] != earlier.entries or not all(
        _is_within(one, later.root.lost) for one in earlier.root.lost
    ):
        raise VerificationError("looks.rewritten")
    if any(one.time < earlier.root.time for one in later.entries[kept:]):
        raise VerificationError("looks.backdated")


def _check_chain(entries: Iterable[LookEntry], chain: bytes, patient: str, until: int) -> bytes | None:
    """Check that entries follow on each other; returns the value of the last one."""
    value, time = None, 0
    for number, entry in enumerate(entries, 1):
        if entry.number != number or entry.previous != value:
            raise VerificationError("looks.chain", number=number)
        if not time <= entry.time <= until or any(look.time > entry.time for look in entry.looks):
            raise VerificationError("looks.time", number=number)
        value, time = entry.value(chain, patient), entry.time
    return value


def _check_place(root: bytes, proof: Json, place: bytes, value: bytes | None) -> None:
    """Check what the map has at a place, None for nothing."""
    found = MapProof.from_json(canonical(proof))
    if found.key != place or found.value != value:
        raise VerificationError("looks.proof")
    verify_map(root, found)


def _parsed(proof: MapProof) -> Json:
    """Write a proof as a value of JSON."""
    encoded = proof.to_json()
    return parse_canonical(encoded, max_bytes=len(encoded))


def read_spans(value: Json) -> tuple[tuple[int, int], ...]:
    """Read spans of versions, sorted and apart; raises `InputError` ``looks.malformed``."""
    spans = tuple(_span(row) for row in value) if isinstance(value, list) else ()
    after = 0
    for first, last in spans:
        if not after < first <= last:
            raise InputError("looks.malformed")
        after = last
    return spans


def _span(value: Json) -> tuple[int, int]:
    """Read a span of versions; raises `InputError` ``looks.malformed``."""
    if not isinstance(value, list) or [type(one) for one in value] != [int, int]:
        raise InputError("looks.malformed")
    return _number(value[0]), _number(value[1])


def _is_within(span: tuple[int, int], spans: Iterable[tuple[int, int]]) -> bool:
    """Tell whether a span lies in one of others."""
    return any(first <= span[0] and span[1] <= last for first, last in spans)


def _number(value: Json) -> int:
    """Read a number of at most 8 bytes that is not negative; raises `InputError` ``looks.malformed``."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise InputError("looks.malformed")
    return value
