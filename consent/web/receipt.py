"""The receipt of a consent: what the patient keeps, in the fields of ISO/IEC TS 27560. Pure.

Keeps true: it says only what is on the ledger and in the body that was signed, and where the proof of it is. It does
not say what the patient saw: an authenticator shows no text. Trusts its caller for the consent.
Source: ISO/IEC TS 27560:2023 (names of the members as in its annex, snake case); `docs/spec/patient-pages.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from consent.web.view import Given
from medchain.encoding import Json

SCHEMA: Final = "medchain/consent-receipt/v1"
"""Version of what the receipt looks like."""


def consent_receipt(given: Given, content: Mapping[str, Json], ledger: bytes, origin: str, language: str) -> Json:
    """Write a consent's receipt.

    Args:
        given: the consent.
        content: of its body, without what stops it.
        ledger: ledger id, 32 bytes.
        origin: address at which it can be withdrawn.
        language: of the page on which it was given.

    Returns:
        The receipt, whole even where the consent has ended.
    """
    types = content.get("resource_types")
    information: list[Json] = [
        {"pii_optional": False, "pii_type": name, "special_pii_category": True}
        for name in (types if isinstance(types, list) else [])
    ]
    events: list[Json] = [
        {
            "entity_id": str(content.get("subject", "")),
            "event_state": "consent_given",
            "event_time": _instant(given.signed_at),
            "event_type": "explicit" if given.signed == "passkey" else given.signed,
            "valid_until": None if given.until is None else _instant(given.until),
        }
    ]
    if given.ended:
        ended: Json = {"entity_id": given.ended_by, "event_state": f"ended_{given.ended}", "event_type": "withdrawal"}
        events.append(ended)
    parties: list[Json] = [{"party_id": org_id, "party_role": "custodian"} for org_id in given.custodians]
    parties.append({"party_id": given.recipient, "party_role": "recipient"})
    return {
        "events": events,
        "evidence": {
            "content_root": given.content_root,
            "ledger": ledger.hex(),
            "object": given.key,
            "position": given.position,
            "version": given.version,
        },
        "party_identification": parties,
        "pii_processing": {
            "language": language,
            "purposes": [
                {
                    "lawful_basis": "consent",
                    "pii_controllers": list[Json](given.custodians),
                    "pii_information": information,
                    "purpose": given.purpose,
                    "recipient_third_parties": [given.recipient],
                    "retention_period": None,
                    "withdrawal_method": f"{origin}/my/access/{given.key}",
                }
            ],
        },
        "pii_principal_id": given.patient,
        "record_id": given.key,
        "schema_version": SCHEMA,
    }


def _instant(seconds: int) -> str:
    """Write a time as RFC 3339 does."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
