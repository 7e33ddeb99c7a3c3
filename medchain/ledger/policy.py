"""Endorsement policies: who must sign a transition, as data on the ledger, and which independent endorser is drawn.

Keeps true: a missing rule refuses; a suspended organisation never counts and no organisation counts twice towards a
share; the drawn order follows from public values that the creator cannot choose once its number is used. Whether the
signatures and the draw are right is the machine's business: `satisfied` believes the rows it is given.
Source: `docs/spec/endorsement.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol, TypeAlias

from medchain.encoding import Json, canonical, digest_input, field_input, members
from medchain.errors import InputError
from medchain.ledger.predicates import Predicate, parse_predicates
from medchain.ledger.transaction import CREATOR, INDEPENDENT, Signer

POLICY_TYPE: Final = "medchain/policy/v1"
"""Type member of a policy's content."""

MAX_DEPTH: Final = 8
"""Deepest nesting of an expression."""

MAX_NODES: Final = 64
"""Most nodes of an expression."""

MAX_RULES: Final = 64
"""Most rules of a policy."""

ROLES: Final = ("authority", "hospital", "insurer", "regulator")
"""Roles of organisations."""

MAX_TERM: Final = 100
"""Largest value of a term."""

_POLICY_RULE: Final = "policy/active"

DRAWN_ROLES: Final = frozenset({"authority", "hospital", "regulator"})
"""Roles from which independent endorsers are drawn."""


class Elector(Protocol):
    """What a policy needs to know of an organisation."""

    @property
    def org_id(self) -> str:
        """Its id."""
        ...

    @property
    def role(self) -> str:
        """Its role."""
        ...

    @property
    def control(self) -> str:
        """Who controls it: two organisations under one control are not independent."""
        ...


class Electorate(Protocol):
    """What a policy needs to know of the members."""

    @property
    def active(self) -> Sequence[Elector]:
        """All organisations that are neither suspended nor removed, sorted by org_id."""
        ...

    def signer(self, key_id: str) -> Elector | None:
        """The active organisation of a ledger key."""
        ...

    def drawable(self, creator: str) -> Sequence[tuple[str, bytes]]:
        """What the function `drawable` returns, computed once."""
        ...


@dataclass(frozen=True, slots=True)
class Named:
    """``creator``, ``independent``, ``org:ORG_ID`` or ``role:ROLE``.

    Attributes:
        what: the part before the colon.
        name: the part after it, or empty.
    """

    what: str
    name: str


@dataclass(frozen=True, slots=True)
class OutOf:
    """At least ``count`` of ``parts``; ``and`` and ``or`` are its ends.

    Attributes:
        count: how many.
        parts: all different.
    """

    count: int
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """A share of all active organisations, or of those of a role.

    Attributes:
        numerator: of the share.
        denominator: of the share.
        more: whether it must be exceeded (majority) rather than reached.
        role: a role, or None for all members.
    """

    numerator: int
    denominator: int
    more: bool
    role: str | None


