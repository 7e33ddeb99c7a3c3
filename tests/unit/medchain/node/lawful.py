"""Consortia under another policy than the usual one: mandates of the law, and what a regulator enters there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medchain.encoding import Json
from medchain.ledger.policy import default_policy
from tests.unit.medchain.ledger import world
from tests.unit.medchain.node.desks import Desks, running_desks
from tests.unit.medchain.node.federation import ANXIN, DAY_S, NOW, RENHE

RULE: Json = {"and": ["creator", "role:regulator", "independent"]}


@contextmanager
def lawful_desks(folder: Path) -> Iterator[Desks]:
    """Run the nodes of a federation under a genesis whose policy has a rule for mandates."""
    made = default_policy()
    rules = made["rules"]
    assert isinstance(rules, dict)
    with desks_under({**made, "rules": {**rules, "mandate/active": RULE}}, folder) as desks:
        yield desks


@contextmanager
def desks_under(policy: Json, folder: Path) -> Iterator[Desks]:
    """Run the nodes of a federation under a genesis with a policy."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world, "default_policy", lambda: policy)
        forget()
        try:
            with running_desks(folder) as desks:
                yield desks
        finally:
            forget()


def forget() -> None:
    """Have the genesis made anew."""
    for cached in vars(world).values():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()


def terms(patient: str, **changes: Json) -> dict[str, Json]:
    """What a court orders."""
    basis: Json = {
        "authority": "District Court",
        "kind": "court",
        "reference": "2026/123",
        "scope": "hospital stay of March 2026",
    }
    return {
        "basis": basis,
        "custodian": RENHE,
        "patient": patient,
        "period": {"end": NOW + 30 * DAY_S, "start": NOW - 10},
        "purpose": "HLEGAL",
        "recipient": ANXIN,
        "resource_types": ["Observation"],
    } | changes
