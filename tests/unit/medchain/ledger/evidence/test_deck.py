"""The deck: what a verifier says of evidence bundles, good and bad; attacks on bundles, each named for itself."""

from __future__ import annotations

import pytest

from medchain.errors import MedchainError
from medchain.ledger.bundle import verify_bundle
from tests.deck import ALONE, CASES, Made
from tests.evidence import codes
from tests.evidence_ledger import invoicing, ledger_in


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Give the ledger that most cases share."""
    with invoicing(), ledger_in(tmp_path_factory.mktemp("deck")) as ledger:
        yield ledger


@pytest.mark.parametrize("name", CASES)
def test_a_verifier_says_of_each_bundle_what_is_so(shared, tmp_path, name):
    if name not in ALONE:
        judged(CASES[name](shared))
        return
    with ledger_in(tmp_path) as ledger:
        judged(CASES[name](ledger))


def judged(made: Made) -> None:
    if made.refused is not None:
        with pytest.raises(MedchainError) as caught:
            verify_bundle(made.files, made.policy, now=made.now)
        assert made.refused in ("*", caught.value.code)
        return
    verdict = verify_bundle(made.files, made.policy, now=made.now)
    found = codes(verdict)
    assert (found["amber"], found["red"], verdict.current) == (made.amber, made.red, made.current)
    assert made.green <= found["green"]
    assert verdict.answer == "claim"
