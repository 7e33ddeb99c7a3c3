"""The databases of the store's tests, for two nodes."""

from __future__ import annotations

from tests.unit.medchain.store.conftest import other_engine, store_engine

__all__ = ["other_engine", "store_engine"]
