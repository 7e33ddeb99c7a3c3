"""The databases of the store's tests, for two nodes; and the nodes of a consortium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.medchain.node.federation import Federation
from tests.unit.medchain.store.conftest import other_engine, store_engine
from tests.verifier import IS_THERE, SecondOpinion

__all__ = ["federation", "other_engine", "store_engine"]


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Nodes that follow and cosign, for the tests of one file."""
    made = Federation(tmp_path_factory.mktemp("federation"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module", autouse=True)
def second_opinion(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have the verifier in JavaScript judge all bundles that a file's tests have the node's verifier judge."""
    if not IS_THERE or not hasattr(request.module, "verify_bundle"):
        yield
        return
    opinion = SecondOpinion()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request.module, "verify_bundle", opinion.verify)
        yield
    assert opinion.differing(tmp_path_factory.mktemp("script")) == []
