"""FHIRPath Patch: changes to a resource, given as a Parameters resource.

Keeps true: the resource that is given is not changed, and either all operations are done, in their order, or none is; a
path names one element (or one list), or the operation is refused with its number; a path is a stranger's, so it leads
downwards, looks at `MAX_STEPS` nodes at most, and has neither regular expressions, which can take for ever, nor what
compares all with all. A primitive value and what stands beside it (id and extensions) are one element: they are put,
moved and taken away together. Whether the result is right is for validation to say. Trusts
`fhir_bridge.fhirpath.engine`.
Source: FHIR R4 §3.1.0.9.2 (FHIRPath Patch), fhirpatch.html; §2.6.2.1 (what stands beside primitive values).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from fhir_bridge.definitions.elements import Member, members
from fhir_bridge.document import Element, Number, Resource, check_depth, member
from fhir_bridge.fhirpath.engine import Run, Steps, compile_tree, scope_of
from fhir_bridge.fhirpath.node import Node, Nodes, resource_node
from fhir_bridge.fhirpath.syntax import Binary, Call, Dot, Index, Tree, TypeTest, Unary, Variable, parse
from medchain.errors import InputError

MAX_OPERATIONS: Final = 1000
"""Most operations of one patch."""

MAX_STEPS: Final = 500_000
"""Most nodes that the paths of one patch look at."""

FUNCTIONS: Final = frozenset(
    {
        "all",
        "as",
        "contains",
        "count",
        "empty",
        "endsWith",
        "exists",
        "extension",
        "first",
        "getValue",
        "hasValue",
        "iif",
        "is",
        "last",
        "length",
        "lower",
        "not",
        "ofType",
        "select",
        "single",
        "skip",
        "startsWith",
        "tail",
        "take",
        "toString",
        "upper",
        "where",
    }
)
"""What a path may call."""

COMPARING: Final = frozenset({"|", "contains", "in"})
"""Operators that it may not have: they compare each with each."""

VARIABLES: Final = frozenset({"$index", "$this", "loinc", "sct", "ucum"})
"""What a path may name beside elements."""

_REMEMBERED: Final = 256
_VALUE: Final = "value"
_WHOLE: Final = frozenset({"id", "implicitRules", "language", "meta", "parameter", "resourceType"})
_MEMBERS: Final = frozenset({"extension", "id", "modifierExtension", "name", "part", "resource"})
_GIVEN_VALUE: Final = re.compile(r"_?value([A-Z][A-Za-z0-9]*)")


class _Made(NamedTuple):
    """An element: its value, and of a primitive one what stands beside it; either may be missing."""

    value: Element = None
    beside: Element = None


class _Given(NamedTuple):
    """One operation as it was given.

    Attributes:
        parts: name of each part → the part.
        steps: what its path may cost.
        emptied: what operations have taken the last element out of, and which is no element any more if it stays so.
    """

    parts: Mapping[str, Resource]
    steps: Steps
    emptied: list[Resource]

    def text(self, name: str) -> str:
        """Return a part that is text; raises `InputError` ``patch.part``."""
        part = self.parts.get(name, {})
        found = next((value for key, value in part.items() if key.startswith(_VALUE)), None)
        if not isinstance(found, str) or not found:
            raise InputError("patch.part", part=name)
        return found

    def number(self, name: str) -> int:
        """Return a part that is a whole number; raises `InputError` ``patch.part``."""
        found = self.parts.get(name, {}).get("valueInteger")
        if not isinstance(found, Number) or not found.text.isdigit():
            raise InputError("patch.part", part=name)
        return int(found.text)


def apply_fhirpath_patch(resource: Resource, patch: Resource) -> Resource:
    """Change a resource.

    Args:
        resource: as it is; it stays so.
        patch: Parameters with one parameter ``operation`` for each change, which may be none.

    Returns:
        As it is to be.

    Raises:
        InputError: ``patch.parameters`` for another resource or a malformed one, ``patch.operation`` for an unknown
            type, ``patch.part`` for a part that is missing or of another kind, ``patch.path`` for a path that does not
            name one element, ``patch.index``, ``patch.name`` for an element that R4 does not have there,
            ``patch.identity`` for a change of id or type, ``fhirpath.*``; all with the operation's number;
            ``document.depth``.
    """
    rows = _rows_of(patch)
    changed = copy.deepcopy(resource)
    steps = Steps(MAX_STEPS)
    emptied: list[Resource] = []
    for place, row in enumerate(rows):
        try:
            _apply(changed, row, steps, emptied)
        except InputError as error:
            raise InputError(error.code, **{**error.fields, "operation": place}) from error
    if (changed.get("id"), changed.get("resourceType")) != (resource.get("id"), resource.get("resourceType")):
        raise InputError("patch.identity")
    # Deeper ones are not read again, however they were made.
    check_depth(changed)
    _tidy(changed, {id(one) for one in emptied})
    return changed


def _rows_of(patch: Resource) -> list[Element]:
    """List the operations of a patch; raises `InputError` ``patch.parameters``.

    Of one without any nothing is to be done; what R4 does not know there would be passed over as if it were one.
    """
    rows = patch.get("parameter")
    if patch.get("resourceType") != "Parameters" or any(name.removeprefix("_") not in _WHOLE for name in patch):
        raise InputError("patch.parameters")
    if "parameter" not in patch:
        return []
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_OPERATIONS:
        raise InputError("patch.parameters")
    return rows


def _apply(resource: Resource, row: Element, steps: Steps, emptied: list[Resource]) -> None:
    """Do one operation."""
    if not isinstance(row, dict) or row.get("name") != "operation":
        raise InputError("patch.parameters")
    _check_members(row)
    given = _Given(_named(row.get("part")), steps, emptied)
    operation = _OPERATIONS.get(given.text("type"))
    if operation is None:
        raise InputError("patch.operation")
    operation(resource, given)


def _named(parts: Element) -> dict[str, Resource]:
    """Name the parts of an operation; raises `InputError` ``patch.parameters`` for what is none, or is there twice."""
    named: dict[str, Resource] = {}
    for part in parts if isinstance(parts, list) else ():
        name = member(part, "name") if isinstance(part, dict) else ""
        if not isinstance(part, dict) or not name or name in named:
            raise InputError("patch.parameters")
        _check_members(part)
        named[name] = part
    return named


def _check_members(part: Resource) -> None:
    """See that a part has one value at most, and nothing that R4 does not know there: it would be passed over."""
    given = {key: _GIVEN_VALUE.fullmatch(key) for key in part}
    kinds = {match[1] for match in given.values() if match}
    if len(kinds) > 1 or any(not match and key.removeprefix("_") not in _MEMBERS for key, match in given.items()):
        raise InputError("patch.parameters")


def _add(resource: Resource, given: _Given) -> None:
    """Append to a list, or set what is not there."""
    node = _one(_found(resource, given))
    name, made = _named_value(node, given.text("name"), given)
    holder = node.value if isinstance(node.value, dict) else _beside(node)
    if name.is_array:
        _append(holder, name.json_name, made)
        return
    if name.json_name in holder or "_" + name.json_name in holder:
        raise InputError("patch.path")
    _set(holder, name.json_name, made)


def _insert(resource: Resource, given: _Given) -> None:
    """Put a value between those of a list."""
    rows, first = _list(_found(resource, given))
    index = given.number("index")
    if index > len(rows):
        raise InputError("patch.index")
    rows.insert(index, _value(given, first.content, first.type))
    _write_list(first, rows)


def _delete(resource: Resource, given: _Given) -> None:
    """Take an element away; what is not there is gone already (§3.1.0.9.2)."""
    found = _found(resource, given)
    if not found:
        return
    holder, _ = _place(_one(found))
    _remove(found[0])
    if not holder:
        given.emptied.append(holder)


def _replace(resource: Resource, given: _Given) -> None:
    """Put another value in an element's place."""
    node = _one(_found(resource, given))
    holder, name = _place(node)
    made = _value(given, node.content, node.type)
    if node.place >= 0:
        rows = _rows(holder, name)
        rows[node.place] = made
        _write_list(node, rows)
        return
    # The other value of a choice may be of another type, and its name with it.
    suffix = _suffix(given.parts[_VALUE])
    is_choice = name != node.name
    _remove(node)
    _set(holder, node.name + suffix if is_choice and suffix else name, made)


