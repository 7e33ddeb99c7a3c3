"""What may be seen of a patient at the custodian itself: by its own staff and systems, and by the patient. Pure.

Treatment inside the custodian needs no permission of the patient (design section 7), so the custodian's policy stands
beside the patient's consents as one that permits; a deny wins over it as it does over any permit (D6). A consent is the
patient's word about others: from the patient, and from who acts for the patient, it keeps only what it says of them by
name. Keeps true: the decision is that of `consent.decision`, with nothing added but that policy; no consent opens
anything here, since all is open that none denies. Trusts the caller for the consents being those in force, and for who
asks being who it says.
Source: `docs/spec/consent.md` C1 to C4; ADR 0071.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Final

from consent.decision import MAX_RULES, PERMIT, SILENT, Decision, Directive, Request, Rule, compile_consent, decide
from medchain.dates import span_of

POLICY: Final = "custodian"
"""Id of the custodian's own policy in decisions."""

OWN: Final = compile_consent(
    {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "provision": {"type": "permit"},
    },
    consent_id=POLICY,
    any_patient=True,
)
"""The custodian's policy for its own callers: permitted, unless a consent denies."""


def decide_inside(request: Request, directives: Sequence[Directive]) -> Decision:
    """Decide what the custodian's own callers may see of a patient.

    Args:
        request: who asks, for what, when.
        directives: consents of the patient in force.

    Returns:
        The decision, of which the custodian's policy is one basis (`POLICY`).
    """
    return decide(request, (OWN, *directives))


def decide_own(request: Request, directives: Sequence[Directive]) -> Decision:
    """Decide what a patient may see of what is its own, or who acts for it.

    Args:
        request: who asks, as a person alone: of no organisation.
        directives: as for `decide_inside`.

    Returns:
        As `decide_inside`, of what the consents say of actors; one that cannot be read may say it of this one.
    """
    return decide(request, (OWN, *(_of_actors(one) for one in directives)))


def _of_actors(directive: Directive) -> Directive:
    """Leave of a consent what it says of actors whom it names."""
    if not directive.is_readable:
        return directive
    return replace(directive, root=_named(directive.root), base=None)


def _named(rule: Rule) -> Rule:
    """Silence a rule that names no actor, as far as the rules below it name none either.

    What bounds these bounds them still: all tests of the rule but, of a root that permits, those of the record (D5).
    """
    if rule.has_actor:
        return rule
    data = None if rule.is_root and rule.effect == PERMIT else rule.data
    return replace(rule, effect=SILENT, data=data, children=tuple(map(_named, rule.children)))


def edges(consent: object, zone: tzinfo) -> frozenset[int]:
    """List the moments at which what a consent says may change, microseconds since 1970.

    Args:
        consent: as for `consent.decision.compile_consent`.
        zone: of dates without one.

    Returns:
        Ends of the periods of its provisions, however deep; a decision holds between two of them.
    """
    return frozenset(_edges(consent, zone))


def _edges(consent: object, zone: tzinfo) -> Iterator[int]:
    """List them."""
    waiting, left = [consent["provision"]] if isinstance(consent, dict) and "provision" in consent else [], MAX_RULES
    while waiting and left:
        provision, left = waiting.pop(), left - 1
        if not isinstance(provision, dict):
            continue
        period, inside = provision.get("period"), provision.get("provision")
        given = period if isinstance(period, dict) else {}
        for name in ("start", "end"):
            text = given.get(name)
            yield from (span_of(text, zone) or ()) if isinstance(text, str) else ()
        waiting += inside if isinstance(inside, list) else []
