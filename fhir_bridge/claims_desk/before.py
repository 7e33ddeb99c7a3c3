"""A case before its evidence: what is to be done next, and the seven lines as far as they can be known already. Pure.

Keeps true: a line of which nothing is known is amber and says what it waits for, never red for want of a permission
that nobody has asked for. Trusts the daemon for the case.
Source: `docs/spec/claim-case.md` 3; `docs/adr/0087-a-claim-is-not-judged-before-the-patient-is-asked.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fhir_bridge.claims_desk.verdict_view import ShownLine, shown_lines
from medchain.claims.case_content import BEFORE_EVIDENCE, Status
from medchain.claims.claim_file import read_policy
from medchain.claims.outlook import known_alone
from medchain.encoding import Json, as_object, unbase64
from medchain.ledger.evidence.lines.consent import NOBODY
from medchain.ledger.evidence.verdict import ClaimVerdict
from medchain.web.pages import Pages

UNASKABLE: Final = "unaskable"
"""Next step of a case whose claim names no patient who could be asked."""

STEPS: Final = (*(one.value for one in BEFORE_EVIDENCE), UNASKABLE)
"""Next steps."""

_WAITING: Final = frozenset(BEFORE_EVIDENCE)


def next_step(status: str, *, can_ask: bool) -> str:
    """Tell what is to be done next with a case, one of `STEPS`; empty where that is for a person to decide.

    Args:
        status: of the case.
        can_ask: whether there is a patient who can be asked.
    """
    if status not in _WAITING:
        return ""
    return UNASKABLE if status == Status.NEW and not can_ask else status


def hospitals_of(case: Mapping[str, Json]) -> list[str]:
    """List the hospitals, by org_id, whose records the claim cites and whose patient it names."""
    named = as_object(case.get("patients"))
    return [org_id for org_id in sorted(as_object(case.get("cited"))) if named.get(org_id)]


def outlook(case: Mapping[str, Json], language: str, name: Callable[[str], str]) -> list[ShownLine]:
    """Show what is known before anybody was asked; arguments as of `shown_lines`."""
    policy = read_policy(case.get("policy"))
    return shown_lines(known_alone(unbase64(case.get("content")), policy), language, name)


def is_of_nobody(verdict: ClaimVerdict) -> bool:
    """Tell whether a verdict was made before any hospital had told anything."""
    return any(one.code == "consent.none" and one.arguments.get("hospital") == NOBODY for one in verdict.findings)


def insured(case: Mapping[str, Json], pages: Pages) -> str:
    """Word when the customer is insured; empty where that is not known."""
    policy, say = read_policy(case.get("policy")), pages.say
    if policy is None:
        return ""
    days = {name: pages.dated(day) for name, day in (("start", policy.start), ("end", policy.end)) if day is not None}
    which = "days" if len(days) > 1 else "from" if "start" in days else "until"
    said = say(f"claims.policy.{which}", **days) if days else ""
    return said + (say("claims.policy.waits", count=policy.waiting_days) if policy.waiting_days else "")
