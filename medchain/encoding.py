"""Canonical bytes: the one way in which a value becomes bytes that are hashed or signed.

Keeps true: a value has one encoding, an encoding one value; what is not canonical is refused. Trusts nothing.
Source: RFC 8785 (JSON Canonicalization Scheme), restricted as `docs/spec/encoding.md` says; the tagged digest is ours.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson

from medchain.errors import InputError

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

MAX_DEPTH: Final = 32
"""Deepest nesting that a canonical document may have; ours need nine, a FHIR Consent inside a body about twenty."""

MAX_INT: Final = 2**53 - 1
"""Largest magnitude of an integer: what every JSON implementation keeps exactly (RFC 7493 §2.2)."""

MAX_BRACKETS: Final = 1_000_000
"""Most opening brackets, in texts or not, of a canonical document: each array and object takes a microsecond and some
sixty bytes, so that 30 MB of ``[],`` took most of a minute and gigabytes; no document of ours has a tenth of it."""

_STANDARD: Final = str.maketrans("-_", "+/")


def digest(tag: str, *fields: bytes) -> bytes:
    """Hash fields under a domain tag: SHA-256 over each of tag and fields, prefixed by its length.

    Args:
        tag: ASCII domain tag, such as ``medchain/body/v1``; no two formats share one.
        fields: any number of byte strings of any length.

    Returns:
        32 bytes.
    """
    return hashlib.sha256(digest_input(tag, *fields)).digest()


def digest_input(tag: str, *fields: bytes) -> bytes:
    """Return what `digest` hashes; with further fields after it, what it hashes of all (see `field_input`)."""
    parts = [_tag_prefix(tag)]
    for field in fields:
        parts += (len(field).to_bytes(8, "big"), field)
    return b"".join(parts)


def field_input(field: bytes) -> bytes:
    """Return what a field adds to `digest_input`: its length as eight bytes, and itself."""
    return len(field).to_bytes(8, "big") + field


@lru_cache(maxsize=256)
def _tag_prefix(tag: str) -> bytes:
    """Encode a tag as the first field."""
    raw = tag.encode("ascii")
    return len(raw).to_bytes(8, "big") + raw


def canonical(value: Json) -> bytes:
    """Encode a value as RFC 8785 JSON in UTF-8.

    Args:
        value: null, booleans, integers up to `MAX_INT`, text, arrays, objects with ASCII member names. No floats.

    Returns:
        The only encoding of ``value``.

    Raises:
        InputError: ``encoding.not_representable`` for anything else, lone surrogates included.
    """
    _check(value, MAX_DEPTH)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise InputError("encoding.not_representable") from error


def parse_canonical(data: bytes, *, max_bytes: int) -> Json:
    """Decode canonical JSON and refuse every other spelling of the same value.

    Args:
        data: the encoded document.
        max_bytes: largest size accepted; checked first.

    Returns:
        The value.

    Raises:
        InputError: ``encoding.too_large``, ``encoding.too_many`` (`MAX_BRACKETS`), ``encoding.not_json`` or
            ``encoding.not_canonical`` (duplicate names, white space, other escapes, floats, depth beyond `MAX_DEPTH`).
    """
    if len(data) > max_bytes:
        raise InputError("encoding.too_large", size=len(data), limit=max_bytes)
    if len(data) > MAX_BRACKETS and data.count(b"[") + data.count(b"{") > MAX_BRACKETS:
        raise InputError("encoding.too_many", limit=MAX_BRACKETS)
    try:
        value: Json = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InputError("encoding.not_json") from error
    # Most documents are seen at a glance to be within the restriction; the others are walked.
    again = orjson.dumps(value, option=orjson.OPT_SORT_KEYS) if _is_plain(data) else canonical(value)
    if again != data:
        raise InputError("encoding.not_canonical")
    return value


def members(value: Json, required: Mapping[str, type], optional: Mapping[str, type] | None = None) -> dict[str, Json]:
    """Check that a value is an object with exactly the members named, each of the type named.

    Args:
        value: a decoded document.
        required: member name → `str`, `int`, `bool`, `list` or `dict`. A `bool` is no `int`.
        optional: members that may be absent.

    Returns:
        The object.

    Raises:
        InputError: ``encoding.members`` with the field ``member``.
    """
    if type(value) is not dict:
        raise InputError("encoding.members", member="")
    for name, kind in required.items():
        if type(value.get(name)) is not kind:
            raise InputError("encoding.members", member=name)
    if len(value) == len(required):
        return value
    extra = optional or {}
    for name, item in value.items():
        if name not in required and (name not in extra or type(item) is not extra[name]):
            raise InputError("encoding.members", member=name)
    return value


def as_object(value: Json) -> dict[str, Json]:
    """Take an object; an empty one for what is none."""
    return value if isinstance(value, dict) else {}


def as_list(value: Json) -> list[Json]:
    """Take a list; an empty one for what is none."""
    return value if isinstance(value, list) else []


def as_objects(value: Json) -> list[dict[str, Json]]:
    """Take the objects of a list; what is none is left out."""
    return [one for one in as_list(value) if isinstance(one, dict)]


def objects_in(value: object) -> Iterator[dict[str, Any]]:  # Any: of whatever document
    """List all objects of a document, itself among them, however deep, in no certain order."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def as_number(value: Json) -> int:
    """Take a number; 0 for what is none."""
    return value if isinstance(value, int) else 0


