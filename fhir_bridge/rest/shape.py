"""The last step of an answer: parts of resources, XML, and for people's eyes.

Keeps true: what is not asked to be changed leaves as the bytes that are stored. Trusts `fhir_bridge.subset`,
`fhir_bridge.xml`.
Source: FHIR R4 §3.1.0.1.11 (`_format`), §3.1.0.1.12 (`_pretty`), §3.1.1.5.8 (`_summary`), §3.1.1.5.9 (`_elements`).
"""

from __future__ import annotations

from typing import Final

from fhir_bridge.document import MAX_DEPTH, parse, write, write_pretty
from fhir_bridge.rest.ask import FHIR_JSON, Ask, Reply
from fhir_bridge.rest.negotiate import Format
from fhir_bridge.subset import Summary, parse_elements, parse_summary, summarised, with_elements
from fhir_bridge.xml import FHIR_XML, write_xml
from medchain.errors import InputError

_COUNT: Final = "count"
# A resource in a Bundle in a response.
_DEPTH: Final = MAX_DEPTH + 8


def part(ask: Ask, content: bytes) -> bytes:
    """Choose the part of a resource that `_summary` or `_elements` asks for.

    Args:
        ask: the request.
        content: a resource as it is stored.

    Returns:
        The part; the same bytes where all is asked for.

    Raises:
        InputError: ``search.value`` for values that these parameters cannot have, or both of them.
    """
    if not ask.query:
        return content
    summary, elements = ask.parameter("_summary"), ask.parameter("_elements")
    if not summary and not elements:
        return content
    if summary == _COUNT:
        raise InputError("search.value", parameter="_summary")
    chosen = parse_summary(summary) if summary else Summary.FALSE
    if elements and chosen is not Summary.FALSE:
        raise InputError("search.value", parameter="_elements")
    if elements:
        return write(with_elements(parse(content), parse_elements(elements)))
    return content if chosen is Summary.FALSE else write(summarised(parse(content), chosen))


def shaped(ask: Ask, reply: Reply) -> Reply:
    """Write an answer in the form that is asked for; an error's answer is JSON where the form itself is the error."""
    if reply.content_type != FHIR_JSON or not isinstance(reply.body, bytes) or not reply.body:
        return reply
    try:
        form, pretty = ask.format, ask.parameter("_pretty") == "true"
    except InputError:
        form, pretty = Format.JSON, False
    if form is Format.XML:
        reply.body, reply.content_type = write_xml(parse(reply.body, _DEPTH), pretty=pretty), FHIR_XML
    elif pretty:
        reply.body = write_pretty(parse(reply.body, _DEPTH))
    return reply


def check_form(ask: Ask) -> None:
    """Refuse a form that is not served, before anything is done; raises `InputError` ``http.406``."""
    _ = ask.format
