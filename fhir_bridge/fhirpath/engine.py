"""Compiles FHIRPath into closures.

An expression is compiled once and then run over any number of resources; a closure takes a collection and a `Scope`,
and gives a collection. Keeps true: evaluating has no effect and reaches nothing beyond the resource, what
`Scope.resolve` offers, and the constants of FHIR. Trusts who compiles: an expression that a stranger wrote costs what
it says, so `MAX_NODES` bounds a collection, and `Scope.steps` how much is looked at where it is set.
Source: FHIRPath 2.0.0 §4–§6; FHIR R4 §2.9.8.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from fhir_bridge.definitions.elements import is_resource_type, type_names
from fhir_bridge.document import Element
from fhir_bridge.fhirpath import syntax
from fhir_bridge.fhirpath.node import SYSTEM, Node, Nodes, children, has_type, resource_node
from fhir_bridge.fhirpath.syntax import Binary, Call, Dot, Empty, Index, Literal, Name, Tree, TypeTest, Unary, Variable
from fhir_bridge.fhirpath.values import Values, equal, equivalent, number, order, text, whole
from medchain.errors import InputError

MAX_NODES: Final = 1_000_000
"""Largest collection: more is no invariant and no patch."""

MAX_TEXT_CHARS: Final = 1 << 20
"""Longest text that is computed: none of FHIR's is longer (R4 §2.24.0.1, `string`)."""

CHARS_OF_A_STEP: Final = 64
"""How many characters are looked at for what a node costs."""

_CONSTANTS: Final = {"ucum": "http://unitsofmeasure.org", "sct": "http://snomed.info/sct", "loinc": "http://loinc.org"}
_VALUE_SET: Final = "vs-"


@dataclass(slots=True)
class Steps:
    """How much an evaluation may still look at.

    Attributes:
        left: nodes.
    """

    left: int

    def spend(self, count: int) -> None:
        """Count nodes, or what is looked at for as much; raises `InputError` ``fhirpath.size`` for too many."""
        self.left -= count
        if self.left < 0:
            raise InputError("fhirpath.size")


class Scope(NamedTuple):
    """What an evaluation may see beside its collection; a tuple, since each item has one of its own.

    Attributes:
        resource: the innermost resource that holds the context (``%resource``).
        root: the outermost one (``%rootResource``).
        context: where the evaluation began (``%context``).
        resolve: finds what a reference points to; None if it cannot.
        settled: what parts of expressions gave that depend on variables only, by what these held; nothing changes
            meanwhile.
        this: the item that a function looks at (``$this``).
        place: its number (``$index``).
        constants: further variables, name → collection.
        inside: ids of what the outermost resource contains, for rules that ask of each reference.
        steps: how many nodes may still be looked at, counted down; None for any number.
    """

    resource: Node
    root: Node
    context: Node
    resolve: Callable[[str], Node | None]
    settled: dict[tuple[str | int, ...], Nodes]
    this: Node | None = None
    place: int = 0
    constants: Mapping[str, Nodes] = MappingProxyType({})
    inside: frozenset[str] = frozenset()
    steps: Steps | None = None


Run: TypeAlias = Callable[[Nodes, Scope], Nodes]
"""A compiled expression."""

Function: TypeAlias = Callable[[Run, "tuple[Tree, ...]"], Run]
"""Compiles a call: what it is called on, and its arguments."""

_FEW: Final = 4
"""How many values are compared one by one for less than it costs to list them."""

_PAIR: Final = 2
_HOLDERS: Final = {"resource": "resource", "rootResource": "root", "context": "context"}
TRUE: Final = [Node(True, SYSTEM + "Boolean")]  # noqa: FBT003  # a value
"""The collection of ``true``."""

FALSE: Final = [Node(False, SYSTEM + "Boolean")]  # noqa: FBT003  # a value
"""The collection of ``false``."""


@cache
def compiled(expression: str) -> Run:
    """Compile an expression, once.

    Args:
        expression: FHIRPath.

    Returns:
        The closure.

    Raises:
        InputError: ``fhirpath.syntax``, ``fhirpath.depth``, ``fhirpath.function``, ``fhirpath.arguments``,
            ``fhirpath.type``, ``fhirpath.variable``.
    """
    return compile_tree(syntax.parse(expression))


