"""A patient signs in with a passkey, enrols the first one with a desk's code, or gets another one after losing all.

Keeps true: whose passkey it is says the ledger's head of the subject, not this node's list; a challenge is this node's,
for one purpose, and counts once; a code counts once, and is still good when nothing came of it. Enrolling makes a
subject that a second, drawn organisation endorses; a recovery is announced, and waits. Trusts the desk that gave out
the code for who the person is.
Source: W3C WebAuthn Level 3 §7.1, §7.2; `docs/spec/patient-pages.md`; `docs/spec/consent.md` 3.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from typing import Final

from flask import Blueprint, Response, request

from consent.web.codes import CODE, ENROL_PAGE, RECOVER_PAGE, RECOVERY_CODE, Attestation
from consent.web.in_app import application_of
from consent.web.site import QUICK, SLOW, PatientSite, account_name
from medchain.crypto.assertion import AssertionRequest, CredentialKey, check_assertion, encode_credential_key
from medchain.crypto.registration import NewPasskey, check_registration
from medchain.encoding import Json, base64_text, base64url, members, parse_canonical, unbase64url, unhex
from medchain.errors import AccessDeniedError, ConflictError, InputError
from medchain.ledger.kinds.passkeys import Passkey as LedgerPasskey
from medchain.ledger.kinds.passkeys import read_passkeys
from medchain.ledger.object import ACTIVE, Body
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.log import Log
from medchain.store.accounts import Account, AccountStore, Passkey, Role
from medchain.web.deeds import Deed, Kind, by
from medchain.web.pages import redirected
from medchain.web.routing import Caller, callers
from medchain.web.sign_in import CHALLENGE_S, MAX_BYTES, answering, json_answer

HOME: Final = "/my"
"""The patient's first page."""

WITHOUT_PAGE: Final = "/my/without"
"""Where it says what to do in a browser that has no passkeys."""

_SIGN_IN_PAGE: Final = "/my/sign-in"
_SIGN_IN: Final = "patient-sign-in"
_ENROL: Final = "patient-enrol"
_RECOVER: Final = "patient-recover"
_MADE: Final = ("begun", "code", "client_data", "authenticator_data")
_ENROLLING_S: Final = 60
_LOG: Final = Log("patient")


def sign_in_blueprint(site: PatientSite) -> Blueprint:
    """Make the routes.

    Args:
        site: whose pages these are.

    Returns:
        The blueprint; errors are shown by who registers it.
    """
    blueprint = Blueprint("patient_sign_in", __name__)
    ceremonies = PatientCeremonies(site)

    def opened(template: str) -> Response:
        application = application_of(request.headers.get("User-Agent", ""))
        return site.pages.render(template, application=application)

    @blueprint.get(_SIGN_IN_PAGE)
    @callers(Caller.PUBLIC)
    def page() -> Response:
        return redirected(HOME) if site.current() is not None else opened("patient/sign_in.html")

    @blueprint.get(ENROL_PAGE)
    @callers(Caller.PUBLIC)
    def enrol() -> Response:
        return opened("patient/enrol.html")

    @blueprint.get(RECOVER_PAGE)
    @callers(Caller.PUBLIC)
    def recover() -> Response:
        return opened("patient/recover.html")

    @blueprint.get(WITHOUT_PAGE)
    @callers(Caller.PUBLIC)
    def without() -> Response:
        return site.pages.render("patient/without.html", address=site.pages.site.origins[0] + _SIGN_IN_PAGE)

    @blueprint.get("/my/recover/done")
    @callers(Caller.PUBLIC)
    def recovering() -> Response:
        return site.pages.render("patient/recovering.html")

    for path, view in (
        ("/my/sign-in/begin", ceremonies.begin_sign_in),
        ("/my/sign-in/finish", ceremonies.finish_sign_in),
        ("/my/enrol/begin", ceremonies.begin_enrol),
        ("/my/enrol/finish", ceremonies.finish_enrol),
        (f"{RECOVER_PAGE}/begin", ceremonies.begin_recovery),
        (f"{RECOVER_PAGE}/finish", ceremonies.finish_recovery),
    ):
        answered = callers(Caller.PUBLIC)(answering(site.pages, view))
        blueprint.add_url_rule(path, path.strip("/").replace("/", "_").replace("-", "_"), answered, methods=["POST"])
    return blueprint


