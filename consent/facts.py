"""What the decision asks of a record, read from its FHIR JSON. Pure.

Keeps true: what a record does not say is not known, never assumed; codings and references count wherever they stand in
it, since a rule on a code holds "if this code is found in an instance" (FHIR R4 Consent.provision.code); what may name
another record without being a reference to it is told as such. Trusts the caller for whose the record is and when what
it tells of happened.
Source: `docs/spec/consent.md` D9, D13, D14; FHIR R4.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import orjson

from consent.decision import Resource, coding_key, unversioned
from consent.directive import SUBJECT, span_of_seconds
from medchain.dates import Span
from medchain.encoding import objects_in
from medchain.ledger.kinds.content import Period
from medchain.node.naming import perhaps_named

AUTHORS: Final = frozenset({"asserter", "author", "enterer", "performer", "recorder", "requester"})
"""Elements of R4's types that say who wrote a record, or stands for it."""


def facts_of(content: bytes, patient: str, span: Span | None, meant: Collection[str] = ()) -> Resource:
    """Read a record.

    Args:
        content: FHIR JSON.
        patient: reference of whose it is.
        span: when what it tells of happened; None where nobody can tell.
        meant: references to the records that it means by identifiers.

    Returns:
        What the decision asks of it; of what is no FHIR JSON nothing is known.
    """
    try:
        record = orjson.loads(content)
    except orjson.JSONDecodeError:
        record = None
    if not isinstance(record, dict):
        return Resource(None, None, patient, codes=None, labels=None, authors=None, span=span)
    name, record_id = record.get("resourceType"), record.get("id")
    is_named = isinstance(name, str) and isinstance(record_id, str)
    meta = record.get("meta", {})
    inside = {key: value for key, value in record.items() if key not in ("meta", "text")}
    authors = {reference for key in AUTHORS & record.keys() for reference in _references(record[key])}
    return Resource(
        reference=f"{name}/{record_id}" if is_named else None,
        type=name if isinstance(name, str) else None,
        patient=patient,
        codes=frozenset(_codings(inside)),
        labels=_labels(meta),
        authors=frozenset(authors) or None,
        span=span,
        related=frozenset((*_references(record), *perhaps_named(record), *meant)),
    )


def facts_told(
    resource_type: str | None, span: Period | None, content: bytes | None, meant: Collection[str] = ()
) -> Resource:
    """Read what is told of a record of `SUBJECT`, such as to a custodian's release.

    Args:
        resource_type: its FHIR type, None for one that is not known.
        span: when what it tells of happened, Unix seconds; None where nobody can tell.
        content: FHIR JSON; None where no more than that is known.
        meant: as `facts_of` takes it.
    """
    when = None if span is None else span_of_seconds(span)
    if content is None:
        return Resource(None, resource_type, SUBJECT, codes=None, labels=None, authors=None, span=when)
    return facts_of(content, SUBJECT, when, meant)


def _labels(meta: object) -> frozenset[str] | None:
    """Read the security labels; None if one of them cannot be read."""
    labels = meta.get("security", []) if isinstance(meta, dict) else None
    if not isinstance(labels, list):
        return None
    codes = [label.get("code") if isinstance(label, dict) else None for label in labels]
    found = frozenset(code for code in codes if isinstance(code, str))
    return found if all(isinstance(code, str) for code in codes) else None


def _codings(value: object) -> Iterator[str]:
    """List all codings; what has a system and a code is one, a quantity's unit too."""
    for one in objects_in(value):
        system, code = one.get("system"), one.get("code")
        if isinstance(code, str) and (isinstance(system, str) or system is None):
            yield coding_key(system, code)


def _references(value: object) -> Iterator[str]:
    """List all references to other records."""
    for one in objects_in(value):
        reference = one.get("reference")
        if isinstance(reference, str) and not reference.startswith("#"):
            yield unversioned(reference)
