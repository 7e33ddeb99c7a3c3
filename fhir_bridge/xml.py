"""FHIR XML in and out: the same resources as `fhir_bridge.document` has, by HL7's definitions.

Keeps true: what is read and written again has every element, attribute and digit that it had; comments and the order of
attributes are not kept, which FHIR gives no meaning. Documents that declare a type or entities, nest too deeply or mix
text and elements are refused before anything is made of them, and so is another order of elements than that of HL7's
schemas. What R4 does not know is kept under its name, for validation to find. Trusts expat for well-formedness.
Source: FHIR R4 §2.6.1 (XML), §2.6.2 (JSON); XML 1.0; Namespaces in XML 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from fhir_bridge.definitions.elements import Member, children, is_resource_type, members, type_names
from fhir_bridge.document import MAX_DEPTH, MAX_VALUES, Element, Number, Resource
from fhir_bridge.resources import InvalidResourceError
from fhir_bridge.validation.issue import Issue, Rule
from medchain.errors import InputError

FHIR_XML: Final = "application/fhir+xml"
"""Content type of FHIR in XML."""

_FHIR: Final = "http://hl7.org/fhir"
_XHTML: Final = "http://www.w3.org/1999/xhtml"
_NUMBERS: Final = frozenset({"integer", "decimal", "positiveInt", "unsignedInt"})
# FHIR R4 §2.24.0.1 has a plus sign in the lexical space of these, whose XML form is xs:int or xs:positiveInteger; JSON
# has none, so the value is kept without it.
_PLUS: Final = frozenset({"integer", "positiveInt"})
_WITH_PLUS: Final = re.compile(r"\+[1-9][0-9]*")
_BOOLEANS: Final = {"true": True, "false": False}
_MAX_DIV_DEPTH: Final = 256
_ID: Final = "id"
_URL: Final = "url"


def parse_xml(data: bytes) -> Resource:
    """Parse a document.

    Args:
        data: XML in UTF-8 or another encoding that it declares and expat knows; its size is bounded by the caller.

    Returns:
        The resource, as `fhir_bridge.document.parse` would give it of the same resource in JSON.

    Raises:
        InputError: with the line, ``document.not_xml``, ``document.declaration``, ``document.namespace``,
            ``document.text``, ``document.attribute``, ``document.depth``, ``document.number``; ``document.values``.
        InvalidResourceError: for elements in another order than their type's.
    """
    if max(data.count(b"<"), data.count(b"=")) > MAX_VALUES:
        # Elements and attributes cost more than they are long.
        raise InputError("document.values", limit=MAX_VALUES)
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _declared
    parser.EntityDeclHandler = _declared
    try:
        parser.Parse(data, True)  # noqa: FBT003  # expat takes it by position
    except expat.ExpatError as error:
        raise InputError("document.not_xml", line=error.lineno) from error
    except InvalidResourceError:
        raise
    except InputError as error:
        # What was read so far is right: here is what is not.
        line = parser.CurrentLineNumber - reader.lines_behind
        raise InputError(error.code, **{**error.fields, "line": line}) from error
    except (ValueError, LookupError) as error:
        # An encoding that nobody knows.
        raise InputError("document.not_xml", line=1) from error
    return reader.resource


def write_xml(resource: Resource, *, pretty: bool = False) -> bytes:
    """Write a resource, its elements in HL7's order.

    Args:
        resource: of the shape that R4 gives it.
        pretty: whether for people: each element on a line of its own, narratives as they are.

    Returns:
        XML in UTF-8.
    """
    pieces = _resource_pieces(resource, f' xmlns="{_FHIR}"')
    laid_out = _laid_out(pieces) if pretty else pieces
    return "".join(['<?xml version="1.0" encoding="UTF-8"?>', *laid_out]).encode("utf-8")


def _laid_out(pieces: Iterable[str]) -> Iterator[str]:
    """Put each element on a line of its own, as far in as it is deep."""
    depth = 0
    for piece in pieces:
        if not piece.startswith("<"):
            # The rest of a primitive one.
            yield piece
            continue
        is_end = piece.startswith("</")
        depth -= is_end
        yield f"\n{'  ' * depth}{piece}"
        # A narrative is one piece, with its end.
        depth += piece.endswith(">") and "</" not in piece and not piece.endswith("/>")
    yield "\n"


def _declared(*_what: object) -> None:
    """Refuse a document type: nothing good comes of one."""
    raise InputError("document.declaration")


class _Frame:
    """An element that is being read.

    Attributes:
        name: of the element.
        content: where its members are defined; empty where R4 does not know it.
        type: of its value; empty where R4 does not know it.
        value: what was read of it; for a primitive value its companion.
        primitive: the primitive value, None where there is none.
        holds_resource: whether a resource stands in it.
        last: name of the last of its members that was read, by which it has its place.
        place: of that one among the members of the type.
    """

    __slots__ = (
        "content",
        "holds_resource",
        "is_array",
        "is_primitive",
        "last",
        "name",
        "place",
        "primitive",
        "type",
        "value",
    )

    def __init__(self, name: str, member: Member | None) -> None:
        self.name = name
        self.type = "" if member is None else member.type
        self.is_primitive = self.type in type_names("primitive-type")
        self.holds_resource = self.type in type_names("resource", abstract=True)
        self.content = "" if member is None or self.holds_resource else member.content
        if self.is_primitive:
            self.content = "Element"
        self.is_array = member is not None and member.element.is_array
        self.value: Resource = {}
        self.primitive: Element = None
        self.last = ""
        self.place = 0


class _Reader:
    """Makes a resource of a document's pieces.

    Attributes:
        resource: what was read.
        lines_behind: how many lines before the one that is read what is wrong stands: text comes whole, at its end.
    """

    def __init__(self) -> None:
        self.resource: Resource = {}
        self.lines_behind = 0
        self._frames: list[_Frame] = []
        self._div: list[str] = []
        self._div_depth = 0

    def start(self, tag: str, attributes: list[str]) -> None:
        """Begin an element."""
        namespace, _, name = tag.rpartition(" ")
        pairs = list(zip(attributes[::2], attributes[1::2], strict=True))
        if self._div_depth or namespace == _XHTML:
            self._start_div(namespace, name, pairs)
            return
        if namespace != _FHIR:
            raise InputError("document.namespace")
        if len(self._frames) >= MAX_DEPTH:
            raise InputError("document.depth", limit=MAX_DEPTH)
        frame = self._frame(name)
        for attribute, value in pairs:
            self._attribute(frame, attribute, value)
        self._frames.append(frame)

    def end(self, tag: str) -> None:
        """End an element."""
        if self._div_depth:
            self._end_div(tag.rpartition(" ")[2])
            return
        frame = self._frames.pop()
        if not self._frames:
            self.resource = frame.value
        elif self._frames[-1].holds_resource:
            self._frames[-1].value = frame.value
        else:
            _put(self._frames[-1].value, frame)

    def text(self, data: str) -> None:
        """Take text: in FHIR only a narrative has any."""
        if self._div_depth:
            self._div.append(escape(data))
        elif not data.isspace():
            self.lines_behind = data.lstrip().count("\n")
            raise InputError("document.text")

    def _frame(self, name: str) -> _Frame:
        """Make the frame of an element."""
        parent = self._frames[-1] if self._frames else None
        if parent is not None and not parent.holds_resource:
            self._check_order(parent, name)
            return _Frame(name, members(parent.content).get(name) if parent.content else None)
        # A resource stands by its type's name, as the document itself and where one holds another.
        frame = _Frame(name, None)
        frame.content = name if is_resource_type(name) else ""
        frame.value = {"resourceType": name}
        return frame

    def _check_order(self, parent: _Frame, name: str) -> None:
        """See that no member stands behind one that comes after it in the type; what R4 does not know has no place."""
        place = _places(parent.content).get(name) if parent.content else None
        if place is None:
            return
        if place < parent.place:
            raise InvalidResourceError([Issue(Rule.ORDER, self._path(name), expected=parent.last)])
        parent.last, parent.place = name, place

    def _path(self, name: str) -> str:
        """Write where a member of the element that is being read stands, as FHIRPath."""
        steps, holder = [], _Frame("", None)
        for frame in self._frames:
            before = max(_count(holder.value.get(frame.name)), _count(holder.value.get("_" + frame.name)))
            if not holder.holds_resource:
                steps.append(f"{frame.name}[{before}]" if frame.is_array else frame.name)
            holder = frame
        return ".".join([*steps, name])

    def _attribute(self, frame: _Frame, name: str, value: str) -> None:
        """Take an attribute."""
        if name == "value" and frame.is_primitive:
            frame.primitive = _read_primitive(frame.type, value)
        elif name == _ID and "resourceType" not in frame.value:
            frame.value[_ID] = value
        elif name == _URL and frame.type == "Extension":
            frame.value[_URL] = value
        elif frame.content:
            raise InputError("document.attribute")

    def _start_div(self, namespace: str, name: str, attributes: list[tuple[str, str]]) -> None:
        """Begin an element of a narrative."""
        if self._div_depth == 0 and (not self._frames or name != "div" or self._frames[-1].type != "Narrative"):
            raise InputError("document.namespace")
        if self._div_depth == 0:
            self._check_order(self._frames[-1], name)
        self._div_depth += 1
        if self._div_depth > _MAX_DIV_DEPTH:
            raise InputError("document.depth", limit=_MAX_DIV_DEPTH)
        # What is of another namespace says so, and validation refuses it.
        about = f' xmlns="{namespace}"' if self._div_depth == 1 or namespace != _XHTML else ""
        written = "".join(f" {_attribute_name(key)}={quoteattr(value)}" for key, value in attributes)
        self._div.append(f"<{name}{about}{written}>")

    def _end_div(self, name: str) -> None:
        """End an element of a narrative."""
        if self._div[-1].startswith(f"<{name}") and self._div[-1].endswith(">") and not self._div[-1].startswith("</"):
            self._div[-1] = self._div[-1][:-1] + "/>"
        else:
            self._div.append(f"</{name}>")
        self._div_depth -= 1
        if self._div_depth == 0:
            self._frames[-1].value["div"] = "".join(self._div)
            self._div.clear()


@cache
def _places(content: str) -> Mapping[str, int]:
    """Number the members of a type as XML has them; all types of a choice share a place (FHIR R4 §2.6.1)."""
    numbers = {element.name: place for place, element in enumerate(children(content))}
    return {name: numbers[member.element.name] for name, member in members(content).items()}


def _count(value: Element) -> int:
    """Count the items of an array."""
    return len(value) if isinstance(value, list) else 0


def _attribute_name(name: str) -> str:
    """Write the name of an attribute of a narrative; the only one with a namespace that is allowed is xml:lang."""
    namespace, _, local = name.rpartition(" ")
    return local if not namespace else f"xml:{local}" if namespace.endswith("/XML/1998/namespace") else f"other:{local}"


def _read_primitive(type_name: str, text: str) -> Element:
    """Turn the text of an attribute into a JSON value; what is none stays text, for validation to find."""
    if type_name in _PLUS and _WITH_PLUS.fullmatch(text):
        return Number(text[1:])
    if type_name in _NUMBERS:
        return Number(text)
    return _BOOLEANS.get(text, text) if type_name == "boolean" else text


def _put(holder: Resource, frame: _Frame) -> None:
    """Put what was read of an element where it belongs in JSON."""
    if not frame.is_primitive:
        _put_value(holder, frame.name, frame.value, is_array=frame.is_array)
        return
    if not frame.is_array:
        if frame.primitive is not None:
            _put_value(holder, frame.name, frame.primitive, is_array=False)
        if frame.value:
            _put_value(holder, "_" + frame.name, frame.value, is_array=False)
        return
    values, companions = _list(holder, frame.name), _list(holder, "_" + frame.name)
    count = max(len(values), len(companions))
    # Both arrays have an item for each element as far as they go; the missing ends are filled in when they are needed.
    if frame.primitive is not None:
        values.extend([None] * (count - len(values)))
        values.append(frame.primitive)
    if frame.value:
        companions.extend([None] * (count - len(companions)))
        companions.append(frame.value)
    for name, items in ((frame.name, values), ("_" + frame.name, companions)):
        if items:
            holder[name] = items


def _list(holder: Resource, name: str) -> list[Element]:
    """Return the array under a name, a new one if there is none."""
    value = holder.get(name)
    return value if isinstance(value, list) else []


def _put_value(holder: Resource, name: str, value: Element, *, is_array: bool) -> None:
    """Put a value; what is there twice becomes an array, which validation refuses where only one may be."""
    if name not in holder:
        holder[name] = [value] if is_array else value
        return
    before = holder[name]
    if isinstance(before, list):
        # Made here, of elements with this name: a copy for each would cost the square of their number.
        before.append(value)
    else:
        holder[name] = [before, value]


def _resource_pieces(resource: Resource, about: str = "") -> Iterator[str]:
    """Write a resource."""
    name = resource.get("resourceType")
    if not isinstance(name, str) or not is_resource_type(name):
        raise InputError("resource.type")
    yield f"<{name}{about}>"
    yield from _member_pieces(resource, name, ())
    yield f"</{name}>"


def _member_pieces(holder: Resource, content: str, attributes: tuple[str, ...]) -> Iterator[str]:
    """Write the members of an object in HL7's order, those that are attributes apart."""
    for name, member in members(content).items():
        value, beside = holder.get(name), holder.get("_" + name)
        if (value is None and beside is None) or name in attributes:
            continue
        values = value if isinstance(value, list) else [value]
        companions = beside if isinstance(beside, list) else [beside]
        for place in range(max(len(values), len(companions))):
            one = values[place] if place < len(values) else None
            companion = companions[place] if place < len(companions) else None
            yield from _element_pieces(name, member, one, companion if isinstance(companion, dict) else {})


