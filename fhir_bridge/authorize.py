"""Who calls: access tokens, with a proof where they are bound to a key. What a caller may do, `fhir_bridge.gate` says.

Keeps true: any doubt is a denial. Trusts `fhir_bridge.smart.server` for tokens.
Source: RFC 6750, RFC 9449 §7, SMART App Launch 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir_bridge.smart.access import Access
from fhir_bridge.smart.proofs import ALGORITHMS, SCHEME, Shown
from fhir_bridge.smart.server import TokenServer
from medchain.errors import AccessDeniedError

CHALLENGES: Final[Mapping[str, str]] = {
    "scope.denied": 'Bearer error="insufficient_scope"',
    "token.invalid": 'Bearer error="invalid_token"',
    "token.missing": "Bearer",
    "token.proof": f'{SCHEME} error="invalid_dpop_proof", algs="{" ".join(ALGORITHMS)}"',
}
"""WWW-Authenticate by the code of an error; who has sent no token is told of none (RFC 6750 §3.1)."""


def identify(authorization: str | None, tokens: TokenServer, shown: Shown) -> Access:
    """Read and check the Authorization header.

    Args:
        authorization: its value, or None.
        tokens: checks the token.
        shown: what the request shows of a key, which counts under the scheme that asks for it.

    Returns:
        Who calls.

    Raises:
        AccessDeniedError: ``token.missing``, ``token.invalid``, ``token.proof``.
        UnavailableError: as `TokenServer.check_bound`.
    """
    scheme, _, token = (authorization or "").partition(" ")
    match scheme.lower() if token else "":
        case "bearer":
            return tokens.check(token)
        case "dpop":
            return tokens.check_bound(token, shown)
    raise AccessDeniedError("token.missing")
