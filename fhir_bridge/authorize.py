"""Who calls, and whether it may: bearer tokens and scopes, nothing allowed unless said.

Keeps true: authorisation comes before any look-up; a read that is not allowed is answered as if the record were not
there; any doubt is a denial. Trusts `fhir_bridge.smart.server` for tokens.
Source: RFC 6750, SMART App Launch 2.2.
"""

from __future__ import annotations

from typing import Final

from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import Action, permits
from fhir_bridge.smart.server import TokenServer
from medchain.errors import AccessDeniedError, NotFoundError

CHALLENGE: Final = "Bearer"
"""WWW-Authenticate of a 401 (RFC 6750 §3)."""


def identify(authorization: str | None, tokens: TokenServer) -> Access:
    """Read and check the Authorization header.

    Args:
        authorization: its value, or None.
        tokens: checks the token.

    Returns:
        Who calls.

    Raises:
        AccessDeniedError: ``token.missing`` or ``token.invalid``.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise AccessDeniedError("token.missing")
    return tokens.check(token)


def require(access: Access, type_name: str, action: Action) -> None:
    """See that a caller may do something to records of a type.

    Args:
        access: who calls.
        type_name: resource type as given, known or not.
        action: what it wants.

    Raises:
        NotFoundError: ``record.unknown`` for a read, as for a record that is not there.
        AccessDeniedError: ``scope.denied`` for anything else.
    """
    if permits(access.scopes, type_name, action):
        return
    if action is Action.READ:
        raise NotFoundError("record.unknown")
    raise AccessDeniedError("scope.denied")
