"""Compiles FHIRPath into closures.

An expression is compiled once and then run over any number of resources; a closure takes a collection and a `Scope`,
and gives a collection. Keeps true: evaluating has no effect and reaches nothing beyond the resource, what
`Scope.resolve` offers, and the constants of FHIR. Trusts who compiles: an expression that a stranger wrote costs what
it says, so `MAX_NODES` bounds a collection, and `Scope.steps` how much is looked at where it is set.
Source: FHIRPath 2.0.0 §4–§6; FHIR R4 §2.9.8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal, DivisionByZero, InvalidOperation
from functools import cache
from typing import Final, TypeAlias

from fhir_bridge.definitions.elements import is_resource_type, type_names
from fhir_bridge.fhirpath import syntax
from fhir_bridge.fhirpath.node import SYSTEM, Node, Nodes, children, has_type, resource_node
from fhir_bridge.fhirpath.syntax import Binary, Call, Dot, Empty, Index, Literal, Name, Tree, TypeTest, Unary, Variable
from fhir_bridge.fhirpath.values import equal, equivalent, number, order, text
from medchain.errors import InputError

MAX_NODES: Final = 1_000_000
"""Largest collection: more is no invariant and no patch."""

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
        """Count nodes; raises `InputError` ``fhirpath.size`` where they are too many."""
        self.left -= count
        if self.left < 0:
            raise InputError("fhirpath.size")


@dataclass(frozen=True, slots=True)
class Scope:
    """What an evaluation may see beside its collection.

    Attributes:
        resource: the innermost resource that holds the context (``%resource``).
        root: the outermost one (``%rootResource``).
        context: where the evaluation began (``%context``).
        resolve: finds what a reference points to; None if it cannot.
        this: the item that a function looks at (``$this``).
        place: its number (``$index``).
        constants: further variables, name → collection.
        inside: ids of what the outermost resource contains, for rules that ask of each reference.
        steps: how many nodes may still be looked at, counted down; None for any number.
        walked: paths from a variable that were walked, by what it held; nothing changes meanwhile.
    """

    resource: Node
    root: Node
    context: Node
    resolve: Callable[[str, Scope], Node | None] = field(default=lambda _reference, _scope: None)
    this: Node | None = None
    place: int = 0
    constants: dict[str, Nodes] = field(default_factory=dict)
    inside: frozenset[str] = frozenset()
    steps: Steps | None = None
    walked: dict[tuple[tuple[str, ...], int], Nodes] = field(default_factory=dict)


Run: TypeAlias = Callable[[Nodes, Scope], Nodes]
"""A compiled expression."""

Function: TypeAlias = Callable[[Run, "tuple[Tree, ...]"], Run]
"""Compiles a call: what it is called on, and its arguments."""

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
    compiler = _COMPILERS[type(tree)]
    return compiler(tree)


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
    return replace(scope, this=node, place=place)


def same(left: Nodes, right: Nodes) -> bool | None:
    """Compare two collections by ``=`` (§6.1.1)."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    answers = [equal(one, other) for one, other in zip(left, right, strict=True)]
    return False if False in answers else None if None in answers else True


def is_in(node: Node, nodes: Nodes) -> bool:
    """Tell whether a collection holds a value."""
    return any(equal(node, other) is True for other in nodes)


def distinct(nodes: Nodes) -> Nodes:
    """Leave out repetitions, keeping the order."""
    kept: Nodes = []
    seen: set[object] = set()
    for node in nodes:
        if isinstance(node.value, (str, bool)):
            # The common case by hash; what is rare is compared one by one.
            key = (type(node.value), node.value)
            if key in seen:
                continue
            seen.add(key)
        elif is_in(node, kept):
            continue
        kept.append(node)
    return kept


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
    walk: Run = lambda nodes, scope: right(left(nodes, scope), scope)  # noqa: E731  # as its neighbours
    path = _path_of(tree)
    return _walked_once(path, walk) if path else walk


def _path_of(tree: Tree) -> tuple[str, ...]:
    """Read a path of names from a variable that stays (``%resource.code.coding``); empty for all else."""
    names: list[str] = []
    while isinstance(tree, Dot) and isinstance(tree.right, Name):
        names.append(tree.right.name)
        tree = tree.left
    if not (names and isinstance(tree, Variable) and tree.name in _HOLDERS):
        return ()
    return (tree.name, *reversed(names))


def _walked_once(path: tuple[str, ...], walk: Run) -> Run:
    """Walk a path once from where it begins: to walk it at each item (`sdf-8`) takes the square of their number."""
    attribute = _HOLDERS[path[0]]

    def kept(nodes: Nodes, scope: Scope) -> Nodes:
        key = (path, id(getattr(scope, attribute).value))
        found = scope.walked.get(key)
        if found is None:
            found = scope.walked[key] = walk(nodes, scope)
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
        found = left(nodes, scope)
        return [found[int(wanted)]] if 0 <= int(wanted) < len(found) else []

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
    apply = _OPERATORS[operator]
    return lambda nodes, scope: apply(left(nodes, scope), right(nodes, scope))


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
    first, second = single(left), single(right)
    parts = ["" if node is None else text(node) or "" for node in (first, second)]
    return [Node("".join(parts), SYSTEM + "String")]


def _plus(left: Nodes, right: Nodes) -> Nodes:
    """Add two numbers, or join two texts."""
    first, second = single(left), single(right)
    if first is None or second is None:
        return []
    one, other = text(first), text(second)
    if one is not None and other is not None:
        return [Node(one + other, SYSTEM + "String")]
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
        except (DivisionByZero, InvalidOperation):
            return []
        return [Node(value, SYSTEM + ("Integer" if value == value.to_integral_value() else "Decimal"))]

    return operate


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
    "div": _arithmetic(lambda a, b: Decimal(int(a / b))),
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
    return Scope(inner, root, inner if context is None else context, _resolve_inside)


def _resolve_inside(reference: str, scope: Scope) -> Node | None:
    """Find what a reference points to inside the outermost resource: a contained one, or an entry of a Bundle."""
    if reference.startswith("#"):
        for node in children(scope.root, "contained"):
            if isinstance(node.value, dict) and node.value.get("id") == reference[1:]:
                return node
        return None
    if scope.root.type != "Bundle" or not isinstance(scope.root.value, dict):
        return None
    entries = scope.root.value.get("entry")
    for entry in entries if isinstance(entries, list) else []:
        inside = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(entry, dict) and isinstance(inside, dict):
            local = f"{inside.get('resourceType')}/{inside.get('id')}"
            if reference in (entry.get("fullUrl"), local):
                return resource_node(inside)
    return None
