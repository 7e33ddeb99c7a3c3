"""Errors as OperationOutcome: the one place of the FHIR floor that chooses a status.

Keeps true: an answer holds the stable code and fields of an error, never its text; what is absent and what is forbidden
to read are answered alike. Trusts `medchain.errors`: fields never hold patient data.
Source: FHIR R4 §3.1.0.1.5; http://hl7.org/fhir/R4/valueset-issue-type.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir_bridge.document import Element, write
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)

FHIR_JSON: Final = "application/fhir+json"
"""Content type of answers."""

CODE_SYSTEM: Final = "urn:medchain:code"
"""System of our stable codes in ``details``."""

_STATUSES: Final[Mapping[str, int]] = {
    "http.405": 405,
    "http.406": 406,
    "http.415": 415,
    "record.erased": 410,
    "record.version": 412,
    "reference.ambiguous": 412,
    "bundle.version": 412,
    "request.too_large": 413,
    "resource.invalid": 422,
    "token.missing": 401,
    "token.invalid": 401,
}
_KINDS: Final[tuple[tuple[type[MedchainError], int, str], ...]] = (
    (InputError, 400, "invalid"),
    (AccessDeniedError, 403, "forbidden"),
    (NotFoundError, 404, "not-found"),
    (ConflictError, 409, "conflict"),
    (VerificationError, 500, "exception"),
    (UnavailableError, 503, "transient"),
)
_ISSUES: Final[Mapping[int, str]] = {
    401: "login",
    405: "not-supported",
    406: "not-supported",
    410: "deleted",
    412: "conflict",
    413: "too-long",
    415: "not-supported",
}


def status_of(error: MedchainError) -> int:
    """Choose the HTTP status of an error."""
    if error.code in _STATUSES:
        return _STATUSES[error.code]
    return next((status for kind, status, _ in _KINDS if isinstance(error, kind)), 500)


def outcome(error: MedchainError) -> bytes:
    """Write an error as OperationOutcome."""
    status = status_of(error)
    kind = next((issue for cls, _, issue in _KINDS if isinstance(error, cls)), "exception")
    detail = " ".join(f"{name}={value}" for name, value in error.fields.items() if value not in (None, ""))
    issue: dict[str, Element] = {
        "severity": "error",
        "code": _ISSUES.get(status, kind),
        "details": {"coding": [{"system": CODE_SYSTEM, "code": error.code}]},
    }
    if detail:
        issue["diagnostics"] = detail
    path = error.fields.get("path")
    if error.code == "resource.invalid" and isinstance(path, str) and path:
        issue["expression"] = [path]
    return write({"resourceType": "OperationOutcome", "issue": [issue]})
