"""Members over time: whose keys counted where, who stood how when, and only by the very block that says so."""

from __future__ import annotations

from math import inf

import pytest

from medchain.encoding import canonical, parse_canonical
from medchain.errors import InputError, VerificationError
from medchain.ledger.listed import LISTED_TYPE, open_listed, write_listed
from medchain.ledger.machine import parse_state_leaf
from medchain.node.trace import _listed  # the one place where a ledger's members are written
from medchain.tlog.checkpoint import parse_checkpoint
from medchain.tlog.note import parse_note
from tests.evidence_ledger import invoicing, ledger_in
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TIME, TONGJI, key


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """Suspend Renhe for a time."""
    with invoicing(), ledger_in(tmp_path_factory.mktemp("listed")) as made:
        made.stand(RENHE, "suspended")
        made.gone = made.now
        made.block(made.author.anchor(creator=TONGJI), at=made.now + 1000)
        made.stand(RENHE, "active")
        made.back = made.now
        made.block(made.author.anchor())
        yield made


@pytest.fixture
def proven(ledger):
    replica = ledger.author.replica
    state = replica.prove_state(replica.size)
    return parse_state_leaf(state.leaf).map_root, parse_checkpoint(parse_note(ledger.final).text)


@pytest.fixture
def document(ledger):
    replica = ledger.author.replica
    return write_listed(_listed(replica, [ANXIN, RENHE], replica.size))


def test_a_member_is_told_with_all_that_it_was(ledger, document, proven):
    anxin, renhe = open_listed(document, *proven).values()
    assert (anxin.org_id, anxin.joined, len(anxin.versions)) == (ANXIN, TIME, 1)
    assert [one.organisation.status for one in renhe.versions] == ["active", "suspended", "active"]
    assert [one.registered for one in renhe.versions] == [ledger.back, ledger.gone, TIME]
    addresses = [f"https://{RENHE}.node.example", f"https://{RENHE}.example", f"https://{ANXIN}.example"]
    assert [renhe.listed_until(one) for one in addresses] == [inf, inf, 0]
    own = key(RENHE, "authentication")
    assert renhe.keys_ever == {own.id: own.public} == renhe.keys_before(1)
    assert renhe.keys_before(0) == {}


def test_who_was_suspended_was_no_active_member_then(ledger, document, proven):
    anxin, renhe = open_listed(document, *proven).values()
    times = (0, TIME, ledger.gone - 1, ledger.gone, ledger.back - 1, ledger.back)
    assert [renhe.was_active(one) for one in times] == [True, True, True, False, False, True]
    assert anxin.was_active(ledger.gone)


def test_of_whom_it_is_not_shown_when_nothing_is_said(document, proven):
    askers = parse_canonical(document, max_bytes=1 << 20)
    for row in askers["askers"]:
        row["blocks"] = [None for _ in row["blocks"]]
    anxin, renhe = open_listed(canonical(askers), *proven).values()
    assert (renhe.was_active(TIME), renhe.joined) == (None, None)
    assert anxin.was_active(TIME)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda top: top.update(type="medchain/askers/v1"),
        lambda top: top.update(askers=7),
        lambda top: top["askers"].reverse(),
        lambda top: top["askers"][1]["blocks"].pop(),
        lambda top: top["askers"][1].update(blocks=7),
        lambda top: top["askers"][1].pop("blocks"),
        lambda top: top["askers"][1]["blocks"].reverse(),
        lambda top: top["askers"][1]["contents"].insert(0, top["askers"][1]["contents"].pop(1)),
        lambda top: top["askers"][1]["records"].pop(),
    ],
)
def test_what_lists_no_members_is_refused(document, proven, spoil):
    askers = parse_canonical(document, max_bytes=1 << 20)
    assert askers["type"] == LISTED_TYPE
    spoil(askers)
    with pytest.raises((InputError, VerificationError)):
        open_listed(canonical(askers), *proven)
