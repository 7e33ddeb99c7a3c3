"""The same node and browser as the pages of authorisation have."""

from __future__ import annotations

from tests.unit.fhir_bridge.smart.conftest import world

__all__ = ["world"]
