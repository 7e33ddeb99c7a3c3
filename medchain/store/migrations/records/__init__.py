"""Migrations of the records file."""