def unhex(text: Json, size_bytes: int) -> bytes:
    """Decode lower-case hexadecimal of a fixed size.

    Raises:
        InputError: ``encoding.hex`` for another length, upper case, white space or no text.
    """
    if type(text) is str and len(text) == 2 * size_bytes:
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if raw.hex() == text:
            return raw
    raise InputError("encoding.hex", size_bytes=size_bytes)


def unbase64(text: Json, *, max_bytes: int = 1 << 20) -> bytes:
    """Decode standard base64 with padding (RFC 4648 §4), in its canonical spelling only.

    Raises:
        InputError: ``encoding.base64``.
    """
    if type(text) is str and len(text) <= 4 * (max_bytes // 3 + 1):
        try:
            raw = binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            raise InputError("encoding.base64") from None
        if binascii.b2a_base64(raw, newline=False).decode() == text:
            return raw
    raise InputError("encoding.base64")


def base64_text(data: bytes) -> str:
    """Encode as standard base64 with padding (RFC 4648 §4)."""
    return binascii.b2a_base64(data, newline=False).decode()


def base64url(data: bytes) -> str:
    """Encode as base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unbase64url(text: str, *, max_bytes: int) -> bytes:
    """Decode base64url without padding, in its canonical spelling only; raises `InputError` ``encoding.base64``."""
    standard = text.translate(_STANDARD) + "=" * (-len(text) % 4)
    if set("+/=") & set(text):
        raise InputError("encoding.base64")
    return unbase64(standard, max_bytes=max_bytes)


def _is_plain(data: bytes) -> bool:
    """Tell whether a document needs no walk: ASCII, few brackets, no number that is long or not whole.

    May say no for a document that is within the restriction (text can look like a number), never yes for another, given
    that the document equals its own encoding: that has no white space, so each number follows one of ``[ : ,``.
    """
    if data[:1] not in (b"{", b"[") or not data.isascii():
        return False
    # Where nothing is escaped, every second piece between quotes is text, and only the others need a look.
    bones = data if b"\\" in data else b'"'.join(data.split(b'"')[::2])
    return bones.count(b"[") + bones.count(b"{") <= MAX_DEPTH and _NUMBER.search(bones) is None


_NUMBER: Final = re.compile(rb"[\[:,]-?(?:[0-9]{16}|[0-9]+[.eE])")


def _check(value: object, depth: int) -> None:
    """Refuse what RFC 8785 and our restriction cannot represent, in one pass."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return
    if kind is int:
        if -MAX_INT <= value <= MAX_INT:  # type: ignore[operator]  # narrowed by the exact type test above
            return
    elif depth > 0 and kind is list:
        for item in value:  # type: ignore[attr-defined]  # narrowed as above
            _check(item, depth - 1)
        return
    elif depth > 0 and kind is dict:
        for name, item in value.items():  # type: ignore[attr-defined]  # narrowed as above
            if type(name) is not str or not name.isascii():
                raise InputError("encoding.not_representable", member=repr(name)[:40])
            _check(item, depth - 1)
        return
    raise InputError("encoding.not_representable", kind=kind.__name__)
