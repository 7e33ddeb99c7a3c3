"""The tree of a search: what `query.parse_query` makes of a request.

Keeps true: a tree holds only what R4 defines. Trusts whoever makes it.
Source: FHIR R4 §3.1.1, whose clauses stand at the classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from fhir_bridge.definitions.parameters import ParameterType
from fhir_bridge.search.terms import Modifier, Term
from medchain.store.finding import ANY_STATE


class Total(StrEnum):
    """How much a client cares for the number of matches (§3.1.1.5.2)."""

    NONE = "none"
    ESTIMATE = "estimate"
    ACCURATE = "accurate"


class Summary(StrEnum):
    """Which part of the resources is wanted (§3.1.1.5.8)."""

    TRUE = "true"
    TEXT = "text"
    DATA = "data"
    COUNT = "count"
    FALSE = "false"


class Contained(StrEnum):
    """Whether contained resources are searched (§3.1.1.5.5)."""

    FALSE = "false"
    TRUE = "true"
    BOTH = "both"


class ContainedType(StrEnum):
    """What is returned for a contained match (§3.1.1.5.5)."""

    CONTAINER = "container"
    CONTAINED = "contained"


@dataclass(frozen=True, slots=True)
class Criterion:
    """A parameter and what it must have: one of its terms.

    Attributes:
        code: code of the parameter.
        kind: its type, the same for all types that are searched.
        modifier: what changes its meaning, or `Modifier.NONE`.
        terms: alternatives; empty for ``:missing``.
        missing: for ``:missing``: whether the value must be absent.
    """

    code: str
    kind: ParameterType
    modifier: Modifier
    terms: tuple[Term, ...]
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """A reference to something that fulfils a condition (§3.1.1.4.15).

    Attributes:
        code: code of the reference parameter.
        targets: types that the reference may point to, each with its condition; one of them must hold.
    """

    code: str
    targets: tuple[tuple[str, Condition], ...]


@dataclass(frozen=True, slots=True)
class Has:
    """Something that refers to the resource and fulfils a condition (§3.1.1.4.16).

    Attributes:
        type: type of what refers.
        code: code of its reference parameter.
        condition: what it fulfils.
    """

    type: str
    code: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class Listed:
    """Membership in a List (§3.1.1.4.22).

    Attributes:
        lists: ids of Lists, or functional names such as ``$current-allergies``; one of them must have the resource.
    """

    lists: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InCompartment:
    """Membership in a compartment (FHIR R4 §2.45); a type that its definition does not name is in none.

    Attributes:
        code: one of `definitions.parameters.COMPARTMENTS`.
        id: of the resource whose compartment it is.
    """

    code: str
    id: str


@dataclass(frozen=True, slots=True)
class InCompartments:
    """Membership in the compartment of one of several resources, or of any (Bulk Data Access 2.0).

    Attributes:
        code: as in `InCompartment`.
        ids: of the resources; None for any of the type, known here or not.
    """

    code: str
    ids: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Containing:
    """Holding a contained resource of one of some types (§3.1.1.5.5)."""

    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ByType:
    """Other conditions for each type, such as the scopes of a token say them.

    Attributes:
        types: resource type → what must all hold of resources of that type. Of a type that is not there, none is meant.
    """

    types: tuple[tuple[str, tuple[Condition, ...]], ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of some conditions holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Sighted:
    """Not being kept back from who asks (`fhir_bridge.enforcement`); as numbers and tokens stand in a search.

    Attributes:
        hidden: numbers of record versions that are, a JSON array.
        upto: number of the last version that was looked at.
        owners: tokens of patients of whom later versions are kept back, a JSON array.
        but: type of which none is.
        types: of which later versions are kept back whosever they are.
        names: names of the records of which versions are, a JSON array: an AuditEvent that names one of them is kept
            back, too; empty where none is.
    """

    hidden: str
    upto: int
    owners: str
    but: str
    types: tuple[str, ...]
    names: str


Condition: TypeAlias = (
    Criterion | Chain | Has | Listed | InCompartment | InCompartments | Containing | ByType | Either | Sighted
)


@dataclass(frozen=True, slots=True)
class SortKey:
    """A rule of the order (§3.1.1.5.1)."""

    code: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Include:
    """What is returned beside the matches (§3.1.1.5.4).

    Attributes:
        source: type of the resource that refers; empty for any (``*``).
        code: code of the reference parameter; empty for all.
        target: type of what is referred to; empty for any.
        reverse: whether what refers to the matches is wanted (``_revinclude``).
        iterate: whether what was included is looked at again.
        apart: types that are not wanted.
    """

    source: str
    code: str
    target: str
    reverse: bool
    iterate: bool
    apart: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Problem:
    """A parameter that was passed over.

    Attributes:
        parameter: its name, empty where it may say more than a name.
        nearest: the known parameter that looks most like it, empty where none does.
    """

    parameter: str
    nearest: str


@dataclass(slots=True)
class Query:
    """A search, understood.

    Attributes:
        types: resource types that are searched.
        conditions: all must hold.
        sort: the order, most important first; empty for the server's own.
        count: size of a page; None for the server's own.
        total: what the client says of the number of matches; None where it says nothing.
        summary: which part of the resources is wanted.
        elements: top-level elements that are wanted; empty for all.
        includes: what is returned beside the matches.
        contained: whether contained resources are searched.
        contained_type: what is returned for a contained match.
        used: names and values that were understood, as they came: for the ``self`` link (§3.1.1.6).
        problems: what was passed over.
        generation: the state of the index whose parameters it names; any where it names HL7's own alone.
        anywhere: how many of its texts may stand anywhere in others: all rows are looked into for each.
    """

    types: tuple[str, ...]
    conditions: list[Condition] = field(default_factory=list)
    sort: list[SortKey] = field(default_factory=list)
    count: int | None = None
    total: Total | None = None
    summary: Summary = Summary.FALSE
    elements: list[str] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    contained: Contained = Contained.FALSE
    contained_type: ContainedType = ContainedType.CONTAINER
    used: list[tuple[str, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    generation: int = ANY_STATE
    anywhere: int = 0
