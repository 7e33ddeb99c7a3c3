"""The administrator's page of applications: which there are, letting one in, shutting one out.

Keeps true: administrators only; a registration is checked as the command checks it; a system that acts for itself is
registered by the command alone, which needs the node's root key. Trusts the session for who it is.
Source: `docs/spec/smart.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Blueprint, Response, request

from fhir_bridge.smart.clients import Client, check_client, client_document, parse_client
from fhir_bridge.smart.fetch import Fetcher
from fhir_bridge.smart.oauth import Parts
from fhir_bridge.smart.scopes import Context, parse_scopes, scopes_text
from medchain.errors import ConflictError, InputError, MedchainError
from medchain.node.log import Log
from medchain.store.accounts import Role
from medchain.store.authorisations import ClientRow
from medchain.web.deeds import Kind, by
from medchain.web.pages import Pages, redirected
from medchain.web.routing import Caller, callers

_FIELDS: Final = ("id", "name", "scopes", "launch", "jwks_uri", "redirects", "dpop")
_LOG: Final = Log("clients")


def client_blueprint(pages: Pages, parts: Parts, fetcher: Fetcher) -> Blueprint:
    """Make the routes.

    Args:
        pages: renders them.
        parts: of the authorisation server.
        fetcher: judges addresses of keys.

    Returns:
        The blueprint.
    """
    blueprint = Blueprint("clients", __name__)
    site = pages.site

    @blueprint.get("/clients")
    @callers(Caller.PUBLIC)
    def listed() -> Response:
        site.require(Role.ADMINISTRATOR)
        return _page(pages, parts, {})

    @blueprint.post("/clients")
    @callers(Caller.PUBLIC)
    def add() -> Response:
        me = site.check_form()
        site.require(Role.ADMINISTRATOR)
        given = {name: request.form.get(name, "").strip() for name in _FIELDS}
        try:
            client = _read(given, fetcher)
            with site.deeds.doing(by(me.account, Kind.CLIENT, subject=client.id)):
                parts.accounts.put_client(client.id, client_document(client), parts.clock())
        except (ConflictError, InputError) as error:
            return _page(pages, parts, given, error)
        _LOG.info("client.added", client=client.id, account=me.account.id)
        return redirected("/clients")

    @blueprint.post("/clients/disable")
    @callers(Caller.PUBLIC)
    def disable() -> Response:
        return _switch(pages, parts, parts.clock())

    @blueprint.post("/clients/enable")
    @callers(Caller.PUBLIC)
    def enable() -> Response:
        return _switch(pages, parts, None)

    return pages.guard(blueprint)


def _switch(pages: Pages, parts: Parts, now: int | None) -> Response:
    """Shut an application out, or let it in again."""
    me = pages.site.check_form()
    pages.site.require(Role.ADMINISTRATOR)
    name = request.form.get("client", "")
    with pages.site.deeds.doing(by(me.account, Kind.CLIENT, subject=name)):
        if name in parts.accounts.unconfirmed_clients():
            # To close it is a decision, after which it opens as any other: that is made at the machine as well.
            raise ConflictError("client.unconfirmed", client=name)
        parts.accounts.disable_client(name, now)
    parts.tokens.forget()
    _LOG.info("client.enabled" if now is None else "client.disabled", client=name, account=me.account.id)
    return redirected("/clients")


def _read(given: Mapping[str, str], fetcher: Fetcher) -> Client:
    """Read a registration; raises `InputError` for one that does not hold."""
    scopes = parse_scopes(" ".join(given["scopes"].split()))
    if any(scope.context is Context.SYSTEM for scope in scopes):
        raise InputError("client.scopes")
    if given["jwks_uri"]:
        fetcher.check_url(given["jwks_uri"])
    client = Client(
        given["id"],
        scopes,
        name=given["name"],
        jwks_uri=given["jwks_uri"],
        redirects=tuple(given["redirects"].split()),
        launch_uri=given["launch"],
        is_bound=bool(given["dpop"]),
    )
    if not client.redirects:
        raise InputError("client.redirect")
    return check_client(client)


def _page(pages: Pages, parts: Parts, given: Mapping[str, str], refused: MedchainError | None = None) -> Response:
    """Show the applications, and what was wrong with a new one."""
    return pages.render(
        "smart/clients.html",
        200 if refused is None else 400,
        rows=[_row(pages, row) for row in parts.accounts.clients()],
        given={name: given.get(name, "") for name in _FIELDS},
        refused="" if refused is None else refused.code,
    )


def _row(pages: Pages, row: ClientRow) -> dict[str, object]:
    """Word an application."""
    client = parse_client(row)
    kind = pages.say("kind.public")
    if client.member:
        kind = pages.say("kind.member", member=client.member)
    elif client.jwks_uri:
        kind = pages.say("kind.uri", uri=client.jwks_uri)
    elif client.jwks:
        kind = pages.say("kind.keys", count=len(client.jwks))
    if client.is_bound:
        kind = pages.say("kind.bound", kind=kind)
    scopes = scopes_text(client.scopes)
    shown = client.name or client.id
    return {"disabled": row.disabled is not None, "id": client.id, "kind": kind, "name": shown, "scopes": scopes}