class PatientCeremonies:
    """The steps of both ceremonies."""

    __slots__ = ("_patients", "_site")

    def __init__(self, patients: PatientSite) -> None:
        """Use the pages' site."""
        self._patients = patients
        self._site = patients.pages.site

    def begin_sign_in(self, _given: Mapping[str, Json]) -> Response:
        """Give a challenge; nothing is written for it."""
        begun = self._begun(_SIGN_IN, {})
        answer: Json = {"begun": begun, "challenge": base64url(begun.encode()), "rp_id": self._patients.genesis.rp_id}
        return json_answer(answer, 200, {})

    def finish_sign_in(self, given: Mapping[str, Json]) -> Response:
        """Check what the passkey says, and sign the patient in."""
        texts = _texts(given, "begun", "request", "credential", "client_data", "authenticator_data", "signature")
        site, now = self._site, self._site.clock()
        site.signed.open(_SIGN_IN, texts["begun"], now)
        credential = unbase64url(texts["credential"], max_bytes=1023)
        known = site.accounts.passkey(credential)
        account = self._recovered(credential) if known is None else site.accounts.account(known.account)
        if account is None or account.role is not Role.PATIENT or account.disabled is not None:
            raise AccessDeniedError("session.account")
        mine = f"account/{account.id}"
        key = self._listed(account, credential)
        site.attempt(mine, note="passkey")
        check_assertion(
            self._asked(texts["begun"]),
            key,
            unbase64url(texts["client_data"], max_bytes=MAX_BYTES),
            unbase64url(texts["authenticator_data"], max_bytes=MAX_BYTES),
            unbase64url(texts["signature"], max_bytes=1024),
        )
        self._use_once(texts["begun"])
        site.accounts.forget_failures(mine)
        if known is None:
            self._forget_replaced(account)
            self._list(account, credential, key)
        response = json_answer({"next": HOME}, 200, {})
        site.begin(response, account, "passkey", credential)
        _LOG.info("patient.signed_in")
        return response

    def begin_enrol(self, given: Mapping[str, Json]) -> Response:
        """Give a challenge to who has a code."""
        code = str(members(dict(given), {"code": str})["code"])
        patient, _ = self._code(self._site.accounts.see_ticket(CODE, code, self._site.clock()))
        self._check_new(patient)
        return self._asked_for(_ENROL, patient)

    def begin_recovery(self, given: Mapping[str, Json]) -> Response:
        """Give a challenge to who has a code for another passkey."""
        code = str(members(dict(given), {"code": str})["code"])
        return self._asked_for(_RECOVER, self._attestation(code).patient)

    def _asked_for(self, purpose: str, patient: str) -> Response:
        """Ask a browser for a new passkey of a patient."""
        begun = self._begun(purpose, {"patient": patient})
        name = self._patients.records.name(patient, "zh") or self._patients.pages.say("patient.you")
        answer: Json = {
            "begun": begun,
            "challenge": base64url(begun.encode()),
            "display": name,
            "known": [],
            "name": name,
            "rp_id": self._patients.genesis.rp_id,
            "rp_name": self._site.name[0],
            "user": base64url(secrets.token_bytes(32)),
        }
        return json_answer(answer, 200, {})

    def finish_enrol(self, given: Mapping[str, Json]) -> Response:
        """Enrol the patient with the passkey, use the code up, and sign the patient in."""
        texts = _texts(given, *_MADE)
        site, now = self._site, self._site.clock()
        made, of = self._registered(_ENROL, texts)
        patient, method = self._code(site.accounts.see_ticket(CODE, texts["code"], now))
        if patient != of:
            raise AccessDeniedError("session.code")
        self._check_new(patient)
        self._use_code(texts)
        asked: Json = {"credentials": [_credential(made)], "custodians": [], "method": method, "patient": patient}
        self._patients.local.call("subject.enrol", asked, SLOW)
        site.accounts.take_ticket(CODE, texts["code"], now)
        account = self._account(patient, now)
        self._list(account, made.credential_id, made.key)
        response = json_answer({"next": HOME}, 200, {})
        site.begin(response, account, "passkey", made.credential_id)
        _LOG.info("patient.enrolled")
        return response

    def finish_recovery(self, given: Mapping[str, Json]) -> Response:
        """Announce that a passkey is to take the place of all before, and use the code up; nobody is signed in."""
        texts = _texts(given, *_MADE)
        site = self._site
        made, of = self._registered(_RECOVER, texts)
        attested = self._attestation(texts["code"])
        if attested.patient != of:
            raise AccessDeniedError("session.code")
        self._use_code(texts)
        asked: Json = {
            "credentials": [_credential(made)],
            "method": attested.method,
            "staff": list(attested.staff),
            "subject": attested.subject,
        }
        with site.deeds.doing(Deed(Kind.RECOVERY, subject=attested.subject)):
            self._patients.local.call("recovery.announce", asked, SLOW)
        site.accounts.take_ticket(RECOVERY_CODE, texts["code"], site.clock())
        return json_answer({"next": f"{RECOVER_PAGE}/done"}, 200, {})

    def _registered(self, purpose: str, texts: Mapping[str, str]) -> tuple[NewPasskey, str]:
        """Check the passkey that a browser made; returns it with the id of the patient for whom it was asked for."""
        opened = self._site.signed.open(purpose, texts["begun"], self._site.clock())
        made = check_registration(
            self._asked(texts["begun"]),
            unbase64url(texts["client_data"], max_bytes=MAX_BYTES),
            unbase64url(texts["authenticator_data"], max_bytes=MAX_BYTES),
        )
        return made, str(opened.get("patient"))

    def _use_code(self, texts: Mapping[str, str]) -> None:
        """Use up a challenge, and a code for this minute.

        Two browsers with one code: only one gets on. What fails leaves the code as good as it was, in the next minute.
        """
        self._use_once(texts["begun"])
        now = self._site.clock()
        turn = f"{hashlib.sha256(texts['code'].encode()).hexdigest()}/{now // _ENROLLING_S}"
        if not self._site.use_once(f"patient-enrolling/{turn}", now + 2 * _ENROLLING_S):
            raise AccessDeniedError("session.used")

    def _recovered(self, credential: bytes) -> Account | None:
        """Find whose a passkey is that came by a recovery: the ledger lists it, and no page here has seen it yet."""
        answer = self._patients.local.call("subject.find", {"credential_id": base64_text(credential)}, QUICK)
        rows = answer.get("subjects") if isinstance(answer, dict) else None
        for row in rows if isinstance(rows, list) else ():
            token = self._patients.links.patient_of(unhex(row, HASH_BYTES))
            patient = "" if token is None else self._patients.records.patient_of(token)
            if patient:
                return self._account(patient, self._site.clock())
        return None

    def _forget_replaced(self, account: Account) -> None:
        """Forget the passkeys that the ledger lists no more, and sign out who may have signed in with them."""
        listed = {passkey.credential_id for passkey in self._passkeys(account)}
        for row in self._site.accounts.passkeys_of(account.id):
            if row.credential not in listed:
                with self._site.deeds.doing(by(account, Kind.ACCOUNT, subject=account.id)):
                    self._site.accounts.drop_passkey(row, b"")

    def _list(self, account: Account, credential: bytes, key: CredentialKey) -> None:
        """Have this node know whose a passkey is."""
        passkey = Passkey(credential, account.id, encode_credential_key(key), self._site.clock(), None)
        with self._site.deeds.doing(by(account, Kind.ACCOUNT, subject=account.id)):
            self._site.accounts.put_passkey(passkey)

    def _account(self, patient: str, now: int) -> Account:
        """Find the patient's account here, or make it."""
        return account_of(self._site.accounts, patient, self._patients.records.name(patient, "zh"), now)

    def _check_new(self, patient: str) -> None:
        """Refuse a second first passkey: a further one needs one that is there (`docs/spec/consent.md` 3)."""
        for subject in self._patients.links.subjects_of(self._patients.token(patient)):
            answer = self._patients.local.call("object", {"object": subject.hex()}, QUICK)
            record = answer.get("record") if isinstance(answer, dict) else None
            if isinstance(record, dict) and record.get("status") == ACTIVE:
                raise ConflictError("patient.enrolled")

    def _listed(self, account: Account, credential: bytes) -> CredentialKey:
        """Find the key among those that the ledger's head lists for the patient now."""
        for passkey in self._passkeys(account):
            if passkey.credential_id == credential:
                return passkey.key
        raise AccessDeniedError("session.account")

    def _passkeys(self, account: Account) -> Iterator[LedgerPasskey]:
        """Read the passkeys that the ledger's head lists for the patient now."""
        token = self._patients.token(account.fhir_user.removeprefix("Patient/"))
        for subject in self._patients.links.subjects_of(token):
            head = self._patients.local.call("object", {"object": subject.hex()}, QUICK)
            record = head.get("record") if isinstance(head, dict) else None
            if not isinstance(record, dict) or record.get("status") != ACTIVE:
                continue
            answer = self._patients.local.call("body", {"object": subject.hex()}, QUICK)
            shown = answer.get("body") if isinstance(answer, dict) else None
            if shown is not None:
                yield from read_passkeys(Body.from_json(shown).content)

    def _begun(self, purpose: str, document: dict[str, Json]) -> str:
        """Sign what a step begins with; it is its own challenge."""
        return self._site.signed.sign(purpose, document, self._site.clock() + CHALLENGE_S)

    def _asked(self, begun: str) -> AssertionRequest:
        """Say what was asked of the passkey."""
        return AssertionRequest(begun.encode(), self._patients.genesis.rp_id, frozenset(self._site.origins))

    def _use_once(self, begun: str) -> None:
        """Use up a challenge."""
        if not self._site.use_once(f"challenge/{begun}", self._site.clock() + CHALLENGE_S):
            raise AccessDeniedError("session.used")

    def _attestation(self, code: str) -> Attestation:
        """Read who has lost all passkeys, and who attests that."""
        document = self._site.accounts.see_ticket(RECOVERY_CODE, code, self._site.clock())
        if document is None:
            raise AccessDeniedError("session.code")
        return Attestation.decode(document)

    def _code(self, document: bytes | None) -> tuple[str, str]:
        """Read whose code it is, and how the desk checked who that is."""
        if document is None:
            raise AccessDeniedError("session.code")
        found = members(parse_canonical(document, max_bytes=MAX_BYTES), {"method": str, "patient": str})
        return str(found["patient"]), str(found["method"])


def account_of(accounts: AccountStore, patient: str, display: str, now: int) -> Account:
    """Find a patient's account, or make it.

    Args:
        accounts: keeps it.
        patient: id of the Patient.
        display: the person's name; may be empty.
        now: Unix seconds.

    Returns:
        The account.

    Raises:
        InputError: ``account.malformed`` for an id that can be none.
    """
    if not patient or len(patient) > 64:  # noqa: PLR2004  # FHIR R4 §2.24.0.1, id
        raise InputError("account.malformed")
    name = account_name(patient)
    found = accounts.account_named(name)
    if found is None:
        account_id = secrets.token_hex(16)
        found = Account(account_id, name, display[:128], Role.PATIENT, f"Patient/{patient}", None, None, now)
        accounts.put_account(found)
    return found


def _credential(made: NewPasskey) -> Json:
    """Write a passkey as the daemon takes it."""
    return {
        "credential_id": base64_text(made.credential_id),
        "public_key": base64_text(encode_credential_key(made.key)),
    }


def _texts(given: Mapping[str, Json], *names: str) -> dict[str, str]:
    """Read what a script sent."""
    return {name: str(value) for name, value in members(dict(given), dict.fromkeys(names, str)).items()}
