"""Binary: content that is no FHIR, stored and sent back as it came, whatever its size.

A Binary is sealed as its own bytes, under its own media type; what the resource tells beside them (its shell: identity,
`contentType`, `securityContext`) is sealed in the record's head. Keeps true: the bytes that come back are the bytes
that came, natively or in base64; neither way is more of them in memory than a few pieces, unless they came in base64
themselves; a Binary falls under the key of the patient whom its security context concerns. Trusts `RecordService`.
Source: FHIR R4 §2.40 (Binary), §3.1.0.1.13.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from fhir_bridge.document import Resource, member, parse, write
from fhir_bridge.references import with_identity
from fhir_bridge.xml import parse_xml, write_xml
from medchain.errors import InputError
from medchain.node.records import Head, NewStream, RecordService
from medchain.node.telling import context_of, local_record
from medchain.store.records import RecordStore

TYPE: Final = "Binary"
"""The resource type."""

MAX_BYTES: Final = 8 << 30
"""Largest Binary that is taken."""

PIECE_BYTES: Final = 1 << 16
"""How much of a body is read at once."""

DEFAULT_TYPE: Final = "application/octet-stream"
"""Media type of a body that does not say."""

FHIR_TYPES: Final = frozenset({"application/fhir+json", "application/json", "application/fhir+xml"})
"""Media types under which a Binary resource may come; anything else under them is content as well."""

_TOKEN: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105  # a token of RFC 9110, no secret
_MEDIA_TYPE: Final = re.compile(rf'{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|"[ !#-~]*"))*')
# What a header field may hold: a reference of another form was stored, too, but is not sent as one.
_FIELD: Final = re.compile(r"[\x21-\x7e]{1,1024}")
_MAX_MEDIA_TYPE_CHARS: Final = 100
_BASE64_BYTES: Final = 3 * (1 << 14)
_MARK_BYTES: Final = 16


class Readable(Protocol):
    """What a body is read from."""

    def read(self, size: int, /) -> bytes:
        """Read at most so many bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Shell:
    """A Binary without its data.

    Attributes:
        content_type: media type of the data.
        resource: all elements but `data`.
    """

    content_type: str
    resource: Resource

    @property
    def about(self) -> str:
        """Reference of the security context, empty for none."""
        return context_of(self.resource)


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the data of a Binary that is written as a resource.

    Attributes:
        before: up to the data.
        after: from there on.
        size: of the whole, in bytes.
    """

    before: bytes
    after: bytes
    size: int

    def around(self, content: Iterable[bytes]) -> Iterator[bytes]:
        """Write the whole, piece by piece."""
        yield self.before
        kept = b""
        for piece in content:
            kept += piece
            if len(kept) >= _BASE64_BYTES:
                whole = len(kept) - len(kept) % 3
                yield base64.b64encode(kept[:whole])
                kept = kept[whole:]
        yield base64.b64encode(kept) + self.after


def native_shell(content_type: str, about: str) -> Shell:
    """Make the shell of a body that is not a resource.

    Args:
        content_type: the request's Content-Type.
        about: its X-Security-Context, empty for none.

    Raises:
        InputError: ``binary.content_type``.
    """
    shell: Resource = {"resourceType": TYPE, "contentType": content_type}
    if about:
        shell["securityContext"] = {"reference": about}
    return Shell(_media_type(content_type), shell)


def unpacked(resource: Resource) -> tuple[Shell, bytes]:
    """Part a Binary resource into its shell and its data.

    Args:
        resource: parsed and checked.

    Raises:
        InputError: ``binary.content_type``; ``binary.data`` for one without data, or with data that is no base64.
    """
    text = member(resource, "data")
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise InputError("binary.data") from error
    if not data:
        raise InputError("binary.data")
    shell = {name: value for name, value in resource.items() if name != "data"}
    return Shell(_media_type(member(resource, "contentType")), shell), data


def is_resource(body: bytes, *, is_xml: bool = False) -> Resource | None:
    """Tell whether a body that came as FHIR is a Binary resource; then it is returned, else it is content."""
    try:
        resource = parse_xml(body) if is_xml else parse(body)
    except InputError:
        return None
    return resource if resource.get("resourceType") == TYPE else None


def patient_token(about: str, service: RecordService, store: RecordStore) -> str:
    """Find the patient whom a security context concerns.

    Args:
        about: reference to a record of this node, or empty.
        service: knows patients' tokens.
        store: the records.

    Returns:
        Keyed token of the patient; that of no patient where the record concerns none.

    Raises:
        InputError: ``binary.security_context`` for a reference that is not of this node's records.
    """
    if not about:
        return service.patient_token("")
    named = local_record(about)
    stored = None if named is None else store.get(*named)
    if stored is None:
        raise InputError("binary.security_context")
    return stored.patient


def new_stream(shell: Shell, record_id: str, version: int, now: int, patient: str) -> NewStream:
    """Say how a Binary is stored.

    Args:
        shell: its elements.
        record_id: its id.
        version: from 1.
        now: Unix seconds.
        patient: from `patient_token`.
    """
    head = write(with_identity(shell.resource, record_id, version, now))
    return NewStream(TYPE, record_id, shell.content_type, head, patient, version)


def pieces_of(stream: Readable, size: int | None) -> Iterator[bytes]:
    """Read a body piece by piece.

    Args:
        stream: the body.
        size: how large it says it is, None where it does not say.

    Raises:
        InputError: ``request.length`` at the end of one that broke off.
    """
    total = 0
    while piece := stream.read(PIECE_BYTES):
        total += len(piece)
        yield piece
    if size is not None and total != size:
        raise InputError("request.length")


def about_of(head: Head) -> str:
    """Return the reference of a stored Binary's security context; empty for none, or one that is no header field."""
    reference = context_of(parse(head.text))
    return reference if _FIELD.fullmatch(reference) else ""


def in_json(head: Head) -> Frame:
    """Write a stored Binary as a resource in JSON, all but its data."""
    return _frame(head, head.text[:-1] + b',"data":"', b'"}')


def in_xml(head: Head) -> Frame:
    """Write a stored Binary as a resource in XML, all but its data."""
    # Nothing that a client has sent can be what is drawn now.
    mark = secrets.token_hex(_MARK_BYTES)
    before, _, after = write_xml({**parse(head.text), "data": mark}).partition(mark.encode())
    return _frame(head, before, after)


def _frame(head: Head, before: bytes, after: bytes) -> Frame:
    """Put a frame together."""
    return Frame(before, after, len(before) + (head.size + 2) // 3 * 4 + len(after))


def _media_type(text: str) -> str:
    """Check a media type (RFC 9110 §8.3.1)."""
    if len(text) > _MAX_MEDIA_TYPE_CHARS or _MEDIA_TYPE.fullmatch(text) is None:
        raise InputError("binary.content_type")
    return text
