"""The desk's pages for people without a phone: enrolment and permissions on paper, which two of the staff attest.

Keeps true: nothing on paper takes effect before a second hand has seen the same words; what is proposed is what was
shown and printed; a permission on paper never goes to this organisation itself, and covers what is named and nothing
sensitive that is not; who does not decide alone has one guardian who signs, unless the guardians disagree. Trusts two
of the staff for what was signed on the paper: no passkey says so, and every page that shows it says that.
Source: `docs/spec/smart.md` 31; `docs/spec/consent.md` 6; `docs/spec/subject.md` 3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict

from consent.web.kinds import KINDS, SENSITIVE
from consent.web.offer import choice_of, choices_of, terms_of
from consent.web.person import Person
from consent.web.signing import let_in
from consent.web.site import QUICK, SLOW
from fhir_bridge.staff.attesting import Attested, Attesting, Confirmed, Proposal
from fhir_bridge.staff.counter import Attended, Counter, Identity
from medchain.encoding import Json, as_object, unhex
from medchain.errors import ConflictError, InputError
from medchain.ledger.kinds.capacity import CONSENT, DEAD, GUARDIAN
from medchain.ledger.kinds.content import ANY_TYPE, DAY_S
from medchain.ledger.transaction import HASH_BYTES
from medchain.store.accounts import Role
from medchain.web.pages import redirected
from medchain.web.session import SignedIn

PURPOSES: Final = ("TREAT", "HPAYMT", "COVERAGE", "HRESCH", "PATRQT")
"""What a permission on paper may be for."""

LONGEST_DAYS: Final = 365
"""How long a permission on paper lasts at most."""


@dataclass(frozen=True, slots=True)
class Paper:
    """A permission as it stands on the paper.

    Attributes:
        recipient: org_id of who may see.
        purpose: purpose-of-use code.
        kinds: kinds of records, sorted.
        sensitive: sensitive kinds that are permitted as well, sorted.
        days: for how long.
        guardian: map key of the subject of who signs in the person's stead, hexadecimal; empty for nobody.
    """

    recipient: str
    purpose: str
    kinds: tuple[str, ...]
    sensitive: tuple[str, ...]
    days: int
    guardian: str = ""

    def to_json(self) -> dict[str, Json]:
        """Write it, as what waits for a second hand."""
        return {
            "days": str(self.days),
            "guardian": self.guardian,
            "kind": list(self.kinds),
            "purpose": self.purpose,
            "recipient": self.recipient,
            "sensitive": list(self.sensitive),
        }

    def to_terms(self, org_id: str, subject: str, now: int) -> dict[str, Json]:
        """Write it as terms of a consent; arguments as of `consent.web.offer.terms_of`."""
        ask = _ask(self.recipient, self.purpose)
        choice = choice_of(ask, self.kinds, self.sensitive, str(self.days))
        terms = terms_of(ask, choice, org_id, self.guardian or subject, now)
        return {**terms, "acting_for": subject} if self.guardian else terms


def read_paper(
    form: Mapping[str, Sequence[str]], recipients: Collection[str], guardians: Collection[str] = ()
) -> Paper:
    """Read a permission from a form, or from what waits.

    Args:
        form: values by name.
        recipients: org_ids of who may be named.
        guardians: map keys, hexadecimal, of whom one signs in the person's stead; none where the person signs.

    Returns:
        The permission.

    Raises:
        InputError: ``paper.recipient``, ``paper.purpose``, ``paper.guardian``, ``patient.choice``.
    """
    recipient, purpose, days, guardian = (
        next(iter(form.get(name, ())), "") for name in ("recipient", "purpose", "days", "guardian")
    )
    if guardian not in (guardians or ("",)):
        raise InputError("paper.guardian")
    if recipient not in recipients:
        raise InputError("paper.recipient")
    if purpose not in PURPOSES:
        raise InputError("paper.purpose")
    choice = choice_of(_ask(recipient, purpose), form.get("kind", ()), form.get("sensitive", ()), days)
    if not choice.kinds <= KINDS.keys():
        raise InputError("patient.choice")
    kinds, sensitive = tuple(sorted(choice.kinds)), tuple(sorted(choice.sensitive))
    return Paper(recipient, purpose, kinds, sensitive, choice.days, guardian)


def _ask(recipient: str, purpose: str) -> dict[str, Json]:
    """Write what can be chosen on paper as an organisation would ask for it."""
    return {"asker": recipient, "days": LONGEST_DAYS, "purpose": purpose, "resource_types": [ANY_TYPE]}


class PaperEnrolment:
    """What two do who enrol a person without a passkey; fills `fhir_bridge.staff.proposed.SecondHand`."""

    __slots__ = ("_counter",)

    def __init__(self, counter: Counter) -> None:
        """Use what the pages of the desk share."""
        self._counter = counter

    def preview(self, proposal: Proposal) -> dict[str, object]:
        """Word what the second hand confirms."""
        return {"method": self._counter.site.pages.say(f"method.{proposal.terms.get('method')}")}

    def confirmed(self, me: SignedIn, confirmed: Confirmed) -> Response:
        """Enrol the person; final when this answers."""
        attended = self._counter.open(me, confirmed.proposal.patient)
        self._counter.check_new(attended)
        asked: Json = {
            "credentials": [],
            "custodians": [],
            "method": str(confirmed.proposal.terms.get("method")),
            "patient": attended.who.id,
            "staff": list(confirmed.staff),
        }
        self._counter.site.local.call("subject.enrol", asked, SLOW)
        return redirected(attended.place)


class PaperConsent:
    """What two do who attest a permission on paper; fills `fhir_bridge.staff.proposed.SecondHand`."""

    __slots__ = ("_counter",)

    def __init__(self, counter: Counter) -> None:
        """Use what the pages of the desk share."""
        self._counter = counter

    def preview(self, proposal: Proposal) -> dict[str, object]:
        """Word what the second hand confirms: what stands on the paper."""
        guardian = str(proposal.terms.get("guardian", ""))
        me = self._counter.site.pages.site.require(Role.DESK)
        named = {guardian: self._who(me, unhex(guardian, HASH_BYTES))} if guardian else {}
        return self.worded(self._paper(proposal, named), named)

    def confirmed(self, me: SignedIn, confirmed: Confirmed) -> Response:
        """Give the permission and let the recipient in; final when this answers."""
        local, site = self._counter.site.local, self._counter.site.pages.site
        attended = self._counter.open(me, confirmed.proposal.patient)
        person = self._counter.enrolled(attended)
        paper = self._paper(confirmed.proposal, self.guardians(me, person))
        terms = paper.to_terms(site.org_id, person.subject.hex(), site.clock())
        draft = local.call("consent.draft", terms, QUICK)
        text = as_object(draft).get("draft")
        done = local.call("consent.attest", {"draft": text, "staff": list(confirmed.staff)}, SLOW)
        let_in(local, str(done.get("key")) if isinstance(done, dict) else "")
        return redirected(attended.place)

    def guardians(self, me: SignedIn, person: Person) -> dict[str, Identity]:
        """Name those of whom one signs a paper in somebody's stead.

        Args:
            me: who asks.
            person: who permits.

        Returns:
            Who they are, by the map key of their subjects; nobody where the person decides alone.

        Raises:
            ConflictError: ``paper.disputed`` where the guardians disagree, of whom none permits alone then;
                ``paper.nobody`` where somebody does not decide alone, and nobody does in that person's stead.
        """
        if person.is_able:
            return {}
        if person.is_disputed:
            raise ConflictError("paper.disputed")
        rows = [one for one in person.delegations if one.role == GUARDIAN and one.is_in_force and CONSENT in one.may]
        found = {one.delegate.hex(): self._who(me, one.delegate) for one in rows if self._is_able(one.delegate)}
        if not found or person.standing == DEAD:
            raise ConflictError("paper.nobody")
        return found

    def _is_able(self, subject: bytes) -> bool:
        """Tell whether somebody (map key) decides for others."""
        found = self._counter.site.person_of((subject,))
        return found is not None and found.is_able

    def _who(self, me: SignedIn, subject: bytes) -> Identity:
        """Read who a guardian (map key) is, to be compared with a paper; raises `RefusedError`."""
        return self._counter.identity(me, self._counter.site.patient_of(subject))

    def worded(self, paper: Paper, guardians: Mapping[str, Identity]) -> dict[str, object]:
        """Word a permission; `guardians` names who may have signed it."""
        pages, now = self._counter.site.pages, self._counter.site.pages.site.clock()
        return {
            "recipient": self._counter.others().get(paper.recipient, paper.recipient),
            "purpose": self._counter.site.purpose(paper.purpose),
            "kinds": [pages.say(f"kind.{kind}") for kind in KINDS if kind in paper.kinds],
            "sensitive": [pages.say(f"sensitive.{kind}") for kind in SENSITIVE if kind in paper.sensitive],
            "withheld": [pages.say(f"sensitive.{kind}") for kind in SENSITIVE if kind not in paper.sensitive],
            "until": self._counter.site.day(now + paper.days * DAY_S),
            "days": paper.days,
            "guardian": guardians.get(paper.guardian),
        }

    def _paper(self, proposal: Proposal, guardians: Collection[str]) -> Paper:
        """Read what was proposed; `guardians` as of `read_paper`."""
        form = {
            name: [str(one) for one in value] if isinstance(value, list) else [str(value)]
            for name, value in proposal.terms.items()
        }
        return read_paper(form, self._counter.others(), guardians)


class PaperPages:
    """The pages of one node."""

    __slots__ = ("_attesting", "_consent", "_counter", "_pages", "_site")

    def __init__(self, counter: Counter, attesting: Attesting, consent: PaperConsent) -> None:
        """Use what the pages of the desk share, what waits for a second hand, and what words a permission."""
        self._attesting = attesting
        self._consent = consent
        self._counter = counter
        self._pages = counter.site.pages
        self._site = counter.site.pages.site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            ("/desk/<case>/enrolment", self.propose_enrolment, "POST"),
            ("/desk/<case>/paper", self.begin, "GET"),
            ("/desk/<case>/paper", self.draft, "POST"),
        )
        return self._counter.blueprint("paper", rows)

    def propose_enrolment(self, case: str) -> Response:
        """Propose to enrol a person without a passkey, as the first of two."""
        me = self._counter.check_form()
        attended, method = self._counter.identified(me, case)
        self._counter.check_new(attended)
        made = self._attesting.propose(me, Attested.ENROLMENT, attended.who.id, {"method": method})
        return redirected(f"/desk/proposed/{made.id}")

    def begin(self, case: str) -> Response:
        """Show an empty paper."""
        me = self._site.require(Role.DESK)
        return self._show(me, self._attended(me, case), MultiDict({"days": "30"}))

    def draft(self, case: str) -> Response:
        """Show what a paper would permit, or propose it as the first of two."""
        me = self._counter.check_form()
        attended = self._attended(me, case)
        try:
            guardians = self._consent.guardians(me, self._counter.enrolled(attended))
            paper = read_paper(request.form.to_dict(flat=False), self._counter.others(), guardians)
        except InputError as error:
            return self._show(me, attended, request.form, problem=error)
        if request.form.get("step") != "propose":
            return self._show(me, attended, request.form, paper=paper)
        made = self._attesting.propose(me, Attested.CONSENT, attended.who.id, paper.to_json())
        return redirected(f"/desk/proposed/{made.id}")

    def _attended(self, me: SignedIn, case: str) -> Attended:
        """Return whom a case is about; raises `NotFoundError` ``subject.unknown`` for who is not enrolled."""
        attended = self._counter.attended(me, case)
        self._counter.enrolled(attended)
        return attended

    def _show(
        self,
        me: SignedIn,
        attended: Attended,
        given: MultiDict[str, str],
        *,
        paper: Paper | None = None,
        problem: InputError | None = None,
    ) -> Response:
        """Show the paper, with what it would permit, or what is wrong with it."""
        say, guardians = self._pages.say, self._consent.guardians(me, self._counter.enrolled(attended))
        kinds, sensitive = given.getlist("kind"), given.getlist("sensitive")
        return self._pages.render(
            "staff/paper.html",
            200 if problem is None else 400,
            one=attended,
            given=given,
            recipients=self._counter.others(),
            purposes=[(code, self._counter.site.purpose(code)) for code in PURPOSES],
            kinds=[(kind, say(f"kind.{kind}"), kind in kinds) for kind in KINDS],
            sensitive=[(kind, say(f"sensitive.{kind}"), kind in sensitive) for kind in SENSITIVE],
            days=[(str(one), say("ask.days", days=one)) for one in choices_of(_ask("", ""))[1]],
            guardians=[(key, one.name) for key, one in guardians.items()],
            preview=None if paper is None else self._consent.worded(paper, guardians),
            problem="" if problem is None else self._pages.say_or(f"error.{problem.code}", problem.code),
            form=self._counter.form(me),
        )