def _element_pieces(name: str, member: Member, value: Element, companion: Resource) -> Iterator[str]:
    """Write one element."""
    if member.type == "xhtml":
        yield str(value)
    elif member.type in type_names("resource", abstract=True):
        yield f"<{name}>"
        yield from _resource_pieces(value if isinstance(value, dict) else {})
        yield f"</{name}>"
    elif isinstance(value, dict):
        attributes = (_ID, _URL) if member.type == "Extension" else (_ID,)
        yield f"<{name}{_written(value, attributes)}>"
        yield from _member_pieces(value, member.content, attributes)
        yield f"</{name}>"
    else:
        said = "" if value is None else f" value={_quoted(_text(value))}"
        yield f"<{name}{_written(companion, (_ID,))}{said}"
        inside = "".join(_member_pieces(companion, "Element", (_ID,)))
        yield f">{inside}</{name}>" if inside else "/>"


def _written(value: Resource, names: tuple[str, ...]) -> str:
    """Write the members of an object that are attributes in XML."""
    return "".join(f" {name}={_quoted(str(value[name]))}" for name in names if value.get(name) is not None)


def _quoted(text: str) -> str:
    """Write an attribute's value; blanks other than spaces by number, or a reader would make spaces of them."""
    return quoteattr(text, {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _text(value: Element) -> str:
    """Write a primitive value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.text if isinstance(value, Number) else str(value)
