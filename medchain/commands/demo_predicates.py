"""Two types of statements, which the demo's policy registers: a prescription, and a hospital's carbon report.

Keeps true: they are those of the specification's examples. Trusts nothing.
Source: `docs/spec/attest.md`, "Two examples".
"""

from __future__ import annotations

from typing import Final

from medchain.encoding import Json

PRESCRIPTION: Final = "https://medchain.example/prescription/v1"
"""Type of a prescription."""

CARBON_REPORT: Final = "https://medchain.example/carbon-report/v1"
"""Type of a carbon report."""

TYPES: Final[dict[str, Json]] = {
    CARBON_REPORT: {
        "by": ["hospital"],
        "fields": ["boundary", "emissions_kg", "method"],
        "named": True,
        "state": "reported",
        "steps": {
            "correct": {"by": ["owner"], "from": ["rejected"], "sets": ["emissions_kg", "reason"], "to": "reported"},
            "publish": {"by": ["owner"], "from": ["verified"], "sets": [], "to": "published"},
            "reject": {"by": ["authority", "regulator"], "from": ["reported"], "sets": ["finding"], "to": "rejected"},
            "settle": {"by": ["authority", "regulator"], "from": ["published"], "sets": ["settled"], "to": "settled"},
            "verify": {"by": ["authority", "regulator"], "from": ["reported"], "sets": ["finding"], "to": "verified"},
        },
    },
    PRESCRIPTION: {
        "by": ["hospital"],
        "fields": ["dosage", "medication", "quantity"],
        "named": False,
        "state": "issued",
        "steps": {
            "cancel": {"by": ["owner"], "from": ["issued"], "sets": ["reason"], "to": "cancelled"},
            "dispense": {"by": ["hospital", "owner"], "from": ["issued"], "sets": ["batch"], "to": "dispensed"},
        },
    },
}
"""What the demo's policy registers."""
