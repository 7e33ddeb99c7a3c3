"""The decision as a custodian's release needs it: fills `medchain.node.release_ports.ReleaseDecision`. Pure.

Keeps true: a release asks the same decision as every other access. Its `Question` and the decision's `Request` are two
types on purpose: the port says what a custodian knows, the decision what it needs, which is more than a release knows
(who acts, labels); the decision imports no floor that has files or clocks. Trusts the custodian for consents that are
in force.
A consent for one claim permits its disclosure alone: no record of it whole, and nothing for another claim.
Source: `docs/spec/release.md`; `docs/spec/consent.md` D21.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from consent.decision import Decision, Permit, Reason, Request, passes
from consent.directive import SUBJECT, LedgerDecision, compile_content
from consent.facts import facts_told
from consent.hiding import decide_hidden, hidden_by
from consent.receipt import receipt
from medchain.encoding import Json, digest
from medchain.ledger.kinds.content import ANY_TYPE, Period
from medchain.ledger.one_claim import OneClaim, countable, one_claim_in
from medchain.node.release_ports import ConsentInForce, ConsentRuling, Question

GENERAL: Final = "general"
"""Rule of a receipt: a consent that permits the records whole."""

MANDATE: Final = "mandate"
"""Rule of a receipt: the law demands it."""

ONE_CLAIM: Final = "one-claim"
"""Rule of a receipt: a consent for this one claim."""


@dataclass(frozen=True, slots=True)
class Ruled:
    """What one consent comes to.

    Attributes:
        consent: which.
        decision: on the records that are asked for.
        counting: on what may be counted where a claim's statements are derived.
        one: for which claim it is, if for one alone.
        other: whether it is for one claim and that is not what is asked for: then it denies.
    """

    consent: ConsentInForce
    decision: LedgerDecision
    counting: LedgerDecision
    one: OneClaim | None
    other: bool

    @property
    def denial(self) -> Reason | None:
        """Why nothing passes, None if something may."""
        if self.other:
            return Reason.CLAIM
        return None if self.decision.denial is None else self.decision.denial.reason


@dataclass(frozen=True, slots=True)
class DecisionRuling:
    """Decisions, as a custodian asks them record by record: one of the consents given must permit, and no hiding deny.

    Attributes:
        standing: those consents that permit something.
        denial: why nothing passes; None if something may.
        hidden: of what the patient hides.
        time: of the decision, Unix seconds.
    """

    standing: tuple[Ruled, ...]
    denial: str | None
    hidden: Decision
    time: int

    @property
    def needs_content(self) -> bool:
        """Whether more matters of a record than its type."""
        return any(one.decision.needs_content or not isinstance(self.hidden, Permit) for one in self.standing)

    def passes(
        self, resource_type: str, span: Period | None, content: bytes | None, meant: Collection[str] = ()
    ) -> bool:
        """Tell whether a record may be read; what is not told of it passes no rule that asks for it."""
        return self._passes([one.decision for one in self.standing], resource_type, span, content, meant)

    def counts(
        self, resource_type: str, span: Period | None, content: bytes | None, meant: Collection[str] = ()
    ) -> bool:
        """Tell whether a record may be counted where a claim's statements are derived."""
        return self._passes([one.counting for one in self.standing], resource_type, span, content, meant)

    def receipt(self) -> dict[str, Json] | None:
        """Write which consent was decided by, and a hash by which the decision can be repeated; None without one."""
        if not self.standing:
            return None
        ruled = self.standing[0]
        receipts = sorted(receipt(one) for one in ruled.decision.decisions)
        return {
            "consent": ruled.consent.key.hex(),
            "receipt": digest("medchain/decision-receipts/v1", *receipts).hex(),
            "rule": _rule_of(ruled.consent.content, ruled.one),
            "time": self.time,
            "version": ruled.consent.version,
        }

    def _passes(
        self,
        decisions: Sequence[LedgerDecision],
        resource_type: str,
        span: Period | None,
        content: bytes | None,
        meant: Collection[str],
    ) -> bool:
        """Ask some decisions of a record, and what the patient hides."""
        record = facts_told(resource_type, span, content, meant)
        is_permitted = record.type == resource_type and any(found.passes(record) for found in decisions)
        return is_permitted and passes(self.hidden, record)


class ReleaseRules:
    """Decides requests for a release."""

    def rule(
        self, question: Question, given: Sequence[ConsentInForce], inside: Sequence[ConsentInForce] = ()
    ) -> ConsentRuling:
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
        found = [_ruled(item, request, question.claim) for item in given]
        asked = [facts_told(None if name == ANY_TYPE else name, None, None) for name in question.resource_types]
        standing = [
            one for one in found if one.denial is None and any(one.decision.may_pass(record) for record in asked)
        ]
        hidden = decide_hidden(request, hidden_by(item.content for item in inside))
        if standing:
            return DecisionRuling(tuple(standing), None, hidden, question.time)
        reasons = [one.denial.value for one in found if one.denial is not None]
        denial = min(reasons, default=Reason.NOT_PERMITTED.value if found else Reason.NONE.value)
        return DecisionRuling((), denial, hidden, question.time)


def _ruled(consent: ConsentInForce, request: Request, claim: bytes | None) -> Ruled:
    """Ask one consent; only one that is for a claim is told that it is asked for that."""
    one = one_claim_in(consent.content)
    is_for_it = one is not None and one.digest == claim
    asked = replace(request, action=one.digest.hex()) if one is not None and is_for_it else request
    decision = _decided(consent, consent.content, asked)
    counting = decision if one is None else _decided(consent, countable(consent.content, one), asked)
    return Ruled(consent, decision, counting, one, one is not None and not is_for_it)


def _decided(consent: ConsentInForce, content: Mapping[str, Json], asked: Request) -> LedgerDecision:
    """Ask what a content says."""
    return compile_content(content, consent.key.hex(), str(consent.version)).decide(asked)


def _rule_of(content: Mapping[str, Json], one: OneClaim | None) -> str:
    """Name by what a decision was made."""
    if one is not None:
        return ONE_CLAIM
    return MANDATE if "basis" in content else GENERAL
