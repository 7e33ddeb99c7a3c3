"""Members change their consortium as their administrators do: by commands, with real nodes, some of them down."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.town import Town, running_town

pytestmark = pytest.mark.e2e

RENHE, BINHAI = "renhe-hospital", "binhai-hospital"
ANXIN, COMMISSION = "anxin-insurance", "health-commission"
NEWCOMER = "tongji-hospital"
FOUNDERS = {RENHE: "hospital", BINHAI: "hospital", ANXIN: "insurer", COMMISSION: "regulator"}


@pytest.fixture
def town(tmp_path) -> Iterator[Town]:
    with running_town(tmp_path, {org_id: (role,) for org_id, role in FOUNDERS.items()}, COMMISSION) as running:
        yield running


def test_members_suspend_reinstate_change_their_policy_hand_over_take_over_and_admit(town):
    # One is suspended. A person reads what is proposed, in words.
    made = town.at(RENHE, "org", "suspend", ANXIN, "--reason", "三次未答复")
    town.eventually(lambda: town.knows(COMMISSION, made["id"]))
    listed = town.run("proposals", "--lang", "zh", "--config", town.config(COMMISSION))
    assert f"{ANXIN}：状态：有效 → 已暂停" in listed
    assert "签名 1/3" in listed
    assert "三次未答复" in listed
    # Without a yes nothing is approved.
    town.run("proposals", "approve", made["id"], "--config", town.config(COMMISSION), code=2)
    town.agree(made, BINHAI, COMMISSION)
    town.eventually(lambda: town.member(RENHE, ANXIN)["status"] == "suspended")
    # It comes back, though a proposal of the same was withdrawn before.
    other = town.at(COMMISSION, "org", "reinstate", ANXIN)
    assert town.at(COMMISSION, "proposals", "withdraw", other["id"][:12])["state"] == "withdrawn"
    town.agree(town.at(BINHAI, "org", "reinstate", ANXIN), RENHE, COMMISSION)
    town.eventually(lambda: town.member(RENHE, ANXIN)["status"] == "active")
    town.ready(ANXIN)

    # The policy changes while a member is down.
    town.stop(ANXIN)
    policy = town.at(RENHE, "policy", "show")
    policy["rules"]["policy/active"] = {"majority": "member"}
    (town.folder / "policy.json").write_text(json.dumps(policy, indent=1))
    town.agree(town.at(RENHE, "policy", "propose", town.folder / "policy.json"), BINHAI, COMMISSION)
    town.start(ANXIN)
    town.ready(ANXIN)
    town.eventually(lambda: town.at(ANXIN, "policy", "show") == policy)

    # The orderer hands over, and the new one burns down.
    town.agree(town.at(RENHE, "orderer", "hand-over", BINHAI), BINHAI, COMMISSION)
    town.eventually(lambda: town.orderer(RENHE) == BINHAI)
    # Nothing is ordered since, and what is there holds all the same: the new orderer has signed that end, too.
    town.eventually(lambda: town.is_mirrored(COMMISSION))
    town.kill(BINHAI)
    stuck = town.at(ANXIN, "policy", "propose", town.folder / "policy.json", code=2)
    assert stuck is None, "it is so already"
    takeover = town.at(RENHE, "orderer", "take-over", "--reason", "机房失火")
    assert takeover["way"] == "take-over"
    town.agree(takeover, ANXIN, COMMISSION)
    town.eventually(lambda: town.orderer(ANXIN) == RENHE)

    # An organisation joins while one is down.
    town.init(NEWCOMER, "hospital")
    genesis, request = town.folder / "genesis.json", town.folder / "admission.json"
    newcomer = ("--ledger", town.ledger, "--config", town.config(NEWCOMER))
    town.run("join", "request", genesis, "--out", request, *newcomer)
    # Of five, four must cosign: with one lost, it is final once the newcomer is there.
    town.agree(town.at(ANXIN, "org", "admit", request), RENHE, COMMISSION, final=False)
    town.run("join", "enter", genesis, town.folder / RENHE / "genesis.signatures.json", *newcomer)
    town.start(NEWCOMER)
    town.ready(NEWCOMER)
    # It is a member like any other; and who was lost finds its way back.
    town.start(BINHAI)
    town.ready(BINHAI)
    town.agree(town.at(NEWCOMER, "protocol", "propose", "--quorum", 5), BINHAI, ANXIN, COMMISSION)
    assert {row["org_id"] for row in town.at(BINHAI, "org", "list")["organisations"]} == {*FOUNDERS, NEWCOMER}
