"""The policy chain reads a change as the machine makes it, whatever stands beside it in its transaction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.ledger.members import organisation_content
from medchain.ledger.policy import default_policy
from medchain.ledger.policy_steps import members_changed
from medchain.ledger.transaction import Change
from tests.unit.medchain.ledger.world import RENHE, ROLES, World, rows, sign


@pytest.fixture
def world():
    return World()


def test_a_change_of_members_behind_a_record_anchor_is_seen(world):
    moved = organisation_content(replace(world.members.organisations[RENHE], url="https://127.0.0.2:1"))
    changes = (Change("record", "active", rows()), world.public_change("organisation", moved))
    mixed = sign(world.transaction(RENHE, *changes, bodies=(moved,)))
    before = world.members
    world.apply(mixed)
    assert world.members != before
    assert members_changed(before, mixed.leaf, world.genesis.ledger) == world.members


def test_a_change_of_members_behind_one_of_the_policy_is_seen(world):
    moved = organisation_content(replace(world.members.organisations[RENHE], url="https://127.0.0.2:1"))
    policy = default_policy()
    mixed = sign(
        world.public(RENHE, ("policy", policy), ("organisation", moved), signers=[o for o in ROLES if o != RENHE])
    )
    before = world.members
    world.apply(mixed)
    assert members_changed(before, mixed.leaf, world.genesis.ledger).organisations == world.members.organisations
