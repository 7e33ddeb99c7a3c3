"""What all unit tests share: new databases are copies of one made as a node makes it; and a look at what they leave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from tests.leftovers import nothing_left
from tests.new_databases import copied


@pytest.fixture(scope="session", autouse=True)
def _new_databases() -> Iterator[None]:
    with copied():
        yield


@pytest.fixture(scope="module", autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    with nothing_left() if request.config.getoption("--leftovers") else nullcontext():
        yield
