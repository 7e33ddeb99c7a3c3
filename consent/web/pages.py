"""The patient's pages: what they show.

Keeps true: a patient sees what is about that patient, and nothing else; every page works without a script but where a
passkey is needed; what the ledger does not prove is not said (`docs/spec/patient-pages.md`, wording). Trusts
`consent.web.site` for who it is and `consent.web.view` for what is in force.
Source: `docs/spec/patient-pages.md`; WCAG 2.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from flask import Blueprint, Response, request

from consent.web import joint
from consent.web.acting import OWN, end_acting
from consent.web.concerns import ConcernPages
from consent.web.contacts import ContactPages
from consent.web.custody import CustodyPages
from consent.web.effect import (
    Offered,
    Shown,
    examples_of,
    opened,
    renewal_of,
    renewed_row,
    sensitive_count,
    sensitive_rows,
    unless_row,
)
from consent.web.family import FamilyPages
from consent.web.hiding import HidingPages
from consent.web.kinds import KINDS, OTHER, SENSITIVE, kinds_of
from consent.web.leave import LeavePages
from consent.web.looked import looked_at
from consent.web.offer import (
    Choice,
    KindPreview,
    choice_of,
    choices_of,
    kinds_within,
    passing_under,
    previewed,
    sensitive_in,
    terms_of,
)
from consent.web.one_claim import asked_claim, chosen_in, claim_in, claim_row, claim_values
from consent.web.proofs import ProofPages
from consent.web.receipt import consent_receipt
from consent.web.record import RecordPages, record_row
from consent.web.restoring import RestoringPages, is_attested
from consent.web.settings import SettingsPages
from consent.web.sign_in import sign_in_blueprint
from consent.web.signing import Signing, let_in
from consent.web.site import SLOW, Patient, PatientSite
from consent.web.view import (
    EMERGENCY,
    Event,
    Given,
    by_insurer,
    by_kind,
    by_organisation,
    find_given,
    given_of,
    people_in,
    sensitive_of,
)
from medchain.encoding import Json, canonical, unhex
from medchain.errors import AccessDeniedError, MedchainError, NotFoundError
from medchain.ledger.kinds.capacity import CONSENT, GUARDIAN, READ, STOP
from medchain.ledger.kinds.content import DAY_S, names
from medchain.ledger.object import map_key
from medchain.ledger.transaction import HASH_BYTES
from medchain.node import asking
from medchain.node.asking import AskClaim
from medchain.web.pages import attached, language, redirected
from medchain.web.routing import Caller, callers

PATIENT_ASSETS: Final = ("proof.js", "verify.js")
"""Files of these pages."""

WEEK_S: Final = 7 * DAY_S
"""What "this week" is: the last seven days."""

# What the patient has just done, and is told to be sure.
_ROUTINE: Final = frozenset({"consent.given", "hiding.stopped", "recovery.stopped", "stopped", "subject.enrol"})
_NOTICES: Final = 10
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_UNNAMED: Final = re.compile(r"Practitioner(?:Role)?/([A-Za-z0-9.-]{1,64})")


class PatientPages:
    """The pages of one node."""

    __slots__ = ("_signing", "_site")

    def __init__(self, site: PatientSite) -> None:
        """Use what the pages are made from."""
        self._site = site
        self._signing = Signing(site)

    def blueprints(self) -> Sequence[Blueprint]:
        """Make the routes."""
        blueprint = Blueprint("patient", __name__, template_folder="templates")
        for path, view, method in (
            ("/my", self.home, "GET"),
            ("/my/access", self.access, "GET"),
            ("/my/access/<key>", self.consent, "GET"),
            ("/my/access/<key>/stop", self.stop, "POST"),
            ("/my/access/<key>/withdraw", self.withdraw, "POST"),
            ("/my/access/<key>/open", self.open, "POST"),
            ("/my/access/<key>/receipt", self.receipt, "GET"),
            ("/my/asks/<name>", self.ask, "GET"),
            ("/my/asks/<name>", self.choose, "POST"),
            ("/my/notices/<name>", self.acknowledge, "POST"),
            ("/my/looked", self.looked, "GET"),
            ("/my/looked/proof", self.looks_proof, "GET"),
            ("/my/emergencies/<name>", self.object_to, "POST"),
            ("/my/verify", self.verify, "GET"),
        ):
            name = f"{view.__name__}-{method}".lower()
            blueprint.add_url_rule(path, name, callers(Caller.PUBLIC)(partial(view)), methods=[method])
        return (blueprint,)

    def home(self) -> Response:
        """Say first what matters: who looked this week, and what waits for the patient."""
        me = self._site.require()
        now = self._site.pages.site.clock()
        given = given_of(self._site.consents(me))
        events, is_whole = looked_at(self._site, me, given)
        asks = [row for row in self._site.asks(me) if row.get("answer") is None]
        week = [one for one in events if one.time >= now - WEEK_S]
        refused = [one for one in week if one.is_refused]
        # What the patient has not seen yet stays so: who acts for the patient is told of it by other notices.
        notices = self._site.notices(me) if me.acting is None else []
        is_restoring = is_attested(self._site, me)
        urgent = sum(str(row.get("kind")) not in _ROUTINE for row in notices)
        return self._site.render(
            "home.html",
            me,
            name=self._site.name_of(me),
            looked=people_in(week, now - WEEK_S),
            is_whole=is_whole,
            attention=len(asks) + urgent + is_restoring,
            is_restoring=is_restoring,
            is_guardian=me.acting is not None and me.acting.delegation.role == GUARDIAN,
            notices=[self._notice_row(row) for row in notices[:_NOTICES]],
            asks=[self._ask_row(me, row) for row in asks],
            refused=len(refused),
            living=sum(one.is_in_force for one in given),
            recent=[self._event_row(me, one, given) for one in week[:3]],
        )

    def acknowledge(self, name: str) -> Response:
        """Note that the patient has seen a notice."""
        me = self._site.check_form(OWN)
        self._site.acknowledge(me, name)
        return redirected("/my")

    def access(self) -> Response:
        """Show who can see what."""
        me = self._site.require()
        given, say = given_of(self._site.consents(me)), self._site.pages.say
        is_by_kind = request.args.get("by") == "kind"
        if is_by_kind:
            groups = [(say(f"kind.{kind}"), rows) for kind, rows in by_kind(given).items()]
        else:
            groups = [(self._site.organisation(me, org_id), rows) for org_id, rows in by_organisation(given).items()]
        return self._site.render(
            "access.html",
            me,
            is_by_kind=is_by_kind,
            groups=[(heading, [self._given_row(me, one) for one in rows]) for heading, rows in groups],
            ended=[self._given_row(me, one) for one in given if not one.is_in_force],
            may_stop=me.may(STOP),
        )

    def consent(self, key: str) -> Response:
        """Show one permission, with what was given under it and how to end it."""
        me = self._site.require()
        given = self._given(me, key)
        return self._site.render(
            "consent.html",
            me,
            given=self._given_row(me, given),
            is_new=request.args.get("new") == "1",
            is_open=self._is_open(me, key),
            releases=[
                {
                    "when": self._site.moment(one.time),
                    "told": self._told(one.count, in_part=one.in_part),
                    "position": one.position if one.is_final else None,
                }
                for one in given.releases
            ],
            grants=given.grants_of(self._site.org_id),
            missing=given.missing,
            broken=given.is_broken,
            may_stop=me.may(STOP),
            may_open=me.may(CONSENT),
        )

    def stop(self, key: str) -> Response:
        """End a permission without a passkey; the ledger says then that this organisation has ended it.

        Who acts for the patient signs it, so that the ledger says who it was.
        """
        me = self._site.check_form(OWN)
        self._permission(me, key)
        self._site.local.call("stop", {"object": key}, SLOW)
        return redirected(f"/my/access/{key}")

    def withdraw(self, key: str) -> Response:
        """Lead to where the end of a permission is signed."""
        me = self._site.check_form(STOP)
        return self._signing.stop(me, key, self._permission(me, key).recipient)

    def open(self, key: str) -> Response:
        """Try again to let a recipient in whom the patient has permitted."""
        me = self._site.check_form(CONSENT)
        if self._permission(me, key).is_in_force and not self._is_open(me, key):
            let_in(self._site.local, key)
        return redirected(f"/my/access/{key}")

    def receipt(self, key: str) -> Response:
        """Give the receipt of a consent."""
        me = self._site.require()
        given = self._permission(me, key)
        content = self._site.content(me, key)
        origin = self._site.pages.site.origins[0]
        document = consent_receipt(given, content, self._site.genesis.ledger, origin, language())
        return attached(canonical(document), "application/json", f"receipt-{key[:16]}.json")

    def ask(self, name: str) -> Response:
        """Show what is asked for, all of it chosen but what is sensitive."""
        me = self._site.require()
        ask = self._signing.waiting(me, name)
        signed = joint.find(self._site.pages.site.accounts, name, self._site.pages.site.clock())
        if signed is not None:
            return self._joint(me, ask, signed)
        claim = claim_in(ask)
        if claim is not None:
            return self._offer_claim(me, ask, claim)
        kinds = kinds_within(ask, me.types)
        return self._offer(me, ask, Choice(frozenset(kinds), frozenset(), choices_of(ask)[1][-1]))

    def choose(self, name: str) -> Response:
        """Take a choice: show what it would let through, lead to where it is signed, or decline."""
        me = self._site.check_form(CONSENT)
        ask, form = self._signing.waiting(me, name), request.form
        accounts, now = self._site.pages.site.accounts, self._site.pages.site.clock()
        if form.get("step") == "decline":
            self._signing.answer(me, name, asking.DECLINED)
            joint.drop(accounts, name, now)
            return redirected("/my")
        signed = joint.find(accounts, name, now)
        if signed is not None:
            # What others have signed is signed as it is, or not at all.
            return self._signing.join(me, ask, signed) if form.get("step") == "sign" else self._joint(me, ask, signed)
        claim = claim_in(ask)
        if claim is not None:
            return self._signing.give_claim(me, ask, claim, chosen_in(form.getlist("sensitive")))
        choice = choice_of(ask, form.getlist("kind"), form.getlist("sensitive"), form.get("days", ""))
        if form.get("step") == "sign":
            return self._signing.give(me, ask, choice)
        return self._offer(me, ask, choice)

    def looked(self) -> Response:
        """Show who has looked."""
        me = self._site.require()
        given = given_of(self._site.consents(me))
        events, is_whole = looked_at(self._site, me, given)
        is_by_insurer = request.args.get("by") == "insurer"
        insurers = by_insurer(self._site.consents(me), given, events) if is_by_insurer else {}
        return self._site.render(
            "looked.html",
            me,
            is_by_insurer=is_by_insurer,
            insurers=[self._insurer_row(me, org_id, rows, given) for org_id, rows in insurers.items()],
            events=[self._event_row(me, one, given) for one in events],
            is_whole=is_whole,
            has_list=any(one.is_entered for one in events),
            missing=sum(one.missing for one in given),
            broken=any(one.is_broken for one in given),
            position=self._site.consents(me).get("final_size"),
            may_object=_may_object(me),
        )

    def looks_proof(self) -> Response:
        """Give the proof of the patient's list of looks, to be verified anywhere and compared with a later one."""
        me = self._site.require()
        return attached(self._site.records_of(me).looks_proof(me.id, language()), "application/zip", "looks.proof.zip")

    def object_to(self, name: str) -> Response:
        """Have the patient's objection to an emergency recorded; its review is due sooner then."""
        me = self._site.check_form(READ)
        if not _may_object(me):
            raise AccessDeniedError("patient.own")
        noted = self._site.links.accesses(me.token)
        found = next((one for one in noted if one.direction == EMERGENCY and one.object_id.hex() == name), None)
        if found is None:
            raise NotFoundError("page.unknown")
        key = map_key(EMERGENCY, self._site.org_id, found.object_id)
        by = "patient" if me.acting is None else me.acting.delegation.role
        asked: Json = {"by": by, "object": key.hex(), "reason": request.form.get("reason", "")}
        self._site.local.call("emergency.object", asked, SLOW)
        return self._site.render("objected.html", me)

    def verify(self) -> Response:
        """Show where a proof is checked; who it is about does not matter, so anybody may."""
        return self._site.render("verify.html", self._site.current(), policy=self._site.policy())

    def refuse(self, error: MedchainError) -> Response:
        """Show an error; who is not signed in as a patient is sent to do so, and who acts no more does so no more."""
        if error.code == "session.none" and request.method == "GET":
            return redirected("/my/sign-in")
        response = self._site.pages.refuse(error, "/my")
        if error.code == "patient.ended":
            end_acting(response, self._site.pages.site)
        return response

    def _given(self, me: Patient, key: str) -> Given:
        """Find one of the patient's consents; raises `NotFoundError` ``page.unknown``."""
        found = find_given(self._site.consents(me), key) if _KEY.fullmatch(key) else None
        if found is None:
            raise NotFoundError("page.unknown")
        return found

    def _permission(self, me: Patient, key: str) -> Given:
        """Find one that the patient has given: what the law demands is not the patient's to open or to end."""
        found = self._given(me, key)
        if found.law is not None:
            raise NotFoundError("page.unknown")
        return found

    def _is_open(self, me: Patient, key: str) -> bool:
        """Tell whether this organisation lets the recipient in."""
        grants = self._site.consent(me, key).get("grants")
        return isinstance(grants, list) and bool(grants)

    def _joint(self, me: Patient, ask: Mapping[str, Json], signed: joint.Joint) -> Response:
        """Show what some have signed, and who must sign too."""
        content, who = signed.content, self._signing.signer(me).hex() if me.subjects else ""
        kinds = [self._site.pages.say(f"kind.{kind}") for kind in kinds_of(content.resource_types)]
        named = [(self._site.who(unhex(one, HASH_BYTES)), one in signed.given) for one in signed.signers]
        return self._site.render(
            "joint.html",
            me,
            ask=self._ask_row(me, ask),
            claim=self._claim_asked(me, ask),
            kinds=kinds,
            sensitive=[self._site.pages.say(f"sensitive.{kind}") for kind in sensitive_of(dict(content.fhir))],
            end="" if content.period.end is None else self._site.day(content.period.end),
            signed=[name for name, has_signed in named if has_signed],
            missing=[name for name, has_signed in named if not has_signed],
            until=self._site.moment(signed.until),
            may_sign=me.may(CONSENT) and who in signed.missing,
            may_decide=me.may(CONSENT),
        )

    def _offer_claim(self, me: Patient, ask: Mapping[str, Json], claim: AskClaim) -> Response:
        """Show an ask for one claim: what would be told for it, and of which records."""
        given = given_of(self._site.consents(me))
        values = claim_values(self._site, me, ask, claim, given)
        return self._site.render("ask_claim.html", me, ask=self._ask_row(me, ask), **values)

    def _offer(self, me: Patient, ask: Mapping[str, Json], choice: Choice) -> Response:
        """Show an ask with a choice and what that would let through."""
        now, say = self._site.pages.site.clock(), self._site.pages.say
        replay = self._site.replay(me)
        subject = me.subjects[0].hex() if me.subjects else bytes(32).hex()
        terms = terms_of(ask, choice, self._site.org_id, subject, now)
        offered, days = choices_of(ask)
        within = kinds_within(ask, me.types)
        everything = Choice(frozenset(offered), frozenset(SENSITIVE), days[-1])
        most = passing_under(terms_of(ask, everything, self._site.org_id, subject, now), replay)
        through, counts = passing_under(terms, replay), previewed(most)
        offer = Offered(ask, choice, names(terms["resource_types"]), through)
        sensitive, renewal = sensitive_in(most), renewal_of(self._site, me, offer, replay)
        changed = () if renewal is None else (renewal.more, renewal.less)
        lists = [*(one.examples for one in counts.values()), *sensitive.values(), *changed]
        shown = examples_of(self._site, me, lists)
        return self._site.render(
            "ask.html",
            me,
            beside=[self._site.who(one) for one in self._site.beside(me)],
            ask=self._ask_row(me, ask),
            rows=[
                self._kind_row(kind, counts.get(kind), shown)
                | {"is_chosen": kind in choice.kinds, "is_within": kind in within}
                for kind in offered
            ],
            sensitive=sensitive_rows(self._site, choice, sensitive, shown),
            days=[(one, say("ask.days", days=one), one == choice.days) for one in days],
            passing=len(through),
            sensitive_passing=sensitive_count(through),
            withheld=len(replay.records) - len(through),
            until=self._site.day(now + choice.days * DAY_S),
            hides=bool(replay.hidden),
            renewed=None if renewal is None else renewed_row(self._site, renewal, shown),
            unless=unless_row(self._site, me, ask, replay),
            before=[
                self._given_row(me, one)
                for one in given_of(self._site.consents(me))
                if one.is_in_force and one.recipient == ask["asker"]
            ],
            may_decide=me.may(CONSENT) and bool(within),
        )

    def _kind_row(self, kind: str, found: KindPreview | None, shown: Shown) -> dict[str, object]:
        """Word a kind that is asked for: how many records would pass, and the first of them."""
        examples = () if found is None else opened(found.examples, shown)
        return {
            "kind": kind,
            "name": self._site.pages.say(f"kind.{kind}"),
            "count": 0 if found is None else found.count,
            "examples": [record_row(self._site, one) for one in examples],
        }

    def _ask_row(self, me: Patient, ask: Mapping[str, Json]) -> dict[str, object]:
        """Word an ask."""
        types = ask.get("resource_types")
        kinds = choices_of(ask)[0]
        return {
            "id": ask["id"],
            "asker": self._site.organisation(me, str(ask["asker"])),
            "person": ask["person"],
            "purpose": self._site.purpose(str(ask["purpose"])),
            "reason": ask["reason"],
            "when": self._site.day(int(str(ask["created"]))),
            "ends": self._site.day(int(str(ask["until"]))),
            "is_whole": types == ["*"],
            "kinds": [self._site.pages.say(f"kind.{kind}") for kind in kinds],
            "claim": self._claim_asked(me, ask),
        }

    def _claim_asked(self, me: Patient, ask: Mapping[str, Json]) -> dict[str, object] | None:
        """Word for which claim something is asked; None for an ask for records."""
        claim = claim_in(ask)
        return None if claim is None else claim_row(self._site, me, claim)

    def _claim_given(self, me: Patient, given: Given) -> dict[str, object] | None:
        """Word for which claim a consent is, by its ask or else by its digest; None for any other consent."""
        if given.claim is None:
            return None
        asked = asked_claim(self._site.asks(me), given.recipient, given.claim)
        row = {"number": "", "amount": "", "count": len(given.claim.cited)}
        return {**(row if asked is None else claim_row(self._site, me, asked)), "digest": given.claim.digest.hex()}

    def _notice_row(self, row: Mapping[str, Json]) -> dict[str, object]:
        """Word a notice."""
        kind, time = str(row.get("kind")), row.get("time")
        say_or, area = self._site.pages.say_or, kind.partition(".")[0]
        return {
            "id": row.get("id"),
            "text": say_or(f"notice.{kind}", say_or(f"notice.{area}", kind)),
            "when": self._site.moment(time if isinstance(time, int) else 0),
            "is_urgent": kind not in _ROUTINE,
        }

    def _given_row(self, me: Patient, given: Given) -> dict[str, object]:
        """Word a consent."""
        say = self._site.pages.say
        return {
            "key": given.key,
            "recipient": self._site.organisation(me, given.recipient),
            "custodians": [self._site.organisation(me, one) for one in given.custodians],
            "purpose": self._site.purpose(given.purpose),
            "kinds": [say(f"kind.{kind}") for kind in given.kinds],
            "is_whole": given.is_whole,
            "claim": self._claim_given(me, given),
            "sensitive": [say(f"sensitive.{kind}") for kind in given.sensitive],
            "since": self._site.moment(given.signed_at),
            "until": say("access.no_end") if given.until is None else self._site.day(given.until),
            "last_used": say("access.never_used") if given.last_used is None else self._site.moment(given.last_used),
            "signed": self._signed(given),
            "is_in_force": given.is_in_force,
            "is_final": given.is_final,
            "ended": self._ended(me, given) if given.ended else "",
            "law": self._law(given),
            "position": given.position,
        }

    def _law(self, given: Given) -> dict[str, str] | None:
        """Word on which law a mandate rests; None for a consent."""
        law, say = given.law, self._site.pages.say
        if law is None:
            return None
        named = say("law.named", authority=law.authority, reference=law.reference)
        return {"kind": self._site.pages.say_or(f"law.{law.kind}", law.kind), "named": named, "scope": law.scope}

    def _delegate(self, given: Given, signer: str) -> str:
        """Name who signed in the patient's stead; empty for nobody, and for paper."""
        if given.signed != "passkey" or not signer or signer == given.patient:
            return ""
        name = self._site.display_of(self._site.patient_of(unhex(signer, HASH_BYTES)))
        return name or self._site.pages.say("family.unnamed")

    def _signed(self, given: Given) -> str:
        """Say how a consent was signed."""
        say, name = self._site.pages.say, self._delegate(given, given.signer)
        return say("signed.delegate", name=name) if name else say(f"signed.{given.signed}")

    def _ended(self, me: Patient, given: Given) -> str:
        """Say how a consent ended."""
        say, name = self._site.pages.say, self._delegate(given, given.withdrawn_by)
        if given.ended == "patient" and name:
            return say("ended.delegate", name=name)
        return say(f"ended.{given.ended}", name=self._site.organisation(me, given.ended_by))

    def _event_row(self, me: Patient, event: Event, given: Sequence[Given]) -> dict[str, object]:
        """Word who has looked."""
        say = self._site.pages.say
        under = next((one for one in given if one.law is not None and one.key == event.consent), None)
        return {
            "when": self._site.moment(event.time),
            "who": self._who(event.who),
            "role": say("looked.system")
            if event.is_system
            else self._site.pages.say_or(f"role.{event.role}", event.role),
            "times": say("looked.times", count=event.times) if event.times > 1 else "",
            "organisation": self._site.organisation(me, event.organisation),
            "purpose": self._site.purpose(event.purpose) if event.purpose else "",
            "what": self._what(event),
            "kinds": self._kinds_said(event.kinds),
            "is_refused": event.is_refused,
            "is_unpermitted": event.is_unpermitted,
            "position": event.position,
            "consent": event.consent,
            "law": None if under is None else self._law(under),
            "emergency": event.emergency,
            "reason": event.reason,
            "is_entered": event.is_entered,
            "name": event.name,
        }

    def _what(self, event: Event) -> str:
        """Word how much was seen, or that an invoice was asked for; empty where neither is told."""
        if event.is_question:
            return self._site.pages.say("looked.question.refused" if event.is_refused else "looked.question")
        return "" if event.count is None else self._told(event.count, in_part=event.in_part)

    def _told(self, count: int, *, in_part: bool) -> str:
        """Word how many records went to somebody, or were told of in part for a claim."""
        return self._site.pages.say("claim.told" if in_part else "looked.records", count=count)

    def _who(self, name: str) -> str:
        """Name who looked; of the staff who have no name here, the id by which their organisation knows them."""
        found = _UNNAMED.fullmatch(name)
        return name if found is None else self._site.pages.say("looked.unnamed", id=found[1])

    def _kinds_said(self, kinds: Sequence[str]) -> list[str]:
        """Word which kinds of records it was, all of them in two words."""
        say = self._site.pages.say
        return [say("access.all")] if {*KINDS, OTHER} <= set(kinds) else [say(f"kind.{kind}") for kind in kinds]

    def _insurer_row(
        self, me: Patient, org_id: str, events: Sequence[Event], given: Sequence[Given]
    ) -> dict[str, object]:
        """Word what an insurer got; who asks for an invoice gets no record."""
        got = [one for one in events if not one.is_refused and not one.is_question]
        return {
            "name": self._site.organisation(me, org_id),
            "times": len(got),
            "count": sum(one.count or 0 for one in got),
            "events": [self._event_row(me, one, given) for one in events],
        }


def patient_blueprints(site: PatientSite) -> Sequence[Blueprint]:
    """Make all blueprints of the patient's pages, their errors shown as pages.

    Args:
        site: what they are made from.
    """
    pages = PatientPages(site)
    kinds = (
        RecordPages,
        SettingsPages,
        ContactPages,
        FamilyPages,
        ConcernPages,
        HidingPages,
        LeavePages,
        ProofPages,
        RestoringPages,
        CustodyPages,
    )
    floors = (*(kind(site).blueprint() for kind in kinds), sign_in_blueprint(site))
    made = (*pages.blueprints(), *floors)
    for blueprint in made:
        blueprint.register_error_handler(MedchainError, pages.refuse)
    return made


def _may_object(me: Patient) -> bool:
    """Tell whether who is signed in may object to an emergency: the patient, and who has custody."""
    return me.acting is None or me.acting.delegation.role == GUARDIAN
