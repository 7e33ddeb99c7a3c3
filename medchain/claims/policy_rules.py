"""What an insurer's policies ask of a claim: statements that hospitals make, and show nothing for.

Keeps true: what is asked is of what the claim cites there, and no more than a hospital answers. Pure. Trusts the
settings.
Source: `docs/spec/claim-case.md` 6; `docs/spec/claim-disclosure.md` 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from medchain.ledger.citation import AGE, CODE, MAX_ASKS, STAY, Ask, type_of
from medchain.node.config import PolicyRules

NAMES: Final = frozenset({AGE, CODE, STAY})
"""Names of the statements that rules ask for."""


def asks_of(rules: PolicyRules, cited: Iterable[str], first_day: str) -> list[Ask]:
    """Tell what is asked of a hospital.

    Args:
        rules: of this insurer.
        cited: references ``Type/id`` there.
        first_day: of the services, ``YYYY-MM-DD``.

    Returns:
        At most `MAX_ASKS`, as they are sorted.
    """
    named = sorted(set(cited))
    asks = [Ask.age(first_day, rules.age)] if rules.age else []
    if rules.stay_days:
        asks += [Ask.stay(one, rules.stay_days) for one in named if type_of(one) == "Encounter"]
    if rules.codes:
        asks += [Ask.code(one, rules.codes) for one in named if type_of(one) == "Condition"]
    return sorted(asks, key=lambda one: one.order)[:MAX_ASKS]