Expression: TypeAlias = Named | OutOf | Share


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force.

    Attributes:
        rules: ``kind/status`` → expression.
        content: the same as it stands on the ledger.
        terms: name → days or years that kinds ask for, such as ``recovery_days``; what is absent is not allowed.
        predicates: URI → type of statements that the members have registered.
    """

    rules: Mapping[str, Expression]
    content: Mapping[str, Json]
    terms: Mapping[str, int] = field(default_factory=dict)
    predicates: Mapping[str, Predicate] = field(default_factory=dict)


def default_policy() -> dict[str, Json]:
    """Return the content of the policy that a new ledger starts with.

    Returns:
        One's own anchors, accesses, emergencies and erasures: the creator alone. Subject, recovery, delegation,
        consent, grant: the creator and one independent; to end them, the creator. Statements, claims: both for every
        step. Membership, policy, protocol: a majority with a regulator. A recovery waits for seven days; people are of
        age at 18.
    """
    alone = ("access", "emergency", "erasure", "record")
    widened = ("subject", "recovery", "delegation", "consent", "grant")
    rules: dict[str, Json] = {f"{kind}/active": CREATOR for kind in alone}
    rules |= {f"{kind}/active": {"and": [CREATOR, INDEPENDENT]} for kind in widened}
    rules |= {f"{kind}/ended": CREATOR for kind in ("emergency", *widened)}
    rules |= {f"attest/{status}": {"and": [CREATOR, INDEPENDENT]} for status in ("active", "ended")}
    rules |= {
        f"claim/{status}": {"and": [CREATOR, INDEPENDENT]} for status in ("released", "reserved", "reversed", "settled")
    }
    rules["erasure/stated"] = CREATOR
    rules |= {f"record/{status}": CREATOR for status in ("deleted", "entered-in-error")}
    rules |= {
        f"{kind}/active": {"and": [{"majority": "member"}, "role:regulator"]}
        for kind in ("organisation", "policy", "protocol")
    }
    rules["organisation/update"] = CREATOR
    return {"rules": rules, "terms": {"majority_years": 18, "recovery_days": 7}, "type": POLICY_TYPE}


def parse_policy(content: Json) -> Policy:
    """Read a policy's content strictly.

    Args:
        content: ``{"rules":{…},"type":"medchain/policy/v1"}``, with ``"predicates":{…}`` and ``"terms":{…}`` where
            there are any.

    Returns:
        The policy.

    Raises:
        InputError: ``encoding.members``, ``policy.malformed`` or ``predicate.malformed``.
    """
    top = members(content, {"rules": dict, "type": str}, {"predicates": dict, "terms": dict})
    rules, terms = top["rules"], top.get("terms", {})
    if top["type"] != POLICY_TYPE or type(rules) is not dict or not 0 < len(rules) <= MAX_RULES:
        raise InputError("policy.malformed", rule="")
    if _POLICY_RULE not in rules:
        # Without it no policy could ever replace this one.
        raise InputError("policy.malformed", rule=_POLICY_RULE)
    predicates = parse_predicates(top.get("predicates", {}), ROLES)
    return Policy({name: _rule(name, value) for name, value in rules.items()}, top, _terms(terms), predicates)


def satisfied(expression: Expression, signers: Sequence[Signer], electorate: Electorate, creator: str) -> bool:
    """Tell whether signers satisfy an expression.

    Args:
        expression: from `parse_policy`.
        signers: rows whose signatures, roles and draw hold.
        electorate: the members in force.
        creator: org_id of the transaction's creator.

    Returns:
        Whether they do.
    """
    signed = [(elector, row.role) for row in signers if (elector := electorate.signer(row.key_id)) is not None]
    return _holds(expression, signed, electorate, creator)


def draw_order(electorate: Electorate, creator: str, number: int, seed: bytes) -> list[str]:
    """Order the candidates for independent endorser.

    Args:
        electorate: the members in force.
        creator: org_id of the transaction's creator.
        number: the creator's number of this draw.
        seed: map root at the seed height (ledger id at height 0), 32 bytes.

    Returns:
        org_ids of all active organisations of a role in `DRAWN_ROLES` under other control; place = rank.
    """
    candidates = electorate.drawable(creator)
    # The digest of tag, creator, number, seed and candidate: all but the last are the same for every candidate.
    same = digest_input("medchain/draw/v1", creator.encode("ascii"), number.to_bytes(8, "big"), seed)
    return [name for _, name in sorted([(sha256(same + last).digest(), name) for name, last in candidates])]


def drawable(electorate: Electorate, creator: str) -> tuple[tuple[str, bytes], ...]:
    """Return who may be drawn to endorse for a creator: org_id, and what it adds to the digest."""
    controls = {elector.control for elector in electorate.active if elector.org_id == creator}
    return tuple(
        (elector.org_id, field_input(elector.org_id.encode("ascii")))
        for elector in electorate.active
        if elector.role in DRAWN_ROLES and elector.control not in controls
    )


def _holds(expression: Expression, signed: Sequence[tuple[Elector, str]], electorate: Electorate, creator: str) -> bool:
    """Evaluate an expression over resolved signers."""
    if isinstance(expression, Named):
        return any(_is_named(expression, elector, role, creator) for elector, role in signed)
    if isinstance(expression, OutOf):
        return sum([_holds(part, signed, electorate, creator) for part in expression.parts]) >= expression.count
    votes = _count((elector for elector, _ in signed), expression.role) * expression.denominator
    needed = _count(electorate.active, expression.role) * expression.numerator
    # Of nobody there is no share: a role without members must not make a rule true.
    return votes > needed if expression.more else votes >= needed > 0


def _is_named(named: Named, elector: Elector, role: str, creator: str) -> bool:
    """Tell whether one who signed is whom a leaf of an expression names."""
    if named.what == CREATOR:
        return role == CREATOR and elector.org_id == creator
    if named.what == INDEPENDENT:
        return role == INDEPENDENT
    return named.name == (elector.org_id if named.what == "org" else elector.role)


def _count(electors: Iterable[Elector], role: str | None) -> int:
    """Count distinct organisations of a role."""
    return len({elector.org_id for elector in electors if role is None or elector.role == role})


def _terms(value: Json) -> dict[str, int]:
    """Read the terms."""
    if type(value) is not dict or len(value) > MAX_RULES:
        raise InputError("policy.malformed", rule="terms")
    terms = {name: term for name, term in value.items() if type(term) is int and 0 < term <= MAX_TERM}
    if len(terms) != len(value):
        raise InputError("policy.malformed", rule="terms")
    return terms


def _rule(name: str, value: Json) -> Expression:
    """Read one rule."""
    expression, nodes = _expression(name, value, MAX_DEPTH)
    if nodes > MAX_NODES or name.count("/") != 1:
        raise InputError("policy.malformed", rule=name[:64])
    return expression


def _expression(rule: str, value: Json, depth: int) -> tuple[Expression, int]:
    """Read an expression; returns it with its number of nodes."""
    if depth > 0 and type(value) is str:
        return _named(rule, value), 1
    if depth > 0 and type(value) is dict and len(value) == 1:
        (operator, operand), *_ = value.items()
        if type(operand) is list and operator in {"and", "or"}:
            return _out_of(rule, len(operand) if operator == "and" else 1, operand, depth)
        if type(operand) is list and operator == "out_of" and len(operand) == 2:  # noqa: PLR2004  # [N, parts]
            return _out_of(rule, operand[0], operand[1], depth)
        if type(operand) is list and operator == "fraction" and len(operand) == 3:  # noqa: PLR2004  # [NUM, DEN, who]
            return _fraction(rule, *operand), 1
        if operator == "majority":
            return Share(1, 2, more=True, role=_whose(rule, operand)), 1
    raise InputError("policy.malformed", rule=rule[:64])


def _named(rule: str, text: str) -> Named:
    """Read a leaf."""
    if text in {CREATOR, INDEPENDENT}:
        return Named(text, "")
    what, _, name = text.partition(":")
    if (what == "org" and name) or (what == "role" and name in ROLES):
        return Named(what, name)
    raise InputError("policy.malformed", rule=rule[:64])


def _out_of(rule: str, count: Json, parts: Json, depth: int) -> tuple[OutOf, int]:
    """Read a threshold over different parts: the same part twice would count one signer twice."""
    if type(count) is not int or type(parts) is not list or not 0 < count <= len(parts):
        raise InputError("policy.malformed", rule=rule[:64])
    if len({canonical(part) for part in parts}) != len(parts):
        raise InputError("policy.malformed", rule=rule[:64])
    found = [_expression(rule, part, depth - 1) for part in parts]
    return OutOf(count, tuple(part for part, _ in found)), 1 + sum(nodes for _, nodes in found)


def _fraction(rule: str, numerator: Json, denominator: Json, whose: Json) -> Share:
    """Read a fraction above zero and at most one."""
    if type(numerator) is not int or type(denominator) is not int or not 0 < numerator <= denominator:
        raise InputError("policy.malformed", rule=rule[:64])
    return Share(numerator, denominator, more=False, role=_whose(rule, whose))


def _whose(rule: str, text: Json) -> str | None:
    """Read ``member`` or ``role:ROLE``."""
    if text == "member":
        return None
    if type(text) is str and text.startswith("role:") and text[5:] in ROLES:
        return text[5:]
    raise InputError("policy.malformed", rule=rule[:64])