def holds(expression: str, node: Node, scope: Scope) -> bool:
    """Tell whether an invariant holds: an empty answer does not speak against it.

    Args:
        expression: FHIRPath.
        node: on which it stands.
        scope: around it.

    Raises:
        InputError: as `compiled`; ``fhirpath.singleton`` and others of the evaluation.
    """
    return truth(compiled(expression)([node], scope)) is not False


def compile_tree(tree: Tree) -> Run:
    """Compile a tree; errors as `compiled`."""
    run = _COMPILERS[type(tree)](tree)
    if isinstance(tree, (Variable, Literal, Empty)):
        return run
    holders = _holders(tree)
    return _settled(tree, run, tuple(sorted(holders))) if holders else run


def boolean(value: bool | None) -> Nodes:  # noqa: FBT001  # a value
    """Make a collection of a truth value; empty for None."""
    return [] if value is None else TRUE if value else FALSE


def truth(nodes: Nodes) -> bool | None:
    """Read a collection as a truth value (§4.5, singleton evaluation); raises `InputError` ``fhirpath.singleton``."""
    if not nodes:
        return None
    if len(nodes) > 1:
        raise InputError("fhirpath.singleton")
    value = nodes[0].value
    return value if isinstance(value, bool) else True


def single(nodes: Nodes) -> Node | None:
    """Return the only item, None for none; raises `InputError` ``fhirpath.singleton`` for more."""
    if len(nodes) > 1:
        raise InputError("fhirpath.singleton")
    return nodes[0] if nodes else None


def within(scope: Scope, node: Node, place: int) -> Scope:
    """Make the scope of one item."""
    if scope.steps is not None:
        scope.steps.spend(1)
    return scope._replace(this=node, place=place)


def same(left: Nodes, right: Nodes) -> bool | None:
    """Compare two collections by ``=`` (§6.1.1)."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    answers = [equal(one, other) for one, other in zip(left, right, strict=True)]
    return False if False in answers else None if None in answers else True


class Settled(list[Node]):
    """A collection that stays, whose values are listed once however often it is asked for one."""

    __slots__ = ("_values",)

    def __init__(self, nodes: Nodes) -> None:
        """Take over a collection."""
        super().__init__(nodes)
        self._values: Values | None = None

    def values(self) -> Values:
        """List the values."""
        if self._values is None:
            self._values = Values(self)
        return self._values


def values_of(nodes: Nodes) -> Values:
    """List the values of a collection."""
    return nodes.values() if isinstance(nodes, Settled) else Values(nodes)


def is_in(node: Node, nodes: Nodes) -> bool:
    """Tell whether a collection holds a value: it is looked through, unless it stays."""
    if isinstance(nodes, Settled) and len(nodes) > _FEW:
        return node in nodes.values()
    return any(equal(node, other) is True for other in nodes)


def distinct(nodes: Nodes) -> Nodes:
    """Leave out repetitions, keeping the order."""
    if len(nodes) < _PAIR:
        return nodes
    seen = Values()
    return [node for node in nodes if seen.add(node)]


def _literal(tree: Literal) -> Run:
    """Compile a constant."""
    made = [Node(tree.value, SYSTEM + tree.type)]
    return lambda _nodes, _scope: made


def _empty(_tree: Empty) -> Run:
    """Compile ``{}``."""
    return lambda _nodes, _scope: []


def _variable(tree: Variable) -> Run:
    """Compile a variable."""
    name = tree.name
    if name == "$this":
        return lambda nodes, scope: nodes if scope.this is None else [scope.this]
    if name == "$index":
        return lambda _nodes, scope: [Node(Decimal(scope.place), SYSTEM + "Integer")]
    if name in _HOLDERS:
        attribute = _HOLDERS[name]
        return lambda _nodes, scope: [getattr(scope, attribute)]
    if name in _CONSTANTS or name.startswith(_VALUE_SET):
        value = _CONSTANTS.get(name, "http://hl7.org/fhir/ValueSet/" + name.removeprefix(_VALUE_SET))
        made = [Node(value, SYSTEM + "String")]
        return lambda _nodes, _scope: made

    def read(_nodes: Nodes, scope: Scope) -> Nodes:
        if name not in scope.constants:
            raise InputError("fhirpath.variable")
        return scope.constants[name]

    return read


def _name(tree: Name) -> Run:
    """Compile a step; the first of an expression may be a type's name, which chooses."""
    name = tree.name
    is_type = name[:1].isupper() and (is_resource_type(name) or name in type_names("resource", abstract=True))

    def step(nodes: Nodes, scope: Scope) -> Nodes:
        found = [child for node in nodes for child in children(node, name)]
        if scope.steps is not None:
            scope.steps.spend(len(nodes) + len(found))
        if len(found) > MAX_NODES:
            raise InputError("fhirpath.size", limit=MAX_NODES)
        return found

    def first(nodes: Nodes, scope: Scope) -> Nodes:
        return [node for node in nodes if has_type(node, name)] or step(nodes, scope)

    return first if is_type else step


