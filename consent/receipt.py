"""What is told of a decision: its receipt, and what is left of its rules in the form of IHE PCF's tokens. Pure.

Keeps true: who has the same consents and the same request gets the same receipt; a token lets no more flow than the
decision does. Trusts the decision.
Source: `docs/spec/consent.md` D16, D17; IHE PCF 1.1, changes to ITI-71 (3.71.4.2.2.1.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from consent.decision import DENY, PERMIT, Applying, Decision, Deny, Filter, Node, Resource
from medchain.encoding import Json, canonical, digest


def receipt(decision: Decision, resource: Resource | None = None) -> bytes:
    """Hash all that a decision looked at and what it came to, so that it can be repeated and compared.

    Args:
        decision: from `decide`, or from `judge` together with the record.
        resource: the record, if it is about one.

    Returns:
        32 bytes (D17).
    """
    case = decision.case
    request = case.request
    given = sorted((one.id, one.version, one.digest.hex()) for one in case.directives)
    answer: dict[str, Json] = {"decision": type(decision).__name__.lower()}
    if not isinstance(decision, Filter):
        answer |= {"basis": decision.basis, "path": decision.path, "version": decision.version}
    document: dict[str, Json] = {
        "action": request.action,
        "actor": request.actor,
        "aliases": list[Json](sorted(request.aliases)),
        "answer": answer,
        "consents": [list(row) for row in given],
        "custodian": request.custodian,
        "groups": None if request.groups is None else list[Json](sorted(request.groups)),
        "now": str(request.now),
        "organization": request.organization,
        "patient": request.patient,
        "policy": case.policy.version,
        "purpose": request.purpose,
        "purpose_system": request.purpose_system,
        "record": None if resource is None else resource.reference,
        "role": request.role,
    }
    if request.unsure:
        document["unsure"] = list[Json](sorted(request.unsure))
    return digest("medchain/decision-receipt/v3", canonical(document))


def residual(decision: Decision) -> tuple[tuple[str, tuple[Mapping[str, object], ...]], ...]:
    """Write what is left to be enforced in the form of IHE PCF's token (ITI-71, extension ``ihe_pcf``, ``residual``).

    Args:
        decision: from `decide`.

    Returns:
        For each consent that decides its id and rules; a record flows only if the last rule that matches it, in each
        list, is no ``forbid``. What the form cannot say is left out of a permit and makes a forbid wider, so that no
        more flows than `judge` permits (D16).
    """
    if isinstance(decision, Deny):
        return ((decision.basis, ({"type": "forbid"},)),)
    speaking = decision.case.speaking
    given = [one for one in speaking if one.root is not None or one.base is not None]
    has_permit = any(node is not None and node.rule.effect == PERMIT for one in given for node in (one.root, one.base))
    return tuple(sorted(((one.directive.id, tuple(_tokens(one, has_permit=has_permit))) for one in given), key=str))


def _tokens(one: Applying, *, has_permit: bool) -> Iterator[Mapping[str, object]]:
    """Write one consent's list: what its root says, all permits below it, then all forbids."""
    root = one.root or one.base
    if root is None or not (root.is_certain and one.is_certain):
        yield {"type": "forbid"}
        return
    effect, terms = root.rule.effect, root.rule.terms
    if effect == PERMIT and (terms is None or terms):
        yield {"type": "forbid"}
        if terms is not None:
            yield {"type": "permit", **terms}
    elif effect != PERMIT:
        # Where other consents permit, a denial forbids what it names; alone, all but what is permitted below it.
        yield {"type": "forbid", **(terms or {} if effect == DENY and has_permit else {})}
    if effect == PERMIT or terms is not None:
        yield from _permits(root, {} if effect == PERMIT else terms or {})
    yield from _forbids(root)


def _permits(node: Node, outer: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """List the permits below a rule that the form can say."""
    for child in node.children:
        terms = child.rule.terms
        if terms is not None and child.is_certain and not outer.keys() & terms.keys():
            within = {**outer, **terms}
            if child.rule.effect == PERMIT:
                yield {"type": "permit", **within}
            yield from _permits(child, within)


def _forbids(node: Node) -> Iterator[Mapping[str, object]]:
    """List the denies below a rule."""
    for child in node.children:
        if child.rule.effect == DENY:
            yield {"type": "forbid", **(child.rule.terms or {})}
        yield from _forbids(child)
