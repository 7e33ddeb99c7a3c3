"""What a patient is led to sign from the portal: drafts, and the way to the page of the signing origin.

Keeps true: the portal asks no passkey for a consent, it drafts, and leads to an address at which the ledger has
signatures count and no other page of this node is served; a draft is for who is signed in, within what that person may
do. Trusts `consent.web.sign_pages` for showing what is signed, and the endorsers to check all of it again.
Source: `docs/spec/consent.md` 7, 8; `docs/spec/patient-pages.md` 6;
`docs/adr/0050-patients-sign-at-an-origin-of-its-own.md`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from flask import Response, request
from orjson import JSONDecodeError, loads

from consent.hiding import Hidden, hiding_terms
from consent.web import ticket
from consent.web.acting import NOTHING
from consent.web.joint import Joint
from consent.web.offer import Choice, check_limits, terms_of
from consent.web.one_claim import claim_in, claim_terms, signed_names
from consent.web.ports import Local
from consent.web.site import QUICK, SLOW, Patient, PatientSite
from consent.web.ticket import Act, Ticket
from medchain.encoding import Json, base64url, unhex
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.kinds.capacity import CONSENT, STOP
from medchain.ledger.kinds.passkeys import read_passkeys
from medchain.ledger.object import ACTIVE, Body
from medchain.ledger.transaction import HASH_BYTES
from medchain.node import asking
from medchain.node.asking import AskClaim
from medchain.node.log import Log
from medchain.store.accounts import Role
from medchain.web.pages import TEXT_SIZES, is_large, language, redirected
from medchain.web.routing import status_of
from medchain.web.sign_in import MAX_BYTES, json_answer

SIGN: Final = "/sign"
"""Where the page is, at the signing origin."""

_LOG: Final = Log("patient")


def answering(
    site: PatientSite, view: Callable[[Patient, str, Mapping[str, Json]], Response], may: str
) -> Callable[[str], Response]:
    """Have a step take JSON from the patient's own page, and answer errors by their code.

    Args:
        site: whose page it is.
        view: takes what came.
        may: what who acts for the patient must be allowed to do, as for `PatientSite.require`.

    Returns:
        The view.
    """

    def answer(name: str) -> Response:
        try:
            pages = site.pages.site
            pages.require(Role.PATIENT)
            pages.check_origin()
            if request.mimetype != "application/json" or (request.content_length or 0) > MAX_BYTES:
                raise InputError("session.form")
            given = loads(request.get_data(cache=False))
            me = site.require(may)
            csrf = given.get("csrf") if isinstance(given, dict) else None
            if not isinstance(csrf, str) or not hmac.compare_digest(csrf.encode(), me.signed_in.csrf.encode()):
                raise AccessDeniedError("session.form")
            return view(me, name, given)
        except (MedchainError, JSONDecodeError) as error:
            code = error.code if isinstance(error, MedchainError) else "session.form"
            _LOG.info("patient.sign_refused", code=code)
            return json_answer({"code": code}, status_of(error) if isinstance(error, MedchainError) else 400, {})

    return answer


def let_in(local: Local, consent: str) -> bool:
    """Have this organisation let the recipient read within a consent; tells whether it has.

    The consent stands whatever comes of it: its page says so, and offers to try again.

    Args:
        local: the daemon.
        consent: its map key, hexadecimal.
    """
    try:
        local.call("grant.give", {"consent": consent}, SLOW)
    except (UnavailableError, VerificationError, NotFoundError) as error:
        _LOG.warning("patient.grant_delayed", code=error.code)
        return False
    return True


@dataclass(frozen=True, slots=True)
class Way:
    """What a draft is about, and where a browser goes after it.

    Attributes:
        back: path of the portal for who does not sign.
        then: path for who does; empty where only the answer tells.
        name: what it is about: id of the ask, map key of the consent, name of the passkey.
        deed: what who acts for the patient must still be allowed to do when it is signed.
        names: how subjects and organisations in the draft are called.
    """

    back: str
    then: str = ""
    name: str = ""
    deed: str = NOTHING
    names: Mapping[str, str] = field(default_factory=dict)


class Signing:
    """Drafts what is signed, and leads there."""

    __slots__ = ("_site",)

    def __init__(self, site: PatientSite) -> None:
        """Use the pages' site."""
        self._site = site

    def give(self, me: Patient, ask: Mapping[str, Json], choice: Choice) -> Response:
        """Draft the permission that the patient has chosen, and lead to where it is signed."""
        signer = self.signer(me)
        terms = terms_of(ask, choice, self._site.org_id, signer.hex(), self._site.pages.site.clock())
        return self._give(me, ask, terms, {})

    def give_claim(self, me: Patient, ask: Mapping[str, Json], claim: AskClaim, sensitive: Collection[str]) -> Response:
        """Draft the permission for one claim, and lead to where it is signed."""
        signer = self.signer(me)
        terms = claim_terms(ask, claim, sensitive, signer.hex(), self._site.pages.site.clock())
        return self._give(me, ask, terms, signed_names(self._site, me, claim))

    def _give(self, me: Patient, ask: Mapping[str, Json], terms: dict[str, Json], more: Mapping[str, str]) -> Response:
        """Draft a permission within an ask, and lead to where it is signed; named are the parties, and what more is."""
        signer = self.signer(me)
        check_limits(terms, me.types)
        if me.acting is not None:
            terms["acting_for"] = me.acting.delegation.person.hex()
            terms["joined"] = [one.hex() for one in self._site.beside(me)]
        draft = self._site.local.call("consent.draft", terms, QUICK)
        parties = (str(ask["asker"]), self._site.org_id)
        names = {org_id: self._site.organisation(me, org_id) for org_id in parties} | self._named(self._site.beside(me))
        names |= more
        name = str(ask["id"])
        return self.lead(me, signer, draft, Act.GIVE, Way(f"/my/asks/{name}", name=name, deed=CONSENT, names=names))

    def join(self, me: Patient, ask: Mapping[str, Json], signed: Joint) -> Response:
        """Lead to where who must sign with others signs what the first of them has chosen."""
        signer, name = self.signer(me), str(ask["id"])
        draft: Json = {"challenge": signed.challenge(signer.hex()), "draft": signed.draft}
        parties = (str(ask["asker"]), self._site.org_id)
        names = {org_id: self._site.organisation(me, org_id) for org_id in parties}
        names |= self._named([unhex(one, HASH_BYTES) for one in signed.signers])
        claim = claim_in(ask)
        names |= {} if claim is None else signed_names(self._site, me, claim)
        return self.lead(me, signer, draft, Act.GIVE, Way(f"/my/asks/{name}", name=name, deed=CONSENT, names=names))

    def _named(self, subjects: Sequence[bytes]) -> dict[str, str]:
        """Name those who sign, by their map keys."""
        return {one.hex(): self._site.who(one) for one in subjects}

    def stop(self, me: Patient, key: str, recipient: str) -> Response:
        """Draft the end of a permission, and lead to where it is signed."""
        signer, back = self.signer(me), f"/my/access/{key}"
        draft = self._site.local.call("withdrawal.draft", {"consent": key, "signer": signer.hex()}, QUICK)
        names = {key: self._site.organisation(me, recipient)}
        return self.lead(me, signer, draft, Act.STOP, Way(back, back, key, STOP, names=names))

    def hide(self, me: Patient, hidden: Hidden, back: str, title: str) -> Response:
        """Draft that records are hidden, and lead to where that is signed; no guardian waits for another one.

        Args:
            me: whose records they are.
            hidden: which.
            back: path of their page.
            title: what this organisation calls them.

        Raises:
            AccessDeniedError: ``patient.limits`` for a type beyond those of who acts for the patient.
        """
        signer = self.signer(me)
        terms = hiding_terms(hidden, self._site.org_id, signer.hex(), self._site.pages.site.clock())
        check_limits(terms, me.types)
        if me.acting is not None:
            terms["acting_for"] = me.acting.delegation.person.hex()
        draft = self._site.local.call("consent.draft", terms, QUICK)
        names = {hidden.reference: title} if hidden.reference else {}
        names |= {self._site.org_id: self._site.organisation(me, self._site.org_id)}
        return self.lead(me, signer, draft, Act.HIDE, Way(back, back, hidden.reference, CONSENT, names))

    def unhide(self, me: Patient, key: str, back: str, title: str) -> Response:
        """Draft the end of a hiding, and lead to where it is signed; it opens, as a permission does.

        Args:
            me: whose records they are.
            key: map key of the hiding, hexadecimal.
            back: path of the page of what is hidden.
            title: what this organisation calls that.

        Raises:
            ConflictError: ``hide.joint`` while guardians disagree, of whom none releases alone what one has hidden.
            AccessDeniedError: ``patient.limits`` for who acts within limits of types.
        """
        if not me.may_release():
            raise AccessDeniedError("patient.limits")
        signer = self.signer(me)
        if self._site.beside(me):
            raise ConflictError("hide.joint")
        draft = self._site.local.call("withdrawal.draft", {"consent": key, "signer": signer.hex()}, QUICK)
        names = {key: self._site.pages.say("hide.about", title=title)}
        return self.lead(me, signer, draft, Act.STOP, Way(back, back, key, CONSENT, names))

    def waiting(self, me: Patient, name: str) -> Mapping[str, Json]:
        """Find an ask of the patient's that waits; raises `NotFoundError` ``ask.unknown``."""
        return asking.require_waiting({"asks": [dict(row) for row in self._site.asks(me)]}, name)

    def answer(self, me: Patient, name: str, answer: str) -> None:
        """Note what an ask was answered, and who did so in the patient's stead."""
        document: dict[str, Json] = {"answer": answer, "id": name, "patient": me.id}
        if me.acting is not None:
            document["by"] = me.acting.delegation.delegate.hex()
        self._site.local.call(asking.ANSWER, document, QUICK)

    def lead(self, me: Patient, subject: bytes, draft: Json, act: Act, way: Way) -> Response:
        """Keep a draft until it is signed, and send the browser there; raises as `place`."""
        return redirected(self.place(me, subject, draft, act, way))

    def place(self, me: Patient, subject: bytes, draft: Json, act: Act, way: Way) -> str:
        """Keep a draft until it is signed.

        Args:
            me: who signs, and for whom.
            subject: map key of the subject whose passkey signs.
            draft: from the daemon.
            act: what is signed.
            way: what it is about, and where the browser goes after it.

        Returns:
            The address at which it is signed, good once; what makes it so stands in its fragment.

        Raises:
            AccessDeniedError: ``patient.no_signing`` where no signature counts that this node could ask for.
        """
        if not self._site.can_sign():
            raise AccessDeniedError("patient.no_signing")
        top, site = draft if isinstance(draft, dict) else {}, self._site.pages.site
        made = Ticket(
            act=act,
            name=way.name,
            draft=str(top.get("draft")),
            challenge=unhex(top.get("challenge"), HASH_BYTES).hex(),
            credentials=tuple(base64url(one) for one in self._credentials(subject)),
            account=me.signed_in.account.id,
            patient=me.id,
            delegate="" if me.acting is None else me.acting.delegation.delegate.hex(),
            person="" if me.acting is None else me.acting.delegation.person.hex(),
            deed=way.deed,
            session=me.signed_in.session.token.hex(),
            portal=self._portal(),
            back=way.back,
            then=way.then,
            names={**self._persons(me), **way.names},
        )
        secret = ticket.put(site.accounts, made, site.clock())
        # The page is at an address of its own, where no cookie of the portal's says how the person reads.
        size = f"&text={TEXT_SIZES[is_large()]}"
        return f"{self._site.sign_origin}{SIGN}?lang={language()}{size}#{secret}"

    def signer(self, me: Patient) -> bytes:
        """Return the subject whose passkey signs: that of who acts for the patient, else the patient's own."""
        return self.subject(me) if me.acting is None else me.acting.delegation.delegate

    def subject(self, me: Patient) -> bytes:
        """Find the patient's subject that is in force; raises `NotFoundError` ``subject.unknown``."""
        for subject in me.subjects:
            answer = self._site.local.call("object", {"object": subject.hex()}, QUICK)
            record = answer.get("record") if isinstance(answer, dict) else None
            if isinstance(record, dict) and record.get("status") == ACTIVE:
                return subject
        raise NotFoundError("subject.unknown")

    def _portal(self) -> str:
        """Name which of this node's own addresses the patient came by; `Site.check_origin` has judged it."""
        origins, came = self._site.pages.site.origins, request.headers.get("Origin", "")
        return came if came in origins else origins[0]

    def _persons(self, me: Patient) -> dict[str, str]:
        """Name for whom the patient acts, where that is somebody else."""
        return {} if me.acting is None else {me.acting.delegation.person.hex(): self._site.name_of(me)}

    def _credentials(self, subject: bytes) -> list[bytes]:
        """List the passkeys that may sign for a subject now."""
        answer = self._site.local.call("body", {"object": subject.hex()}, QUICK)
        shown = answer.get("body") if isinstance(answer, dict) else None
        if shown is None:
            raise NotFoundError("subject.unknown")
        return [one.credential_id for one in read_passkeys(Body.from_json(shown).content)]
