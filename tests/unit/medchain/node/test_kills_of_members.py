"""Members that are killed at any write while they change something together: it is done once, at all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medchain.ledger.members import Members
from medchain.node.member_changes import Wish
from medchain.node.proposal import Choice
from medchain.node.proposal_view import ACCEPTED, OPEN
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, RENHE, TONGJI, Federation
from tests.unit.medchain.node.proposing import Assembly
from tests.unit.medchain.node.test_member_changes import NEWCOMER, admission

APPROVERS = (TONGJI, COMMISSION)
TURNS = 40


@contextmanager
def members(folder: Path) -> Iterator[Assembly]:
    folder.mkdir(exist_ok=True)
    federation = Federation(folder)
    federation.start()
    yield Assembly(federation)
    federation.stop()


@pytest.fixture(scope="module")
def assembly(tmp_path_factory):
    with members(tmp_path_factory.mktemp("members")) as made:
        yield made


def agree(assembly: Assembly, wish: Wish, is_done: Callable[[], bool]) -> None:
    """Have administrators ask for what is not there yet, as who looks again does, until it is or a node is down."""
    for _ in range(TURNS):
        if is_done() or assembly.federation.down:
            return
        mine = [entry for entry in assembly.books[RENHE].entries() if entry.standing.state == OPEN]
        name = (mine[0] if mine else assembly.books[RENHE].propose(wish)).proposal.id
        assembly.step()
        for org_id in {*APPROVERS} - assembly.federation.down:
            known = [entry for entry in assembly.books[org_id].entries() if entry.proposal.id == name]
            if known and org_id not in known[0].standing.approved:
                assembly.books[org_id].decide(name, Choice.APPROVE)
        assembly.step()
        assembly.federation.wait()
    pytest.fail("never")


def agree_over_a_kill(assembly: Assembly, wish: Wish, result: tuple[str, str], killed: tuple[str, int, bool]) -> bool:
    """Do so while a node is killed at a write, started again, and asked once more; tells whether it was killed."""
    federation, (about, status), (org_id, step, is_kept) = assembly.federation, result, killed
    changes = len(federation.sites[RENHE].ledger.members_changes()) + 1

    def is_done() -> bool:
        found = federation.sites[RENHE].ledger.members.organisations.get(about)
        return found is not None and found.status == status

    with federation.killed_at(org_id, step, is_kept=is_kept) as seen:
        agree(assembly, wish, is_done)
    if len(seen) >= step:
        federation.down.discard(org_id)
        federation.crash(org_id)
        assembly.open(org_id)
        agree(assembly, wish, is_done)
    check(assembly, about, status, changes)
    return len(seen) >= step


def check(assembly: Assembly, org_id: str, status: str, changes: int) -> None:
    """See that all have the change, once, and that nobody still waits for it."""

    def has_it(members: Members) -> bool:
        return org_id in members.organisations and members.organisations[org_id].status == status

    assert assembly.is_everywhere(has_it)
    assert {len(site.ledger.members_changes()) for site in assembly.federation.sites.values()} == {changes}
    assembly.step()
    assembly.step()
    states = {entry.standing.state for name in (RENHE, *APPROVERS) for entry in assembly.books[name].entries()}
    assert states == {ACCEPTED}


@pytest.mark.parametrize("killed", [RENHE, pytest.param(TONGJI, marks=pytest.mark.slow), ANXIN])
def test_a_suspension_is_made_once_whoever_is_killed_at_whatever_write(assembly, killed):
    """Who proposes, who approves, and the one that it is about, and each back again."""
    step, is_killed = 0, True
    while is_killed:
        step += 1
        for is_kept in (False, True):
            status = assembly.federation.sites[RENHE].ledger.members.organisations[ANXIN].status
            wish = Wish("suspend" if status == "active" else "reinstate", ANXIN)
            after = "suspended" if status == "active" else "active"
            is_killed = agree_over_a_kill(assembly, wish, (ANXIN, after), (killed, step, is_kept))
    assert step > 1


def newcomer() -> dict[str, object]:
    """Ask for a member whose name is like nobody's."""
    asked = admission()
    return asked | {"organisation": {**asked["organisation"], "name": {"en": "Newcomer", "zh": "新城医院"}}}


@pytest.mark.parametrize("killed", [RENHE, pytest.param(TONGJI, marks=pytest.mark.slow)])
def test_a_member_is_admitted_once_whoever_is_killed_at_whatever_write(tmp_path, killed):
    step, is_killed = 0, True
    while is_killed:
        step += 1
        for is_kept in (False, True):
            with members(tmp_path / f"{step}-{is_kept}") as assembly:
                wish, result = Wish("admit", content=newcomer()), (NEWCOMER, "active")
                is_killed = agree_over_a_kill(assembly, wish, result, (killed, step, is_kept))
    assert step > 1
