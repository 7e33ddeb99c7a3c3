"""What the authorisation server says of itself: SMART configuration, OAuth metadata, OpenID configuration.

Keeps true: it names what there is and nothing else. Pure.
Source: SMART App Launch 2.2 §2.1 (conformance), RFC 8414, RFC 9207 §3, RFC 9449 §5.1, OpenID Connect Discovery §3.
"""

from __future__ import annotations

from typing import Final

from fhir_bridge.smart.assertions import ALGORITHMS
from fhir_bridge.smart.keys import IDENTITY
from fhir_bridge.smart.oauth import METHODS, Issuer
from fhir_bridge.smart.proofs import ALGORITHMS as PROOF_ALGORITHMS
from fhir_bridge.smart.scopes import Special
from medchain.encoding import Json

TOKEN: Final = "/token"  # noqa: S105  # a path
AUTHORIZE: Final = "/auth/authorize"
INTROSPECT: Final = "/auth/introspect"
REVOKE: Final = "/auth/revoke"
JWKS: Final = "/auth/jwks.json"
LAUNCH: Final = "/auth/launch"
ACCOUNT: Final = "/account"
"""Where people see what they have authorised, and take it back (`medchain.web.sign_in`)."""

STYLE: Final = "/auth/style-1.json"

CAPABILITIES: Final = (
    "authorize-post",
    "client-confidential-asymmetric",
    "client-public",
    "context-banner",
    "context-ehr-encounter",
    "context-ehr-patient",
    "context-standalone-encounter",
    "context-standalone-patient",
    "context-style",
    "launch-ehr",
    "launch-standalone",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
    "sso-openid-connect",
)
"""SMART's capabilities (§8.0.1.3), each with a test."""

_SCOPES: Final = (
    *(one.value for one in Special),
    "patient/*.cruds",
    "user/*.cruds",
    "system/*.cruds",
    "patient/*.rs",
    "user/*.rs",
    "system/*.rs",
)


def oauth_metadata(issuer: Issuer) -> dict[str, Json]:
    """Write `/.well-known/oauth-authorization-server` (RFC 8414)."""
    origin = issuer.origin
    methods: list[Json] = list[Json](METHODS)
    signing: list[Json] = list[Json](ALGORITHMS)
    return {
        "authorization_endpoint": origin + AUTHORIZE,
        "authorization_response_iss_parameter_supported": True,
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": list[Json](PROOF_ALGORITHMS),
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "introspection_endpoint": origin + INTROSPECT,
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": signing,
        "issuer": origin,
        "jwks_uri": origin + JWKS,
        "response_modes_supported": ["query"],
        "response_types_supported": ["code"],
        "revocation_endpoint": origin + REVOKE,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": signing,
        "scopes_supported": list[Json](_SCOPES),
        "token_endpoint": origin + TOKEN,
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": signing,
    }


def openid_configuration(issuer: Issuer) -> dict[str, Json]:
    """Write `/.well-known/openid-configuration`."""
    return oauth_metadata(issuer) | {
        "claims_supported": ["at_hash", "aud", "auth_time", "exp", "fhirUser", "iat", "iss", "nonce", "sub"],
        "id_token_signing_alg_values_supported": [IDENTITY],
        "subject_types_supported": ["public"],
    }


def smart_configuration(issuer: Issuer) -> dict[str, Json]:
    """Write `/.well-known/smart-configuration` (SMART App Launch 2.2 §2.1.3)."""
    own: dict[str, Json] = {"capabilities": list[Json](CAPABILITIES), "management_endpoint": issuer.origin + ACCOUNT}
    return oauth_metadata(issuer) | own


def style() -> dict[str, Json]:
    """Write what applications may look like here; another content needs another address (§3.0.4.4)."""
    return {
        "color_background": "#f0f4f5",
        "color_error": "#d5281b",
        "color_highlight": "#00625c",
        "color_modal_backdrop": "",
        "color_success": "#007f3b",
        "color_text": "#212b32",
        "dim_border_radius": "4px",
        "dim_font_size": "16px",
        "dim_spacing_size": "16px",
        "font_family_body": "system-ui, 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', sans-serif",
        "font_family_heading": "system-ui, 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', sans-serif",
    }
