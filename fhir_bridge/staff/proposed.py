"""The page of what one of the staff has proposed, where another one confirms it or turns it down.

Keeps true: the second hand sees whom it is about and what would be done, and confirms with a session of its own; what
is done is what was shown. Trusts `Attesting` for who may, and each second hand for what it does.
Source: `docs/spec/smart.md` 30.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from flask import Blueprint, Response, request

from fhir_bridge.staff.attesting import Attested, Attesting, Confirmed, Proposal
from fhir_bridge.staff.counter import Counter
from medchain.store.accounts import Role
from medchain.web.pages import redirected
from medchain.web.session import SignedIn

_PLACE: Final = "/desk/proposed/<name>"
_CHECKED: Final = {Attested.DEATH: "certificate", Attested.DISPUTE: "guardians"}


class SecondHand(Protocol):
    """What is shown before two have confirmed something, and done then."""

    def preview(self, proposal: Proposal) -> Mapping[str, object]:
        """Word what would be done, for the template of its deed."""
        ...

    def confirmed(self, me: SignedIn, confirmed: Confirmed) -> Response:
        """Do it, and show what came of it."""
        ...


class ProposedPages:
    """The page of one node."""

    __slots__ = ("_attesting", "_counter", "_hands", "_site")

    def __init__(self, counter: Counter, attesting: Attesting, hands: Mapping[Attested, SecondHand]) -> None:
        """Use what the pages of the desk share, what waits, and what does each deed."""
        self._counter = counter
        self._attesting = attesting
        self._hands = hands
        self._site = counter.site.pages.site

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        return self._counter.blueprint("proposed", ((_PLACE, self.show, "GET"), (_PLACE, self.decide, "POST")))

    def show(self, name: str) -> Response:
        """Show what waits, to either of the two."""
        me = self._site.require(Role.DESK)
        proposal = self._attesting.find(name)
        first = self._attesting.proposer(proposal)
        return self._counter.site.pages.render(
            "staff/proposed.html",
            one=proposal,
            who=self._counter.identity(me, proposal.patient),
            first="" if first is None else first.display,
            is_own=proposal.account == me.account.id,
            time=self._counter.site.moment(proposal.time),
            check=_CHECKED.get(proposal.deed, "person"),
            preview=self._hands[proposal.deed].preview(proposal),
            form=self._counter.form(me),
        )

    def decide(self, name: str) -> Response:
        """Confirm what another one proposed, or turn it down."""
        me = self._counter.check_form()
        if request.form.get("step") != "confirm":
            self._attesting.drop(me, name)
            return redirected("/desk")
        with self._attesting.confirming(me, name) as confirmed:
            return self._hands[confirmed.proposal.deed].confirmed(me, confirmed)
