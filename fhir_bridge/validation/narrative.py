"""The text of a resource: XHTML that shows and does nothing.

Keeps true: what passes is well-formed, begins with a ``div`` of XHTML, says something, and has only the elements and
attributes that R4 allows: no script, no form, no event, nothing loaded from elsewhere but images and links. Documents
that declare entities are refused before one is expanded. Trusts expat.
Source: FHIR R4 §2.4.0 (Narrative), txt-1 and txt-2 with the lists of their XPath.
"""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

MAX_DEPTH: Final = 128
"""Deepest nesting of elements."""

_XHTML: Final = "http://www.w3.org/1999/xhtml"
_ELEMENT_NAMES: Final = (
    "a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 "
    "h6 hr i img li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var"
)
_ELEMENTS: Final = frozenset(_ELEMENT_NAMES.split(" "))
_ATTRIBUTE_NAMES: Final = (
    "abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char "
    "charoff charset cite class colspan compact coords dir frame headers height href hreflang hspace id "
    "lang longdesc name nowrap rel rev rowspan rules scope shape span src start style summary tabindex "
    "title type valign value vspace width"
)
_ATTRIBUTES: Final = frozenset(_ATTRIBUTE_NAMES.split(" "))
_XML_LANG: Final = "http://www.w3.org/XML/1998/namespace lang"
_POINTERS: Final = frozenset({"cite", "href", "longdesc", "src"})
# Browsers read over blanks and controls inside of a scheme.
_BLANKS: Final = re.compile(r"[\s\x00-\x20]+")
_HARMFUL: Final = ("javascript:", "vbscript:", "data:text")


class _Refused(Exception):  # noqa: N818  # a signal of this module, no error
    """That the text is not allowed."""


def is_narrative(div: str) -> bool:
    """Judge the ``div`` of a Narrative.

    Args:
        div: as it stands in JSON.

    Returns:
        Whether it is what R4 allows.
    """
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    try:
        parser.Parse(div, True)  # noqa: FBT003  # expat takes it by position
    except (expat.ExpatError, _Refused, ValueError):
        return False
    return reader.says_something


class _Reader:
    """Looks at each piece of the text."""

    def __init__(self) -> None:
        self.says_something = False
        self._depth = 0

    def refuse(self, *_declared: object) -> None:
        """Refuse what is declared: a narrative has no document type."""
        raise _Refused

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Look at an element."""
        namespace, _, name = tag.rpartition(" ")
        if namespace != _XHTML or name not in _ELEMENTS or (self._depth == 0 and name != "div"):
            raise _Refused
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Refused
        self.says_something = self.says_something or name == "img"
        for attribute, value in attributes.items():
            if attribute not in _ATTRIBUTES and attribute != _XML_LANG:
                raise _Refused
            if attribute in _POINTERS and _BLANKS.sub("", value).lower().startswith(_HARMFUL):
                raise _Refused

    def end(self, _tag: str) -> None:
        """Leave an element."""
        self._depth -= 1

    def text(self, data: str) -> None:
        """Look at text."""
        self.says_something = self.says_something or not data.isspace()
