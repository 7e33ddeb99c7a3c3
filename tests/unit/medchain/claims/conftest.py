"""Fixtures of claims."""

from __future__ import annotations

import pytest

from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore
from tests.unit.medchain.claims.questions import Case, issued


@pytest.fixture
def case(tmp_path):
    records = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    made = Case(records)
    made.register.rows = [issued()]
    yield made
    records.close()
