"""The address under which claims are reached: it leads to what the organisation has to do with them.

Source: `docs/spec/smart.md` 36.
"""

from __future__ import annotations

from flask import Blueprint, Response

from fhir_bridge.claims_desk.cases import CASES
from fhir_bridge.claims_desk.disputes import DISPUTES
from fhir_bridge.claims_desk.ground import CLAIMS, Ground
from medchain.web.pages import redirected


class StartPage:
    """The address of one node."""

    __slots__ = ("_ground",)

    def __init__(self, ground: Ground) -> None:
        """Use what the pages share."""
        self._ground = ground

    def blueprint(self) -> Blueprint:
        """Make the route."""
        return self._ground.blueprint("claims", ((CLAIMS, self.begin, "GET"),))

    def begin(self) -> Response:
        """Go to an insurer's first page, or to a hospital's."""
        return redirected(CASES if self._ground.seen_by(insurer=False).is_insurer else DISPUTES)
