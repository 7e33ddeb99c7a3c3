"""A claim from the question to the payment while the patient waits at the counter: each step once, and timed.

Ask the patient, wait for the tap, gather and judge, reserve, settle. Keeps true: nothing is reserved or paid on a
verdict that is not green, or not of now, nor while a dispute about the claim is open, or a service for electronic
invoices doubts its invoice; what was done before is not done again, so that who tries again goes on where it ended.
Trusts the daemon, which looks at it once more before it acts, and callers for what the patient is told as the reason.
Source: `docs/spec/claim-case.md`; `docs/spec/consent.md` D21.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from medchain.claims.case_content import Status, is_for_a_person
from medchain.claims.case_desk import FOR_A_PERSON
from medchain.claims.cases import Case, CaseClient
from medchain.encoding import as_list, as_object
from medchain.errors import ConflictError, UnavailableError
from medchain.node.exchange_client import FOR_CLAIM, Local
from medchain.node.peers import Limits

WAIT_S: Final = 600
"""How long the patient is waited for, in seconds."""

_LOOK_S: Final = 0.5
_QUICK: Final = Limits(timeout_s=15.0)


class Step(StrEnum):
    """What is done, in this order."""

    ASKED = "asked"
    """The patient was asked for a permission for exactly this claim."""

    PERMITTED = "permitted"
    """The patient has permitted it, and the hospital lets this insurer ask."""

    JUDGED = "judged"
    """The evidence was gathered and judged."""

    RESERVED = "reserved"
    """The invoice is reserved on the ledger."""

    SETTLED = "settled"
    """It is settled there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an insurer wants at the counter.

    Attributes:
        reason: why, in words for the patient.
        person: who asks, in words; may be empty.
        hospital: of whose records; empty for who provided the services.
        days: for how long the permission is asked, 1 to 30.
        wait_s: how long the patient is waited for.
        is_again: whether the patient is asked once more, such as after a no, of which nobody is told.
    """

    reason: str
    person: str = ""
    hospital: str = ""
    days: int = 7
    wait_s: float = WAIT_S
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """How far it came.

    Attributes:
        case: as it is now.
        steps: each step that was taken, and how many seconds it took.
    """

    case: Case
    steps: tuple[tuple[Step, float], ...]

    @property
    def is_settled(self) -> bool:
        """Whether it was paid."""
        return self.case.get("status") == Status.SETTLED

    @property
    def seconds(self) -> float:
        """All of it, with the patient's own time."""
        return sum(taken for _, taken in self.steps)


class _Taken:
    """A case on its way, and the steps that were taken."""

    __slots__ = ("_now", "_steps", "_tell", "case")

    def __init__(self, case: Case, now: Callable[[], float], tell: Callable[[Step, float], None]) -> None:
        """Begin with a case as it is."""
        self.case = case
        self._now = now
        self._tell = tell
        self._steps: list[tuple[Step, float]] = []

    def take(self, step: Step, act: Callable[[], Case]) -> None:
        """Take a step, and time it."""
        began = self._now()
        self.case = act()
        self._steps.append((step, self._now() - began))
        self._tell(*self._steps[-1])

    @property
    def done(self) -> Done:
        """How far it came."""
        return Done(self.case, tuple(self._steps))