def _call(tree: Call) -> Run:
    """Compile a function of the collection itself."""
    return _function(tree, lambda nodes, _scope: nodes)


def _function(tree: Call, source: Run) -> Run:
    """Compile a function of what another expression gives."""
    from fhir_bridge.fhirpath.functions import FUNCTIONS  # noqa: PLC0415  # functions are compiled of expressions

    function = FUNCTIONS.get(tree.name)
    if function is None:
        raise InputError("fhirpath.function")
    least, most, make = function
    if not least <= len(tree.arguments) <= most:
        raise InputError("fhirpath.arguments")
    return make(source, tree.arguments)


def _dot(tree: Dot) -> Run:
    """Compile one step after another."""
    left = compile_tree(tree.left)
    if isinstance(tree.right, Call):
        return _function(tree.right, left)
    right = compile_tree(tree.right)
    return lambda nodes, scope: right(left(nodes, scope), scope)


def _holders(tree: Tree) -> frozenset[str] | None:
    """Tell on which variables that stay an expression depends, and on nothing else; None if on more."""
    match tree:
        case Literal() | Empty():
            return frozenset()
        case Variable():
            return frozenset({_HOLDERS[tree.name]}) if tree.name in _HOLDERS else None
        case Dot(left=left, right=Name()):
            return _holders(left)
        case Dot(left=left, right=Call(arguments=arguments)):
            return _joined(left, *arguments)
        case Binary(left=left, right=right):
            return _joined(left, right)
        case _:
            return None


def _joined(*trees: Tree) -> frozenset[str] | None:
    """Join the variables on which expressions depend."""
    found: set[str] = set()
    for tree in trees:
        holders = _holders(tree)
        if holders is None:
            return None
        found |= holders
    return frozenset(found)


def _settled(tree: Tree, run: Run, holders: tuple[str, ...]) -> Run:
    """Evaluate an expression once for what it depends on: done for each item (`sdf-8`), it takes their square."""
    # Its own text, since trees of different kinds may be equal tuples.
    spelled = sys.intern(repr(tree))

    def kept(nodes: Nodes, scope: Scope) -> Nodes:
        held = [getattr(scope, holder).value for holder in holders]
        if not all(isinstance(value, dict) for value in held):
            # Only an object is known by its place: two primitive values may be one in memory.
            return run(nodes, scope)
        key: tuple[str | int, ...] = (spelled, *map(id, held))
        found = scope.settled.get(key)
        if found is None:
            found = scope.settled[key] = Settled(run(nodes, scope))
        return found

    return kept


def _index(tree: Index) -> Run:
    """Compile the choice of one item."""
    left, index = compile_tree(tree.left), compile_tree(tree.place)

    def pick(nodes: Nodes, scope: Scope) -> Nodes:
        place = single(index(nodes, scope))
        wanted = None if place is None else number(place)
        if wanted is None:
            return []
        found, at = left(nodes, scope), whole(wanted)
        return [found[at]] if 0 <= at < len(found) else []

    return pick


def _unary(tree: Unary) -> Run:
    """Compile a sign."""
    operand = compile_tree(tree.operand)

    def negate(nodes: Nodes, scope: Scope) -> Nodes:
        found = single(operand(nodes, scope))
        value = None if found is None else number(found)
        return [] if value is None or found is None else [found._replace(value=-value)]

    return negate if tree.operator == "-" else operand


def _type_test(tree: TypeTest) -> Run:
    """Compile ``is`` and ``as``."""
    left, name = compile_tree(tree.left), tree.type
    if tree.operator == "as":
        return lambda nodes, scope: [node for node in left(nodes, scope) if has_type(node, name)]

    def test(nodes: Nodes, scope: Scope) -> Nodes:
        found = single(left(nodes, scope))
        return [] if found is None else boolean(has_type(found, name))

    return test


