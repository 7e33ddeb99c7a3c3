"""FHIRPath Patch: changes to a resource, given as a Parameters resource.

Keeps true: the resource that is given is not changed, and either all operations are done, in their order, or none is; a
path names one element (or one list), or the operation is refused with its number; a path is a stranger's, so it leads
downwards, looks at `MAX_STEPS` nodes at most, and has neither regular expressions, which can take for ever, nor what
compares all with all. Whether the result is right is for validation to say. Trusts `fhir_bridge.fhirpath.engine`.
Source: FHIR R4 §3.1.0.9.2 (FHIRPath Patch), fhirpatch.html.
"""

from __future__ import annotations

import copy
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


class _Given(NamedTuple):
    """One operation as it was given: name of each part → the part; and what its path may cost."""

    parts: Mapping[str, Resource]
    steps: Steps

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
        patch: Parameters with one parameter ``operation`` for each change.

    Returns:
        As it is to be.

    Raises:
        InputError: ``patch.parameters`` for another resource, ``patch.operation`` for an unknown type, ``patch.part``
            for a part that is missing or of another kind, ``patch.path`` for a path that does not name one element,
            ``patch.index``, ``patch.name`` for an element that R4 does not have there, ``patch.identity`` for a change
            of id or type, ``fhirpath.*``; all with the operation's number; ``document.depth``.
    """
    rows = patch.get("parameter")
    if patch.get("resourceType") != "Parameters" or not isinstance(rows, list) or not 0 < len(rows) <= MAX_OPERATIONS:
        raise InputError("patch.parameters")
    changed = copy.deepcopy(resource)
    steps = Steps(MAX_STEPS)
    for place, row in enumerate(rows):
        try:
            _apply(changed, row, steps)
        except InputError as error:
            raise InputError(error.code, **{**error.fields, "operation": place}) from error
    if (changed.get("id"), changed.get("resourceType")) != (resource.get("id"), resource.get("resourceType")):
        raise InputError("patch.identity")
    # Deeper ones are not read again, however they were made.
    check_depth(changed)
    return changed


def _apply(resource: Resource, row: Element, steps: Steps) -> None:
    """Do one operation."""
    if not isinstance(row, dict) or row.get("name") != "operation":
        raise InputError("patch.parameters")
    parts = row.get("part")
    named = {member(part, "name"): part for part in parts if isinstance(part, dict)} if isinstance(parts, list) else {}
    given = _Given(named, steps)
    operation = _OPERATIONS.get(given.text("type"))
    if operation is None:
        raise InputError("patch.operation")
    operation(resource, given)


def _add(resource: Resource, given: _Given) -> None:
    """Append to a list, or set what is not there."""
    node = _one(_found(resource, given))
    name, value = _named_value(node, given.text("name"), given)
    holder = node.value
    if not isinstance(holder, dict):
        raise InputError("patch.path")
    if name.is_array:
        items = holder.setdefault(name.json_name, [])
        if not isinstance(items, list):
            raise InputError("patch.path")
        items.append(value)
        return
    if name.json_name in holder:
        raise InputError("patch.path")
    holder[name.json_name] = value


def _insert(resource: Resource, given: _Given) -> None:
    """Put a value between those of a list."""
    items, first = _list(_found(resource, given))
    index = given.number("index")
    if index > len(items):
        raise InputError("patch.index")
    items.insert(index, _value(given, first.content, first.type))


def _delete(resource: Resource, given: _Given) -> None:
    """Take an element away; what is not there is gone already (§3.1.0.9.2)."""
    found = _found(resource, given)
    if found:
        _remove(_one(found))


def _replace(resource: Resource, given: _Given) -> None:
    """Put another value in an element's place."""
    node = _one(_found(resource, given))
    holder, name = _place(node)
    value = _value(given, node.content, node.type)
    items = holder.get(name)
    if isinstance(items, list):
        items[node.place] = value
        return
    # The other value of a choice may be of another type, and its name with it.
    suffix = next((key.removeprefix(_VALUE) for key in given.parts[_VALUE] if key.startswith(_VALUE)), "")
    is_choice = name != node.name
    _remove(node)
    holder[node.name + suffix if is_choice and suffix else name] = value


def _move(resource: Resource, given: _Given) -> None:
    """Give a value of a list another place."""
    items, _ = _list(_found(resource, given))
    source, destination = given.number("source"), given.number("destination")
    if max(source, destination) >= len(items):
        raise InputError("patch.index")
    items.insert(destination, items.pop(source))


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


def _list(nodes: Nodes) -> tuple[list[Element], Node]:
    """Return the list that a path names: all its items, in one array."""
    if not nodes:
        raise InputError("patch.path")
    holder, name = _place(nodes[0])
    items = holder.get(name)
    if not isinstance(items, list) or [node.place for node in nodes] != list(range(len(items))):
        raise InputError("patch.path")
    if any(node.holder is not holder for node in nodes):
        raise InputError("patch.path")
    return items, nodes[0]


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


def _named_value(node: Node, name: str, given: _Given) -> tuple[_Named, Element]:
    """Find the member that a name and the type of a value mean, and make the value."""
    wanted = _member(node.content, name, given.parts.get(_VALUE, {}))
    return wanted, _value(given, wanted.member.content, wanted.member.type)


def _member(content: str, name: str, part: Resource) -> _Named:
    """Find a member by its name in FHIRPath and, for a choice, by the type of the value that is given."""
    suffix = next((key.removeprefix(_VALUE) for key in part if key.startswith(_VALUE)), "")
    known = members(content) if content else {}
    for json_name in (name, name + suffix):
        found = known.get(json_name)
        if found is not None and found.element.name == name:
            return _Named(json_name, found)
    raise InputError("patch.name")


def _value(given: _Given, content: str, type_name: str) -> Element:
    """Make the value of an operation: as it stands in the part, or put together of the parts of the part."""
    part = given.parts.get(_VALUE)
    if part is None:
        raise InputError("patch.part", part=_VALUE)
    return _part_value(part, content or type_name)


def _part_value(part: Resource, content: str) -> Element:
    """Make the value of a part."""
    for key, value in part.items():
        if key.startswith(_VALUE):
            return copy.deepcopy(value)
    if isinstance(part.get("resource"), dict):
        return copy.deepcopy(part["resource"])
    inner = part.get("part")
    if not isinstance(inner, list) or not inner:
        raise InputError("patch.part", part=_VALUE)
    made: Resource = {}
    for one in inner:
        if not isinstance(one, dict):
            raise InputError("patch.part", part=_VALUE)
        wanted = _member(content, member(one, "name"), one)
        value = _part_value(one, wanted.member.content)
        if wanted.is_array:
            items = made.setdefault(wanted.json_name, [])
            if isinstance(items, list):
                items.append(value)
        else:
            made[wanted.json_name] = value
    return made
