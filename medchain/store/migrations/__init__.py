"""Alembic migrations, a folder for each of the two files."""
