"""Bundles of many records, spliced of stored bytes: nothing is parsed, and nothing written twice.

Keeps true: what stands in a Bundle is what is stored, or the part of it that was asked for; what cannot be opened any
more is left out; a link tells nothing of whom it is about. Trusts its callers for having asked the gate.
Source: FHIR R4 §3.1.1.1 (search results), §3.1.0.12 (history), Bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhir_bridge.document import Element, write
from fhir_bridge.references import instant, is_given
from fhir_bridge.rest.core import Core
from medchain.crypto.keywrap import WrappingKey
from medchain.errors import NotFoundError
from medchain.store.versions import Found

Link = tuple[str, str]
"""Relation and address."""


def content_of(core: Core, found: Found, known: dict[bytes, WrappingKey]) -> bytes | None:
    """Open a version as it stands in a Bundle.

    Args:
        core: of the server.
        found: the version, with its key.
        known: keys of this answer's patients, used and added to.

    Returns:
        FHIR JSON; empty for a deletion; None for what was erased.
    """
    try:
        if found.stored.head is not None:
            # A Binary is named, not sent: it may be of any size.
            return core.service.head(found.stored).text
        return core.content(found, known)
    except NotFoundError:
        return None


def bundle(kind: str, now: int, links: Iterable[Link], entries: Sequence[bytes], total: int | None) -> bytes:
    """Write a Bundle.

    Args:
        kind: its type.
        now: Unix seconds.
        links: its links.
        entries: written already.
        total: how many there are on all pages; None where that is not known.
    """
    rows: list[Element] = [{"relation": relation, "url": url} for relation, url in links]
    head: dict[str, Element] = {"resourceType": "Bundle", "meta": {"lastUpdated": instant(now)}, "type": kind}
    text = write(head)[:-1]
    if total is not None:
        text += b',"total":' + str(total).encode()
    text += b',"link":' + write(rows)
    # Entries are most of it: they are copied once.
    return b"".join((text, b',"entry":[', b",".join(entries), b"]}")) if entries else text + b"}"


def found_entry(base_url: str, found: Found, content: bytes, mode: str, fragment: str = "") -> bytes:
    """Write an entry of a search; mode is ``match`` or ``include``, a fragment names what the record contains."""
    stored = found.stored
    begin = f'{{"fullUrl":"{base_url}/{stored.type}/{stored.id}{fragment}","resource":'.encode()
    return b"".join((begin, content, f',"search":{{"mode":"{mode}"}}}}'.encode()))


def outcome_entry(outcome: Element) -> bytes:
    """Write the entry that holds warnings about a search."""
    return b'{"resource":' + write(outcome) + b',"search":{"mode":"outcome"}}'


def past_entry(base_url: str, found: Found, content: bytes, *, is_new: bool) -> bytes:
    """Write an entry of a history (§3.1.0.12.1); one without content is a deletion.

    A version under an id that a client chose was made by an update, also one before which there was nothing
    (§3.1.0.4.1).
    """
    stored, is_deleted = found.stored, not content
    name = f"{stored.type}/{stored.id}"
    is_created = stored.version == 1 and is_given(stored.id)
    method = "DELETE" if is_deleted else "POST" if is_created else "PUT"
    request: Element = {"method": method, "url": stored.type if method == "POST" else name}
    response: Element = {
        "status": "204" if is_deleted else "201" if is_new else "200",
        "etag": f'W/"{stored.version}"',
        "lastModified": instant(stored.created),
    }
    body = b',"resource":' + content if content else b""
    rest = b',"request":' + write(request) + b',"response":' + write(response) + b"}"
    return b'{"fullUrl":"' + f"{base_url}/{name}".encode() + b'"' + body + rest
