"""The databases of the store's tests, for two nodes; and the nodes of a consortium."""

from __future__ import annotations

import pytest

from tests.unit.medchain.node.federation import Federation
from tests.unit.medchain.store.conftest import other_engine, store_engine

__all__ = ["federation", "other_engine", "store_engine"]


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Nodes that follow and cosign, for the tests of one file."""
    made = Federation(tmp_path_factory.mktemp("federation"))
    made.start()
    yield made
    made.stop()
