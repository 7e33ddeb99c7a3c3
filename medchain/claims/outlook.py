"""What can be known of a claim before anybody is asked: what the verdict's own rules find in the claim and the policy.

Keeps true: a finding is one that the verdict will have as well, unless a hospital shows more; what waits for patient or
hospital is not among them, so that nothing is held against a claim for want of what nobody has asked for. Pure.
Trusts nothing that is parsed.
Source: `docs/spec/claim-verdict.md` 2, 3; rows ``complete``, ``coverage``.
"""

from __future__ import annotations

from typing import Final

from medchain.ledger.evidence.checked import Checked, State
from medchain.ledger.evidence.claim_reading import read_claim
from medchain.ledger.evidence.document import Asked, Evidence, InsurancePolicy, Questioned
from medchain.ledger.evidence.lines.complete import complete
from medchain.ledger.evidence.lines.coverage import coverage
from medchain.ledger.evidence.verdict import Finding

# Others of the line say what no hospital has shown.
_OF_THE_CLAIM: Final = frozenset({"complete.items_differ", "complete.nothing_cited"})


def known_alone(content: bytes, policy: InsurancePolicy | None) -> tuple[Finding, ...]:
    """Find what a claim and a policy say by themselves.

    Args:
        content: the claim, FHIR JSON.
        policy: when the customer is insured; None where that is not known.

    Returns:
        Findings of the lines complete and coverage.

    Raises:
        InputError: ``evidence.claim``, ``fields.*`` for what is no claim.
    """
    evidence = Evidence(
        ledger=b"",
        insurer="",
        content=content,
        held=(),
        policy=policy,
        row=None,
        disclosures=(),
        question=Questioned(Asked.NONE),
    )
    case = Checked(evidence, read_claim(content), {}, {}, (), None, State(0, 0))
    return (*(one for one in complete(case) if one.code in _OF_THE_CLAIM), *coverage(case))
