"""Runs the migrations of the ledger file on the connection that `medchain.store.engine` opened."""

from __future__ import annotations

from alembic import context

from medchain.store.tables import LEDGER

# The caller holds the transaction: all steps are kept together or not at all.
context.configure(connection=context.config.attributes["connection"], target_metadata=LEDGER, transactional_ddl=True)
context.run_migrations()