def _move(resource: Resource, given: _Given) -> None:
    """Give a value of a list another place."""
    rows, first = _list(_found(resource, given))
    source, destination = given.number("source"), given.number("destination")
    if max(source, destination) >= len(rows):
        raise InputError("patch.index")
    rows.insert(destination, rows.pop(source))
    _write_list(first, rows)


_OPERATIONS: Final[Mapping[str, Callable[[Resource, _Given], None]]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}


def _found(resource: Resource, given: _Given) -> Nodes:
    """Evaluate an operation's path."""
    root = resource_node(resource)
    return _compiled(given.text("path"))([root], scope_of(root)._replace(steps=given.steps))


@lru_cache(_REMEMBERED)
def _compiled(path: str) -> Run:
    """Compile a path; raises as `compile_tree`, ``fhirpath.function`` and ``fhirpath.variable`` for what none needs."""
    tree = parse(path)
    waiting: list[Tree] = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Call) and part.name not in FUNCTIONS:
            raise InputError("fhirpath.function")
        if isinstance(part, Binary) and part.operator in COMPARING:
            raise InputError("fhirpath.function")
        if isinstance(part, Variable) and part.name not in VARIABLES:
            raise InputError("fhirpath.variable")
        waiting.extend(_parts(part))
    return compile_tree(tree)


