"""The pages of claims over whole nodes in one process: an insurer's and a hospital's, with real questions between."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from medchain.store.accounts import Role
from tests.unit.fhir_bridge.staff.conftest import Browser, World, opened
from tests.unit.medchain.claims.hospitals import Hospitals, running_hospitals
from tests.unit.medchain.claims.questions import issued
from tests.unit.medchain.node.desks import Desks
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, RENHE


@dataclass
class Insurance:
    """An insurer's pages, a hospital's and a regulator's, over one ledger."""

    hospitals: Hospitals
    insurer: World
    hospital: World
    regulator: World

    @property
    def federation(self):
        return self.hospitals.federation

    def desk(self, who: str = "insurer", role: Role = Role.DESK) -> Browser:
        world: World = getattr(self, who)
        return world.staff(role)

    def check_all(self) -> None:
        """Have the insurer's daemon work through the tables that were brought."""
        while self.hospitals.nodes[ANXIN].checks.round():
            pass


@pytest.fixture(scope="module")
def insurance(tmp_path_factory) -> Iterator[Insurance]:
    with running_hospitals(tmp_path_factory.mktemp("insurance")) as hospitals, ExitStack() as stack:
        hospitals.registers[RENHE].rows = [issued()]
        desks = Desks(hospitals.federation)
        worlds = []
        for org_id in (ANXIN, RENHE, COMMISSION):
            world = opened(desks, org_id, stack)
            world.local.operations.update(hospitals.nodes[org_id].operations())
            worlds.append(world)
        yield Insurance(hospitals, *worlds)


def text_of(answer) -> str:
    """What a page says."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.text)))


def code_of(answer) -> str:
    """The code of an error's page."""
    found = re.search(r'data-code="([^"]+)"', answer.text)
    return "" if found is None else found[1]


def form_of(browser: Browser, path: str) -> dict[str, str]:
    """What a form of a page carries, so that it counts."""
    page = browser.get(path).text
    return {name: re.search(rf'name="{name}" value="([^"]+)"', page)[1] for name in ("csrf", "form")}
