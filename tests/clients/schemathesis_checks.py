"""What schemathesis checks of every answer beside what the OpenAPI description says (its hooks: SCHEMATHESIS_HOOKS)."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import schemathesis

# FHIR R4 valuesets issue-severity and issue-type.
SEVERITIES = {"fatal", "error", "warning", "information"}
CODES = {
    *("invalid", "structure", "required", "value", "invariant", "security", "login", "unknown", "expired", "forbidden"),
    *("suppressed", "processing", "not-supported", "duplicate", "multiple-matches", "not-found", "deleted", "too-long"),
    *("code-invalid", "extension", "too-costly", "business-rule", "conflict", "transient", "lock-error", "no-store"),
    *("exception", "timeout", "incomplete", "throttled", "informational"),
}
FHIR = "{http://hl7.org/fhir}"


@schemathesis.check
def answers_fhir(_context: object, response: schemathesis.Response, _case: schemathesis.Case) -> None:
    """See that a refusal is an OperationOutcome that says what is wrong, and that an answer in JSON has a type."""
    media_type = response.headers.get("content-type", [""])[0].partition(";")[0]
    if media_type == "application/fhir+json":
        document = response.json()
        name, issues = document["resourceType"], document.get("issue", [])
        told = [(one["severity"], one["code"]) for one in issues if one.get("details", {}).get("text")]
    elif media_type == "application/fhir+xml":
        root = ET.fromstring(response.content)  # noqa: S314  # our own server
        name, issues = root.tag.removeprefix(FHIR), root.findall(f"{FHIR}issue")
        told = [tuple(one.find(FHIR + part).get("value") for part in ("severity", "code")) for one in issues]
    else:
        assert response.status_code < 400, f"{response.status_code} without an OperationOutcome"
        return
    if response.status_code >= 400:
        assert name == "OperationOutcome", name
        assert told
        assert len(told) == len(issues)
        assert all(severity in SEVERITIES and code in CODES for severity, code in told), told
