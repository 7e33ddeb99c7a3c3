"""Who calls: bearer tokens. What a caller may do, `fhir_bridge.gate` says.

Keeps true: any doubt is a denial. Trusts `fhir_bridge.smart.server` for tokens.
Source: RFC 6750, SMART App Launch 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir_bridge.smart.access import Access
from fhir_bridge.smart.server import TokenServer
from medchain.errors import AccessDeniedError

CHALLENGES: Final[Mapping[str, str]] = {
    "scope.denied": 'Bearer error="insufficient_scope"',
    "token.invalid": 'Bearer error="invalid_token"',
    "token.missing": "Bearer",
}
"""WWW-Authenticate by the code of an error; who has sent no token is told of none (RFC 6750 §3.1)."""


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
