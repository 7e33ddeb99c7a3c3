"""Reading one record: read, vread, HEAD, conditional reads, proofs.

Data flow: look up → gate → open → shape → answer; what is sent are the stored bytes, unless another form or a part was
asked for. Keeps true: what was not shown to be allowed looks absent; what is shown is on the trail. Trusts the core.
Source: FHIR R4 §3.1.0.2 (read), §3.1.0.3 (vread), §3.1.0.5.4 (conditional read); RFC 9110 §13.
"""

from __future__ import annotations

from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from typing import Final

from fhir_bridge import binary
from fhir_bridge.etags import ANY, versions_in
from fhir_bridge.rest.ask import FHIR_JSON, Ask, Reply
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.negotiate import FORMATS, Format, media_type, prefers_fhir
from fhir_bridge.rest.shape import part
from fhir_bridge.xml import FHIR_XML
from medchain.errors import NotFoundError
from medchain.node.proofs import zip_bundle
from medchain.store.records import RecordVersion
from medchain.store.versions import Found

ANCHORED: Final = "Medchain-Anchored"
"""Header that says how far an answer is anchored: ``pending``, ``pending; position=N`` or ``final; position=N``."""

# Stored bytes may be a page with scripts: it is never run as one of ours.
_NATIVE_POLICY: Final = "sandbox; default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_MAX_VERSION_DIGITS: Final = 9


def read(core: Core, ask: Ask) -> Reply:
    """Answer the newest version of a record."""
    return shown(core, ask, found(core, ask, None))


def vread(core: Core, ask: Ask) -> Reply:
    """Answer one version of a record."""
    return shown(core, ask, found(core, ask, version_of(ask.version)))


def prove(core: Core, ask: Ask) -> Reply:
    """Answer the proof bundle of a version, the newest if none is named."""
    stored = found(core, ask, version_of(ask.version) if ask.version else None).stored
    ask.trail.numbers.append(stored.seq)
    return Reply(200, zip_bundle(core.prove(stored)), {}, "application/zip")


def found(core: Core, ask: Ask, version: int | None) -> Found:
    """Look a version up, and see that it may be shown; raises `NotFoundError` ``record.unknown``."""
    it = core.reader.find(ask.type, ask.id, version)
    if it is None:
        raise NotFoundError("record.unknown")
    core.gate.require_shown(ask.who, it.stored)
    return it


def shown(core: Core, ask: Ask, it: Found) -> Reply:
    """Answer a version that may be shown."""
    stored = it.stored
    headers = headers_of(core, stored)
    ask.trail.numbers.append(stored.seq)
    if stored.head is not None:
        if is_known(ask, stored):
            return Reply(304, b"", headers, "")
        return shown_binary(core, ask, stored, headers)
    content = core.content(it)
    if not content:
        raise NotFoundError("record.deleted", version=stored.version)
    if is_known(ask, stored):
        return Reply(304, b"", headers, "")
    return Reply(200, part(ask, content), headers)


def shown_binary(core: Core, ask: Ask, stored: RecordVersion, headers: dict[str, str]) -> Reply:
    """Answer a Binary as its own bytes, or as a resource where FHIR is asked for (FHIR R4 §2.40.2)."""
    head = core.service.head(stored)
    opened = core.service.stream(stored)
    headers["Accept-Ranges"] = "none"
    form = fhir_form(ask, stored.content_type)
    if form is not None:
        frame = binary.in_xml(head) if form is Format.XML else binary.in_json(head)
        headers["Content-Length"] = str(frame.size)
        return Reply(200, frame.around(opened.pieces), headers, FHIR_XML if form is Format.XML else FHIR_JSON)
    headers |= {"Content-Length": str(head.size), "Content-Security-Policy": _NATIVE_POLICY}
    about = binary.about_of(head)
    if about:
        headers["X-Security-Context"] = about
    return Reply(200, opened.pieces, headers, stored.content_type)


def fhir_form(ask: Ask, content_type: str) -> Format | None:
    """Tell in which of FHIR's formats a client wants a Binary; None for its own bytes, under their own type.

    Args:
        ask: the request.
        content_type: of the bytes.

    Raises:
        InputError: ``http.406`` for a `_format` that is neither.
    """
    asked = ask.parameter("_format")
    # A plus sign may have become a blank.
    named = media_type((asked or "").replace(" ", "+"))
    if named == media_type(content_type) and named not in FORMATS:
        return None
    if asked or prefers_fhir(ask.header("Accept") or "", media_type(content_type)):
        return ask.format
    return None


def headers_of(core: Core, stored: RecordVersion) -> dict[str, str]:
    """Say which version it is."""
    return {
        "ETag": f'W/"{stored.version}"',
        "Last-Modified": http_date(stored.created),
        ANCHORED: core.anchored(stored.position),
    }


def is_known(ask: Ask, stored: RecordVersion) -> bool:
    """Tell whether the client has this version already (RFC 9110 §13.2.2)."""
    tags = ask.header("If-None-Match")
    if tags is not None:
        return stored.version in versions_in(tags) or tags.strip() == ANY
    since = ask.header("If-Modified-Since")
    if since is None:
        return False
    try:
        return stored.created <= parsedate_to_datetime(since).timestamp()
    except (ValueError, OverflowError):
        return False


def version_of(text: str) -> int:
    """Read a version id; raises `NotFoundError` ``record.unknown`` for what is none of ours."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_VERSION_DIGITS):
        raise NotFoundError("record.unknown")
    return int(text)


@lru_cache(1024)
def http_date(time: int) -> str:
    """Write Unix seconds as RFC 9110 does."""
    return formatdate(time, usegmt=True)
