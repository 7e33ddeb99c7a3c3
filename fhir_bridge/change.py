"""Patches: from a resource as it is to the resource as it is to be.

Two ways: FHIRPath Patch, a Parameters resource, and JSON Patch. Keeps true: the resource that is given stays as it is;
all operations are done or none; numbers keep their spelling; a patch that would make a document grow without end is
refused; neither id nor type are changed. Whether the result is right is for validation to say. Trusts the library
jsonpatch for RFC 6902.
Source: FHIR R4 §3.1.0.6 (patch); RFC 6902; RFC 6901.
"""

from __future__ import annotations

import base64
import binascii
import copy
from typing import Final

import jsonpatch
import jsonpointer

from fhir_bridge.document import Element, Resource, check_depth, member, parse
from fhir_bridge.fhirpath.patch import apply_fhirpath_patch
from medchain.errors import ConflictError, InputError

JSON_PATCH: Final = "application/json-patch+json"
"""Media type of JSON Patch."""

MAX_OPERATIONS: Final = 1000
"""Most operations of one JSON Patch."""

MAX_COPIES: Final = 16
"""Most of its operations that copy: each may double what it is applied to."""

MAX_NODES: Final = 1_000_000
"""Most values of what a JSON Patch makes; so many characters of text count as one: copies share it until written."""

CHARS_OF_A_NODE: Final = 64
"""How many characters count as a value."""

_KINDS: Final = frozenset({"add", "copy", "move", "remove", "replace", "test"})
_WRAPPED: Final = b'{"patch":'


def parse_json_patch(body: bytes) -> list[Element]:
    """Parse a JSON Patch as strictly as resources; raises `InputError` ``document.*``, ``patch.document``.

    One without operations is one (RFC 6902 §3: an array), and leaves everything as it is.
    """
    # Our parser takes objects; what stands in one is parsed as strictly.
    wrapped = parse(_WRAPPED + body + b"}")
    rows = wrapped.get("patch")
    if set(wrapped) != {"patch"} or not isinstance(rows, list) or len(rows) > MAX_OPERATIONS:
        raise InputError("patch.document")
    return rows


def apply_json_patch(resource: Resource, rows: list[Element]) -> Resource:
    """Change a resource.

    Args:
        resource: as it is; it stays so.
        rows: from `parse_json_patch`.

    Returns:
        As it is to be.

    Raises:
        InputError: ``patch.document`` for an operation that RFC 6902 does not have, ``patch.path`` for a place that is
            not there, ``patch.size``, ``patch.identity``; with the operation's number; ``document.depth``.
        ConflictError: ``patch.test`` for a test that does not hold.
    """
    copies = sum(1 for row in rows if isinstance(row, dict) and row.get("op") == "copy")
    if copies > MAX_COPIES:
        raise InputError("patch.size", limit=MAX_COPIES)
    changed: Resource = copy.deepcopy(resource)
    for place, row in enumerate(rows):
        if not isinstance(row, dict) or row.get("op") not in _KINDS or not isinstance(row.get("path"), str):
            raise InputError("patch.document", operation=place)
        try:
            changed = jsonpatch.JsonPatch([row]).apply(changed, in_place=True)
        except jsonpatch.JsonPatchTestFailed as error:
            raise ConflictError("patch.test", operation=place) from error
        except jsonpatch.InvalidJsonPatch as error:
            raise InputError("patch.document", operation=place) from error
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, ValueError) as error:
            raise InputError("patch.path", operation=place) from error
        if row["op"] == "copy":
            check_depth(changed)
            if _count(changed) > MAX_NODES:
                raise InputError("patch.size", operation=place)
    return _checked(resource, changed)


def patch_in_bundle(resource: Resource, given: Resource) -> Resource:
    """Change a resource by the patch of a Bundle's entry: Parameters, or a Binary that holds a JSON Patch.

    Raises:
        InputError: as the two ways do; ``patch.parameters`` for another resource.
        ConflictError: as `apply_json_patch`.
    """
    if given.get("resourceType") != "Binary":
        return apply_fhirpath_patch(resource, given)
    return apply_json_patch(resource, parse_json_patch(patch_of_binary(given)))


def patch_of_binary(given: Resource) -> bytes:
    """Take a JSON Patch out of a Binary resource (§3.1.0.11); raises `InputError` ``patch.document``."""
    if member(given, "contentType") != JSON_PATCH:
        raise InputError("patch.document")
    try:
        return base64.b64decode(member(given, "data"), validate=True)
    except binascii.Error as error:
        raise InputError("patch.document") from error


def _checked(before: Resource, after: Element) -> Resource:
    """See that it is still the same record."""
    if not isinstance(after, dict):
        raise InputError("patch.identity")
    if any(after.get(name) != before.get(name) for name in ("id", "resourceType")):
        raise InputError("patch.identity")
    # Deeper ones are not read again, however they were made.
    check_depth(after)
    return after


def _count(value: Element) -> int:
    """Count the values of a document, as far as it matters."""
    count, waiting = 0, [value]
    while waiting and count <= MAX_NODES:
        one = waiting.pop()
        count += 1
        if isinstance(one, str):
            count += len(one) // CHARS_OF_A_NODE
        elif isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return count
