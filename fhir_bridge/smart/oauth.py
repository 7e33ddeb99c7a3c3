"""The authorisation server, on Authlib: the grants and endpoints, with the rules of SMART where they are stricter.

Keeps true: a code needs PKCE with S256 whoever asks, and is good once, for one client and one address; a refresh token
is good once, and a second use ends the authorisation; scopes are those of the client, the role and the person's choice
together, whatever is asked for later; a client with a key always shows it; tokens that are asked for with a proof of a
key are bound to it, and a client whose registration demands it gets no others. Trusts Authlib for the order of checks,
and the store for what was used.
Source: RFC 6749, RFC 7636, RFC 7009, RFC 7662, RFC 9207, RFC 9449, RFC 9700; SMART App Launch 2.2; OpenID Connect Core
§2, §3.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import (
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Request,
    grants,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oidc.core.util import create_half_hash
from flask import Response
from joserfc import jwt

from fhir_bridge.smart.assertions import ASSERTION_TYPE, AssertionCheck
from fhir_bridge.smart.authorisation import Authorisation, authorisation_document, parse_authorisation
from fhir_bridge.smart.clients import Client, ClientBook, Right
from fhir_bridge.smart.keys import IDENTITY, SigningKeys
from fhir_bridge.smart.proofs import SCHEME
from fhir_bridge.smart.scopes import Context, Special, covers, parse_granted, parse_scopes, scopes_text
from fhir_bridge.smart.server import TOKEN_SECONDS, Issued, TokenServer
from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import AccessDeniedError, InputError
from medchain.node.clock import Clock
from medchain.store.accounts import Account, AccountStore
from medchain.store.authorisations import Grant, TokenRow
from medchain.store.secret import new_secret

CODE_SECONDS: Final = 60
"""How long a code lives; an application turns it into a token at once."""

OFFLINE_SECONDS: Final = 90 * 86_400
"""How long an authorisation lives at most that outlives the person's session."""

METHODS: Final = ("private_key_jwt", "none")
"""How clients show who they are."""

_PLAIN: Final = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_MAX_VALUE_CHARS: Final = 16_384
_MAX_CODE_BYTES: Final = 4096
_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@dataclass(frozen=True, slots=True)
class Issuer:
    """What the server says of itself.

    Attributes:
        origin: its address, without a path; the issuer.
        fhir: base address of the FHIR API, which an application names as its audience.
        style: address of the style that applications may take on.
    """

    origin: str
    fhir: str
    style: str