def _parts(tree: Tree) -> Iterator[Tree]:
    """List what an expression is made of."""
    if isinstance(tree, Call):
        yield from tree.arguments
    elif isinstance(tree, (Dot, Binary)):
        yield from (tree.left, tree.right)
    elif isinstance(tree, Index):
        yield from (tree.left, tree.place)
    elif isinstance(tree, TypeTest):
        yield tree.left
    elif isinstance(tree, Unary):
        yield tree.operand


def _one(nodes: Nodes) -> Node:
    """Return the one element that a path names."""
    if len(nodes) != 1:
        raise InputError("patch.path")
    return nodes[0]


def _list(nodes: Nodes) -> tuple[list[_Made], Node]:
    """Return the items of the list that a path names, all of them of one array, and the first one's node."""
    if not nodes:
        raise InputError("patch.path")
    holder, name = _place(nodes[0])
    rows = _rows(holder, name)
    if [node.place for node in nodes] != list(range(len(rows))) or any(node.holder is not holder for node in nodes):
        raise InputError("patch.path")
    return rows, nodes[0]


def _rows(holder: Resource, name: str) -> list[_Made]:
    """List the items of an array, none for what is no array."""
    values, beside = (items if isinstance(items, list) else [] for items in (holder.get(name), holder.get("_" + name)))
    return [
        _Made(values[place] if place < len(values) else None, beside[place] if place < len(beside) else None)
        for place in range(max(len(values), len(beside)))
    ]


def _write_list(node: Node, rows: list[_Made]) -> None:
    """Put items in the place of those of an array."""
    holder, name = _place(node)
    for key, items in ((name, [one.value for one in rows]), ("_" + name, [one.beside for one in rows])):
        if any(item is not None for item in items):
            holder[key] = items
        else:
            holder.pop(key, None)


def _append(holder: Resource, name: str, made: _Made) -> None:
    """Append to an array, which is not looked at for it: its path has not been counted as so many steps."""
    arrays = [holder.get(key, []) for key in (name, "_" + name)]
    count = max(len(items) if isinstance(items, list) else 0 for items in arrays)
    for key, items, one in zip((name, "_" + name), arrays, made, strict=True):
        if not isinstance(items, list):
            raise InputError("patch.path")
        if items or one is not None:
            items.extend([*[None] * (count - len(items)), one])
            holder[key] = items


def _set(holder: Resource, name: str, made: _Made) -> None:
    """Set an element that is no array's."""
    holder.update({key: one for key, one in zip((name, "_" + name), made, strict=True) if one is not None})


def _beside(node: Node) -> Resource:
    """Return what stands beside a primitive value, made if there is nothing."""
    holder, name = _place(node)
    if node.companion is not None:
        return node.companion
    made: Resource = {}
    if node.place < 0:
        holder["_" + name] = made
    else:
        rows = _rows(holder, name)
        rows[node.place] = rows[node.place]._replace(beside=made)
        _write_list(node, rows)
    return made


