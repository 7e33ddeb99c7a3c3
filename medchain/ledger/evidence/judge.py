"""The verdict of a claim: one function of a bundle's files, the same wherever it is computed.

Pure. Source: `docs/spec/claim-verdict.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from medchain.ledger.collection import Item
from medchain.ledger.evidence.checked import Checked, State, check_evidence
from medchain.ledger.evidence.document import parse_evidence
from medchain.ledger.evidence.lines.complete import complete
from medchain.ledger.evidence.lines.consent import consent
from medchain.ledger.evidence.lines.coverage import coverage
from medchain.ledger.evidence.lines.flags import flags
from medchain.ledger.evidence.lines.source import source
from medchain.ledger.evidence.lines.unaltered import unaltered
from medchain.ledger.evidence.lines.unclaimed import unclaimed
from medchain.ledger.evidence.verdict import ClaimVerdict, Finding, made_verdict
from medchain.ledger.listed import open_listed
from medchain.ledger.machine import StateLeaf
from medchain.tlog.checkpoint import Checkpoint

_LINES: Final[Sequence[Callable[[Checked], Iterator[Finding]]]] = (
    source,
    unaltered,
    complete,
    consent,
    unclaimed,
    coverage,
    flags,
)


def judge_claim(
    document: bytes, askers: bytes, items: Sequence[Item], state: StateLeaf, tree: Checkpoint
) -> ClaimVerdict:
    """Judge a claim.

    Args:
        document: ``evidence.json``, what the insurer gathered.
        askers: ``askers.json``, the members as the ledger lists them.
        items: what the bundle proves, in its order.
        state: the state leaf that is in the log.
        tree: the checkpoint of which it is the end.

    Returns:
        The verdict.

    Raises:
        InputError, VerificationError: as `parse_evidence`, `open_listed` and `check_evidence`: for what is signed or
            proven and does not hold. What is missing is a finding.
    """
    evidence, members = parse_evidence(document), open_listed(askers, state.map_root, tree)
    as_of = State(tree.size - 1, state.time)
    case = check_evidence(evidence, members, items, as_of)
    found = (finding for line in _LINES for finding in line(case))
    return made_verdict(evidence.claim, evidence.insurer, as_of.position, as_of.time, found)
