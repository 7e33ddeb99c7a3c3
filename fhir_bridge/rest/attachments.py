"""Originals of documents: what a DocumentReference says of an attachment must be so.

A hospital's document (CDA XML of WS/T 500, PDF, DICOM SR) is a Binary, kept sealed and anchored to the byte, and a
DocumentReference by which it is found. Keeps true: where an attachment's bytes are here, or come with it, its `size`
and `hash` are theirs, or it is refused; who may not read a Binary learns nothing of it so. An attachment that lies
elsewhere is taken as it is. Trusts `RecordService` to give what was stored.
Source: FHIR R4 §2.24.0.3 (Attachment: `size` in bytes before base64, `hash` SHA-1 in base64), DocumentReference.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from fhir_bridge import binary
from fhir_bridge.document import Element, Number, Resource, member
from fhir_bridge.resources import InvalidResourceError
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.read import version_of
from fhir_bridge.smart.access import Access
from fhir_bridge.validation.issue import Issue, Rule
from medchain.errors import NotFoundError

TYPE: Final = "DocumentReference"
"""The type whose attachments are compared."""

_LOCAL: Final = re.compile(r"Binary/([A-Za-z0-9\-.]{1,64})(?:/_history/([0-9]{1,10}))?")


def check_attachments(core: Core, access: Access, resource: Resource, given: Mapping[str, bytes]) -> None:
    """Compare what a DocumentReference says of its attachments with their bytes.

    Args:
        core: of the server.
        access: who stores it.
        resource: as it will be stored; of another type nothing is looked at.
        given: contents of Binaries that are stored together with it, by id.

    Raises:
        InvalidResourceError: with the place of each `size` and `hash` that is not so.
    """
    if resource.get("resourceType") != TYPE:
        return
    issues = [issue for place, one in _attachments(resource) for issue in _wrong(core, access, place, one, given)]
    if issues:
        raise InvalidResourceError(issues)


def _attachments(resource: Resource) -> Iterator[tuple[str, Resource]]:
    """List the attachments with their places."""
    rows = resource.get("content")
    for place, row in enumerate(rows if isinstance(rows, list) else []):
        one = row.get("attachment") if isinstance(row, dict) else None
        if isinstance(one, dict):
            yield f"{TYPE}.content[{place}].attachment", one


def _wrong(core: Core, access: Access, place: str, one: Resource, given: Mapping[str, bytes]) -> Iterator[Issue]:
    """Say what is not so."""
    size, digest = one.get("size"), member(one, "hash")
    if size is None and not digest:
        return
    found = _content(core, access, one, given, is_hashed=bool(digest))
    if found is None:
        return
    true_size, pieces = found
    if size is not None and _whole(size) != true_size:
        yield Issue(Rule.CONTENT, f"{place}.size", expected=str(true_size))
    if digest:
        true_digest = _sha1(pieces)
        if "".join(digest.split()) != true_digest:
            yield Issue(Rule.CONTENT, f"{place}.hash", expected=true_digest)


def _content(
    core: Core, access: Access, one: Resource, given: Mapping[str, bytes], *, is_hashed: bool
) -> tuple[int, Iterable[bytes]] | None:
    """Find an attachment's size and bytes; None where they are not here, or not for this caller."""
    data = member(one, "data")
    if data:
        try:
            content = base64.b64decode("".join(data.split()), validate=True)
        except binascii.Error:
            return None
        return len(content), [content]
    match = _LOCAL.fullmatch(member(one, "url").removeprefix(f"{core.base_url}/"))
    if match is None:
        return None
    if match[1] in given and match[2] is None:
        return len(given[match[1]]), [given[match[1]]]
    return _stored(core, access, match[1], match[2], is_hashed=is_hashed)


def _stored(
    core: Core, access: Access, record_id: str, version: str | None, *, is_hashed: bool
) -> tuple[int, Iterable[bytes]] | None:
    """Find the size and the bytes of a stored Binary."""
    it = core.reader.find(binary.TYPE, record_id, None if version is None else version_of(version))
    if it is None or it.stored.head is None or not core.gate.shown(access, [it.stored])[0]:
        return None
    try:
        size = core.service.head(it.stored).size
        return size, core.service.stream(it.stored).pieces if is_hashed else ()
    except NotFoundError:
        return None


def _sha1(pieces: Iterable[bytes]) -> str:
    """Compute what R4 calls the hash; it protects nothing here, the ledger's commitment does."""
    found = hashlib.sha1(usedforsecurity=False)
    for piece in pieces:
        found.update(piece)
    return base64.b64encode(found.digest()).decode()


def _whole(value: Element) -> int:
    """Read a size; -1 for what is none."""
    return int(value) if isinstance(value, Number) else -1