def _tidy(holder: Resource, emptied: set[int]) -> None:
    """Take away what says nothing any more, for FHIR has nothing empty: what operations emptied, and what held only it.

    What a client gave as empty stays, for validation to refuse it.
    """
    taken = False
    for name, value in [*holder.items()]:
        items: list[Element] = value if isinstance(value, list) else [value]
        for one in items:
            if isinstance(one, dict):
                _tidy(one, emptied)
        left: list[Element]
        if name.startswith("_"):
            left = [one or None for one in items]
            gone = all(one is None for one in left)
        else:
            left = [one for one in items if not (one == {} and id(one) in emptied)]
            gone = not left and bool(items)
        if gone:
            del holder[name]
            taken = True
        elif isinstance(value, list):
            holder[name] = left
    if taken and not holder:
        emptied.add(id(holder))


def _place(node: Node) -> tuple[Resource, str]:
    """Tell where an element stands in JSON: its object, and its name there; raises for what was computed."""
    if node.holder is None:
        raise InputError("patch.path")
    suffixed = node.name + node.type[:1].upper() + node.type[1:]
    is_choice = any(name in node.holder for name in (suffixed, "_" + suffixed))
    return node.holder, suffixed if is_choice and node.name not in node.holder else node.name


def _remove(node: Node) -> None:
    """Take an element out of its object or array, its companion with it."""
    holder, name = _place(node)
    for key in (name, "_" + name):
        items = holder.get(key)
        if isinstance(items, list) and node.place >= 0:
            if node.place < len(items):
                del items[node.place]
            if all(item is None for item in items):
                del holder[key]
        else:
            holder.pop(key, None)


class _Named(NamedTuple):
    """A member with its name in JSON."""

    json_name: str
    member: Member

    @property
    def is_array(self) -> bool:
        """Whether it is an array in JSON."""
        return self.member.element.is_array


def _named_value(node: Node, name: str, given: _Given) -> tuple[_Named, _Made]:
    """Find the member that a name and the type of a value mean, and make the value."""
    wanted = _member(node.content, name, given.parts.get(_VALUE, {}))
    return wanted, _value(given, wanted.member.content, wanted.member.type)


def _member(content: str, name: str, part: Resource) -> _Named:
    """Find a member by its name in FHIRPath and, for a choice, by the type of the value that is given."""
    known = members(content) if content else {}
    for json_name in (name, name + _suffix(part)):
        found = known.get(json_name)
        if found is not None and found.element.name == name:
            return _Named(json_name, found)
    raise InputError("patch.name")


def _suffix(part: Resource) -> str:
    """Return the type of the value that is given, as names of choices end; empty for one that comes part by part."""
    return next((match[1] for key in part if (match := _GIVEN_VALUE.fullmatch(key))), "")


def _value(given: _Given, content: str, type_name: str) -> _Made:
    """Make the value of an operation: as it stands in the part, or put together of the parts of the part."""
    part = given.parts.get(_VALUE)
    if part is None:
        raise InputError("patch.part", part=_VALUE)
    return _part_value(part, content or type_name)


def _part_value(part: Resource, content: str) -> _Made:
    """Make the value of a part."""
    suffix = _suffix(part)
    if suffix:
        made = _Made(copy.deepcopy(part.get(_VALUE + suffix)), copy.deepcopy(part.get(f"_{_VALUE}{suffix}")))
        if made == (None, None):
            raise InputError("patch.part", part=_VALUE)
        return made
    if isinstance(part.get("resource"), dict):
        return _Made(copy.deepcopy(part["resource"]))
    inner = part.get("part")
    if not isinstance(inner, list) or not inner:
        raise InputError("patch.part", part=_VALUE)
    whole: Resource = {}
    for one in inner:
        if not isinstance(one, dict):
            raise InputError("patch.part", part=_VALUE)
        _check_members(one)
        wanted = _member(content, member(one, "name"), one)
        value = _part_value(one, wanted.member.content)
        if wanted.is_array:
            _append(whole, wanted.json_name, value)
        else:
            _set(whole, wanted.json_name, value)
    return _Made(whole)
