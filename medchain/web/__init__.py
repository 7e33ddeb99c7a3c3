"""Ledger and node-to-node endpoints, audit and provenance pages, shared look, languages."""
