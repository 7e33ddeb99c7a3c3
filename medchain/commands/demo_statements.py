"""The demo's two statements: a prescription that is dispensed once, and a hospital's carbon report through its life.

Keeps true: each step is taken by the node of who takes it; what must not come is tried, and its refusal is looked at.
Trusts the nodes' local interfaces.
Source: `docs/spec/attest.md`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from medchain.commands.demo_bundles import files_of
from medchain.commands.demo_consortium import HOSPITALS, REGULATOR, Consortium
from medchain.commands.demo_predicates import CARBON_REPORT, PRESCRIPTION
from medchain.commands.demo_story import CUSTODIAN
from medchain.encoding import Json, as_number, as_object, as_objects, canonical
from medchain.errors import ConflictError, MedchainError, NotFoundError, VerificationError
from medchain.ledger.kinds.content import DAY_S
from medchain.node.clock import Clock
from medchain.node.peers import Limits

PHARMACY: Final = HOSPITALS[1]
"""Whose pharmacy dispenses."""

_DAYS: Final = 30
_LIFE: Final[tuple[tuple[str, str, Mapping[str, Json]], ...]] = (
    (REGULATOR, "reject", {"finding": "meter 4 is left out"}),
    (CUSTODIAN, "correct", {"emissions_kg": 9_100_000, "reason": "meter 4 added"}),
    (REGULATOR, "verify", {"finding": "as measured"}),
    (CUSTODIAN, "publish", {}),
    (REGULATOR, "settle", {"settled": True}),
)
_SLOW: Final = Limits(timeout_s=90.0, max_bytes=8 << 20)


@dataclass(frozen=True, slots=True)
class Dispensed:
    """What became of the prescription.

    Attributes:
        states: that it passed, in order.
        again: code of the refusal of a second dispensing.
        stranger: code of the refusal of who has no ticket.
        seconds: from the pharmacy's request to what is final on its own ledger.
    """

    states: tuple[str, ...]
    again: str
    stranger: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Reported:
    """What became of the carbon report.

    Attributes:
        states: that it passed, in order.
        second: code of the refusal of a second report of the same name.
        own: code of the refusal of the hospital's own verification.
        files: a bundle that shows state and emissions, and hides the rest.
    """

    states: tuple[str, ...]
    second: str
    own: str
    files: dict[str, bytes]


class Statements:
    """Both stories."""

    def __init__(self, consortium: Consortium, clock: Clock) -> None:
        """Prepare.

        Args:
            consortium: its nodes run.
            clock: gives Unix seconds.
        """
        self._consortium = consortium
        self._clock = clock

    def are_known(self) -> bool:
        """Tell whether the ledger has the types: one that was founded earlier has none."""
        return bool(as_object(self._call(CUSTODIAN, "attest.types", {})).get("types"))

    def dispense(self) -> Dispensed:
        """Issue a prescription, and have another hospital's pharmacy dispense it with the ticket, once.

        Raises:
            VerificationError: ``demo.expected`` for what did not come as it must.
        """
        paper = sha256(canonical({"dosage": "1-0-1", "medication": "amoxicillin 500 mg"})).hexdigest()
        predicate: Json = {"dosage": "1-0-1", "medication": "amoxicillin 500 mg", "quantity": 20}
        asked: Json = {
            "predicate": predicate,
            "subject": [{"digest": {"sha256": paper}, "name": f"Rx {self._clock()}"}],
            "ticket": True,
            "type": PRESCRIPTION,
            "until": self._clock() + _DAYS * DAY_S,
        }
        slip = self._call(CUSTODIAN, "attest.make", asked)
        step: dict[str, Json] = {"object": slip["key"], "step": "dispense", "values": {"batch": "A-17"}}
        self._wait(PHARMACY, slip["key"], 1)
        stranger = self._refused(PHARMACY, step, NotFoundError)
        began = time.monotonic()
        self._call(PHARMACY, "attest.step", {**step, "ticket": slip["ticket"]})
        seconds = time.monotonic() - began
        self._wait(CUSTODIAN, slip["key"], 2)
        return Dispensed(
            self._states(slip["key"]), self._refused(CUSTODIAN, step, VerificationError), stranger, seconds
        )

    def report(self) -> Reported:
        """Lead a carbon report through its life, and prove of it what the public is to see.

        Raises:
            VerificationError: ``demo.expected`` for what did not come as it must.
        """
        year = f"Renhe Hospital, main site, {self._clock()}"
        made = self._call(CUSTODIAN, "attest.make", _report_of(year, 8_400_000))
        key = made["key"]
        own = self._refused(
            CUSTODIAN, {"object": key, "step": "verify", "values": {"finding": "fine"}}, VerificationError
        )
        for version, (by, step, values) in enumerate(_LIFE, start=1):
            self._wait(by, key, version)
            self._call(by, "attest.step", {"object": key, "step": step, "values": dict(values)})
        self._wait(CUSTODIAN, key, len(_LIFE) + 1)
        second = self._refused(CUSTODIAN, _report_of(year, 1), ConflictError, "attest.make")
        fields: Json = ["predicate.emissions_kg", "predicate_type", "state"]
        files = files_of(self._call(CUSTODIAN, "attest.prove", {"fields": fields, "object": key}))
        return Reported(self._states(key), second, own, files)

    def _states(self, key: Json) -> tuple[str, ...]:
        """Return the states that a statement passed, as its owner holds them."""
        shown = self._call(CUSTODIAN, "attest.show", {"object": key})
        return tuple(str(row["state"]) for row in as_objects(shown["steps"]))

    def _wait(self, org_id: str, key: Json, version: int) -> None:
        """Wait until a version of a statement is on an organisation's own ledger."""

        def there() -> bool:
            record = as_object(self._call(org_id, "object", {"object": key}).get("record"))
            return as_number(record.get("version")) >= version

        self._consortium.wait_for(there, "demo.not_final")

    def _call(self, org_id: str, operation: str, document: Json) -> dict[str, Json]:
        """Have a node do something."""
        return as_object(self._consortium.nodes[org_id].local.call(operation, document, _SLOW))

    def _refused(self, org_id: str, document: Json, kind: type[MedchainError], operation: str = "attest.step") -> str:
        """Try what must be refused; returns the code.

        Raises:
            VerificationError: ``demo.expected`` where it is not.
        """
        try:
            self._call(org_id, operation, document)
        except kind as error:
            return error.code
        raise VerificationError("demo.expected", check=f"{operation}.{org_id}")


def _report_of(name: str, emissions_kg: int) -> Json:
    """Say what a hospital reports."""
    document: Json = {"boundary": "scope 1 and 2", "emissions_kg": emissions_kg, "method": "GHG Protocol"}
    digest: Json = {"sha256": sha256(canonical(document)).hexdigest()}
    return {
        "parties": [REGULATOR],
        "predicate": document,
        "subject": [{"digest": digest, "name": name}],
        "type": CARBON_REPORT,
    }