class Counter:
    """Settles claims at the counter, through one node's daemon."""

    __slots__ = ("_cases", "_local", "_now", "_rest", "_tell")

    def __init__(
        self,
        local: Local,
        now: Callable[[], float],
        rest: Callable[[float], None],
        tell: Callable[[Step, float], None] = lambda _step, _seconds: None,
    ) -> None:
        """Prepare.

        Args:
            local: the insurer's daemon.
            now: gives seconds that only grow.
            rest: waits for so many seconds; a demo has the patient tap meanwhile.
            tell: told of each step once it is done.
        """
        self._local = local
        self._cases = CaseClient(local)
        self._now = now
        self._rest = rest
        self._tell = tell

    def judge(self, case_id: str, wanted: Wanted) -> Done:
        """Take a claim from where it is to a verdict of now; what is paid already is left as it is.

        Args:
            case_id: of the case.
            wanted: what is asked of the patient.

        Returns:
            How far it came.

        Raises:
            UnavailableError: ``case.waits`` for a patient who has not permitted it in time, or has said no: which of
                both it is nobody is told. A later try finds the permission. ``case.busy`` where the evidence is still
                being gathered.
            MedchainError: of `CaseClient`.
        """
        taken = _Taken(self._cases.show(case_id), self._now, self._tell)
        self._to_verdict(taken, wanted)
        return taken.done

    def settle(self, case_id: str, wanted: Wanted) -> Done:
        """Take a claim from where it is to its payment.

        Args:
            case_id: of the case.
            wanted: what is asked of the patient.

        Returns:
            How far it came: a verdict that is not green is for a person to look at, and nothing is reserved or paid on
            it; nor is what a person has refused, has asked the hospital about, or has reserved on another verdict. What
            was reserved on a green one before is judged anew before it is paid.

        Raises:
            MedchainError: as `judge`.
        """
        taken = _Taken(self._cases.show(case_id), self._now, self._tell)
        if taken.case["status"] == Status.REFUSED or taken.case["disputed"] or _is_a_persons(taken.case):
            return taken.done
        self._to_verdict(taken, wanted)
        try:
            self._pay(taken)
        except ConflictError as error:
            if error.code != FOR_A_PERSON:
                raise
            taken.case = self._cases.show(case_id)
        return taken.done

    def _to_verdict(self, taken: _Taken, wanted: Wanted) -> None:
        """Have the patient asked, and the evidence judged."""
        case_id = str(taken.case["id"])
        if taken.case["status"] == Status.SETTLED:
            return
        # Who has permitted it before it was reserved is not asked again: what has ended since the verdict says.
        if taken.case["status"] != Status.RESERVED and not self._is_permitted(taken.case, wanted):
            if wanted.is_again or not _is_asked(taken.case, wanted):
                taken.take(Step.ASKED, lambda: self._ask(case_id, wanted))
            taken.take(Step.PERMITTED, lambda: self._wait(taken.case, wanted))
        taken.take(Step.JUDGED, lambda: self._judge(case_id, wanted))

    def _pay(self, taken: _Taken) -> None:
        """Reserve and settle, unless a person must look; raises `ConflictError` where one has to since."""
        case_id = str(taken.case["id"])
        if taken.case["status"] == Status.SETTLED or is_for_a_person(taken.case):
            return
        if taken.case["status"] != Status.RESERVED:
            taken.take(Step.RESERVED, lambda: self._cases.reserve(case_id, is_unseen=True))
        taken.take(Step.SETTLED, lambda: self._cases.settle(case_id, is_unseen=True))

    def _ask(self, case_id: str, wanted: Wanted) -> Case:
        """Ask the patient."""
        return self._cases.ask(case_id, wanted.days, wanted.reason, person=wanted.person, hospital=wanted.hospital)

    def _judge(self, case_id: str, wanted: Wanted) -> Case:
        """Gather and judge; raises `UnavailableError` ``case.busy`` where that takes too long.

        Until it is done the case has the verdict before, and nothing is to be paid on that, nor where it failed: that
        is raised, with its code.
        """
        until = self._now() + wanted.wait_s
        case = self._cases.judge(case_id, is_fresh=True)
        while case.get("progress") is not None:
            if self._now() >= until:
                raise UnavailableError("case.busy")
            self._rest(_LOOK_S)
            case = self._cases.show(case_id)
        if case.get("failed") is not None:
            raise UnavailableError(str(case["failed"]))
        return case

    def _wait(self, case: Case, wanted: Wanted) -> Case:
        """Wait for the tap; raises `UnavailableError` ``case.waits``."""
        until = self._now() + wanted.wait_s
        while not self._is_permitted(case, wanted):
            if self._now() >= until:
                raise UnavailableError("case.waits")
            self._rest(_LOOK_S)
        return case

    def _is_permitted(self, case: Case, wanted: Wanted) -> bool:
        """Tell whether the hospital lets this insurer ask for exactly this claim, by what this node holds."""
        answer = as_object(self._local.call(FOR_CLAIM, {"claim": case["digest"]}, _QUICK))
        hospital = wanted.hospital or case["hospital"]
        return any(as_object(one).get("custodian") == hospital for one in as_list(answer["grants"]))


def _is_a_persons(case: Case) -> bool:
    """Tell whether a person has reserved a part on what nobody reserves unseen: that a person pays."""
    return case["status"] == Status.RESERVED and is_for_a_person(case)


def _is_asked(case: Case, wanted: Wanted) -> bool:
    """Tell whether the patient was asked already, for these records."""
    hospital = wanted.hospital or case["hospital"]
    return any(as_object(one).get("hospital") == hospital for one in as_list(case["asks"]))
