"""The decision as a custodian's release needs it: fills `medchain.node.release_ports.ReleaseDecision`. Pure.

Keeps true: a release asks the same decision as every other access. Its `Question` and the decision's `Request` are two
types on purpose: the port says what a custodian knows, the decision what it needs, which is more than a release knows
(who acts, labels); the decision imports no floor that has files or clocks. Trusts the custodian for consents that are
in force.
Source: `docs/spec/release.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from consent.decision import Decision, Permit, Reason, Request, passes
from consent.directive import SUBJECT, LedgerDecision, compile_content
from consent.facts import facts_told
from consent.hiding import decide_hidden, hidden_by
from medchain.ledger.kinds.content import ANY_TYPE, Period
from medchain.node.release_ports import ConsentInForce, Question, Ruling


@dataclass(frozen=True, slots=True)
class DecisionRuling:
    """Decisions, as a custodian asks them record by record: one of the consents given must permit, and no hiding deny.

    Attributes:
        decisions: of those consents that permit something.
        denial: why nothing passes; None if something may.
        hidden: of what the patient hides.
    """

    decisions: tuple[LedgerDecision, ...]
    denial: str | None
    hidden: Decision

    @property
    def needs_content(self) -> bool:
        """Whether more matters of a record than its type."""
        return any(found.needs_content or not isinstance(self.hidden, Permit) for found in self.decisions)

    def passes(
        self, resource_type: str, span: Period | None, content: bytes | None, meant: Collection[str] = ()
    ) -> bool:
        """Tell whether a record may be read; what is not told of it passes no rule that asks for it."""
        record = facts_told(resource_type, span, content, meant)
        is_permitted = record.type == resource_type and any(found.passes(record) for found in self.decisions)
        return is_permitted and passes(self.hidden, record)


class ReleaseRules:
    """Decides requests for a release."""

    def rule(
        self, question: Question, given: Sequence[ConsentInForce], inside: Sequence[ConsentInForce] = ()
    ) -> Ruling:
        """Decide.

        Args:
            question: who asks for what.
            given: consents in force.
            inside: the patient's consents in force about the custodian alone, the hidings among them.

        Returns:
            The decision.
        """
        request = Request(
            now=question.time * 1_000_000,
            patient=SUBJECT,
            organization=f"Organization/{question.recipient}",
            groups=None,
            purpose=question.purpose,
            custodian=f"Organization/{question.custodian}",
        )
        found = [compile_content(item.content, item.key.hex(), str(item.version)).decide(request) for item in given]
        asked = [facts_told(None if name == ANY_TYPE else name, None, None) for name in question.resource_types]
        standing = [one for one in found if one.denial is None and any(one.may_pass(record) for record in asked)]
        hidden = decide_hidden(request, hidden_by(item.content for item in inside))
        if standing:
            return DecisionRuling(tuple(standing), None, hidden)
        reasons = [one.denial.reason.value for one in found if one.denial is not None]
        denial = min(reasons, default=Reason.NOT_PERMITTED.value if found else Reason.NONE.value)
        return DecisionRuling((), denial, hidden)
