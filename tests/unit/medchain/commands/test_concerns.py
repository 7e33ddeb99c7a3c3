"""`concern list`, against a real server with whole nodes' operations."""

from __future__ import annotations

import pytest

from tests.unit.medchain.commands.test_mandates import served
from tests.unit.medchain.node.desks import running_desks
from tests.unit.medchain.node.federation import COMMISSION, DAY_S, RENHE
from tests.unit.medchain.node.test_concerns import TEXT, Case


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    with running_desks(tmp_path_factory.mktemp("concerns")) as made:
        # Threads that nodes start at their first submission are there before the first test.
        given = Case(made)
        given.anchor(given.open())
        given.step({"id": given.listed()[0]["id"]}, "closed")
        yield given


def test_what_waits_is_listed_without_what_was_said_and_whose_it_is(case, run, node):
    with served(case.desks, RENHE, node):
        assert "No correction or complaint" in run("concern", "list", "--config", node, "--lang", "en").out
        opened = case.complain(shared=True)
        ran = run("concern", "list", "--config", node, "--lang", "en")
        assert f"complaint  {opened['id']}" in ran.out
        document = run("concern", "list", "--config", node, "--json").document
    (row,) = document["concerns"]
    assert (row["id"], row["due"], row["state"], row["overdue"]) == (opened["id"], opened["due"], "opened", False)
    for secret in (TEXT, case.patient):
        assert secret not in ran.out + str(document)
    case.round()
    case.desks.federation.time += 4 * DAY_S
    with served(case.desks, COMMISSION, node):
        told = run("concern", "list", "--told", "--config", node, "--lang", "en")
        row = run("concern", "list", "--told", "--config", node, "--json").document["concerns"][0]
    assert (row["custodian"], row["overdue"]) == (RENHE, True)
    assert told.out.rstrip().endswith("overdue")
    assert TEXT not in told.out + str(row)