@dataclass(frozen=True, slots=True)
class Parts:
    """What the server works with.

    Attributes:
        issuer: what it says of itself.
        accounts: people, clients, authorisations.
        clients: who is registered.
        keys: sign id tokens.
        tokens: gives and checks access tokens.
        assertions: tells which client signed an assertion.
        clock: gives Unix seconds.
    """

    issuer: Issuer
    accounts: AccountStore
    clients: ClientBook
    keys: SigningKeys
    tokens: TokenServer
    assertions: AssertionCheck
    clock: Clock


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person has decided on a request, from the page of `fhir_bridge.smart.pages`.

    Attributes:
        account: the person.
        session: SHA-256 of the session's cookie.
        session_until: when the session ends at the latest.
        authorisation: what is authorised.
    """

    account: Account
    session: bytes
    session_until: int
    authorisation: Authorisation


@dataclass(frozen=True, slots=True)
class Bearer:
    """For whom a token is made.

    Attributes:
        account: the person.
        grant: the authorisation.
        authorisation: what it says.
        code: whether a code is turned in, and not a refresh token.
    """

    account: Account
    grant: Grant
    authorisation: Authorisation
    code: bool


@dataclass(frozen=True, slots=True)
class Brought:
    """A code or refresh token, as Authlib asks it."""

    row: TokenRow
    redirect_uri: str = ""
    code_challenge: str = ""
    code_challenge_method: str = "S256"

    def get_redirect_uri(self) -> str:
        """Where the person was sent back to."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """What was authorised."""
        return parse_authorisation(self.row.grant.document).text

    def check_client(self, client: Client) -> bool:
        """Tell whether it was made for a client."""
        return self.row.grant.client == client.id


class PlainRequest(OAuth2Request):  # type: ignore[misc]  # Authlib has no types
    """A request whose parameters are known, each once."""

    def __init__(
        self,
        method: str,
        uri: str,
        headers: Mapping[str, str],
        parameters: Mapping[str, str],
        begin: Callable[[], None] = lambda: None,
        prove: Callable[[], str] = str,
    ) -> None:
        """Keep the parameters.

        Args:
            method: upper case.
            uri: whole address.
            headers: of the request.
            parameters: of the query or form.
            begin: is called before the request changes something, or gives a token; may refuse that by an exception.
            prove: gives the thumbprint of the key that the request shows, empty for none, or refuses it likewise.

        Raises:
            InvalidRequestError: a parameter that cannot be one, before anything is said about it.
        """
        # Authlib asks for HTTPS by this address; whether plain HTTP is served is the configuration's business.
        super().__init__(method, "https://" + uri.partition("://")[2], headers=dict(headers))
        self.begin = begin
        self._prove = prove
        self._parameters = dict(parameters)
        self.payload = BasicOAuth2Payload(self._parameters)
        for name, value in parameters.items():
            if len(value) > _MAX_VALUE_CHARS or (name != "state" and _PLAIN.fullmatch(value) is None):
                raise InvalidRequestError("A parameter has characters that it cannot have.")

    @cached_property
    def key(self) -> str:
        """Thumbprint of the key that the request shows, whose proof counts once; empty for none."""
        return self._prove()

    @property
    def form(self) -> Mapping[str, str]:
        """The parameters."""
        return self._parameters

    @property
    def args(self) -> Mapping[str, str]:
        """The parameters."""
        return self._parameters


class S256(CodeChallenge):  # type: ignore[misc]  # Authlib has no types
    """PKCE, needed from every client, with S256 only (SMART App Launch 2.2 §2.0.3; RFC 9700 §2.1.1)."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)
    CODE_CHALLENGE_METHODS: Final = {"S256": CodeChallenge.CODE_CHALLENGE_METHODS["S256"]}

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:  # noqa: ANN401  # Authlib has no types
        """Refuse a request without one: Authlib would let one without any pass."""
        data = grant.request.payload.data
        if data.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(data.get("code_challenge", "")):
            raise InvalidRequestError("PKCE is needed, with code_challenge_method S256.")
        super().validate_code_challenge(grant, redirect_uri)


class _Giving:
    """Gives tokens that are bound to the key that the request shows (RFC 9449 §5)."""

    request: PlainRequest
    server: SmartServer

    def generate_token(
        self, user: Bearer | None = None, scope: str | None = None, *, include_refresh_token: bool = False
    ) -> dict[str, Json]:
        """Make the answer with a token; Authlib's own is not told of the request."""
        return self.server.made(self.request, user, scope, include_refresh_token=include_refresh_token)


