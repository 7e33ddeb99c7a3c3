"""Errors as OperationOutcome: the one place of the FHIR floor that chooses a status.

Keeps true: an answer holds the stable code and fields of an error, never its text; what is absent and what is forbidden
to read are answered alike. Trusts `medchain.errors`: fields never hold patient data.
Source: FHIR R4 §3.1.0.1.5; http://hl7.org/fhir/R4/valueset-issue-type.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from fhir_bridge.document import Element, Resource, write
from fhir_bridge.resources import InvalidResourceError
from fhir_bridge.rest.words import say
from fhir_bridge.validation.issue import Issue
from fhir_bridge.validation.wording import CODE_SYSTEM, rows
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)

_STATUSES: Final[Mapping[str, int]] = {
    "bundle.answer": 413,
    "bundle.version": 412,
    **dict.fromkeys(
        (
            "exchange.access",
            "exchange.asked",
            "exchange.consent",
            "exchange.format",
            "exchange.record",
            "exchange.records",
            "exchange.request",
            "exchange.disclosure",
            "exchange.wraps",
        ),
        502,
    ),
    "export.expired": 410,
    "export.too_many": 429,
    "http.405": 405,
    "http.406": 406,
    "http.415": 415,
    "patch.identity": 422,
    "patch.path": 422,
    "patch.test": 422,
    "record.deleted": 410,
    "record.erased": 410,
    "record.version": 412,
    "reference.ambiguous": 412,
    "request.encoding": 415,
    "request.slow": 408,
    "request.too_large": 413,
    "resource.invalid": 422,
    "search.expired": 410,
    "token.missing": 401,
    "token.invalid": 401,
    "token.proof": 401,
}
_KINDS: Final[tuple[tuple[type[MedchainError], int, str], ...]] = (
    (InputError, 400, "invalid"),
    (AccessDeniedError, 403, "forbidden"),
    (NotFoundError, 404, "not-found"),
    (ConflictError, 409, "conflict"),
    (VerificationError, 500, "exception"),
    (UnavailableError, 503, "transient"),
)
_TYPES: Final[Mapping[str, str]] = {
    "bundle.answer": "too-costly",
    "document.values": "too-costly",
    "export.expired": "timeout",
    "export.too_many": "throttled",
    "http.405": "not-supported",
    "http.406": "not-supported",
    "http.415": "not-supported",
    "internal": "exception",
    "operation.too_many": "too-costly",
    "record.deleted": "deleted",
    "record.erased": "deleted",
    "reference.ambiguous": "multiple-matches",
    "request.encoding": "not-supported",
    "request.slow": "timeout",
    "request.too_large": "too-long",
    "route.unknown": "not-supported",
    "search.expired": "expired",
    "search.parameter": "not-supported",
    "search.too_long": "too-long",
    "search.too_many": "too-costly",
    "search.unsupported": "not-supported",
    "token.invalid": "login",
    "token.missing": "login",
    "token.proof": "login",
}
"""Types of issues by code, where the kind of error does not say enough."""


_PLACES: Final = frozenset({"at", "element"})
"""Fields that say where something is: as FHIRPath, or which element of the entry."""


def status_of(error: MedchainError) -> int:
    """Choose the HTTP status of an error."""
    if error.code in _STATUSES:
        return _STATUSES[error.code]
    return next((status for kind, status, _ in _KINDS if isinstance(error, kind)), 500)


def outcome(error: MedchainError, language: str = "en") -> bytes:
    """Write an error as OperationOutcome, in ``zh`` or ``en``."""
    return write(refusal(error, language))


def refusal(error: MedchainError, language: str) -> Resource:
    """Make the OperationOutcome of an error."""
    if isinstance(error, InvalidResourceError):
        return outcome_of(rows(error.issues, language))
    told = {name: value for name, value in error.fields.items() if name not in _PLACES and value not in (None, "")}
    detail = " ".join(f"{name}={value}" for name, value in told.items())
    kind = next((issue for cls, _, issue in _KINDS if isinstance(error, cls)), "exception")
    issue: Resource = {
        "severity": "error",
        "code": _TYPES.get(error.code, kind),
        "details": {
            "coding": [{"system": CODE_SYSTEM, "code": error.code}],
            "text": say(error.code, language),
        },
    }
    if detail:
        issue["diagnostics"] = detail
    issue |= located(str(told.get("parameter", "")))
    if "at" in error.fields:
        issue["expression"] = [str(error.fields["at"])]
    entry = error.fields.get("entry")
    if isinstance(entry, int):
        element = error.fields.get("element")
        issue["expression"] = [f"Bundle.entry[{entry}]" + (f".{element}" if element else "")]
    return outcome_of([issue])


def located(parameter: str) -> Resource:
    """Say which parameter of the request an issue is about (R4 OperationOutcome.issue.location); empty for none."""
    return {"location": [f"http.{parameter}"]} if parameter else {}


def report(issues: Iterable[Issue], language: str, done: tuple[str, str]) -> Resource:
    """Make the OperationOutcome of something that was done.

    Args:
        issues: what is worth telling; may be none.
        language: ``zh`` or ``en``.
        done: what is said where there is nothing to tell, in Chinese and in English.
    """
    told = rows(issues, language)
    if not told:
        text = done[0] if language == "zh" else done[1]
        told = [{"severity": "information", "code": "informational", "details": {"text": text}}]
    return outcome_of(told)


def outcome_of(issues: list[Element]) -> Resource:
    """Put rows into an OperationOutcome."""
    return {"resourceType": "OperationOutcome", "issue": issues}
