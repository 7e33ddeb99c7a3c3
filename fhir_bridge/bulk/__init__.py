"""Bulk export: what is asked for, and the finding of it."""
