"""What an insurer's policies ask of a claim: statements that hospitals make, and show nothing for.

Keeps true: what is asked is of what the claim cites there, and no more than a hospital answers; what it did not answer
as it is asked now, by old rules, with other numbers or not at all, is not known, and so is no yes. Pure. Trusts the
settings.
Source: `docs/spec/claim-case.md` 6; `docs/spec/claim-disclosure.md` 2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from medchain.ledger.citation import AGE, CODE, MAX_ASKS, STAY, Ask, type_of
from medchain.ledger.evidence.statements import Fact
from medchain.node.config import PolicyRules

# Of which type of record a statement is.
_ABOUT: Final = {CODE: "Condition", STAY: "Encounter"}


def asks_of(rules: PolicyRules, cited: Iterable[str], first_day: str) -> list[Ask]:
    """Tell what is asked of a hospital.

    Args:
        rules: of this insurer.
        cited: references ``Type/id`` there.
        first_day: of the services, ``YYYY-MM-DD``.

    Returns:
        At most `MAX_ASKS`, as they are sorted.
    """
    return _asks(rules, cited, first_day)[:MAX_ASKS]


def answered(rules: PolicyRules, cited: Iterable[str], first_day: str, facts: Collection[Fact]) -> list[Fact]:
    """Tell what a hospital says of all that is asked of it now, also of what is more than it answers.

    Args:
        rules: as of `asks_of`.
        cited: the same.
        first_day: the same; empty where the claim says no day: then that counts of which the hospital was asked.
        facts: what the hospital said, of whatever.

    Returns:
        One for each, sorted; of what it did not say, that it is not known.
    """
    said = {one.order: one for one in facts}
    day = first_day or next((str(one.arguments["day"]) for one in facts if one.name == AGE), "")
    return [said.get(one.order, Fact(one.name, dict(one.arguments), None)) for one in _asks(rules, cited, day)]


def unasked(rules: PolicyRules, cited: Iterable[str]) -> list[str]:
    """Tell which statements the rules want of records of a type of which a claim cites none at all.

    Who would rather not be asked could leave these out.

    Args:
        rules: as of `asks_of`.
        cited: ``TYPE/ID`` of the records that the claim cites of all hospitals.

    Returns:
        Names of the statements, sorted.
    """
    types, wanted = {type_of(one) for one in cited}, {CODE: bool(rules.codes), STAY: bool(rules.stay_days)}
    return [name for name, about in sorted(_ABOUT.items()) if wanted[name] and about not in types]


def _asks(rules: PolicyRules, cited: Iterable[str], first_day: str) -> list[Ask]:
    """List all that the rules ask, sorted."""
    named = sorted(set(cited))
    asks = [Ask.age(first_day, rules.age)] if rules.age else []
    if rules.stay_days:
        asks += [Ask.stay(one, rules.stay_days) for one in named if type_of(one) == _ABOUT[STAY]]
    if rules.codes:
        asks += [Ask.code(one, rules.codes) for one in named if type_of(one) == _ABOUT[CODE]]
    return sorted(asks, key=lambda one: one.order)
