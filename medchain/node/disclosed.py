"""What is sealed in the answer to a request for a claim: the hospital's signed disclosure, and an opening per record.

Keeps true: it has one spelling, and an opening, or none, for each record that the disclosure names, in its order. Pure.
Trusts nothing that is parsed.
Source: `docs/spec/claim-disclosure.md` 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, as_list, canonical, members, parse_canonical, unhex
from medchain.errors import InputError
from medchain.ledger.evidence.disclosure import SignedDisclosure, read_disclosure
from medchain.ledger.transaction import ID_BYTES
from medchain.node.release import MAX_DISCLOSURE_BYTES

_TYPE: Final = "medchain/claim-answer-sealed/v1"
_SHAPE: Final = {"openings": list, "signed": dict, "type": str}


@dataclass(frozen=True, slots=True)
class RecordOpening:
    """What is opened of one record.

    Attributes:
        object_id: of its object on the ledger, 16 bytes.
        version: of which fields are shown.
        opening: ``opening.json``; None for a record whose fields are not committed to one by one.
    """

    object_id: bytes
    version: int
    opening: bytes | None


@dataclass(frozen=True, slots=True)
class Disclosed:
    """What is sealed.

    Attributes:
        signed: what the hospital says.
        openings: one for each of its records, in its order.
    """

    signed: SignedDisclosure
    openings: tuple[RecordOpening, ...]

    def encode(self) -> bytes:
        """Write it."""
        rows: list[Json] = [
            {
                "object": one.object_id.hex(),
                "opening": None if one.opening is None else parse_canonical(one.opening, max_bytes=len(one.opening)),
                "version": one.version,
            }
            for one in self.openings
        ]
        return canonical({"openings": rows, "signed": self.signed.to_json(), "type": _TYPE})


def parse_disclosed(document: bytes) -> Disclosed:
    """Read what was sealed strictly; nothing of it is verified yet.

    Args:
        document: from `Disclosed.encode`.

    Raises:
        InputError: ``encoding.*``, ``content.*``, ``disclosure.*``, and ``release.malformed`` where the openings are
            not those of the records.
    """
    top = members(parse_canonical(document, max_bytes=MAX_DISCLOSURE_BYTES), _SHAPE)
    openings = _openings(as_list(top["openings"]))
    made = Disclosed(read_disclosure(top["signed"]), openings)
    named = [one.object_id for one in made.signed.disclosure.records]
    if top["type"] != _TYPE or [one.object_id for one in openings] != named:
        raise InputError("release.malformed", member="openings")
    return made


def _openings(rows: Sequence[Json]) -> tuple[RecordOpening, ...]:
    """Read what is opened of each record."""
    found = []
    for row in rows:
        if type(row) is not dict or row.keys() != {"object", "opening", "version"}:
            raise InputError("encoding.members", member="openings")
        version, opening = row["version"], row["opening"]
        if type(version) is not int or version < 1 or not (opening is None or type(opening) is dict):
            raise InputError("release.malformed", member="openings")
        shown = None if opening is None else canonical(opening)
        found.append(RecordOpening(unhex(row["object"], ID_BYTES), version, shown))
    return tuple(found)