class CodeGrant(_Giving, grants.AuthorizationCodeGrant):  # type: ignore[misc]  # Authlib has no types
    """Authorisation codes."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def generate_authorization_code(self) -> str:
        """Draw a code."""
        return new_secret()

    def save_authorization_code(self, code: str, request: Any) -> None:  # noqa: ANN401  # Authlib has no types
        """Keep what the person decided, and the code under its hash."""
        parts, decision, data = self.server.parts, request.user, request.payload.data
        now, special = parts.clock(), decision.authorisation.special
        stays = Special.OFFLINE_ACCESS in special
        grant = Grant(
            id=new_secret()[:32],
            client=request.client.id,
            account=decision.account.id,
            session=None if stays else decision.session,
            document=authorisation_document(replace(decision.authorisation, nonce=data.get("nonce", ""))),
            created=now,
            until=now + OFFLINE_SECONDS if stays else decision.session_until,
            revoked=None,
        )
        parts.accounts.put_grant(grant)
        document: Json = {
            "challenge": data["code_challenge"],
            "jkt": data.get("dpop_jkt", ""),
            "redirect_uri": data["redirect_uri"],
        }
        parts.accounts.put_token("code", grant.id, canonical(document), now + CODE_SECONDS, secret=code)

    def query_authorization_code(self, code: str, client: Client) -> Brought | None:
        """Use up a code; whatever is wrong afterwards, it is good for nothing more."""
        row = self.server.taken("code", code, client, self.request)
        if row is None:
            return None
        names = ("challenge", "jkt", "redirect_uri")
        kept = members(parse_canonical(row.document, max_bytes=_MAX_CODE_BYTES), dict.fromkeys(names, str))
        if kept["jkt"] not in ("", self.request.key):
            return None
        return Brought(row, str(kept["redirect_uri"]), str(kept["challenge"]))

    def delete_authorization_code(self, _authorization_code: Brought) -> None:
        """It was used up when it was looked up."""

    def authenticate_user(self, authorization_code: Brought) -> Bearer | None:
        """Find the person, whose account must still be open."""
        return self.server.bearer(authorization_code.row, code=True)


class RefreshGrant(_Giving, grants.RefreshTokenGrant):  # type: ignore[misc]  # Authlib has no types
    """Refresh tokens: each is good once and gives the next."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Brought | None:
        """Look at a token; one that was used before ends its authorisation, and who lacks its key uses up none."""
        row = self.server.parts.accounts.see_token("refresh", refresh_token)
        if row is not None:
            return Brought(row) if self._has_key(row) else None
        self.server.taken("refresh", refresh_token, self.request.client, self.request)
        return None

    def _has_key(self, row: TokenRow) -> bool:
        """Tell whether the request shows the key of a token, where it has one or its client must have bound it."""
        # First what is shown: a false proof must not use it up.
        shown, bound_to, client = self.request.key, _bound_to(row), self.request.client
        if not bound_to:
            # One of before the client had to: whoever has it could bind what it gives to a key of his own.
            return not (client.is_bound and client.is_public)
        return bound_to == shown

    def authenticate_user(self, _refresh_token: Brought) -> Bearer | None:
        """Use the token up, once over all processes, and find the person."""
        secret = str(self.request.form["refresh_token"])
        row = self.server.taken("refresh", secret, self.request.client, self.request)
        found = None if row is None else self.server.bearer(row, code=False)
        if found is None:
            raise InvalidGrantError
        return found

    def revoke_old_credential(self, _refresh_token: Brought) -> None:
        """It was used up already."""


