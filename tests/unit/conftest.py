"""What all unit tests share: new databases are copies of one that was made as a node makes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.new_databases import copied


@pytest.fixture(scope="session", autouse=True)
def _new_databases() -> Iterator[None]:
    with copied():
        yield
