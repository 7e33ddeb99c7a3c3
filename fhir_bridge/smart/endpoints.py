"""The endpoints that applications and systems call: tokens, introspection, revocation, keys, discovery, launches.

Keeps true: a form with each parameter once, of a bounded size; who fails again and again waits, over all processes;
answers that hold something secret are kept by nobody; pages of any origin may call what needs no cookie, since no
cookie is looked at here. Trusts `fhir_bridge.smart.oauth` for every rule.
Source: RFC 6749 §3.2, RFC 7009, RFC 7662, RFC 8414; SMART App Launch 2.2.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final

from flask import Blueprint, Response, request
from orjson import JSONDecodeError, loads

from fhir_bridge.authorize import identify
from fhir_bridge.smart import discovery
from fhir_bridge.smart.assertions import issuer_of
from fhir_bridge.smart.clients import Right, origin_of
from fhir_bridge.smart.launch import LAUNCH_SECONDS, put_launch, read_launch
from fhir_bridge.smart.oauth import PlainRequest, Refusal, SmartServer, once
from fhir_bridge.smart.proofs import SCHEME, Shown
from medchain.encoding import Json, canonical
from medchain.errors import AccessDeniedError, InputError
from medchain.web.deeds import UNKNOWN, Attempt, Deed, Deeds, Kind, NoDeeds
from medchain.web.routing import Caller, callers

FORM: Final = "application/x-www-form-urlencoded"
"""Content type of requests (RFC 6749, appendix B)."""

_MAX_FORM_BYTES: Final = 32 * 1024
# A client that cannot show who it is.
_UNAUTHORISED: Final = 401
_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_BRIEFLY: Final = {"Cache-Control": "public, max-age=300"}
_ANY_ORIGIN: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Accept, Authorization, Content-Type, DPoP",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Max-Age": "600",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def oauth_blueprint(server: SmartServer, place: Callable[[], str], deeds: Deeds | None = None) -> Blueprint:
    """Make the endpoints.

    Args:
        server: answers them.
        place: names where a request comes from.
        deeds: keeps which tokens are given, refused and revoked; None where nobody does.

    Returns:
        The blueprint.
    """
    blueprint = Blueprint("oauth", __name__)
    kept: Deeds = NoDeeds() if deeds is None else deeds

    @blueprint.route(discovery.TOKEN, methods=["POST"])
    @callers(Caller.PUBLIC)
    def token() -> Response:
        return _answered(server, place(), server.create_token_response, _Keeping(kept, Kind.TOKEN))

    @blueprint.route(discovery.INTROSPECT, methods=["POST"])
    @callers(Caller.PUBLIC)
    def introspect() -> Response:
        return _answered(server, place(), lambda one: server.create_endpoint_response("introspection", one))

    @blueprint.route(discovery.REVOKE, methods=["POST"])
    @callers(Caller.PUBLIC)
    def revoke() -> Response:
        return _answered(
            server,
            place(),
            lambda one: server.create_endpoint_response("revocation", one),
            _Keeping(kept, Kind.REVOCATION),
        )

    @blueprint.post(discovery.LAUNCH)
    @callers(Caller.TOKEN)
    def launch() -> Response:
        return _launched(server)

    _add_documents(blueprint, server)
    blueprint.after_request(_open)
    return blueprint


def _add_documents(blueprint: Blueprint, server: SmartServer) -> None:
    """Add what the server says of itself."""
    issuer = server.parts.issuer

    @blueprint.get("/.well-known/smart-configuration")
    @blueprint.get("/fhir/.well-known/smart-configuration")
    @callers(Caller.PUBLIC)
    def smart() -> Response:
        return _json(discovery.smart_configuration(issuer), 200, _BRIEFLY)

    @blueprint.get("/.well-known/oauth-authorization-server")
    @callers(Caller.PUBLIC)
    def oauth() -> Response:
        return _json(discovery.oauth_metadata(issuer), 200, _BRIEFLY)

    @blueprint.get("/.well-known/openid-configuration")
    @blueprint.get("/fhir/.well-known/openid-configuration")
    @callers(Caller.PUBLIC)
    def openid() -> Response:
        return _json(discovery.openid_configuration(issuer), 200, _BRIEFLY)

    @blueprint.get(discovery.JWKS)
    @callers(Caller.PUBLIC)
    def jwks() -> Response:
        return _json(server.parts.keys.jwks(), 200, _BRIEFLY)

    @blueprint.get(discovery.STYLE)
    @callers(Caller.PUBLIC)
    def style() -> Response:
        return _json(discovery.style(), 200, _BRIEFLY)


@dataclass(frozen=True, slots=True)
class _Keeping:
    """Keeps what an endpoint does.

    Attributes:
        deeds: where.
        kind: as what.
    """

    deeds: Deeds
    kind: Kind

    def attempted(self, name: str) -> AbstractContextManager[Attempt]:
        """Keep a request of a registered client: what it changes before that is changed, and whether it is refused."""
        return self.deeds.attempted(Deed(self.kind, name)) if name else NoDeeds().attempted(Deed(self.kind, UNKNOWN))

    def refused(self, name: str, status: int) -> None:
        """Keep that somebody who is not registered did not show who he is; forms that are no requests are not kept."""
        if not name:
            self.deeds.refused(Deed(self.kind, UNKNOWN), status)


def _answered(
    server: SmartServer, place: str, answer: Callable[[PlainRequest], Response], keeping: _Keeping | None = None
) -> Response:
    """Answer a form, unless who sends it has failed too often; what is kept is kept before the answer leaves."""
    if request.mimetype != FORM or (request.content_length or 0) > _MAX_FORM_BYTES or request.query_string:
        return _json({"error": "invalid_request"}, 400, _NO_STORE)
    accounts, now = server.parts.accounts, server.parts.clock()
    name = _named(server)
    key = _counted_as(server, place, name)
    wait = accounts.locked_for(key, now) if key else 0
    if wait:
        return _json({"error": "slow_down"}, 429, {**_NO_STORE, "Retry-After": str(wait)})
    with (_Keeping(NoDeeds(), Kind.TOKEN) if keeping is None else keeping).attempted(name) as attempt:
        response = _answer(server, answer, attempt.begin)
        attempt.status = response.status_code
    if response.status_code == _UNAUTHORISED:
        if key:
            accounts.put_attempt([key], now, "client")
        if keeping is not None:
            keeping.refused(name, response.status_code)
    return response


def _answer(server: SmartServer, answer: Callable[[PlainRequest], Response], begin: Callable[[], None]) -> Response:
    """Answer a form, refusals included; `begin` is called before something is changed."""
    try:
        parameters = server.identified(once({name: request.form.getlist(name) for name in request.form}))
        headers, prove = dict(request.headers), partial(_shown_key, server)
        return answer(PlainRequest("POST", request.base_url, headers, parameters, begin, prove))
    except Refusal as error:
        response: Response = server.handle_error_response(None, error)
        return response
    except (InputError, ValueError):
        return _json({"error": "invalid_request"}, 400, _NO_STORE)


def _shown() -> Shown:
    """Take the proof of a key that a request shows."""
    return Shown(request.headers.get(SCHEME, ""), request.method, request.path)


def _shown_key(server: SmartServer) -> str:
    """Tell whose key a request shows, empty for none; raises `Refusal` ``invalid_dpop_proof`` (RFC 9449 §5)."""
    shown = _shown()
    try:
        return server.parts.tokens.shown_key(shown) if shown.proof else ""
    except AccessDeniedError as error:
        raise Refusal(error="invalid_dpop_proof") from error


def _named(server: SmartServer) -> str:
    """Tell which registered client a form says it is of; empty for none.

    Failures are counted for it alone: any page that somebody in the hospital opens can send such forms from the
    hospital's address, and must not keep the others there waiting.
    """
    name = request.form.get("client_id") or issuer_of(request.form.get("client_assertion", ""))
    if not name and "refresh_token" in request.form:
        name = server.parts.accounts.client_of_token("refresh", request.form["refresh_token"]) or ""
    return name if server.parts.clients.find(name, fresh=False) is not None else ""


def _counted_as(server: SmartServer, place: str, name: str) -> str:
    """Name that whose failures are counted together; empty where none are.

    A public client has nothing that could be guessed; were its failures counted, anyone at a hospital's address could
    lock it out there. What a browser sends for a page that is none of the client's is counted apart: any page that
    somebody in the hospital opens could do the same to a client with a key. A browser always says for which page it
    sends a form (the Fetch standard, "append a request `Origin` header"); who forges it gains a second count, no more.
    """
    client, origin = server.parts.clients.find(name, fresh=False), request.headers.get("Origin")
    if client is not None and client.is_public:
        return ""
    own = () if client is None else (*client.redirects, client.launch_uri)
    is_of_others = origin is not None and origin not in {origin_of(url) for url in own if url}
    return f"client/{place}/{name}" + ("/page" if is_of_others else "")


def _launched(server: SmartServer) -> Response:
    """Make the `launch` parameter of an EHR launch, for the hospital's own record system.

    Raises:
        AccessDeniedError: ``launch.denied``.
        InputError: ``launch.*``.
        UnavailableError: as the store.
    """
    parts = server.parts
    try:
        caller = identify(request.headers.get("Authorization"), parts.tokens, _shown())
    except AccessDeniedError:
        # RFC 6750 §3.1.
        return _json({"error": "invalid_token"}, 401, {**_NO_STORE, "WWW-Authenticate": "Bearer"})
    client = parts.clients.find(caller.client)
    if caller.grant or client is None or Right.LAUNCH not in client.rights:
        raise AccessDeniedError("launch.denied")
    if (request.content_length or 0) > _MAX_FORM_BYTES:
        raise InputError("request.too_large", limit=_MAX_FORM_BYTES)
    try:
        document: Json = loads(request.get_data(cache=False))
    except JSONDecodeError as error:
        raise InputError("launch.document") from error
    launch = read_launch(document, parts.clients.find, parts.accounts)
    secret, address = put_launch(parts, launch)
    return _json({"expires_in": LAUNCH_SECONDS, "launch": secret, "url": address}, 201, _NO_STORE)


def _open(response: Response) -> Response:
    """Let pages of any origin read an answer."""
    response.headers.extend(_ANY_ORIGIN)
    return response


def _json(document: Json, status: int, headers: dict[str, str]) -> Response:
    """Answer a document."""
    return Response(canonical(document), status, headers, content_type="application/json")
