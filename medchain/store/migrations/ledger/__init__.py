"""Migrations of the ledger file."""
