"""Makes the pages of claims.

Source: `docs/spec/smart.md` 36.
"""

from __future__ import annotations

from flask import Blueprint

from fhir_bridge.claims_desk.case import CasePage
from fhir_bridge.claims_desk.cases import SCRIPT, CasePages
from fhir_bridge.claims_desk.check import CheckPages
from fhir_bridge.claims_desk.disputes import DisputePages
from fhir_bridge.claims_desk.ground import Ground
from fhir_bridge.claims_desk.proofs import ProofPages
from fhir_bridge.claims_desk.start import StartPage
from fhir_bridge.staff.counter import Counter
from medchain.web.pages import read_asset


def claims_blueprints(counter: Counter) -> tuple[Blueprint, ...]:
    """Make the pages of claims.

    Args:
        counter: what the pages of the desk share.
    """
    counter.site.pages.assets[SCRIPT] = read_asset("fhir_bridge.claims_desk", SCRIPT)
    ground = Ground(counter)
    kinds = (StartPage, CasePages, CasePage, CheckPages, ProofPages, DisputePages)
    return tuple(kind(ground).blueprint() for kind in kinds)
