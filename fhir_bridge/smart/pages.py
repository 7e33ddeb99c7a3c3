"""The pages of authorisation: what an application asks for, the person's decision, and the way back.

Keeps true: an application is told something only at an address that is registered for it, with the issuer's name (RFC
9207); nothing is decided without a page of this site, a session and its token; a launch is used up with the decision;
what the page shows is worked out anew from the signed request when the decision comes. Trusts Authlib for the
protocol, `fhir_bridge.smart.offer` for what may be given.
Source: RFC 6749 §4.1, §10.12, §10.15; RFC 9207; SMART App Launch 2.2 §2.0.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Blueprint, Response, request

from fhir_bridge.smart.access import Access
from fhir_bridge.smart.authorisation import Authorisation
from fhir_bridge.smart.clients import Client, origin_of
from fhir_bridge.smart.discovery import AUTHORIZE
from fhir_bridge.smart.launch import Launch, see_launch, take_launch
from fhir_bridge.smart.oauth import Decision, PlainRequest, Refusal, SmartServer, once
from fhir_bridge.smart.offer import Offer, check_request, chosen, make_offer, signed_in_since
from fhir_bridge.smart.patients import FoundPatient, Patients
from fhir_bridge.smart.roles import CHOOSING
from fhir_bridge.smart.scopes import MAX_GRANTED_CHARS, Action, Asked, Context, Scope, Special
from medchain.encoding import Json
from medchain.errors import AccessDeniedError, MedchainError
from medchain.store.accounts import STAFF
from medchain.web.pages import Pages, redirected
from medchain.web.routing import Caller, callers
from medchain.web.session import SignedIn
from medchain.web.sign_in import CONSENT, signed_request

REQUEST_S: Final = 1800
"""How long a request may wait for the person's decision."""

