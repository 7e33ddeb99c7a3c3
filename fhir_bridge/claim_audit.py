"""With which system, and by whom, versions of records were stored, as this node's own audit says.

Keeps true: an event that a client has stored counts for nothing, whatever it says; of a version the first event that
names it counts, since nobody is shown what is not stored yet; where there are too many events to be sure which is the
first, or it was stored without one, nothing is told. Trusts the audit.
Source: `docs/spec/audit.md` 1, 4; `docs/spec/claim-disclosure.md` 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlencode

from fhir_bridge.claim_case import NodeRecords, resource_of
from fhir_bridge.document import Resource, member, object_of, objects_of
from medchain.store.records import RecordVersion

MAX_SEGMENTS: Final = 200
"""Most segments of events that are opened for so many records as are looked up at once."""

MAX_SEALED_BYTES: Final = 4 << 20
"""Largest size of them together, as they are kept: a segment may hold hundreds of events."""

_EVENT: Final = "AuditEvent"
_STORING: Final = "batch,create,patch,transaction,update"
_CLIENT: Final = "urn:medchain:client"
_AT_ONCE: Final = 50
_MOST: Final = 1000


class Stored(NamedTuple):
    """How a version was stored.

    Attributes:
        system: id of the client.
        user: reference of the person who was signed in there; empty where none was.
    """

    system: str
    user: str


NOT_KNOWN: Final = Stored("", "")
"""Of what the audit does not tell."""


@dataclass(frozen=True, slots=True)
class _Event:
    """An event that names versions: when, by what, and which."""

    recorded: str
    number: int
    stored: Stored
    versions: frozenset[str]


def stored_by(node: NodeRecords, references: Sequence[str]) -> dict[str, Stored]:
    """Find how versions of records were stored.

    Args:
        node: its records, the audit's events among them.
        references: of the records, ``Type/id``.

    Returns:
        By ``Type/id/_history/version``; what is not known is not in it.
    """
    found: dict[str, Stored] = {}
    for start in range(0, len(references), _AT_ONCE):
        rows = _rows(node, references[start : start + _AT_ONCE])
        for event in sorted(_events(node, rows), key=lambda one: (one.recorded, one.number)):
            for version in event.versions:
                found.setdefault(version, event.stored)
    return found


def _rows(node: NodeRecords, references: Sequence[str]) -> list[RecordVersion]:
    """Find the events by which records were stored, by segment; none where they are more than can be looked at."""
    query = urlencode({"entity": ",".join(references), "subtype": _STORING})
    found = node.searches.rows(_EVENT, query, _MOST)
    known = [node.records.numbered(one.number) for one in found]
    # The node's own events are parts of segments; what a client stores as an AuditEvent is a record like any other.
    rows = [row for row in known if row is not None and row.segment is not None]
    segments = [node.records.numbered(one) for one in {row.segment for row in rows} if one is not None]
    size = sum(0 if one is None else one.sealed_size for one in segments)
    is_bounded = len(found) < _MOST and len(segments) <= MAX_SEGMENTS and size <= MAX_SEALED_BYTES
    return sorted(rows, key=lambda row: row.segment or 0) if is_bounded else []


def _events(node: NodeRecords, rows: Sequence[RecordVersion]) -> Iterator[_Event]:
    """Read events."""
    for row in rows:
        event = resource_of(node.service.open(row))
        versions = frozenset(member(object_of(one.get("what")), "reference") for one in objects_of(event.get("entity")))
        yield _Event(member(event, "recorded"), row.seq, _stored(event), versions)


def _stored(event: Resource) -> Stored:
    """Read what stored it: the client, and the person who was signed in there."""
    system = user = ""
    for agent in objects_of(event.get("agent")):
        who = object_of(agent.get("who"))
        identifier = object_of(who.get("identifier"))
        if member(identifier, "system") == _CLIENT and not system:
            system = member(identifier, "value")
        user = user or member(who, "reference")
    return Stored(system, user)
