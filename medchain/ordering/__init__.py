"""Ordering: which transaction comes first. A driver decides order and nothing else; every node verifies the rest."""