def _binary(tree: Binary) -> Run:
    """Compile an operator."""
    left, right = compile_tree(tree.left), compile_tree(tree.right)
    operator = tree.operator
    if operator in _LOGIC:
        decide = _LOGIC[operator]

        def logic(nodes: Nodes, scope: Scope) -> Nodes:
            first = truth(left(nodes, scope))
            settled = _SETTLED.get((operator, first))
            if settled is not None:
                return settled
            return boolean(decide(first, truth(right(nodes, scope))))

        return logic
    if operator == "|" and _holders(tree) == frozenset():
        made: Nodes = Settled(_union(left([], _NOWHERE), right([], _NOWHERE)))
        return lambda _nodes, _scope: made
    apply = _OPERATORS[operator]

    def operate(nodes: Nodes, scope: Scope) -> Nodes:
        one, other = left(nodes, scope), right(nodes, scope)
        if scope.steps is not None:
            scope.steps.spend(_weight(one) + _weight(other))
        return apply(one, other)

    return operate


def _weight(nodes: Nodes) -> int:
    """Tell how many nodes it costs as much as to compare values: all that they hold is looked at, but for `Settled`."""
    if isinstance(nodes, Settled) and len(nodes) > _FEW:
        return 1
    found = len(nodes)
    waiting: list[Element | Decimal] = [node.value for node in nodes if not isinstance(node.value, (bool, Decimal))]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found += len(value) // CHARS_OF_A_STEP
        elif isinstance(value, dict):
            found += len(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            found += len(value)
            waiting.extend(value)
    return found


def _and(left: bool | None, right: bool | None) -> bool | None:  # noqa: FBT001  # values
    """Three-valued conjunction (§6.5)."""
    return False if left is False or right is False else None if left is None or right is None else True


def _or(left: bool | None, right: bool | None) -> bool | None:  # noqa: FBT001  # values
    """Three-valued disjunction."""
    return True if left or right else None if left is None or right is None else False


def _xor(left: bool | None, right: bool | None) -> bool | None:  # noqa: FBT001  # values
    """Three-valued exclusive disjunction."""
    return None if left is None or right is None else left is not right


def _implies(left: bool | None, right: bool | None) -> bool | None:  # noqa: FBT001  # values
    """Three-valued implication."""
    return _or(None if left is None else not left, right)


_LOGIC: Final = {"and": _and, "or": _or, "xor": _xor, "implies": _implies}
_SETTLED: Final[dict[tuple[str, bool | None], Nodes]] = {
    ("and", False): FALSE,
    ("or", True): TRUE,
    ("implies", False): TRUE,
}


def _not(value: bool | None) -> bool | None:  # noqa: FBT001  # a value
    """Three-valued negation."""
    return None if value is None else not value


def _alike(left: Nodes, right: Nodes) -> bool:
    """Compare two collections by ``~``, in any order."""
    if len(left) != len(right):
        return False
    if len(left) ** 2 > MAX_NODES:
        raise InputError("fhirpath.size", limit=MAX_NODES)
    rest = list(right)
    for node in left:
        match = next((place for place, other in enumerate(rest) if equivalent(node, other)), None)
        if match is None:
            return False
        del rest[match]
    return True


def _compared(judge: Callable[[int], bool]) -> Callable[[Nodes, Nodes], Nodes]:
    """Make a comparison."""

    def compare(left: Nodes, right: Nodes) -> Nodes:
        first, second = single(left), single(right)
        if first is None or second is None:
            return []
        found = order(first, second)
        return boolean(None if found is None else judge(found))

    return compare


def _union(left: Nodes, right: Nodes) -> Nodes:
    """Join two collections without repetitions."""
    return distinct([*left, *right])


def _member_of(left: Nodes, right: Nodes) -> Nodes:
    """Tell whether the right collection holds the left one's item."""
    found = single(left)
    return [] if found is None else boolean(is_in(found, right))


def _concatenated(left: Nodes, right: Nodes) -> Nodes:
    """Join two texts; an empty collection is an empty one."""
    return [joined(*("" if node is None else text(node) or "" for node in (single(left), single(right))))]


def joined(*parts: str) -> Node:
    """Join texts; raises `InputError` ``fhirpath.size``: each ``select($this & $this)`` would double one."""
    if sum(map(len, parts)) > MAX_TEXT_CHARS:
        raise InputError("fhirpath.size", limit=MAX_TEXT_CHARS)
    return Node("".join(parts), SYSTEM + "String")


def _plus(left: Nodes, right: Nodes) -> Nodes:
    """Add two numbers, or join two texts."""
    first, second = single(left), single(right)
    if first is None or second is None:
        return []
    one, other = text(first), text(second)
    if one is not None and other is not None:
        return [joined(one, other)]
    return _arithmetic(lambda a, b: a + b)(left, right)


def _arithmetic(compute: Callable[[Decimal, Decimal], Decimal]) -> Callable[[Nodes, Nodes], Nodes]:
    """Make an operation on two numbers; empty where it has no answer, such as a division by zero."""

    def operate(left: Nodes, right: Nodes) -> Nodes:
        first, second = single(left), single(right)
        if first is None or second is None:
            return []
        one, other = number(first), number(second)
        if one is None or other is None:
            return []
        try:
            value = compute(one, other)
        except ArithmeticError:
            return []
        return [Node(value, SYSTEM + ("Integer" if value == value.to_integral_value() else "Decimal"))]

    return operate


_NOWHERE: Final = Scope(TRUE[0], TRUE[0], TRUE[0], lambda _reference: None, {})
"""Where constants are evaluated."""

_OPERATORS: Final[dict[str, Callable[[Nodes, Nodes], Nodes]]] = {
    "=": lambda left, right: boolean(same(left, right)),
    "!=": lambda left, right: boolean(_not(same(left, right))),
    "~": lambda left, right: boolean(_alike(left, right)),
    "!~": lambda left, right: boolean(not _alike(left, right)),
    "<": _compared(lambda found: found < 0),
    ">": _compared(lambda found: found > 0),
    "<=": _compared(lambda found: found <= 0),
    ">=": _compared(lambda found: found >= 0),
    "|": _union,
    "in": _member_of,
    "contains": lambda left, right: _member_of(right, left),
    "&": _concatenated,
    "+": _plus,
    "-": _arithmetic(lambda a, b: a - b),
    "*": _arithmetic(lambda a, b: a * b),
    "/": _arithmetic(lambda a, b: a / b),
    "div": _arithmetic(lambda a, b: a // b),
    "mod": _arithmetic(lambda a, b: a % b),
}
_COMPILERS: Final[dict[type, Callable[..., Run]]] = {
    Literal: _literal,
    Empty: _empty,
    Variable: _variable,
    Name: _name,
    Call: _call,
    Dot: _dot,
    Index: _index,
    Unary: _unary,
    Binary: _binary,
    TypeTest: _type_test,
}


def scope_of(root: Node, resource: Node | None = None, context: Node | None = None) -> Scope:
    """Make the scope of a resource whose references to contained ones are resolved.

    Args:
        root: the outermost resource.
        resource: the innermost, None for the same.
        context: where the evaluation begins, None for the resource.
    """
    inner = root if resource is None else resource
    return Scope(inner, root, inner if context is None else context, _Inside(root).find, {})


class _Inside:
    """Finds what references point to inside a resource: contained ones, and entries of a Bundle."""

    __slots__ = ("_root", "_targets")

    def __init__(self, root: Node) -> None:
        self._root = root
        self._targets: dict[str, Node] | None = None

    def find(self, reference: str) -> Node | None:
        """Find one; None for what is elsewhere."""
        if self._targets is None:
            # Listed once: to look through all for each reference takes the square of their number.
            self._targets = {}
            for name, node in _targets(self._root):
                self._targets.setdefault(name, node)
        return self._targets.get(reference)


def _targets(root: Node) -> Iterator[tuple[str, Node]]:
    """List what references inside a resource can point to, the first of a name first."""
    for node in children(root, "contained"):
        if isinstance(node.value, dict):
            yield f"#{node.value.get('id')}", node
    entries = root.value.get("entry") if root.type == "Bundle" and isinstance(root.value, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        inside = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(entry, dict) and isinstance(inside, dict):
            node = resource_node(inside)
            yield str(entry.get("fullUrl")), node
            yield f"{inside.get('resourceType')}/{inside.get('id')}", node
