"""What the patient signs with a passkey: a permission that was asked for, and its end.

Keeps true: what is submitted is the draft that was made for this ask, choice and session, and what the passkey signed;
a passkey is asked only at an address at which its signature counts; an ask is answered once the consent is final.
Trusts the endorsers to check all of it again. An authenticator shows no text: no page says that it did.
Source: `docs/spec/consent.md` 7, 8; `docs/spec/patient-pages.md`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

from flask import Blueprint, Response, request
from orjson import JSONDecodeError, loads

from consent.web.offer import check_limits, choice_of, terms_of
from consent.web.site import QUICK, SLOW, Patient, PatientSite
from consent.web.view import find_given
from medchain.encoding import Json, base64_text, base64url, members, unbase64url, unhex
from medchain.errors import (
    AccessDeniedError,
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
from medchain.node.log import Log
from medchain.store.accounts import Role
from medchain.web.routing import Caller, callers, status_of
from medchain.web.sign_in import json_answer

SIGN_S: Final = 600
"""How long a draft waits for the passkey; endorsers take none that is older."""

MAX_BYTES: Final = 2 << 20
"""Largest message: a draft goes through the browser and comes back."""

_GIVE: Final = "patient-give"
_STOP: Final = "patient-stop"
_LOG: Final = Log("patient")


def signing_blueprint(site: PatientSite) -> Blueprint:
    """Make the routes that the script of these pages calls.

    Args:
        site: whose pages these are.

    Returns:
        The blueprint.
    """
    blueprint = Blueprint("patient_signing", __name__)
    signing = Signing(site)
    for path, view, may in (
        ("/my/asks/<name>/begin", signing.begin_give, CONSENT),
        ("/my/asks/<name>/finish", signing.finish_give, CONSENT),
        ("/my/access/<name>/stop/begin", signing.begin_stop, STOP),
        ("/my/access/<name>/stop/finish", signing.finish_stop, STOP),
    ):
        answered = callers(Caller.PUBLIC)(answering(site, view, may))
        blueprint.add_url_rule(path, view.__name__, answered, methods=["POST"])
    return blueprint


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


class Signing:
    """The steps."""

    __slots__ = ("_site",)

    def __init__(self, site: PatientSite) -> None:
        """Use the pages' site."""
        self._site = site

    def begin_give(self, me: Patient, name: str, given: Mapping[str, Json]) -> Response:
        """Draft the permission that the patient has chosen."""
        ask = self.waiting(me, name)
        texts = members(dict(given), {"csrf": str, "days": str, "kinds": list, "sensitive": list})
        kinds, sensitive = (
            [str(one) for one in row] if isinstance(row, list) else [] for row in (texts["kinds"], texts["sensitive"])
        )
        choice, signer = choice_of(ask, kinds, sensitive, str(texts["days"])), self.signer(me)
        now = self._site.pages.site.clock()
        terms = terms_of(ask, choice, self._site.org_id, signer.hex(), now)
        if me.acting is not None:
            check_limits(terms, me.acting.delegation.resource_types)
            terms["acting_for"] = me.acting.delegation.person.hex()
        draft = self._site.local.call("consent.draft", terms, QUICK)
        return self.to_sign(me, signer, draft, _GIVE, name)

    def finish_give(self, me: Patient, name: str, given: Mapping[str, Json]) -> Response:
        """Submit the permission, let the recipient in, and answer the ask."""
        ask = self.waiting(me, name)
        placed = self._site.local.call("consent.give", self.signed(me, given, _GIVE, name), SLOW)
        key = str(placed.get("key")) if isinstance(placed, dict) else ""
        unhex(key, HASH_BYTES)
        self.answer(me, str(ask["id"]), asking.GIVEN)
        self.let_in(key)
        _LOG.info("patient.consent_given")
        return json_answer({"next": f"/my/access/{key}?new=1"}, 200, {})

    def begin_stop(self, me: Patient, name: str, given: Mapping[str, Json]) -> Response:
        """Draft the end of a permission."""
        members(dict(given), {"csrf": str}, {"days": str, "kinds": list, "sensitive": list})
        self.own(me, name)
        signer = self.signer(me)
        draft = self._site.local.call("withdrawal.draft", {"consent": name, "signer": signer.hex()}, QUICK)
        return self.to_sign(me, signer, draft, _STOP, name)

    def finish_stop(self, me: Patient, name: str, given: Mapping[str, Json]) -> Response:
        """End a permission with the patient's signature; it binds this organisation when it answers."""
        self.own(me, name)
        self._site.local.call("withdrawal.give", self.signed(me, given, _STOP, name), SLOW)
        _LOG.info("patient.consent_stopped")
        return json_answer({"next": f"/my/access/{name}"}, 200, {})

    def waiting(self, me: Patient, name: str) -> Mapping[str, Json]:
        """Find an ask of the patient's that waits; raises `NotFoundError` ``ask.unknown``."""
        return asking.require_waiting({"asks": [dict(row) for row in self._site.asks(me)]}, name)

    def answer(self, me: Patient, name: str, answer: str) -> None:
        """Note what an ask was answered, and who did so in the patient's stead."""
        document: dict[str, Json] = {"answer": answer, "id": name, "patient": me.id}
        if me.acting is not None:
            document["by"] = me.acting.delegation.delegate.hex()
        self._site.local.call(asking.ANSWER, document, QUICK)

    def own(self, me: Patient, key: str) -> None:
        """See that a consent is the patient's; raises `NotFoundError` ``page.unknown``."""
        if find_given(self._site.consents(me), key) is None:
            raise NotFoundError("page.unknown")

    def let_in(self, key: str) -> bool:
        """Have this organisation let the recipient read within a consent; tells whether it has.

        The consent stands whatever comes of it: its page says so, and offers to try again.
        """
        try:
            self._site.local.call("grant.give", {"consent": key}, SLOW)
        except (UnavailableError, VerificationError, NotFoundError) as error:
            _LOG.warning("patient.grant_delayed", code=error.code)
            return False
        return True

    def to_sign(self, me: Patient, subject: bytes, draft: Json, purpose: str, name: str) -> Response:
        """Answer what the passkey is to sign, bound to this session and page."""
        top = draft if isinstance(draft, dict) else {}
        site, text = self._site.pages.site, str(top.get("draft"))
        bound: dict[str, Json] = {
            "account": me.signed_in.account.id,
            "draft": hashlib.sha256(text.encode()).hexdigest(),
            "name": name,
            "patient": me.token,
        }
        answer: Json = {
            "begun": site.signed.sign(purpose, bound, site.clock() + SIGN_S),
            "challenge": base64url(unhex(top.get("challenge"), HASH_BYTES)),
            "credentials": [base64url(one) for one in self._credentials(subject)],
            "draft": text,
            "rp_id": self._site.genesis.rp_id,
        }
        return json_answer(answer, 200, {})

    def signed(self, me: Patient, given: Mapping[str, Json], purpose: str, name: str) -> dict[str, Json]:
        """Take a draft with the passkey's answer, as the daemon wants them."""
        texts = dict.fromkeys(
            ("authenticator_data", "begun", "client_data", "credential", "csrf", "draft", "signature"), str
        )
        top = {key: str(value) for key, value in members(dict(given), texts).items()}
        site = self._site.pages.site
        bound = site.signed.open(purpose, top["begun"], site.clock())
        expected = {
            "account": me.signed_in.account.id,
            "draft": hashlib.sha256(top["draft"].encode()).hexdigest(),
            "name": name,
            "patient": me.token,
        }
        if bound != expected:
            raise AccessDeniedError("page.ended")
        assertion: Json = {
            "authenticator_data": _base64(top["authenticator_data"]),
            "client_data_json": _base64(top["client_data"]),
            "credential_id": _base64(top["credential"]),
            "signature": _base64(top["signature"]),
        }
        return {"assertion": assertion, "draft": top["draft"]}

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

    def _credentials(self, subject: bytes) -> list[bytes]:
        """List the passkeys that may sign for a subject now."""
        answer = self._site.local.call("body", {"object": subject.hex()}, QUICK)
        shown = answer.get("body") if isinstance(answer, dict) else None
        if shown is None:
            raise NotFoundError("subject.unknown")
        return [one.credential_id for one in read_passkeys(Body.from_json(shown).content)]


def _base64(text: str) -> str:
    """Write what a browser sent as the daemon reads it."""
    return base64_text(unbase64url(text, max_bytes=16 << 10))
