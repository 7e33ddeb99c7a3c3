"""Right after a hand-over whole nodes prove what they have, under either policy, before anything else is ordered.

Source: `docs/spec/ordering.md` 5, "The end of a hand-over"; `docs/spec/proof-bundle.md` 3 and 7.
"""

from __future__ import annotations

import pytest

from medchain.errors import VerificationError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.policy_steps import CHAIN_FILE
from medchain.node.proofs import trusted_policy
from medchain.node.trace import export_entry
from tests.unit.medchain.ledger.world import genesis
from tests.unit.medchain.node.federation import COMMISSION, RENHE, Federation
from tests.unit.medchain.node.ledgers import Author, protocol_change


@pytest.fixture
def federation(tmp_path):
    made = Federation(tmp_path)
    made.start()
    yield made
    made.stop()


def is_taken_up(federation: Federation, size: int) -> bool:
    """Wait until a size is final at all nodes, under both logs' lines."""
    for _ in range(6000):
        for site in federation.sites.values():
            site.node.driver.cosigner.tidy()
        finals = [site.ledger.final() for site in federation.sites.values()]
        if all(one and (one.size, one.note.count(f"— {genesis().origin} ")) == (size, 2) for one in finals):
            return True
        federation.wait()
    return False


def test_bundles_hold_under_the_former_policy_and_the_new_one_before_anything_else_is_ordered(federation):
    orderer = federation.sites[COMMISSION]
    former = trusted_policy_text(orderer.replica.members, genesis().origin)
    author = Author(replica=orderer.replica)
    orderer.node.driver.order([author.anchor().leaf])
    orderer.node.driver.order([protocol_change(author, RENHE, COMMISSION).leaf])
    size = orderer.replica.size
    assert is_taken_up(federation, size)
    for site in federation.sites.values():
        newest = trusted_policy(site.replica)["policy"]
        assert newest != former
        files = export_entry(site.replica, 2)
        assert CHAIN_FILE in files
        for trusted in (former, newest):
            verdict = verify_bundle(files, trusted, now=federation.clock(), ledger=genesis().ledger)
            assert (verdict.answer, verdict.size) == ("entry", size)
        # The former policy alone is not of the members whom the end names.
        bare = {name: data for name, data in files.items() if name not in {CHAIN_FILE, "genesis.json"}}
        with pytest.raises(VerificationError, match=r"bundle\.other_policy"):
            verify_bundle(bare, former, now=federation.clock())
