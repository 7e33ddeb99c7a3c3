"""A strict check of a resource against HL7's R4 (4.0.1) definitions in ``r4_elements.json``; it knows nothing of R4B.

Checked: every member is an element of R4 at that place, once or as a list as R4 says, with its minimum; primitives
match R4's regular expressions; codes of required bindings are in their value sets; no empty value.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

R4 = json.loads((Path(__file__).parent / "r4_elements.json").read_text("utf-8"))

_DATE = r"([0-9]{4})(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?"
_TIME = r"T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_PATTERNS = {
    "date": _DATE,
    "dateTime": rf"{_DATE}({_TIME})?",
    "instant": rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}{_TIME}",
    "code": r"[^\s]+(\s[^\s]+)*",
    "id": r"[A-Za-z0-9\-.]{1,64}",
    "uri": r"\S+",
    "url": r"\S+",
    "canonical": r"\S+",
    "string": r"[ \r\n\t\S]+",
    "markdown": r"[ \r\n\t\S]+",
    "xhtml": r"<div xmlns=\"http://www\.w3\.org/1999/xhtml\".*</div>",
    "base64Binary": r"([0-9a-zA-Z+/]{4})*([0-9a-zA-Z+/]{2}==|[0-9a-zA-Z+/]{3}=)?",
}
_NUMBERS = {"integer": -(2**31), "unsignedInt": 0, "positiveInt": 1}
_NESTED = {"BackboneElement", "Element"}


def primitives(value, name="", path="", table=None) -> Iterator[tuple[str, str, object]]:
    """Yield (type, path, value) of every primitive of a resource, or ("error", path, what is wrong)."""
    name = name or value["resourceType"]
    table, path = table or R4[name], path or name
    if not isinstance(value, dict) or not value:
        yield "error", path, "not an object with members"
        return
    present = set()
    for key, item in value.items():
        if key == "resourceType" and path == name:
            continue
        element, kind = _element(table, path, key.removeprefix("_"))
        if element is None:
            yield "error", f"{path}.{key}", "unknown"
            continue
        present.add(element)
        row = table[element]
        items = item if isinstance(item, list) else [item]
        if isinstance(item, list) != (row[1] == "*") or not items:
            yield "error", f"{path}.{key}", "cardinality"
        for each in items:
            yield from _value(each, "Element" if key.startswith("_") else kind, element, table, row)
    for element, row in table.items():
        if row[0] and element.rpartition(".")[0] == path and element not in present:
            yield "error", element, "missing"


def _element(table, path, key):
    """Find the element that a JSON member stands for, and its type."""
    if f"{path}.{key}" in table:
        return f"{path}.{key}", table[f"{path}.{key}"][2]
    for element, row in table.items():
        stem = element.removesuffix("[x]").removeprefix(f"{path}.")
        if element.endswith("[x]") and f"{path}.{stem}[x]" == element and key.startswith(stem):
            for kind in row[2].split("|"):
                if stem + kind[0].upper() + kind[1:] == key:
                    return element, kind
    return None, None


def _value(value, kind, element, table, row):
    if kind.startswith("="):
        yield from primitives(value, element.partition(".")[0], kind[1:], table)
    elif kind == "Element" and isinstance(value, dict) and set(value) == {"extension"}:
        for extension in value["extension"]:
            yield from primitives(extension, "Extension")
    elif kind in _NESTED:
        yield from primitives(value, element.partition(".")[0], element, table)
    elif kind == "Resource":
        yield "resource", element, value
    elif kind in R4:
        yield from primitives(value, kind)
    else:
        yield kind, element, value
        if not _matches(value, kind) or (len(row) > 3 and value not in row[3]):
            yield "error", element, f"{kind}: {value!r}"


def _matches(value, kind):
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in _NUMBERS:
        return type(value) is int and value >= _NUMBERS[kind]
    if kind == "decimal":
        return type(value) in {int, Decimal}
    return isinstance(value, str) and re.fullmatch(_PATTERNS[kind], value, re.DOTALL) is not None
