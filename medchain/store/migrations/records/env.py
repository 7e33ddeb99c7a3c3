"""Runs the migrations of the records file on the connection that `medchain.store.engine` opened."""

from __future__ import annotations

from alembic import context

from medchain.store import account_tables
from medchain.store.tables import RECORDS

# Imported for its tables.
_ = account_tables
# The caller holds the transaction: all steps are kept together or not at all.
context.configure(connection=context.config.attributes["connection"], target_metadata=RECORDS, transactional_ddl=True)
context.run_migrations()
