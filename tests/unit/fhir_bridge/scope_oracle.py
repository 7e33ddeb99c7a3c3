"""What SMART App Launch 2.2 says of scopes, in a few lines of its own: the judge of `test_scope_matrix`.

Source: SMART App Launch 2.2 §3.0 (patient-specific, user-level and system-level scopes; cruds; search-argument
constraints). Nothing of the server is imported.
"""

from __future__ import annotations

from dataclasses import dataclass

CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


@dataclass(frozen=True)
class Target:
    """An observation.

    Attributes:
        id: of it.
        patient: whom it is about; empty for nobody.
        category: what it is.
    """

    patient: str
    category: str

    @property
    def id(self) -> str:
        return f"{self.category}-{self.patient or 'none'}"

    @property
    def resource(self) -> dict:
        about = {"subject": {"reference": f"Patient/{self.patient}"}} if self.patient else {}
        coding = [{"coding": [{"system": CATEGORY, "code": self.category}]}]
        base = {"resourceType": "Observation", "id": self.id, "status": "final", "category": coding}
        return base | {"code": {"text": "x"}} | about


@dataclass(frozen=True)
class Granted:
    """A scope of Observations.

    Attributes:
        context: ``patient``, ``user`` or ``system``.
        letters: of ``cruds``.
        category: to which a constraint keeps; empty for none.
        launch: patient of the launch; empty for none.
    """

    context: str
    letters: str
    category: str
    launch: str

    @property
    def text(self) -> str:
        constraint = f"?category={CATEGORY}|{self.category}" if self.category else ""
        return f"{self.context}/Observation.{self.letters}{constraint}"

    def allows(self, letters: str, target: Target) -> bool:
        """Tell whether a target lies in what was granted, and all of some letters were."""
        is_there = self.context != "patient" or (self.launch != "" and target.patient == self.launch)
        return is_there and self.category in ("", target.category) and set(letters) <= set(self.letters)