class SystemGrant(_Giving, grants.ClientCredentialsGrant):  # type: ignore[misc]  # Authlib has no types
    """Client credentials: SMART Backend Services."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("private_key_jwt",)

    def validate_requested_scope(self) -> None:
        """Refuse more than is registered, and whatever is not of a system."""
        try:
            asked = parse_scopes(self.request.payload.scope or "")
        except InputError as error:
            raise InvalidScopeError from error
        for scope in asked:
            if scope.context is not Context.SYSTEM or not covers(self.request.client.scopes, scope):
                raise InvalidScopeError
        self.request.begin()


class Revocation(RevocationEndpoint):  # type: ignore[misc]  # Authlib has no types
    """RFC 7009."""

    CLIENT_AUTH_METHODS = METHODS
    server: SmartServer

    def query_token(self, token_string: str, _hint: str | None) -> Found | None:
        """Find a token; a hint changes nothing."""
        return self.server.found(token_string)

    def revoke_token(self, token: Found, request: PlainRequest) -> None:
        """End it, and the authorisation that it came of."""
        parts = self.server.parts
        request.begin()
        if token.issued is not None:
            parts.tokens.revoke(token.issued)
        elif token.row is not None:
            parts.accounts.revoke_grant(token.row.grant.id, parts.clock())
            parts.tokens.forget()


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]  # Authlib has no types
    """RFC 7662, for clients with a key only."""

    CLIENT_AUTH_METHODS = ("private_key_jwt",)
    server: SmartServer

    def query_token(self, token_string: str, _hint: str | None) -> Found | None:
        """Find a token; a hint changes nothing."""
        return self.server.found(token_string)

    def check_permission(self, token: Found, client: Client, _request: Any) -> bool:  # noqa: ANN401  # as above
        """Let a client ask about its own tokens; those of others need a right."""
        return token.check_client(client) or Right.INTROSPECT in client.rights

    def introspect_token(self, token: Found) -> dict[str, Json]:
        """Tell what a token says (SMART App Launch 2.2 §7: with the launch context)."""
        return self.server.described(token)


@dataclass(frozen=True, slots=True)
class Found:
    """A token that counts, as Authlib asks it: an access token or a refresh token."""

    client: str
    issued: Issued | None = None
    row: TokenRow | None = None

    def check_client(self, client: Client) -> bool:
        """Tell whether it was given to a client."""
        return self.client == client.id

    def is_expired(self) -> bool:
        """One that has ended is not found."""
        return False

    def is_revoked(self) -> bool:
        """One that was revoked is not found."""
        return False


class SmartServer(AuthorizationServer):  # type: ignore[misc]  # Authlib has no types
    """The server, with its grants and endpoints."""

    def __init__(self, parts: Parts) -> None:
        """Register everything."""
        super().__init__(query_client=parts.clients.find, save_token=lambda _token, _request: None)
        self.parts = parts
        self.register_client_auth_method("private_key_jwt", self._asserted)
        self.register_grant(CodeGrant, [S256()])
        self.register_grant(RefreshGrant)
        self.register_grant(SystemGrant)
        self.register_endpoint(Revocation)
        self.register_endpoint(Introspection)

    def authenticate_client(self, request: PlainRequest, methods: Collection[str], endpoint: str = "token") -> Client:
        """Know a client; one that must bind its tokens shows a proof of a key before anything is used up for it.

        Raises:
            OAuth2Error: ``invalid_dpop_proof`` where it shows none (RFC 9449 §5.2: such requests MUST be rejected).
        """
        client: Client = super().authenticate_client(request, methods, endpoint)
        if endpoint == "token" and client.is_bound and not request.key:
            raise OAuth2Error("This client must show a DPoP proof.", error="invalid_dpop_proof")
        return client

    def create_oauth2_request(self, request: PlainRequest) -> PlainRequest:
        """Take a request as it is."""
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> Response:  # noqa: ANN401  # Authlib has no types
        """Answer; nobody may keep it (RFC 6749 §5.1)."""
        if not isinstance(body, dict):
            return Response(body or "", status, [*headers, *_NO_STORE.items()])
        if body.get("error") == "invalid_client":
            # All alike: who cannot show who it is learns nothing of who there is.
            status, body = 401, {"error": "invalid_client"}
        return Response(canonical(body), status, _NO_STORE, content_type="application/json")

    def send_signal(self, name: str, *_args: object, **_named: object) -> None:
        """Nobody listens."""

    def identified(self, parameters: dict[str, str]) -> dict[str, str]:
        """Name the client of a refresh that does not name itself, as RFC 6749 §6 allows a public one.

        The token is made for one client, so it says which; one with a key must show it all the same.
        """
        is_refresh = parameters.get("grant_type") == "refresh_token"
        if not is_refresh or "client_id" in parameters or "client_assertion" in parameters:
            return parameters
        found = self.parts.accounts.client_of_token("refresh", parameters.get("refresh_token", ""))
        return parameters if found is None else {**parameters, "client_id": found}

    def consent_grant(self, request: PlainRequest) -> Any:  # noqa: ANN401  # Authlib has no types
        """Check a request for authorisation by itself; raises `OAuth2Error`, to be shown or sent back as it says."""
        return self.get_consent_grant(request)

    def bearer(self, row: TokenRow, *, code: bool) -> Bearer | None:
        """Find the person that a code or refresh token stands for; None where the account is not open any more."""
        account = self.parts.accounts.account(row.grant.account)
        found = parse_authorisation(row.grant.document)
        if account is None or account.disabled is not None or account.role.value != found.role:
            return None
        return Bearer(account, row.grant, found, code)

    def taken(self, kind: str, secret: str, client: Client, request: PlainRequest) -> TokenRow | None:
        """Use up a code or refresh token, once over all processes; None for one that does not count.

        Args:
            kind: as `AuthorisationTable.take_token` has it.
            secret: as it was handed out.
            client: that brings it.
            request: is told before, where this may change something; nobody's secret changes nothing.
        """
        parts = self.parts
        if not parts.accounts.token_lives(kind, secret, parts.clock()):
            return None
        request.begin()
        row = parts.accounts.take_token(kind, secret, client.id, parts.clock())
        if row is None:
            # It may have ended an authorisation.
            parts.tokens.forget()
        return row

    def found(self, token: str) -> Found | None:
        """Find a token that counts."""
        parts = self.parts
        row = parts.accounts.see_token("refresh", token)
        if row is not None:
            counts = parts.accounts.grant_counts(row.grant.id, parts.clock()) and parts.clock() < row.until
            return Found(row.grant.client, row=row) if counts else None
        try:
            issued = parts.tokens.inspect(token)
        except AccessDeniedError:
            return None
        return Found(issued.access.client, issued=issued)

    def described(self, token: Found) -> dict[str, Json]:
        """Describe a token as the answer did that it came with: its own scopes, and the context of the launch.

        One that a refresh has narrowed tells no more than it allows (SMART App Launch 2.2, Token Introspection).
        """
        answer: dict[str, Json] = {"active": True, "client_id": token.client, "iss": self.parts.issuer.origin}
        if token.issued is None:
            return answer | {"token_type": "refresh_token"}
        issued = token.issued
        answer |= {"exp": issued.ends, "iat": issued.begins, "jti": issued.id, "token_type": _type_of(issued.key)}
        answer |= {"scope": issued.text, "sub": issued.access.client}
        if issued.key:
            answer["cnf"] = {"jkt": issued.key}
        grant = self.parts.accounts.grant(issued.access.grant) if issued.access.grant else None
        if grant is not None:
            answer |= self._context(parse_authorisation(grant.document)) | {"sub": grant.account}
        person = self._person(issued.access.user)
        if person and {Special.OPENID, Special.FHIR_USER} <= issued.special:
            answer["fhirUser"] = person
        return answer

    def _asserted(self, _query: object, request: Any) -> Client | None:  # noqa: ANN401  # Authlib has no types
        """Know a client by its assertion; None where there is none."""
        form = request.form
        if form.get("client_assertion_type") is None and form.get("client_assertion") is None:
            return None
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise InvalidClientError
        try:
            client = self.parts.assertions.client(form.get("client_assertion", ""), self.parts.clients.find)
        except AccessDeniedError as error:
            raise InvalidClientError from error
        # RFC 7521 §4.2: a client_id beside the assertion must be the same.
        if form.get("client_id", client.id) != client.id:
            raise InvalidClientError
        request.client = client
        return client

    def made(
        self, request: PlainRequest, user: Bearer | None, scope: str | None, *, include_refresh_token: bool
    ) -> dict[str, Json]:
        """Make the answer with a token, bound to the key that the request shows.

        Args:
            request: of the token; who sends it is known.
            user: for whom; None for a client that acts for itself.
            scope: what it allows.
            include_refresh_token: whether the client may have one.
        """
        client, key, accounts = request.client, request.key, self.parts.accounts
        if user is None:
            scopes = parse_scopes(scope or "")
            token = self.parts.tokens.issue(client.id, scopes, registered=True, key=key)
            return _answer(token, scopes_text(scopes), key)
        asked = parse_granted(scope or "")
        # What the client may ask for can have become less since.
        scopes = tuple(one for one in asked.resources if covers(client.scopes, one))
        token = self.parts.tokens.issue(
            client.id, scopes, special=asked.special, grant=user.grant.id, registered=True, key=key
        )
        told = replace(user.authorisation, scopes=scopes, special=asked.special)
        answer = _answer(token, told.text, key) | self._context(told)
        # The next refresh token is as the one before, however few scopes this token has (RFC 6749 §6).
        if include_refresh_token and user.authorisation.special & {Special.OFFLINE_ACCESS, Special.ONLINE_ACCESS}:
            # That of a client which shows who it is, is bound to the client (RFC 9449 §5).
            document = canonical({"jkt": key} if key and client.is_public else {})
            answer["refresh_token"] = accounts.put_token("refresh", user.grant.id, document, user.grant.until)
        if Special.OPENID in asked.special:
            answer["id_token"] = self._id_token(client, user, token)
        return answer

    def _context(self, told: Authorisation) -> dict[str, Json]:
        """Tell the context of the launch (SMART App Launch 2.2 §3.0.4)."""
        answer: dict[str, Json] = {}
        if told.patient:
            answer |= {
                "need_patient_banner": told.banner,
                "patient": told.patient,
                "smart_style_url": self.parts.issuer.style,
            }
        if told.encounter:
            answer["encounter"] = told.encounter
        if told.intent:
            answer["intent"] = told.intent
        return answer

    def _id_token(self, client: Client, user: Bearer, token: str) -> str:
        """Say who the person is (OpenID Connect Core §2, §12.2)."""
        now, key, found = self.parts.clock(), self.parts.keys.newest(IDENTITY), user.authorisation
        half = create_half_hash(token, IDENTITY)
        claims: dict[str, Json] = {
            "at_hash": half.decode("ascii") if isinstance(half, bytes) else str(half),
            "aud": client.id,
            "exp": now + TOKEN_SECONDS,
            "iat": now,
            "iss": self.parts.issuer.origin,
            "sub": user.account.id,
        }
        if found.auth_time:
            claims["auth_time"] = found.auth_time
        if found.nonce and user.code:
            claims["nonce"] = found.nonce
        if Special.FHIR_USER in found.special and user.account.fhir_user:
            claims["fhirUser"] = self._person(user.account.fhir_user)
        header = {"alg": IDENTITY, "kid": key.kid, "typ": "JWT"}
        return jwt.encode(header, claims, key.key, algorithms=[IDENTITY])

    def _person(self, reference: str) -> str:
        """Give the address of the resource that is the person; nothing for an account without one."""
        return f"{self.parts.issuer.fhir}/{reference}" if "/" in reference else ""


def once(pairs: Mapping[str, list[str]]) -> dict[str, str]:
    """Take parameters that stand once each (RFC 6749 §3.1, §3.2); empty ones count as absent.

    Raises:
        InvalidRequestError: one stands twice.
    """
    if any(len(values) > 1 for values in pairs.values()):
        raise InvalidRequestError("A parameter stands twice.")
    return {name: values[0] for name, values in pairs.items() if values[0]}


Refusal = OAuth2Error
"""What a request for authorisation can come to; the pages show it or send it back."""


def _answer(token: str, scope: str, key: str) -> dict[str, Json]:
    """Begin an answer with a token (RFC 6749 §5.1)."""
    return {"access_token": token, "expires_in": TOKEN_SECONDS, "scope": scope, "token_type": _type_of(key)}


def _type_of(key: str) -> str:
    """Say how a token is to be brought: as what suffices by itself, or with a proof of its key (RFC 9449 §5)."""
    return SCHEME if key else "Bearer"


def _bound_to(row: TokenRow) -> str:
    """Tell to which key a refresh token is bound; empty for none."""
    kept = members(parse_canonical(row.document, max_bytes=_MAX_CODE_BYTES), {}, {"jkt": str})
    return str(kept.get("jkt", ""))
