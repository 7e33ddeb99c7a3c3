"""The decision as a custodian's release needs it: fills `medchain.node.release_ports.ReleaseDecision`. Pure.

Keeps true: a release asks the same decision as every other access. Its `Question` and the decision's `Request` are two
types on purpose: the port says what a custodian knows, the decision what it needs, which is more than a release knows
(who acts, labels); the decision imports no floor that has files or clocks. Trusts the custodian for consents that are
in force.
Source: `docs/spec/release.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consent.decision import Decision, Deny, Filter, Given, Request, decide, passes
from medchain.node.release_ports import ConsentInForce, Question, Ruling


@dataclass(frozen=True, slots=True)
class DecisionRuling:
    """A decision, as a custodian asks it record by record.

    Attributes:
        decision: from `consent.decision.decide`.
    """

    decision: Decision

    @property
    def denial(self) -> str | None:
        """Why nothing passes; None if something may."""
        return self.decision.reason if isinstance(self.decision, Deny) else None

    @property
    def limits_dates(self) -> bool:
        """Whether it matters when a record's event was."""
        return isinstance(self.decision, Filter) and self.decision.data_period is not None

    def passes(self, resource_type: str, date: int | None) -> bool:
        """Tell whether a record of a type and an event's date (Unix seconds) may be read."""
        return passes(self.decision, resource_type, date)


class ReleaseRules:
    """Decides requests for a release."""

    def rule(self, question: Question, given: Sequence[ConsentInForce]) -> Ruling:
        """Decide.

        Args:
            question: who asks for what.
            given: consents in force.

        Returns:
            The decision.
        """
        request = Request(
            question.custodian, question.recipient, question.purpose, question.time, question.resource_types
        )
        return DecisionRuling(decide(request, [Given(item.key, item.version, item.content) for item in given]))