_PURPOSE: Final = "authorize"
_MAX_FORM_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A request for authorisation that holds.

    Attributes:
        plain: as Authlib asks it.
        grant: Authlib's.
        client: the application.
        redirect_uri: where the person goes back to.
        asked: what for.
        signed: the request, signed, as it goes through the browser.
        since: from when on the person must have signed in, Unix seconds.
    """

    plain: PlainRequest
    grant: Any  # Authlib has no types
    client: Client
    redirect_uri: str
    asked: Asked
    signed: str = ""
    since: int = 0


class AuthorisePages:
    """The pages of one node."""

    __slots__ = ("_audiences", "_pages", "_patients", "_server", "_site")

    def __init__(self, pages: Pages, server: SmartServer, patients: Patients) -> None:
        """Prepare.

        Args:
            pages: renders.
            server: keeps the protocol.
            patients: finds the patient of a standalone launch.
        """
        self._pages = pages
        self._site = pages.site
        self._server = server
        self._patients = patients
        bases = [f"{origin}/fhir" for origin in pages.site.origins]
        self._audiences = frozenset([server.parts.issuer.fhir, *bases, *(f"{base}/" for base in bases)])

    def blueprint(self) -> Blueprint:
        """Make the routes."""
        blueprint = Blueprint("authorize", __name__, template_folder="templates")
        for path, view, methods in (
            (AUTHORIZE, self.authorize, ["GET", "POST"]),
            (CONSENT, self.consent, ["GET"]),
        ):
            blueprint.add_url_rule(path, view.__name__, callers(Caller.PUBLIC)(_plain(view)), methods=methods)
        decide = callers(Caller.PUBLIC)(_plain(self.decide))
        blueprint.add_url_rule(CONSENT, "decide", decide, methods=["POST"])
        return self._pages.guard(blueprint)

    def application(self, signed: str) -> str:
        """Name the application of a signed request; empty for none."""
        try:
            return _shown(self._opened(signed).client)
        except (MedchainError, Refusal):
            return ""

    def since(self, signed: str) -> int:
        """Tell from when on a person must have signed in for a signed request; 0 for at any time."""
        try:
            return self._opened(signed).since
        except (MedchainError, Refusal):
            return 0

    def authorize(self) -> Response:
        """Take a request. It goes on from a page of this site, or the session's cookie would not come with it."""
        values = request.form if request.method == "POST" else request.args
        if (request.content_length or 0) > _MAX_FORM_BYTES:
            return self._page_of(Refusal(error="invalid_request"))
        parameters: dict[str, str] = {}
        try:
            parameters = once({name: values.getlist(name) for name in values})
            self._checked(parameters)
        except Refusal as error:
            return self._refused(error, parameters)
        now = self._site.clock()
        document: dict[str, Json] = {"parameters": dict[str, Json](parameters)}
        document["since"] = signed_in_since(parameters, now)
        signed = self._site.signed.sign(_PURPOSE, document, now + REQUEST_S)
        return self._pages.render("smart/continue.html", target=f"{CONSENT}?request={signed}")

    def consent(self) -> Response:
        """Ask the person."""
        signed = signed_request(request.args.get("request", ""))
        try:
            found = self._opened(signed)
        except Refusal as error:
            return self._page_of(error)
        me = self._site.current()
        if me is None or me.account.role not in STAFF or me.session.shown_at < found.since:
            return redirected(f"/sign-in?request={signed}")
        launch = self._launch(found, me)
        return self._asked(found, me, launch, {})

    def decide(self) -> Response:
        """Take the decision."""
        me = self._site.check_form()
        try:
            found = self._opened(signed_request(request.form.get("request", "")))
        except Refusal as error:
            return self._page_of(error)
        if me.session.shown_at < found.since:
            return redirected(f"/sign-in?request={found.signed}")
        launch = self._launch(found, me)
        if request.form.get("step") == "deny":
            return self._refused(Refusal(error="access_denied", redirect_uri=found.redirect_uri), found.plain.form)
        return self._allowed(found, me, launch)

    def _allowed(self, found: Request, me: SignedIn, launch: Launch) -> Response:
        """Give the application what was left in, or ask once more."""
        offer = self._offer(found, me, launch)
        scopes, special = chosen(offer, request.form.getlist("scope"), offline="offline" in request.form)
        if request.form.get("step") != "allow":
            return self._asked(found, me, launch, request.form)
        needs_patient = any(scope.context is Context.PATIENT for scope in scopes)
        wants = needs_patient or (offer.wants_patient and Special.LAUNCH_PATIENT in special)
        who = _access(found, me)
        patient = launch.patient or (self._picked(offer, who) if wants else "")
        if wants and not patient:
            return self._asked(found, me, launch, request.form, "consent.patient.needed")
        encounter = launch.encounter or request.form.get("encounter", "").strip()
        if encounter and not launch.encounter and not self._patients.has_encounter(encounter, patient, who):
            return self._asked(found, me, launch, request.form, "consent.encounter.unknown")
        if found.plain.form.get("launch") and take_launch(self._server.parts, found.plain.form["launch"]) is None:
            raise AccessDeniedError("launch.ended")
        authorisation = Authorisation(
            scopes=scopes,
            special=special,
            user=me.account.fhir_user or me.account.id,
            role=me.account.role.value,
            patient=patient,
            encounter=encounter,
            intent=launch.intent,
            banner=launch.banner,
            auth_time=me.session.shown_at,
        )
        if not 0 < len(authorisation.text) <= MAX_GRANTED_CHARS:
            return self._refused(Refusal(error="invalid_scope", redirect_uri=found.redirect_uri), found.plain.form)
        decision = Decision(me.account, me.session.token, me.session.until, authorisation)
        answer = self._server.create_authorization_response(found.plain, grant_user=decision, grant=found.grant)
        address = answer.headers.get("Location")
        return answer if address is None else self._back(address)

    def _checked(self, parameters: Mapping[str, str]) -> Request:
        """Check a request by itself; raises `Refusal`, with an address to go back to only once that is known."""
        plain = PlainRequest("GET", self._server.parts.issuer.origin + AUTHORIZE, {}, parameters)
        if "redirect_uri" not in parameters:
            raise Refusal(error="invalid_request")
        grant = self._server.consent_grant(plain)
        try:
            asked = check_request(parameters, self._audiences)
            self._check_launch(parameters.get("launch", ""), plain.client.id)
        except Refusal as error:
            error.redirect_uri = grant.redirect_uri
            raise
        return Request(plain, grant, plain.client, grant.redirect_uri, asked)

    def _check_launch(self, secret: str, client_id: str) -> None:
        """See that a launch waits, and for this application."""
        launch = see_launch(self._server.parts, secret) if secret else None
        if secret and (launch is None or launch.client != client_id):
            raise Refusal(error="invalid_request", description="The launch is not known, has ended or was used.")

    def _opened(self, signed: str) -> Request:
        """Open a signed request, and check it anew: since then a client can have been disabled."""
        document = self._site.signed.open(_PURPOSE, signed, self._site.clock())
        given, since = document.get("parameters"), document.get("since")
        if not isinstance(since, int):
            raise AccessDeniedError("page.ended")
        parameters = {name: str(value) for name, value in given.items()} if isinstance(given, dict) else {}
        return replace(self._checked(parameters), signed=signed, since=since)

    def _launch(self, found: Request, me: SignedIn) -> Launch:
        """Return the launch of a request; an empty one that shows a banner where it stands alone."""
        secret = found.plain.form.get("launch")
        if not secret:
            return Launch(found.client.id, banner=True)
        launch = see_launch(self._server.parts, secret)
        if launch is None:
            raise AccessDeniedError("launch.ended")
        if launch.account and launch.account != me.account.id:
            raise AccessDeniedError("launch.other")
        return launch

    def _offer(self, found: Request, me: SignedIn, launch: Launch) -> Offer:
        """Work out what may be given."""
        return make_offer(found.asked, found.client, me.account.role, has_patient=bool(launch.patient))

    def _picked(self, offer: Offer, who: Access) -> str:
        """Take the patient whom the person chose; empty for none."""
        if not offer.wants_patient:
            return ""
        chosen_id = request.form.get("patient", "")
        if not chosen_id:
            matches = self._patients.find(request.form.get("search", ""), who)
            return matches[0].id if len(matches) == 1 else ""
        return "" if self._patients.get(chosen_id, who) is None else chosen_id

    def _asked(
        self, found: Request, me: SignedIn, launch: Launch, form: Mapping[str, str], problem: str = ""
    ) -> Response:
        """Show what is asked for."""
        offer = self._offer(found, me, launch)
        search, who = str(form.get("search", "")), _access(found, me)
        patients: list[FoundPatient] = self._patients.find(search, who) if offer.wants_patient and search else []
        if offer.wants_patient and form.get("step") == "find" and not patients:
            problem = "consent.patient.unknown"
        # Who may choose no patient is not told who the launch is about either.
        is_told = bool(launch.patient) and me.account.role in CHOOSING
        patient = self._patients.get(launch.patient, who) if is_told else None
        is_first = not form
        picked = {str(one) for one in offer.scopes} if is_first else set(request.form.getlist("scope"))
        return self._pages.render(
            "smart/consent.html",
            400 if problem else 200,
            forms_to=origin_of(found.redirect_uri),
            then=found.signed,
            application=_shown(found.client),
            address=origin_of(found.redirect_uri),
            offer=offer,
            lines=[(str(scope), self._line(scope)) for scope in offer.scopes],
            identity=bool(offer.special & {Special.OPENID, Special.FHIR_USER}),
            offline=Special.OFFLINE_ACCESS in offer.special,
            picked=picked,
            picked_offline=is_first or "offline" in form,
            search=search,
            patients=patients,
            picked_patient=form.get("patient", ""),
            launched_patient=patient or (FoundPatient(launch.patient, "", "") if launch.patient else None),
            launched_encounter=launch.encounter,
            encounter=form.get("encounter", ""),
            problem=problem,
            problem_at="encounter" if problem.startswith("consent.encounter") else "patient-search",
        )

    def _line(self, scope: Scope) -> str:
        """Word a scope."""
        say = self._pages.say
        verbs = say("scope.and").join(say(f"scope.{one.value}") for one in Action if one in scope.actions)
        what = say("scope.all") if scope.type == "*" else scope.type
        line = say("scope.line", verbs=verbs, what=what, whose=say(f"scope.{scope.context.value}"))
        return line + (say("scope.where", query=scope.query) if scope.query else "")

    def _refused(self, error: Refusal, parameters: Mapping[str, str]) -> Response:
        """Send a refusal back to the application, or show it where there is no address that is known to be its own."""
        if not error.redirect_uri:
            return self._page_of(error)
        answer = {"error": str(error.error)}
        if error.description:
            answer["error_description"] = str(error.description)
        if parameters.get("state"):
            answer["state"] = parameters["state"]
        return self._back(_with(error.redirect_uri, answer))

    def _back(self, address: str) -> Response:
        """Send the person back to the application, and say who does (RFC 9207)."""
        return redirected(_with(address, {"iss": self._server.parts.issuer.origin}))

    def _page_of(self, error: Refusal) -> Response:
        """Show a refusal."""
        return self._pages.render("error.html", 400, text=self._pages.say("error.oauth", error=error.error))


def _plain(view: Any) -> Any:  # noqa: ANN401  # a bound method takes no mark of its callers
    """Wrap a method into a function, which can be marked with its callers."""

    def answer() -> Response:
        response: Response = view()
        return response

    return answer


def _with(address: str, parameters: Mapping[str, str]) -> str:
    """Add parameters to an address."""
    parts = urlsplit(address)
    query = [*parse_qsl(parts.query, keep_blank_values=True), *parameters.items()]
    return urlunsplit(parts._replace(query=urlencode(query)))


def _access(found: Request, me: SignedIn) -> Access:
    """Say who looks, for the audit."""
    return Access(found.client.id, (), user=me.account.fhir_user or me.account.id, role=me.account.role.value)


def _shown(client: Client) -> str:
    """Name an application to people."""
    return client.name or client.id
