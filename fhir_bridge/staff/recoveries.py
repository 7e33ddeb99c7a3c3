"""The desk's pages of recoveries: a person who has lost all passkeys gets others, after a wait in which all are told.

Keeps true: a recovery is begun by two of the staff of another organisation than the one that enrolled, and carried out
by that one after the wait; the person alone makes the passkey, with a code that is shown once, and the person alone
cancels. Trusts the daemon for what is under way, and the kind's checks for who may.
Source: `docs/spec/smart.md` 30; `docs/spec/subject.md` 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from flask import Blueprint, Response

from consent.web.codes import RECOVER_PAGE, RECOVERY_CODE_S, Attestation, enrol_url, give_recovery_code
from consent.web.person import Person
from consent.web.site import QUICK, SLOW, organisation_name
from fhir_bridge.staff.attesting import Attested, Attesting, Confirmed, Proposal
from fhir_bridge.staff.counter import Counter
from medchain.encoding import Json, as_number, as_object, as_objects, unhex
from medchain.errors import ConflictError
from medchain.ledger.kinds.capacity import DEAD
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.subject_operations import OPEN_RECOVERIES
from medchain.store.accounts import Role
from medchain.web.deeds import Kind, by
from medchain.web.pages import redirected
from medchain.web.session import SignedIn

RECOVERIES: Final = "/desk/recoveries"
"""Where recoveries that are under way are listed."""


class RecoveryPages:
    """The pages of one node."""

    __slots__ = ("_attesting", "_counter", "_pages", "_site")

    def __init__(self, counter: Counter, attesting: Attesting) -> None:
        """Use what the pages of the desk share, and what waits for a second hand."""
        self._counter = counter
        self._pages = counter.site.pages
        self._site = counter.site.pages.site
        self._attesting = attesting

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        rows = (
            (RECOVERIES, self.under_way, "GET"),
            (f"{RECOVERIES}/<key>/carry-out", self.carry_out, "POST"),
            ("/desk/<case>/recovery", self.propose, "POST"),
        )
        return self._counter.blueprint("recoveries", rows)

    def propose(self, case: str) -> Response:
        """Propose a recovery, as the first of two."""
        me = self._counter.check_form()
        attended, method = self._counter.identified(me, case)
        person = self._counter.enrolled(attended)
        check_recoverable(person, self._site.org_id)
        terms: Mapping[str, Json] = {"method": method, "subject": person.subject.hex()}
        made = self._attesting.propose(me, Attested.RECOVERY, attended.who.id, terms)
        return redirected(f"/desk/proposed/{made.id}")

    def preview(self, proposal: Proposal) -> dict[str, object]:
        """Word what the second hand confirms."""
        return {"method": self._pages.say(f"method.{proposal.terms.get('method')}")}

    def confirmed(self, me: SignedIn, confirmed: Confirmed) -> Response:
        """Give the code with which the person makes the passkey."""
        proposal, now = confirmed.proposal, self._site.clock()
        who = self._counter.identity(me, proposal.patient)
        subject, method = (str(proposal.terms.get(name)) for name in ("subject", "method"))
        given = Attestation(proposal.patient, subject, method, confirmed.staff)
        code = give_recovery_code(self._site.accounts, given, now)
        url = enrol_url(self._site.origins, self._counter.site.genesis.rp_id, code, RECOVER_PAGE)
        until = self._counter.site.moment(now + RECOVERY_CODE_S)
        return self._pages.render("staff/recovery_code.html", who=who, url=url, until=until)

    def under_way(self) -> Response:
        """List the recoveries that are under way, as far as this node holds them, those that end first at the top."""
        me = self._site.require(Role.DESK)
        answer = self._counter.site.local.call(OPEN_RECOVERIES, {}, QUICK)
        rows = as_objects(as_object(answer).get("recoveries"))
        names = self._counter.organisations()
        return self._pages.render("staff/recoveries.html", rows=[self._row(me, row, names) for row in rows])

    def carry_out(self, key: str) -> Response:
        """Carry out a recovery of a patient whom this organisation enrolled; final when the page answers."""
        me = self._counter.check_form()
        recovery = unhex(key, HASH_BYTES).hex()
        with self._site.deeds.doing(by(me.account, Kind.CARRYING_OUT, subject=recovery)):
            self._counter.site.local.call("recovery.carry-out", {"recovery": recovery}, SLOW)
        return redirected(RECOVERIES)

    def _row(self, me: SignedIn, row: Mapping[str, Json], names: Json) -> dict[str, object]:
        """Word a recovery."""
        moment, opens = self._counter.site.moment, as_number(row.get("carry_out_from"))
        is_own = row.get("enroller") == self._site.org_id
        return {
            "key": str(row.get("key")),
            "operation": str(row.get("operation")),
            "name": self._counter.name_of(me, unhex(row.get("subject"), HASH_BYTES)),
            "by": organisation_name(names, str(row.get("by"))),
            "method": self._pages.say_or(f"method.{row.get('method')}", str(row.get("method"))),
            "announced": moment(as_number(row.get("announced"))),
            "opens": moment(opens),
            "enroller": organisation_name(names, str(row.get("enroller"))),
            "tellers": [organisation_name(names, one) for one in _texts(row.get("custodians"))],
            "told": self._told(row),
            "form": self._counter.form(me),
            "is_due": is_own and opens <= self._site.clock(),
            "is_own": is_own,
        }

    def _told(self, row: Mapping[str, Json]) -> str:
        """Tell how far the person was told here: ``seen``, ``sent``, ``undelivered`` or ``waiting``."""
        answer = self._counter.site.local.call("notices.list", {"subjects": [row.get("subject")]}, QUICK)
        notices = as_objects(as_object(answer).get("notices"))
        mine = [one for one in notices if one.get("object") == row.get("key")]
        if any(one.get("acknowledged") is not None for one in mine):
            return "seen"
        if any(one.get("sent") is not None for one in mine):
            return "sent"
        return "undelivered" if any(one.get("undelivered") for one in mine) else "waiting"


def check_recoverable(person: Person, org_id: str) -> None:
    """See that this organisation can begin a recovery; raises `ConflictError` ``recovery.second``, ``.dead``."""
    if person.enroller == org_id:
        raise ConflictError("recovery.second")
    if person.standing == DEAD:
        raise ConflictError("recovery.dead")


def _texts(value: Json) -> Sequence[str]:
    """Read a list of names."""
    return [str(one) for one in value] if isinstance(value, list) else []
